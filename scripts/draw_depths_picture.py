"""Draw docs/depths.svg: what two labels say at each depth of a small tree, and what the depths weigh.

python scripts/draw_depths_picture.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from hypernym.hierarchy.levels import NONE, make_levels
from hypernym.hierarchy.tree import ROOT, Tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from hypernym.hierarchy.levels import Levels

TREE = Tree(
    ("animal", "flower", "sun", "bird", "fish", "rose", "owl", "penguin", "pike"),
    (ROOT, ROOT, ROOT, 0, 0, 1, 3, 3, 4),
    "by hand",
    "a picture",
)
ROWS = (1.0, 3.0, 4.0, 0.5, 2.0, 3.0, 0.0, 1.0, 2.0)
"""How far down each class is drawn."""

IMAGES_AT = (50, 30, 20)
"""Images labelled at each depth, in the weights by images."""

INK, LINE, BAND, TARGET, WEIGHT = "#1f2933", "#9aa5b1", "#f2f5f9", "#1b6ca8", "#c2571a"

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "hypernym",
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.labelcolor": INK,
    "axes.edgecolor": LINE,
    "xtick.color": LINE,
}


def main() -> None:
    """Draw two trees side by side, and three charts of weights below them."""
    levels = make_levels(TREE)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 4.9), layout="constrained")
        axes = figure.subplot_mosaic("OOOBBB;EECCII", height_ratios=(1.45, 1))
        for label in ("owl", "bird"):
            draw_targets(axes[label[0].upper()], levels, label)
        images_C = np.zeros(levels.num_classes, np.int64)
        images_C[[classes[0] for classes in levels.classes_at]] = IMAGES_AT
        weights = {
            "equal": levels.weights_L(1.0),
            "classes": levels.weights_L(20.0),
            "images": levels.weights_L(20.0, images_C),
        }
        counted = {
            "equal": "the default: every depth counts the same",
            "classes": f"classes at the depths: {', '.join(map(str, levels.counts_L))}",
            "images": f"images labelled there: {', '.join(map(str, IMAGES_AT))}",
        }
        for name, weights_L in weights.items():
            draw_weights(axes[name[0].upper()], weights_L, f"--loss.weights {name}", counted[name])
        out = Path(__file__).parents[1] / "docs" / "depths.svg"
        figure.savefig(out, format="svg", metadata={"Date": None})


def draw_targets(axes: Axes, levels: Levels, label: str) -> None:
    """Draw the tree with the targets of an image: filled where the softmax of a depth has one."""
    index = TREE.ids.index(label)
    targets = set(levels.ancestors_CL[index].tolist())
    for depth in range(levels.num_depths):
        has_target = levels.targets_CL[index, depth] != NONE
        axes.axvspan(depth - 0.28, depth + 0.62, color=BAND if has_target else "none", lw=0, zorder=0)
        axes.text(depth + 0.17, -1.1, f"depth {depth}", ha="center", color=INK, weight="bold")
        told = "a softmax, a target" if has_target else "no target, no loss"
        axes.text(depth + 0.17, -0.65, told, ha="center", color=TARGET if has_target else LINE, size=8)
    for child, parent in enumerate(TREE.parents):
        depth = int(levels.depth_C[child])
        if parent != ROOT:
            on_path = child in targets
            axes.plot(
                (depth - 1, depth - 0.1),
                (ROWS[parent], ROWS[child]),
                color=TARGET if on_path else LINE,
                lw=1.6 if on_path else 0.8,
                zorder=0.5,
            )
        is_target = child in targets
        axes.text(
            depth - 0.16,
            ROWS[child],
            TREE.ids[child],
            va="center",
            color="white" if is_target else INK,
            bbox={
                "boxstyle": "round,pad=0.3",
                "facecolor": TARGET if is_target else "white",
                "edgecolor": TARGET if is_target else LINE,
            },
        )
    axes.set(xlim=(-0.35, 2.7), ylim=(4.5, -1.5), title=f"an image labelled {label}")
    axes.axis("off")


def draw_weights(axes: Axes, weights_L: NDArray[np.float64], title: str, counted: str) -> None:
    """Draw the weight of each depth as a bar with its number."""
    bars = axes.bar(range(len(weights_L)), weights_L, width=0.6, color=WEIGHT)
    axes.bar_label(bars, [f"{weight:g}" for weight in weights_L], padding=2)
    axes.set_title(title, size=9, weight="bold")
    axes.set_xlabel(counted, size=8)
    axes.set(xticks=range(len(weights_L)), ylim=(0, 6.2), yticks=[])
    axes.set_xticklabels([f"depth {depth}" for depth in range(len(weights_L))])
    axes.spines[["top", "right", "left"]].set_visible(False)


if __name__ == "__main__":
    main()
