"""Examples of what was left out of a dataset: which images are shown in the report, and how.

The choice is a pure function of what was seen. Strings and pictures are read of these images alone.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from hypernym.data.headers import PILLOW_ERRORS
from hypernym.data.rejections import Reason
from hypernym.preparation.duplicates import Prints
from hypernym.preparation.seen import words_of
from hypernym.preparation.selection import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from hypernym.preparation.seen import Seen
    from hypernym.preparation.selection import Foreign, Selection

THUMBNAIL_SIDE = 96
MAX_EXAMPLES = 8
ROWS_AT_A_TIME = 1 << 16

REASONS = tuple(Reason)

SAME_FILE = -1
"""Distance of two images that are the same file."""

UNKNOWN = -2
"""Distance of two images of which one has no perceptual hash, or is not at hand."""


@dataclass(frozen=True)
class Example:
    """An image that is shown."""

    key: str
    classes: str
    detail: str
    picture: str | None
    """A data URI; None where there is nothing to see."""


@dataclass(frozen=True)
class Pair:
    """An image that went, beside the one because of which it did."""

    gone: Example
    other: Example
    fate: str
    """What became of the other one."""

    distance: int
    """Bits in which their perceptual hashes differ, `SAME_FILE` or `UNKNOWN`."""


class Gallery:
    """The images of a source, with what became of them."""

    def __init__(
        self,
        seen: Seen,
        selection: Selection,
        foreign: Foreign | None,
        read_jpeg: Callable[[int], bytes | None],
        name_classes: Callable[[Sequence[str]], Sequence[str]],
    ) -> None:
        self._seen = seen
        self._of_N = selection.verdicts.of_N
        self._splits_N = selection.splits
        self._foreign = foreign
        self._read_jpeg = read_jpeg
        self._name_classes = name_classes
        self.reason_N = _code_reasons(seen, selection)
        """The place in `REASONS` of why each image was left out; -1 for the others."""

    def rows(self, reason: Reason) -> NDArray[np.int64]:
        """Return the images that were left out for a reason."""
        return np.flatnonzero(self.reason_N == REASONS.index(reason))

    def show(self, reason: Reason, limit: int = MAX_EXAMPLES) -> list[Example]:
        """Return examples of a reason: first those of which there is a picture, then by chance."""
        rows = self.rows(reason)
        found = self._seen.take(rows, ["size", "order_hash"])
        has_picture = found["size"].fill_null(0).to_numpy() > 0
        rows = rows[np.lexsort((found["order_hash"].to_numpy(), ~has_picture))[:limit]]
        return [self._show(row) for row in rows.tolist()]

    def pair_up(self, reason: Reason) -> tuple[NDArray[np.int64], list[Pair]]:
        """Return how far all images of a reason are from those because of which they went; examples.

        Half of the examples are those that are the least alike, for they show whether too much is
        taken for the same; the others are drawn by chance.
        """
        rows = self.rows(reason)
        distances = self._measure_distances(rows)
        others = self._of_N[rows]
        # Of a conflict both sides go: one pair is shown of them.
        pairs = np.stack([np.minimum(rows, others), np.maximum(rows, others)])
        _, first = np.unique(pairs, axis=1, return_index=True)
        by_chance = self._seen.take(rows[first], ["order_hash"])["order_hash"].to_numpy()
        doubtful = first[np.lexsort((by_chance, -distances[first]))][: MAX_EXAMPLES // 2]
        rest = first[np.argsort(by_chance, kind="stable")]
        rest = rest[~np.isin(rest, doubtful)][: MAX_EXAMPLES - len(doubtful)]
        shown = [*doubtful.tolist(), *rest.tolist()]
        return distances, [
            Pair(
                self._show(int(rows[at])),
                self._show(int(others[at])),
                self._tell_fate(int(others[at])),
                int(distances[at]),
            )
            for at in shown
        ]

    def _tell_fate(self, row: int) -> str:
        if row >= len(self._seen):
            return "held out there"
        split = Split(self._splits_N[row])
        return "went too" if split is Split.DROPPED else f"stays, in {split.folder}"

    def _measure_distances(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        distances = [np.empty(0, np.int64)]
        for start in range(0, len(rows), ROWS_AT_A_TIME):
            some = rows[start : start + ROWS_AT_A_TIME]
            others = self._of_N[some]
            is_own = others < len(self._seen)
            found = np.full(len(some), UNKNOWN)
            found[is_own] = _distances(self._prints(some[is_own]), self._prints(others[is_own]))
            if self._foreign:
                places = others[~is_own] - len(self._seen)
                theirs = self._foreign.prints
                theirs = Prints(
                    theirs.digests_N[places], theirs.hashes_NW[places], theirs.has_hash_N[places]
                )
                found[~is_own] = _distances(self._prints(some[~is_own]), theirs)
            distances.append(found)
        return np.concatenate(distances)

    def _prints(self, rows: NDArray[np.int64]) -> Prints:
        table = self._seen.take(rows, ["source_sha256", "fingerprint"])
        digests, hashes = (column.combine_chunks() for column in table.columns)
        has_hash = hashes.is_valid().to_numpy(zero_copy_only=False)
        words = (words_of(column).astype(np.uint64) for column in (digests, hashes))
        return Prints(next(words)[:, 0], next(words), has_hash)

    def _show(self, row: int) -> Example:
        num = len(self._seen)
        if row >= num:
            return Example(self._foreign.names[row - num] if self._foreign else "", "", "", None)
        columns = ["key", "class_ids", "detail", "width", "height"]
        (found,) = self._seen.take(np.array([row]), columns).to_pylist()
        size = f"{found['width']} x {found['height']} pixels" if found["width"] else ""
        detail = found["detail"] or size
        return Example(found["key"], self._name(found["class_ids"]), detail, self._picture(row))

    def _name(self, class_ids: Sequence[str]) -> str:
        names = self._name_classes(class_ids)
        return ", ".join(
            class_id if class_id == name else f"{name} ({class_id})"
            for class_id, name in zip(class_ids, names, strict=True)
        )

    def _picture(self, row: int) -> str | None:
        jpeg = self._read_jpeg(row)
        if not jpeg:
            return None
        stream = io.BytesIO()
        try:
            with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
                image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
                image.convert("RGB").save(stream, "JPEG", quality=80)
        except PILLOW_ERRORS:
            return None
        return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _code_reasons(seen: Seen, selection: Selection) -> NDArray[np.int8]:
    known = pa.array([str(reason) for reason in REASONS])
    pieces = [
        pc.fill_null(pc.index_in(table["reason"], known), -1).to_numpy().astype(np.int8)
        for _, table in seen.batches(["reason"])
    ]
    codes = np.concatenate([np.empty(0, np.int8), *pieces])
    rows = np.flatnonzero(selection.verdicts.of_N >= 0)
    code_of = {reason: code for code, reason in enumerate(REASONS)}
    codes[rows] = [code_of[reason] for reason in selection.verdicts.reason_N[rows]]
    return codes


def _distances(ours: Prints, theirs: Prints) -> NDArray[np.int64]:
    bits = np.bitwise_count(ours.hashes_NW ^ theirs.hashes_NW).sum(1).astype(np.int64)
    known = np.where(ours.has_hash_N & theirs.has_hash_N, bits, UNKNOWN)
    return np.where(ours.digests_N == theirs.digests_N, SAME_FILE, known)
