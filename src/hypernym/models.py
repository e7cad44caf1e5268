"""Models: any timm model, with the normalisation that it was trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import timm
import torch
from torch import nn

from hypernym.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence


class Classifier(nn.Module):
    """A timm model that takes pixels as they are stored.

    It carries its own mean and std, so that a teacher, a student and a downstream user can each be
    given the same uint8 images.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (B, 3, H, W) to logits (B, classes)."""
        logits_BC: torch.Tensor = self.backbone((images_BCHW.float() - self.mean) / self.std)
        return logits_BC

    def embed(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (B, 3, H, W) to the features (B, D) that the last layer is given."""
        backbone: Any = self.backbone
        features = backbone.forward_features((images_BCHW.float() - self.mean) / self.std)
        features_BD: torch.Tensor = backbone.forward_head(features, pre_logits=True)
        return features_BD.flatten(1)

    def classify_and_embed(self, images_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map uint8 images (B, 3, H, W) to logits (B, classes) and features (B, D), in one pass."""
        backbone: Any = self.backbone
        features = backbone.forward_features((images_BCHW.float() - self.mean) / self.std)
        features_BD: torch.Tensor = backbone.forward_head(features, pre_logits=True)
        return backbone.forward_head(features), features_BD.flatten(1)


def make_backbone(
    name: str,
    *,
    num_classes: int,
    image_size: int | None,
    drop: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Make a timm model with first weights drawn at random; `training.start` gives it others.

    Args:
        name: A timm name, also with a tag (`resnet50.a1_in1k`), `hf-hub:` or `local-dir:` source.
        num_classes: Outputs of the head.
        image_size: Pixels of a side; models with a fixed input size are built for it, or for their own
            where none is given.
        drop: Dropout before the head, 0 to 1.
        drop_path: The largest share of images for which a block is skipped, 0 to 1.

    Raises:
        UsageError: timm has no such model, or it cannot take this size or drop.
    """
    is_local = name.startswith(("hf-hub:", "local-dir:"))
    if not is_local and not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}{nearest(name, timm.list_models())}.")
    for_size = f"for {image_size} px" if image_size else "here"
    rates = {"drop_rate": drop, "drop_path_rate": drop_path}
    given = {option: rate for option, rate in rates.items() if rate}
    try:
        config = None if is_local else timm.get_pretrained_cfg(name, allow_unregistered=True)
        size = {"img_size": image_size} if image_size and config and config.fixed_input_size else {}
        backbone: nn.Module = timm.create_model(name, num_classes=num_classes, **size, **given)
        found: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
        if is_local and image_size and found.get("fixed_input_size"):  # known only now
            size = {"img_size": image_size}
            backbone = timm.create_model(name, num_classes=num_classes, **size, **given)
    except TypeError as cause:
        options = {"drop_rate": "--drop", "drop_path_rate": "--drop-path"}
        refused = [options[option] for option in given if option in str(cause)]
        if not refused:
            raise UsageError(f"timm cannot make {name!r} {for_size}: {cause}") from cause
        raise UsageError(
            f"{name!r} does not take {refused[0]}: leave it away, or give a model that does."
        ) from cause
    except (RuntimeError, ValueError, AssertionError, OSError) as cause:
        raise UsageError(f"timm cannot make {name!r} {for_size}: {cause}") from cause
    return backbone
