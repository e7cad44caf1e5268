"""Bytes in, pixels out, and back: decoding, turning, resizing and encoding.

Pixels are uint8 (H, W, 3), RGB; or of JPEGs that are to be stored (H, W, 4), RGBX: X is never looked
at, and whoever reads four bytes at a time is faster.
"""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from hypernym.data.headers import (
    PILLOW_ERRORS,
    START_OF_SCAN,
    Header,
    open_image,
    read_header,
    read_orientation,
    unpack,
)
from hypernym.data.rejections import Reason, RejectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

RESIZER = "torch"
"""The module that resizes; imported with the first image that needs it, for it takes seconds."""

SCRATCH_BYTES = 16 << 20
"""Pictures that are decoded to four megapixels or less are decoded into memory that is used again."""

SCALES = (8, 4, 2)
"""Divisors of a side for which libjpeg-turbo has fast code; at 5/8 or 7/8 it is slower than at 1."""

_own = threading.local()

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

END_OF_IMAGE = b"\xff\xd9"


def decode_image(data: bytes, side: int = 0) -> Pixels:
    """Decode an image of any kind that `prepare` takes to RGB pixels (H, W, 3).

    Args:
        data: The file.
        side: Pixels of a side to which it will be resized: a large photo is decoded at a fraction of its
            size, to twice that or more. 0: to its full size.

    Raises:
        RejectionError: with the reason for which `prepare` would leave it out.
    """
    data = unpack(data)
    header = read_header(data)
    pixels = decode_jpeg(data, header, "RGB", (side, side)) if header.is_plain_jpeg else None
    return decode_other(data) if pixels is None else turn(pixels, header.orientation)


def to_pixels(image: Image.Image) -> Pixels:
    """Return an opened image as RGB pixels (H, W, 3), upright; alpha is laid on white.

    Raises:
        RejectionError: it is damaged.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            image.load()
            is_turned = read_orientation(image) != 1
            return np.array(_to_rgb(ImageOps.exif_transpose(image) if is_turned else image))
    except PILLOW_ERRORS as cause:
        reason = Reason.TRUNCATED if "truncated" in str(cause) else Reason.UNDECODABLE
        raise RejectionError(reason, str(cause)) from cause


def decode_jpeg(
    data: bytes, header: Header, colours: str, target: tuple[int, int] = (0, 0)
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


def decode_other(data: bytes) -> Pixels:
    """Decode an image that libjpeg-turbo alone does not give rightly, upright."""
    with open_image(data) as image:
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


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turn a picture upright."""
    return pixels if orientation == 1 else np.ascontiguousarray(TURNS[orientation](pixels))


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
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


def encode(pixels: Pixels, quality: int) -> bytes:
    """Encode pixels to a JPEG of a quality of 1 to 100, its colours at half the size."""
    colours = "RGB" if pixels.shape[2] == len("RGB") else "RGBX"
    jpeg: bytes = simplejpeg.encode_jpeg(
        pixels, quality=quality, colorspace=colours, colorsubsampling="420"
    )
    return jpeg
