"""What is alike in pictures that look alike: a perceptual hash of 256 bits.

The bits of `imagehash.phash`: which of the 16 x 16 lowest frequencies (DCT-II) of the picture at 64 x 64
are above their median. Recompressed or resized, a photo changes about 2 to 30 of the bits; two photos of
different things differ in about 100 or more (`docs/log.md`, 2026-11-23). The library takes four times as
long as the two small matrix products here, of which its tests are the oracle.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

HASH_SIDE = 16
FINGERPRINT_BYTES = HASH_SIDE * HASH_SIDE // 8

SEEN_SIDE = 64
"""Pixels: the hash looks at four samples for each frequency, as is the library's default."""

LEAST_CONTRAST = 8.0
"""Grey levels: a picture of a smaller standard deviation is a wall or a sky, like many others."""

COSINE_STEPS = 1 << 15
"""Cosines are rounded to whole numbers of this: then every sum is exact in a float of 64 bits (8 bits of
grey, twice 15 of a cosine and 6 of terms: under 2**53), and the same on every machine."""


def fingerprint(pixels: NDArray[np.uint8]) -> bytes | None:
    """Return the perceptual hash of pixels (H, W, 3 or 4), or None for a picture of next to nothing.

    The channels are red, green and blue; a fourth is not looked at.
    """
    # Averaged down by boxes: Lanczos over the whole picture takes three times as long.
    small = Image.fromarray(pixels).convert("L").resize((SEEN_SIDE, SEEN_SIDE), Image.Resampling.BOX)
    return hash_grey(np.asarray(small))


def hash_grey(grey: NDArray[np.uint8]) -> bytes | None:
    """Return the perceptual hash of a grey picture of 64 x 64."""
    levels = grey.astype(np.float64)
    flat, num = levels.ravel(), levels.size
    if num * (flat @ flat) - flat.sum() ** 2 < (num * LEAST_CONTRAST) ** 2:
        return None
    cosines = _cosines()
    frequencies = (cosines @ levels @ cosines.T).ravel()
    # The median; numpy's own function takes longer than everything else here.
    middle = np.sort(frequencies)[frequencies.size // 2 - 1 : frequencies.size // 2 + 1].sum() / 2
    return np.packbits(frequencies > middle).tobytes()


@cache
def _cosines() -> NDArray[np.float64]:
    """Return the cosines of the lowest frequencies, (16, 64)."""
    places = 2 * np.arange(SEEN_SIDE) + 1
    angles = np.pi * np.outer(np.arange(HASH_SIDE), places) / (2 * SEEN_SIDE)
    rounded: NDArray[np.float64] = np.round(COSINE_STEPS * np.cos(angles))
    return rounded
