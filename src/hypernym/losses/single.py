"""The single-label baseline: one softmax over all classes."""

from __future__ import annotations

import torch
from torch import nn

from hypernym.losses.depths import share_out


class SingleLabelLoss(nn.Module):
    """Cross-entropy over all classes that are known, with smoothing spread over them."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(
        self,
        logits_BC: torch.Tensor,
        targets: torch.Tensor,
        known_BC: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss; see the package for the shapes."""
        with torch.autocast(logits_BC.device.type, enabled=False):
            logits_BC = logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32))
            # A class that is not known, or has no finite logit, is not in the softmax.
            out_BC = logits_BC == -torch.inf
            if known_BC is not None:
                out_BC = out_BC | ~known_BC
            lowest = torch.finfo(logits_BC.dtype).min
            log_p_BC = logits_BC.masked_fill(out_BC, lowest).log_softmax(dim=1).masked_fill(out_BC, 0.0)
            if targets.ndim == 1:
                sum_B = 1 - out_BC.gather(1, targets[:, None]).squeeze(1).to(log_p_BC.dtype)
                hit_B = log_p_BC.gather(1, targets[:, None]).squeeze(1)
            else:
                shares_BC = share_out(targets).to(log_p_BC.dtype).masked_fill(out_BC, 0.0)
                sum_B, hit_B = shares_BC.sum(dim=1), (shares_BC * log_p_BC).sum(dim=1)
            even_B = sum_B * log_p_BC.sum(dim=1) / (~out_BC).sum(dim=1).clamp(min=1)
            smoothing = self.label_smoothing
            return -((1 - smoothing) * hit_B + smoothing * even_B).mean()
