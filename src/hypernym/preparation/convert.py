"""The first step of a preparation: a part of the source becomes resized JPEGs and a table of rows.

A part is worked through in batches, so that a class of a million images needs no more memory than one
of a thousand. The JPEGs of a batch are laid down in the order in which the shards will want them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from hypernym.data.images import Prepared, is_resized, prepare_image
from hypernym.data.pixels import RESIZER
from hypernym.data.rejections import Reason, Rejected, RejectionError
from hypernym.data.shards import sample_key
from hypernym.errors import SourceError
from hypernym.files import open_whole
from hypernym.preparation.seen import SEEN
from hypernym.preparation.sketch import sketch_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hypernym.data.images import ImagePolicy
    from hypernym.preparation.sources.part import Part, SourceImage

BATCH_BYTES = 64 << 20
BATCH_ROWS = 1 << 15


Row = dict[str, Any]


class NumberedPart(NamedTuple):
    """A part and its place in the source, by which its files are named."""

    number: int
    part: Part


@dataclass(frozen=True)
class ConvertRule:
    """What decides the bytes that a part becomes."""

    images: ImagePolicy
    seed: int
    wanted: frozenset[str] | None
    """The classes that are asked for; None: all. Images of others are passed over, unread."""


def table_path(work: Path, number: int) -> Path:
    """Return where the rows of a part are kept: this file says that the part is done."""
    return work / "converted" / f"{number:06d}.parquet"


def jpegs_path(work: Path, number: int) -> Path:
    """Return where the resized JPEGs of a part are kept."""
    return work / "converted" / f"{number:06d}.jpegs"


def convert_part(task: NumberedPart, *, work: Path, rule: ConvertRule) -> int:
    """Resize the images of one part, and return how many there were. Its table appears last."""
    number, part = task
    num_images = 0
    with (
        open_whole(table_path(work, number)) as table,
        open_whole(jpegs_path(work, number)) as jpegs,
        pq.ParquetWriter(table, SEEN) as writer,
    ):
        for batch in _in_batches(_convert_images(part, rule)):
            for row in sorted(batch, key=lambda row: int(row["order_hash"])):
                if jpeg := row.pop("jpeg", None):
                    row |= {"offset": jpegs.tell(), "size": len(jpeg)}
                    jpegs.write(jpeg)
            writer.write_table(pa.Table.from_pylist(batch, SEEN))
            num_images += len(batch)
    return num_images


def foresee_imports(part: Part, policy: ImagePolicy) -> tuple[str, ...]:
    """Return what converting a part will import late, as far as its first image tells."""
    try:
        for image in part.images():
            return (RESIZER,) if is_resized(image.read(), policy) else ()
    except (RejectionError, SourceError, OSError):
        pass  # whoever converts the part will tell
    return ()


def write_failed_part(task: NumberedPart, detail: str, *, work: Path) -> None:
    """Write the one row that stands for a part which could not be worked through."""
    number, part = task
    row = {"key": part.name, "class_ids": [part.class_id] if part.class_id else []}
    row |= {"reason": str(Reason.FAILED_PART), "detail": detail}
    with open_whole(jpegs_path(work, number)):
        pass
    with open_whole(table_path(work, number)) as stream:
        pq.write_table(pa.Table.from_pylist([row], SEEN), stream)


def _in_batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    num_bytes = 0
    for row in rows:
        batch.append(row)
        num_bytes += len(row.get("jpeg") or b"")
        if len(batch) == BATCH_ROWS or num_bytes >= BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _convert_images(part: Part, rule: ConvertRule) -> Iterator[Row]:
    keys: Counter[str] = Counter()
    for image in part.images():
        class_ids = _wanted_of(image, rule.wanted)
        if class_ids is None:
            continue
        keys[image.key] += 1
        again = f"~{keys[image.key]}" if keys[image.key] > 1 else ""
        key = image.key + again
        sample = sample_key(key)
        yield {
            "key": key,
            "class_ids": class_ids,
            "stated_split": image.split,
            "sample_key": sample,
            "sample_hash": hash_text(sample),
            "holdout_hash": hash_text(f"{rule.seed}/{key}"),
            "order_hash": hash_text(f"{rule.seed}/order/{key}"),
            **_convert_image(image, rule.images),
        }


def _wanted_of(image: SourceImage, wanted: frozenset[str] | None) -> list[str] | None:
    """Return the labels that count; None for an image that has only others."""
    if wanted is None:
        return list(image.class_ids)
    class_ids = [class_id for class_id in image.class_ids if class_id in wanted]
    return class_ids if class_ids or not image.class_ids else None


def _convert_image(image: SourceImage, policy: ImagePolicy) -> Row:
    try:
        data = image.read()
    except RejectionError as rejection:
        return {"reason": str(rejection.rejected.reason), "detail": rejection.rejected.detail}
    if not image.class_ids:
        return {"reason": str(Reason.NO_LABEL)}
    digest = {"source_sha256": hashlib.sha256(data).digest()}
    match prepare_image(data, policy):
        case Prepared(jpeg, width, height, form, fingerprint):
            size = {"width": width, "height": height, "form": form}
            return {"jpeg": jpeg, "fingerprint": fingerprint, **size, **digest}
        case Rejected(reason, detail):
            sketch = sketch_image(data, reason)
            return {"jpeg": sketch, "reason": str(reason), "detail": detail, **digest}


def hash_text(text: str) -> int:
    """Return 64 bits that are a pure function of a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
