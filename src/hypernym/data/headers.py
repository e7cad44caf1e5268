"""What an image says of itself before its pixels are decoded.

What is refused here costs nothing: what is no image, and an image whose header promises more pixels
than anyone should decode.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import simplejpeg
from PIL import Image, UnidentifiedImageError

from hypernym.data.rejections import Reason, RejectionError

MAX_PIXELS = 89_478_485
"""Pillow's own bound against decompression bombs: 256 MiB of RGB."""

MIN_SIDE = 8
"""Pixels; a shorter side holds no picture of anything."""

MAX_UNPACKED_BYTES = 64 << 20
"""An image that unpacks to more from gzip is a bomb."""

EXIF_ORIENTATION = 0x0112

ORIENTATIONS = range(1, 9)

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

START_OF_SCAN = b"\xff\xda"

SEGMENTS = range(0xFFC0, 0xFFFE + 1)

APP1 = 0xFFE1
"""The segment of EXIF and XMP, which may turn the picture."""

SEVERAL_PICTURES = b"MPF\0"
"""How the segment begins that makes a JPEG a file of several pictures."""

MODES = {"YCbCr": "RGB", "RGB": "RGB", "Gray": "L"}
"""Pillow's word for a colour space of simplejpeg."""

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes of an image say."""

    form: str
    """The format, in Pillow's words: JPEG, PNG ..."""

    mode: str
    """The pixels, in Pillow's words: RGB, L, P ..."""

    width: int
    """Pixels as they are stored, before the picture is turned."""

    height: int
    orientation: int
    """As EXIF says, of a JPEG; 1 is upright."""

    @property
    def is_plain_jpeg(self) -> bool:
        """Whether libjpeg-turbo alone gives the right pixels, if perhaps not upright."""
        return self.form == "JPEG" and self.mode in {"RGB", "L"}


def unpack(data: bytes) -> bytes:
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


def read_header(data: bytes) -> Header:
    """Read the header of an image.

    Raises:
        RejectionError: it is no image, is damaged, or has too many or too few pixels.
    """
    if not data:
        raise RejectionError(Reason.EMPTY)
    header = _read_plain_header(data) or read_header_with_pillow(data)
    size = f"{header.width}x{header.height} pixels"
    if header.width * header.height > MAX_PIXELS:
        raise RejectionError(Reason.TOO_LARGE, size)
    if min(header.width, header.height) < MIN_SIDE:
        raise RejectionError(Reason.TOO_SMALL, size)
    return header


def _read_plain_header(data: bytes) -> Header | None:
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
    return Header("JPEG", MODES[colours], width, height, 1) if colours in MODES else None


def read_header_with_pillow(data: bytes) -> Header:
    """Read the header of an image of any format, whatever its size."""
    try:
        with open_image(data) as image:
            # Only a JPEG has its EXIF before its pixels; others are turned when they are decoded.
            orientation = read_orientation(image) if image.format == "JPEG" else 1
            return Header(str(image.format), image.mode, *image.size, orientation)
    except UnidentifiedImageError as cause:
        reason = Reason.UNDECODABLE if data.startswith(JPEG_MAGIC) else Reason.NOT_AN_IMAGE
        raise RejectionError(reason, "no image format fits its first bytes") from cause


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation; damaged EXIF, or one of no known turn, says nothing (1: upright)."""
    try:
        with warnings.catch_warnings(action="ignore"):
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    except PILLOW_ERRORS:
        return 1
    return orientation if orientation in ORIENTATIONS else 1


def open_image(data: bytes) -> Image.Image:
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
