"""Meaning: what the columns of a list stand for, and what a row says by them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypernym.data.rejections import RejectionError
from hypernym.preparation.sources.columns import choose_column, first_known, stated_column
from hypernym.preparation.sources.labels import LABEL_NAMES, class_ids_of
from hypernym.preparation.sources.part import readable
from hypernym.preparation.sources.splits import SPLITS, split_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hypernym.preparation.sources.part import Place
    from hypernym.preparation.sources.rows import Rows

PATH_NAMES = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "image_file",
)
"""Names of columns of paths, the more telling first."""

SPLIT_NAMES = ("split",)

PRESENT, ABSENT = {"1", "1.0"}, {"0", "0.0", "-1", "-1.0", ""}
"""What the cells of a wide table hold."""


@dataclass(frozen=True)
class Meaning:
    """What the columns of a list stand for."""

    path: str
    label: str | None
    split: str | None
    classes: tuple[str, ...] = ()
    """The columns that are classes, where there is no column of labels."""

    def path_in(self, rows: Rows, row: Mapping[str, Any]) -> str:
        """Return the path in a row; an empty one, or none, is an error."""
        path = row.get(self.path)
        if not isinstance(path, str) or not path.strip():
            raise rows.refusal(f"it names no file in the column {self.path!r}")
        return path.strip()

    def labels_in(self, rows: Rows, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the class ids in a row; what cannot be a label is an error."""
        if self.label is None:
            return tuple(readable(name) for name in self.classes if row[name].strip() in PRESENT)
        label = row.get(self.label)
        try:
            # A JSON text is one label as it stands: JSON has lists for several.
            return class_ids_of(re.split("[;|]", label) if rows.is_table and label else label)
        except RejectionError as rejection:
            raise rows.refusal(rejection.rejected.detail) from rejection

    def split_in(self, rows: Rows, row: Mapping[str, Any]) -> str | None:
        """Return the split in a row; a word that is none is an error."""
        if self.split is None:
            return None
        word = row.get(self.split)
        split = split_of(word.strip()) if isinstance(word, str) else None
        if split is None:
            raise rows.refusal(f"the split {word!r} is none of {', '.join(SPLITS)}")
        return split


def find_meaning(
    source: Place, columns: Sequence[str], path: str | None, label: str | None, split: str | None
) -> Meaning:
    """Find the columns by what was stated, else by common names.

    Raises:
        SourceError: a stated column is not there, or none is a column of paths.
    """
    if path is None:
        named = [name for name in columns if name.lower() in PATH_NAMES]
        path = choose_column(source, "image", columns, named, PATH_NAMES)
    return Meaning(
        stated_column(source, path, columns),
        stated_column(source, label, columns) if label else first_known(columns, LABEL_NAMES),
        stated_column(source, split, columns) if split else first_known(columns, SPLIT_NAMES),
    )
