"""`hypernym compare`: say which pretraining is better, and whether that can be believed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from cyclopts import Parameter
from pydantic import validate_call

import hypernym as hn
from hypernym.errors import UsageError
from hypernym.progress import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.comparison.comparison import Comparison, Failure
    from hypernym.comparison.plan import Plan

PLAN_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class CompareReport:
    """What was compared."""

    out: Path
    page: Path
    runs: int
    table: str
    """Means over seeds in %, with 95 % intervals; a star marks what is really the best."""

    wins: tuple[str, ...]
    notes: tuple[str, ...]
    failures: tuple[Failure, ...]
    """Runs of a plan that could not be made."""

    @property
    def exit_code(self) -> int:
        """0, or 2 if a run failed."""
        return 2 if self.failures else 0

    def __str__(self) -> str:
        """Return the summary for a person."""
        failed = [f"failed: {failure.run}: {failure.message}" for failure in self.failures]
        told = [*self.wins, *(f"Note: {note}" for note in self.notes), *failed]
        return "\n".join([self.table, "", *told, f"{self.runs} runs compared: {self.page}"])


@dataclass(frozen=True)
class PlanReport:
    """What a plan would make."""

    plan: Path
    missing: tuple[str, ...]
    """Places of runs, seen from the folder of the comparison."""

    done: tuple[str, ...]

    def __str__(self) -> str:
        """Return a line a run."""
        lines = [f"done     {place}" for place in self.done]
        lines += [f"to make  {place}" for place in self.missing]
        counts = f"{len(self.missing)} runs to make, {len(self.done)} done. Nothing was made."
        return "\n".join([*lines, counts])


@validate_call
def compare(
    runs: list[Path],
    *,
    out: Path,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> CompareReport | PlanReport:
    """Compare schemes over seeds and datasets: a table with intervals, plots, and what is real.

    Args:
        runs: Runs that were pretrained and evaluated, or transferred; or one plan (.yaml), of which
            everything that is missing is made first.
        out: The folder to make: comparison.html, .md, .csv, .json, plots; for a plan the runs too. What
            an earlier comparison wrote there is written anew.
        dry_run: Only list the runs of a plan.
    """
    is_plan = len(runs) == 1 and runs[0].suffix.lower() in PLAN_ENDINGS
    if dry_run and not is_plan:
        raise UsageError("--dry-run lists the runs of a plan: give one plan file, or leave it away.")
    if not runs:
        raise UsageError("there is no run to compare: give run folders or a plan file.")

    from hypernym.comparison.folder import check_place

    check_place(out)
    return _carry_out(runs[0], out, dry_run=dry_run) if is_plan else _compare_runs(runs, out)


def _compare_runs(runs: Sequence[Path], out: Path) -> CompareReport:
    from hypernym.comparison.comparison import make_comparison
    from hypernym.comparison.folder import write_comparison
    from hypernym.comparison.placement import place_runs
    from hypernym.comparison.runs import read_run

    folders = dict.fromkeys(run.resolve() for run in runs)
    found = make_comparison(place_runs([read_run(folder) for folder in folders]))
    write_comparison(out, found)
    return _report(found, out)


def _carry_out(path: Path, out: Path, *, dry_run: bool) -> CompareReport | PlanReport:
    """Make what a plan lacks, and compare after each run."""
    from hypernym.comparison.folder import write_comparison
    from hypernym.comparison.plan import read_plan
    from hypernym.comparison.runner import Verbs, make_runs, survey
    from hypernym.downstream.config import RecipeName

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError(
            f"{path} is carried out by one process: start `hypernym compare` without torchrun, or "
            f"pretrain with torchrun and compare the runs."
        )
    verbs = Verbs(hn.pretrain, hn.evaluate, hn.transfer, hn.PretrainConfig, hn.TransferConfig)
    plan = read_plan(path, verbs.transfer_options, get_args(RecipeName))
    work = survey(plan, out)
    if dry_run:
        missing, done = (tuple(run.place for run in each) for each in (work.missing, work.done))
        return PlanReport(path, missing, done)
    say(f"{len(work.missing)} runs to make, {len(work.done)} done")

    def redraw(failures: Sequence[Failure]) -> None:
        write_comparison(out, _compare_made(plan, out, failures))

    failures = make_runs(plan, out, verbs, redraw)
    found = _compare_made(plan, out, failures)
    write_comparison(out, found)
    return _report(found, out)


def _compare_made(plan: Plan, out: Path, failures: Sequence[Failure]) -> Comparison:
    from hypernym.comparison.comparison import make_comparison
    from hypernym.comparison.runner import collect

    placed = collect(plan, out)
    return make_comparison(
        placed,
        schemes=plan.schemes,
        columns=plan.columns,
        missing=len(plan.runs) - len(placed) - len(failures),
        failures=failures,
    )


def _report(found: Comparison, out: Path) -> CompareReport:
    from hypernym.comparison.folder import PAGE
    from hypernym.comparison.words import draw_text, tell_wins

    return CompareReport(
        out,
        out / PAGE,
        len(found.placed),
        draw_text(found),
        tuple(tell_wins(wins) for wins in found.wins),
        tuple(found.notes),
        found.failures,
    )
