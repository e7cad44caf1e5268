"""One shard compared with the rows that describe it: the part of a verification that workers do.

What a shard must hold is known to the byte: `write_shard` makes of the same images the same tar. So a
full inspection writes each sample again, in memory, and compares.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zlib
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hypernym.data.shards import (
    INDEX_ROW,
    LABEL_ROW,
    describe_labels,
    index_path,
    labels_path,
    open_index,
    shard_name,
    write_member,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAX_KEYS = 100
"""So many keys are named of one file; the rest is counted."""

CUT = "{found:,} bytes long instead of {wanted:,}"
UNREADABLE = (OSError, ValueError, KeyError, pa.ArrowException)
"""What is raised about a file that is no Parquet, or not with the columns that are asked for."""

OTHER_IMAGE = "the image is not the one that was written"
OTHER_FRAME = "the image is whole, but header, label or padding are not what was written"
OTHER_END = "the end is not that of a tar"
OTHER_ROW = "the row is not that of images.parquet"


class Kind(StrEnum):
    """In what way a file differs."""

    MISSING = "missing"
    CHANGED = "changed"
    EXTRA = "extra"


@dataclass(frozen=True)
class Difference:
    """One way in which one file differs from what the dataset says of itself."""

    kind: Kind
    path: str
    """In the dataset."""

    detail: str
    images: int = 0
    """How many images it concerns; 0 where it concerns none, or cannot be told."""

    keys: tuple[str, ...] = ()
    """The first of these images."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The images of one shard: they follow each other in the index and in `images.parquet`."""

    split: str
    number: int
    first: int
    """Row of the first one in the index of the split."""

    place: int
    """Row of the first one in `images.parquet`."""

    count: int

    @property
    def name(self) -> str:
        """The path of the shard in the dataset."""
        return f"{self.split}/{shard_name(self.number)}"


@dataclass(frozen=True)
class Witnesses:
    """Which tables can be asked about the images."""

    images: bool
    """`images.parquet` is as it was written; else a stretch is known from a whole index."""

    indices: frozenset[str]
    """Splits whose index has as many rows as it should, right or wrong."""

    several: bool
    """Whether images have several labels."""

    labels: frozenset[str]
    """Splits whose table of all labels can be read."""


class _Sample(NamedTuple):
    """What is known of one image of a shard; without `images.parquet`, no key and no labels."""

    offset: int
    size: int
    crc32: int
    key: str | None
    labels: Sequence[int]

    @property
    def words(self) -> str:
        return self.key if self.key is not None else f"byte {self.offset}"


def inspect_shard(
    stretch: Stretch, *, folder: Path, witnesses: Witnesses, full: bool
) -> list[Difference]:
    """Return how a shard differs from the rows that describe it.

    Args:
        stretch: Which images it holds.
        folder: The dataset.
        witnesses: The tables that describe them: `images.parquet`, or a whole index.
        full: Read all of the shard, not only its size.
    """
    found: list[Difference] = []
    samples: list[_Sample] = []
    if witnesses.images:
        try:
            table = _read_rows(folder / "images.parquet", stretch)
            samples = _samples_of_table(table)
            found += _compare_tables(stretch, folder, table, witnesses)
        except UNREADABLE as cause:
            found.append(Difference(Kind.CHANGED, "images.parquet", unreadable(cause)))
    if not samples and stretch.split in witnesses.indices:
        samples = _samples_of_index(_read_index(folder, stretch))
    if samples:
        path, several = folder / stretch.name, witnesses.several
        found += _inspect_file(path, stretch, samples, several=several, full=full)
    return found


def unreadable(cause: Exception) -> str:
    """Return what is wrong with a file, in one line."""
    return f"cannot be read ({str(cause).splitlines()[0] if str(cause) else type(cause).__name__})"


def _read_index(folder: Path, stretch: Stretch) -> NDArray[np.void]:
    return open_index(index_path(folder, stretch.split))[stretch.first :][: stretch.count]


def _read_rows(path: Path, stretch: Stretch) -> pa.Table:
    """Return what `images.parquet` says of the images of a shard."""
    columns = [*(INDEX_ROW.names or ()), "key", "labels"]
    with pq.ParquetFile(path) as file:
        counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        starts = np.cumsum([0, *counts])
        end = stretch.place + stretch.count
        groups = np.flatnonzero((starts[:-1] < end) & (starts[1:] > stretch.place))
        rows = file.read_row_groups(groups.tolist(), columns)
        return rows.slice(stretch.place - int(starts[groups[0]]), stretch.count).combine_chunks()


def _index_rows(table: pa.Table) -> NDArray[np.void]:
    """Return the index rows that a table of images speaks of."""
    rows = np.empty(len(table), INDEX_ROW)
    for name in INDEX_ROW.names or ():
        rows[name] = table[name].to_numpy()
    return rows


def _samples_of_table(table: pa.Table) -> list[_Sample]:
    names = ("offset", "size", "crc32", "key", "labels")
    columns = (table[name].to_pylist() for name in names)
    return [_Sample._make(row) for row in zip(*columns, strict=True)]


def _samples_of_index(rows: NDArray[np.void]) -> list[_Sample]:
    return [_Sample._make((*row, None, ())) for row in rows[["offset", "size", "crc32"]].tolist()]


# --- tables -------------------------------------------------------------------------------------


def _compare_tables(
    stretch: Stretch, folder: Path, table: pa.Table, witnesses: Witnesses
) -> Iterator[Difference]:
    """Compare index and table of labels with `images.parquet`, as far as each can be read."""
    if stretch.split in witnesses.indices:
        rows = np.flatnonzero(_read_index(folder, stretch) != _index_rows(table))
        if len(rows):
            keys = table["key"].take(pa.array(rows[:MAX_KEYS])).to_pylist()
            name = index_path(folder, stretch.split).name
            yield Difference(Kind.CHANGED, name, OTHER_ROW, len(rows), tuple(keys))
    if stretch.split in witnesses.labels:
        path = labels_path(folder, stretch.split)
        labels = open_index(path, LABEL_ROW)
        begin, end = (bisect_left(labels["row"], stretch.first + step) for step in (0, stretch.count))
        if not np.array_equal(labels[begin:end], _label_rows(table["labels"], stretch.first)):
            detail = f"the labels of {stretch.name} are not those of images.parquet"
            yield Difference(Kind.CHANGED, path.name, detail)


def _label_rows(lists: pa.ChunkedArray, first: int) -> NDArray[np.void]:
    labels = pc.list_flatten(lists)
    rows = np.empty(len(labels), LABEL_ROW)
    rows["row"] = pc.list_parent_indices(lists).to_numpy() + first
    rows["label"] = labels.to_numpy()
    return rows


# --- bytes --------------------------------------------------------------------------------------


def _inspect_file(
    path: Path, stretch: Stretch, samples: Sequence[_Sample], *, several: bool, full: bool
) -> Iterator[Difference]:
    """Compare a shard with its samples."""
    try:
        # A FIFO in the place of a shard would keep us waiting for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        yield Difference(Kind.MISSING, stretch.name, "", stretch.count)
        return
    except OSError as cause:
        yield Difference(Kind.CHANGED, stretch.name, f"cannot be read ({cause.strerror})", stretch.count)
        return
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            yield Difference(Kind.CHANGED, stretch.name, "is no file", stretch.count)
            return
        size, wanted = state.st_size, _size_of_shard(samples[-1], state.st_size, several=several)
        there = [sample for sample in samples if sample.offset + sample.size <= size]
        if size != wanted:
            yield _damage(stretch, CUT.format(found=size, wanted=wanted), samples[len(there) :])
        if full:
            yield from _read_all(descriptor, stretch, there, size, several=several)
    except OSError as cause:
        yield Difference(Kind.CHANGED, stretch.name, f"cannot be read ({cause.strerror})", stretch.count)
    finally:
        os.close(descriptor)


def _damage(stretch: Stretch, detail: str, samples: Sequence[_Sample]) -> Difference:
    keys = tuple(sample.words for sample in samples[:MAX_KEYS])
    return Difference(Kind.CHANGED, stretch.name, detail, len(samples), keys)


def _size_of_shard(last: _Sample, found: int, *, several: bool) -> int:
    """Return how long a shard with this last sample is.

    Without its key the length of the last header is not known: then any length that a tar may have is
    right, if the image lies within.
    """
    end = _padded(last.offset + last.size, tarfile.BLOCKSIZE)
    if last.key is None:
        least = _padded(end + 4 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE)
        return max(least, _padded(found, tarfile.RECORDSIZE))
    tail = io.BytesIO()
    _write_labels(tail, last, several=several)
    return _padded(end + tail.tell() + 2 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE)


def _padded(size: int, unit: int) -> int:
    return size + -size % unit


def _write_labels(stream: io.BytesIO, sample: _Sample, *, several: bool) -> None:
    ending, text = describe_labels(tuple(sample.labels), several=several)
    write_member(stream, f"{sample.key}.{ending}", text.encode())


def _read_all(
    descriptor: int, stretch: Stretch, samples: Sequence[_Sample], size: int, *, several: bool
) -> Iterator[Difference]:
    """Read each sample, and compare it with what would be written of it."""
    other_images, other_frames = [], []
    end = 0
    for sample in samples:
        jpeg = os.pread(descriptor, sample.size, sample.offset)
        is_whole = zlib.crc32(jpeg) == sample.crc32
        if not is_whole:
            other_images.append(sample)
        if sample.key is None:
            continue
        whole = io.BytesIO()
        begin = sample.offset - write_member(whole, f"{sample.key}.jpg", jpeg)
        _write_labels(whole, sample, several=several)
        if is_whole and (begin != end or os.pread(descriptor, whole.tell(), begin) != whole.getvalue()):
            other_frames.append(sample)
        end = begin + whole.tell()
    if other_images:
        yield _damage(stretch, OTHER_IMAGE, other_images)
    if other_frames:
        yield _damage(stretch, OTHER_FRAME, other_frames)
    # If `end` is 0, no key is known; if the rest is long, the length is wrong, which has been told.
    if 0 < end < size <= end + 2 * tarfile.RECORDSIZE and any(os.pread(descriptor, size - end, end)):
        yield Difference(Kind.CHANGED, stretch.name, OTHER_END)
