"""The multi-label baseline: a sigmoid and a binary loss for each class.

The label of an image and all its ancestors are present, every other class is absent. The loss is
summed over classes and averaged over images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import logsigmoid

from hypernym.losses.depths import Depths
from hypernym.losses.gradients import GradientKept, a_few_rows_and_spare_ones, make_gradient

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels


class MultiLabelLoss(nn.Module):
    """Binary cross-entropy, or asymmetric loss (ASL; Ridnik et al., ICCV 2021, arXiv 2009.14119).

        L = - sum over classes of  y (1 - p)^gamma_pos log p  +  (1 - y) q^gamma_neg log(1 - q)

    with p the sigmoid of the logit and q = max(p - clip, 0). Both gammas and clip at 0 give binary
    cross-entropy. The focusing factors are treated as constants when `focus_gradient` is off, as the
    published code does.
    """

    def __init__(
        self,
        levels: Levels,
        *,
        gamma_neg: float = 0.0,
        gamma_pos: float = 0.0,
        clip: float = 0.0,
        focus_gradient: bool = False,
    ) -> None:
        """Make the loss; the authors' values for ASL are gamma_neg 4, gamma_pos 0 and clip 0.05."""
        super().__init__()
        self.depths = Depths(levels)
        self.gamma_neg = gamma_neg
        self.gamma_pos = gamma_pos
        self.clip = clip
        self.focus_gradient = focus_gradient

    def forward(
        self,
        logits_BC: torch.Tensor,
        targets: torch.Tensor,
        known_BC: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of targets (B,) or (B, C), to which their ancestors are added.

        A common ancestor of several whole labels is present once.
        """
        with torch.autocast(logits_BC.device.type, enabled=False):
            if self.gamma_pos or self.gamma_neg or self.clip:
                return self._asymmetric(logits_BC, targets, known_BC)
            value: torch.Tensor = _BinaryCrossEntropy.apply(logits_BC, targets, self.depths, known_BC)
            return value

    def _asymmetric(
        self, logits_BC: torch.Tensor, targets: torch.Tensor, known_BC: torch.Tensor | None
    ) -> torch.Tensor:
        logits_BC = logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32))
        present_BC = _present(targets, self.depths, logits_BC.dtype)
        out_BC = _out(logits_BC, known_BC)
        logits_BC = logits_BC.masked_fill(out_BC, 0.0)
        if self.clip:
            # log(1 - q) with q = p - clip is log(1 - p + clip), 0 where p is below the clip.
            log_absent_BC = (logits_BC.neg().sigmoid() + self.clip).clamp(max=1.0).log()
        else:
            log_absent_BC = logsigmoid(-logits_BC)
        with torch.set_grad_enabled(self.focus_gradient and torch.is_grad_enabled()):
            p_BC = logits_BC.sigmoid()
            focus_pos_BC = (1 - p_BC) ** self.gamma_pos
            focus_neg_BC = (p_BC - self.clip).clamp(min=0.0) ** self.gamma_neg
        positive_BC = present_BC * logsigmoid(logits_BC) * focus_pos_BC
        loss_BC = -(positive_BC + (1 - present_BC) * log_absent_BC * focus_neg_BC)
        return loss_BC.masked_fill(out_BC, 0.0).sum(dim=1).mean()


class _BinaryCrossEntropy(GradientKept):
    """Value and gradient together, on the CPU some rows at a time.

    With p the sigmoid and y the share of presence:
        loss = - sum y log p + (1 - y) log (1 - p),   d loss / dx = p - y
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        logits_BC: torch.Tensor,
        targets: torch.Tensor,
        depths: Depths,
        known_BC: torch.Tensor | None,
    ) -> torch.Tensor:
        wide = torch.promote_types(logits_BC.dtype, torch.float32)
        num_images = len(logits_BC)
        gradient_BC = make_gradient(logits_BC)
        loss = logits_BC.new_zeros((), dtype=wide)
        for rows, room_BC, x_BC in a_few_rows_and_spare_ones(gradient_BC, wide):
            out_BC = _out(logits_BC[rows], None if known_BC is None else known_BC[rows])
            # So low that neither the loss nor the gradient of an absent class is over 0.
            x_BC.copy_(logits_BC[rows]).masked_fill_(out_BC, torch.finfo(wide).min)
            y_BC = _present(targets[rows], depths, wide).masked_fill_(out_BC, 0.0)
            # -log of the wrong side's probability, in two parts that are both right when it is tiny
            torch.clamp(x_BC, min=0, out=room_BC).addcmul_(x_BC, y_BC, value=-1)
            loss += room_BC.sum() / num_images
            torch.abs(x_BC, out=room_BC).neg_().exp_().log1p_()
            loss += room_BC.sum() / num_images
            torch.sigmoid(x_BC, out=room_BC).sub_(y_BC).div_(num_images)
            del y_BC, out_BC  # before the next are made
        GradientKept.keep(ctx, gradient_BC, logits_BC.dtype)
        return loss


def _out(logits_BC: torch.Tensor, known_BC: torch.Tensor | None) -> torch.Tensor:
    """Say which classes take no part: those that are not known, or have no finite logit."""
    out_BC = logits_BC == -torch.inf
    return out_BC if known_BC is None else out_BC | ~known_BC


def _present(targets: torch.Tensor, depths: Depths, dtype: torch.dtype) -> torch.Tensor:
    """Return the shares of present classes, in 0..1, (B, C), new."""
    return depths.with_ancestors(targets).clamp_(max=1.0).to(dtype)
