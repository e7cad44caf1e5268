"""Which images play which part: learned from, chosen on, tested on.

    test split there, val split there     learn: train      choose: val              test: test
    test split there, no val              learn, choose: parts of train              test: test
    no test split                         learn, choose: parts of train              test: val

What was chosen is then learned anew from all images but those of the test. These are looked at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hypernym.data.rows import ChosenRows, SplitRows
from hypernym.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hypernym.data.dataset import Dataset

MOST_HELD_OUT = 20_000
"""Images: a share of a large train split need not be larger to choose by."""


@dataclass(frozen=True)
class Part:
    """Some images of one split."""

    split: str
    rows_N: NDArray[np.int64]


@dataclass(frozen=True)
class Roles:
    """The images of a dataset, by the part that they play."""

    dataset: Dataset
    learn: Part
    choose: Part
    test: Part

    @property
    def everything(self) -> tuple[Part, ...]:
        """All images but those of the test."""
        return (self.learn, self.choose)

    def open(self, *parts: Part) -> ChosenRows:
        """Return the images of some parts, one after another."""
        return ChosenRows(self.dataset, [(part.split, part.rows_N) for part in parts])

    def name(self, parts: Sequence[Part], rows: Sequence[int]) -> list[str]:
        """Return the keys of rows of `open(*parts)`."""
        splits = np.concatenate([[part.split] * len(part.rows_N) for part in parts])
        places = np.concatenate([part.rows_N for part in parts])
        return [self.dataset.keys(splits[row], [int(places[row])])[0] for row in rows]


def assign_roles(dataset: Dataset, hold_out: float, seed: int) -> Roles:
    """Give each image its part.

    Args:
        dataset: The dataset; one without a test split is tested on val.
        hold_out: The share of train to choose on, where that is not val; in 0..1.
        seed: Decides which images these are: of each class (of the first label) the same share.

    Raises:
        DatasetError: there is nothing to test on, or too little to hold any image out.
    """
    splits = {split: about["images"] for split, about in dataset.card["splits"].items()}
    has_test, has_val = bool(splits.get("test")), bool(splits.get("val"))
    if not (has_test or has_val):
        raise DatasetError(
            f"{dataset.path} has neither test nor val images to be measured on: prepare it with "
            f"--val-per-class 1 or more, or from a source that states a test split."
        )
    test = _whole(dataset, "test" if has_test else "val")
    if has_test and has_val:
        return Roles(dataset, _whole(dataset, "train"), _whole(dataset, "val"), test)
    labels_N = SplitRows(dataset, "train").labels_N
    held_out_N = _draw(labels_N, min(hold_out, MOST_HELD_OUT / len(labels_N)), seed)
    if not held_out_N.any():
        raise DatasetError(
            f"{dataset.path} has so few images in its train split ({len(labels_N)}) that none can be "
            f"held out to choose on: add images, or raise --hold-out (now {hold_out:g})."
        )
    return Roles(
        dataset,
        Part("train", np.flatnonzero(~held_out_N)),
        Part("train", np.flatnonzero(held_out_N)),
        test,
    )


def _whole(dataset: Dataset, split: str) -> Part:
    return Part(split, np.arange(len(SplitRows(dataset, split))))


def _draw(labels_N: NDArray[np.int32], share: float, seed: int) -> NDArray[np.bool_]:
    """Choose a share of each class by chance; a class keeps an image to be learned from."""
    chance_N = np.random.default_rng(seed).random(len(labels_N))
    order_N = np.lexsort((chance_N, labels_N))
    sorted_N = labels_N[order_N]
    starts_C = np.flatnonzero(np.diff(sorted_N, prepend=-1))
    sizes_C = np.diff(starts_C, append=len(labels_N))
    place_N = np.arange(len(labels_N)) - np.repeat(starts_C, sizes_C)
    taken_C = np.minimum(np.rint(share * sizes_C).astype(np.int64), sizes_C - 1)
    held_out_N = np.zeros(len(labels_N), bool)
    held_out_N[order_N] = place_N < np.repeat(taken_C, sizes_C)
    return held_out_N
