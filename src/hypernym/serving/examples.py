"""Pictures to try a model with: those of a folder, or drawn ones of classes that the model knows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from hypernym.data.images import FORMATS
from hypernym.errors import SourceError
from hypernym.world.classes import CLASSES, leaves
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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


def make_examples(folder: Path | None, class_ids: Sequence[str], max_bytes: int) -> list[Example]:
    """Return the examples of a folder, or drawn ones if there is none.

    Args:
        folder: Holds image files.
        class_ids: What the first model knows.
        max_bytes: Larger files are left out.

    Raises:
        SourceError: the folder holds no picture.
    """
    return _draw(class_ids) if folder is None else _read(folder, max_bytes)


def _read(folder: Path, max_bytes: int) -> list[Example]:
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder: give one of image files as --examples.")
    found: list[Example] = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size <= max_bytes and len(found) < MOST:
            data = path.read_bytes()
            try:
                with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                    found.append(Example(path.name, data, Image.MIME[str(image.format)]))
            except UnidentifiedImageError:
                continue  # a folder of pictures often holds a list of them, too
    if not found:
        raise SourceError(f"{folder} holds no picture: give a folder of image files as --examples.")
    return found


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
