"""Preparation in two steps, each restartable part by part.

    convert   part -> resized JPEGs in a work file, and a table with a row for every image seen
    gather    all tables -> one file that is mapped into memory
    select    all rows -> classes that stay, split of each image          (selection.py, no images read)
    pack      selected rows, in a shuffled order -> shards and index
    finish    class table, image tables, index; `dataset.json` last

A step is a pure function of its inputs, and each of its files appears whole: whatever moment a run
is killed at, `resume` does the missing pieces and ends in the same bytes. The work folder lies in
the dataset and is removed at the end.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hypernym.data.classes import load_classes
from hypernym.data.dataset import CARD, CARD_VERSION, Dataset, open_dataset
from hypernym.engine import Failed
from hypernym.errors import OutputError, SourceError
from hypernym.files import make_folder, read_json, write_json
from hypernym.preparation.catalogue import write_catalogue
from hypernym.preparation.convert import (
    ConvertRule,
    NumberedPart,
    convert_part,
    foresee_imports,
    table_path,
    write_failed_part,
)
from hypernym.preparation.layout import lay_out
from hypernym.preparation.pack import pack_shard, rows_path
from hypernym.preparation.plan import (
    PLAN_VERSION,
    begin,
    check_plan,
    clear_leftovers,
    describe,
    find_versions,
)
from hypernym.preparation.report import Step, Throughput, make_jpeg_reader, write_report
from hypernym.preparation.seen import gather_seen, open_seen
from hypernym.preparation.selection import Split, select
from hypernym.progress import say, show_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hypernym.preparation.job import Preparation
    from hypernym.preparation.layout import ShardPlan
    from hypernym.preparation.seen import Seen


@dataclass(frozen=True)
class Shared:
    """What a preparation leaves when only a share of it was asked for."""

    parts: int
    """All parts of the source."""

    parts_done: int
    """Of them, by whatever job."""


def run_preparation(job: Preparation) -> Dataset | Shared:
    """Prepare a source into a folder, going on from whatever a killed run left there."""
    if (job.folder / CARD).exists():  # finished, or killed while it removed its work folder
        card = read_json(job.folder / CARD, "dataset", CARD_VERSION, OutputError)
        check_plan(card, describe(job), job.folder)
        clear_leftovers(job.folder)
        shutil.rmtree(job.work, ignore_errors=True)
        return open_dataset(job.folder)
    is_resumed = (job.work / "plan.json").exists()
    begin(job)
    clock = _Clock()
    num_parts, num_converted = _convert(job)
    clock.note("convert", num_converted, "images")
    done = [number for number in range(num_parts) if table_path(job.work, number).exists()]
    if job.workforce.share:
        return Shared(num_parts, len(done))
    clear_leftovers(job.folder)
    seen = _gather(job.work, done)
    selection = select(
        seen,
        job.rules.selection,
        job.rules.duplicates,
        ancestors_of=job.taxonomy.ancestors_of,
        foreign=job.foreign,
    )
    shards = list(lay_out(seen, selection, job.rules.shard_bytes))
    clock.note("select", len(seen), "images")
    _pack(shards, job)
    clock.note("pack", sum(len(shard.rows) for shard in shards), "images")
    name_classes = job.taxonomy.name_classes
    names = name_classes(selection.kept)
    described = write_catalogue(job.folder, job.work, seen, selection, shards, names, job.foreign)
    missing = sorted(job.wanted - set(selection.kept), key=str.encode) if job.wanted else []
    card = {**describe(job), **described, "classes_missing": missing, "versions": find_versions()}
    clock.note("describe")
    write_report(
        job.folder / "report.html",
        card=card,
        classes=load_classes(job.folder / "classes.csv"),
        seen=seen,
        selection=selection,
        foreign=job.foreign,
        name_classes=name_classes,
        read_jpeg=make_jpeg_reader(seen, job.work),
        throughput=Throughput(
            tuple(clock.steps), job.workforce.workers, job.workforce.engine, is_resumed
        ),
    )
    write_json(job.folder / CARD, "dataset", CARD_VERSION, **card)
    shutil.rmtree(job.work)
    return open_dataset(job.folder)


class _Clock:
    """How long each step took."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._began = time.monotonic()

    def note(self, name: str, amount: int = 0, unit: str = "") -> None:
        """Note a step that has ended now."""
        now = time.monotonic()
        self.steps.append(Step(name, now - self._began, amount, unit))
        self._began = now


# --- convert ------------------------------------------------------------------------------------


def _convert(job: Preparation) -> tuple[int, int]:
    """Convert what is not converted yet, or this job's share of it.

    Returns the number of parts of the source, and of images that were converted now.
    """
    listing = job.work / "parts.json"
    if listing.exists():
        names = read_json(listing, "parts", PLAN_VERSION, OutputError)["parts"]
        if all(name is None or table_path(job.work, place).exists() for place, name in enumerate(names)):
            return len(names), 0
    _tell_of_one_class(job)
    rule = ConvertRule(job.rules.images, job.rules.selection.seed, job.wanted)
    function = partial(convert_part, work=job.work, rule=rule)
    found: list[str | None] = []
    failures: list[tuple[NumberedPart, Failed]] = []
    num_images = 0
    total, done = (None, 0) if job.source.is_stream else _count_parts(job)
    with (
        show_progress("converting", total, "parts", done=done) as advance,
        job.workforce.run(
            function,
            _missing_parts(job, found),
            lambda task: task.part.name,
            _foresee_imports(job),
        ) as results,
    ):
        for task, outcome in results:
            if isinstance(outcome, Failed):
                failures.append((task, outcome))
                _check_failures([failure for _, failure in failures], job)
            else:
                num_images += outcome
            shutil.rmtree(_spool(job, task.number), ignore_errors=True)
            advance()
    # Only now: of a run that is stopped because of them, the next one tries them again.
    for task, failure in failures:
        write_failed_part(task, failure.detail, work=job.work)
    write_json(listing, "parts", PLAN_VERSION, parts=found)
    return len(found), num_images


def _tell_of_one_class(job: Preparation) -> None:
    """Warn of a source whose folders hold one class alone: there may be a list that tells more."""
    if job.source.is_stream or job.wanted is not None:
        return
    class_ids = {part.class_id for part in job.source.find_parts()}
    if len(class_ids) == 1 and None not in class_ids:
        say(
            f"warning: all images of {job.source.address} are of one class, {class_ids.pop()}, by the "
            f"name of their folder. If a list says which image shows what (a labels.csv), give the list "
            f"as the source; images in an archive must be unpacked for it."
        )


def _foresee_imports(job: Preparation) -> tuple[str, ...]:
    """Return what workers should have imported before they are many."""
    if job.workforce.workers == 1 or job.workforce.engine != "processes" or job.source.is_stream:
        return ()
    first = next(job.source.find_parts(), None)
    return foresee_imports(first, job.rules.images) if first else ()


def _count_parts(job: Preparation) -> tuple[int, int]:
    """Return how many parts there are, and how many of them are done."""
    numbers = [number for number, _ in enumerate(job.source.find_parts())]
    return len(numbers), sum(table_path(job.work, number).exists() for number in numbers)


def _missing_parts(job: Preparation, found: list[str | None]) -> Iterator[NumberedPart]:
    """Give the parts that are to be converted; note in `found` the name of each part, None: unwanted."""
    place, num_shares = job.workforce.share or (0, 1)
    for number, part in enumerate(job.source.find_parts()):
        is_wanted = job.wanted is None or part.class_id is None or part.class_id in job.wanted
        found.append(part.name if is_wanted else None)
        if is_wanted and number % num_shares == place and not table_path(job.work, number).exists():
            if job.source.is_stream:
                make_folder(_spool(job, number))
            yield NumberedPart(number, part.staged(_spool(job, number)))


def _spool(job: Preparation, number: int) -> Path:
    """Return where a part of a stream lies while it is in flight."""
    return job.work / "spool" / f"{number:06d}"


def _check_failures(failures: Sequence[Failed], job: Preparation) -> None:
    """Stop when more parts failed than may."""
    allowed = job.workforce.max_failures
    if len(failures) > allowed:
        told = "; ".join(f"{failure.name}: {failure.detail}" for failure in failures)
        raise SourceError(
            f"{len(failures)} parts of {job.source.address} could not be worked through, after retries "
            f"({told}): mend it and run the same command with --resume, or allow more than "
            f"--max-failures {allowed}."
        )


def _gather(work: Path, numbers: Sequence[int]) -> Seen:
    path = work / "seen.arrow"
    if not path.exists():
        gather_seen({number: table_path(work, number) for number in numbers}, path)
    return open_seen(path)


# --- pack ---------------------------------------------------------------------------------------


def _pack(shards: Sequence[ShardPlan], job: Preparation) -> None:
    for split in {shard.split for shard in shards} | {Split.TRAIN, Split.VAL}:
        make_folder(job.folder / split.folder)
    missing = [shard for shard in shards if not rows_path(job.work, shard).exists()]
    function = partial(pack_shard, seen=job.work / "seen.arrow", folder=job.folder)
    with (
        show_progress("packing", len(shards), "shards", done=len(shards) - len(missing)) as advance,
        job.workforce.run(function, missing, lambda shard: shard.name) as results,
    ):
        for shard, outcome in results:
            if isinstance(outcome, Failed):
                raise OutputError(
                    f"{job.folder / shard.name} could not be written ({outcome.detail}): run the same "
                    f"command with --resume."
                )
            advance()
