"""What was seen of a source, made by hand: a `Row` says of an image what a test cares about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hypernym.data.shards import sample_key
from hypernym.preparation.convert import hash_text
from hypernym.preparation.seen import GATHERED, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS_PER_BATCH = 7
"""Few, so that most tests meet a boundary between batches."""

OWN_LOOK = b"of its own"


@dataclass(frozen=True)
class Row:
    """An image of a source; by default it is like no other."""

    key: str
    class_ids: tuple[str, ...] = ("a",)
    split: str | None = None
    reason: str | None = None
    content: str = ""
    """Images of the same content have the same bytes. Empty: its own."""

    look: bytes | None = OWN_LOOK
    """The perceptual hash, 32 bytes."""

    width: int = 100
    height: int = 100
    size: int = 1000
    part: int = 0


def make_seen(rows: Sequence[Row], seed: int = 0) -> Seen:
    """Return the rows as `gather_seen` would give them, of a preparation with this seed."""
    table = pa.Table.from_pylist(_describe(rows, seed), GATHERED)
    return Seen(table.to_batches(max_chunksize=ROWS_PER_BATCH))


def _describe(rows: Sequence[Row], seed: int) -> list[dict[str, Any]]:
    described = []
    for row in rows:
        sample = sample_key(row.key)
        found: dict[str, Any] = {
            "key": row.key,
            "class_ids": row.class_ids,
            "stated_split": row.split,
            "reason": row.reason,
            "sample_key": sample,
            "sample_hash": hash_text(sample),
            "holdout_hash": hash_text(f"{seed}/{row.key}"),
            "order_hash": hash_text(f"{seed}/order/{row.key}"),
            "part": row.part,
        }
        if row.reason is None:
            found |= {"width": row.width, "height": row.height, "offset": 0, "size": row.size}
            found["source_sha256"] = digest(row.content or row.key)
            found["fingerprint"] = digest(f"look of {row.key}") if row.look is OWN_LOOK else row.look
        described.append(found)
    return described


def digest(content: str) -> bytes:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(content.encode()).digest()
