"""Which image goes into which shard, and under which key: decided before any shard is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hypernym.data.shards import shard_name
from hypernym.preparation.selection import SPLITS, Split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from hypernym.preparation.seen import LabelsOfImages, Seen
    from hypernym.preparation.selection import Selection


@dataclass(frozen=True)
class ShardPlan:
    """What one shard will hold; a small value that travels to the process that writes it."""

    split: Split
    number: int
    rows: NDArray[np.int64]
    """The images, as rows of what was seen, in the order in which they are laid down."""

    labels: LabelsOfImages
    """Their labels, by place in `rows`."""

    numbered: dict[int, int]
    """For images whose sample key meets that of an earlier one: their number among these."""

    several: bool
    """Whether images of this dataset have several labels."""

    @property
    def name(self) -> str:
        """The path of the shard in the dataset."""
        return f"{self.split.folder}/{shard_name(self.number)}"


def lay_out(seen: Seen, selection: Selection, shard_bytes: int) -> Iterator[ShardPlan]:
    """Shuffle each split and cut it into shards of about `shard_bytes`.

    The order is that of a hash of the keys: a shuffle in which images added later move nothing else,
    and in which a shard is one stretch of each part's work file.
    """
    numbered = _number_equal_keys(seen.column("sample_hash"))
    several = bool((np.diff(selection.labels.starts)[selection.splits >= 0] > 1).any())
    sizes = seen.column("size")
    order_hash = seen.column("order_hash")
    for split in SPLITS:
        rows = np.flatnonzero(selection.splits == split)
        rows = rows[np.lexsort((rows, order_hash[rows]))]
        ends = np.cumsum(sizes[rows], dtype=np.int64)
        cuts = np.flatnonzero(np.diff((ends - sizes[rows]) // shard_bytes)) + 1
        for number, piece in enumerate(np.split(rows, cuts) if len(rows) else []):
            labels = selection.labels.take(piece)
            own = {row: numbered[row] for row in piece.tolist() if row in numbered}
            yield ShardPlan(split, number, piece, labels, own, several)


def _number_equal_keys(hashes: NDArray[np.uint64]) -> dict[int, int]:
    """Return the images whose sample key is that of an earlier one, with their number: 2, 3, ..."""
    order = np.argsort(hashes, kind="stable")
    is_first = np.concatenate([[True], np.diff(hashes[order]) != 0]) if len(order) else np.empty(0)
    starts = np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))
    numbers = np.arange(len(order)) - starts + 1
    again = numbers > 1
    return dict(zip(order[again].tolist(), numbers[again].tolist(), strict=True))
