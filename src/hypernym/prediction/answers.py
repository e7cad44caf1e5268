"""What a model answers: for each picture a path of the tree, or why there is none."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from PIL import Image

from hypernym.data.rejections import RejectionError

if TYPE_CHECKING:
    from hypernym.prediction.pictures import Picture

THUMBNAIL = 112
"""Pixels of the longer side of a picture in a notebook."""

MOST_DRAWN = 50
"""Answers that a notebook draws; a page of thousands of pictures would be of no use."""


KEPT, END, DOUBTED = "", "font-weight:bold", "opacity:0.65"
"""How a notebook shows a step of a path: on light paper as on dark."""


@dataclass(frozen=True)
class Step:
    """One class on a path."""

    class_id: str
    name: str
    probability: float
    """That the picture shows something of this kind; 0..1."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture."""

    image: str
    """Its name: the path of a file, the key in a dataset."""

    path: tuple[Step, ...]
    """The labels kept, from the root down; there may be none. By the rule `official` they need not
    lie on one path."""

    beyond: tuple[Step, ...]
    """The labels not kept: how the path would go on."""

    error: str = ""
    """Why the picture could not be read; then both paths are empty."""

    @property
    def label(self) -> Step | None:
        """The deepest label that is kept; None of a model that is unsure of all."""
        return self.path[-1] if self.path else None

    def __str__(self) -> str:
        """Return one line: the path, and the first step that fell short."""
        steps = [f"{step.name} {step.probability:.2f}" for step in self.path] or ["unsure"]
        doubt = [f"  (perhaps {step.name} {step.probability:.2f})" for step in self.beyond[:1]]
        told = self.error or f"{' > '.join(steps)}{''.join(doubt)}"
        # Names and reasons may hold what a terminal would obey.
        return "".join(
            sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}"
            for sign in f"{self.image}: {told}"
        )

    def _repr_html_(self) -> str:
        return _draw_row(self, "")


class Predictions(Sequence[Prediction]):
    """Answers in the order of the pictures; they draw themselves, with the pictures, in a notebook."""

    def __init__(self, predictions: Sequence[Prediction], pictures: Sequence[Picture]) -> None:
        self._predictions = tuple(predictions)
        self._pictures = tuple(pictures)

    @overload
    def __getitem__(self, place: int) -> Prediction: ...
    @overload
    def __getitem__(self, place: slice) -> Predictions: ...
    def __getitem__(self, place: int | slice) -> Prediction | Predictions:
        if isinstance(place, slice):
            return Predictions(self._predictions[place], self._pictures[place])
        return self._predictions[place]

    def __len__(self) -> int:
        return len(self._predictions)

    def __repr__(self) -> str:
        return "\n".join(map(str, self._predictions))

    def _repr_html_(self) -> str:
        drawn = zip(self._predictions[:MOST_DRAWN], self._pictures, strict=False)
        rows = "".join(_draw_row(answer, _draw_thumbnail(picture)) for answer, picture in drawn)
        more = len(self) - MOST_DRAWN
        return f"<div>{rows}{f'<p>... and {more:,} more</p>' if more > 0 else ''}</div>"


def _draw_row(prediction: Prediction, thumbnail: str) -> str:
    """Draw a picture and its path; class names are text, whatever they hold."""
    if prediction.error:
        told = f"<em>{html.escape(prediction.error)}</em>"
    else:
        end = len(prediction.path) - 1
        kept = [_draw_step(step, depth, KEPT) for depth, step in enumerate(prediction.path[:-1])]
        kept += [_draw_step(step, end, END) for step in prediction.path[-1:]]
        doubt = [_draw_step(step, end + 1, DOUBTED) for step in prediction.beyond[:1]]
        told = "".join(kept + doubt) or "<em>unsure</em>"
    name = html.escape(prediction.image)
    return (
        f'<div style="display:flex;gap:1em;align-items:flex-start;margin:0.5em 0">{thumbnail}'
        f'<div><div style="opacity:0.6;font-size:85%">{name}</div>{told}</div></div>'
    )


def _draw_step(step: Step, depth: int, style: str) -> str:
    share = f"{100 * step.probability:.0f}"
    bar = f"linear-gradient(to right,#2a9d8f {share}%,rgba(128,128,128,0.3) {share}%)"
    return (
        f'<div style="display:flex;align-items:center;gap:0.6em;line-height:1.5;{style}">'
        f'<span style="flex:none;width:3.2em;text-align:right">{share} %</span>'
        f'<span style="flex:none;width:5em;height:0.5em;border-radius:0.25em;background:{bar}"></span>'
        f'<span style="padding-left:{1.2 * depth:.1f}em" title="{html.escape(step.class_id)}">'
        f"{html.escape(step.name)}</span></div>"
    )


def _draw_thumbnail(picture: Picture) -> str:
    try:
        image = Image.fromarray(picture.decode(THUMBNAIL))
    except RejectionError:
        return ""
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    data = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<img alt="" width="{image.width}" height="{image.height}" src="data:image/jpeg;base64,{data}">'
    )
