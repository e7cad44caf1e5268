"""The plots of a comparison as SVG: one small picture a panel, so that a phone shows them too."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from hypernym.comparison.comparison import Comparison
    from hypernym.comparison.curves import Chart, Point
    from hypernym.comparison.grid import Cell, Column

PAPER, INK, QUIET, EDGE = "#fffffe", "#1e2328", "#5d666f", "#e3e6e8"
COLOURS = (
    "#14706b",
    "#c2410c",
    "#4655b8",
    "#a3246e",
    "#8a6d00",
    "#2b7fb8",
    "#6b7a1f",
    "#7a4f9e",
)
"""Of the schemes on a light page."""

MARKERS = "osD^vPX*"
DASHES = ("-", "--", "-.", ":")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hypernym",
    "font.size": 9.0,
    "font.family": ["DejaVu Sans"],
    "text.parse_math": False,  # a name may hold a dollar sign
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": QUIET,
    "axes.axisbelow": True,
    "grid.color": EDGE,
}
WIDTH, ROW_HEIGHT, CHART_HEIGHT = 4.6, 0.34, 3.1
DECADE = 10
MAX_LABEL = 26
"""Letters of a scheme's name on an axis; a longer one is broken into lines."""


@dataclass(frozen=True)
class Plot:
    """A picture of one panel."""

    name: str
    """Of its file, without an ending."""

    title: str
    text: str
    """What it shows, for those who cannot see it."""

    svg: str


def draw_points(found: Comparison) -> list[Plot]:
    """Draw for each column of the table a point a seed, the mean, and its interval."""
    plots = []
    for number, column in enumerate(found.grid.columns):
        rows = [
            (scheme, place, cell)
            for place, scheme in enumerate(found.grid.schemes)
            if (cell := found.grid.cell(scheme, column)) is not None
        ]
        told = "; ".join(f"{scheme} {_told(cell)}" for scheme, _, cell in rows)
        svg = _draw_rows(column, rows)
        plots.append(Plot(f"points-{number}", column.name, f"{column.name}, in %: {told}", svg))
    return plots


def draw_charts(charts: Sequence[Chart], kind: str, schemes: Sequence[str]) -> list[Plot]:
    """Draw for each chart a line a scheme, with a band from the lowest to the highest seed."""
    scores = [
        score
        for chart in charts
        for line in chart.lines.values()
        for point in line
        for score in (point.low, point.high)
    ]
    span = (min(scores, default=0.0), max(scores, default=1.0)) if kind == "sweep" else None
    plots = []
    for number, chart in enumerate(charts):
        told = "; ".join(
            f"{scheme} " + ", ".join(f"{point.x}: {100 * point.mean:.1f}" for point in line)
            for scheme, line in chart.lines.items()
        )
        svg = _draw_chart(chart, schemes, span)
        plots.append(
            Plot(f"{kind}-{number}", chart.name, f"{chart.name}, in %, by {chart.x}: {told}", svg)
        )
    return plots


def embed(plot: Plot, number: int) -> str:
    """Return a picture for a page: its names are its own, and it takes the colours of the page."""
    svg = plot.svg[plot.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1plot{number}-", svg)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg)
    svg = svg.replace(PAPER, "none").replace(INK, "var(--ink)").replace(QUIET, "var(--quiet)")
    svg = svg.replace(EDGE, "var(--edge)")
    for place, colour in enumerate(COLOURS):
        svg = svg.replace(colour, f"var(--scheme-{place})")
    return svg


def _told(cell: Cell) -> str:
    half = cell.interval.half_width
    return f"{100 * cell.interval.mean:.1f}" + (f" ± {100 * half:.1f}" if half is not None else "")


def _draw_rows(column: Column, rows: Sequence[tuple[str, int, Cell]]) -> str:
    labels = [_break(scheme) for scheme, _, _ in rows]
    lines = sum(label.count("\n") + 1 for label in labels)
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(WIDTH, 0.95 + ROW_HEIGHT * lines), layout="constrained", facecolor=PAPER
        )
        axes = figure.add_subplot(facecolor=PAPER)
        if column.chance is not None:
            axes.axvline(100 * column.chance, color=QUIET, linestyle=":", linewidth=1.2)
        for row, (_, place, cell) in enumerate(rows):
            colour, mean, half = _colour(place), cell.interval.mean, cell.interval.half_width
            scores = [100 * score for score in cell.scores.values()]
            if half is not None:
                axes.errorbar(100 * mean, row, xerr=100 * half, color=colour, capsize=4, linewidth=1.5)
                axes.plot([100 * mean] * 2, [row - 0.22, row + 0.22], color=colour, linewidth=2.5)
            axes.plot(scores, [row] * len(scores), "o", color=colour, markersize=5, alpha=0.75)
        axes.set_yticks(range(len(rows)), labels, color=INK)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        if column.chance is not None:
            axes.set_xlabel(f"{column.metric}, % (dotted: chance)", fontsize=8)
        else:
            axes.set_xlabel(f"{column.metric}, %", fontsize=8)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set_title(_break(column.name, 48), loc="left", fontsize=10)
        return _save(figure)


def _draw_chart(chart: Chart, schemes: Sequence[str], span: tuple[float, float] | None) -> str:
    xs = list(dict.fromkeys(point.x for line in chart.lines.values() for point in line))
    xs += [x for x, _ in chart.chance if x not in xs]
    are_numbers = all(isinstance(x, (int, float)) for x in xs)
    where = {x: float(x) if are_numbers else float(place) for place, x in enumerate(xs)}
    with mpl.rc_context(STYLE):
        height = CHART_HEIGHT + 0.2 * len(chart.lines)
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor=PAPER)
        axes = figure.add_subplot(facecolor=PAPER)
        for scheme, line in chart.lines.items():
            _draw_line(axes, scheme, schemes.index(scheme), line, where)
        if chart.chance:
            at, shares = zip(*chart.chance, strict=True)
            axes.plot(
                [where[x] for x in at],
                [100 * share for share in shares],
                ":",
                color=QUIET,
                label="chance",
            )
        _scale(axes, where, are_numbers=are_numbers)
        if span is not None:
            room = 5 * (span[1] - span[0]) or 1.0
            axes.set_ylim(100 * span[0] - room, 100 * span[1] + room)
        axes.set_xlabel(chart.x, fontsize=8)
        axes.set_ylabel("%", fontsize=8)
        axes.grid()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(_break(chart.name, 48), loc="left", fontsize=10)
        figure.legend(loc="outside lower left", frameon=False, fontsize=8, labelcolor=INK)
        return _save(figure)


def _draw_line(
    axes: Axes, scheme: str, place: int, line: Sequence[Point], where: dict[object, float]
) -> None:
    at = [where[point.x] for point in line]
    colour = _colour(place)
    axes.plot(
        at,
        [100 * point.mean for point in line],
        color=colour,
        marker=MARKERS[place % len(MARKERS)],
        linestyle=DASHES[place // len(COLOURS) % len(DASHES)],
        markersize=4.5,
        label=scheme,
    )
    if any(point.num > 1 for point in line):
        lows, highs = ([100 * end for end in ends] for ends in zip(*_ends(line), strict=True))
        axes.fill_between(at, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _ends(line: Sequence[Point]) -> list[tuple[float, float]]:
    return [(point.low, point.high) for point in line]


def _scale(axes: Axes, where: dict[object, float], *, are_numbers: bool) -> None:
    """Put a tick at each x; numbers over a decade or more stand on a logarithmic axis."""
    places = sorted(where.values())
    if are_numbers and places[0] > 0 and places[-1] / places[0] >= DECADE:
        axes.set_xscale("log")
    labels = {place: f"{x:g}" if isinstance(x, (int, float)) else str(x) for x, place in where.items()}
    axes.set_xticks(places, [labels[place] for place in places])
    axes.minorticks_off()


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _break(text: str, width: int = MAX_LABEL) -> str:
    """Break a long name into lines, inside words if need be."""
    from textwrap import wrap

    return "\n".join(wrap(text, width)) or text


def _save(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
