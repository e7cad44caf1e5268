"""Draw docs/tree.png: a part of the drawn world as a tree, one softmax for each depth.

python scripts/draw_readme_picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hypernym.world.classes import CLASSES, DrawnClass, ancestors, leaves
from hypernym.world.drawing import draw

SHOWN_ROOTS = ("animal", "vehicle", "flower", "sun")
COLUMN, ROW, TOP, SCALE = 205, 58, 64, 2
INK, LINE, PAPER, BAND = "#1f2933", "#9aa5b1", "#ffffff", "#f2f5f9"


def main() -> None:
    """Lay the leaves out in rows and every class in the column of its depth."""
    by_id = {drawn.id: drawn for drawn in CLASSES}
    shown = [drawn for drawn in CLASSES if root_of(drawn, by_id).name in SHOWN_ROOTS]
    rows = {leaf.id: row for row, leaf in enumerate(leaves(shown))}
    heights = {drawn.id: middle(drawn, rows) for drawn in shown}
    depths = {drawn.id: len(ancestors(drawn.id)) for drawn in shown}
    width, height = 5 * COLUMN + 70, TOP + len(rows) * ROW + 12
    image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    font, small = ImageFont.load_default(17 * SCALE), ImageFont.load_default(14 * SCALE)

    for depth in range(5):
        left = depth * COLUMN
        if depth % 2 == 0:
            pen.rectangle((point(left, 0), point(left + COLUMN, height)), fill=BAND)
        pen.text(point(left + 14, 10), f"depth {depth}", INK, font)
        pen.text(point(left + 14, 33), "a softmax of its own", LINE, small)
    for drawn in shown:
        x, y = depths[drawn.id] * COLUMN + 14, heights[drawn.id]
        if drawn.parent:
            corner = depths[drawn.id] * COLUMN - 4
            start = pen.textlength(by_id[drawn.parent].name, font) / SCALE
            start += depths[drawn.parent] * COLUMN + 20
            above = heights[drawn.parent]
            path = [point(start, above), point(corner, above), point(corner, y), point(x - 4, y)]
            pen.line(path, fill=LINE, width=SCALE)
        pen.text(point(x, y), drawn.name, INK, font, anchor="lm")
        if drawn.id in rows:
            place = x + pen.textlength(drawn.name, font) / SCALE + 12
            picture = draw(drawn.id, 52 * SCALE, np.random.default_rng([3, rows[drawn.id]]))
            thumbnail = picture.resize((50 * SCALE, 50 * SCALE), Image.Resampling.LANCZOS)
            image.paste(thumbnail, point(place, y - 25))
    image.save(Path(__file__).parents[1] / "docs" / "tree.png", optimize=True)


def root_of(drawn: DrawnClass, by_id: dict[str, DrawnClass]) -> DrawnClass:
    """Return the root above a class, or the class itself."""
    return by_id[(drawn.id, *ancestors(drawn.id))[-1]]


def middle(drawn: DrawnClass, rows: dict[str, int]) -> float:
    """Return the height of a class: the middle of the leaves below it."""
    own = [row for leaf, row in rows.items() if drawn.id in {leaf, *ancestors(leaf)}]
    return TOP + (min(own) + max(own) + 1) / 2 * ROW


def point(x: float, y: float) -> tuple[int, int]:
    """Turn a point of the layout into pixels."""
    return round(SCALE * x), round(SCALE * y)


if __name__ == "__main__":
    main()
