"""The multi-label baseline: a sigmoid and a binary loss for each class.

The label of an image and all its ancestors are present, every other class is absent. The loss is
summed over classes and averaged over images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from hypernym.losses.depths import Depths

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
        present_BC = self.depths.with_ancestors(targets).clamp(max=1.0)
        return self.of_present(logits_BC, present_BC, known_BC)

    def of_present(
        self,
        logits_BC: torch.Tensor,
        present_BC: torch.Tensor,
        known_BC: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss where the shares of present classes are given in full, in 0..1."""
        with torch.autocast(logits_BC.device.type, enabled=False):
            logits_BC = logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32))
            present_BC = present_BC.to(logits_BC.dtype)
            # A class that is not known, or has no finite logit, takes no part.
            out_BC = logits_BC == -torch.inf
            if known_BC is not None:
                out_BC = out_BC | ~known_BC
            logits_BC = logits_BC.masked_fill(out_BC, 0.0)
            if self.gamma_pos or self.gamma_neg or self.clip:
                loss_BC = self._asymmetric(logits_BC, present_BC)
            else:
                loss_BC = binary_cross_entropy_with_logits(logits_BC, present_BC, reduction="none")
            loss_BC = loss_BC.masked_fill(out_BC, 0.0)
            return loss_BC.sum(dim=1).mean()

    def _asymmetric(self, logits_BC: torch.Tensor, present_BC: torch.Tensor) -> torch.Tensor:
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
        return -(positive_BC + (1 - present_BC) * log_absent_BC * focus_neg_BC)
