"""CIFAR-10 and CIFAR-100 in their binary version: https://www.cs.toronto.edu/~kriz/cifar.html.

    SOURCE.tar.gz, or the folder in it
    cifar-100-binary/      train.bin, test.bin, fine_label_names.txt, coarse_label_names.txt
    cifar-10-batches-bin/  data_batch_1.bin ... data_batch_5.bin, test_batch.bin, batches.meta.txt

A record is one byte of label (CIFAR-100: one of the coarse, one of the fine label) and 3,072 bytes of
pixels: 32 rows of 32 red values, then green, then blue. An image is given as a PPM, which holds the
same pixels. The class id is the name of the (fine) label.

The python version is pickled: to unpickle a file is to run what it says, so it is refused.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources.part import SourceImage, readable, refusal
from hypernym.preparation.sources.places import (
    is_file,
    is_folder,
    open_file,
    refused_reads,
    size_of,
    state_of,
)
from hypernym.preparation.sources.tars import walk_members

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from hypernym.preparation.sources.part import Place
    from hypernym.preparation.sources.tars import Stream

SIDE, COLOURS = 32, 3
PIXEL_BYTES = SIDE * SIDE * COLOURS
PPM_HEADER = f"P6 {SIDE} {SIDE} 255\n".encode()

PART_RECORDS = 10_000
"""So many that a worker unpacks the archive a handful of times, and few enough to share."""

MAX_NAMES_BYTES = 1 << 16

BINARY = {"cifar-100-binary": "CIFAR-100", "cifar-10-batches-bin": "CIFAR-10"}
PICKLED = {
    "cifar-100-python": "cifar-100-binary.tar.gz",
    "cifar-10-batches-py": "cifar-10-binary.tar.gz",
}
"""The folders in the archives; for the pickled ones, the archive that is read."""

DAMAGE = (tarfile.ReadError, EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class Version:
    """Which files a version has."""

    names: str
    """The file of label names: a line each."""

    files: dict[str, str]
    """The files of records, each with its split."""

    label_bytes: int
    """Of a record; the last of them is the label."""


VERSIONS = (
    Version("fine_label_names.txt", {"train.bin": "train", "test.bin": "test"}, 2),
    Version(
        "batches.meta.txt",
        {**{f"data_batch_{number}.bin": "train" for number in range(1, 6)}, "test_batch.bin": "test"},
        1,
    ),
)


def is_cifar(names: Collection[str]) -> bool:
    """Tell whether a folder holds CIFAR's binary version, by the names in it."""
    return any(version.names in names and {*version.files} & {*names} for version in VERSIONS)


def check_pickled(place: Place, names: Collection[str]) -> None:
    """Refuse the python version, seen by the names of its folder or of the files in it.

    Raises:
        SourceError: it is that.
    """
    kinds = [binary for folder, binary in PICKLED.items() if folder in names]
    if {"meta", "train", "test"} <= {*names}:
        kinds.append("cifar-100-binary.tar.gz")
    if {"batches.meta", "data_batch_1"} <= {*names}:
        kinds.append("cifar-10-binary.tar.gz")
    if kinds:
        raise SourceError(
            f"{place} is CIFAR's python version, which is pickled, and pickles may run code: give the "
            f"binary version, {kinds[0]}, from the same page."
        )


@dataclass(frozen=True)
class RecordPart:
    """A run of records in one file."""

    name: str
    state: str
    source: Place
    file: str
    split: str
    label_bytes: int
    classes: tuple[str, ...]
    first: int
    """Its first record, counted from 0."""

    count: int
    class_id: None = None

    def images(self) -> Iterator[SourceImage]:
        """Walk the records in their order; damage is a row for all that is lost.

        Raises:
            SourceError: the file cannot be opened.
        """
        stem = self.file.partition(".")[0]
        size = self.label_bytes + PIXEL_BYTES
        number = self.first
        with _open_member(self.source, self.file) as (stream, start, _):
            try:
                stream.seek(start + self.first * size)
                while number < self.first + self.count:
                    record = stream.read(size) or b""
                    if len(record) < size:
                        raise EOFError(f"{self.file} ends inside record {number}")
                    yield self._image(f"{stem}/{number:05d}", record)
                    number += 1
            except DAMAGE as cause:
                read = refusal(Reason.DAMAGED_ARCHIVE, f"{cause}: what follows in it is lost")
                yield SourceImage(f"{stem}/{number:05d}", (), read, self.split)

    def staged(self, folder: Path) -> RecordPart:  # noqa: ARG002  # nothing is to be copied
        """Return the part itself."""
        return self

    def _image(self, key: str, record: bytes) -> SourceImage:
        label = record[self.label_bytes - 1]
        if label >= len(self.classes):
            read = refusal(Reason.NO_LABEL, f"{label} is not among {len(self.classes)} classes")
            return SourceImage(key, (), read, self.split)
        return SourceImage(key, (self.classes[label],), _reader_of(record[-PIXEL_BYTES:]), self.split)


def _reader_of(pixels: bytes) -> Callable[[], bytes]:
    def read() -> bytes:
        planes_CHW = np.frombuffer(pixels, np.uint8).reshape(COLOURS, SIDE, SIDE)
        return PPM_HEADER + planes_CHW.transpose(1, 2, 0).tobytes()

    return read


def find_parts(source: Place) -> Iterator[RecordPart]:
    """Give runs of records, train before test.

    Raises:
        SourceError: the files cannot be read, or are not those of the binary version.
    """
    sizes = _sizes_of(source)
    check_pickled(source, sizes)
    version = next((each for each in VERSIONS if each.names in sizes), None)
    if version is None or not {*version.files} & {*sizes}:
        raise SourceError(
            f"{source} is not CIFAR's binary version: that has train.bin, test.bin and "
            f"fine_label_names.txt, or data_batch_1.bin, test_batch.bin and batches.meta.txt."
        )
    with _open_member(source, version.names) as (stream, start, size):
        stream.seek(start)
        text = (stream.read(min(size, MAX_NAMES_BYTES)) or b"").decode("utf-8", "backslashreplace")
    classes = tuple(readable(line.strip()) for line in text.splitlines() if line.strip())
    record_bytes = version.label_bytes + PIXEL_BYTES
    with refused_reads(source):
        in_folder = is_folder(source)
    for file, split in version.files.items():
        if file not in sizes:
            continue
        state = f"{state_of(source / file if in_folder else source)}, {sizes[file]} bytes, {classes}"
        total = -(-sizes[file] // record_bytes)  # a last record that is cut short is a row, too
        for first in range(0, total, PART_RECORDS):
            count = min(PART_RECORDS, total - first)
            name = f"{file} {first}-{first + count - 1}"
            yield RecordPart(
                name, state, source, file, split, version.label_bytes, classes, first, count
            )


def _sizes_of(source: Place) -> dict[str, int]:
    """Return the files of a folder or of a gzip'd tar, and the folders on top of that, with sizes."""
    with refused_reads(source):
        if is_folder(source):
            known = {version.names for version in VERSIONS}.union(*(each.files for each in VERSIONS))
            return {name: size_of(source / name) for name in known if is_file(source / name)}
    with refused_reads(source), open_file(source) as packed, gzip.open(packed) as stream:
        try:
            found = [member for member in walk_members(stream) if member.is_file]
        except DAMAGE as cause:
            raise _damaged(source, cause) from cause
    tops = {member.name.removeprefix("./").partition("/")[0]: 0 for member in found}
    return tops | {member.name.rpartition("/")[2]: member.size for member in found}


@contextmanager
def _open_member(source: Place, name: str) -> Iterator[tuple[Stream, int, int]]:
    """Open a file of a folder or of a gzip'd tar; give a stream, where it begins there, its size."""
    with refused_reads(source):
        in_folder = is_folder(source)
    if in_folder:
        with refused_reads(source / name), open_file(source / name) as stream:
            yield stream, 0, size_of(source / name)
        return
    with refused_reads(source), open_file(source) as packed, gzip.open(packed) as stream:
        try:
            members = (member for member in walk_members(stream) if member.is_file)
            found = next(member for member in members if member.name.rpartition("/")[2] == name)
        except (*DAMAGE, StopIteration) as cause:
            raise _damaged(source, cause) from cause
        yield stream, found.offset, found.size


def _damaged(source: Place, cause: BaseException) -> SourceError:
    return SourceError(f"{source} is damaged or cut short ({cause}): get it anew.")
