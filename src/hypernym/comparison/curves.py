"""Lines of a comparison: accuracy by depth, score by shots, score by swept setting."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernym.comparison.grid import Column, describe_transfers
from hypernym.comparison.runs import Pretraining, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypernym.comparison.placement import Placed
    from hypernym.comparison.runs import DepthAccuracy

RATE = "optim.lr"
UPSTREAM = "pretraining classes"


@dataclass(frozen=True)
class Point:
    """Scores at one place of a line, over seeds; 0..1."""

    x: Any
    mean: float
    low: float
    high: float
    """The smallest and the largest over the seeds."""

    num: int


@dataclass(frozen=True)
class Chart:
    """A line a scheme."""

    name: str
    x: str
    lines: dict[str, tuple[Point, ...]]
    chance: tuple[tuple[Any, float], ...] = ()
    """What guessing gives at each x."""


@dataclass(frozen=True)
class Robustness:
    """How much a scheme's score depends on the swept settings; of means over seeds, 0..1."""

    scheme: str
    best: float
    mean: float
    worst: float
    spread: float
    """Best less worst."""

    deviation: float
    """The standard deviation over the settings (n - 1)."""

    @property
    def risk(self) -> float:
        """What the worst setting costs against the mean."""
        return self.mean - self.worst


@dataclass(frozen=True)
class Sweep:
    """One transfer, made with several settings of its optimizer."""

    column: Column
    settings: int
    """Settings that all schemes of the sweep were measured with: the figures speak of these."""

    left_out: int
    robustness: tuple[Robustness, ...]
    charts: tuple[Chart, ...]
    """One for each combination of the settings beside x."""


def chart_depths(placed: Sequence[Placed], schemes: Sequence[str]) -> tuple[Chart, ...]:
    """Return accuracy by depth: on the pretraining classes, then on each transfer that has depths.

    On the pretraining classes there are two: by logits, and by probabilities summed over classes.
    """
    charts: dict[str, list[tuple[str, int, DepthAccuracy]]] = {}
    for each in placed:
        if each.setting:
            continue
        run = each.run
        if isinstance(run, Pretraining):
            by_depth = {UPSTREAM: run.by_depth, f"{UPSTREAM}, summed": run.summed}
        else:
            by_depth = {each.column: tuple(run.report.by_depth)}
        for title, depths in by_depth.items():
            charts.setdefault(title, []).extend((each.scheme, run.unit, at) for at in depths)
    return tuple(
        Chart(
            title,
            "depth",
            _draw_lines([(scheme, unit, at.depth, at.accuracy) for scheme, unit, at in found], schemes),
            tuple(sorted({at.depth: at.chance for _, _, at in found}.items())),
        )
        for title, found in charts.items()
        if found
    )


def chart_shots(placed: Sequence[Placed], schemes: Sequence[str]) -> tuple[Chart, ...]:
    """Return the score by images a class, for each transfer that has it."""
    charts = []
    for name in dict.fromkeys(each.column for each in placed if each.column and not each.setting):
        having = [
            (each.scheme, each.run)
            for each in placed
            if each.column == name and isinstance(each.run, Transfer) and each.run.report.shots
        ]
        rows = [
            (scheme, run.unit, at.shots, float(np.mean(at.scores)))
            for scheme, run in having
            for at in run.report.shots or ()
        ]
        if rows:
            chance = having[0][1].report.chance
            ends = sorted({row[2] for row in rows})
            line = tuple((shots, chance) for shots in (ends[0], ends[-1]))
            charts.append(Chart(name, "images a class", _draw_lines(rows, schemes), line))
    return tuple(charts)


def find_sweeps(
    placed: Sequence[Placed], schemes: Sequence[str], columns: Sequence[str]
) -> tuple[Sweep, ...]:
    """Return the sweeps among the transfers.

    Raises:
        MismatchError: runs of one sweep were measured on different datasets.
    """
    sweeps = []
    for name in columns:
        swept = [each for each in placed if each.column == name and each.setting]
        if swept:
            runs = [each.run for each in swept if isinstance(each.run, Transfer)]
            sweeps.append(_make_sweep(describe_transfers(name, runs), swept, schemes))
    return tuple(sweeps)


def _make_sweep(column: Column, swept: Sequence[Placed], schemes: Sequence[str]) -> Sweep:
    scores: dict[str, dict[Any, dict[int, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for each in swept:
        if isinstance(each.run, Transfer):
            scores[each.scheme][each.setting][each.run.unit].append(each.run.report.score)
    settings = {setting for of_scheme in scores.values() for setting in of_scheme}
    shared = {
        setting for setting in settings if all(setting in of_scheme for of_scheme in scores.values())
    }
    robustness = []
    for scheme in schemes:
        means = [
            float(np.mean([np.mean(values) for values in by_seed.values()]))
            for setting, by_seed in scores[scheme].items()
            if setting in shared
        ]
        if means:
            best, worst = max(means), min(means)
            deviation = float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
            robustness.append(
                Robustness(scheme, best, float(np.mean(means)), worst, best - worst, deviation)
            )
    charts = _chart_settings(column, swept, schemes)
    return Sweep(column, len(shared), len(settings) - len(shared), tuple(robustness), charts)


def _chart_settings(
    column: Column, swept: Sequence[Placed], schemes: Sequence[str]
) -> tuple[Chart, ...]:
    names = [name for name, _ in swept[0].setting]
    x = RATE if RATE in names else names[0]
    panels: dict[str, list[tuple[str, int, Any, float]]] = defaultdict(list)
    for each in swept:
        if isinstance(each.run, Transfer):
            values = dict(each.setting)
            at = values.pop(x, None)
            panel = ", ".join(f"{name} {value}" for name, value in values.items())
            panels[panel].append((each.scheme, each.run.unit, at, each.run.report.score))
    return tuple(
        Chart(f"{column.name}: {panel}" if panel else column.name, x, _draw_lines(rows, schemes))
        for panel, rows in panels.items()
    )


def _draw_lines(
    rows: Iterable[tuple[str, int, Any, float]], schemes: Sequence[str]
) -> dict[str, tuple[Point, ...]]:
    """Turn (scheme, seed, x, score) into a line for each scheme; transfers of a seed are averaged."""
    scores: dict[str, dict[Any, dict[int, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for scheme, seed, x, score in rows:
        scores[scheme][x][seed].append(score)
    lines = {}
    for scheme in schemes:
        points = []
        for x, by_seed in scores[scheme].items():
            means = [float(np.mean(values)) for values in by_seed.values()]
            points.append(Point(x, float(np.mean(means)), min(means), max(means), len(means)))
        if points:
            lines[scheme] = tuple(sorted(points, key=_place_of))
    return lines


def _place_of(point: Point) -> tuple[bool, float, str]:
    """Order numbers by size, and words behind them."""
    is_number = isinstance(point.x, (int, float))
    return (not is_number, float(point.x) if is_number else 0.0, str(point.x))
