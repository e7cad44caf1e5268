"""Rows: CSV and JSON-lines files, row by row, with the place in the file where each begins."""

from __future__ import annotations

import csv
import json
from collections import Counter
from hashlib import blake2b
from typing import IO, TYPE_CHECKING, Any

from hypernym.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hypernym.preparation.sources.part import Place

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LIST_SUFFIXES = frozenset({*DELIMITERS, ".jsonl"})

MAX_LINE_BYTES = 1 << 20
"""A longer line is no row of paths and labels, and is not read into memory."""

BYTE_ORDER_MARK = "\ufeff"


class Rows:
    """The rows of a list, each a mapping from column to cell.

    Raises (at once, and while rows are read):
        SourceError: the file is no list; the message names the row.
    """

    columns: tuple[str, ...]
    """The names in the first row of a table, or the fields of the first object."""

    position: int
    """Where the next row begins in the file."""

    start: int
    """Where the first row begins."""

    number: int
    """Of the last row; they are counted from 1, without the header."""

    def __init__(self, path: Place, stream: IO[bytes]) -> None:
        self._path, self._stream = path, stream
        self._delimiter = DELIMITERS.get(path.suffix.lower())
        self.is_table = self._delimiter is not None
        self._digest = blake2b(digest_size=16)
        self.go_to(0, 0)
        if self.is_table:
            self.columns = tuple(name.strip() for name in next(self._read_cells(), ()))
            repeated = [name for name, count in Counter(self.columns).items() if name and count > 1]
            if repeated:
                raise SourceError(f"{path} has two columns {repeated[0]!r}: rename one of them.")
        else:
            self.columns = tuple(next(self._read_objects(), ()))
            self.go_to(0, 0)
        self.start = self.position
        self.take_digest()

    def go_to(self, position: int, number: int) -> None:
        """Go on with the row that begins at `position`, behind the row `number`."""
        self._stream.seek(position)
        self.position, self.number = position, number

    def take_digest(self) -> str:
        """Return a digest of what was read since it was last asked for."""
        digest, self._digest = self._digest.hexdigest(), blake2b(digest_size=16)
        return digest

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        if not self.is_table:
            yield from self._read_objects()
            return
        for cells in self._read_cells():
            self.number += 1
            if len(cells) != len(self.columns):
                raise self.refusal(f"it has {len(cells)} cells, and the header {len(self.columns)}")
            yield dict(zip(self.columns, cells, strict=True))

    def refusal(self, fault: str) -> SourceError:
        """Return an error that names the row that was read last."""
        return SourceError(f"{self._path}, row {self.number}: {fault}.")

    def _read_cells(self) -> Iterator[list[str]]:
        try:
            yield from filter(
                None, csv.reader(self._lines(), delimiter=self._delimiter or ",", strict=True)
            )
        except csv.Error as cause:
            raise SourceError(f"{self._path}, after row {self.number}: {cause}.") from cause

    def _read_objects(self) -> Iterator[dict[str, Any]]:
        for line in self._lines():
            if line.strip():
                self.number += 1
                yield self._parse_object(line)

    def _parse_object(self, line: str) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as cause:
            raise self.refusal(f"it is not JSON ({cause})") from cause
        if not isinstance(value, dict):
            raise self.refusal("it is no JSON object")
        return value

    def _lines(self) -> Iterator[str]:
        while raw := self._stream.readline(MAX_LINE_BYTES + 1):
            if len(raw) > MAX_LINE_BYTES:
                raise SourceError(
                    f"{self._path} has a line of over {MAX_LINE_BYTES} bytes: it is no list."
                )
            is_first = self.position == 0
            self.position += len(raw)
            self._digest.update(raw)
            try:
                line = raw.decode()
            except UnicodeDecodeError as cause:
                raise SourceError(
                    f"{self._path}, after row {self.number}: the line is not UTF-8 ({cause.reason}): "
                    f"save the list as UTF-8."
                ) from cause
            yield line.removeprefix(BYTE_ORDER_MARK) if is_first else line
