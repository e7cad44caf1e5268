"""The grid of a comparison: a row a scheme, a column a figure or a transfer, a cell its seeds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hypernym.comparison.runs import (
    EXACT_LEAF,
    MEAN_PRECISION,
    SEMANTIC_TOP1,
    SUMMED,
    Pretraining,
    Transfer,
)
from hypernym.comparison.statistics import Interval, make_interval
from hypernym.errors import MismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypernym.comparison.placement import Placed

Setting = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Column:
    """What a column of the table measures."""

    name: str
    kind: Literal["upstream", "transfer"]
    dataset: str
    digest: str | None
    metric: str
    chance: float | None
    """0..1; None where it has no meaning."""


@dataclass(frozen=True)
class Cell:
    """A scheme in a column; scores are 0..1."""

    scores: dict[int, float]
    """By seed. Several transfers of one pretraining are averaged."""

    interval: Interval
    runs: dict[int, tuple[Pretraining | Transfer, ...]]


@dataclass(frozen=True)
class Grid:
    """Schemes, columns and what is known where they meet."""

    schemes: tuple[str, ...]
    columns: tuple[Column, ...]
    cells: dict[tuple[str, str], Cell]
    """By scheme and column; a hole is not there."""

    def cell(self, scheme: str, column: Column) -> Cell | None:
        """Return a cell, or None if it is a hole."""
        return self.cells.get((scheme, column.name))

    def seeds(self) -> set[int]:
        """Return all seeds of all cells."""
        return {seed for cell in self.cells.values() for seed in cell.scores}


def make_grid(placed: Sequence[Placed], schemes: Sequence[str], columns: Sequence[str]) -> Grid:
    """Put runs into a grid; sweeps have a place of their own.

    Args:
        placed: The runs.
        schemes: The rows, in order, those without any run too.
        columns: The columns of transfers, in order.

    Raises:
        MismatchError: runs of one column were measured on different datasets.
    """
    upstream = [(each.scheme, each.run) for each in placed if isinstance(each.run, Pretraining)]
    found: list[Column] = []
    cells: dict[tuple[str, str], Cell] = {}
    for figure in (SEMANTIC_TOP1, SUMMED, EXACT_LEAF, MEAN_PRECISION):
        having = [(scheme, run) for scheme, run in upstream if figure in run.figures]
        if having:
            found.append(_describe_upstream(figure, [run for _, run in having]))
            cells |= _fill(figure, ((scheme, run, run.figures[figure]) for scheme, run in having))
    for name in columns:
        transfers = [
            (each.scheme, each.run)
            for each in placed
            if isinstance(each.run, Transfer) and each.column == name and not each.setting
        ]
        if transfers:
            found.append(describe_transfers(name, [run for _, run in transfers]))
            cells |= _fill(name, ((scheme, run, run.report.score) for scheme, run in transfers))
    return Grid(tuple(schemes), tuple(found), cells)


def describe_transfers(name: str, transfers: Sequence[Transfer]) -> Column:
    """Check that transfers can be compared, and say what their column measures.

    Raises:
        MismatchError: they were measured on different datasets, or by different figures.
    """
    first = transfers[0]
    for run in transfers:
        if run.report.dataset_digest != first.report.dataset_digest:
            raise MismatchError(_describe_mismatch(first, run))
        if run.report.metric != first.report.metric:
            raise MismatchError(
                f"{first.folder} is judged by {first.report.metric} and {run.folder} by "
                f"{run.report.metric}: they cannot stand in one column."
            )
    report = first.report
    return Column(name, "transfer", report.dataset, report.dataset_digest, report.metric, report.chance)


def _describe_upstream(figure: str, runs: Sequence[Pretraining]) -> Column:
    first = runs[0]
    for run in runs:
        ours, theirs = ((each.dataset_digest or each.dataset, each.split) for each in (first, run))
        if ours != theirs:
            raise MismatchError(
                f"{first.folder} was evaluated on {first.dataset} ({first.split}, digest {ours[0][:8]}) "
                f"and {run.folder} on {run.dataset} ({run.split}, digest {theirs[0][:8]}): run "
                f"`hypernym evaluate` on one dataset and split for both."
            )
    return Column(
        figure, "upstream", first.dataset, first.dataset_digest, figure, first.chances.get(figure)
    )


def _fill(
    column: str, measured: Iterable[tuple[str, Pretraining | Transfer, float]]
) -> dict[tuple[str, str], Cell]:
    runs: dict[str, dict[int, list[Pretraining | Transfer]]] = defaultdict(lambda: defaultdict(list))
    scores: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for scheme, run, score in measured:
        runs[scheme][run.unit].append(run)
        scores[scheme][run.unit].append(score)
    cells = {}
    for scheme, by_seed in scores.items():
        means = {seed: float(np.mean(values)) for seed, values in sorted(by_seed.items())}
        of_seed = {seed: tuple(runs[scheme][seed]) for seed in means}
        cells[scheme, column] = Cell(means, make_interval(list(means.values())), of_seed)
    return cells


def _describe_mismatch(one: Transfer, other: Transfer) -> str:
    """Say that two runs saw different releases of a dataset."""
    return (
        f"{one.folder} was measured on {one.report.dataset} with digest "
        f"{one.report.dataset_digest[:8]}, and {other.folder} on {other.report.dataset} with digest "
        f"{other.report.dataset_digest[:8]}: they cannot stand in one column; transfer both to "
        f"one dataset."
    )
