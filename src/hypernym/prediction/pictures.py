"""What may be given as a picture: a file, bytes, pixels, a PIL image; decoded where it is needed."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from PIL import Image

from hypernym.data.pixels import decode_image, to_pixels
from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

CHANNELS = 3
GREY, WITH_ALPHA = 1, 4
"""Other numbers of channels that a picture may have."""

SEVERAL = 4
"""Axes of an array or tensor of several pictures."""


class Picture(Protocol):
    """Anything that has a name and can become pixels; loading processes are sent it."""

    @property
    def name(self) -> str:
        """What a person knows it by."""

    def decode(self, side: int) -> Pixels:
        """Return RGB pixels (H, W, 3), of a large photo fewer, for a model that sees `side` pixels.

        Raises:
            RejectionError: with the reason for which it cannot be used.
        """


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file."""

    path: Path

    @property
    def name(self) -> str:
        r"""The path as it was given; bytes of it that are no UTF-8 stand as `\xff`."""
        return os.fsencode(self.path).decode(errors="backslashreplace")

    def decode(self, side: int) -> Pixels:
        """Read and decode the file."""
        try:
            # A pipe that nobody writes to would keep a plain `open` waiting.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise RejectionError(Reason.NOT_A_FILE)
            with os.fdopen(descriptor, "rb") as stream:
                data = stream.read()
        except OSError as cause:
            raise RejectionError(Reason.UNREADABLE, str(cause.strerror)) from cause
        except ValueError as cause:  # a NUL in the path: each Python has its own words for it
            raise RejectionError(Reason.UNREADABLE, "embedded null byte") from cause
        return decode_image(data, side)


@dataclass(frozen=True, slots=True)
class PictureBytes:
    """The bytes of an image file of any kind that `prepare` takes."""

    data: bytes
    name: str

    def decode(self, side: int) -> Pixels:
        """Decode the bytes."""
        return decode_image(self.data, side)


@dataclass(frozen=True, slots=True)
class MissingPicture:
    """What stands in a place of pictures and can be none: a row with a reason, for nothing is lost."""

    name: str
    reason: Reason
    detail: str = ""

    def decode(self, side: int) -> Pixels:  # noqa: ARG002 - there are no pixels
        """Say why there is no picture."""
        raise RejectionError(self.reason, self.detail)


@dataclass(frozen=True, slots=True)
class PicturePixels:
    """Pixels that are decoded already: uint8 (H, W, 3)."""

    pixels: Pixels
    name: str

    def decode(self, side: int) -> Pixels:  # noqa: ARG002 - pixels are what they are
        """Return the pixels."""
        return self.pixels


def take_pictures(images: Any) -> list[Picture]:  # noqa: ANN401 - whatever a person calls a picture
    """Return the pictures that are meant by one thing or several.

    Args:
        images: A path, the bytes of a file, a file open for reading bytes, a PIL image, a `Picture`; an
            array uint8 (H, W), (H, W, 1), (H, W, 3) or, with alpha, which is laid on white, (H, W, 4);
            a tensor uint8 (3, H, W) or (1, H, W); an array or a tensor of one more axis; or an iterable
            of these.

    Raises:
        SourceError: something is none of these. A picture that is damaged is one that says so when it
            is decoded.
    """
    single = _take(images, "picture 0")
    if single is not None:
        return [single]
    if isinstance(images, (str, bytes)) or not hasattr(images, "__iter__") or _is_no_list(images):
        raise SourceError(_none(images, "what was given"))
    return list(_take_each(images))


def _is_no_list(images: Any) -> bool:  # noqa: ANN401 - whatever a person calls a picture
    """Tell whether to iterate would take the rows of something for pictures, or the lines of a text."""
    if isinstance(images, np.ndarray) and images.dtype.kind in "OU":  # paths, images
        return False
    is_pixels = isinstance(images, (np.ndarray, torch.Tensor))
    return images.ndim != SEVERAL if is_pixels else hasattr(images, "read")


def _take_each(images: Iterable[Any]) -> Iterable[Picture]:
    for number, image in enumerate(images):
        picture = _take(image, f"picture {number}")
        if picture is None:
            raise SourceError(_none(image, f"picture {number}"))
        yield picture


def _take(image: Any, name: str) -> Picture | None:  # noqa: ANN401, PLR0911 - a case a kind of picture
    match image:
        case str() | os.PathLike():
            return PictureFile(Path(image))
        case bytes() | bytearray() | memoryview():
            return PictureBytes(bytes(image), name)
        case Image.Image():
            return _take_image(image, str(getattr(image, "filename", "")) or name)
        case torch.Tensor():
            return _take_array(image.cpu().permute(1, 2, 0).numpy(), name) if _is_planar(image) else None
        case np.ndarray():
            return _take_array(image, name)
    if hasattr(image, "decode") and hasattr(image, "name"):
        picture: Picture = image
        return picture
    return _take_stream(image, name) if hasattr(image, "read") else None


def _take_image(image: Image.Image, name: str) -> Picture:
    try:
        return _take_pixels(to_pixels(image), name)
    except RejectionError as rejection:  # a file that was opened, and is cut off
        return MissingPicture(name, rejection.rejected.reason, rejection.rejected.detail)


def _take_array(array: NDArray[Any], name: str) -> Picture | None:
    if array.dtype != np.uint8:
        return None
    match array.shape:
        case (_, _):
            return _take_pixels(np.repeat(array[:, :, None], CHANNELS, axis=2), name)
        case (_, _, channels) if channels == GREY:
            return _take_pixels(np.repeat(array, CHANNELS, axis=2), name)
        case (_, _, channels) if channels == CHANNELS:
            return _take_pixels(np.ascontiguousarray(array), name)
        case (_, _, channels) if channels == WITH_ALPHA:
            return _take_image(Image.fromarray(array), name) if array.size else _take_pixels(array, name)
    return None


def _take_pixels(pixels: Pixels, name: str) -> Picture:
    height, width = pixels.shape[:2]
    if not pixels.size:
        return MissingPicture(name, Reason.TOO_SMALL, f"{width}x{height} pixels")
    return PicturePixels(pixels, name)


def _take_stream(stream: Any, name: str) -> Picture | None:  # noqa: ANN401 - whatever has a `read`
    """Take the bytes of an open file, if it gives bytes."""
    own = getattr(stream, "name", None)
    name = own if isinstance(own, str) and own else name
    if isinstance(stream, io.TextIOBase):
        return None
    try:
        data = stream.read()
    except (OSError, ValueError) as cause:  # closed, or open for writing
        return MissingPicture(name, Reason.UNREADABLE, str(cause))
    return PictureBytes(data, name) if isinstance(data, bytes) else None


def _is_planar(image: torch.Tensor) -> bool:
    return image.ndim == CHANNELS and image.shape[0] in {GREY, CHANNELS}


def _none(image: Any, which: str) -> str:  # noqa: ANN401 - it is what it should not be
    kind = type(image).__name__
    if hasattr(image, "dtype") and hasattr(image, "shape"):
        kind = f"{kind} of {image.dtype} {tuple(image.shape)}"
    return (
        f"{which} is a {kind}, no picture: give a path, the bytes of a file, a file open for reading "
        f"bytes, a PIL image, an array of uint8 (height, width, 3) or a tensor of uint8 (3, height, "
        f"width)."
    )
