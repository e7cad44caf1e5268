"""Which classes stay and which images are held out: decided from counts and keys alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from hypernym.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Split(IntEnum):
    """The split of an image; the number is its code in arrays."""

    DROPPED = -1
    TRAIN = 0
    VAL = 1


@dataclass(frozen=True)
class SelectionRule:
    """What a class needs to stay, and what it gives to validation."""

    min_images: int
    """A class with fewer usable images is dropped. (The paper keeps classes with more than 500.)"""

    val_per_class: int
    """Images of each class that are held out. (The paper: 50.)"""

    seed: int


@dataclass(frozen=True)
class Selection:
    """The outcome: `splits` holds a `Split` code for each image, in the order given."""

    kept: tuple[str, ...]
    """Class ids in label order: byte order, as the official lists are."""

    dropped: dict[str, int]
    """Class ids that are too rare, with their usable images."""

    splits: NDArray[np.int8]


def select(class_ids: Sequence[str], keys: Sequence[str], rule: SelectionRule) -> Selection:
    """Choose classes and splits for usable images, given the class id and the key of each.

    Held out are the images whose keys hash lowest within their class: neither the order of the
    images nor images added later move more than a few between the splits.

    Raises:
        SourceError: no class has enough images.
    """
    names, class_of_image, counts = np.unique(
        np.asarray(class_ids, dtype=object), return_inverse=True, return_counts=True
    )
    is_kept = counts >= rule.min_images
    if not is_kept.any():
        largest = f"the largest, {names[counts.argmax()]}, has {counts.max()}" if len(names) else ""
        raise SourceError(
            f"no class has {rule.min_images} usable images ({largest or 'there is no usable image'})"
            f": give more images, or a lower --min-images."
        )
    splits = np.where(is_kept[class_of_image], Split.TRAIN, Split.DROPPED).astype(np.int8)
    hashes = np.fromiter((_hash(key, rule.seed) for key in keys), np.uint64, len(keys))
    order = np.lexsort((hashes, class_of_image))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank_in_class = np.empty(len(keys), np.int64)
    rank_in_class[order] = np.arange(len(keys)) - np.repeat(starts, counts)
    splits[(splits == Split.TRAIN) & (rank_in_class < rule.val_per_class)] = Split.VAL
    dropped = {str(names[i]): int(counts[i]) for i in np.flatnonzero(~is_kept)}
    return Selection(tuple(str(name) for name in names[is_kept]), dropped, splits)


def shuffled(num: int, seed: int, split: Split) -> NDArray[np.int64]:
    """Return the order in which the images of a split are laid into its shards."""
    return np.random.default_rng([seed, split]).permutation(num)


def _hash(key: str, seed: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
