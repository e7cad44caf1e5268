"""What every source is made of: independent parts, and images that were found and not yet read.

A part (a class archive, a class folder, a Parquet row group) is the unit of parallel work, of restart
and of statistics. Nothing is ever unpacked: a name inside an archive becomes a key, never a path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from hypernym.data.rejections import Reason, RejectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from upath import UPath

Place: TypeAlias = "Path | UPath"
"""Where a file or folder lies: on this machine, or (UPath) in a store that fsspec knows."""

MAX_FILE_BYTES = 256 << 20
"""A file over 256 MiB is refused unread: the largest photos are far smaller."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".jp2"}
)
"""How names of images end, in small letters; asked only where images and other files lie together."""


class Layout(StrEnum):
    """How a source is laid out; seen by looking at it, or stated."""

    CLASS_FOLDERS = "class-folders"
    """SOURCE/n02084071/anything.jpg, also in folders further down; SOURCE/train/n02084071/..."""

    FOLDER_TAR = "folder-tar"
    """The same, in one tar."""

    CLASS_TARS = "class-tars"
    """A folder of n02084071.tar ..., each holding the images of a class."""

    TAR_OF_CLASS_TARS = "tar-of-class-tars"
    """One tar of class tars (ImageNet-21K, fall11): members are read in place."""

    GZIP_TAR_OF_CLASS_TARS = "gzip-tar-of-class-tars"
    """The same under gzip (ImageNet-21K, winter21): read in one streaming pass."""

    WEBDATASET = "webdataset"
    """Tars of samples KEY.jpg + KEY.cls, KEY.txt or KEY.json."""

    PARQUET = "parquet"
    """Tables with a column of image bytes and one of labels, as the Hugging Face hub serves them."""

    LIST = "list"
    """A CSV or JSON-lines list of paths and labels."""

    VOC = "voc"
    """Pascal VOC: XML annotations and image sets, in folders or in the published tars."""

    COCO = "coco"
    """MS-COCO: annotations/instances_train2017.json, train2017/ or train2017.zip."""

    INATURALIST = "inaturalist"
    """iNaturalist: train2018.json, val2018.json and the images they name."""

    CIFAR = "cifar"
    """CIFAR-10 or CIFAR-100, binary version."""

    IMAGENET_1K = "imagenet-1k"
    """ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and LOC_val_solution.csv."""

    FOOD_251 = "food-251"
    """train_info.csv, val_info.csv, class_list.txt and the images they name."""


@dataclass(frozen=True)
class SourceImage:
    """An image that was found and not yet read.

    `key` says where the image lies in its source. `read` returns the bytes, or raises
    `RejectionError`.
    """

    key: str
    class_ids: tuple[str, ...]
    """One class id, several, or none where the source states no label."""

    read: Callable[[], bytes]
    split: str | None = None
    """train, val or test, where the source states it."""


class Part(Protocol):
    """An independent piece of a source. Parts are small values that travel to other processes."""

    @property
    def name(self) -> str:
        """What people call it; unique in its source."""

    @property
    def state(self) -> str:
        """What tells that the part is the one of an earlier look: place and size, or a time."""

    @property
    def class_id(self) -> str | None:
        """The class of all its images, where the part is made of one class."""

    def images(self) -> Iterator[SourceImage]:
        """Walk the images, in a fixed order, without reading them.

        Raises:
            SourceError: the part, or what holds it, cannot be opened.
        """

    def staged(self, folder: Path) -> Part:
        """Return the part in a form that other processes can open.

        Only a part of a stream lies nowhere: it is copied into `folder`, before the next part of the
        stream is asked for. Every other part is returned as it is.

        Raises:
            SourceError: the stream is damaged or ends inside the part.
            OutputError: `folder` cannot take it.
        """


@dataclass(frozen=True)
class Source:
    """What the user gave, looked at: its layout, and its parts.

    `find_parts` may be called several times. It looks at names alone, once for all calls, and gives
    the parts in a fixed order; a stream finds each part when it comes to it, in every call anew.

    Raises (from `find_parts`):
        SourceError: it holds no class, is damaged, or cannot be read.
    """

    address: str
    layout: Layout
    state: dict[str, str | int | None]
    """What tells this source from another: its name and, of a file, its size in bytes."""

    find_parts: Callable[[], Iterator[Part]]
    is_stream: bool = False
    """Whether the parts become known only while they are read."""


def refusal(reason: Reason, detail: str = "") -> Callable[[], bytes]:
    """Return a `read` that refuses: for what can be named and not be read."""

    def read() -> bytes:
        raise RejectionError(reason, detail)

    return read


def words_of(cause: OSError) -> str:
    """Return what the system said, without the path."""
    return cause.strerror or type(cause).__name__


def readable(name: str) -> str:
    """Return a name that can be written as UTF-8: foreign bytes become escapes."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a letter, as JSON can hold it
        return name.encode("utf-8", "backslashreplace").decode()


def in_byte_order(name: str) -> bytes:
    """Return the sort key of a name: its bytes, whatever the locale."""
    return os.fsencode(name)
