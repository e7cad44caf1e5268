"""Labels: class ids out of whatever a source writes for them."""

from __future__ import annotations

import csv
from functools import lru_cache
from typing import TYPE_CHECKING

from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError
from hypernym.preparation.sources.part import readable
from hypernym.preparation.sources.places import is_file, read_whole, refused_reads, state_of
from hypernym.preparation.sources.splits import split_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.preparation.sources.part import Place

LABEL_NAMES = (
    "label",
    "labels",
    "fine_label",
    "class",
    "classes",
    "class_id",
    "class_ids",
    "category",
    "categories",
    "category_id",
    "wnid",
    "synset",
    "target",
)
"""Names of columns and fields of labels, the more telling first."""

MAX_DIGITS = 18
"""No class list is longer than such a number, and Python refuses to read very long ones."""

CLASS_TABLE = "classes.csv"
CLASS_LISTS = (CLASS_TABLE, "classnames.txt", "classes.txt")
"""Files beside the images that say which class a number stands for: the table of our own datasets, or
a class a line."""


def class_ids_of(value: object, classes: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the class ids that a label stands for: text, a number, or a list of them.

    Args:
        value: A label. Nothing, empty text and a number below zero say that there is none.
        classes: The class of each number; without it a number is a class id itself.

    Raises:
        RejectionError: the label stands for no class.
    """
    match value:
        case None:
            return ()
        case list() | tuple():
            return tuple(dict.fromkeys(each for item in value for each in class_ids_of(item, classes)))
        case str():
            text = readable(value.strip())
            if classes is not None and text.removeprefix("-").isdecimal():
                return class_ids_of(int(text[:MAX_DIGITS]), classes)
            return (text,) if text else ()
        case int() if not isinstance(value, bool):
            return _class_of(value, classes)
    raise RejectionError(Reason.NO_LABEL, f"{value!r:.60} is no class")


def _class_of(number: int, classes: Sequence[str] | None) -> tuple[str, ...]:
    if number < 0:
        return ()
    if classes is None:
        return (str(number),)
    if number >= len(classes):
        raise RejectionError(Reason.NO_LABEL, f"{number} is not among {len(classes)} classes")
    return (classes[number],)


def find_class_list(folder: Place) -> Place | None:
    """Return the class list that lies in a folder, or above it if the folder is a split."""
    folders = [folder, folder.parent] if split_of(folder.name) else [folder]
    places = (place / name for place in folders for name in CLASS_LISTS)
    with refused_reads(folder):
        return next((place for place in places if is_file(place)), None)


def load_class_list(path: Place) -> tuple[str, ...]:
    """Read the class id of each number.

    Raises:
        SourceError: the file cannot be read, or is a table without a column "id".
    """
    return _load_class_list(path, state_of(path))


@lru_cache(maxsize=4)  # the parts of a source share one list
def _load_class_list(path: Place, _: str) -> tuple[str, ...]:
    with refused_reads(path):
        data = read_whole(path)
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as cause:
        raise SourceError(f"{path} is not UTF-8 text ({cause}): save it as UTF-8.") from cause
    if path.name != CLASS_TABLE:
        return tuple(line.strip() for line in lines)
    try:
        rows = list(csv.DictReader(lines))
    except csv.Error as cause:
        raise SourceError(f"{path} cannot be read as CSV ({cause}).") from cause
    if not all(row.get("id") and row.get("label") in {None, str(n)} for n, row in enumerate(rows)):
        raise SourceError(f"{path} needs a column id, and a column label that counts from 0.")
    return tuple(row["id"] for row in rows)
