"""What can be shown of an image that was rejected: a thumbnail of as much as can be decoded."""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageFile

from hypernym.data.headers import FORMATS, MAX_PIXELS, PILLOW_ERRORS
from hypernym.data.rejections import Reason

SKETCH_SIDE = 96
SHOWABLE = frozenset({Reason.TRUNCATED, Reason.UNDECODABLE, Reason.TOO_SMALL})
"""Reasons for which there may be something to see."""


def sketch_image(data: bytes, reason: Reason) -> bytes | None:
    """Return a small JPEG of a rejected image, grey where it could not be decoded; None if that fails.

    It is for people who look at the report, and never enters a dataset.
    """
    if reason not in SHOWABLE:
        return None
    # Pillow has no other way to be asked for half an image.
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data), formats=FORMATS) as image,
        ):
            if image.width * image.height > MAX_PIXELS:
                return None
            image.draft("RGB", (SKETCH_SIDE, SKETCH_SIDE))
            image.thumbnail((SKETCH_SIDE, SKETCH_SIDE))
            stream = io.BytesIO()
            image.convert("RGB").save(stream, "JPEG")
            return stream.getvalue()
    except (*PILLOW_ERRORS, Image.DecompressionBombError):
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
