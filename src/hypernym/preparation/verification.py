"""A dataset compared with what it says of itself.

`dataset.json` is believed: it knows the digests of the tables. A table that is as it was written is
believed about the shards, and shards are looked at by several processes. Every difference is a row of
the result: no damage ends the work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from hypernym.engine import Failed, run_tasks
from hypernym.preparation.audit import Audit
from hypernym.preparation.inspection import MAX_KEYS, Difference, Kind, Stretch, inspect_shard
from hypernym.preparation.statement import load_statement
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


class Mode(StrEnum):
    """How closely a dataset is looked at."""

    FAST = "fast"
    """All files with their lengths, and all tables; no image is read."""

    FULL = "full"
    """Every byte of every shard too."""


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what differs."""

    images: int
    shards: int
    differences: tuple[Difference, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all is there and unchanged, with nothing between the shards that a reader would take.

        Extra files beside the folders of the shards do no harm.
        """
        return all(each.kind is Kind.EXTRA and "/" not in each.path for each in self.differences)


def verify_dataset(folder: Path, mode: Mode, *, workers: int) -> Verification:
    """Compare a dataset with what it says of itself.

    Raises:
        DatasetError: there is no `dataset.json` that says anything.
    """
    audit = Audit(folder, load_statement(folder))
    audit.check_digests()
    audit.check_tables()
    stretches = audit.check_layout()
    audit.check_strangers()
    audit.found += _inspect_all(stretches, audit, mode, workers)
    splits = audit.card.splits.values()
    images, shards = sum(split.images for split in splits), sum(split.shards for split in splits)
    return Verification(images, shards, tuple(_merge(audit.found)))


def _inspect_all(
    stretches: Sequence[Stretch], audit: Audit, mode: Mode, workers: int
) -> Iterator[Difference]:
    function = partial(
        inspect_shard,
        folder=audit.folder,
        witnesses=audit.witnesses,
        full=mode is Mode.FULL,
    )
    with show_progress("verifying", len(stretches), "shards") as advance:
        for stretch, outcome in run_tasks(
            function, stretches, workers=min(workers, len(stretches)) or 1, name=lambda one: one.name
        ):
            if isinstance(outcome, Failed):
                detail = f"cannot be looked at ({outcome.detail})"
                yield Difference(Kind.CHANGED, stretch.name, detail, stretch.count)
            else:
                yield from outcome
            advance()


def _merge(differences: Iterable[Difference]) -> Iterator[Difference]:
    """Make one row of what was found about one file by several workers; sort by file."""
    merged: dict[tuple[str, Kind, str], Difference] = {}
    for each in differences:
        name = (each.path, each.kind, each.detail)
        before = merged.get(name, replace(each, images=0, keys=()))
        keys = (*before.keys, *each.keys)[:MAX_KEYS]
        merged[name] = replace(each, images=before.images + each.images, keys=keys)
    yield from (merged[name] for name in sorted(merged))
