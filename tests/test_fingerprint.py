from __future__ import annotations

import io
import tarfile
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

import imagehash
import numpy as np
import pytest
from PIL import Image

from hypernym.data.fingerprint import FINGERPRINT_BYTES, HASH_SIDE, fingerprint, hash_grey
from hypernym.data.images import Prepared, prepare_image
from hypernym.preparation.rules import Recipe, make_rules
from hypernym.world.classes import SMALL, leaves
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RULES = make_rules(Recipe.DEFAULT)
MAX_DISTANCE = RULES.duplicates.max_distance


def encode(picture: Image.Image, quality: int, form: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, quality=quality)
    return stream.getvalue()


def shrink(picture: Image.Image, divisor: int) -> Image.Image:
    return picture.resize(
        (picture.width // divisor, picture.height // divisor), Image.Resampling.LANCZOS
    )


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "quality 75": lambda picture: encode(picture, 75),
    "quality 40": lambda picture: encode(picture, 40),
    "half the size": lambda picture: encode(shrink(picture, 2), 90),
    "twice as wide": lambda picture: encode(picture.resize((2 * picture.width, picture.height)), 90),
    "grey": lambda picture: encode(picture.convert("L"), 90),
    "another format": lambda picture: encode(picture, 80, "WEBP"),
}


def look(data: bytes) -> bytes | None:
    """Return the hash that `prepare` takes of an image."""
    prepared = prepare_image(data, RULES.images)
    assert isinstance(prepared, Prepared)
    return prepared.fingerprint


def distance(look: bytes | None, other: bytes | None) -> int:
    assert look
    assert other
    return (int.from_bytes(look) ^ int.from_bytes(other)).bit_count()


@cache
def make_texture(seed: int) -> Image.Image:
    """Return a picture of 320 x 240 with most of its contrast in large shapes, as photos have."""
    chance = np.random.default_rng(seed)
    grey = np.full((240, 320), 128, np.float32)
    for side, contrast in ((4, 60), (16, 30), (64, 15)):
        noise = Image.fromarray(chance.standard_normal((side, side)).astype(np.float32))
        grey += contrast * np.asarray(noise.resize((320, 240), Image.Resampling.BICUBIC))
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Image.Image]:
    with tarfile.open(shared / "data/photos.tar") as archive:
        files = [
            archive.extractfile(member) for member in archive.getmembers()[:240:4] if member.isfile()
        ]
        return [Image.open(io.BytesIO(file.read())).convert("RGB") for file in files if file]


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_picture_in_another_file_is_nearly_equal(change: str) -> None:
    for seed in range(10):
        picture = make_texture(seed)
        assert distance(look(encode(picture, 95)), look(CHANGES[change](picture))) <= MAX_DISTANCE


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_photo_in_another_file_is_nearly_equal(photos: list[Image.Image], change: str) -> None:
    for photo in photos[:20]:
        assert distance(look(encode(photo, 95)), look(CHANGES[change](photo))) <= MAX_DISTANCE


def test_different_pictures_differ_in_far_more_bits() -> None:
    looks = [look(encode(make_texture(seed), 95)) for seed in range(30)]
    assert min(distance(*pair) for pair in combinations(looks, 2)) > 3 * MAX_DISTANCE


def test_different_photos_differ_in_far_more_bits(photos: list[Image.Image]) -> None:
    looks = [look(encode(photo, 95)) for photo in photos]
    assert min(distance(*pair) for pair in combinations(looks, 2)) > 3 * MAX_DISTANCE


def test_drawn_pictures_of_one_class_are_not_nearly_equal() -> None:
    for drawn in leaves(SMALL):
        pictures = [draw(drawn.id, 64, np.random.default_rng(seed)) for seed in range(6)]
        looks = [look(encode(picture, 95)) for picture in pictures]
        assert min(distance(*pair) for pair in combinations(looks, 2)) > 2 * MAX_DISTANCE


def as_imagehash(picture: Image.Image) -> bytes:
    """Return the library's hash of a picture averaged down to what the library looks at."""
    grey = picture.convert("L").resize((64, 64), Image.Resampling.BOX)
    return np.packbits(imagehash.phash(grey, hash_size=HASH_SIDE).hash).tobytes()


def test_the_hash_is_that_of_imagehash() -> None:
    for picture in map(make_texture, range(100)):
        assert fingerprint(np.asarray(picture)) == as_imagehash(picture)


def test_the_hash_of_photos_is_that_of_imagehash(photos: list[Image.Image]) -> None:
    for photo in photos:
        assert fingerprint(np.asarray(photo)) == as_imagehash(photo)


@pytest.mark.parametrize("seed", range(5))
def test_the_least_contrast_is_that_of_the_standard_deviation(seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal((64, 64))
    for contrast in (7.8, 7.95, 8.05, 8.2):
        grey = (128 + contrast * noise / noise.std()).round().astype(np.uint8)
        assert (hash_grey(grey) is None) == (grey.std() < 8)


def test_a_fourth_channel_is_not_looked_at() -> None:
    pixels = np.asarray(make_texture(0))
    for noise in (np.zeros_like(pixels), np.random.default_rng(0).integers(0, 256, pixels.shape)):
        filled = np.concatenate([pixels, noise[:, :, :1]], axis=2).astype(np.uint8)
        assert fingerprint(filled) == fingerprint(pixels)


@pytest.mark.parametrize("grey", [0, 7, 255])
def test_a_picture_of_one_colour_has_no_hash(grey: int) -> None:
    assert fingerprint(np.full((60, 80, 3), grey, np.uint8)) is None


def test_a_picture_of_weak_noise_has_no_hash_and_one_of_shapes_has() -> None:
    noise = np.random.default_rng(0).integers(120, 136, (200, 200, 3), np.uint8)
    assert fingerprint(noise) is None
    noise[:100] += 30
    assert len(fingerprint(noise) or b"") == FINGERPRINT_BYTES == 32


def test_a_picture_and_its_mirror_image_are_two() -> None:
    picture = make_texture(0)
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert distance(look(encode(picture, 95)), look(encode(mirrored, 95))) > MAX_DISTANCE
