"""Lists: a CSV or JSON-lines file that names images and their labels.

    X.csv, X.tsv    the first row names the columns; several labels are parted by ";" or "|"
    X.jsonl         an object a line; several labels are a list

Columns are found by common names (path, file, image ...; label, class ...; split), or are stated. A
table without a label column may be wide: all columns that hold nothing but 1, 0, -1 and empty cells
are classes then, and 1 says that the image is of the class. Several rows with one path are one image
with all their labels.

A path is relative to the list, or absolute, or an address that fsspec knows; it may lead anywhere,
".." included: the user wrote the list, as he gave the options. A file that is not there is a row with
a reason.

A part is a run of rows, found again by its place in the file.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernym.errors import SourceError
from hypernym.preparation.sources.meaning import ABSENT, PRESENT, find_meaning
from hypernym.preparation.sources.part import SourceImage, readable
from hypernym.preparation.sources.places import open_file, place_of, reader_of_file, refused_reads
from hypernym.preparation.sources.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hypernym.preparation.sources.meaning import Meaning
    from hypernym.preparation.sources.part import Place

MAX_PART_ROWS = 1000


@dataclass(frozen=True)
class ListPart:
    """A run of rows."""

    name: str
    state: str
    path: Place
    meaning: Meaning
    position: int
    """Where its first row begins."""

    first: int
    count: int
    merged: dict[int, tuple[str, ...] | None]
    """The rows whose path stands in several: all labels of it for the first of them, None for others."""

    far_root: Path
    """A folder that was there, and holds what the first absolute path names."""

    class_id: None = None

    def images(self) -> Iterator[SourceImage]:
        """Walk the rows in their order.

        Raises:
            SourceError: the list cannot be read.
        """
        with refused_reads(self.path), open_file(self.path) as stream:
            rows = Rows(self.path, stream)
            rows.go_to(self.position, self.first - 1)
            for row in islice(rows, self.count):
                path, split = self.meaning.path_in(rows, row), self.meaning.split_in(rows, row)
                class_ids = self.merged.get(rows.number, self.meaning.labels_in(rows, row))
                if class_ids is not None:
                    root = self.far_root if path.startswith("/") else self.path
                    read = reader_of_file(_place_of(path, self.path.parent), root)
                    yield SourceImage(readable(path), class_ids, read, split)

    def staged(self, folder: Path) -> ListPart:  # noqa: ARG002  # nothing is to be copied
        """Return the part itself."""
        return self


def find_parts(
    source: Place,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
) -> Iterator[ListPart]:
    """Give runs of rows, after the whole list was read once.

    Raises:
        SourceError: the list cannot be read, a column is missing, or a row says something impossible.
    """
    with refused_reads(source), open_file(source) as stream:
        rows = Rows(source, stream)
        meaning = find_meaning(source, rows.columns, path_column, label_column, split_column)
        survey = _Survey(rows, meaning)
        for row in rows:
            survey.add(rows, row)
        survey.close_run(rows)
        meaning = replace(meaning, classes=survey.wide_classes())
        if not (meaning.label or meaning.classes):
            raise SourceError(
                f"{source} has no column of labels, and no columns of 1 and 0 for classes: state one by "
                f"--label-column; its columns are {', '.join(rows.columns)}."
            )
        merged = _merge(rows, meaning, survey.repeated_paths())
        far_root = _deepest_folder(survey.first_absolute)
    for number, run in enumerate(survey.runs):
        own = merged[number]
        state = _digest(f"{run.digest} {meaning} {sorted(own.items())}").hex()
        name = f"rows {run.first}-{run.first + run.count - 1}"
        yield ListPart(name, state, source, meaning, run.position, run.first, run.count, own, far_root)


@dataclass(frozen=True)
class _Run:
    """Rows that become a part."""

    position: int
    first: int
    count: int
    digest: str


class _Survey:
    """What must be known of all rows before the first is walked, in 8 bytes a row."""

    def __init__(self, rows: Rows, meaning: Meaning) -> None:
        self.runs: list[_Run] = []
        self.first_absolute = "/"
        self._meaning = meaning
        self._start = (rows.position, 1)
        self._paths = array("Q")
        others = [name for name in rows.columns if name not in {meaning.path, meaning.split}]
        self._is_present = dict.fromkeys(others if rows.is_table and not meaning.label else (), False)

    def add(self, rows: Rows, row: Mapping[str, Any]) -> None:
        """Take in a row."""
        path = self._meaning.path_in(rows, row)
        self._paths.append(_number_of(path))
        if self.first_absolute == "/" and path.startswith("/"):
            self.first_absolute = path
        self._meaning.split_in(rows, row)
        self._meaning.labels_in(rows, row)
        for name in list(self._is_present):
            cell = row[name].strip()
            if cell in PRESENT:
                self._is_present[name] = True
            elif cell not in ABSENT:
                del self._is_present[name]
        if rows.number % MAX_PART_ROWS == 0:
            self.close_run(rows)

    def close_run(self, rows: Rows) -> None:
        """Make a part of the rows that were taken in since the last."""
        position, first = self._start
        if rows.number >= first:
            self.runs.append(_Run(position, first, rows.number - first + 1, rows.take_digest()))
        self._start = (rows.position, rows.number + 1)

    def wide_classes(self) -> tuple[str, ...]:
        """Return the columns that hold nothing but the signs of a wide table, and a 1 somewhere."""
        return tuple(name for name, is_present in self._is_present.items() if is_present)

    def repeated_paths(self) -> set[int]:
        """Return the numbers of the paths that stand in several rows."""
        numbers, counts = np.unique(np.frombuffer(self._paths, np.uint64), return_counts=True)
        return set(numbers[counts > 1].tolist())


def _merge(
    rows: Rows, meaning: Meaning, repeated: set[int]
) -> defaultdict[int, dict[int, tuple[str, ...] | None]]:
    """Bring the labels of repeated paths together; return, run by run, what ListPart says of rows."""
    merged: defaultdict[int, dict[int, tuple[str, ...] | None]] = defaultdict(dict)
    if not repeated:
        return merged
    firsts: dict[str, tuple[int, str | None]] = {}
    rows.go_to(rows.start, 0)
    for row in rows:
        path, split, class_ids = (
            meaning.path_in(rows, row),
            meaning.split_in(rows, row),
            meaning.labels_in(rows, row),
        )
        if _number_of(path) not in repeated:
            continue
        number, split_before = firsts.setdefault(_normal(path), (rows.number, split))
        if split != split_before:
            raise rows.refusal(f"{path} is in {split} here and in {split_before} in row {number}")
        own = merged[(rows.number - 1) // MAX_PART_ROWS]
        of_first = merged[(number - 1) // MAX_PART_ROWS]
        if number != rows.number:
            own[rows.number] = None
        of_first[number] = tuple(dict.fromkeys((*(of_first.get(number) or ()), *class_ids)))
    return merged


def _place_of(path: str, folder: Place) -> Place:
    return place_of(path) if "://" in path else folder / path


def _deepest_folder(path: str) -> Path:
    """Return the deepest folder on the way to a file that is there now."""
    for folder in Path(path).parents:
        with suppress(OSError):  # nobody may look there, or no folder can have such a name
            if folder.is_dir():
                return folder
    return Path(path)


def _normal(path: str) -> str:
    """Return one spelling for the many of a path."""
    return str(PurePosixPath(path))


def _number_of(path: str) -> int:
    return int.from_bytes(_digest(_normal(path)))


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
