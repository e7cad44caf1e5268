"""Histograms of a report: counted as arrays, drawn by the page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernym.preparation.examples import SAME_FILE, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from hypernym.preparation.seen import Seen

SIZE_EDGES = (0, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
DISTANCE_EDGES = (0, 1, 9, 17, 25)


@dataclass(frozen=True)
class Bar:
    """One row of a histogram."""

    label: str
    count: int
    share: float
    """Of all, 0..1."""

    length: float
    """Of the longest bar, 0..1."""


def draw_bars(labels: Iterable[str], counts: Sequence[int]) -> list[Bar]:
    """Return a bar for each label."""
    total, longest = max(sum(counts), 1), max(counts, default=0) or 1
    return [
        Bar(label, count, count / total, count / longest)
        for label, count in zip(labels, counts, strict=True)
    ]


def _trim(bars: list[Bar]) -> list[Bar]:
    """Leave away the empty bars at both ends."""
    places = [place for place, bar in enumerate(bars) if bar.count]
    return bars[places[0] : places[-1] + 1] if places else []


def describe_images(card: Mapping[str, Any], seen: Seen, reason_N: NDArray[np.int8]) -> dict[str, Any]:
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
        "sides": _trim(draw_bars(labels, counts)),
        "median": int(np.median(sides)) if len(sides) else 0,
        "small_share": float(np.mean(sides < size)) if len(sides) else 0.0,
        "forms": draw_bars(*zip(*forms.most_common(), strict=True)) if forms else [],
        "kept": splits,
        "rejected": rejected,
        "of_dropped_classes": card["images_seen"] - splits - rejected,
    }


def draw_distances(distances: NDArray[np.int64]) -> list[Bar]:
    """Draw how far pictures are from those like them, in bits of 256; empty bars are left away."""
    edges = [UNKNOWN, SAME_FILE, *DISTANCE_EDGES, 257]
    counts = np.histogram(distances, edges)[0].tolist()
    labels = ["not known", "the same file", "no bit differs"]
    labels += [f"{low} to {high - 1} bits" for low, high in pairwise(edges[3:])]
    labels[-1] = f"{DISTANCE_EDGES[-1]} bits or more"
    return [bar for bar in draw_bars(labels, counts) if bar.count]
