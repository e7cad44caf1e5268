"""A comparison: all that is known of the runs that were given, ready to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypernym.comparison.curves import Chart, Sweep, chart_depths, chart_shots, find_sweeps
from hypernym.comparison.grid import Grid, make_grid
from hypernym.comparison.placement import Placed, check_distinct
from hypernym.comparison.provenance import Provenance, SchemeCost, add_up, trace
from hypernym.comparison.runs import Transfer
from hypernym.comparison.statistics import MIN_SEEDS
from hypernym.comparison.verdicts import Pair, Wins, count_wins, find_best, judge_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Failure:
    """A run that could not be made."""

    run: str
    """Its place, seen from the folder of the comparison."""

    message: str


@dataclass(frozen=True)
class Comparison:
    """What is known of the runs of several schemes."""

    grid: Grid
    pairs: tuple[Pair, ...]
    best: dict[str, str]
    """The scheme that is really the best, for each column that has one."""

    wins: tuple[Wins, ...]
    depths: tuple[Chart, ...]
    shots: tuple[Chart, ...]
    sweeps: tuple[Sweep, ...]
    provenance: tuple[Provenance, ...]
    costs: tuple[SchemeCost, ...]
    placed: tuple[Placed, ...]
    missing: int
    """Runs of the plan that are not made yet."""

    failures: tuple[Failure, ...]

    @property
    def notes(self) -> list[str]:
        """Return sentences that a reader of the table must know."""
        return _note(self)


def make_comparison(
    placed: Sequence[Placed],
    *,
    schemes: Sequence[str] = (),
    columns: Sequence[str] = (),
    missing: int = 0,
    failures: Sequence[Failure] = (),
) -> Comparison:
    """Compare runs.

    Args:
        placed: The runs.
        schemes: The rows, in order; by default as they come.
        columns: The columns of transfers, in order; by default as they come.
        missing: Runs of the plan that are not made yet.
        failures: Runs that could not be made.

    Raises:
        UsageError: two runs answer one question.
        MismatchError: runs of one column were measured on different datasets.
        RunError: answers cannot be read.
    """
    check_distinct(placed)
    schemes = tuple(schemes) or tuple(dict.fromkeys(each.scheme for each in placed))
    columns = tuple(columns) or tuple(dict.fromkeys(each.column for each in placed if each.column))
    grid = make_grid(placed, schemes, columns)
    pairs = judge_pairs(grid)
    return Comparison(
        grid=grid,
        pairs=pairs,
        best=find_best(grid, pairs),
        wins=count_wins(grid, pairs),
        depths=chart_depths(placed, schemes),
        shots=chart_shots(placed, schemes),
        sweeps=find_sweeps(placed, schemes, columns),
        provenance=trace(placed, schemes),
        costs=add_up(placed, schemes),
        placed=tuple(placed),
        missing=missing,
        failures=tuple(failures),
    )


def _note(found: Comparison) -> list[str]:
    grid, notes = found.grid, []
    holes = sum(grid.cell(scheme, column) is None for scheme in grid.schemes for column in grid.columns)
    if found.missing:
        notes.append(
            f"{found.missing} runs of the plan are not made yet; the table shows what is there."
        )
    if holes:
        notes.append(f"{holes} cells of transfers are empty: no run was given, or it failed.")
    seeds = {cell.interval.num for cell in grid.cells.values()}
    if seeds and max(seeds) < MIN_SEEDS:
        notes.append(
            "There is one seed: nothing can be said of whether a difference would come out again. "
            "No interval is shown and nothing is bold."
        )
    elif len({frozenset(cell.scores) for cell in grid.cells.values()}) > 1:
        notes.append(
            "Not all cells have the same seeds: a mean is over the seeds of its cell, and two schemes "
            "are compared over the seeds that both have."
        )
    if any(
        len({run.report.seed for run in runs if isinstance(run, Transfer)}) > 1
        for cell in grid.cells.values()
        for runs in cell.runs.values()
    ):
        notes.append(
            "Several transfers of one pretraining are averaged first: a seed is a seed of pretraining."
        )
    unchecked = {
        pair.column
        for pair in found.pairs
        if pair.over_images is None
        and any(column.name == pair.column and column.kind == "transfer" for column in grid.columns)
    }
    if unchecked:
        notes.append(
            f"Not tested over images, as no answers give the score: {', '.join(sorted(unchecked))}."
        )
    return notes
