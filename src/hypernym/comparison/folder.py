"""The folder of a comparison: tables, page and plots, made anew from what is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypernym.comparison.exports import COMPARISON_VERSION, to_csv, to_json, to_markdown
from hypernym.comparison.figures import draw_charts, draw_points
from hypernym.comparison.page import to_page
from hypernym.errors import OutputError
from hypernym.files import make_folder, replace_folder, write_json, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from hypernym.comparison.comparison import Comparison

MARKERS = ("comparison.json", "made.json")
"""Either says that a folder is one of ours."""

PAGE = "comparison.html"


def check_place(out: Path) -> None:
    """Check that a folder is new, empty, or that of an earlier comparison.

    Raises:
        OutputError: it is something else.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file: give a folder for the comparison.")
    ours = any((out / name).exists() for name in MARKERS)
    if not ours and out.exists() and any(out.iterdir()):
        raise OutputError(
            f"{out} is not empty and holds no comparison: give another folder for the comparison."
        )


def write_comparison(out: Path, found: Comparison) -> None:
    """Write comparison.json, .csv, .md and .html, and the plots beside them."""
    make_folder(out)
    title = f"Comparison {out.resolve().name}"
    schemes = found.grid.schemes
    sweeps = [chart for sweep in found.sweeps for chart in sweep.charts]
    plots = {
        "points": draw_points(found),
        "depths": draw_charts(found.depths, "depth", schemes),
        "shots": draw_charts(found.shots, "shots", schemes),
        "sweeps": draw_charts(sweeps, "sweep", schemes),
    }
    write_json(out / "comparison.json", "comparison", COMPARISON_VERSION, **to_json(found))
    write_text(out / "comparison.csv", to_csv(found))
    write_text(out / "comparison.md", to_markdown(found, title))
    with replace_folder(out / "plots") as folder:
        for plot in (plot for section in plots.values() for plot in section):
            (folder / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
    write_text(out / PAGE, to_page(found, title, plots))
