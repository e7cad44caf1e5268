"""What describes the shards of a dataset: class table, indices, a row for every image.

All of it is written in one pass over the tables of the shards, some rows at a time.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hypernym.data.classes import ClassTable, save_classes
from hypernym.data.rejections import Reason
from hypernym.data.shards import INDEX_ROW, LABEL_ROW, index_path, labels_path, save_index
from hypernym.files import digest_files, open_whole, write_text
from hypernym.preparation.pack import rows_path
from hypernym.preparation.selection import SPLITS, Split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hypernym.preparation.layout import ShardPlan
    from hypernym.preparation.seen import Seen
    from hypernym.preparation.selection import Foreign, Selection

Indices = dict[Split, tuple["NDArray[np.void]", "NDArray[np.void]"]]
"""Of each split, index rows and label rows."""

REJECTED = pa.schema(
    [
        ("key", pa.string()),  # null where the row stands for a class
        ("class_id", pa.string()),  # the first, of several
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


def write_catalogue(
    folder: Path,
    work: Path,
    seen: Seen,
    selection: Selection,
    shards: Sequence[ShardPlan],
    names: Sequence[str],
    foreign: Foreign | None,
) -> dict[str, Any]:
    """Write every describing file but the card, and return what the card says of them.

    Args:
        folder: The dataset.
        work: The work folder, which holds the rows of each shard.
        seen: A row for every image of the source.
        selection: Which of them were chosen.
        shards: The shards, split by split.
        names: A name for each class that was kept.
        foreign: Pictures of other datasets, because of which some were left out.
    """
    indices = _write_images(folder, work, shards)
    for split, (index, labels) in indices.items():
        save_index(index_path(folder, split.folder), index)
        if any(shard.several for shard in shards):
            save_index(labels_path(folder, split.folder), labels)
    counts = [_count_classes(indices, split, len(names)) for split in SPLITS]
    classes = ClassTable(selection.kept, tuple(names), *counts)
    save_classes(folder / "classes.csv", classes)
    reasons = _write_rejected(folder / "rejected.parquet", seen, selection, foreign)
    _write_timm_info(folder / "_info.json", indices, shards)
    described = [folder / "classes.csv", *(index_path(folder, split.folder) for split in indices)]
    tables = [
        *described,
        *(folder / name for name in ("images.parquet", "rejected.parquet", "_info.json")),
    ]
    if any(shard.several for shard in shards):
        tables += [labels_path(folder, split.folder) for split in indices]
    return {
        "num_classes": len(classes),
        "classes_digest": classes.digest,
        "classes_dropped": selection.dropped,
        "several_labels": any(shard.several for shard in shards),
        "splits": {
            split.folder: {"images": len(index), "shards": len(_shards_of(split, shards))}
            for split, (index, _) in indices.items()
        },
        "images_seen": len(seen),
        "images_rejected": dict(sorted(reasons.items())),
        "digest": digest_files(*described),
        "files": {path.name: digest_files(path) for path in tables},
    }


def _shards_of(split: Split, shards: Sequence[ShardPlan]) -> list[ShardPlan]:
    return [shard for shard in shards if shard.split is split]


def _write_images(folder: Path, work: Path, shards: Sequence[ShardPlan]) -> Indices:
    """Join the rows of the shards into `images.parquet`, a row group a shard; return the indices.

    Only the test split may be absent.
    """
    pieces: dict[Split, list[NDArray[np.void]]] = {Split.TRAIN: [], Split.VAL: []}
    labels: dict[Split, list[pa.Array]] = {}
    with open_whole(folder / "images.parquet") as stream:
        writer = None
        for shard in shards:
            table = pq.read_table(rows_path(work, shard))
            writer = writer or pq.ParquetWriter(stream, table.schema)
            writer.write_table(table)
            index = np.empty(len(table), INDEX_ROW)
            for name in INDEX_ROW.names or ():
                index[name] = table[name].to_numpy()
            pieces.setdefault(shard.split, []).append(index)
            labels.setdefault(shard.split, []).extend(table["labels"].chunks)
        if writer:
            writer.close()
    return {
        split: (np.concatenate([np.empty(0, INDEX_ROW), *own]), _label_rows(labels.get(split, [])))
        for split, own in pieces.items()
    }


def _label_rows(chunks: Sequence[pa.ListArray]) -> NDArray[np.void]:
    lists = pa.chunked_array(chunks, pa.list_(pa.int32())).combine_chunks()
    rows = np.empty(len(lists.flatten()), LABEL_ROW)
    rows["row"] = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy())
    rows["label"] = lists.flatten().to_numpy()
    return rows


def _count_classes(indices: Indices, split: Split, num_classes: int) -> tuple[int, ...]:
    """Count the images of each class; an image with several labels counts for each of them."""
    if split not in indices:
        return (0,) * num_classes
    return tuple(np.bincount(indices[split][1]["label"], minlength=num_classes).tolist())


def _write_timm_info(path: Path, splits: Iterable[Split], shards: Sequence[ShardPlan]) -> None:
    """Write what timm's `wds/` reader needs to read the folder as it is."""
    info = {}
    for split in splits:
        lengths = {shard.name: len(shard.rows) for shard in _shards_of(split, shards)}
        info[split.folder] = {
            "name": split.folder,
            "num_samples": sum(lengths.values()),
            "filenames": list(lengths),
            "shard_lengths": list(lengths.values()),
        }
    write_text(path, json.dumps({"splits": info}, indent=1) + "\n")


def _write_rejected(
    path: Path, seen: Seen, selection: Selection, foreign: Foreign | None
) -> Counter[str]:
    """Write a row for every image that was left out, then one for every dropped class.

    Returns the number of images for each reason.
    """
    reasons: Counter[str] = Counter()
    with open_whole(path) as stream, pq.ParquetWriter(stream, REJECTED) as writer:
        for start, table in seen.batches(["key", "class_ids", "reason", "detail"]):
            rejected = _add_verdicts(table, start, seen, selection, foreign)
            reasons.update(rejected["reason"].to_pylist())
            writer.write_table(rejected)
        rare = [
            {"class_id": class_id, "reason": Reason.RARE_CLASS, "detail": f"{count} images"}
            for class_id, count in selection.dropped.items()
        ]
        writer.write_table(pa.Table.from_pylist(rare, REJECTED))
    return reasons


def _add_verdicts(
    table: pa.Table, start: int, seen: Seen, selection: Selection, foreign: Foreign | None
) -> pa.Table:
    """Return the rejected rows of a batch: those of `convert`, and those that went because of others."""
    because = selection.verdicts.of_N[start : start + len(table)]
    places = np.flatnonzero(table["reason"].is_valid().to_numpy() | (because >= 0))
    rows = table.take(pa.array(places)).to_pylist()
    others = because[places]
    own = np.unique(others[(others >= 0) & (others < len(seen))])
    names = dict(zip(own.tolist(), seen.take(own, ["key"])["key"].to_pylist(), strict=True))
    if foreign:
        names |= {len(seen) + number: name for number, name in enumerate(foreign.names)}
    for row, place, other in zip(rows, places.tolist(), others.tolist(), strict=True):
        row["class_id"] = next(iter(row.pop("class_ids")), None)
        if other >= 0:
            row["reason"] = str(selection.verdicts.reason_N[start + place])
            row["detail"] = f"like {names[other]}"
    return pa.Table.from_pylist(rows, REJECTED)
