"""Preparation in two steps, each restartable part by part.

    convert   part -> resized JPEGs in a work file, and a table with a row for every image seen
    select    all rows -> classes that stay, split of each image          (selection.py, no images read)
    pack      selected rows, in a shuffled order -> shards and index
    finish    class table, image tables, index; `dataset.json` last

A step is a pure function of its inputs, and each of its files appears whole: whatever moment a run
is killed at, `resume` does the missing pieces and ends in the same bytes. The work folder lies in
the dataset and is removed at the end.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hypernym.data.classes import ClassTable, save_classes
from hypernym.data.dataset import CARD, CARD_VERSION, Dataset, open_dataset
from hypernym.data.engine import run_tasks
from hypernym.data.images import ImagePolicy, Prepared, prepare_image
from hypernym.data.rejections import Reason, Rejected, RejectionError
from hypernym.data.selection import Selection, SelectionRule, Split, select, shuffled
from hypernym.data.shards import (
    INDEX_ROW,
    Sample,
    index_path,
    save_index,
    shard_name,
    write_shard,
)
from hypernym.data.sources import Part, SourceImage, find_parts, open_part
from hypernym.errors import OutputError
from hypernym.files import (
    digest_files,
    make_folder,
    open_whole,
    read_json,
    sync_folder,
    write_json,
    write_text,
)
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WORK = ".work"
PLAN_VERSION = 1

SEEN = pa.schema(
    [
        ("key", pa.string()),
        ("class_id", pa.string()),
        ("reason", pa.string()),  # null where the image is usable
        ("detail", pa.string()),
        ("form", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("source_sha256", pa.string()),
        ("offset", pa.int64()),  # of the JPEG in the part's work file
        ("size", pa.int32()),
    ]
)
"""A row for every image seen by `convert`, in the order of the source."""


@dataclass(frozen=True)
class PrepareRules:
    """All that decides the bytes of a dataset, beside its source."""

    images: ImagePolicy
    selection: SelectionRule
    shard_bytes: int
    """A shard is closed when its JPEGs pass this many bytes."""


def run_preparation(
    source: Path,
    folder: Path,
    rules: PrepareRules,
    *,
    name_classes: Callable[[Sequence[str]], Sequence[str]],
    workers: int,
) -> Dataset:
    """Prepare `source` into `folder`, going on from whatever a killed run left there."""
    if (folder / CARD).exists():  # finished, or killed while it removed its work folder
        _check_plan(read_json(folder / CARD, "dataset", CARD_VERSION, OutputError), source, rules)
        shutil.rmtree(folder / WORK, ignore_errors=True)
        return open_dataset(folder)
    parts = _plan(source, folder, rules)
    work = folder / WORK
    _convert(parts, work, rules.images, workers)
    seen = _load_seen(work, len(parts))
    usable = seen.filter(pc.is_null(seen["reason"]))
    class_ids, keys = usable["class_id"].to_pylist(), usable["key"].to_pylist()
    selection = select(class_ids, keys, rules.selection)
    shards = _lay_out(usable, selection, rules)
    _pack(shards, work, folder, workers)
    _finish(source, folder, rules, seen, selection, shards, name_classes)
    shutil.rmtree(work)
    return open_dataset(folder)


# --- plan ---------------------------------------------------------------------------------------


def _plan(source: Path, folder: Path, rules: PrepareRules) -> list[Part]:
    """Write down what is to be done, or check that it is what a killed run wrote down."""
    path = folder / WORK / "plan.json"
    if path.exists():
        _check_plan(read_json(path, "plan", PLAN_VERSION, OutputError), source, rules)
    parts = find_parts(source)
    if not path.exists():
        for name in ("converted", "packed"):
            make_folder(folder / WORK / name)
        write_json(path, "plan", PLAN_VERSION, **_describe(source, rules))
    return parts


def _describe(source: Path, rules: PrepareRules) -> dict[str, Any]:
    """Tell what a preparation starts from: the same description, the same bytes."""
    stat = source.stat()
    size = stat.st_size if source.is_file() else None
    described = {"name": source.name, "size": size}
    return {"source": described, **json.loads(json.dumps(asdict(rules)))}


def _check_plan(found: dict[str, Any], source: Path, rules: PrepareRules) -> None:
    wanted = _describe(source, rules) if source.exists() else {}
    for field, value in wanted.items():
        if found[field] != value:
            raise OutputError(
                f"the preparation begun there has {field} {found[field]}, this one {value}: give the "
                f"same source and options to resume it, or another folder."
            )


# --- convert ------------------------------------------------------------------------------------


def _convert(parts: list[Part], work: Path, policy: ImagePolicy, workers: int) -> None:
    numbered = list(enumerate(parts))
    missing = [(number, part) for number, part in numbered if not _seen_path(work, number).exists()]
    function = partial(_convert_part, work=work, policy=policy)
    done = len(parts) - len(missing)
    with show_progress("converting", len(parts), "parts", done=done) as advance:
        for _ in run_tasks(function, missing, workers=workers, name=lambda task: task[1].name):
            advance()


def _seen_path(work: Path, number: int) -> Path:
    return work / "converted" / f"{number:06d}.parquet"


def _jpegs_path(work: Path, number: int) -> Path:
    return work / "converted" / f"{number:06d}.jpegs"


def _convert_part(task: tuple[int, Part], *, work: Path, policy: ImagePolicy) -> None:
    """Resize the images of one part. Its table is written last: it says that the part is done."""
    number, part = task
    rows = []
    keys: Counter[str] = Counter()
    with open_whole(_jpegs_path(work, number)) as stream:
        for image in open_part(part):
            keys[image.key] += 1
            again = f"~{keys[image.key]}" if keys[image.key] > 1 else ""
            row = _convert_image(image, policy)
            row |= {"key": image.key + again, "class_id": image.class_ids[0]}
            if jpeg := row.pop("jpeg", None):
                row |= {"offset": stream.tell(), "size": len(jpeg)}
                stream.write(jpeg)
            rows.append(row)
    with open_whole(_seen_path(work, number)) as stream:
        pq.write_table(pa.Table.from_pylist(rows, SEEN), stream)


def _convert_image(image: SourceImage, policy: ImagePolicy) -> dict[str, Any]:
    try:
        data = image.read()
    except RejectionError as rejection:
        return {"reason": rejection.rejected.reason, "detail": rejection.rejected.detail}
    digest = {"source_sha256": hashlib.sha256(data).hexdigest()}
    match prepare_image(data, policy):
        case Prepared(jpeg, width, height, form):
            return {"jpeg": jpeg, "width": width, "height": height, "form": form, **digest}
        case Rejected(reason, detail):
            return {"reason": reason, "detail": detail, **digest}


def _load_seen(work: Path, num_parts: int) -> pa.Table:
    tables = []
    for number in range(num_parts):
        table = pq.read_table(_seen_path(work, number), schema=SEEN)
        tables.append(table.append_column("part", pa.array([number] * len(table), pa.int32())))
    return pa.concat_tables(tables)


# --- pack ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shard:
    """What one shard will hold: `rows` are rows of the usable images, in the order they are laid."""

    split: Split
    number: int
    rows: NDArray[np.int64]
    images: pa.Table
    """part, offset, size, sample key and label of each."""

    @property
    def name(self) -> str:
        return f"{self.split.name.lower()}/{shard_name(self.number)}"


def _lay_out(usable: pa.Table, selection: Selection, rules: PrepareRules) -> list[_Shard]:
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
        rows = rows[shuffled(len(rows), rules.selection.seed, split)]
        before = np.cumsum(sizes[rows]) - sizes[rows]
        cuts = np.flatnonzero(np.diff(before // rules.shard_bytes)) + 1
        for number, piece in enumerate(np.split(rows, cuts) if len(rows) else []):
            shards.append(_Shard(split, number, piece, images.take(pa.array(piece))))
    return shards


def sample_keys(keys: Sequence[str]) -> list[str]:
    """Turn source keys into keys that a WebDataset reader takes whole and that are safe as paths.

    Such a reader ends a key at the first dot of the file name, so the extension goes and other dots
    become underscores; steps to a parent folder go too. Where two keys then meet, the later gets a
    number.
    """
    taken: dict[str, None] = {}  # a set that keeps its order
    for key in keys:
        *folders, name = (piece for piece in key.split("/") if piece not in {"", ".", ".."})
        stem = name.rpartition(".")[0] or name
        sample = first = "/".join([*folders, stem.replace(".", "_")])
        number = 1
        while sample in taken:
            number += 1
            sample = f"{first}~{number}"
        taken[sample] = None
    return list(taken)


def _pack(shards: list[_Shard], work: Path, folder: Path, workers: int) -> None:
    for split in (Split.TRAIN, Split.VAL):
        (folder / split.name.lower()).mkdir(exist_ok=True)
        for leftover in (folder / split.name.lower()).glob(".*.tmp"):
            leftover.unlink()
    missing = [shard for shard in shards if not _rows_path(work, shard).exists()]
    function = partial(_pack_shard, work=work, folder=folder)
    done = len(shards) - len(missing)
    with show_progress("packing", len(shards), "shards", done=done) as advance:
        for _ in run_tasks(function, missing, workers=workers, name=lambda shard: shard.name):
            advance()


def _rows_path(work: Path, shard: _Shard) -> Path:
    return work / "packed" / f"{shard.split.name.lower()}-{shard.number:06d}.npy"


def _pack_shard(shard: _Shard, *, work: Path, folder: Path) -> None:
    """Write one shard. Its index rows are written last: they say that the shard is done."""
    rows = write_shard(folder / shard.name, shard.number, _read_samples(shard.images, work))
    save_index(_rows_path(work, shard), rows)


def _read_samples(images: pa.Table, work: Path) -> Iterator[Sample]:
    """Read a shard's images from the work files, file by file, and give them in the shard's order."""
    parts, offsets, sizes = (images[name].to_numpy() for name in ("part", "offset", "size"))
    jpegs: list[bytes] = [b""] * len(images)
    for part, rows in groupby(np.lexsort((offsets, parts)), key=lambda row: parts[row]):
        with _jpegs_path(work, part).open("rb") as stream:
            for row in rows:
                stream.seek(offsets[row])
                jpegs[row] = stream.read(sizes[row])
    keys, labels = images["sample_key"].to_pylist(), images["label"].to_pylist()
    return map(Sample, keys, jpegs, labels)


# --- finish -------------------------------------------------------------------------------------


def _finish(
    source: Path,
    folder: Path,
    rules: PrepareRules,
    seen: pa.Table,
    selection: Selection,
    shards: list[_Shard],
    name_classes: Callable[[Sequence[str]], Sequence[str]],
) -> None:
    """Write what describes the shards, and last of all the card that says the dataset is done."""
    work = folder / WORK
    counts = {}
    splits: dict[str, Any] = {}
    tables = []
    usable = seen.filter(pc.is_null(seen["reason"]))
    for split in (Split.TRAIN, Split.VAL):
        name = split.name.lower()
        own = [shard for shard in shards if shard.split == split]
        pieces = [np.load(_rows_path(work, shard)) for shard in own]
        index = np.concatenate([np.empty(0, INDEX_ROW), *pieces])
        save_index(index_path(folder, name), index)
        counts[split] = np.bincount(index["label"], minlength=len(selection.kept)).tolist()
        splits[name] = {
            "name": name,
            "num_samples": len(index),
            "filenames": [shard.name for shard in own],
            "shard_lengths": [len(shard.rows) for shard in own],
        }
        tables += [_tabulate(usable, shard, piece) for shard, piece in zip(own, pieces, strict=True)]
    kept = selection.kept
    classes = ClassTable(kept, tuple(name_classes(kept)), *(tuple(c) for c in counts.values()))
    save_classes(folder / "classes.csv", classes)
    with open_whole(folder / "images.parquet") as stream:
        pq.write_table(pa.concat_tables(tables), stream)
    rejected = _tabulate_rejected(seen, selection, rules.selection)
    with open_whole(folder / "rejected.parquet") as stream:
        pq.write_table(rejected, stream)
    write_text(folder / "_info.json", json.dumps({"splits": splits}, indent=1) + "\n")
    reasons = Counter(seen["reason"].drop_null().to_pylist())
    described = [folder / "classes.csv", *(index_path(folder, name) for name in splits)]
    sync_folder(folder)
    write_json(
        folder / CARD,
        "dataset",
        CARD_VERSION,
        **_describe(source, rules),
        num_classes=len(classes),
        classes_digest=classes.digest,
        classes_dropped=selection.dropped,
        splits={
            name: {"images": split["num_samples"], "shards": len(split["filenames"])}
            for name, split in splits.items()
        },
        images_seen=len(seen),
        images_rejected=dict(sorted(reasons.items())),
        digest=digest_files(*described),
        versions={
            name: version(name) for name in ("hypernym", "pillow", "pyarrow", "simplejpeg", "torch")
        },
    )


def _tabulate(usable: pa.Table, shard: _Shard, index: NDArray[np.void]) -> pa.Table:
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


def _tabulate_rejected(seen: pa.Table, selection: Selection, rule: SelectionRule) -> pa.Table:
    """Return a row for every rejected image, then one for every dropped class."""
    columns = ["key", "class_id", "reason", "detail"]
    images = seen.filter(pc.is_valid(seen["reason"])).select(columns)
    rows = [
        {
            "class_id": class_id,
            "reason": Reason.RARE_CLASS,
            "detail": f"{count} usable images, {rule.min_images} wanted",
        }
        for class_id, count in selection.dropped.items()
    ]
    return pa.concat_tables([images, pa.Table.from_pylist(rows, images.schema)])
