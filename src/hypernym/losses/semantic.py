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
from hypernym.losses.depths import ROWS_IN_CACHE, Depths, give_away_gradient

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
            return _by_depth(logits_BC, targets, known_BC, depths, weights_L, smoothing)


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
    """Return the loss by `_InOneSweep`, or None where its one shift for all depths loses digits."""
    loss, is_exact = _InOneSweep.apply(logits_BC, labels_B, depths, weights_L, smoothing)
    return loss if is_exact else None


class _InOneSweep(torch.autograd.Function):
    """Value and gradient together, some rows at a time.

    With sums within depths:
        S_l = sum exp x,   loss_l = log S_l - (1 - s) x_target - s mean x,
        d loss_l / dx = exp x / S_l - (1 - s) [target] - s / N_l
    The gradient is written where exp x stood, so that nothing of the size of the logits is made but
    the gradient itself. One shift serves all depths: a depth that lies so far below the largest logit
    that its sum underflows is reported, and the caller goes the other way.
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
        num_images = len(labels_B)
        wide = torch.promote_types(logits_BC.dtype, torch.float32)
        weights_L = weights_L.to(wide) / num_images
        even_L = smoothing / depths.counts_L.to(wide)
        gradient_BC = torch.empty_like(logits_BC)
        spread_BC = logits_BC.new_empty(min(num_images, ROWS_IN_CACHE), logits_BC.shape[1], dtype=wide)
        loss = torch.zeros((), dtype=wide)
        for start in range(0, num_images, ROWS_IN_CACHE):
            chunk = slice(start, start + ROWS_IN_CACHE)
            ancestors_BL = depths.ancestors_CL[labels_B[chunk]]
            places_BL = ancestors_BL.clamp(min=0)
            weights_BL = weights_L * (ancestors_BL != NONE)
            x_BC = logits_BC[chunk].to(wide)
            out_BC = gradient_BC[chunk] if gradient_BC.dtype == wide else None
            exp_BC, sum_BL, top_B1, is_exact = depths.softmax_within(x_BC, out_BC)
            log_sum_BL = sum_BL.log() + top_B1
            loss_B = (weights_BL * (log_sum_BL - (1 - smoothing) * x_BC.gather(1, places_BL))).sum(dim=1)
            part_BC = exp_BC.mul_(depths.spread(weights_BL / sum_BL, spread_BC[: len(x_BC)]))
            if smoothing:
                even_BL = weights_BL * even_L
                loss_B -= (even_BL * depths.sum_within(x_BC)).sum(dim=1)
                part_BC.addmm_(even_BL, depths.members_LC.to(wide), alpha=-1)
            part_BC.scatter_add_(1, places_BL, -(1 - smoothing) * weights_BL)
            if out_BC is None:
                gradient_BC[chunk] = part_BC
            if not (is_exact and loss_B.isfinite().all()):
                return loss, False
            loss += loss_B.sum()
        ctx.gradient_BC = gradient_BC
        return loss, True

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        scale: torch.Tensor,
        _: None,
    ) -> tuple[torch.Tensor | None, ...]:
        return give_away_gradient(ctx, scale), None, None, None, None
