"""Pixels on their way into a model: augmentation in training, one fixed view in evaluation.

Everything works on uint8 tensors (3, H, W); normalisation is the model's (see `models.Classifier`).
Augmentations draw from torch's global random state, which the loader seeds for each image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import simplejpeg
import torch
from torchvision.transforms import v2

from hypernym.data.images import Resize

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Transform = Callable[[torch.Tensor], torch.Tensor]

CropMode = Literal["squash", "center"]


@dataclass(frozen=True)
class Preprocessing:
    """What a model expects of a picture; it travels with the weights, under timm's names."""

    size: int
    """Pixels of a side."""

    mean: tuple[float, float, float]
    """Of the channels, for pixels in 0..1."""

    std: tuple[float, float, float]
    crop_mode: CropMode
    """`squash`: resize to a square; `center`: resize the shorter side, cut out the middle."""

    interpolation: str = "bicubic"
    crop_pct: float = 1.0


def crop_mode_of(resize: Resize) -> CropMode:
    """Return the view that fits pictures as a dataset was prepared."""
    return "squash" if resize == Resize.SQUISH else "center"


def decode(jpeg: bytes) -> torch.Tensor:
    """Return a stored JPEG as a uint8 tensor (3, H, W)."""
    return to_tensor(simplejpeg.decode_jpeg(jpeg, colorspace="RGB"))


def to_tensor(pixels_HWC: NDArray[np.uint8]) -> torch.Tensor:
    """Return pixels as a uint8 tensor (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pixels_HWC)).permute(2, 0, 1).contiguous()


def make_train_transform(size: int, min_scale: float, flip: float) -> Transform:
    """Return random crop to `size` pixels and random flip.

    Args:
        size: Pixels of a side.
        min_scale: The smallest share of the picture's area that a crop keeps, in (0, 1].
        flip: Probability of a mirrored picture.
    """
    crop = v2.RandomResizedCrop(
        size,
        scale=(min_scale, 1.0),
        interpolation=v2.InterpolationMode.BICUBIC,
        antialias=True,
    )
    transform: Transform = v2.Compose([crop, v2.RandomHorizontalFlip(flip)])
    return transform


def make_eval_transform(preprocessing: Preprocessing) -> Transform:
    """Return the one view of a picture that evaluation and prediction use."""
    size = preprocessing.size
    interpolation = v2.InterpolationMode(preprocessing.interpolation)
    if preprocessing.crop_mode == "squash":
        squash: Transform = v2.Resize((size, size), interpolation, antialias=True)
        return squash
    resize = v2.Resize(round(size / preprocessing.crop_pct), interpolation, antialias=True)
    transform: Transform = v2.Compose([resize, v2.CenterCrop(size)])
    return transform
