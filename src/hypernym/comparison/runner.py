"""The runs of a plan, made: what is missing, one after another, and nothing twice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypernym.comparison.comparison import Failure
from hypernym.comparison.placement import Placed
from hypernym.comparison.plan import PlannedPretraining, PlannedTransfer
from hypernym.comparison.runs import digest_of, find_report, read_run
from hypernym.errors import DatasetError, HypernymError, RunError, StoppedError
from hypernym.files import make_folder, read_json, write_json
from hypernym.progress import say
from hypernym.training.config import may_change
from hypernym.training.requests import flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from hypernym.comparison.plan import Plan, Planned

MADE = "made.json"
MADE_VERSION = 1
ABOVE = "pretrain."
"""Stands before what decided the pretraining, among what decided a transfer."""


@dataclass(frozen=True)
class Verbs:
    """What makes runs: the commands of these names, and their options."""

    pretrain: Callable[..., object]
    evaluate: Callable[..., object]
    transfer: Callable[..., object]
    pretrain_options: type[BaseModel]
    transfer_options: type[BaseModel]


@dataclass(frozen=True)
class Work:
    """What there is to do."""

    done: tuple[Planned, ...]
    missing: tuple[Planned, ...]


def survey(plan: Plan, out: Path) -> Work:
    """Tell which runs are made and which are missing.

    Raises:
        DatasetError: a dataset of the plan is not there.
        RunError: a run was made with other options than the plan has now, or not by this comparison.
    """
    made = _read_made(out)
    asked = _ask(plan)
    done: list[Planned] = []
    missing: list[Planned] = []
    for run in plan.runs:
        folder = out / run.place
        _check_unchanged(folder, made.get(run.place), asked[run.place])
        is_done = find_report(folder).is_file()
        (done if is_done else missing).append(run)
    return Work(tuple(done), tuple(missing))


def collect(plan: Plan, out: Path) -> list[Placed]:
    """Read the runs of a plan that are made."""
    return [
        Placed(
            run.scheme,
            read_run(out / run.place),
            *((run.column, run.setting) if isinstance(run, PlannedTransfer) else ()),
        )
        for run in plan.runs
        if find_report(out / run.place).is_file()
    ]


def make_runs(
    plan: Plan, out: Path, verbs: Verbs, redraw: Callable[[Sequence[Failure]], None]
) -> tuple[Failure, ...]:
    """Make what is missing of a plan; what fails by a mistake that can be told is passed over.

    Args:
        plan: The plan.
        out: The folder of the comparison.
        verbs: What makes runs.
        redraw: Called after each run, with what has failed so far.

    Raises:
        StoppedError: a signal asked to stop.
        DatasetError, RunError: as `survey` does, before anything is made.
    """
    missing = survey(plan, out).missing
    asked = _ask(plan)
    failures: list[Failure] = []
    for number, run in enumerate(missing, start=1):
        above = run.pretraining if isinstance(run, PlannedTransfer) else None
        if above is not None and any(failure.run == above.place for failure in failures):
            failures.append(Failure(run.place, f"left out, since {above.place} failed."))
            continue
        say(f"{number}/{len(missing)} {run.place}")
        _note_made(out, run.place, asked[run.place])
        try:
            _make(run, out, verbs)
        except StoppedError:
            raise
        except HypernymError as mistake:
            say(f"failed: {mistake}")
            failures.append(Failure(run.place, str(mistake)))
        redraw(failures)
    return tuple(failures)


def _make(run: Planned, out: Path, verbs: Verbs) -> None:
    folder = out / run.place
    make_folder(folder.parent)
    if isinstance(run, PlannedPretraining):
        options = verbs.pretrain_options.model_validate(run.options)
        verbs.pretrain(run.dataset, folder, recipe=run.recipe, options=options, resume=True)
        verbs.evaluate(folder, run.dataset)
        return
    source = str(out / run.pretraining.place) if run.pretraining else run.source
    options = verbs.transfer_options.model_validate(run.options)
    verbs.transfer(source, run.dataset, folder, recipe=run.recipe, options=options, resume=True)


def _ask(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return for each run, by its place, all that decides its result."""
    digests = {run.dataset: digest_of(run.dataset) for run in plan.runs}
    for dataset, digest in digests.items():
        if digest is None:
            raise DatasetError(f"{dataset} holds no finished dataset: make it with `hypernym prepare`.")
    asked = {}
    for run in plan.runs:
        asked[run.place] = {
            "dataset": digests[run.dataset],
            "recipe": run.recipe,
            **flatten(run.options),
        }
        if isinstance(run, PlannedTransfer):
            above = asked[run.pretraining.place] if run.pretraining else {"source": run.source}
            asked[run.place] |= {f"{ABOVE}{name}": value for name, value in above.items()}
    plain: dict[str, dict[str, Any]] = json.loads(json.dumps(asked))  # as they are read back
    return plain


def _check_unchanged(folder: Path, then: dict[str, Any] | None, now: dict[str, Any]) -> None:
    if then is None:
        if folder.exists() and any(folder.iterdir()):
            raise RunError(
                f"{folder} was not made by this comparison: remove it, or give another --out."
            )
        return
    for name in then | now:
        option = name.removeprefix(ABOVE)
        if then.get(name) != now.get(name) and not may_change(option, then.get(name), now.get(name)):
            raise RunError(
                f"{folder} was made with {name} {_tell(then, name)}, and the plan has "
                f"{_tell(now, name)}: remove the folder to make it anew, undo the change, or give "
                f"another --out."
            )


def _tell(options: dict[str, Any], name: str) -> str:
    return str(options[name]) if name in options else "left open"


def _read_made(out: Path) -> dict[str, dict[str, Any]]:
    """Return what was asked of the runs whose folders are still there."""
    if not (out / MADE).exists():
        return {}
    runs = read_json(out / MADE, "made", MADE_VERSION, RunError)["runs"]
    return {place: asked for place, asked in runs.items() if (out / place).exists()}


def _note_made(out: Path, place: str, asked: dict[str, Any]) -> None:
    make_folder(out)
    write_json(out / MADE, "made", MADE_VERSION, runs={**_read_made(out), place: asked})
