"""Pixels on their way into a model: augmentation in training, one fixed view in evaluation.

Everything works on uint8; normalisation is the model's (see `models.Classifier`). What is random about a
training picture is drawn from a `random.Random` of its own, first of all and as plain values, so that it
is the same in a loading process and on a training device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate
from torchvision.transforms import v2

from hypernym.data.images import Resize
from hypernym.data.policies import make_policy

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from numpy.typing import NDArray

    Transform = Callable[[torch.Tensor], torch.Tensor]

CropMode = Literal["squash", "center"]

CROP_RATIOS = (3 / 4, 4 / 3)
"""Width by height of a crop; those of torchvision."""

ERASED_SHARES, ERASED_RATIOS = (0.02, 0.33), (0.3, 3.3)
"""Of the area, and height by width, of what is erased; those of torchvision."""

TRIES = 10
"""Boxes that are drawn until one fits, as in torchvision."""

INTERPOLATION = "bicubic"
"""In training as in evaluation; bilinear would save 4 % of the time of loading."""


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


def short_side_of(preprocessing: Preprocessing) -> int:
    """Return to how many pixels the shorter side is resized before the middle is cut out, as in timm."""
    return math.floor(preprocessing.size / preprocessing.crop_pct)


def crop_mode_of(resize: Resize) -> CropMode:
    """Return the view that fits pictures as a dataset was prepared."""
    return "squash" if resize == Resize.SQUISH else "center"


def to_tensor(pixels_HWC: NDArray[np.uint8]) -> torch.Tensor:
    """Return pixels as a uint8 tensor (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pixels_HWC)).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training picture: view, mirror, cutout, policy, erasing, in this order."""

    view: Literal["crop", "squash"] = "crop"
    """`crop`: a random part of it; `squash`: all of it, resized."""

    min_scale: float = 0.25
    """The smallest share of a picture's area that a crop keeps, in (0, 1]."""

    flip: float = 0.5
    """The probability of a mirrored picture."""

    policy: str = ""
    """See `policies.make_policy`."""

    cutout: float = 0.0
    """The side of a square that is painted over, as a share of the picture's, in [0, 1)."""

    erase: float = 0.0
    """The probability that a random rectangle becomes noise."""


class Box(NamedTuple):
    """A rectangle of pixels; it holds at least one."""

    top: int
    left: int
    bottom: int
    """The first row below it."""

    right: int
    """The first column beyond it."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """All that is random about a training picture, but for its policy."""

    view: Box
    """Of the stored picture."""

    mirrored: bool
    hole: Box | None
    """Of the view, as are all others: painted over (cutout)."""

    color: tuple[int, int, int]
    erased: Box | None
    """Turned to noise."""


def draw(augmentation: Augmentation, chance: random.Random, height: int, width: int, size: int) -> Drawn:
    """Draw what happens to a stored picture of this height and width on its way to `size` pixels."""
    view = Box(0, 0, height, width)
    if augmentation.view == "crop":
        view = draw_crop(chance, height, width, augmentation.min_scale)
    mirrored = chance.random() < augmentation.flip
    hole, color, erased = None, (0, 0, 0), None
    if augmentation.cutout:
        hole = draw_hole(chance, size, augmentation.cutout)
        red, green, blue = (int(chance.random() * 256) for _ in range(3))
        color = (red, green, blue)
    if chance.random() < augmentation.erase:
        erased = draw_erased(chance, size)
    return Drawn(view, mirrored, hole, color, erased)


def draw_crop(chance: random.Random, height: int, width: int, min_scale: float) -> Box:
    """Draw a crop as torchvision's RandomResizedCrop does (its own draws from torch's global state)."""
    for _ in range(TRIES):
        area = height * width * (min_scale + (1 - min_scale) * chance.random())
        ratio = draw_ratio(chance, *CROP_RATIOS)
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            return _place(chance, height, width, crop_height, crop_width)
    # The middle, in the ratio that is nearest to the picture's.
    ratio = min(max(width / height, CROP_RATIOS[0]), CROP_RATIOS[1])
    crop_height, crop_width = min(height, round(width / ratio)), min(width, round(height * ratio))
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return Box(top, left, top + crop_height, left + crop_width)


def draw_hole(chance: random.Random, size: int, share: float) -> Box:
    """Draw a square whose centre is anywhere, cut off at the edges (the official CutoutPIL)."""
    half = max(round(share * size) // 2, 1)
    y, x = int(chance.random() * size), int(chance.random() * size)
    return Box(max(y - half, 0), max(x - half, 0), min(y + half, size), min(x + half, size))


def draw_erased(chance: random.Random, size: int) -> Box | None:
    """Draw a rectangle as torchvision's RandomErasing does; None if none of ten tries fits."""
    for _ in range(TRIES):
        low, high = ERASED_SHARES
        area = size * size * (low + (high - low) * chance.random())
        ratio = draw_ratio(chance, *ERASED_RATIOS)
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < height < size and 0 < width < size:
            return _place(chance, size, size, height, width)
    return None


def draw_ratio(chance: random.Random, low: float, high: float) -> float:
    """Draw a ratio of sides; one and its inverse are equally likely."""
    return math.exp(math.log(low) + (math.log(high) - math.log(low)) * chance.random())


def _place(chance: random.Random, height: int, width: int, box_height: int, box_width: int) -> Box:
    top = int(chance.random() * (height - box_height + 1))
    left = int(chance.random() * (width - box_width + 1))
    return Box(top, left, top + box_height, left + box_width)


def draw_noise(chance: random.Random, box: Box) -> NDArray[np.uint8]:
    """Return random pixels (H, W, 3) for a box (Zhong et al. 2017: random values erase best)."""
    shape = (box.bottom - box.top, box.right - box.left, 3)
    return np.frombuffer(bytearray(chance.randbytes(math.prod(shape))), np.uint8).reshape(shape)


class TrainTransform:
    """From the stored pixels of a picture to those that are trained on."""

    def __init__(self, augmentation: Augmentation, size: int) -> None:
        self._augmentation = augmentation
        self._size = size
        self._policy = make_policy(augmentation.policy, size)

    def write(
        self, pixels_HWC: NDArray[np.uint8], chance: random.Random, image_HWC: torch.Tensor
    ) -> None:
        """Augment stored pixels (H, W, 3); write them into `image_HWC`, uint8 (size, size, 3)."""
        height, width = pixels_HWC.shape[:2]
        drawn = draw(self._augmentation, chance, height, width, self._size)
        view_HWC = cut_out(pixels_HWC, drawn.view, self._size)
        image_HWC.copy_(view_HWC.flip(1) if drawn.mirrored else view_HWC)
        target_HWC = image_HWC.numpy()
        if drawn.hole:
            top, left, bottom, right = drawn.hole
            # NumPy writes whole rows ten times as fast as pixels.
            target_HWC[top:bottom, left:right] = np.full((right - left, 3), drawn.color, np.uint8)
        if self._policy:
            changed_HWC = self._policy(target_HWC, chance)
            if changed_HWC is not target_HWC:
                target_HWC[:] = changed_HWC
        if drawn.erased:
            top, left, bottom, right = drawn.erased
            target_HWC[top:bottom, left:right] = draw_noise(chance, drawn.erased)


def cut_out(pixels_HWC: NDArray[np.uint8], box: Box, size: int) -> torch.Tensor:
    """Return a part of a picture, resized to (size, size, 3); it may lie in the same memory."""
    top, left, bottom, right = box
    part_HWC = torch.from_numpy(pixels_HWC)[top:bottom, left:right]
    if part_HWC.shape[:2] == (size, size):
        return part_HWC
    # A (1, 3, H, W) view of pixels that lie channels-last: torch has a uint8 kernel for just that.
    view_1CHW = part_HWC.unsqueeze(0).permute(0, 3, 1, 2)
    resized_1CHW = interpolate(view_1CHW, (size, size), mode=INTERPOLATION, antialias=True)
    return resized_1CHW.permute(0, 2, 3, 1)[0]


def make_eval_transform(preprocessing: Preprocessing) -> Transform:
    """Return the one view of a picture that evaluation and prediction use."""
    size = preprocessing.size
    interpolation = v2.InterpolationMode(preprocessing.interpolation)
    if preprocessing.crop_mode == "squash":
        squash: Transform = v2.Resize((size, size), interpolation, antialias=True)
        return squash
    resize = v2.Resize(short_side_of(preprocessing), interpolation, antialias=True)
    transform: Transform = v2.Compose([resize, v2.CenterCrop(size)])
    return transform
