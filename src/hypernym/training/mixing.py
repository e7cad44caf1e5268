"""Mixup and cutmix: pictures and targets of a batch blended in pairs, on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torchvision.transforms.v2 import CutMix, MixUp

if TYPE_CHECKING:
    from hypernym.training.options import AugmentOptions


class Mixing(nn.Module):
    """One of the two, drawn for each batch (Zhang et al. 2018, "mixup"; Yun et al. 2019, "CutMix").

    It draws from torch's global random state, which each step seeds.
    """

    def __init__(self, options: AugmentOptions, num_classes: int) -> None:
        super().__init__()
        self._ways: list[nn.Module] = []
        if options.mixup:
            self._ways.append(MixUp(alpha=options.mixup))
        if options.cutmix:
            self._ways.append(CutMix(alpha=options.cutmix))
        self._num_classes = num_classes

    def forward(
        self, images_BCHW: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Blend uint8 images with targets (B,) or (B, C) into float images and shares (B, C)."""
        if not self._ways:
            return images_BCHW, targets
        shares_BC = targets
        if targets.ndim == 1:
            shares_BC = nn.functional.one_hot(targets, self._num_classes)
        way = self._ways[int(torch.randint(len(self._ways), ())) if len(self._ways) > 1 else 0]
        images, mixed = way(images_BCHW.float(), shares_BC.float())
        return images, mixed
