"""The same picture twice: found by digest and by perceptual hash, resolved with the help of the tree.

Found: bytes that are equal, and pictures whose perceptual hashes differ in few bits. Hashes are not
compared each with each: in each of a number of tables the hashes are sorted by a few of their bits,
and only neighbours that agree in all of these are compared (locality-sensitive hashing by sampling
bits: Gionis, Indyk and Motwani, 1999). So a near pair may be missed; how many tables are made follows
from how rarely it should be.

Resolved: of a picture under a class and under its ancestors, the deepest label stays. Under classes
of which none stands above all others, the picture says nothing certain and goes, or keeps all labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hypernym.data.fingerprint import FINGERPRINT_BYTES
from hypernym.data.rejections import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from hypernym.preparation.seen import LabelsOfImages

HASH_BITS = 8 * FINGERPRINT_BYTES
RECALL = 0.95
"""Pairs that differ in just as many bits as may differ are found as often as this; nearer ones more
often."""

MIN_TABLES = 24
MIN_SAMPLED_BITS = 8
MAX_SAMPLED_BITS = 24
NEIGHBOURS = 16
"""Hashes that agree in the sampled bits are each compared with so many of those that follow."""


class Duplicates(StrEnum):
    """What is done about pictures that occur more than once."""

    NEAR = "near"
    """One stays, of equal and of nearly equal pictures."""

    EXACT = "exact"
    """One stays, of equal files; nearly equal pictures stay, but never on both sides of the split."""

    KEEP = "keep"
    """All stay, but equal and nearly equal pictures never on both sides of the split."""

    IGNORE = "ignore"
    """Nothing is looked for, as in the official preparation."""


class Conflicts(StrEnum):
    """What is done about a picture under classes of which none is above all others."""

    DROP = "drop"
    """It goes, in all its copies."""

    KEEP_ALL_LABELS = "keep-all-labels"
    """One copy stays, with all these labels."""


@dataclass(frozen=True)
class DuplicateRule:
    """The policy about duplicates."""

    duplicates: Duplicates
    conflicts: Conflicts
    max_distance: int
    """Nearly equal: so many of the 256 bits of the perceptual hash may differ, 0 to 48. (At
    64 bits, 14 million pictures would take thousands of tables.)"""


class Prints(NamedTuple):
    """What equal and nearly equal pictures are known by."""

    digests_N: NDArray[np.uint64]
    """The first 64 bits of the SHA-256 of the bytes: enough, at 14 million files, for one accident in
    200,000 datasets."""

    hashes_NW: NDArray[np.uint64]
    """The perceptual hash, in words of 64 bits."""

    has_hash_N: NDArray[np.bool_]


def group_equal(prints: Prints) -> NDArray[np.int64]:
    """Return for each image the first one whose file is the same: itself, if there is none before."""
    return _connect(len(prints.digests_N), [_equal_pairs(prints.digests_N)])


def group_similar(prints: Prints, max_distance: int) -> NDArray[np.int64]:
    """Return for each image the first one that looks the same, also by way of a third one.

    Pairs that differ in `max_distance` bits are found with a probability of `RECALL` at least. At the
    default of 24 bits and 14 million pictures that of pairs at 16 bits is 0.9995, and those at 8 bits
    are missed once in a thousand million times; among fewer pictures all are surer.
    """
    group = group_equal(prints)
    rows = np.flatnonzero(prints.has_hash_N)
    if len(rows) <= 1:
        return group
    hashes = prints.hashes_NW if len(rows) == len(prints.has_hash_N) else prints.hashes_NW[rows]
    num_bits, num_tables = plan_tables(len(rows), max_distance)
    random = np.random.default_rng(0)  # the same tables every time
    for _ in range(num_tables):
        for pairs in _similar_pairs(hashes, max_distance, num_bits, random):
            group = _join(group, rows[pairs])
    return group


def plan_tables(num: int, max_distance: int) -> tuple[int, int]:
    """Return how many bits are sampled in each table, and how many tables there are.

    With as many sampled bits as the number of hashes has, about one other agrees by chance. Two hashes
    agree in them where all are drawn from among the bits that do not differ.
    """
    num_bits = min(max(num.bit_length(), MIN_SAMPLED_BITS), MAX_SAMPLED_BITS)
    chance = math.comb(HASH_BITS - max_distance, num_bits) / math.comb(HASH_BITS, num_bits)
    if chance == 1:
        return num_bits, MIN_TABLES
    return num_bits, max(MIN_TABLES, math.ceil(math.log(1 - RECALL) / math.log1p(-chance)))


def _equal_pairs(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    order = np.argsort(digests, kind="stable")
    equal = digests[order][1:] == digests[order][:-1]
    return np.stack([order[:-1][equal], order[1:][equal]])


def _similar_pairs(
    hashes: NDArray[np.uint64], max_distance: int, num_bits: int, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Give pairs (2, P) of similar hashes that agree in so many bits, drawn at random."""
    num_words = hashes.shape[1]
    sampled = random.choice(64 * num_words, num_bits, replace=False)
    masks = np.zeros(num_words, np.uint64)
    np.bitwise_or.at(masks, sampled // 64, np.uint64(1) << (sampled % 64).astype(np.uint64))
    # Odd multipliers spread the sampled bits over one word; a rare clash costs one comparison.
    multipliers = random.integers(0, 1 << 64, (num_words,), np.uint64) | np.uint64(1)
    sample = np.zeros(len(hashes), np.uint64)
    for word in range(num_words):
        sample ^= (hashes[:, word] & masks[word]) * multipliers[word]
    order = np.argsort(sample, kind="stable")
    sample = sample[order]
    for step in range(1, min(NEIGHBOURS, len(hashes) - 1) + 1):
        places = np.flatnonzero(sample[step:] == sample[:-step])
        if not len(places):
            return
        first, second = order[places], order[places + step]
        distance = np.bitwise_count(hashes[first] ^ hashes[second]).sum(1)
        near = distance <= max_distance
        yield np.stack([first[near], second[near]])


def _join(group_N: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put together the groups that pairs connect."""
    groups = group_N[pairs]
    apart = groups[0] != groups[1]
    if not apart.any():
        return group_N
    return _connect(len(group_N), [groups[:, apart]])[group_N]


def _connect(num: int, pairs: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return for each of `num` nodes the smallest one that it is connected with by pairs."""
    first, second = np.concatenate([np.empty((2, 0), np.int64), *pairs], axis=1)
    smallest = np.arange(num)
    while True:
        least = np.minimum(smallest[first], smallest[second])
        changed = (smallest[first] != least) | (smallest[second] != least)
        if not changed.any():
            return smallest
        np.minimum.at(smallest, smallest[first], least)
        np.minimum.at(smallest, smallest[second], least)
        while (shorter := smallest[smallest] != smallest).any():
            smallest = np.where(shorter, smallest[smallest], smallest)


@dataclass
class Verdicts:
    """What becomes of each image because of others like it."""

    reason_N: NDArray[np.object_]
    """A `Reason`, or None for an image that stays."""

    of_N: NDArray[np.int64]
    """The image because of which it goes; -1 for one that stays."""

    relabelled: dict[int, tuple[int, ...]]
    """Images that stay with other labels than their own."""


def resolve(
    group_N: NDArray[np.int64],
    level_N: NDArray[np.int8],
    area_N: NDArray[np.int64],
    labels: LabelsOfImages,
    ancestors_of: Callable[[int], Sequence[int]],
    conflicts: Conflicts,
) -> Verdicts:
    """Decide for each group of like images which of them stay.

    Args:
        group_N: The first image of the group of each image; -1 for an image that does not count.
        level_N: Of images of a group only those of the highest level stay. Level 0 is of images that
            we may split as we like; those of a higher level (a validation or test split that the
            source states) all stay.
        area_N: Of images that are equally good, the largest stays.
        labels: The labels of each image.
        ancestors_of: The labels above a label.
        conflicts: What to do where the tree does not decide.
    """
    num = len(group_N)
    verdicts = Verdicts(np.full(num, None, object), np.full(num, -1, np.int64), {})
    for members in _groups(group_N):
        best = members[level_N[members] == level_N[members].max()]
        if level_N[best[0]] > 0:
            _reject(verdicts, members[~np.isin(members, best)], Reason.DUPLICATE, best[0])
            continue
        known = {row: _with_ancestors(labels[row].tolist(), ancestors_of) for row in best.tolist()}
        everything = frozenset().union(*known.values())
        complete = [row for row in known if known[row] == everything]
        if complete:
            stays = max(complete, key=lambda row: (area_N[row], -row))
        elif conflicts is Conflicts.KEEP_ALL_LABELS:
            stays = max(known, key=lambda row: (area_N[row], -row))
            implied = {above for label in everything for above in ancestors_of(label)}
            verdicts.relabelled[stays] = tuple(sorted(everything - implied))
        else:
            _reject(verdicts, best, Reason.CONFLICT, best[0])
            verdicts.of_N[best[0]] = best[1]
            continue
        _reject(verdicts, members[members != stays], Reason.DUPLICATE, stays)
    return verdicts


def _groups(group_N: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Give the members of each group of two or more, in order."""
    counts = np.bincount(group_N[group_N >= 0], minlength=len(group_N))
    rows = np.flatnonzero((group_N >= 0) & (counts[group_N] > 1))
    order = rows[np.argsort(group_N[rows], kind="stable")]
    cuts = np.flatnonzero(np.diff(group_N[order])) + 1
    yield from np.split(order, cuts) if len(order) else []


def _reject(verdicts: Verdicts, rows: NDArray[np.int64], reason: Reason, of: int) -> None:
    verdicts.reason_N[rows] = reason
    verdicts.of_N[rows] = of


def _with_ancestors(
    codes: Sequence[int], ancestors_of: Callable[[int], Sequence[int]]
) -> frozenset[int]:
    return frozenset(codes).union(*(ancestors_of(code) for code in codes))


def straddling(group_N: NDArray[np.int64], is_train_N: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return, for each training image that looks like a held-out one, the first such; else -1.

    Args:
        group_N: The first image of the group of each image; -1 for an image that is in no split.
        is_train_N: True for training images, False for others.
    """
    num = len(group_N)
    held_out = np.flatnonzero((group_N >= 0) & ~is_train_N)
    first = np.full(num, -1, np.int64)
    first[group_N[held_out[::-1]]] = held_out[::-1]  # the last that is written is the first in order
    found: NDArray[np.int64] = np.where(is_train_N & (group_N >= 0), first[group_N], -1)
    return found
