"""The single-label baseline: one softmax over all classes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from hypernym.losses.depths import share_out


class SingleLabelLoss(nn.Module):
    """Cross-entropy over all classes, with smoothing spread over those that are known."""

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
            targets = share_out(targets)
            if known_BC is None:
                targets = targets if targets.ndim == 1 else targets.to(logits_BC.dtype)
                return cross_entropy(logits_BC, targets, label_smoothing=self.label_smoothing)
            shares_BC = one_hot(targets, logits_BC.shape[1]) if targets.ndim == 1 else targets
            shares_BC = shares_BC.to(logits_BC.dtype).masked_fill(~known_BC, 0.0)
            even_BC = shares_BC.sum(dim=1, keepdim=True) / known_BC.sum(dim=1, keepdim=True).clamp(min=1)
            shares_BC = (1 - self.label_smoothing) * shares_BC + self.label_smoothing * even_BC
            lowest = torch.finfo(logits_BC.dtype).min
            log_p_BC = logits_BC.masked_fill(~known_BC, lowest).log_softmax(dim=1)
            return -(shares_BC * log_p_BC).masked_fill(~known_BC, 0.0).sum(dim=1).mean()
