"""The pictures of a dataset: by their keys, with the labels that they have there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from hypernym.data.dataset import CARD, open_dataset
from hypernym.data.pixels import decode_image
from hypernym.data.rejections import Reason, RejectionError
from hypernym.data.shards import ShardReader, index_path, open_index
from hypernym.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from hypernym.data.dataset import Dataset

SPLITS = ("val", "train", "test")
"""Of which the first that has images is taken where none is asked for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture of a dataset."""

    dataset: Path
    split: str
    row: int
    """Of the split's index."""

    name: str
    """Its key."""

    truth: tuple[str, ...]
    """The ids of its classes: one, or several."""

    def decode(self, side: int) -> NDArray[np.uint8]:  # noqa: ARG002 - as `evaluate` decodes it
        """Read and decode it, at full size: the same pixels that `evaluate` looks at."""
        index, reader = _open_split(self.dataset, self.split)
        try:
            jpeg = reader.read(index[self.row])
        except DatasetError as cause:
            raise RejectionError(Reason.UNREADABLE, str(cause).rstrip(".")) from cause
        return decode_image(jpeg)


class Samples:
    """The pictures of one split, in the order of its index; keys are read as they are needed."""

    def __init__(self, path: Path, split: str | None) -> None:
        """Open a dataset.

        Args:
            path: Its folder.
            split: One that has images; None: the first of `SPLITS` that has.

        Raises:
            DatasetError: it is not finished, or has no such images.
        """
        self._dataset = open_dataset(path)
        stated = self._dataset.card["splits"]
        usual = next((name for name in SPLITS if stated.get(name, {}).get("images")), SPLITS[0])
        self._split = split or usual
        self._index = self._dataset.index(self._split)

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[Sample]:
        table = self._dataset.classes.ids
        labels = _read_labels(self._dataset, self._split, self._index)
        for row, (key, own) in enumerate(zip(self._keys(), labels, strict=True)):
            truth = tuple(table[label] for label in own)
            yield Sample(self._dataset.path, self._split, row, key, truth)

    def _keys(self) -> Iterator[str]:
        """Give the keys of the split from the table of all images."""
        first = self._dataset.images_before(self._split)
        with pq.ParquetFile(self._dataset.path / "images.parquet") as table:
            batches = table.iter_batches(columns=["key"])
            keys = (key for batch in batches for key in batch["key"].to_pylist())
            yield from islice(keys, first, first + len(self))


def is_dataset(path: Path) -> bool:
    """Tell whether a folder is a dataset, and no mere folder of pictures."""
    return (path / CARD).is_file()


def _read_labels(dataset: Dataset, split: str, index: NDArray[np.void]) -> Iterator[list[int]]:
    """Give the labels of each row of a split."""
    if not dataset.card["several_labels"]:
        for entry in index:
            yield [int(entry["label"])]
        return
    rows = dataset.labels(split)
    place = 0
    for row in range(len(index)):
        own = []
        while place < len(rows) and rows[place]["row"] == row:
            own.append(int(rows[place]["label"]))
            place += 1
        yield own


@cache
def _open_split(dataset: Path, split: str) -> tuple[NDArray[np.void], ShardReader]:
    """Open what a process reads a split with, once."""
    return open_index(index_path(dataset, split)), ShardReader(dataset / split)
