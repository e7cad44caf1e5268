"""A task is forward and loss: what is learned from a batch, as named numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import nn

if TYPE_CHECKING:
    import torch

    from hypernym.models import Classifier


class Task(Protocol):
    """What the loop trains."""

    classifier: Classifier

    def losses(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map uint8 images (B, 3, H, W) and labels (B,) to scalars; `loss` is the one descended."""
        ...


class LabelTask(nn.Module):
    """Learn from labels alone."""

    def __init__(self, classifier: Classifier, criterion: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        self.criterion = criterion

    def losses(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the loss of the labels."""
        return {"loss": self.criterion(self.classifier(images), labels)}
