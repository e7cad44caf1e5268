"""The classes of a report: which stayed, which did not, and how evenly images are spread over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from hypernym.data.classes import ClassTable

MAX_LISTED = 12_000
"""Rows of a table: all classes of ImageNet-21K-P, and a page of about a megabyte."""

SHORT_TABLE = 40
"""A table of so many classes is shown whole."""

ENDS = 12
"""Of a longer one, so many of the largest and of the smallest classes; the rest is folded."""

CURVE_POINTS = 400
FEW_DECADES = 2
"""An axis of so many decades has ticks between them."""


@dataclass(frozen=True)
class Row:
    """A class in a table."""

    id: str
    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """Classes, the largest first."""

    columns: tuple[str, ...]
    rows: list[Row]
    num_left_out: int
    """Further rows, too many for a page."""

    @property
    def is_short(self) -> bool:
        """Whether the page shows it whole."""
        return len(self.rows) <= SHORT_TABLE


@dataclass(frozen=True)
class Balance:
    """Training images of each class, the largest first, on a logarithmic scale."""

    largest: int
    median: int
    smallest: int
    curve: str
    """SVG path in a box of 1000 x 1000, open to the right and below."""

    ticks: list[tuple[str, float]]
    """Label and height, 0..1 from below."""


def describe_classes(
    card: Mapping[str, Any], classes: ClassTable, name_classes: Callable[[Sequence[str]], Sequence[str]]
) -> dict[str, Any]:
    """Return what the page says of the classes."""
    columns = {name: getattr(classes, f"{name}_counts") for name in card["splits"]}
    kept = zip(classes.ids, classes.names, zip(*columns.values(), strict=True), strict=True)
    dropped, missing = card["classes_dropped"], card["classes_missing"]
    return {
        "balance": _draw_balance(np.array(classes.train_counts)),
        "kept": _make_table(tuple(columns), [Row(*row) for row in kept]),
        "dropped": _make_table(
            ("images",), _name_rows(dropped, name_classes, [(count,) for count in dropped.values()])
        ),
        "missing": _make_table((), _name_rows(missing, name_classes, [()] * len(missing))),
        "ends": ENDS,
    }


def _name_rows(
    ids: Iterable[str],
    name_classes: Callable[[Sequence[str]], Sequence[str]],
    counts: Iterable[tuple[int, ...]],
) -> list[Row]:
    ids = list(ids)
    return [Row(*row) for row in zip(ids, name_classes(ids), counts, strict=True)]


def _make_table(columns: tuple[str, ...], rows: list[Row]) -> Table:
    ordered = sorted(rows, key=lambda row: (-sum(row.counts), row.id.encode()))
    return Table(columns, ordered[:MAX_LISTED], max(len(ordered) - MAX_LISTED, 0))


def _draw_balance(counts: NDArray[np.int64]) -> Balance:
    counts = np.sort(counts)[::-1]
    top = 10 ** np.ceil(np.log10(max(counts[0], 2)))
    bottom = 10 ** np.floor(np.log10(max(counts[-1], 1)))
    scale = np.log10(top / bottom)

    def height(count: float) -> float:
        return float(np.log10(max(count, bottom) / bottom) / scale)

    places = np.unique(np.linspace(0, len(counts) - 1, CURVE_POINTS).round().astype(int))
    steps = [
        f"V{1000 - 1000 * height(counts[place]):.1f}H{1000 * (place + 1) / len(counts):.1f}"
        for place in places.tolist()
    ]
    decades = np.arange(np.log10(bottom), np.log10(top) + 0.5)
    marks = (1,) if scale > FEW_DECADES else (1, 2, 5)
    ticks = [mark * 10.0**decade for decade in decades for mark in marks]
    return Balance(
        int(counts[0]),
        int(np.median(counts)),
        int(counts[-1]),
        "M0,1000" + "".join(steps),
        [(f"{tick:,.0f}", height(tick)) for tick in ticks if tick <= top],
    )
