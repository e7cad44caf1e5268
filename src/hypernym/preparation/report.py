"""report.html: what a preparation did, on one page for people.

The page is one file that asks nothing of the network, runs no script and can be mailed. Names out of
archives are hostile until proven otherwise: jinja2 escapes all of them. Millions of images are counted
as arrays, some rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernym.data.rejections import Reason
from hypernym.files import write_text
from hypernym.preparation.class_tables import describe_classes
from hypernym.preparation.convert import jpegs_path
from hypernym.preparation.examples import REASONS, Example, Gallery, Pair
from hypernym.preparation.histograms import Bar, describe_images, draw_distances
from hypernym.preparation.names import OF_PARTS
from hypernym.preparation.words import describe_rules, tell_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from hypernym.data.classes import ClassTable
    from hypernym.preparation.seen import Seen
    from hypernym.preparation.selection import Foreign, Selection

MAX_PARTS = 100
LEAST_SHOWN = 0.001

BECAUSE_OF_OTHERS = (Reason.DUPLICATE, Reason.CONFLICT, Reason.SHARED)


@dataclass(frozen=True)
class Step:
    """One step of a preparation, as this run did it."""

    name: str
    seconds: float
    amount: int = 0
    """How much was worked through; 0 where nothing is counted."""

    unit: str = ""

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.amount / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Throughput:
    """How the work went: all on the page that another run would write differently."""

    steps: tuple[Step, ...]
    workers: int
    engine: str
    is_resumed: bool = False
    """Whether an earlier run did a part of the work, which the steps do not count."""


def write_report(
    path: Path,
    *,
    card: Mapping[str, Any],
    classes: ClassTable,
    seen: Seen,
    selection: Selection,
    foreign: Foreign | None,
    name_classes: Callable[[Sequence[str]], Sequence[str]],
    read_jpeg: Callable[[int], bytes | None],
    throughput: Throughput,
) -> None:
    """Write the report of a preparation.

    Args:
        path: The file.
        card: What `dataset.json` says, or will say.
        classes: The classes that were kept.
        seen: A row for every image of the source.
        selection: What became of them.
        foreign: Pictures of other datasets, because of which some were left out.
        name_classes: Gives names for class ids.
        read_jpeg: Gives the JPEG of a row of `seen`, or None; called for the few that are shown.
        throughput: How the work went.
    """
    from jinja2 import Environment, StrictUndefined

    gallery = Gallery(seen, selection, foreign, read_jpeg, name_classes)
    words = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    words.filters |= {"number": "{:,}".format, "percent": _percent}
    template = (files(__package__) / "report_page.html").read_text(encoding="utf-8")
    page = words.from_string(template).render(
        name=path.resolve().parent.name,
        card=card,
        rules=describe_rules(card),
        classes=describe_classes(card, classes, name_classes),
        images=describe_images(card, seen, gallery.reason_N),
        rejections=_describe_rejections(gallery, card["images_seen"]),
        likenesses=[_describe_likeness(gallery, reason) for reason in BECAUSE_OF_OTHERS],
        parts=[example for reason in OF_PARTS for example in gallery.show(reason, MAX_PARTS)],
        num_parts=sum(len(gallery.rows(reason)) for reason in OF_PARTS),
        throughput=throughput,
    )
    write_text(path, page)


def make_jpeg_reader(seen: Seen, work: Path) -> Callable[[int], bytes | None]:
    """Return a function that reads the JPEG of a row out of the work files of a preparation."""

    def read(row: int) -> bytes | None:
        (place,) = seen.take(np.array([row]), ["part", "offset", "size"]).to_pylist()
        if not place["size"]:
            return None
        with jpegs_path(work, place["part"]).open("rb") as stream:
            stream.seek(place["offset"])
            return stream.read(place["size"])

    return read


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= LEAST_SHOWN or not share else "under 0.1 %"


@dataclass(frozen=True)
class _Rejection:
    """A reason for which images were left out."""

    reason: str
    count: int
    share: float
    """Of all images seen."""

    examples: list[Example]


@dataclass(frozen=True)
class _Likeness:
    """Images that were left out because of others like them."""

    reason: Reason
    count: int
    bars: list[Bar]
    """How far they are from those others."""

    pairs: list[tuple[str, Pair]]
    """How far in words, and the pair."""


def _describe_rejections(gallery: Gallery, num_seen: int) -> list[_Rejection]:
    counts = np.bincount(gallery.reason_N[gallery.reason_N >= 0], minlength=len(REASONS))
    return [
        _Rejection(
            str(reason),
            int(count),
            count / num_seen,
            [] if reason in BECAUSE_OF_OTHERS + OF_PARTS else gallery.show(reason),
        )
        for reason, count in sorted(zip(REASONS, counts.tolist(), strict=True), key=lambda of: -of[1])
        if count
    ]


def _describe_likeness(gallery: Gallery, reason: Reason) -> _Likeness:
    distances, pairs = gallery.pair_up(reason)
    bars = draw_distances(distances)
    return _Likeness(
        reason, len(distances), bars, [(tell_distance(pair.distance), pair) for pair in pairs]
    )
