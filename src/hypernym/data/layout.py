"""Which image goes into which shard, and under which key: decided before any shard is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hypernym.data.selection import Split, shuffled
from hypernym.data.shards import shard_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hypernym.data.selection import Selection


@dataclass(frozen=True)
class ShardPlan:
    """What one shard will hold: `rows` are rows of the usable images, in the order they are laid."""

    split: Split
    number: int
    rows: NDArray[np.int64]
    images: pa.Table
    """part, offset, size, sample key and label of each."""

    @property
    def name(self) -> str:
        """The path of the shard in the dataset."""
        return f"{self.split.name.lower()}/{shard_name(self.number)}"


def lay_out(usable: pa.Table, selection: Selection, shard_bytes: int, seed: int) -> list[ShardPlan]:
    """Shuffle each split and cut it into shards of about `shard_bytes`."""
    label_of = {class_id: label for label, class_id in enumerate(selection.kept)}
    labels = np.array([label_of.get(c, -1) for c in usable["class_id"].to_pylist()], np.int32)
    images = pa.table(
        {
            "part": usable["part"],
            "offset": usable["offset"],
            "size": usable["size"],
            "sample_key": pa.array(sample_keys(usable["key"].to_pylist())),
            "label": labels,
        }
    )
    sizes = usable["size"].to_numpy()
    shards = []
    for split in (Split.TRAIN, Split.VAL):
        rows = np.flatnonzero(selection.splits == split)
        rows = rows[shuffled(len(rows), seed, split)]
        before = np.cumsum(sizes[rows]) - sizes[rows]
        cuts = np.flatnonzero(np.diff(before // shard_bytes)) + 1
        for number, piece in enumerate(np.split(rows, cuts) if len(rows) else []):
            shards.append(ShardPlan(split, number, piece, images.take(pa.array(piece))))
    return shards


def sample_keys(keys: Sequence[str]) -> list[str]:
    """Turn source keys into keys that a WebDataset reader takes whole and that are safe as paths.

    Such a reader ends a key at the first dot of the file name, so the extension goes and other dots
    become underscores; steps to a parent folder go too. Where two keys then meet, the later gets a
    number.
    """
    taken: dict[str, None] = {}  # a set that keeps its order
    for key in keys:
        printable = "".join(sign if sign.isprintable() else "_" for sign in key)
        pieces = [piece for piece in printable.split("/") if piece not in {"", ".", ".."}]
        *folders, name = pieces or ["unnamed"]
        stem = name.rpartition(".")[0] or name
        sample = first = "/".join([*folders, stem.replace(".", "_")])
        if sample.startswith("__"):  # such names are no samples to WebDataset
            sample = first = f"x{sample}"
        number = 1
        while sample in taken:
            number += 1
            sample = f"{first}~{number}"
        taken[sample] = None
    return list(taken)
