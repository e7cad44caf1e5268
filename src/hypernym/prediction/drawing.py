"""A picture and its path side by side, as a file."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from hypernym.data.rejections import RejectionError
from hypernym.files import make_folder, open_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.text import Text
    from numpy.typing import NDArray

    from hypernym.prediction.answers import Prediction, Step
    from hypernym.prediction.pictures import Picture

SEEN = 720
"""Pixels of a side that is drawn: a larger photo is decoded at a fraction."""

PAPER, INK, QUIET, FAINT, TRACK = "#fffffe", "#1e2328", "#5d666f", "#9aa3ab", "#e9ecee"
KEPT, DOUBTED = "#14706b", "#c3cacf"
FONT = "DejaVu Sans"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "hypernym",
    "text.parse_math": False,  # a name may hold a dollar sign
    "pdf.fonttype": 42,
}

# Inches.
MARGIN, GAP = 0.3, 0.45
PICTURE = 3.6
ROW = 0.33
SHARE, BAR, BAR_HEIGHT = 0.56, 1.0, 0.11
BESIDE = SHARE + BAR + 0.2
INDENT, WORDS, LAST_WORDS = 0.17, 3.6, 2.4
DPI = 150


def draw_prediction(file: Path, picture: Picture, prediction: Prediction, *, nested: bool) -> None:
    """Draw a picture beside its path, from the root down, with the probability of each step.

    What is kept stands in colour, its end in bold; what is beyond stands in grey.

    Args:
        file: Ends in one of `places.ENDINGS`.
        picture: What is drawn on the left.
        prediction: What is told on the right.
        nested: Whether the steps lie on one path, so that each is set in below the one above.
    """
    make_folder(file.parent)
    steps = [*prediction.path, *prediction.beyond]
    text = "".join([prediction.image, prediction.error, *(step.name for step in steps)])
    fonts = [FONT, *_find_fonts(frozenset(text))]
    with (
        mpl.rc_context({**STYLE, "font.family": fonts}),
        warnings.catch_warnings(action="ignore", category=UserWarning),  # a sign that no font has
        open_whole(file) as stream,
    ):
        figure = _draw(_decode(picture), prediction, steps, nested=nested)
        # Dates would make other bytes each time; to compress more takes as long as to draw.
        options: dict[str, dict[str, Any]] = {
            ".png": {"pil_kwargs": {"compress_level": 1}},
            ".svg": {"metadata": {"Date": None}},
            ".pdf": {"metadata": {"CreationDate": None}},
        }
        ending = file.suffix.lower()
        figure.savefig(stream, format=ending[1:], dpi=DPI, facecolor=PAPER, **options[ending])


def _decode(picture: Picture) -> NDArray[np.uint8] | None:
    try:
        return picture.decode(SEEN)
    except RejectionError:
        return None


def _draw(
    pixels: NDArray[np.uint8] | None, prediction: Prediction, steps: Sequence[Step], *, nested: bool
) -> Figure:
    rows_height = 0.62 + ROW * max(len(steps), 1) + (ROW if prediction.beyond else 0)
    width, height = _fit(pixels, max(PICTURE, rows_height))
    whole_height = 2 * MARGIN + max(height, rows_height)
    words = _room_for_words(prediction, steps, INDENT if nested else 0)
    whole_width = MARGIN + width + GAP + BESIDE + words + MARGIN
    figure = Figure(figsize=(whole_width, whole_height))
    left = figure.add_axes(
        (
            MARGIN / whole_width,
            (whole_height - height) / 2 / whole_height,
            width / whole_width,
            height / whole_height,
        )
    )
    _draw_picture(left, pixels)
    # One unit is one inch, from the upper left corner.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, whole_width), ylim=(whole_height, 0))
    axes.set_axis_off()
    start = MARGIN + width + GAP
    top = (whole_height - rows_height) / 2
    _write(
        axes, start, top + 0.12, prediction.image, whole_width - MARGIN, size=9, color=QUIET, end=True
    )
    top += 0.62
    if prediction.error or not steps:
        told = prediction.error or "unsure"
        _write(axes, start, top, told, whole_width - MARGIN, size=11, color=QUIET, style="italic")
        return figure
    for place, step in enumerate(steps):
        is_kept = place < len(prediction.path)
        if place == len(prediction.path):
            _draw_border(axes, start, top + ROW * place, whole_width - MARGIN, place=place)
        y = top + ROW * (place + (not is_kept) * 0.95)
        is_end = place == len(prediction.path) - 1
        _draw_step(axes, (start, y), step, is_kept=is_kept, is_end=is_end)
        indent = INDENT * place if nested else 0
        _write(
            axes,
            start + BESIDE + indent,
            y,
            step.name,
            whole_width - MARGIN,
            size=12 if is_end else 11,
            color=(KEPT if is_end else INK) if is_kept else FAINT,
            weight="bold" if is_end else "normal",
        )
    return figure


def _room_for_words(prediction: Prediction, steps: Sequence[Step], indent: float) -> float:
    """Return the width, in inches, that names and indents take; a very long name is cut instead."""
    figure = Figure()
    ends = [
        indent * place + _width(figure.text(0, 0, step.name, size=12, weight="bold"))
        for place, step in enumerate(steps)
    ]
    title = _width(figure.text(0, 0, prediction.image or prediction.error, size=9)) - BESIDE
    room = max([title, *ends, LAST_WORDS / 2]) + 0.1
    return min(room, max(WORDS, indent * (len(steps) - 1) + LAST_WORDS))


def _fit(pixels: NDArray[np.uint8] | None, room: float) -> tuple[float, float]:
    """Return width and height of a picture in inches."""
    if pixels is None:
        return PICTURE * 0.75, PICTURE * 0.75
    height, width = pixels.shape[:2]
    scale = min(1.2 * PICTURE / width, min(room, 1.2 * PICTURE) / height)
    # A strip stays a strip, but one that can be seen.
    return max(width * scale, 0.3), max(height * scale, 0.3)


def _draw_picture(axes: Axes, pixels: NDArray[np.uint8] | None) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_color(TRACK)
    if pixels is None:
        axes.set_facecolor(TRACK)
        axes.text(0.5, 0.5, "no picture", ha="center", va="center", color=QUIET, size=10)
        return
    image = Image.fromarray(pixels)
    image.thumbnail((SEEN, SEEN))
    axes.imshow(image, aspect="auto")


def _draw_border(axes: Axes, start: float, y: float, end: float, *, place: int) -> None:
    """Draw the line at which the model becomes unsure."""
    y += ROW * (0.1 if place else -0.2)
    words = axes.text(start, y, "unsure from here on", va="center", size=8, color=FAINT, style="italic")
    axes.plot([start + _width(words) + 0.12, end], [y, y], color=TRACK, linewidth=1)


def _draw_step(
    axes: Axes, place: tuple[float, float], step: Step, *, is_kept: bool, is_end: bool
) -> None:
    start, y = place
    axes.text(
        start + SHARE - 0.1,
        y,
        f"{100 * step.probability:.0f} %",
        ha="right",
        va="center",
        size=10,
        color=INK if is_kept else FAINT,
        weight="bold" if is_end else "normal",
    )
    for width, color in ((BAR, TRACK), (BAR * step.probability, KEPT if is_kept else DOUBTED)):
        axes.add_patch(
            FancyBboxPatch(
                (start + SHARE, y - BAR_HEIGHT / 2),
                max(width, 0.02),
                BAR_HEIGHT,
                boxstyle=f"round,pad=0,rounding_size={min(max(width, 0.02), BAR_HEIGHT) / 2}",
                color=color,
                linewidth=0,
            )
        )


def _write(
    axes: Axes,
    x: float,
    y: float,
    words: str,
    edge: float,
    *,
    end: bool = False,
    **style: Any,  # noqa: ANN401 - matplotlib's
) -> None:
    """Write a line that stops before `edge`: of one too long its beginning is kept, or its `end`."""
    line = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in words)
    text = axes.text(x, y, line, va="center", **style)
    room = edge - x
    width = _width(text)
    while width > room and len(line) > 1:
        line = _shorten(line, max(1, min(len(line) - 1, int(len(line) * room / width))), end=end)
        text.set_text(f"…{line}" if end else f"{line}…")
        width = _width(text)


def _shorten(line: str, length: int, *, end: bool) -> str:
    return line[-length:] if end else line[:length].rstrip()


def _width(text: Text) -> float:
    """Return the width of a text in inches."""
    figure = text.get_figure()
    assert figure is not None  # noqa: S101 - it was just drawn
    return float(text.get_window_extent().width / figure.get_dpi())


@cache
def _find_fonts(signs: frozenset[str]) -> tuple[str, ...]:
    """Return the names of fonts that have those signs that the usual one has not."""
    usual = get_font(findfont(FontProperties(family=FONT)))
    missing = {sign for sign in signs if sign.isprintable() and not usual.get_char_index(ord(sign))}
    found = []
    for entry in fontManager.ttflist:
        if not missing:
            break
        is_last_resort = entry.name.startswith("Last Resort")  # boxes, which matplotlib falls back on
        if not is_last_resort and entry.style == "normal" and entry.weight in {400, "normal", "regular"}:
            font = get_font(entry.fname)
            has = {sign for sign in missing if font.get_char_index(ord(sign))}
            found += [entry.name] if has else []
            missing -= has
    return tuple(found)
