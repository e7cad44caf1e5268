"""Which images of a source are alike, and which of them stay: duplicates, over what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from hypernym.data.rejections import Reason
from hypernym.preparation.duplicates import (
    Duplicates,
    Prints,
    Verdicts,
    group_equal,
    group_similar,
    resolve,
    straddling,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from hypernym.preparation.duplicates import DuplicateRule
    from hypernym.preparation.seen import LabelsOfImages, Seen

FOREIGN = np.iinfo(np.int8).max
"""The level of a picture of another dataset, above every split of this one."""


@dataclass(frozen=True)
class Likeness:
    """Which images are alike. The rows of another dataset stand behind those that were seen."""

    equal_N: NDArray[np.int64]
    """The first image with the same bytes; -1 for images that do not count."""

    similar_N: NDArray[np.int64]
    """The first image that looks the same; -1 for images that do not count."""


def find_alike(
    seen: Seen, counts_N: NDArray[np.bool_], rule: DuplicateRule, foreign: Prints | None
) -> Likeness:
    """Compare the images that count with each other, and with pictures of another dataset."""
    num_foreign = len(foreign.digests_N) if foreign else 0
    nothing = np.full(len(seen) + num_foreign, -1)
    if rule.duplicates is Duplicates.IGNORE and not foreign:
        return Likeness(nothing, nothing)
    rows = np.flatnonzero(counts_N)
    prints = Prints(
        seen.words("source_sha256", rows=rows, first=1)[:, 0],
        seen.words("fingerprint", rows=rows),
        ~seen.is_null("fingerprint")[rows],
    )
    if foreign:
        rows = np.concatenate([rows, len(seen) + np.arange(num_foreign)])
        prints = Prints(*(np.concatenate(both) for both in zip(prints, foreign, strict=True)))

    def spread(group: NDArray[np.int64]) -> NDArray[np.int64]:
        whole = nothing.copy()
        whole[rows] = rows[group]
        return whole

    return Likeness(spread(group_equal(prints)), spread(group_similar(prints, rule.max_distance)))


def resolve_alike(
    seen: Seen,
    likeness: Likeness,
    levels: NDArray[np.int8],
    labels: LabelsOfImages,
    ancestors_of: Callable[[str], Sequence[str]],
    rule: DuplicateRule,
) -> Verdicts:
    """Decide about images of other datasets first, and then about what is twice in this one."""
    num, num_foreign = len(seen), len(likeness.equal_N) - len(seen)
    code_of = {class_id: code for code, class_id in enumerate(labels.class_ids)}

    @cache
    def codes_above(code: int) -> tuple[int, ...]:
        above = ancestors_of(labels.class_ids[code])
        return tuple(code_of[class_id] for class_id in above if class_id in code_of)

    similar = likeness.similar_N
    area = seen.column("width").astype(np.int64) * seen.column("height")
    if num_foreign:
        is_touched = np.zeros(len(similar), np.bool_)
        is_touched[similar[num:]] = True
        group = np.where((similar >= 0) & is_touched[similar], similar, -1)
        levels_too = np.concatenate([levels, np.full(num_foreign, FOREIGN, np.int8)])
        area_too = np.concatenate([area, np.zeros(num_foreign, np.int64)])
        shared = resolve(group, levels_too, area_too, labels, codes_above, rule.conflicts)
    match rule.duplicates:
        case Duplicates.NEAR:
            group = similar[:num].copy()
        case Duplicates.EXACT:
            group = likeness.equal_N[:num].copy()
        case Duplicates.KEEP | Duplicates.IGNORE:
            group = np.full(num, -1)
    if num_foreign:
        is_shared = shared.of_N[:num] >= 0
        group[is_shared] = -1
    # A source that states a training split may still be split by us: it is of the lowest level.
    verdicts = resolve(group, np.maximum(levels, 0), area, labels, codes_above, rule.conflicts)
    if num_foreign:
        verdicts.of_N[is_shared] = shared.of_N[:num][is_shared]
        verdicts.reason_N[is_shared] = Reason.SHARED
    return verdicts


def keep_sides_apart(
    likeness: Likeness,
    stays_N: NDArray[np.bool_],
    is_train_N: NDArray[np.bool_],
    verdicts: Verdicts,
) -> NDArray[np.bool_]:
    """Tell which training images go because they look like held-out ones, and note it."""
    group = np.where(stays_N, likeness.similar_N[: len(stays_N)], -1)
    of = straddling(group, is_train_N)
    goes = of >= 0
    verdicts.of_N[goes] = of[goes]
    verdicts.reason_N[goes] = Reason.DUPLICATE
    return goes
