"""Semantic softmax: one softmax for each depth of the tree (paper section 3.2).

    L = sum over depths of W_l * L_l

L_l is the cross-entropy of the softmax over the classes of depth l against the label's ancestor there.
Its mean runs over the whole batch: an image whose label stands higher than depth l adds 0, which is
what W_l makes up for. Smoothing is spread over the classes of the depth.

Three ways lead to the same numbers; all make value and gradient together, so that nothing of the size
of the logits is kept but the gradient. `_DepthByDepth` takes the depths one after another: it can be
compiled, runs without synchronisation, and takes every kind of input. `_InOneSweep` is for the CPU: one
exponential serves all depths, and a row is done with before it leaves the cache. `_InOneKernel` is for
labels on a GPU.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hypernym.losses.depths import Depths, find_reached, share_out
from hypernym.losses.gradients import (
    GradientKept,
    a_few_rows_at_a_time,
    make_gradient,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.hierarchy.levels import Levels

HAS_TRITON = find_spec("triton") is not None
"""What kernels are written in; it comes with torch where a GPU can be."""


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
        self.depths.check(logits_BC, targets)
        given = (logits_BC, targets, self.depths, self.weights_L, self.label_smoothing)
        with torch.autocast(logits_BC.device.type, enabled=False):
            on_cpu = logits_BC.device.type == "cpu" and not torch.compiler.is_compiling()
            if on_cpu and known_BC is None:
                swept: tuple[torch.Tensor, bool] = _InOneSweep.apply(*given)
                loss, is_exact = swept
                if is_exact:
                    return loss
                del swept, loss  # and their gradient
            if known_BC is None and targets.ndim == 1 and self._has_kernel(logits_BC):
                value: torch.Tensor = _InOneKernel.apply(*given)
            else:
                value = _DepthByDepth.apply(*given, known_BC)
            return value

    def _has_kernel(self, logits_BC: torch.Tensor) -> bool:
        if not (logits_BC.is_cuda and HAS_TRITON) or torch.compiler.is_compiling():
            return False  # a compiler makes kernels of its own
        from hypernym.losses.kernels_gpu import MOST_DEPTHS, can_run_on

        is_taken = logits_BC.dtype != torch.float64 and self.depths.num_depths <= MOST_DEPTHS
        return is_taken and can_run_on(logits_BC.device)


class _DepthByDepth(GradientKept):
    """Value and gradient together, one depth at a time.

    With q the shares of the target, smoothed within the depth, and sums within the depth:
        loss_l = - sum q log p,   d loss_l / dx = p sum q - q
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        logits_BC: torch.Tensor,
        targets: torch.Tensor,
        depths: Depths,
        weights_L: torch.Tensor,
        smoothing: float,
        known_BC: torch.Tensor | None,
    ) -> torch.Tensor:
        wide = torch.promote_types(logits_BC.dtype, torch.float32)
        weights_L = weights_L.to(wide) / len(logits_BC)
        loss = logits_BC.new_zeros((), dtype=wide)
        gradient_BC = make_gradient(logits_BC)
        for depth, shares_BN in enumerate(depths.each_share(share_out(targets))):
            classes = depths.classes_at(depth)
            log_p_BN, out_BN = _log_softmax_of(
                logits_BC.index_select(1, classes).to(wide),
                None if known_BC is None else known_BC.index_select(1, classes),
            )
            q_BN = shares_BN.to(wide).masked_fill_(out_BN, 0.0)
            sum_B1 = q_BN.sum(dim=1, keepdim=True)
            num_B1 = (~out_BN).sum(dim=1, keepdim=True, dtype=wide).clamp_(min=1)
            q_BN = q_BN.mul_(1 - smoothing).add_(smoothing / num_B1 * sum_B1).masked_fill_(out_BN, 0.0)
            loss -= weights_L[depth] * (q_BN * log_p_BN).sum()
            gradient_BN = log_p_BN.exp_().masked_fill_(out_BN, 0.0).mul_(sum_B1).sub_(q_BN)
            gradient_BN.mul_(weights_L[depth])
            gradient_BC.index_copy_(1, classes, gradient_BN.to(gradient_BC.dtype))
            del log_p_BN, out_BN, q_BN, gradient_BN  # before those of the next depth are made
        GradientKept.keep(ctx, gradient_BC, logits_BC.dtype)
        return loss


def _log_softmax_of(
    logits_BN: torch.Tensor, known_BN: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log p of logits that are written to, and which classes are not in the softmax.

    Those are not known, or have no finite logit.
    """
    out_BN = logits_BN == -torch.inf
    if known_BN is not None:
        out_BN |= ~known_BN
    return logits_BN.masked_fill_(out_BN, torch.finfo(logits_BN.dtype).min).log_softmax(dim=1), out_BN


class _InOneKernel(GradientKept):
    """Value and gradient together, in one kernel of a GPU."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        logits_BC: torch.Tensor,
        labels_B: torch.Tensor,
        depths: Depths,
        weights_L: torch.Tensor,
        smoothing: float,
    ) -> torch.Tensor:
        from hypernym.losses.kernels_gpu import semantic_softmax_into  # not on every machine

        logits_BC = logits_BC.contiguous()
        gradient_BC = make_gradient(logits_BC)
        loss = semantic_softmax_into(gradient_BC, logits_BC, labels_B, depths, weights_L, smoothing)
        GradientKept.keep(ctx, gradient_BC, logits_BC.dtype)
        return loss


class _InOneSweep(GradientKept):
    """Value and gradient together, some rows at a time, and whether no digits were lost.

    With p the softmax over all classes, q the shares of the target, and sums within depths:
        loss_l = sum q log sum exp x - (1 - s) sum q x - s sum q mean x,
        d loss_l / dx = p sum q / sum p - (1 - s) q - s sum q / N_l
    The gradient is written where p stood. Where p has lost digits, or images have very many labels,
    the caller goes the other way.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        logits_BC: torch.Tensor,
        targets: torch.Tensor,
        depths: Depths,
        weights_L: torch.Tensor,
        smoothing: float,
    ) -> tuple[torch.Tensor, bool]:
        from hypernym.losses.kernels_cpu import can_run_here, semantic_softmax_into  # loads a compiler

        wide = torch.promote_types(logits_BC.dtype, torch.float32)
        reached = find_reached(share_out(targets), depths, wide) if can_run_here() else None
        if reached is None:
            return torch.zeros((), dtype=wide), False
        weights_L = weights_L.to(wide) / len(logits_BC)
        gradient_BC = make_gradient(logits_BC)
        loss_B = torch.empty(len(logits_BC), dtype=wide)
        for chunk, p_BC in a_few_rows_at_a_time(gradient_BC, wide):
            x_BC = logits_BC[chunk].to(wide).contiguous()
            torch.softmax(x_BC, 1, out=p_BC)
            target = (reached.within(chunk), weights_L, smoothing)
            semantic_softmax_into(p_BC, x_BC, loss_B[chunk], *target, depths)
        GradientKept.keep(ctx, gradient_BC, logits_BC.dtype, may_wait=True)
        loss = loss_B.sum()
        return loss, bool(loss.isfinite())
