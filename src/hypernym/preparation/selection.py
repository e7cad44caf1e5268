"""Which classes stay, which images go as duplicates, which are held out: decided from the rows alone.

No image is opened here. The order is: classes that are too rare by any count go, so that their labels
decide nothing; duplicates are resolved; the rest is counted, and split.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

import numpy as np

from hypernym.errors import SourceError
from hypernym.preparation.duplicates import Duplicates
from hypernym.preparation.likeness import find_alike, keep_sides_apart, resolve_alike
from hypernym.preparation.names import find_files, find_image_names, order_by_name
from hypernym.preparation.seen import LabelsOfImages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from hypernym.preparation.duplicates import DuplicateRule, Prints, Verdicts
    from hypernym.preparation.seen import Seen


class Split(IntEnum):
    """The split of an image; the number is its code in arrays."""

    DROPPED = -1
    TRAIN = 0
    VAL = 1
    TEST = 2

    @property
    def folder(self) -> str:
        """Its name in a dataset."""
        return self.name.lower()


SPLITS = (Split.TRAIN, Split.VAL, Split.TEST)
UNSTATED = -1


class Count(StrEnum):
    """Which images of a class count towards `min_images`."""

    USABLE = "usable"
    """Those that decode."""

    NAMES = "names"
    """All that are named as images are, before any is opened, as the official scripts count."""


class Holdout(StrEnum):
    """Which images of a class are held out for validation."""

    HASH = "hash"
    """Those whose keys hash lowest: images added later move few."""

    FIRST_NAMES = "first-names"
    """The first names in byte order, as the official scripts do: of all files of the class. Those among
    them that cannot be used leave the validation split as much smaller."""


@dataclass(frozen=True)
class SelectionRule:
    """What a class needs to stay, and what it gives to validation."""

    min_images: int
    """A class with fewer images is dropped. (The paper keeps classes with more than 500.)"""

    val_per_class: int
    """Images of each class that are held out, where the source states no validation split. (The paper:
    50.)"""

    seed: int
    count: Count = Count.USABLE
    holdout: Holdout = Holdout.HASH


@dataclass(frozen=True)
class Selection:
    """The outcome, by row of what was seen."""

    kept: tuple[str, ...]
    """Class ids in label order: byte order, as the official lists are."""

    dropped: dict[str, int]
    """Class ids that are too rare, with the images that counted."""

    splits: NDArray[np.int8]
    """A `Split` code."""

    labels: LabelsOfImages
    """The labels that remain of each image, of the kept classes."""

    verdicts: Verdicts
    """Images that went because of others."""


@dataclass(frozen=True)
class Foreign:
    """The held-out pictures of other datasets, which must not be trained on."""

    prints: Prints
    names: tuple[str, ...]
    """Dataset and key of each, for people."""


def select(
    seen: Seen,
    rule: SelectionRule,
    duplicates: DuplicateRule,
    *,
    ancestors_of: Callable[[str], Sequence[str]],
    foreign: Foreign | None = None,
) -> Selection:
    """Choose classes and splits.

    Args:
        seen: A row for each image of the source.
        rule: What is kept and held out.
        duplicates: What is done about pictures that occur more than once.
        ancestors_of: The class ids above a class id, in any order.
        foreign: Pictures that must not get into any split.

    Raises:
        SourceError: no class has enough images, or none of these is left.
    """
    stated = seen.labels()
    levels = _stated_levels(seen)
    is_usable = seen.is_null("reason")
    is_counted = levels != Split.TEST
    counts = _count(
        stated, is_counted & (is_usable if rule.count is Count.USABLE else find_image_names(seen))
    )
    labels = _keep_labels(stated, counts >= rule.min_images)
    stays = is_usable & (np.diff(labels.starts) > 0)
    likeness = find_alike(seen, stays, duplicates, foreign.prints if foreign else None)
    verdicts = resolve_alike(seen, likeness, levels, labels, ancestors_of, duplicates)
    labels = _relabel(labels, verdicts.relabelled)
    stays &= verdicts.of_N < 0
    if rule.count is Count.USABLE:
        counts = np.where(counts < rule.min_images, counts, _count(labels, stays & is_counted))
    is_kept = counts >= rule.min_images
    if not is_kept.any():
        raise SourceError(_say_that_none_is_large_enough(stated.class_ids, counts, rule))
    labels = _keep_classes(labels, is_kept)
    stays &= np.diff(labels.starts) > 0
    if not stays.any():
        raise SourceError(
            f"{len(labels.class_ids)} classes have {rule.min_images} images by name, but not one of "
            f"these is left: give other images, or --count usable to hear what each class has."
        )
    splits = _split(seen, labels, stays, levels, rule)
    if duplicates.duplicates is not Duplicates.IGNORE:
        goes = keep_sides_apart(likeness, splits >= 0, splits == Split.TRAIN, verdicts)
        splits[goes] = Split.DROPPED
    dropped = {stated.class_ids[code]: int(counts[code]) for code in np.flatnonzero(~is_kept)}
    return Selection(labels.class_ids, dropped, splits, labels, verdicts)


def _stated_levels(seen: Seen) -> NDArray[np.int8]:
    """Return the split that the source states for each image; `UNSTATED` where it says nothing."""
    levels = np.full(len(seen), UNSTATED, np.int8)
    for start, table in seen.batches(["stated_split"]):
        words = table["stated_split"].to_numpy()
        for split in SPLITS:
            levels[start : start + len(words)][words == split.folder] = split
    return levels


def _count(labels: LabelsOfImages, counts_N: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the images of each class among those that count."""
    counted = labels.codes[counts_N[labels.row_of_code]]
    return np.bincount(counted, minlength=len(labels.class_ids))


def _relabel(labels: LabelsOfImages, relabelled: dict[int, tuple[int, ...]]) -> LabelsOfImages:
    if not relabelled:
        return labels
    rows = np.array(sorted(relabelled))
    others = ~np.isin(labels.row_of_code, rows)
    row_of_code = np.concatenate(
        [labels.row_of_code[others], np.repeat(rows, [len(relabelled[row]) for row in rows.tolist()])]
    )
    new = np.array([code for row in rows.tolist() for code in relabelled[row]], np.int32)
    return _gather(labels.class_ids, row_of_code, np.concatenate([labels.codes[others], new]), labels)


def _keep_labels(labels: LabelsOfImages, is_kept_C: NDArray[np.bool_]) -> LabelsOfImages:
    """Take away the labels of the classes that are not kept."""
    stays = is_kept_C[labels.codes]
    return _gather(labels.class_ids, labels.row_of_code[stays], labels.codes[stays], labels)


def _keep_classes(labels: LabelsOfImages, is_kept_C: NDArray[np.bool_]) -> LabelsOfImages:
    """Take away the classes that are not kept, and number the others anew."""
    kept = _keep_labels(labels, is_kept_C)
    new_code = np.cumsum(is_kept_C, dtype=np.int32) - np.int32(1)
    ids = tuple(labels.class_ids[code] for code in np.flatnonzero(is_kept_C))
    return LabelsOfImages(ids, new_code[kept.codes], kept.starts)


def _gather(
    class_ids: tuple[str, ...],
    row_of_code: NDArray[np.int64],
    codes: NDArray[np.int32],
    like: LabelsOfImages,
) -> LabelsOfImages:
    """Return labels given as pairs (image, code), of as many images as `like` has."""
    order = np.argsort(row_of_code, kind="stable")
    counts = np.bincount(row_of_code, minlength=len(like.starts) - 1)
    return LabelsOfImages(class_ids, codes[order], np.concatenate([[0], np.cumsum(counts)]))


def _split(
    seen: Seen,
    labels: LabelsOfImages,
    stays: NDArray[np.bool_],
    levels: NDArray[np.int8],
    rule: SelectionRule,
) -> NDArray[np.int8]:
    """Give each image that stays its split: as the source states, or held out from each class.

    An image with several labels is held out by the first of them.
    """
    splits = np.where(stays, np.maximum(levels, Split.TRAIN), Split.DROPPED).astype(np.int8)
    if (splits == Split.VAL).any():  # the source has its own
        return splits
    match rule.holdout:
        case Holdout.HASH:
            rows = np.flatnonzero(splits == Split.TRAIN)
            classes = labels.codes[labels.starts[rows]]
            order = np.lexsort((rows, seen.column("holdout_hash")[rows], classes))
        case Holdout.FIRST_NAMES:
            has_label = np.diff(labels.starts) > 0
            rows = np.flatnonzero(has_label & (levels <= Split.TRAIN) & find_files(seen))
            classes = labels.codes[labels.starts[rows]]
            order = order_by_name(seen, rows, classes)
    counts = np.bincount(classes, minlength=len(labels.class_ids))
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    rank_in_class = np.arange(len(rows)) - starts
    first = rows[order[rank_in_class < rule.val_per_class]]
    splits[first[splits[first] == Split.TRAIN]] = Split.VAL
    return splits


def _say_that_none_is_large_enough(
    class_ids: Sequence[str], counts: NDArray[np.int64], rule: SelectionRule
) -> str:
    largest = (
        f"the largest, {class_ids[int(counts.argmax())]}, has {counts.max()}"
        if counts.any()
        else "there is no usable image"
    )
    return (
        f"no class has {rule.min_images} usable images ({largest}): give more images, or a lower "
        f"--min-images."
    )
