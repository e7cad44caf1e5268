"""What is alike in pictures that look alike: a perceptual hash of 256 bits.

`imagehash.phash`: the signs, against their median, of the 16 x 16 lowest frequencies of the picture at
64 x 64. Recompressed or resized, a photo changes about 2 to 30 of the bits; two photos of different
things differ in about 100 or more (`docs/log.md`, 2026-11-23).
"""

from __future__ import annotations

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


def fingerprint(pixels: NDArray[np.uint8]) -> bytes | None:
    """Return the perceptual hash of RGB pixels (H, W, 3), or None for a picture of next to nothing."""
    import imagehash

    # Averaged down first: the library's own filter over the whole picture takes three times as long.
    grey = Image.fromarray(pixels).convert("L").resize((SEEN_SIDE, SEEN_SIDE), Image.Resampling.BOX)
    if np.asarray(grey).std() < LEAST_CONTRAST:
        return None
    return np.packbits(imagehash.phash(grey, hash_size=HASH_SIDE).hash).tobytes()
