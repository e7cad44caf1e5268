import gzip
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hypernym.data import headers, images
from hypernym.data.images import ImagePolicy, Prepared, Resize, is_resized, prepare_image
from hypernym.data.pixels import decode_image, resize
from hypernym.data.rejections import Reason, Rejected, RejectionError

SQUISH = ImagePolicy(64, Resize.SQUISH, 95)
SHORT_EDGE = ImagePolicy(64, Resize.SHORT_EDGE, 95)
ORIENTATION = 0x0112


def quarters(width: int, height: int) -> Image.Image:
    """Return a picture of which each quarter has a colour of its own."""
    small = Image.new("RGB", (2, 2))
    small.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)])
    return small.resize((width, height), Image.Resampling.NEAREST)


def photo(width: int, height: int) -> Image.Image:
    """Return a picture with shades and details of all sizes down to a few pixels, like a photo."""
    y, x = np.mgrid[0:height, 0:width] / 100
    light = 25 * (np.sin(17 * x - 9 * y) + np.sin(60 * x + 75 * y) + np.sin(x * x * 20 + y))
    shades = [30 * np.sin(x + y), 30 * np.cos(2 * y - x), 30 * np.sin(2 * x)]
    channels = [127 + light + shade for shade in shades]
    return Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    packed = io.BytesIO()
    image.save(packed, form, **options)
    return packed.getvalue()


def with_orientation(image: Image.Image, form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(image, form, exif=exif, quality=95)


def prepare(data: bytes, policy: ImagePolicy = SQUISH) -> Prepared:
    prepared = prepare_image(data, policy)
    assert isinstance(prepared, Prepared), prepared
    return prepared


def pixels_of(prepared: Prepared) -> NDArray[np.uint8]:
    """Return what any reader of JPEG shows, which must be RGB with nothing left to turn."""
    with Image.open(io.BytesIO(prepared.jpeg)) as image:
        assert image.format == "JPEG"
        assert image.mode == "RGB"
        assert image.getexif().get(ORIENTATION, 1) == 1
        return np.asarray(image)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio in dB."""
    error = np.mean((one.astype(float) - other.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


def reason_of(data: bytes, policy: ImagePolicy = SQUISH) -> Reason:
    rejected = prepare_image(data, policy)
    assert isinstance(rejected, Rejected), rejected
    with pytest.raises(RejectionError) as raised:
        decode_image(data)
    assert raised.value.rejected == rejected
    return rejected.reason


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


# --- what is left out ---------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", gzip.compress(b"", mtime=0)])
def test_no_bytes_are_empty(data: bytes) -> None:
    assert reason_of(data) == Reason.EMPTY


@pytest.mark.parametrize(
    "data",
    [b"<html></html>", bytes(1000), b"\xff\xd8", gzip.compress(b"text", mtime=0), b"%PDF-1.4 " * 9],
)
def test_other_files_are_no_images(data: bytes) -> None:
    assert reason_of(data) == Reason.NOT_AN_IMAGE


def test_a_program_in_postscript_is_no_image_and_is_never_run() -> None:
    """Pillow would hand it to Ghostscript."""
    assert reason_of(encode(quarters(20, 20), "EPS")) == Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_an_image_that_ends_early_is_truncated(form: str) -> None:
    whole = encode(photo(100, 80), form)
    assert reason_of(whole[: len(whole) * 2 // 3]) == Reason.TRUNCATED


@pytest.mark.parametrize("options", [{"progressive": True}, {"quality": 30}, {"subsampling": 0}])
def test_a_jpeg_of_any_kind_that_ends_early_is_truncated(options: dict[str, object]) -> None:
    whole = encode(photo(100, 80), "JPEG", **options)
    start = whole.index(b"\xff\xda") + 20
    for length in range(start, len(whole) - 2, 7):
        assert reason_of(whole[:length]) == Reason.TRUNCATED, f"{length} of {len(whole)} bytes"


def test_a_gzip_that_ends_early_is_truncated() -> None:
    packed = gzip.compress(encode(photo(100, 80), "JPEG"))
    assert reason_of(packed[:-20]) == Reason.TRUNCATED


def test_images_that_are_damaged_inside_are_undecodable() -> None:
    jpeg = encode(photo(100, 80), "JPEG")
    start_of_scan = jpeg.index(b"\xff\xda")
    middle = (start_of_scan + len(jpeg)) // 2
    assert reason_of(jpeg[:middle] + b"\xff\xd9" + jpeg[middle + 2 :]) == Reason.UNDECODABLE
    assert reason_of(jpeg[:start_of_scan] + b"\xff\xd9") == Reason.UNDECODABLE
    png = encode(photo(100, 80), "PNG")
    assert reason_of(png[:200] + bytes(9) + png[209:]) == Reason.UNDECODABLE
    packed = bytearray(gzip.compress(jpeg))
    packed[-6] ^= 1  # of its checksum
    assert reason_of(bytes(packed)) == Reason.UNDECODABLE


@pytest.mark.parametrize("side", [9_460, 20_000, 100_000])
def test_a_header_of_too_many_pixels_is_refused_before_they_are_decoded(side: int) -> None:
    assert reason_of(png_header(side, side)) == Reason.TOO_LARGE


def test_a_size_just_within_the_bound_is_not_too_large() -> None:
    assert reason_of(png_header(headers.MAX_PIXELS // 8, 8)) != Reason.TOO_LARGE


def test_a_gzip_that_unpacks_without_bounds_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason_of(gzip.compress(bytes(headers.MAX_UNPACKED_BYTES + 1))) == Reason.TOO_LARGE
    jpeg = encode(photo(100, 80), "JPEG")
    monkeypatch.setattr(headers, "MAX_UNPACKED_BYTES", len(jpeg) // 2)
    assert reason_of(gzip.compress(jpeg)) == Reason.TOO_LARGE


@pytest.mark.parametrize("size", [(7, 100), (100, 7), (1, 1)])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_side_of_a_few_pixels_is_too_small(form: str, size: tuple[int, int]) -> None:
    assert reason_of(encode(quarters(*size), form)) == Reason.TOO_SMALL


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage!xxxx", b"Exif\0\0MM\0*"])
def test_damaged_exif_says_nothing_and_costs_nothing(form: str, exif: bytes) -> None:
    stream = io.BytesIO()
    photo(64, 48).save(stream, form, exif=exif, **({"dpi": (72, 72)} if form == "JPEG" else {}))
    prepared = prepare(stream.getvalue())
    assert (prepared.width, prepared.height) == (64, 48)


def test_eight_pixels_are_enough() -> None:
    assert (prepare(encode(quarters(8, 8), "PNG")).width) == 8


@given(
    st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4),
    st.integers(0, 3000),
)
def test_no_change_of_bytes_raises_anything_else(
    form: str, changes: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(ORIENTED[form][:length])
    for place, value in changes:
        if place < len(data):
            data[place] = value
    result = prepare_image(bytes(data), SQUISH)
    if isinstance(result, Prepared):
        assert min(pixels_of(result).shape[:2]) >= 1


ORIENTED = {
    form: encode(quarters(40, 30), form)
    if form in {"GIF", "BMP"}
    else with_orientation(quarters(40, 30), form, 6)
    for form in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
}


# --- what is made of the others -----------------------------------------------------------------


@pytest.mark.parametrize("white", [1, 255])
def test_a_picture_of_fractions_is_refused_for_nothing_says_what_white_is(white: int) -> None:
    grey = np.linspace(0, white, 64 * 64, dtype=np.float32).reshape(64, 64)
    rejected = prepare_image(encode(Image.fromarray(grey), "TIFF"), ImagePolicy(32, Resize.SQUISH, 95))
    assert isinstance(rejected, Rejected)
    assert rejected.sentence == "undecodable (pixels are fractions, and nothing says what white is)"


def grey_in_16_bits(image: Image.Image, order: str) -> Image.Image:
    values = np.asarray(image.convert("L")).astype(f"{order}u2") * 257
    mode = "I;16" if order == "<" else "I;16B"
    return Image.frombytes(mode, image.size, values.astype(f"{order}u2").tobytes())


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": lambda image: encode(image, "JPEG", quality=95),
    "progressive JPEG": lambda image: encode(image, "JPEG", quality=95, progressive=True),
    "RGB JPEG": lambda image: encode(image, "JPEG", quality=95, keep_rgb=True),
    "CMYK JPEG": lambda image: encode(image.convert("CMYK"), "JPEG", quality=95),
    "gzipped JPEG": lambda image: gzip.compress(encode(image, "JPEG", quality=95)),
    "gzipped PNG": lambda image: gzip.compress(encode(image, "PNG")),
    "padded JPEG": lambda image: encode(image, "JPEG", quality=95)[:-2] + bytes(20) + b"\xff\xd9",
    "JPEG with a tail": lambda image: encode(image, "JPEG", quality=95) + b"tail" * 99,
    "MPO of a phone": lambda image: encode(
        image, "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", image.size)]
    ),
    "PNG": lambda image: encode(image, "PNG"),
    "palette PNG": lambda image: encode(image.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
    "GIF": lambda image: encode(image, "GIF"),
    "animated GIF": lambda image: encode(
        image, "GIF", save_all=True, append_images=[Image.new("RGB", image.size)]
    ),
    "WebP": lambda image: encode(image, "WEBP", quality=95),
    "lossless WebP": lambda image: encode(image, "WEBP", lossless=True),
    "BMP": lambda image: encode(image, "BMP"),
    "TIFF": lambda image: encode(image, "TIFF"),
    "CMYK TIFF": lambda image: encode(image.convert("CMYK"), "TIFF"),
}

GREY_KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "grey JPEG": lambda image: encode(image.convert("L"), "JPEG", quality=95),
    "grey PNG": lambda image: encode(image.convert("L"), "PNG"),
    "grey PNG with alpha": lambda image: encode(image.convert("LA"), "PNG"),
    "PNG in 16 bits": lambda image: encode(grey_in_16_bits(image, "<"), "PNG"),
    "TIFF in 16 bits": lambda image: encode(grey_in_16_bits(image, "<"), "TIFF"),
    "TIFF in 16 bits, big end first": lambda image: encode(grey_in_16_bits(image, ">"), "TIFF"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(120, 90), (40, 30)])
def test_every_kind_of_image_becomes_rgb_of_the_right_size_and_colours(
    kind: str, size: tuple[int, int]
) -> None:
    prepared = prepare(KINDS[kind](quarters(*size)))
    wanted = (64, 64) if max(size) > 64 else size
    assert (prepared.width, prepared.height) == size
    pixels = pixels_of(prepared)
    assert pixels.shape == (wanted[1], wanted[0], 3)
    expected = np.asarray(quarters(*size).resize(wanted, Image.Resampling.LANCZOS))
    inside = colours_of_quarters(pixels)
    np.testing.assert_allclose(inside, colours_of_quarters(expected), atol=14)


@pytest.mark.parametrize("kind", GREY_KINDS)
@pytest.mark.parametrize("size", [(120, 90), (40, 30)])
def test_every_kind_of_grey_becomes_rgb_of_equal_channels(kind: str, size: tuple[int, int]) -> None:
    pixels = pixels_of(prepare(GREY_KINDS[kind](quarters(*size))))
    expected = np.asarray(quarters(*size).convert("L").convert("RGB"))
    np.testing.assert_allclose(colours_of_quarters(pixels), colours_of_quarters(expected), atol=4)
    assert int(np.ptp(pixels.astype(int), axis=-1).max()) <= 2


def colours_of_quarters(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean colour in the middle of each quarter, (4, 3)."""
    height, width = pixels.shape[:2]
    return np.array(
        [
            pixels[int(y * height) - 2 : int(y * height) + 2, int(x * width) - 2 : int(x * width) + 2]
            .reshape(-1, 3)
            .mean(axis=0)
            for y in (0.25, 0.75)
            for x in (0.25, 0.75)
        ]
    )


def test_black_and_white_of_one_bit_stay_so() -> None:
    image = Image.new("1", (40, 40))
    image.paste(1, (0, 0, 20, 40))
    pixels = pixels_of(prepare(encode(image, "PNG")))
    assert pixels[:, :16].min() > 245
    assert pixels[:, 24:].max() < 10


@pytest.mark.parametrize(("form", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("GIF", "RGBA")])
def test_what_is_transparent_is_white(form: str, mode: str) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 20, 40))
    pixels = pixels_of(prepare(encode(image.convert(mode), form)))
    assert pixels[:, :16].max() < 10
    assert pixels[:, 24:].min() > 245


def test_half_transparent_colours_are_mixed_with_white() -> None:
    pixels = pixels_of(prepare(encode(Image.new("RGBA", (40, 40), (255, 0, 0, 128)), "PNG")))
    np.testing.assert_allclose(pixels.reshape(-1, 3).mean(axis=0), (255, 127, 127), atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("size", [(120, 90), (40, 30)])
def test_a_picture_is_turned_as_its_exif_says(
    form: str, orientation: int, size: tuple[int, int]
) -> None:
    data = with_orientation(quarters(*size), form, orientation)
    prepared = prepare(data, SHORT_EDGE)
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    assert (prepared.width, prepared.height) == upright.size
    pixels = pixels_of(prepared)
    assert (pixels.shape[1] > pixels.shape[0]) == (orientation <= 4)
    expected = colours_of_quarters(np.asarray(upright))
    np.testing.assert_allclose(colours_of_quarters(pixels), expected, atol=14)


EXIF_DAMAGE = {
    "nothing": b"Exif\0\0",
    "noise": b"Exif\0\0garbage",
    "a cut directory": b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12",
    "an offset past the end": b"Exif\0\0II*\0\xff\xff\xff\xff",
    "an orientation that does not exist": (
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0"
    ),
    "an orientation of letters": (b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0"),
}


@pytest.mark.parametrize("exif", EXIF_DAMAGE.values(), ids=EXIF_DAMAGE)
def test_damaged_exif_leaves_the_picture_as_it_is(exif: bytes) -> None:
    jpeg = encode(quarters(120, 90), "JPEG", quality=95)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    prepared = prepare(jpeg[:2] + segment + jpeg[2:])
    assert (prepared.width, prepared.height) == (120, 90)
    expected = colours_of_quarters(np.asarray(quarters(64, 64)))
    np.testing.assert_allclose(colours_of_quarters(pixels_of(prepared)), expected, atol=14)


@pytest.mark.parametrize("kind", KINDS | GREY_KINDS)
@pytest.mark.parametrize("size", [(120, 90), (40, 30)])
def test_what_is_stored_is_clean_for_the_strictest_decoder(kind: str, size: tuple[int, int]) -> None:
    """The loader reads with a decoder for which a warning is an error."""
    jpeg = prepare((KINDS | GREY_KINDS)[kind](quarters(*size))).jpeg
    simplejpeg.decode_jpeg(jpeg, colorspace="RGB")


# --- sizes --------------------------------------------------------------------------------------

sides = st.integers(8, 5000)
sizes = st.integers(8, 512)


@given(sides, sides, sizes)
def test_squish_gives_a_square_unless_the_image_is_within_it(width: int, height: int, size: int) -> None:
    target = ImagePolicy(size, Resize.SQUISH, 95).target(width, height)
    assert target == ((width, height) if max(width, height) < size else (size, size))


@given(sides, sides, sizes)
def test_the_short_edge_becomes_the_size_and_the_shape_is_kept(
    width: int, height: int, size: int
) -> None:
    target = ImagePolicy(size, Resize.SHORT_EDGE, 95).target(width, height)
    if min(width, height) <= size:
        assert target == (width, height)
    else:
        assert min(target) == size
        assert target[0] * height / width == pytest.approx(target[1], abs=0.5 + height / width)
        assert (target[0] >= target[1]) == (width >= height)


@pytest.mark.parametrize(
    ("policy", "size", "stored"),
    [
        (SQUISH, (128, 96), (64, 64)),
        (SQUISH, (64, 64), (64, 64)),
        (SQUISH, (64, 30), (64, 64)),
        (SQUISH, (63, 30), (63, 30)),
        (SHORT_EDGE, (128, 96), (85, 64)),
        (SHORT_EDGE, (96, 128), (64, 85)),
        (SHORT_EDGE, (64, 640), (64, 640)),
        (SHORT_EDGE, (63, 640), (63, 640)),
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_images_are_stored_at_the_size_of_the_policy(
    form: str, policy: ImagePolicy, size: tuple[int, int], stored: tuple[int, int]
) -> None:
    pixels = pixels_of(prepare(encode(photo(*size), form), policy))
    assert pixels.shape == (stored[1], stored[0], 3)


@pytest.mark.parametrize(
    ("policy", "size"), [(SQUISH, (63, 40)), (SQUISH, (64, 64)), (SHORT_EDGE, (300, 64))]
)
def test_a_jpeg_that_keeps_its_size_keeps_its_bytes(policy: ImagePolicy, size: tuple[int, int]) -> None:
    jpeg = encode(photo(*size), "JPEG", quality=80)
    assert prepare(jpeg, policy).jpeg == jpeg
    assert prepare(gzip.compress(jpeg), policy).jpeg == jpeg


def test_the_same_bytes_give_the_same_bytes_and_quality_is_obeyed() -> None:
    jpeg = encode(photo(300, 200), "JPEG")
    assert prepare(jpeg).jpeg == prepare(jpeg).jpeg
    lengths = [len(prepare(jpeg, ImagePolicy(64, Resize.SQUISH, q)).jpeg) for q in (50, 80, 95)]
    assert lengths == sorted(set(lengths))


def test_the_number_of_threads_changes_no_byte() -> None:
    import torch

    jpeg = encode(photo(900, 700), "JPEG")
    threads = torch.get_num_threads()
    try:
        stored = []
        for number in (1, 2, 4):
            torch.set_num_threads(number)
            stored.append(prepare(jpeg).jpeg)
    finally:
        torch.set_num_threads(threads)
    assert stored[0] == stored[1] == stored[2]


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(500, 375), (1600, 1200), (300, 900)])
@pytest.mark.parametrize("resize", Resize)
def test_resizing_is_as_good_as_lanczos(form: str, size: tuple[int, int], resize: Resize) -> None:
    policy = ImagePolicy(224, resize, 95)
    original = photo(*size)
    data = encode(original, form, **({"quality": 98} if form == "JPEG" else {}))
    reference = original.resize(policy.target(*size), Image.Resampling.LANCZOS)
    assert psnr(pixels_of(prepare(data, policy)), np.asarray(reference)) > 35
    # The picture is hard enough to tell: without anti-aliasing it would not pass.
    careless = original.resize(policy.target(*size), Image.Resampling.NEAREST)
    assert psnr(np.asarray(careless), np.asarray(reference)) < 33


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((127, 500), (127, 500)),
        ((128, 255), (128, 255)),
        ((255, 256), (255, 256)),
        ((256, 256), (128, 128)),
        ((257, 300), (129, 150)),
        ((511, 900), (256, 450)),
        ((512, 900), (128, 225)),
        ((1100, 1200), (138, 150)),
    ],
)
def test_a_jpeg_is_decoded_at_a_fraction_that_is_twice_the_target_or_more(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], decoded: tuple[int, int]
) -> None:
    shapes: list[tuple[int, ...]] = []

    def note(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        shapes.append(pixels.shape)
        return resize(pixels, width, height)

    monkeypatch.setattr(images, "resize", note)
    prepare(encode(photo(*size), "JPEG"))
    assert shapes == [(decoded[1], decoded[0], 4)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("policy", [SQUISH, SHORT_EDGE])
def test_a_photo_of_a_phone_is_turned_to_the_pixel_of_one_that_is_upright(
    policy: ImagePolicy, orientation: int
) -> None:
    turned = with_orientation(photo(900, 700), "JPEG", orientation)
    with Image.open(io.BytesIO(turned)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    assert decode_image(turned).tolist() == np.asarray(upright).tolist()
    reference = upright.resize(policy.target(*upright.size), Image.Resampling.LANCZOS)
    assert psnr(pixels_of(prepare(turned, policy)), np.asarray(reference)) > 30


def test_what_only_pillow_refuses_is_stored_anew() -> None:
    """Others may read the dataset with Pillow, which looks at segments that libjpeg passes over."""
    jpeg = encode(quarters(40, 30), "JPEG", quality=95)
    odd = jpeg[:2] + b"\xff\xee\x00\x07Adobe" + jpeg[2:]  # the segment ends before its numbers
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(odd))
    stored = prepare(odd)
    assert stored.jpeg != odd
    found, wanted = (colours_of_quarters(pixels_of(of)) for of in (stored, prepare(jpeg)))
    np.testing.assert_allclose(found, wanted, atol=4)


def test_whether_an_image_is_resized_is_told_by_its_header() -> None:
    for data in (encode(photo(100, 80), form) for form in ("JPEG", "PNG")):
        assert is_resized(data, SQUISH)
        assert is_resized(gzip.compress(data), SHORT_EDGE)
        assert not is_resized(data, ImagePolicy(101, Resize.SQUISH, 95))
    assert not is_resized(b"no image", SQUISH)
