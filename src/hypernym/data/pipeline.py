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

from hypernym.data.catalogue import write_catalogue
from hypernym.data.dataset import CARD, CARD_VERSION, Dataset, open_dataset
from hypernym.data.engine import run_tasks
from hypernym.data.images import ImagePolicy, Prepared, prepare_image
from hypernym.data.layout import ShardPlan, lay_out
from hypernym.data.rejections import Rejected, RejectionError
from hypernym.data.selection import Selection, SelectionRule, Split, select
from hypernym.data.shards import (
    Sample,
    save_index,
    write_shard,
)
from hypernym.data.sources import Part, SourceImage, find_parts, open_part
from hypernym.errors import OutputError
from hypernym.files import (
    digest_text,
    make_folder,
    open_whole,
    read_json,
    write_json,
)
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


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
    if folder.resolve().is_relative_to(source.resolve()):
        raise OutputError(f"{folder} lies inside the source {source}: give a folder outside of it.")
    if (folder / CARD).exists():  # finished, or killed while it removed its work folder
        card = read_json(folder / CARD, "dataset", CARD_VERSION, OutputError)
        _check_plan(card, source, folder, rules)
        _clear_leftovers(folder)
        shutil.rmtree(folder / WORK, ignore_errors=True)
        return open_dataset(folder)
    parts = _plan(source, folder, rules)
    _clear_leftovers(folder)
    work = folder / WORK
    _convert(parts, work, rules.images, workers)
    seen = _load_seen(work, len(parts))
    usable = seen.filter(pc.is_null(seen["reason"]))
    class_ids, keys = usable["class_id"].to_pylist(), usable["key"].to_pylist()
    selection = select(class_ids, keys, rules.selection)
    shards = lay_out(usable, selection, rules.shard_bytes, rules.selection.seed)
    _pack(shards, work, folder, workers)
    _finish(source, folder, rules, seen, selection, shards, name_classes(selection.kept))
    shutil.rmtree(work)
    return open_dataset(folder)


# --- plan ---------------------------------------------------------------------------------------


def _plan(source: Path, folder: Path, rules: PrepareRules) -> list[Part]:
    """Write down what is to be done, or check that it is what a killed run wrote down."""
    path = folder / WORK / "plan.json"
    _refuse_strangers(folder)
    plan = read_json(path, "plan", PLAN_VERSION, OutputError) if path.exists() else None
    if plan:
        _check_plan(plan, source, folder, rules)
    parts = find_parts(source)
    cut = digest_text("".join(f"{part.name}\t{part.offset}\t{part.size}\n" for part in parts))
    if plan and plan["parts"] != cut:
        raise OutputError(
            f"the classes in {source} are not those that the preparation in {folder} began with: "
            f"give the source as it was to resume it, or another folder."
        )
    if not plan:
        for name in ("converted", "packed"):
            make_folder(folder / WORK / name)
        write_json(path, "plan", PLAN_VERSION, **_describe(source, rules), parts=cut)
    return parts


def _clear_leftovers(folder: Path) -> None:
    """Remove the files that a kill left half written."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def _refuse_strangers(folder: Path) -> None:
    """Refuse a folder that holds anything but a preparation that was begun."""
    if (folder / WORK / "plan.json").exists() or not folder.exists():
        return
    if any(entry.name != WORK for entry in folder.iterdir()):
        raise OutputError(
            f"{folder} holds other things than a preparation that was begun: give another folder."
        )


def _describe(source: Path, rules: PrepareRules) -> dict[str, Any]:
    """Tell what a preparation starts from: the same description, the same bytes."""
    size = source.stat().st_size if source.is_file() else None
    described = {"name": source.resolve().name, "size": size}
    return {"source": described, **json.loads(json.dumps(asdict(rules)))}


def _check_plan(found: dict[str, Any], source: Path, folder: Path, rules: PrepareRules) -> None:
    """Refuse to go on with another source or other rules than those that were written down."""
    wanted = _describe(source, rules)
    if not source.exists():  # a finished dataset does not need its source
        del wanted["source"]
    for field, value in wanted.items():
        before, now = (
            {"": each} if not isinstance(each, dict) else each for each in (found[field], value)
        )
        for name in now:
            if before[name] != now[name]:
                raise OutputError(
                    f"{folder} was begun with {field} {name} {before[name]}, not {now[name]}: give the "
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


def _pack(shards: list[ShardPlan], work: Path, folder: Path, workers: int) -> None:
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


def _rows_path(work: Path, shard: ShardPlan) -> Path:
    return work / "packed" / f"{shard.split.name.lower()}-{shard.number:06d}.npy"


def _pack_shard(shard: ShardPlan, *, work: Path, folder: Path) -> None:
    """Write one shard. Its index rows are written last: they say that the shard is done."""
    rows = write_shard(folder / shard.name, shard.number, _read_samples(shard.images, work))
    save_index(_rows_path(work, shard), rows)


def _read_samples(images: pa.Table, work: Path) -> Iterator[Sample]:
    """Read a shard's images from the work files, file by file; give them in the shard's order."""
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
    shards: list[ShardPlan],
    names: Sequence[str],
) -> None:
    """Write what describes the shards, and last of all the card that says the dataset is done."""
    rows = [np.load(_rows_path(folder / WORK, shard)) for shard in shards]
    described = write_catalogue(folder, seen, selection, shards, rows, names)
    decisive = ("hypernym", "pillow", "pyarrow", "simplejpeg", "torch")
    versions = {name: version(name) for name in decisive}
    write_json(
        folder / CARD,
        "dataset",
        CARD_VERSION,
        **_describe(source, rules),
        **described,
        versions=versions,
    )
