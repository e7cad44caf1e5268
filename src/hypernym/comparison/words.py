"""A comparison in words and rows: what the Markdown, the page and the terminal all say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypernym.comparison.comparison import Comparison
    from hypernym.comparison.grid import Column
    from hypernym.comparison.statistics import Finding
    from hypernym.comparison.verdicts import Pair, Wins

HOLE = "-"

TESTS = (
    "A cell is the mean over seeds, in %, ± half the width of its 95 % interval (Student's t over the "
    "seeds). Bold is a scheme that is really better than the second in its column. Two tests must both "
    "say so: over seeds (paired t test of the differences seed by seed) and over test images "
    "(bootstrap of the difference of the means). The larger p of the two is corrected for the number "
    "of comparisons in the table (Holm) and must be below 0.05. Figures on the pretraining classes come "
    "without answers an image, so they are never bold."
)


def tell_cell(found: Comparison, scheme: str, column: Column) -> str:
    """Return mean and interval in %, or what stands for a hole."""
    cell = found.grid.cell(scheme, column)
    if cell is None:
        return HOLE
    half = cell.interval.half_width
    return _percent(cell.interval.mean) + ("" if half is None else f" ± {_percent(half)}")


def tell_wins(wins: Wins) -> str:
    """Return "A beats B on 2 of 2 transfers, really on 1"."""
    if wins.higher == wins.lower:
        text = f"{wins.better} and {wins.worse} are even, {wins.higher} to {wins.lower} transfers"
    else:
        text = f"{wins.better} beats {wins.worse} on {wins.higher} of {wins.columns} transfers"
    lost = f", and really loses on {wins.real_losses}" if wins.real_losses else ""
    return f"{text}, really on {wins.real or 'none'}{lost}"


def tell_finding(finding: Finding | None) -> str:
    """Return interval and p of a test, in points of %."""
    if finding is None:
        return HOLE
    return f"{_signed(finding.low)} to {_signed(finding.high)}, p {tell_p(finding.p)}"


def tell_pair(pair: Pair) -> list[str]:
    """Return the row of a pair: column, who, difference, verdict, seeds, both tests, corrected p."""
    return [
        pair.column,
        f"{pair.better} - {pair.worse}",
        _signed(pair.difference),
        pair.reason,
        str(len(pair.seeds)),
        tell_finding(pair.over_seeds),
        tell_finding(pair.over_images),
        HOLE if pair.p is None else tell_p(pair.p),
    ]


PAIR_HEAD = (
    "column",
    "first - second",
    "points",
    "verdict",
    "seeds",
    "over seeds",
    "over images",
    "p of both",
)


def tell_p(p: float) -> str:
    """Return a p value with as many digits as mean something."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004 - the text says the same number


def draw_text(found: Comparison) -> str:
    """Return the table for a terminal; a star marks what is bold elsewhere."""
    columns = found.grid.columns
    head = ["", *(column.name for column in columns)]
    rows = [
        [
            scheme,
            *(
                tell_cell(found, scheme, column) + ("*" if found.best.get(column.name) == scheme else "")
                for column in columns
            ),
        ]
        for scheme in found.grid.schemes
    ]
    widths = [max(map(len, cells)) for cells in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [head, *rows]
    ]
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"
