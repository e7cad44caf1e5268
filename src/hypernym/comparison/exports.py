"""A comparison for other programs and documents: Markdown, CSV, JSON."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hypernym.comparison.runs import Pretraining
from hypernym.comparison.words import HOLE, PAIR_HEAD, TESTS, tell_cell, tell_pair, tell_wins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypernym.comparison.comparison import Comparison
    from hypernym.comparison.placement import Placed

COMPARISON_VERSION = 1
CSV_HEAD = (
    "scheme",
    "column",
    "setting",
    "dataset",
    "dataset_digest",
    "method",
    "seed",
    "transfer_seed",
    "figure",
    "value",
    "run",
)


def to_markdown(found: Comparison, title: str) -> str:
    """Return the tables as Markdown."""
    columns = found.grid.columns
    rows = []
    for scheme in found.grid.schemes:
        cells = [
            f"**{cell}**" if found.best.get(column.name) == scheme else cell
            for column in columns
            for cell in [tell_cell(found, scheme, column)]
        ]
        rows.append([_escape(scheme), *cells])
    parts = [f"# {_escape(title)}", _table(["scheme", *(_escape(each.name) for each in columns)], rows)]
    parts += [TESTS]
    if found.notes:
        parts.append("\n".join(f"- {_escape(note)}" for note in found.notes))
    if found.failures:
        failed = [f"- {_escape(failure.run)}: {_escape(failure.message)}" for failure in found.failures]
        parts.append("\n".join(["## Runs that failed", "", *failed]))
    if found.wins:
        parts.append(
            "\n".join(
                ["## Who wins on how many transfers", ""]
                + [f"- {_escape(tell_wins(wins))}" for wins in found.wins]
            )
        )
    if found.pairs:
        told = [[_escape(cell) for cell in tell_pair(pair)] for pair in found.pairs]
        parts.append("## Every two schemes\n\n" + _table(PAIR_HEAD, told))
    for sweep in found.sweeps:
        robust = [
            [_escape(each.scheme)]
            + [
                f"{100 * value:.1f}"
                for value in (
                    each.best,
                    each.mean,
                    each.worst,
                    each.spread,
                    each.deviation,
                    each.risk,
                )
            ]
            for each in sweep.robustness
        ]
        parts.append(
            f"## Over {sweep.settings} settings: {_escape(sweep.column.name)}\n\n"
            + _table(
                ["scheme", "best", "mean", "worst", "range", "deviation", "mean - worst"],
                robust,
            )
        )
    costs = [
        [
            _escape(cost.scheme),
            str(cost.pretrainings),
            *(
                HOLE if value is None else form.format(value)
                for value, form in (
                    (cost.steps, "{:,.0f}"),
                    (cost.images, "{:,.0f}"),
                    (cost.hours, "{:.2f}"),
                )
            ),
            str(cost.transfers),
            HOLE if cost.transfer_seconds is None else f"{cost.transfer_seconds:,.0f}",
        ]
        for cost in found.costs
    ]
    head = ["scheme", "pretrainings", "steps", "images seen", "hours", "transfers", "seconds each"]
    parts.append("## Cost\n\n" + _table(head, costs))
    return "\n\n".join(parts) + "\n"


def to_csv(found: Comparison) -> str:
    """Return a row for each run and figure; scores are 0..1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for placed in found.placed:
        writer.writerows(_rows_of(placed))
    return text.getvalue()


def to_json(found: Comparison) -> dict[str, Any]:
    """Return all numbers as plain values."""
    grid = found.grid
    return {
        "schemes": list(grid.schemes),
        "columns": [asdict(column) for column in grid.columns],
        "cells": [
            {
                "scheme": scheme,
                "column": column.name,
                "mean": cell.interval.mean,
                "half_width": cell.interval.half_width,
                "scores": {str(seed): score for seed, score in cell.scores.items()},
                "is_best": found.best.get(column.name) == scheme,
            }
            for column in grid.columns
            for scheme in grid.schemes
            if (cell := grid.cell(scheme, column)) is not None
        ],
        "comparisons": [
            {**asdict(pair), "is_real": pair.is_real, "reason": pair.reason} for pair in found.pairs
        ],
        "wins": [asdict(wins) for wins in found.wins],
        "depths": [asdict(chart) for chart in found.depths],
        "shots": [asdict(chart) for chart in found.shots],
        "sweeps": [asdict(sweep) for sweep in found.sweeps],
        "costs": [asdict(cost) for cost in found.costs],
        "provenance": [
            {**asdict(each), "folders": [str(folder) for folder in each.folders]}
            for each in found.provenance
        ],
        "notes": found.notes,
        "missing": found.missing,
        "failures": [asdict(failure) for failure in found.failures],
    }


def _rows_of(placed: Placed) -> Iterable[list[object]]:
    run = placed.run
    if isinstance(run, Pretraining):
        for figure, value in run.figures.items():
            yield [
                *(placed.scheme, "", "", run.dataset, run.dataset_digest, "", run.unit, ""),
                *(figure, value, run.folder),
            ]
        return
    report = run.report
    setting = " ".join(f"{name}={value}" for name, value in placed.setting)
    figures = {"score": report.score, **report.figures}
    for figure, value in figures.items():
        yield [
            *(placed.scheme, placed.column, setting, report.dataset, report.dataset_digest),
            *(report.method, run.unit, report.seed, figure, value, run.folder),
        ]


def _escape(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(text.split()))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
