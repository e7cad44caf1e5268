"""The curves of a run as a picture: RUN/curves.svg."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hypernym.files import open_whole
from hypernym.training.log import read_records

if TYPE_CHECKING:
    from pathlib import Path

PANELS = (
    ("loss", "train/", ("train/gradient_norm",)),
    ("validation, %", "val/", ()),
    ("learning rate", "lr", ()),
    ("images a second", "images_per_second", ()),
)
"""Title, what its records begin with, and which of these it leaves out."""


SECONDS_BETWEEN = 120.0
"""Drawing takes a second."""


class Curves:
    """The picture of a run, drawn anew now and then."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._drawn = time.monotonic()

    def draw_now_and_then(self) -> None:
        """Draw, unless that was done a short while ago."""
        if time.monotonic() - self._drawn > SECONDS_BETWEEN:
            self.draw()

    def draw(self) -> None:
        """Draw."""
        draw_curves(self._run)
        self._drawn = time.monotonic()


def draw_curves(run: Path) -> None:
    """Draw what metrics.jsonl of a run holds, over steps."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    records = read_records(run / "metrics.jsonl")
    figure = Figure(figsize=(9, 6), layout="constrained")
    for place, (title, prefix, without) in enumerate(PANELS, start=1):
        axes = figure.add_subplot(2, 2, place)
        names = sorted({name for record in records for name in record if name.startswith(prefix)})
        factor = 100 if prefix == "val/" else 1
        for name in names:
            if name not in without:
                points = [
                    (record["step"], factor * record[name]) for record in records if name in record
                ]
                axes.plot(*zip(*points, strict=True), label=name.removeprefix(prefix) or name)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8)
    # With these the same records give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "hypernym"}), open_whole(run / "curves.svg") as stream:
        figure.savefig(stream, format="svg", metadata={"Date": None})
