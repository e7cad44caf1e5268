"""The class table: a class id and a name for each label index."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hypernym.errors import DatasetError, UsageError, nearest
from hypernym.files import digest_text, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PUBLISHED = {
    "imagenet21k-p": "imagenet21k_miil_synsets.txt",
    "imagenet21k-p-winter21": "imagenet21k_miil_w21_synsets.txt",
}
"""The class lists of ImageNet-21K-P's two releases (11,221 and 10,450), as timm's package has them."""

COLUMNS = ["label", "id", "name", "train", "val", "test"]


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
    test_counts: tuple[int, ...]

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


def load_class_list(words: str) -> frozenset[str]:
    """Return the class ids of a published list, or of a file with an id a line.

    Raises:
        UsageError: there is no such list or file, or it holds nothing.
    """
    path = Path(words)
    if words in PUBLISHED:
        timm = find_spec("timm")
        folder = next(iter(timm.submodule_search_locations or [])) if timm else ""
        path = Path(folder, "data", "_info", PUBLISHED[words])
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise UsageError(
            f"--classes {words} cannot be read ({cause}){nearest(words, PUBLISHED)}: give a file with a "
            f"class id a line, or one of {', '.join(PUBLISHED)}."
        ) from cause
    # What follows the id in a line is a name, as in ImageNet's own lists.
    ids = frozenset(line.split()[0] for line in lines if line.strip())
    if not ids:
        raise UsageError(f"--classes {words} holds no class id.")
    return ids


def save_classes(path: Path, classes: ClassTable) -> None:
    """Write the table as CSV, a row a class; the row number is the label index."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    counts = (classes.train_counts, classes.val_counts, classes.test_counts)
    columns = (classes.ids, classes.names, *counts)
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
            or not all(count.isdigit() for count in row[3:])
        ):
            raise DatasetError(f"{path}, line {number + 2}: {','.join(row)!r} is not a class row.")
    ids = tuple(row[1] for row in rows[1:])
    if len(set(ids)) != len(ids):
        raise DatasetError(f"{path} names a class id twice.")
    counts = (tuple(int(row[column]) for row in rows[1:]) for column in (3, 4, 5))
    return ClassTable(ids, tuple(row[2] for row in rows[1:]), *counts)
