"""The second step of a preparation: selected images become shards, each with a table of its rows."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hypernym.data.shards import Sample, write_shard
from hypernym.files import open_whole
from hypernym.preparation.convert import jpegs_path
from hypernym.preparation.seen import open_seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hypernym.preparation.layout import ShardPlan

TAKEN = ["width", "height", "form", "source_sha256", "fingerprint"]


def rows_path(work: Path, shard: ShardPlan) -> Path:
    """Return where the rows of a shard are kept: this file says that the shard is done."""
    return work / "packed" / f"{shard.split.folder}-{shard.number:06d}.parquet"


def pack_shard(shard: ShardPlan, *, seen: Path, folder: Path) -> None:
    """Write one shard, and then its rows of `images.parquet`.

    `seen` is the file of `gather_seen`, in the work folder of the dataset.
    """
    images = open_seen(seen).take(shard.rows, ["key", "sample_key", "part", "offset", "size", *TAKEN])
    keys = _sample_keys(images, shard)
    samples = _read_samples(images, keys, shard, seen.parent)
    index = write_shard(folder / shard.name, shard.number, samples, several=shard.several)
    labels = [shard.labels[place].tolist() for place in range(len(shard.rows))]
    columns = {
        "key": pa.array(keys, pa.string()),
        "source": images["key"],
        "class_id": pa.array([shard.labels.class_ids[own[0]] for own in labels], pa.string()),
        "label": pa.array(index["label"]),
        "labels": pa.array(labels, pa.list_(pa.int32())),
        "split": pa.array([shard.split.folder] * len(keys), pa.string()),
        **{name: pa.array(index[name]) for name in ("shard", "offset", "size", "crc32")},
        **{name: images[name] for name in TAKEN},
    }
    with open_whole(rows_path(seen.parent, shard)) as stream:
        pq.write_table(pa.table(columns), stream)


def _sample_keys(images: pa.Table, shard: ShardPlan) -> list[str]:
    """Return the keys of the samples: one that meets an earlier one gets its number."""
    numbers = [shard.numbered.get(row, 1) for row in shard.rows.tolist()]
    keys = images["sample_key"].to_pylist()
    return [key if number == 1 else f"{key}~{number}" for key, number in zip(keys, numbers, strict=True)]


def _read_samples(images: pa.Table, keys: list[str], shard: ShardPlan, work: Path) -> Iterator[Sample]:
    """Read a shard's images from the work files, file by file; give them in the shard's order."""
    parts, offsets, sizes = (images[name].to_numpy() for name in ("part", "offset", "size"))
    jpegs: list[bytes] = [b""] * len(images)
    for part, rows in groupby(np.lexsort((offsets, parts)), key=lambda row: parts[row]):
        with jpegs_path(work, part).open("rb") as stream:
            for row in rows:
                stream.seek(offsets[row])
                jpegs[row] = stream.read(sizes[row])
    for place, (key, jpeg) in enumerate(zip(keys, jpegs, strict=True)):
        yield Sample(key, jpeg, tuple(shard.labels[place].tolist()))
