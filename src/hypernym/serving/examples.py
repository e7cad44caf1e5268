"""Pictures to try a model with: those of a folder, or drawn ones of classes that the model knows."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from hypernym.data.headers import FORMATS, PILLOW_ERRORS
from hypernym.data.pixels import decode_image
from hypernym.data.rejections import RejectionError
from hypernym.errors import SourceError
from hypernym.world.classes import CLASSES, leaves
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hypernym.serving.schema import Limits

MOST = 12
"""Examples that the page shows."""

SIDE = 256
"""Pixels of the shorter side of a drawn picture."""

SEED = 4


@dataclass(frozen=True)
class Example:
    """A picture, held in memory."""

    name: str
    data: bytes
    media_type: str


def make_examples(folder: Path | None, class_ids: Sequence[str], limits: Limits) -> list[Example]:
    """Return the examples of a folder, or drawn ones if there is none.

    Args:
        folder: Holds image files.
        class_ids: What the first model knows.
        limits: Larger pictures are left out, for the server would refuse them.

    Raises:
        SourceError: the folder holds no picture.
    """
    return _draw(class_ids) if folder is None else _read(folder, limits)


def _read(folder: Path, limits: Limits) -> list[Example]:
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder: give one of image files as --examples.")
    files = (path for path in sorted(folder.iterdir()) if path.is_file())
    examples = (_read_picture(path, limits) for path in files)
    found = list(islice(filter(None, examples), MOST))
    if not found:
        raise SourceError(f"{folder} holds no picture: give a folder of image files as --examples.")
    return found


def _read_picture(path: Path, limits: Limits) -> Example | None:
    """Read a picture, or nothing: a folder of pictures often holds a list of them, or a broken one."""
    try:
        data = path.read_bytes() if path.stat().st_size <= limits.max_bytes else b""
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(data), formats=FORMATS) as image,
        ):
            (width, height), media_type = image.size, Image.MIME[str(image.format)]
        if width * height > limits.max_pixels:
            return None
        decode_image(data, SIDE)
    except (RejectionError, Image.DecompressionBombError, *PILLOW_ERRORS):
        return None
    return Example(path.name, data, media_type)


def _draw(class_ids: Sequence[str]) -> list[Example]:
    """Draw a picture of each leaf of the drawn world that a model knows; it may know none."""
    known = set(class_ids)
    pictures: list[Example] = []
    for drawn in leaves(CLASSES):
        if drawn.id in known and len(pictures) < MOST:
            stream = io.BytesIO()
            picture = draw(drawn.id, SIDE, np.random.default_rng([SEED, len(pictures)]))
            picture.save(stream, "JPEG", quality=90)
            pictures.append(Example(f"{drawn.name}.jpg", stream.getvalue(), "image/jpeg"))
    return pictures
