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

import json
import shutil
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from hypernym.data.classes import load_classes
from hypernym.data.dataset import CARD, CARD_VERSION, Dataset, open_dataset
from hypernym.engine import Failed, run_tasks
from hypernym.errors import OutputError, SourceError
from hypernym.files import digest_text, make_folder, read_json, write_json
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
from hypernym.preparation.report import Step, Throughput, make_jpeg_reader, write_report
from hypernym.preparation.seen import gather_seen, open_seen
from hypernym.preparation.selection import SPLITS, Split, select
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from hypernym.preparation.layout import ShardPlan
    from hypernym.preparation.rules import PrepareRules
    from hypernym.preparation.seen import Seen
    from hypernym.preparation.selection import Foreign
    from hypernym.preparation.sources.part import Source

Task = TypeVar("Task")
Result = TypeVar("Result")

WORK = ".work"
PLAN_VERSION = 2
DECISIVE_PACKAGES = ("hypernym", "numpy", "pillow", "pyarrow", "simplejpeg", "torch")
"""Their versions may decide bytes: a preparation is resumed with those that it began with."""


@dataclass(frozen=True)
class Taxonomy:
    """What the preparation must know of the tree, before there is one."""

    name_classes: Callable[[Sequence[str]], Sequence[str]]
    """Names for class ids."""

    ancestors_of: Callable[[str], Sequence[str]]
    """The class ids above one: they decide which of two labels of a picture is the deeper."""

    digest: str
    """Tells this taxonomy from another."""


@dataclass(frozen=True)
class Workforce:
    """Who does the work: nothing in here changes a byte."""

    workers: int = 1
    engine: str = "processes"
    max_failures: int = 0
    """So many parts may fail, after retries, and stand in the report as one row each."""

    share: tuple[int, int] | None = None
    """(i, n): convert every n-th part from the i-th on, counted from 0, and stop there."""

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        name: Callable[[Task], str],
        imports: Sequence[str] = (),
    ) -> closing[Generator[tuple[Task, Result | Failed], None, None]]:
        """Return the results of some tasks as they end; leaving them stops the work at once."""
        return closing(
            run_tasks(
                function,
                tasks,
                engine=self.engine,
                workers=self.workers,
                name=name,
                imports=imports,
            )
        )


@dataclass(frozen=True)
class Shared:
    """What a preparation leaves when only a share of it was asked for."""

    parts: int
    """All parts of the source."""

    parts_done: int
    """Of them, by whatever job."""


@dataclass(frozen=True)
class Preparation:
    """Everything that a preparation is given."""

    source: Source
    folder: Path
    rules: PrepareRules
    taxonomy: Taxonomy
    wanted: frozenset[str] | None = None
    """The classes to keep; None: all that are large enough."""

    foreign: Foreign | None = None
    """Held-out pictures of other datasets."""

    foreign_digests: tuple[str, ...] = ()
    """Of those datasets."""

    workforce: Workforce = field(default_factory=Workforce)

    @property
    def work(self) -> Path:
        """The work folder."""
        return self.folder / WORK


def run_preparation(job: Preparation) -> Dataset | Shared:
    """Prepare a source into a folder, going on from whatever a killed run left there."""
    if (job.folder / CARD).exists():  # finished, or killed while it removed its work folder
        card = read_json(job.folder / CARD, "dataset", CARD_VERSION, OutputError)
        _check_plan(card, _describe(job), job.folder)
        _clear_leftovers(job.folder)
        shutil.rmtree(job.work, ignore_errors=True)
        return open_dataset(job.folder)
    is_resumed = (job.work / "plan.json").exists()
    _begin(job)
    clock = _Clock()
    num_parts, num_converted = _convert(job)
    clock.note("convert", num_converted, "images")
    done = [number for number in range(num_parts) if table_path(job.work, number).exists()]
    if job.workforce.share:
        return Shared(num_parts, len(done))
    _clear_leftovers(job.folder)
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
    card = {**_describe(job), **described, "classes_missing": missing, "versions": _versions()}
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


# --- plan ---------------------------------------------------------------------------------------


def _begin(job: Preparation) -> None:
    """Write down what is to be done, or check that it is what a killed run wrote down."""
    path = job.work / "plan.json"
    _refuse_strangers(job.folder)
    plan = {**_describe(job), "versions": _versions(), "parts": _digest_parts(job.source)}
    if path.exists():
        _check_plan(read_json(path, "plan", PLAN_VERSION, OutputError), plan, job.folder)
        return
    for name in ("converted", "packed"):
        make_folder(job.work / name)
    write_json(path, "plan", PLAN_VERSION, **plan)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in DECISIVE_PACKAGES}


def _digest_parts(source: Source) -> str | None:
    """Return what tells the parts of a source from those of another look; None of a stream."""
    if source.is_stream:
        return None
    return digest_text("".join(f"{part.name}\t{part.state}\n" for part in source.find_parts()))


def _clear_leftovers(folder: Path) -> None:
    """Remove the files that a kill left half written, and parts of a stream that were in flight."""
    for place in (folder, *(folder / split.folder for split in SPLITS), *folder.glob(f"{WORK}/*")):
        for leftover in place.glob(".*.tmp"):
            leftover.unlink()
    shutil.rmtree(folder / WORK / "spool", ignore_errors=True)


def _refuse_strangers(folder: Path) -> None:
    """Refuse a folder that holds anything but a preparation that was begun."""
    if (folder / WORK / "plan.json").exists() or not folder.exists():
        return
    if any(entry.name != WORK for entry in folder.iterdir()):
        raise OutputError(
            f"{folder} holds other things than a preparation that was begun: give another folder."
        )


def _describe(job: Preparation) -> dict[str, Any]:
    """Tell what a preparation starts from: the same description, the same bytes."""
    wanted = "\n".join(sorted(job.wanted, key=str.encode)) if job.wanted is not None else None
    return {
        "source": job.source.state,
        **json.loads(json.dumps(asdict(job.rules))),
        "classes_wanted": wanted and digest_text(wanted),
        "taxonomy": job.taxonomy.digest,
        "against": list(job.foreign_digests),
    }


def _check_plan(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with another source or other rules than those that were written down."""
    for field_name, value in wanted.items():
        before, now = (
            each if isinstance(each, dict) else {"": each} for each in (found[field_name], value)
        )
        for name in now:
            if before.get(name) == now[name]:
                continue
            if field_name == "parts":
                raise OutputError(
                    f"the files of the source are not those that the preparation in {folder} began "
                    f"with: give the source as it was to resume it, or another folder."
                )
            raise OutputError(
                f"{folder} was begun with {field_name} {name} {before.get(name)}, not {now[name]}: give "
                f"the same source, options and packages to resume it, or another folder."
            )


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
    rule = ConvertRule(job.rules.images, job.rules.selection.seed, job.wanted)
    function = partial(convert_part, work=job.work, rule=rule)
    found: list[str | None] = []
    failures: list[Failed] = []
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
                failures.append(outcome)
                _check_failures(failures, job)
                write_failed_part(task, outcome.detail, work=job.work)
            else:
                num_images += outcome
            shutil.rmtree(_spool(job, task.number), ignore_errors=True)
            advance()
    write_json(listing, "parts", PLAN_VERSION, parts=found)
    return len(found), num_images


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
