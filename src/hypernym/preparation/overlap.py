"""What two datasets have in common: which pictures, in which splits, under which classes.

An image is known by its key in the source, which is the same in two preparations of one source, and by
the SHA-256 of its original file, which finds the same file under any name. Pictures that were
compressed anew are found by `prepare --against` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hypernym.errors import DatasetError
from hypernym.preparation.convert import hash_text
from hypernym.preparation.seen import words_of
from hypernym.preparation.selection import SPLITS, Split
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hypernym.data.dataset import Dataset

ROWS_PER_BATCH = 1 << 17
MAX_LEAKS = 100

_TRAIN = 1 << Split.TRAIN
_HELD_OUT = 1 << Split.VAL | 1 << Split.TEST


@dataclass(frozen=True)
class Leak:
    """An image that one dataset trains on and the other holds out."""

    split: str
    source: str
    """Its key in the first dataset."""

    other_split: str
    other_source: str


@dataclass(frozen=True)
class Matches:
    """Images of the first dataset that the second has too."""

    shared: int
    only_here: int
    only_there: int
    by_split: dict[str, dict[str, int]]
    """Of the shared ones: split here -> split there -> images. One that lies in several splits there
    counts in each."""

    leaked: int
    """Of the shared ones: those that one dataset trains on and the other holds out."""

    leaks: tuple[Leak, ...]
    """The first of them."""


@dataclass(frozen=True)
class Overlap:
    """What a dataset has in common with another."""

    other: Path
    classes_shared: int
    classes_only_here: tuple[str, ...]
    classes_only_there: tuple[str, ...]
    by_source: Matches
    by_file: Matches


class _Images(NamedTuple):
    """What is known of each image: 17 bytes, so that millions can be compared."""

    splits_N: NDArray[np.int8]
    sources_N: NDArray[np.uint64]
    """A hash of the key in the source."""

    files_N: NDArray[np.uint64]
    """The first 64 bits of the SHA-256 of the original file."""


def measure_overlap(dataset: Dataset, other: Dataset) -> Overlap:
    """Compare two datasets by what they say of their images, none of which is read.

    Raises:
        DatasetError: one of them cannot be read.
    """
    here, there = _read_images(dataset.path), _read_images(other.path)
    ids, other_ids = set(dataset.classes.ids), set(other.classes.ids)
    paths = (dataset.path, other.path)
    splits = (here.splits_N, there.splits_N)
    return Overlap(
        other.path,
        len(ids & other_ids),
        tuple(sorted(ids - other_ids, key=str.encode)),
        tuple(sorted(other_ids - ids, key=str.encode)),
        _match(paths, splits, (here.sources_N, there.sources_N)),
        _match(paths, splits, (here.files_N, there.files_N)),
    )


def _read_images(folder: Path) -> _Images:
    splits, sources, files = [], [], []
    code_of = {split.folder: split for split in SPLITS}
    with show_progress(f"reading {folder.name}", None, "images") as advance:
        for batch in _read_batches(folder, ["split", "source", "source_sha256"]):
            splits.append(np.array([code_of[word] for word in batch["split"].to_pylist()], np.int8))
            sources.append(np.array([hash_text(key) for key in batch["source"].to_pylist()], np.uint64))
            files.append(words_of(batch["source_sha256"])[:, 0].astype(np.uint64))
            advance(len(batch))
    empty = np.empty(0, np.uint64)
    return _Images(
        np.concatenate([np.empty(0, np.int8), *splits]),
        np.concatenate([empty, *sources]),
        np.concatenate([empty, *files]),
    )


def _read_batches(folder: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    path = folder / "images.parquet"
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(ROWS_PER_BATCH, columns=columns)
    except (OSError, ValueError, pa.ArrowException) as cause:
        raise DatasetError(
            f"{path} cannot be read ({cause}): see what `hypernym verify {folder}` says."
        ) from cause


def _match(
    paths: tuple[Path, Path],
    splits: tuple[NDArray[np.int8], NDArray[np.int8]],
    hashes: tuple[NDArray[np.uint64], NDArray[np.uint64]],
) -> Matches:
    """Match the images of two datasets by a hash."""
    there_N = _splits_there(hashes[0], hashes[1], splits[1])
    here_N = np.left_shift(1, splits[0])
    is_leaked_N = ((here_N & _TRAIN) > 0) & ((there_N & _HELD_OUT) > 0)
    is_leaked_N |= ((here_N & _HELD_OUT) > 0) & ((there_N & _TRAIN) > 0)
    table = {
        here.folder: {
            there.folder: int(np.count_nonzero(there_N[splits[0] == here] & 1 << there))
            for there in SPLITS
        }
        for here in SPLITS
    }
    shared = int(np.count_nonzero(there_N))
    return Matches(
        shared,
        len(there_N) - shared,
        int(np.count_nonzero(_splits_there(hashes[1], hashes[0], splits[0]) == 0)),
        table,
        int(np.count_nonzero(is_leaked_N)),
        _name_leaks(paths, splits, hashes, np.flatnonzero(is_leaked_N)[:MAX_LEAKS]),
    )


def _splits_there(
    hashes_N: NDArray[np.uint64], others_M: NDArray[np.uint64], splits_M: NDArray[np.int8]
) -> NDArray[np.uint8]:
    """Return for each hash the splits, as bits, in which the other dataset has it; 0 for none."""
    known, place_M = np.unique(others_M, return_inverse=True)
    bits = np.zeros(len(known) + 1, np.uint8)  # one more, for hashes above all that are known
    np.bitwise_or.at(bits, place_M, np.left_shift(1, splits_M).astype(np.uint8))
    place_N = np.searchsorted(known, hashes_N)
    is_known_N = np.append(known, np.uint64(0))[place_N] == hashes_N
    return np.where(is_known_N & (place_N < len(known)), bits[place_N], 0).astype(np.uint8)


def _name_leaks(
    paths: tuple[Path, Path],
    splits: tuple[NDArray[np.int8], NDArray[np.int8]],
    hashes: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    rows: NDArray[np.int64],
) -> tuple[Leak, ...]:
    """Say which images some rows of the first dataset are, here and there."""
    is_train = splits[1] == Split.TRAIN
    others = [
        np.flatnonzero((hashes[1] == hashes[0][row]) & (is_train != (splits[0][row] == Split.TRAIN)))[0]
        for row in rows
    ]
    keys, other_keys = _name_rows(paths[0], rows), _name_rows(paths[1], np.array(others, np.int64))
    return tuple(
        Leak(Split(splits[0][row]).folder, key, Split(splits[1][other]).folder, other_key)
        for row, key, other, other_key in zip(rows, keys, others, other_keys, strict=True)
    )


def _name_rows(folder: Path, rows: NDArray[np.int64]) -> list[str]:
    """Return the keys, in the source, of some rows of `images.parquet`."""
    keys: dict[int, str] = {}
    start = 0
    for batch in _read_batches(folder, ["source"]) if len(rows) else ():
        own = rows[(rows >= start) & (rows < start + len(batch))]
        keys |= zip(own.tolist(), batch["source"].take(pa.array(own - start)).to_pylist(), strict=True)
        start += len(batch)
    return [keys[row] for row in rows.tolist()]
