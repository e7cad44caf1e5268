"""What may be given as a picture: a file, bytes, pixels, a PIL image; decoded where it is needed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from PIL import Image

from hypernym.data.images import decode_image, to_pixels
from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

CHANNELS = 3


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
            data = self.path.read_bytes()
        except OSError as cause:
            raise RejectionError(Reason.UNREADABLE, str(cause.strerror)) from cause
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
        images: A path, bytes, a PIL image, an array uint8 (H, W, 3) or (H, W), a tensor uint8
            (3, H, W), a `Picture`; or an iterable of them, such as an array (N, H, W, 3).

    Raises:
        SourceError: something is none of these.
    """
    single = _take(images, "picture 0")
    if single is not None:
        return [single]
    if isinstance(images, (str, bytes)) or not hasattr(images, "__iter__"):
        raise SourceError(_none(images, "what was given"))
    return list(_take_each(images))


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
            return PicturePixels(to_pixels(image), str(getattr(image, "filename", "")) or name)
        case torch.Tensor() if image.dtype == torch.uint8 and _is_planar(image):
            return PicturePixels(np.ascontiguousarray(image.cpu().permute(1, 2, 0).numpy()), name)
        case np.ndarray() if image.dtype == np.uint8 and image.ndim == 2:  # noqa: PLR2004 - grey
            return PicturePixels(np.repeat(image[:, :, None], CHANNELS, axis=2), name)
        case np.ndarray() if image.dtype == np.uint8 and _is_interleaved(image):
            return PicturePixels(image, name)
    return image if hasattr(image, "decode") and hasattr(image, "name") else None


def _is_planar(image: torch.Tensor) -> bool:
    return image.ndim == CHANNELS and image.shape[0] == CHANNELS


def _is_interleaved(image: NDArray[Any]) -> bool:
    return image.ndim == CHANNELS and image.shape[2] == CHANNELS


def _none(image: Any, which: str) -> str:  # noqa: ANN401 - it is what it should not be
    kind = type(image).__name__
    if hasattr(image, "dtype") and hasattr(image, "shape"):
        kind = f"{kind} of {image.dtype} {tuple(image.shape)}"
    return (
        f"{which} is a {kind}, no picture: give a path, the bytes of a file, a PIL image, an array "
        f"of uint8 (height, width, 3) or a tensor of uint8 (3, height, width)."
    )
