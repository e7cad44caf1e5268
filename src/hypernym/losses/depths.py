"""The depths of a tree on the device of the logits, and sums within them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import one_hot

from hypernym.hierarchy.levels import NONE

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels


ROWS_IN_CACHE = 64
"""Images taken at a time on the CPU: 64 rows of 11,221 float32 logits are 2.9 MB."""

SMALLEST_SUM = 1e-30
"""Below this a float32 sum of exponentials may have lost digits."""


class Within(NamedTuple):
    """Softmax within depths, not yet divided by its sums.

    One shift, the largest logit of a row, serves all depths. A depth that lies so far below it that
    its sum underflows has lost digits, and `is_exact` says so.
    """

    exp: torch.Tensor
    """(B, C): exp of the logits less the largest of their row."""

    sum: torch.Tensor
    """(B, L): its sum over each depth."""

    top: torch.Tensor
    """(B, 1): the largest logit of each row."""

    is_exact: bool


class Depths(nn.Module):
    """Arrays of `Levels` as buffers; they follow `.to(device)` and are not part of checkpoints."""

    ancestors_CL: torch.Tensor
    depth_C: torch.Tensor
    counts_L: torch.Tensor
    members_LC: torch.Tensor
    parents_C: torch.Tensor

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.num_classes = levels.num_classes
        self.num_depths = levels.num_depths
        members_CL = one_hot(torch.from_numpy(levels.depth_C), levels.num_depths).float()
        buffers = {
            "ancestors_CL": torch.from_numpy(levels.ancestors_CL),
            "depth_C": torch.from_numpy(levels.depth_C),
            "counts_L": torch.from_numpy(levels.counts_L).float(),
            "members_LC": members_CL.T.contiguous(),
            "parents_C": torch.from_numpy(levels.parents_C),
        }
        for depth, classes in enumerate(levels.classes_at):
            buffers[f"classes_at_{depth}"] = torch.from_numpy(classes)
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def classes_at(self, depth: int) -> torch.Tensor:
        """Return the labels of the classes at a depth, int64 (N,)."""
        return self.get_buffer(f"classes_at_{depth}")

    def sum_within(self, values_BC: torch.Tensor) -> torch.Tensor:
        """Sum over the classes of each depth: (B, C) to (B, L)."""
        return (self.members_LC.to(values_BC.dtype) @ values_BC.T).T

    def spread(self, values_BL: torch.Tensor, out_BC: torch.Tensor | None = None) -> torch.Tensor:
        """Give each class the value of its depth: (B, L) to (B, C)."""
        return torch.mm(values_BL, self.members_LC.to(values_BL.dtype), out=out_BC)

    def softmax_within(self, logits_BC: torch.Tensor, out_BC: torch.Tensor | None = None) -> Within:
        """Take the softmax within each depth, all depths in one exponential; see `Within`."""
        top_B1 = logits_BC.amax(dim=1, keepdim=True)
        exp_BC = torch.sub(logits_BC, top_B1, out=out_BC).exp_()
        sum_BL = self.sum_within(exp_BC)
        return Within(exp_BC, sum_BL, top_B1, bool((sum_BL > SMALLEST_SUM).all()))

    def with_ancestors(self, targets: torch.Tensor) -> torch.Tensor:
        """Return targets (B,) or (B, C) as shares (B, C) in which ancestors count too."""
        if targets.ndim == 1:
            shares_BC = torch.zeros(len(targets), self.num_classes, device=targets.device)
            ancestors_BL = self.ancestors_CL[targets]
            places_BL = ancestors_BL.clamp(min=0)
            return shares_BC.scatter_add_(1, places_BL, (ancestors_BL != NONE).float())
        shares_BC = targets.clone()
        for depth in range(self.num_depths - 1, 0, -1):
            classes = self.classes_at(depth)
            shares_BC.index_add_(1, self.parents_C[classes], shares_BC.index_select(1, classes))
        return shares_BC


def give_away_gradient(ctx: Any, scale: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - torch's context
    """Return the gradient that a forward pass left in `ctx`, times `scale`, without a copy.

    Raises:
        RuntimeError: it was given away before; keep the loss of a batch to one backward pass.
    """
    gradient_BC: torch.Tensor | None = ctx.gradient_BC
    if gradient_BC is None:
        raise RuntimeError(
            "backward through this loss a second time: its gradient was made in the forward pass and "
            "given away. Call the loss again, or add the losses up and go backward once."
        )
    ctx.gradient_BC = None
    return gradient_BC if scale == 1 else gradient_BC.mul_(scale)
