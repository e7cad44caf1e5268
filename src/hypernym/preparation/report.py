"""report.html: what a preparation did, on one page for people.

The page is one file that asks nothing of the network, runs no script and can be mailed. Names out of
archives are hostile until proven otherwise: jinja2 escapes all of them. Millions of images are counted
as arrays, some rows at a time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernym.data.rejections import Reason
from hypernym.files import write_text
from hypernym.preparation.convert import jpegs_path
from hypernym.preparation.examples import REASONS, SAME_FILE, UNKNOWN, Example, Gallery, Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hypernym.data.classes import ClassTable
    from hypernym.preparation.seen import Seen
    from hypernym.preparation.selection import Foreign, Selection

MAX_LISTED = 12_000
"""Rows of a table: all classes of ImageNet-21K-P, and a page of about a megabyte."""

SHORT_TABLE = 40
"""A table of so many classes is shown whole."""

ENDS = 12
"""Of a longer one, so many of the largest and of the smallest classes; the rest is folded."""

MAX_PARTS = 100
CURVE_POINTS = 400
FEW_DECADES = 2
"""An axis of so many decades has ticks between them."""

SIZE_EDGES = (0, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
DISTANCE_EDGES = (0, 1, 9, 17, 25)
LEAST_SHOWN = 0.001
GIGA = 10**9

BECAUSE_OF_OTHERS = (Reason.DUPLICATE, Reason.CONFLICT, Reason.SHARED)
OF_PARTS = (Reason.FAILED_PART, Reason.DAMAGED_ARCHIVE)


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
        rules=_describe_rules(card),
        classes=_describe_classes(card, classes, name_classes),
        images=_describe_images(card, seen, gallery.reason_N),
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
class _Bar:
    """One row of a histogram."""

    label: str
    count: int
    share: float
    """Of all, 0..1."""

    length: float
    """Of the longest bar, 0..1."""


def _draw_bars(labels: Iterable[str], counts: Sequence[int]) -> list[_Bar]:
    total, longest = max(sum(counts), 1), max(counts, default=0) or 1
    return [
        _Bar(label, count, count / total, count / longest)
        for label, count in zip(labels, counts, strict=True)
    ]


def _trim(bars: list[_Bar]) -> list[_Bar]:
    """Leave away the empty bars at both ends."""
    places = [place for place, bar in enumerate(bars) if bar.count]
    return bars[places[0] : places[-1] + 1] if places else []


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= GIGA else f"{count / 1e6:,.1f} MB"


# --- rules --------------------------------------------------------------------------------------


def _describe_rules(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say in words what decided the bytes of the dataset."""
    source, images, selection = card["source"], card["images"], card["selection"]
    size = f" ({_bytes(source['size'])})" if source.get("size") else ""
    wanted = " Only the classes of a list were asked for." if card["classes_wanted"] else ""
    return [
        ("Source", f"{source['name']}{size}, read as {source['layout']}.{wanted}"),
        ("Images", f"{RESIZED[images['resize']].format(**images)} JPEG of quality {images['quality']}."),
        ("Classes", COUNTED[selection["count"]].format(**selection)),
        ("Validation", HELD_OUT[selection["holdout"]].format(**selection)),
        ("Duplicates", DUPLICATES[card["duplicates"]["duplicates"]].format(**card["duplicates"])),
        ("Conflicts", CONFLICTS[card["duplicates"]["conflicts"]]),
        *(
            [("Other datasets", f"Pictures that {len(card['against'])} of them hold out were left out.")]
            if card["against"]
            else []
        ),
        ("Shards", f"A shard is closed when its images pass {card['shard_bytes'] / 1e6:,.0f} MB."),
    ]


RESIZED = {
    "squish": "Squished to {size} x {size} pixels; an image that lies within stays as it is.",
    "short-edge": "The shorter side becomes {size} pixels; a smaller image stays as it is.",
}
COUNTED = {
    "usable": "A class stays if it has {min_images:,} usable images or more.",
    "names": "A class stays if the source names {min_images:,} images of it or more, usable or not.",
}
HELD_OUT = {
    "hash": "Where the source states no validation split, {val_per_class:,} images of each class: those "
    "whose keys hash lowest (seed {seed}), so that images added later move few.",
    "first-names": "Where the source states no validation split, {val_per_class:,} images of each "
    "class: the first names in byte order.",
}
DUPLICATES = {
    "near": "Of equal files, and of pictures whose perceptual hashes differ in at most {max_distance} "
    "of 256 bits, one stays: that of the deeper label, then the largest.",
    "exact": "Of equal files one stays. Nearly equal pictures ({max_distance} of 256 bits) stay, but "
    "never on both sides of the split.",
    "keep": "All stay, but equal and nearly equal pictures ({max_distance} of 256 bits) never on both "
    "sides of the split.",
    "ignore": "Nothing was looked for.",
}
CONFLICTS = {
    "drop": "A picture under classes of which none stands above the others goes, in all its copies.",
    "keep-all-labels": "A picture under classes of which none stands above the others stays once, with "
    "all these labels.",
}


# --- classes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A class in a table."""

    id: str
    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class _Table:
    """Classes, the largest first."""

    columns: tuple[str, ...]
    rows: list[_Row]
    num_left_out: int
    """Further rows, too many for a page."""

    @property
    def is_short(self) -> bool:
        return len(self.rows) <= SHORT_TABLE


@dataclass(frozen=True)
class _Balance:
    """Training images of each class, the largest first, on a logarithmic scale."""

    largest: int
    median: int
    smallest: int
    curve: str
    """SVG path in a box of 1000 x 1000, open to the right and below."""

    ticks: list[tuple[str, float]]
    """Label and height, 0..1 from below."""


def _describe_classes(
    card: Mapping[str, Any], classes: ClassTable, name_classes: Callable[[Sequence[str]], Sequence[str]]
) -> dict[str, Any]:
    columns = {name: getattr(classes, f"{name}_counts") for name in card["splits"]}
    kept = zip(classes.ids, classes.names, zip(*columns.values(), strict=True), strict=True)
    dropped, missing = card["classes_dropped"], card["classes_missing"]
    return {
        "balance": _draw_balance(np.array(classes.train_counts)),
        "kept": _make_table(tuple(columns), [_Row(*row) for row in kept]),
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
) -> list[_Row]:
    ids = list(ids)
    return [_Row(*row) for row in zip(ids, name_classes(ids), counts, strict=True)]


def _make_table(columns: tuple[str, ...], rows: list[_Row]) -> _Table:
    ordered = sorted(rows, key=lambda row: (-sum(row.counts), row.id.encode()))
    return _Table(columns, ordered[:MAX_LISTED], max(len(ordered) - MAX_LISTED, 0))


def _draw_balance(counts: NDArray[np.int64]) -> _Balance:
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
    return _Balance(
        int(counts[0]),
        int(np.median(counts)),
        int(counts[-1]),
        "M0,1000" + "".join(steps),
        [(f"{tick:,.0f}", height(tick)) for tick in ticks if tick <= top],
    )


# --- images -------------------------------------------------------------------------------------


def _describe_images(card: Mapping[str, Any], seen: Seen, reason_N: NDArray[np.int8]) -> dict[str, Any]:
    """Describe the originals of all images that could be decoded, in the dataset or not."""
    forms: Counter[str] = Counter()
    pieces = [np.empty(0, np.int32)]
    for _, table in seen.batches(["form", "width", "height"]):
        known = table.filter(table["form"].is_valid())
        pieces.append(np.minimum(known["width"].to_numpy(), known["height"].to_numpy()))
        for each in known["form"].value_counts().to_pylist():
            forms[each["values"]] += each["counts"]
    sides = np.concatenate(pieces)
    edges = [*SIZE_EDGES, np.iinfo(np.int32).max]
    counts = np.histogram(sides, edges)[0].tolist()
    labels = [f"{low:,} to {high - 1:,}" for low, high in pairwise(edges)]
    labels[-1] = f"{SIZE_EDGES[-1]:,} and more"
    size = card["images"]["size"]
    splits = sum(split["images"] for split in card["splits"].values())
    rejected = int(np.count_nonzero(reason_N >= 0))
    return {
        "sides": _trim(_draw_bars(labels, counts)),
        "median": int(np.median(sides)) if len(sides) else 0,
        "small_share": float(np.mean(sides < size)) if len(sides) else 0.0,
        "forms": _draw_bars(*zip(*forms.most_common(), strict=True)) if forms else [],
        "kept": splits,
        "rejected": rejected,
        "of_dropped_classes": card["images_seen"] - splits - rejected,
    }


# --- what was left out --------------------------------------------------------------------------


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
    bars: list[_Bar]
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
    edges = [UNKNOWN, SAME_FILE, *DISTANCE_EDGES, 257]
    counts = np.histogram(distances, edges)[0].tolist()
    labels = ["not known", "the same file", "no bit differs"]
    labels += [f"{low} to {high - 1} bits" for low, high in pairwise(edges[3:])]
    labels[-1] = f"{DISTANCE_EDGES[-1]} bits or more"
    bars = [bar for bar in _draw_bars(labels, counts) if bar.count]
    return _Likeness(reason, len(distances), bars, [(_tell(pair.distance), pair) for pair in pairs])


def _tell(distance: int) -> str:
    words = {SAME_FILE: "the same file", UNKNOWN: "alike", 1: "1 of 256 bits differs"}
    return words.get(distance, f"{distance} of 256 bits differ")
