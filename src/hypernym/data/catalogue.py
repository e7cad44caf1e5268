"""What describes the shards of a dataset: class table, indices, a row for every image."""

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
from hypernym.data.selection import Split
from hypernym.data.shards import INDEX_ROW, index_path, save_index
from hypernym.files import digest_files, open_whole, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hypernym.data.layout import ShardPlan
    from hypernym.data.selection import Selection


def write_catalogue(
    folder: Path,
    seen: pa.Table,
    selection: Selection,
    shards: Sequence[ShardPlan],
    rows: Sequence[NDArray[np.void]],
    names: Sequence[str],
) -> dict[str, Any]:
    """Write every describing file but the card, and return what the card says of them.

    Args:
        folder: The dataset.
        seen: A row for every image of the source.
        selection: Which of them were chosen.
        shards: The shards, train before val.
        rows: The index rows of each shard.
        names: A name for each class that was kept.
    """
    splits = [split.name.lower() for split in (Split.TRAIN, Split.VAL)]
    indices = {name: _write_index(folder, name, shards, rows) for name in splits}
    counts = (np.bincount(index["label"], minlength=len(names)).tolist() for index in indices.values())
    classes = ClassTable(selection.kept, tuple(names), *map(tuple, counts))
    save_classes(folder / "classes.csv", classes)
    usable = seen.filter(pc.is_null(seen["reason"]))
    tables = [_tabulate(usable, shard, own) for shard, own in zip(shards, rows, strict=True)]
    _write_table(folder / "images.parquet", pa.concat_tables(tables))
    _write_table(folder / "rejected.parquet", _tabulate_rejected(seen, selection))
    _write_timm_info(folder / "_info.json", splits, shards)
    reasons = Counter(seen["reason"].drop_null().to_pylist())
    described = [folder / "classes.csv", *(index_path(folder, name) for name in splits)]
    return {
        "num_classes": len(classes),
        "classes_digest": classes.digest,
        "classes_dropped": selection.dropped,
        "splits": {
            name: {"images": len(index), "shards": len(_shards_of(name, shards))}
            for name, index in indices.items()
        },
        "images_seen": len(seen),
        "images_rejected": dict(sorted(reasons.items())),
        "digest": digest_files(*described),
    }


def _shards_of(split: str, shards: Sequence[ShardPlan]) -> list[ShardPlan]:
    return [shard for shard in shards if shard.split.name.lower() == split]


def _write_index(
    folder: Path, split: str, shards: Sequence[ShardPlan], rows: Sequence[NDArray[np.void]]
) -> NDArray[np.void]:
    own = [piece for shard, piece in zip(shards, rows, strict=True) if shard.split.name.lower() == split]
    index = np.concatenate([np.empty(0, INDEX_ROW), *own])
    save_index(index_path(folder, split), index)
    return index


def _write_table(path: Path, table: pa.Table) -> None:
    with open_whole(path) as stream:
        pq.write_table(table, stream)


def _write_timm_info(path: Path, splits: Sequence[str], shards: Sequence[ShardPlan]) -> None:
    """Write what timm's `wds/` reader needs to read the folder as it is."""
    info = {}
    for name in splits:
        lengths = {shard.name: len(shard.rows) for shard in _shards_of(name, shards)}
        info[name] = {
            "name": name,
            "num_samples": sum(lengths.values()),
            "filenames": list(lengths),
            "shard_lengths": list(lengths.values()),
        }
    write_text(path, json.dumps({"splits": info}, indent=1) + "\n")


def _tabulate(usable: pa.Table, shard: ShardPlan, index: NDArray[np.void]) -> pa.Table:
    """Return the rows of `images.parquet` for one shard."""
    known = usable.take(pa.array(shard.rows))
    split = shard.split.name.lower()
    return pa.table(
        {
            "key": shard.images["sample_key"],
            "source": known["key"],
            "class_id": known["class_id"],
            "label": shard.images["label"],
            "split": pa.array([split] * len(known), pa.string()),
            "shard": pa.array(index["shard"]),
            "offset": pa.array(index["offset"]),
            "size": pa.array(index["size"]),
            "crc32": pa.array(index["crc32"]),
            "width": known["width"],
            "height": known["height"],
            "form": known["form"],
            "source_sha256": known["source_sha256"],
        }
    )


def _tabulate_rejected(seen: pa.Table, selection: Selection) -> pa.Table:
    """Return a row for every rejected image, then one for every dropped class."""
    columns = ["key", "class_id", "reason", "detail"]
    images = seen.filter(pc.is_valid(seen["reason"])).select(columns)
    rows = [
        {"class_id": class_id, "reason": Reason.RARE_CLASS, "detail": f"{count} usable images"}
        for class_id, count in selection.dropped.items()
    ]
    return pa.concat_tables([images, pa.Table.from_pylist(rows, images.schema)])
