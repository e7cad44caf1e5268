"""Images by their rows: bytes, pixels and labels, of one split or chosen from several.

Shapes: N images in all, B images asked for, K labels.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import simplejpeg
import torch

from hypernym.data.shards import (
    LABEL_ROW,
    ShardReader,
    index_path,
    labels_path,
    open_index,
    shard_name,
)
from hypernym.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from hypernym.data.dataset import Dataset


class Rows(Protocol):
    """N images, each by its row."""

    def __len__(self) -> int:
        """Return N."""
        ...

    @property
    def labels_N(self) -> NDArray[np.int32]:
        """The label of each image, or the first of several."""

    def read(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Return the JPEG of each row."""

    def decode(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Give the pixels (H, W, 3) of each row."""

    def first_labels(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the label of each row, or the first of several: int64 (B,)."""

    def present(self, rows: NDArray[np.int64]) -> torch.Tensor | None:
        """Return which labels each row has, bool (B, K); None where images have one label each."""


class SplitRows:
    """The images of a split by their rows: bytes and labels. A copy in another process opens its own."""

    def __init__(self, dataset: Dataset, split: str) -> None:
        dataset.index(split)  # refuses what is no index, before a process is started
        self._path = dataset.path
        self._split = split
        self._num_labels = len(dataset.classes) if dataset.card["several_labels"] else 0

    def __len__(self) -> int:
        return len(self.index)

    @property
    def labels_N(self) -> NDArray[np.int32]:
        """The label of each image, or the first of several: (N,), mapped into memory."""
        labels_N: NDArray[np.int32] = self.index["label"]
        return labels_N

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_path", "_split", "_num_labels")}

    @cached_property
    def index(self) -> NDArray[np.void]:
        """The index of the split, mapped into memory."""
        return open_index(index_path(self._path, self._split))

    @cached_property
    def _labels(self) -> NDArray[np.void]:
        return open_index(labels_path(self._path, self._split), LABEL_ROW)

    @cached_property
    def _reader(self) -> ShardReader:
        return ShardReader(self._path / self._split)

    def read(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Return the JPEG of each row.

        Raises:
            DatasetError: an image is not what was written.
        """
        return [self._reader.read(entry) for entry in self.index[rows]]

    def decode(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Give the pixels (H, W, 3) of each row.

        Raises:
            DatasetError: an image is not what was written, or was no JPEG when it was.
        """
        for entry in self.index[rows]:
            jpeg = self._reader.read(entry)
            try:
                pixels_HWC: NDArray[np.uint8] = simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
            except ValueError as cause:
                path = self._path / self._split / shard_name(int(entry["shard"]))
                raise DatasetError(
                    f"{path} holds an image at byte {entry['offset']} that cannot be decoded ({cause})."
                ) from cause
            yield pixels_HWC

    def first_labels(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the label of each row, or the first of several: int64 (B,)."""
        return torch.from_numpy(self.index[rows]["label"].astype(np.int64))

    def present(self, rows: NDArray[np.int64]) -> torch.Tensor | None:
        """Return which labels each row has, bool (B, K); None where images have one label each."""
        if not self._num_labels:
            return None
        present_BK = torch.zeros(len(rows), self._num_labels, dtype=torch.bool)
        # Not np.searchsorted: it would copy the whole column out of the file, for each batch.
        labelled: Any = self._labels["row"]
        for present_K, row in zip(present_BK, rows.tolist(), strict=True):
            found = slice(bisect_left(labelled, row), bisect_right(labelled, row))
            present_K[torch.from_numpy(self._labels["label"][found].astype(np.int64))] = True
        return present_BK


class ChosenRows:
    """Images chosen from the splits of a dataset, numbered as they are named."""

    def __init__(self, dataset: Dataset, chosen: Sequence[tuple[str, NDArray[np.int64]]]) -> None:
        """Choose images.

        Args:
            dataset: The dataset.
            chosen: Splits, each with the rows that are taken of it.
        """
        self._splits = [SplitRows(dataset, split) for split, _ in chosen]
        self._rows_N = np.concatenate([rows for _, rows in chosen])
        self._ends = np.cumsum([len(rows) for _, rows in chosen])

    def __len__(self) -> int:
        return len(self._rows_N)

    @property
    def labels_N(self) -> NDArray[np.int32]:
        """The label of each image, or the first of several."""
        pieces = np.split(self._rows_N, self._ends[:-1])
        return np.concatenate(
            [split.labels_N[piece] for split, piece in zip(self._splits, pieces, strict=True)]
        )

    def read(self, rows: NDArray[np.int64]) -> list[bytes]:
        """Return the JPEG of each row.

        Raises:
            DatasetError: an image is not what was written.
        """
        return [jpeg for split, row in self._find(rows) for jpeg in split.read(row)]

    def decode(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Give the pixels (H, W, 3) of each row.

        Raises:
            DatasetError: an image is not what was written, or was no JPEG when it was.
        """
        for split, row in self._find(rows):
            yield from split.decode(row)

    def first_labels(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the label of each row, or the first of several: int64 (B,)."""
        return torch.cat([split.first_labels(row) for split, row in self._find(rows)])

    def present(self, rows: NDArray[np.int64]) -> torch.Tensor | None:
        """Return which labels each row has, bool (B, K); None where images have one label each."""
        found = None
        split_B = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(split_B):
            places = np.flatnonzero(split_B == number)
            present_PK = self._splits[number].present(self._rows_N[rows[places]])
            if present_PK is None:
                return None
            if found is None:
                found = torch.zeros(len(rows), present_PK.shape[1], dtype=torch.bool)
            found[torch.from_numpy(places)] = present_PK
        return found

    def _find(self, rows: NDArray[np.int64]) -> Iterator[tuple[SplitRows, NDArray[np.int64]]]:
        """Give the split of each row, and its row there, (1,)."""
        for row in rows.tolist():
            split = self._splits[int(np.searchsorted(self._ends, row, side="right"))]
            yield split, self._rows_N[row : row + 1]
