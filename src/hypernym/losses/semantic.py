"""Semantic softmax: one softmax for each depth of the tree (paper section 3.2).

    L = sum over depths of W_l * L_l

L_l is the cross-entropy of the softmax over the classes of depth l against the label's ancestor there.
Its mean runs over the whole batch: an image whose label stands higher than depth l adds 0, which is
what W_l makes up for. Smoothing is spread over the classes of the depth.

Two ways lead to the same numbers. `_by_depth` takes the depths one after another in plain torch
operations: it can be compiled, runs without synchronisation, and takes every kind of input.
`_InOneSweep` is for the CPU: it makes value and gradient together, a few rows at a time while they
are in the cache, with all depths in one exponential and two thin matrix products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from hypernym.hierarchy.levels import NONE
from hypernym.losses.depths import (
    Depths,
    count_rows_at_a_time,
    give_away_gradient,
    keeps_digits,
    share_out,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.hierarchy.levels import Levels


class SemanticSoftmaxLoss(nn.Module):
    """Semantic softmax over the depths of a tree.

    With all classes at one depth this is cross-entropy with label smoothing.
    """

    weights_L: torch.Tensor

    def __init__(self, levels: Levels, weights_L: Sequence[float], label_smoothing: float = 0.0) -> None:
        """Make the loss.

        Args:
            levels: The tree.
            weights_L: W_l of each depth; 0 leaves a depth out.
            label_smoothing: Share of a target that is spread over its depth, 0 to 1.
        """
        super().__init__()
        self.depths = Depths(levels)
        self.label_smoothing = label_smoothing
        self.register_buffer("weights_L", torch.tensor(weights_L), persistent=False)

    def forward(
        self,
        logits_BC: torch.Tensor,
        targets: torch.Tensor,
        known_BC: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss; see the package for the shapes."""
        depths, weights_L, smoothing = self.depths, self.weights_L, self.label_smoothing
        with torch.autocast(logits_BC.device.type, enabled=False):
            plain = known_BC is None and targets.ndim == 1
            if plain and logits_BC.device.type == "cpu" and not torch.compiler.is_compiling():
                loss = _sweep(logits_BC, targets, depths, weights_L, smoothing)
                if loss is not None:
                    return loss
            shares = share_out(targets)
            return _by_depth(logits_BC, shares, known_BC, depths, weights_L, smoothing)


def _by_depth(
    logits_BC: torch.Tensor,
    targets: torch.Tensor,
    known_BC: torch.Tensor | None,
    depths: Depths,
    weights_L: torch.Tensor,
    smoothing: float,
) -> torch.Tensor:
    wide = torch.promote_types(logits_BC.dtype, torch.float32)
    shares_BC = depths.with_ancestors(targets).to(wide)
    total = logits_BC.new_zeros((), dtype=wide)
    for depth in range(depths.num_depths):
        classes = depths.classes_at(depth)
        logits_BN = logits_BC.index_select(1, classes).to(wide)
        shares_BN = shares_BC.index_select(1, classes)
        # A class that is not known, or has no finite logit, is not in the softmax.
        out_BN = logits_BN == -torch.inf
        if known_BC is not None:
            out_BN = out_BN | ~known_BC.index_select(1, classes)
        logits_BN = logits_BN.masked_fill(out_BN, torch.finfo(wide).min)
        log_p_BN = logits_BN.log_softmax(dim=1)
        num_B1 = (~out_BN).sum(dim=1, keepdim=True).clamp(min=1)
        shares_BN = shares_BN.masked_fill(out_BN, 0.0)
        even_BN = shares_BN.sum(dim=1, keepdim=True) / num_B1
        shares_BN = (1 - smoothing) * shares_BN + smoothing * even_BN
        loss_BN = (shares_BN * log_p_BN).masked_fill(out_BN, 0.0)
        total = total - weights_L[depth] * loss_BN.sum() / len(logits_BC)
    return total


def _sweep(
    logits_BC: torch.Tensor,
    labels_B: torch.Tensor,
    depths: Depths,
    weights_L: torch.Tensor,
    smoothing: float,
) -> torch.Tensor | None:
    """Return the loss by `_InOneSweep`, or None where its one softmax for all depths loses digits."""
    loss, is_exact = _InOneSweep.apply(logits_BC, labels_B, depths, weights_L, smoothing)
    return loss if is_exact else None


class _InOneSweep(torch.autograd.Function):
    """Value and gradient together, some rows at a time.

    With p the softmax over all classes, and sums within depths:
        loss_l = log sum exp x - (1 - s) x_target - s mean x,
        d loss_l / dx = p / sum p - (1 - s) [target] - s / N_l
    The gradient is written where p stood, so that nothing of the size of the logits is made but the
    gradient itself. Where p has lost digits this is reported, and the caller goes the other way.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        logits_BC: torch.Tensor,
        labels_B: torch.Tensor,
        depths: Depths,
        weights_L: torch.Tensor,
        smoothing: float,
    ) -> tuple[torch.Tensor, bool]:
        wide = torch.promote_types(logits_BC.dtype, torch.float32)
        weights_L = weights_L.to(wide) / len(labels_B)
        # Row d: the even share of each class in the target of an image whose label stands at depth d.
        even_L = smoothing * weights_L / depths.counts_L
        even_LC = depths.spread(even_L.expand(depths.num_depths, -1).tril())
        depth_B, ancestors_BL = depths.depth_C[labels_B], depths.ancestors_CL[labels_B]
        places_BL = ancestors_BL.clamp(min=0)
        weights_BL = weights_L * (ancestors_BL != NONE)
        hits_BL = (1 - smoothing) * weights_BL
        x_BL = logits_BC.gather(1, places_BL).to(wide)
        sum_BL, root_B1 = torch.empty_like(x_BL), torch.empty_like(x_BL[:, :1])
        gradient_BC = torch.empty_like(logits_BC)
        num_rows = count_rows_at_a_time(len(labels_B))
        scratch_BC = logits_BC.new_empty(num_rows, depths.num_classes, dtype=wide)
        loss = torch.zeros((), dtype=wide)
        for start in range(0, len(labels_B), num_rows):
            chunk = slice(start, start + num_rows)
            x_BC = logits_BC[chunk].to(wide)
            p_BC = gradient_BC[chunk] if gradient_BC.dtype == wide else torch.empty_like(x_BC)
            each_BC = scratch_BC[: len(x_BC)]
            sum_BL[chunk] = depths.softmax_into(p_BC, x_BC)
            root_B1[chunk] = p_BC.gather(1, places_BL[chunk, :1])
            p_BC.mul_(depths.spread(weights_BL[chunk] / sum_BL[chunk], each_BC))
            if smoothing:
                torch.index_select(even_LC, 0, depth_B[chunk], out=each_BC)
                loss -= torch.dot(each_BC.flatten(), x_BC.flatten())
                p_BC.sub_(each_BC)
            p_BC.scatter_add_(1, places_BL[chunk], -hits_BL[chunk])
            if gradient_BC.dtype != wide:
                gradient_BC[chunk] = p_BC
        # Of a row, the log of the sum of all exponentials is x - log p at any class.
        log_sum_BL = sum_BL.log() + (x_BL[:, :1] - root_B1.log())
        loss += (weights_BL * log_sum_BL - hits_BL * x_BL).sum()
        ctx.gradient_BC = gradient_BC
        return loss, bool(loss.isfinite()) and keeps_digits(sum_BL)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        scale: torch.Tensor,
        _: None,
    ) -> tuple[torch.Tensor | None, ...]:
        return give_away_gradient(ctx, scale), None, None, None, None
