"""One image: bytes in, `Prepared` or `Rejected` out.

What is handled, and how:
    size      known from the header before anything is decoded; over `MAX_PIXELS` is refused
    JPEG      decoded by libjpeg-turbo, large photos at 1/2, 1/4 or 1/8 of their size (scaled DCT)
    others    PNG, WebP, GIF (first frame), BMP, TIFF, CMYK, 16-bit, palette, grey: by Pillow, to RGB
    fractions refused (a TIFF of floating-point numbers does not say what white is: 1, 255 ...)
    alpha     laid on white
    EXIF      the picture is turned as its orientation says, and the tag is dropped
    channels  pixels are RGB (H, W, 3), or of JPEGs to be stored RGBX (H, W, 4): X is never looked at,
              and whoever reads four bytes at a time is faster
    gzip      a gzip-compressed image (ImageNet-21K has dozens) is unpacked, within bounds
    small     an image that the policy leaves at its size keeps its JPEG bytes, if they are clean
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from hypernym.data.fingerprint import fingerprint
from hypernym.data.rejections import Reason, Rejected, RejectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

MAX_PIXELS = 89_478_485
"""Pillow's own bound against decompression bombs: 256 MiB of RGB."""

MIN_SIDE = 8
"""Pixels; a shorter side holds no picture of anything."""

MAX_UNPACKED_BYTES = 64 << 20
"""An image that unpacks to more from gzip is a bomb."""

RESIZER = "torch"
"""The module that resizes; imported with the first image that needs it, for it takes seconds."""

SCRATCH_BYTES = 16 << 20
"""Pictures that are decoded to four megapixels or less are decoded into memory that is used again."""

SCALES = (8, 4, 2)
"""Divisors of a side for which libjpeg-turbo has fast code; at 5/8 or 7/8 it is slower than at 1."""

_own = threading.local()

EXIF_ORIENTATION = 0x0112
TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}
"""What makes a picture of an EXIF orientation upright; from 5 on, width and height change places."""

FIRST_SIDEWAYS = 5

PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    ArithmeticError,
    LookupError,
    TypeError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on damaged files."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
"""What Pillow may open: not the formats that it hands to other programs (EPS) or that hold no photos."""

JPEG_MAGIC = b"\xff\xd8\xff"
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
SEGMENTS = range(0xFFC0, 0xFFFE + 1)
APP1 = 0xFFE1
"""The segment of EXIF and XMP, which may turn the picture."""

SEVERAL_PICTURES = b"MPF\0"
"""How the segment begins that makes a JPEG a file of several pictures."""

MODES = {"YCbCr": "RGB", "RGB": "RGB", "Gray": "L"}
"""Pillow's word for a colour space of simplejpeg."""

GZIP_MAGIC = b"\x1f\x8b"


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
        unpacked = _unpack(data)
        header = _read_header(unpacked)
        prepare = _prepare_jpeg if header.is_plain_jpeg else _prepare_other
        prepared = prepare(unpacked, header, policy)
    except RejectionError as rejection:
        return rejection.rejected
    return prepared if unpacked is data else replace(prepared, form=f"{prepared.form} in gzip")


def is_resized(data: bytes, policy: ImagePolicy) -> bool:
    """Tell from the header of an image whether it will be resized; one that is rejected is not."""
    try:
        header = _read_header(_unpack(data))
    except RejectionError:
        return False
    size = header.width, header.height
    return policy.target(*size) != size


def decode_image(data: bytes, side: int = 0) -> Pixels:
    """Decode an image of any kind that `prepare` takes to RGB pixels (H, W, 3).

    Args:
        data: The file.
        side: Pixels of a side to which it will be resized: a large photo is decoded at a fraction of its
            size, to twice that or more. 0: to its full size.

    Raises:
        RejectionError: with the reason for which `prepare` would leave it out.
    """
    data = _unpack(data)
    header = _read_header(data)
    pixels = _decode_jpeg(data, header, "RGB", (side, side)) if header.is_plain_jpeg else None
    return _decode_other(data) if pixels is None else _turn(pixels, header.orientation)


def to_pixels(image: Image.Image) -> Pixels:
    """Return an opened image as RGB pixels (H, W, 3), upright; alpha is laid on white.

    Raises:
        RejectionError: it is damaged.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            image.load()
            is_turned = _read_orientation(image) != 1
            return np.array(_to_rgb(ImageOps.exif_transpose(image) if is_turned else image))
    except PILLOW_ERRORS as cause:
        reason = Reason.TRUNCATED if "truncated" in str(cause) else Reason.UNDECODABLE
        raise RejectionError(reason, str(cause)) from cause


@dataclass(frozen=True, slots=True)
class _Header:
    form: str
    mode: str
    width: int
    """Pixels as they are stored, before the picture is turned."""

    height: int
    orientation: int
    """As EXIF says, of a JPEG; 1 is upright."""

    @property
    def is_plain_jpeg(self) -> bool:
        """Whether libjpeg-turbo alone gives the right pixels, if perhaps not upright."""
        return self.form == "JPEG" and self.mode in {"RGB", "L"}


def _unpack(data: bytes) -> bytes:
    """Take an image out of gzip, if it is in one."""
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        unpacker = zlib.decompressobj(wbits=31)
        unpacked = unpacker.decompress(data, MAX_UNPACKED_BYTES)
    except zlib.error as cause:
        raise RejectionError(Reason.UNDECODABLE, f"gzip: {cause}") from cause
    if unpacker.unconsumed_tail:
        raise RejectionError(Reason.TOO_LARGE, f"gzip: over {MAX_UNPACKED_BYTES} bytes")
    if not unpacker.eof:
        raise RejectionError(Reason.TRUNCATED, "gzip: the stream does not end")
    return unpacked


def _read_header(data: bytes) -> _Header:
    if not data:
        raise RejectionError(Reason.EMPTY)
    header = _read_plain_header(data) or _read_header_with_pillow(data)
    size = f"{header.width}x{header.height} pixels"
    if header.width * header.height > MAX_PIXELS:
        raise RejectionError(Reason.TOO_LARGE, size)
    if min(header.width, header.height) < MIN_SIDE:
        raise RejectionError(Reason.TOO_SMALL, size)
    return header


def _read_plain_header(data: bytes) -> _Header | None:
    """Read the header of a JPEG without EXIF; None of all else. Pillow takes ten times as long."""
    if not data.startswith(JPEG_MAGIC):
        return None
    try:
        place = 2
        while data[place : place + 2] != START_OF_SCAN:
            segment, length = struct.unpack_from(">HH", data, place)
            is_telling = segment == APP1 or data.startswith(SEVERAL_PICTURES, place + 4)
            if is_telling or segment not in SEGMENTS:
                return None
            place += 2 + length
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except (struct.error, ValueError):
        return None
    return _Header("JPEG", MODES[colours], width, height, 1) if colours in MODES else None


def _read_header_with_pillow(data: bytes) -> _Header:
    try:
        with _open_image(data) as image:
            # Only a JPEG has its EXIF before its pixels; others are turned when they are decoded.
            orientation = _read_orientation(image) if image.format == "JPEG" else 1
            return _Header(str(image.format), image.mode, *image.size, orientation)
    except UnidentifiedImageError as cause:
        reason = Reason.UNDECODABLE if data.startswith(JPEG_MAGIC) else Reason.NOT_AN_IMAGE
        raise RejectionError(reason, "no image format fits its first bytes") from cause


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; damaged EXIF, or one of no known turn, says nothing (1: upright)."""
    try:
        with warnings.catch_warnings(action="ignore"):
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    except PILLOW_ERRORS:
        return 1
    return orientation if orientation in TURNS else 1


def _open_image(data: bytes) -> Image.Image:
    """Open an image without decoding it; damage anywhere in its header is a rejection."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise
    except Image.DecompressionBombError as cause:
        raise RejectionError(Reason.TOO_LARGE, str(cause)) from cause
    except PILLOW_ERRORS as cause:
        reason = Reason.TRUNCATED if "truncated" in str(cause).lower() else Reason.UNDECODABLE
        raise RejectionError(reason, str(cause)) from cause


def _prepare_jpeg(data: bytes, header: _Header, policy: ImagePolicy) -> Prepared:
    is_sideways = header.orientation >= FIRST_SIDEWAYS
    size = (header.height, header.width) if is_sideways else (header.width, header.height)
    target = policy.target(*size)
    width, height = target[::-1] if is_sideways else target
    unchanged = target == size
    pixels = _decode_jpeg(data, header, "RGBX", (0, 0) if unchanged else (width, height))
    if pixels is None:
        return _prepare_other(data, header, policy)
    keeps_bytes = (
        unchanged and header.mode == "RGB" and header.orientation == 1 and _is_clear_to_pillow(data)
    )
    upright = _turn(_resize(pixels, width, height), header.orientation)
    return _finish(upright, size, header, policy, data if keeps_bytes else None)


def _is_clear_to_pillow(data: bytes) -> bool:
    """Tell whether Pillow, with which others may read what is stored, knows an image for a JPEG."""
    try:
        return _read_header_with_pillow(data).form == "JPEG"
    except RejectionError:
        return False


def _prepare_other(data: bytes, header: _Header, policy: ImagePolicy) -> Prepared:
    pixels = _decode_other(data)
    height, width = pixels.shape[:2]
    return _finish(_resize(pixels, *policy.target(width, height)), (width, height), header, policy)


def _finish(
    pixels: Pixels,
    size: tuple[int, int],
    header: _Header,
    policy: ImagePolicy,
    jpeg: bytes | None = None,
) -> Prepared:
    """Encode what is to be stored, if `jpeg` is not that already, and tell all about it."""
    return Prepared(
        jpeg or _encode(pixels, policy),
        *size,
        header.form,
        fingerprint(pixels) if policy.fingerprints else None,
    )


def _scratch(size: int) -> Pixels | None:
    """Return memory of this thread for a decoded picture, which the next picture overwrites.

    Fresh memory comes a page at a time, which takes a quarter of the time of decoding.
    """
    if size > SCRATCH_BYTES:
        return None
    if not hasattr(_own, "scratch"):
        # What is freed here for once teaches glibc to keep blocks of this size and less (mallopt(3),
        # M_MMAP_THRESHOLD): else what torch asks for comes fresh with every picture.
        np.empty(SCRATCH_BYTES + 1, np.uint8)
        _own.scratch = np.empty(SCRATCH_BYTES, np.uint8)
    scratch: Pixels = _own.scratch
    return scratch


def _decode_jpeg(
    data: bytes, header: _Header, colours: str, target: tuple[int, int] = (0, 0)
) -> Pixels | None:
    """Decode to RGB or RGBX (H, W, C); None of a file with padding, which Pillow must decode.

    Args:
        data: The file.
        header: What it says of itself.
        colours: RGB; or RGBX, in memory that the next picture overwrites.
        target: Width and height to which the picture will be resized: it is decoded to twice of them
            or more, so that the resizer does the anti-aliasing. (0, 0): to its full size.
    """
    sides = header.width, header.height
    scale = next((scale for scale in SCALES if _is_large(sides, scale, target)), 1)
    width, height = (-(-side // scale) for side in sides)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            data,
            colorspace=colours,
            min_width=width,
            min_height=height,
            buffer=_scratch(width * height * 4) if colours == "RGBX" else None,
        )
    except ValueError as cause:
        if "extraneous bytes" in str(cause):  # harmless padding, which some cameras write
            return None
        ends = END_OF_IMAGE not in data[max(data.rfind(START_OF_SCAN), 0) :]
        raise RejectionError(Reason.TRUNCATED if ends else Reason.UNDECODABLE, str(cause)) from cause
    return pixels


def _is_large(sides: tuple[int, int], scale: int, target: tuple[int, int]) -> bool:
    """Tell whether a picture is at least twice the target, if not (0, 0), at a fraction of its size."""
    return all(side >= 2 * scale * wanted > 0 for side, wanted in zip(sides, target, strict=True))


def _turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turn a picture upright."""
    return pixels if orientation == 1 else np.ascontiguousarray(TURNS[orientation](pixels))


def _decode_other(data: bytes) -> Pixels:
    with _open_image(data) as image:
        return to_pixels(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise RejectionError(Reason.UNDECODABLE, "pixels are fractions, and nothing says what white is")
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize by anti-aliased bicubic interpolation, (H, W, C) to (height, width, C)."""
    if pixels.shape[:2] == (height, width):
        return pixels
    import torch  # `RESIZER`
    from torch.nn.functional import interpolate

    # A (1, C, H, W) view of pixels that lie channels-last: torch has a uint8 kernel for just that. The
    # batch is added before the axes are turned: else torch does not see the order, and gives another.
    view_1CHW = torch.from_numpy(pixels).unsqueeze(0).permute(0, 3, 1, 2)
    resized_1CHW = interpolate(view_1CHW, (height, width), mode="bicubic", antialias=True)
    resized: Pixels = resized_1CHW.permute(0, 2, 3, 1).squeeze(0).contiguous().numpy()
    return resized


def _encode(pixels: Pixels, policy: ImagePolicy) -> bytes:
    colours = "RGB" if pixels.shape[2] == len("RGB") else "RGBX"
    jpeg: bytes = simplejpeg.encode_jpeg(
        pixels, quality=policy.quality, colorspace=colours, colorsubsampling="420"
    )
    return jpeg
