"""Write the drawn world as an archive laid out like that of ImageNet-21K."""

import gzip
import io
import pathlib
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from hypernym.files import open_whole
from hypernym.world.classes import CLASSES, DrawnClass, ancestors, leaves
from hypernym.world.drawing import draw

_QUALITY = 90
_PLACES = {drawn.id: place for place, drawn in enumerate(CLASSES, start=1)}
# The n-th picture of the class at a place has the number n * _STRIDE + place, so that pictures
# moved to an ancestor never collide there. Place 0 is left to the dirt.
_STRIDE = len(CLASSES) + 1


def draw_world(
    path: pathlib.Path,
    images_per_leaf: int,
    size: int,
    seed: int,
    moved_share: float = 0.3,
    classes: Sequence[DrawnClass] = CLASSES,
    *,
    dirt: bool = True,
) -> None:
    """Write an uncompressed tar holding one tar of JPEGs a class to `path`.

    `classes` is a selection closed under parents. Every leaf of it gets `images_per_leaf` pictures
    with a short side of `size` pixels; each is filed under a random ancestor instead, as a careless
    tag would, with a chance of `moved_share` (0 to 1). The tar of a class without pictures is
    empty. With `dirt`, seven more files named like the pictures are spread over the leaves: a
    truncated JPEG, a PNG, a gzipped, a grey and a CMYK JPEG, an empty file and a text.

    A picture depends only on the seed, its class, its number and the size; which others are drawn
    with it does not matter. The same arguments give the same bytes. The file appears whole or not
    at all.
    """
    members: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
    for leaf in leaves(classes):
        for turn in range(images_per_leaf):
            number = turn * _STRIDE + _PLACES[leaf.id]
            rng = _rng(seed, leaf.id, number)
            label = _label(leaf.id, moved_share, rng)
            members[label][number] = _jpeg(draw(leaf.id, size, rng))
    if dirt:
        for leaf_id, number, content in _dirt(leaves(classes), size, seed):
            members[leaf_id][number] = content
    with open_whole(path) as stream:
        stream.write(_archive({drawn.id: members[drawn.id] for drawn in classes}))


def _rng(seed: int, class_id: str, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, int(class_id[1:]), number])


def _label(leaf_id: str, moved_share: float, rng: np.random.Generator) -> str:
    """Return the class a picture is filed under; a leaf that is a root keeps all of its own."""
    above = ancestors(leaf_id)
    moved = rng.random() < moved_share
    return above[int(rng.integers(len(above)))] if moved and above else leaf_id


def _dirt(drawn: Sequence[DrawnClass], size: int, seed: int) -> Iterable[tuple[str, int, bytes]]:
    """Yield the class, the number and the content of each dirty file, spread over the leaves."""
    for order, spoil in enumerate(_DIRT):
        leaf_id = drawn[order % len(drawn)].id
        number = (order + 1) * _STRIDE
        yield leaf_id, number, spoil(draw(leaf_id, size, _rng(seed, leaf_id, number)))


def _jpeg(picture: Image.Image) -> bytes:
    return _encoded(picture, "JPEG")


def _truncated(picture: Image.Image) -> bytes:
    whole = _jpeg(picture)
    return whole[: len(whole) // 2]


def _png(picture: Image.Image) -> bytes:
    return _encoded(picture, "PNG")


def _gzipped(picture: Image.Image) -> bytes:
    return gzip.compress(_jpeg(picture), mtime=0)


def _grey(picture: Image.Image) -> bytes:
    return _jpeg(picture.convert("L"))


def _cmyk(picture: Image.Image) -> bytes:
    return _jpeg(picture.convert("CMYK"))


def _empty(_: Image.Image) -> bytes:
    return b""


def _text(_: Image.Image) -> bytes:
    return b"<html><body>This picture is no longer available.</body></html>\n"


_DIRT: tuple[Callable[[Image.Image], bytes], ...] = (
    _truncated,
    _png,
    _gzipped,
    _grey,
    _cmyk,
    _empty,
    _text,
)


def _encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=_QUALITY)
    return buffer.getvalue()


def _archive(members: Mapping[str, Mapping[int, bytes]]) -> bytes:
    contents = (
        (
            f"{class_id}.tar",
            _tar((f"{class_id}_{n}.JPEG", content) for n, content in sorted(numbered.items())),
        )
        for class_id, numbered in sorted(members.items())
    )
    return _tar(contents)


def _tar(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a tar of named contents that carries no time, owner or other trace of the machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
