"""Augmentation policies by name: the official code's RandAugment, and all of timm's.

A policy takes pixels and a source of random numbers to pixels of the same size. timm's policies draw
from the global random states of Python and NumPy, which they are therefore given anew for each image.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from hypernym.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Policy = Callable[[Pixels, random.Random], Pixels]
    Operation = Callable[[Image.Image, int, random.Random], Image.Image]

RANDAUGMENT = "randaugment"
OF_TIMM = ("rand", "augmix", "original", "originalr", "v0", "v0r", "3a")
"""The first words of timm's policies."""

NUM_OPERATIONS = 2
PROBABILITY = 0.5
"""Of each of the operations that were drawn to be applied."""

NUM_LEVELS = 9

GREY = (128, 128, 128)
"""What comes in where a picture was moved away."""

HAIR = 1 / 256
"""Pixels: less than a mixed row can show, more than Pillow's rounding of a shift adds up to."""

HOLE = (125, 122, 113)
"""The colour of the operation `cutout`: ImageNet's mean."""


def make_policy(name: str, size: int) -> Policy | None:
    """Return a policy, or None for the empty name.

    Args:
        name: `randaugment`, or a policy of timm with its options (rand-m9-mstd0.5-inc1).
        size: Pixels of a side, to which timm's shifts are in proportion.

    Raises:
        UsageError: there is no such policy, or no such option of one.
    """
    if not name:
        return None
    if name == RANDAUGMENT:
        return apply_randaugment
    return _make_timm_policy(name, size)


@contextmanager
def keep_random_state() -> Iterator[None]:
    """Leave the global random states of Python and NumPy as they were before."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is what is kept
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - the same


# --- the official RandAugment ------------------------------------------------------------------


def apply_randaugment(pixels_HWC: Pixels, chance: random.Random) -> Pixels:
    """Apply RandAugment as the official code does, through the PyPI package `randaugment` 1.0.2.

    Two operations are drawn, each with a level of 1 to 9, and each is applied with a probability of
    one half. (The paper, Cubuk et al. 2019, has one level for all, and applies both.) The package
    itself does not run with NumPy 1.24 or later, and takes 5 ms for a shear.
    """
    steps = []
    for _ in range(NUM_OPERATIONS):
        if chance.random() < PROBABILITY:
            operation = OPERATIONS[int(chance.random() * len(OPERATIONS))]
            steps.append((operation, 1 + int(chance.random() * NUM_LEVELS)))
    if not steps:
        return pixels_HWC
    image = Image.fromarray(pixels_HWC)
    for operation, level in steps:
        image = operation(image, level, chance)
    return np.asarray(image)


def _sign(chance: random.Random) -> int:
    return 1 if chance.random() < 0.5 else -1  # noqa: PLR2004 - either


def _invert(image: Image.Image, _level: int, _chance: random.Random) -> Image.Image:
    return ImageOps.invert(image)


def _punch(image: Image.Image, level: int, chance: random.Random) -> Image.Image:
    """Paint a small square over; up to 20 pixels at any size of the picture, as in the package."""
    half = round(20 * level / NUM_LEVELS) // 2
    left, top = (int(chance.random() * side) for side in image.size)
    punched = image.copy()
    punched.paste(HOLE, (max(left - half, 0), max(top - half, 0), left + half, top + half))
    return punched


def _sharpen(image: Image.Image, level: int, chance: random.Random) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(1 + 0.1 * level * _sign(chance))


def _stretch(image: Image.Image, _level: int, _chance: random.Random) -> Image.Image:
    return ImageOps.autocontrast(image)


def _posterize(image: Image.Image, level: int, _chance: random.Random) -> Image.Image:
    return ImageOps.posterize(image, round(8 - 4 * level / NUM_LEVELS))


def _shear_x(image: Image.Image, level: int, chance: random.Random) -> Image.Image:
    return shear(image, 0.3 * level / NUM_LEVELS * _sign(chance))


def _shear_y(image: Image.Image, level: int, chance: random.Random) -> Image.Image:
    turned = image.transpose(Image.Transpose.TRANSPOSE)
    return shear(turned, 0.3 * level / NUM_LEVELS * _sign(chance)).transpose(Image.Transpose.TRANSPOSE)


def shear(image: Image.Image, factor: float) -> Image.Image:
    """Shift each row of an image sideways by `factor` times its distance from the top.

    A row moves by a number of pixels and a fraction: two copies moved by whole numbers are mixed row
    by row. This is bilinear interpolation, for a fifth of the time of Pillow's.
    """
    # Pillow looks up the pixel at x + 1/2 + shift, in fixed point: a hair more makes whole shifts sure.
    lower, upper = (
        image.transform(
            image.size, Image.Transform.AFFINE, (1, factor, whole - 0.5 + HAIR, 0, 1, 0), fillcolor=GREY
        )
        for whole in (0, 1)
    )
    shifts_H = factor * (np.arange(image.height) + 0.5)
    weights_H = np.round(255 * (shifts_H - np.floor(shifts_H + HAIR)).clip(min=0)).astype(np.uint8)
    mask = Image.fromarray(np.repeat(weights_H[:, None], image.width, axis=1))
    return Image.composite(upper, lower, mask)


def _translate_x(image: Image.Image, level: int, chance: random.Random) -> Image.Image:
    shift = 150 / 331 * level / NUM_LEVELS * image.width * _sign(chance)
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, shift, 0, 1, 0), fillcolor=GREY)


def _translate_y(image: Image.Image, level: int, chance: random.Random) -> Image.Image:
    shift = 150 / 331 * level / NUM_LEVELS * image.height * _sign(chance)
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, shift), fillcolor=GREY)


def _rotate(image: Image.Image, level: int, _chance: random.Random) -> Image.Image:
    """Turn to the left, never to the right, as in the package."""
    return image.rotate(30 * level / NUM_LEVELS, fillcolor=GREY)


def _equalize(image: Image.Image, _level: int, _chance: random.Random) -> Image.Image:
    return ImageOps.equalize(image)


def _change_contrast(image: Image.Image, level: int, chance: random.Random) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(1 + 0.1 * level * _sign(chance))


def _change_color(image: Image.Image, level: int, chance: random.Random) -> Image.Image:
    return ImageEnhance.Color(image).enhance(1 + 0.1 * level * _sign(chance))


def _solarize(image: Image.Image, level: int, _chance: random.Random) -> Image.Image:
    return ImageOps.solarize(image, round(256 - 256 * level / NUM_LEVELS))


def _brighten(image: Image.Image, level: int, chance: random.Random) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1 + 0.1 * level * _sign(chance))


OPERATIONS: tuple[Operation, ...] = (
    _invert,
    _punch,
    _sharpen,
    _stretch,
    _posterize,
    _shear_x,
    _translate_x,
    _translate_y,
    _shear_y,
    _rotate,
    _equalize,
    _change_contrast,
    _change_color,
    _solarize,
    _brighten,
)
"""Those of the package, in its order."""


# --- timm's policies ---------------------------------------------------------------------------


def _make_timm_policy(name: str, size: int) -> Policy:
    first = name.split("-", maxsplit=1)[0]
    if first not in OF_TIMM:
        raise UsageError(
            f"There is no augmentation policy {name!r}{nearest(first, [RANDAUGMENT, *OF_TIMM])}: give "
            f"{RANDAUGMENT}, or a policy of timm, whose name begins with {', '.join(OF_TIMM)}."
        )
    from timm.data import auto_augment

    # As in timm's own transforms_factory; the colour is ImageNet's mean.
    options: dict[str, Any] = {"translate_const": int(size * 0.45), "img_mean": (124, 116, 104)}
    make = auto_augment.auto_augment_transform
    if first == "rand":
        make = auto_augment.rand_augment_transform
    elif first == "augmix":
        make = auto_augment.augment_and_mix_transform
        options["translate_pct"] = 0.3
    try:
        policy = make(name, options)
    except (AssertionError, ValueError, KeyError) as cause:
        raise UsageError(
            f"timm cannot make the augmentation policy {name!r} ({cause}): "
            f"rand-m9-mstd0.5-inc1 and augmix-m5-w3 are some that it makes."
        ) from cause

    def apply(pixels_HWC: Pixels, chance: random.Random) -> Pixels:
        random.seed(chance.getrandbits(64))
        np.random.seed(chance.getrandbits(32))  # noqa: NPY002 - it is what timm draws from
        return np.asarray(policy(Image.fromarray(pixels_HWC)))

    return apply
