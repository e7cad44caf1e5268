"""`hypernym verify`: compare a dataset with what it says of itself, or with another one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, validate_call

from hypernym.data.dataset import open_dataset
from hypernym.engine import count_workers
from hypernym.preparation.inspection import Difference, Kind
from hypernym.preparation.overlap import Overlap, measure_overlap
from hypernym.preparation.verification import Mode, verify_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypernym.preparation.overlap import Matches

COMPARED = {"dataset.json", "classes.csv", "images.parquet"}
"""What a comparison reads."""

SPLITS = ("train", "val", "test")
NAMED = 5
"""So many classes are named in a line; --json has all."""


@dataclass(frozen=True)
class VerifyReport:
    """What differs, and what is shared."""

    dataset: Path
    mode: Mode
    images: int
    shards: int
    is_whole: bool
    """Nothing is missing or changed, and nothing lies between the shards."""

    differences: tuple[Difference, ...]
    against: tuple[Path, ...]
    overlaps: tuple[Overlap, ...]
    """With each of these datasets; none where the tables of this one are damaged."""

    limit: int

    @property
    def exit_code(self) -> int:
        """1 where the dataset is not as it was written, or another one holds out what it trains on."""
        is_leaking = any(each.by_source.leaked or each.by_file.leaked for each in self.overlaps)
        return int(is_leaking or not self.is_whole)

    def __str__(self) -> str:
        """Return a line for each difference, and a table for each other dataset."""
        looked_at = "every byte" if self.mode is Mode.FULL else "files, sizes and tables"
        verdict = "is as it was written" if self.is_whole else "is not as it was written"
        lines = [
            f"{self.dataset} {verdict}: {self.images:,} images in {self.shards:,} shards ({looked_at})"
        ]
        counts = Counter(each.kind for each in self.differences)
        if counts:
            lines[0] += f"; {', '.join(f'{counts[kind]} {kind}' for kind in Kind if counts[kind])}"
        lines += [line for each in self.differences[: self.limit or None] for line in _describe(each)]
        if 0 < self.limit < len(self.differences):
            lines.append(f"  ... and {len(self.differences) - self.limit} more (--limit 0 shows all)")
        for overlap in self.overlaps:
            lines += ["", *_compare(self.dataset, overlap, self.limit)]
        if self.against and not self.overlaps:
            lines.append("  Its tables are damaged: it was not compared with others.")
        if self.is_whole and self.mode is Mode.FAST:
            lines.append("Next: the same with --mode full reads every image")
        return "\n".join(lines)


def _describe(difference: Difference) -> Iterator[str]:
    images = f"  {difference.images:,} images" if difference.images else ""
    detail = f"  {difference.detail}" if difference.detail else ""
    yield f"  {difference.kind:<8} {difference.path}{images}{detail}"
    if difference.keys:
        yield f"           {_name(difference.keys, difference.images)}"


def _name(words: Sequence[str], count: int) -> str:
    more = f" and {count - NAMED:,} more" if count > NAMED else ""
    return ", ".join(words[:NAMED]) + more


def _compare(dataset: Path, overlap: Overlap, limit: int) -> Iterator[str]:
    yield f"{dataset} against {overlap.other}"
    yield f"  classes in both: {overlap.classes_shared:,}"
    for where, ids in (
        (dataset, overlap.classes_only_here),
        (overlap.other, overlap.classes_only_there),
    ):
        if ids:
            yield f"  classes only in {where.name}: {len(ids):,} ({_name(ids, len(ids))})"
    yield f"  {'images':<34}{'same key':>12}{'same file':>12}"
    both = (overlap.by_source, overlap.by_file)
    yield _row("in both", [of.shared for of in both])
    yield _row(f"only in {dataset.name}", [of.only_here for of in both])
    yield _row(f"only in {overlap.other.name}", [of.only_there for of in both])
    for here in SPLITS:
        for there in SPLITS:
            counts = [of.by_split[here][there] for of in both]
            if any(counts):
                yield _row(f"{here} here, {there} there", counts)
    yield from _list_leaks(overlap.by_source, "key", limit)
    yield from _list_leaks(overlap.by_file, "file", limit)


def _row(title: str, counts: list[int]) -> str:
    return f"  {title:<34}" + "".join(f"{count:>12,}" for count in counts)


def _list_leaks(matches: Matches, what: str, limit: int) -> Iterator[str]:
    if not matches.leaked:
        return
    yield f"  LEAK: {matches.leaked:,} images, by {what}, that one trains on and the other holds out"
    shown = matches.leaks[: limit or None]
    for leak in shown:
        yield f"    {leak.split} {leak.source}  is  {leak.other_split} {leak.other_source}"
    if matches.leaked > len(shown):
        yield f"    ... and {matches.leaked - len(shown):,} more"


@validate_call
def verify(
    dataset: Path,
    *,
    mode: Mode = Mode.FAST,
    against: tuple[Path, ...] = (),
    workers: Annotated[int, Field(ge=1)] | None = None,
    limit: Annotated[int, Field(ge=0)] = 20,
) -> VerifyReport:
    """Tell what is missing from a dataset, changed or extra; compare its splits with another's.

    Exits with 1 if anything is missing or changed, if a strange file lies between the shards, or if an
    image that one dataset trains on is held out by another. Writes nothing.

    Args:
        dataset: A prepared dataset.
        mode: fast (the default): files, their lengths, and all tables; full: every byte of every
            shard too.
        against: Datasets to compare with: which images and classes are in both, and whether one trains
            on what the other holds out.
        workers: Processes; by default one for each core.
        limit: How many differences, and leaks, are printed; 0 for all.
    """
    found = verify_dataset(dataset, mode, workers=count_workers(workers))
    overlaps: tuple[Overlap, ...] = ()
    if against and not {each.path for each in found.differences} & COMPARED:
        opened = open_dataset(dataset)
        overlaps = tuple(measure_overlap(opened, open_dataset(other)) for other in against)
    return VerifyReport(
        dataset,
        mode,
        found.images,
        found.shards,
        found.is_whole,
        found.differences,
        against,
        overlaps,
        limit,
    )
