"""One image: bytes in, `Prepared` or `Rejected` out.

What is handled, and how:
    size      known from the header before anything is decoded; over `MAX_PIXELS` is refused
    JPEG      decoded by libjpeg-turbo, large photos at 1/2, 1/4 or 1/8 of their size (scaled DCT)
    others    PNG, WebP, GIF (first frame), BMP, TIFF, CMYK, 16-bit, palette, grey: by Pillow, to RGB
    fractions refused (a TIFF of floating-point numbers does not say what white is: 1, 255 ...)
    alpha     laid on white
    EXIF      the picture is turned as its orientation says, and the tag is dropped
    gzip      a gzip-compressed image (ImageNet-21K has dozens) is unpacked, within bounds
    small     an image that the policy leaves at its size keeps its JPEG bytes, if they are clean
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from hypernym.data.fingerprint import fingerprint
from hypernym.data.headers import Header, read_header, read_header_with_pillow, unpack
from hypernym.data.pixels import decode_jpeg, decode_other, encode, resize, turn
from hypernym.data.rejections import Rejected, RejectionError

if TYPE_CHECKING:
    from hypernym.data.pixels import Pixels

FIRST_SIDEWAYS = 5


class Resize(StrEnum):
    """How an image becomes `size` pixels large."""

    SQUISH = "squish"
    """To a square; the aspect ratio is not kept (the paper's preparation)."""

    SHORT_EDGE = "short-edge"
    """The shorter side becomes `size`; the aspect ratio is kept."""


@dataclass(frozen=True)
class ImagePolicy:
    """What is made of an image.

    An image that lies within the size stays as it is and the loader resizes it, as with the official
    preparation.
    """

    size: int
    """Pixels of a side (squish) or of the shorter side (short-edge)."""

    resize: Resize
    quality: int
    """JPEG quality, 1 to 100."""

    fingerprints: bool = True
    """Whether each image gets a perceptual hash, by which near duplicates are found."""

    def target(self, width: int, height: int) -> tuple[int, int]:
        """Return the stored width and height of an image of the given width and height."""
        match self.resize:
            case Resize.SQUISH:
                fits = max(width, height) < self.size
                return (width, height) if fits else (self.size, self.size)
            case Resize.SHORT_EDGE:
                scale = min(1.0, self.size / min(width, height))
                return max(1, round(width * scale)), max(1, round(height * scale))


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image that is ready to be stored."""

    jpeg: bytes
    width: int
    """Pixels of the original, as a viewer shows it."""

    height: int
    form: str
    """The format of the original: JPEG, PNG, JPEG in gzip ..."""

    fingerprint: bytes | None
    """The perceptual hash, if the policy asks for one and the picture shows something."""


def prepare_image(data: bytes, policy: ImagePolicy) -> Prepared | Rejected:
    """Decode, check, resize and encode one image."""
    try:
        unpacked = unpack(data)
        header = read_header(unpacked)
        prepare = _prepare_jpeg if header.is_plain_jpeg else _prepare_other
        prepared = prepare(unpacked, header, policy)
    except RejectionError as rejection:
        return rejection.rejected
    return prepared if unpacked is data else replace(prepared, form=f"{prepared.form} in gzip")


def is_resized(data: bytes, policy: ImagePolicy) -> bool:
    """Tell from the header of an image whether it will be resized; one that is rejected is not."""
    try:
        header = read_header(unpack(data))
    except RejectionError:
        return False
    size = header.width, header.height
    return policy.target(*size) != size


def _prepare_jpeg(data: bytes, header: Header, policy: ImagePolicy) -> Prepared:
    is_sideways = header.orientation >= FIRST_SIDEWAYS
    size = (header.height, header.width) if is_sideways else (header.width, header.height)
    target = policy.target(*size)
    width, height = target[::-1] if is_sideways else target
    unchanged = target == size
    pixels = decode_jpeg(data, header, "RGBX", (0, 0) if unchanged else (width, height))
    if pixels is None:
        return _prepare_other(data, header, policy)
    keeps_bytes = (
        unchanged and header.mode == "RGB" and header.orientation == 1 and _is_clear_to_pillow(data)
    )
    upright = turn(resize(pixels, width, height), header.orientation)
    return _finish(upright, size, header, policy, data if keeps_bytes else None)


def _is_clear_to_pillow(data: bytes) -> bool:
    """Tell whether Pillow, with which others may read what is stored, knows an image for a JPEG."""
    try:
        return read_header_with_pillow(data).form == "JPEG"
    except RejectionError:
        return False


def _prepare_other(data: bytes, header: Header, policy: ImagePolicy) -> Prepared:
    pixels = decode_other(data)
    height, width = pixels.shape[:2]
    return _finish(resize(pixels, *policy.target(width, height)), (width, height), header, policy)


def _finish(
    pixels: Pixels,
    size: tuple[int, int],
    header: Header,
    policy: ImagePolicy,
    jpeg: bytes | None = None,
) -> Prepared:
    """Encode what is to be stored, if `jpeg` is not that already, and tell all about it."""
    return Prepared(
        jpeg or encode(pixels, policy.quality),
        *size,
        header.form,
        fingerprint(pixels) if policy.fingerprints else None,
    )
