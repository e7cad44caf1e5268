"""What names tell before any image is opened: the official scripts count by them, and split by them.

Of each class folder the scripts count `*.JPEG`, and hold out what `ls` shows first, whether or not it
can be decoded. Names are taken in byte order, as `ls` gives them in the C locale.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hypernym.data.rejections import Reason
from hypernym.preparation.sources.part import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hypernym.preparation.seen import Seen

OF_PARTS = (Reason.FAILED_PART, Reason.DAMAGED_ARCHIVE)
"""The reasons of rows that stand for all that is lost of a part, and are no file."""

# ImageNet's archives hold no other ending than .JPEG. Elsewhere images are called .jpg or .png: each
# ending that is known counts, in small letters or large.
AS_AN_IMAGE = rf"(?i)(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))})$"
# A row of a table has a key and no ending, and counts. So would a file called README.
WITHOUT_ENDING = r"(?:^|/)[^./]*$"


def find_files(seen: Seen) -> NDArray[np.bool_]:
    """Tell which rows are of one file, readable or not, and not of a part that is lost."""
    return ~_has_reason(seen, OF_PARTS)


def find_image_names(seen: Seen) -> NDArray[np.bool_]:
    """Tell which rows are named as images are."""
    as_an_image, without_ending = (
        _concatenate(
            [
                pc.match_substring_regex(table["key"], pattern).to_numpy()
                for _, table in seen.batches(["key"])
            ]
        )
        for pattern in (AS_AN_IMAGE, WITHOUT_ENDING)
    )
    is_no_image = _has_reason(seen, (*OF_PARTS, Reason.NOT_AN_IMAGE))
    return as_an_image | (without_ending & ~is_no_image)


def order_by_name(seen: Seen, rows: NDArray[np.int64], classes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the order of rows by class, and within a class by key in byte order."""
    table = pa.table({"class": classes, "key": seen.take(rows, ["key"])["key"]})
    order: NDArray[np.int64] = pc.sort_indices(
        table, [("class", "ascending"), ("key", "ascending")]
    ).to_numpy()
    return order


def _has_reason(seen: Seen, reasons: tuple[Reason, ...]) -> NDArray[np.bool_]:
    wanted = pa.array([str(reason) for reason in reasons])
    return _concatenate(
        [pc.is_in(table["reason"], value_set=wanted).to_numpy() for _, table in seen.batches(["reason"])]
    )


def _concatenate(pieces: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    return np.concatenate([np.empty(0, np.bool_), *pieces])
