"""The class table: a class id and a name for each label index."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hypernym.errors import DatasetError
from hypernym.files import digest_text, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COLUMNS = ["label", "id", "name", "train", "val"]


@dataclass(frozen=True)
class ClassTable:
    """Classes in the order of their label indices.

    The id is the key (811 of the names of ImageNet-21K-P are shared by several classes); the name is
    for display.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    train_counts: tuple[int, ...]
    val_counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def label_of(self) -> Mapping[str, int]:
        """The label index of each class id."""
        return {class_id: label for label, class_id in enumerate(self.ids)}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the ids in order: equal exactly when label indices mean the same classes."""
        return digest_classes(self.ids)


def digest_classes(ids: Sequence[str]) -> str:
    """Return the digest of a class table with these ids in label order."""
    return digest_text("".join(f"{class_id}\n" for class_id in ids))


def save_classes(path: Path, classes: ClassTable) -> None:
    """Write the table as CSV, a row a class; the row number is the label index."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    columns = (classes.ids, classes.names, classes.train_counts, classes.val_counts)
    writer.writerows((label, *row) for label, row in enumerate(zip(*columns, strict=True)))
    write_text(path, text.getvalue())


def load_classes(path: Path) -> ClassTable:
    """Read a table written by `save_classes`.

    Raises:
        DatasetError: the file is missing, or its rows are not a class table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise DatasetError(f"{path} cannot be read as CSV ({cause}).") from cause
    if not rows or rows[0] != COLUMNS:
        raise DatasetError(f"{path} does not open with the columns {','.join(COLUMNS)}.")
    for number, row in enumerate(rows[1:]):
        if (
            len(row) != len(COLUMNS)
            or row[0] != str(number)
            or not (row[3].isdigit() and row[4].isdigit())
        ):
            raise DatasetError(f"{path}, line {number + 2}: {','.join(row)!r} is not a class row.")
    ids = tuple(row[1] for row in rows[1:])
    if len(set(ids)) != len(ids):
        raise DatasetError(f"{path} names a class id twice.")
    return ClassTable(
        ids,
        tuple(row[2] for row in rows[1:]),
        tuple(int(row[3]) for row in rows[1:]),
        tuple(int(row[4]) for row in rows[1:]),
    )
