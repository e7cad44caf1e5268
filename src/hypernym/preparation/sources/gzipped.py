"""Annotated images in a gzip'd tar (iNaturalist): read in one pass, since gzip leads only forwards.

A part becomes known when the stream comes to it: the next thousand annotated images, or 256 MiB of them.
`staged` copies these out of the stream into one file, which other processes can open; a part that is not
staged is passed over. Images that were annotated and never came are a last part, of rows with a reason.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from hypernym.errors import OutputError, SourceError
from hypernym.preparation.sources import annotated
from hypernym.preparation.sources.annotated import AnnotatedPart, Row, make_part
from hypernym.preparation.sources.part import MAX_FILE_BYTES, words_of
from hypernym.preparation.sources.places import open_file, refused_reads
from hypernym.preparation.sources.tars import walk_members

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hypernym.preparation.sources.part import Part, Place
    from hypernym.preparation.sources.tars import Member

MAX_PART_BYTES = 256 << 20

DAMAGE = (tarfile.ReadError, EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged stream raises."""


@dataclass(frozen=True)
class GzippedPart:
    """Images that the stream has come to; they are within reach until the next part is asked for."""

    name: str
    state: str
    source: Place
    stream: gzip.GzipFile
    run: Iterator[tuple[Row, Member]]
    """Its images, each to be read before the next is asked for."""

    class_id: None = None

    def images(self) -> NoReturn:
        """Refuse: it is read where it was staged."""
        raise RuntimeError(f"{self.name} lies in a stream: stage it and walk what was staged")

    def staged(self, folder: Path) -> AnnotatedPart:
        """Copy the images into a file in `folder`, and return the part that lies there.

        Raises:
            SourceError: the stream is damaged, or ends inside the part.
            OutputError: the folder cannot take it.
        """
        rows: list[Row] = []
        path = folder / "images"  # a name inside an archive is never a path
        try:
            with path.open("wb") as copy:
                for row, member in self.run:
                    if not member.is_file:
                        rows.append(row)
                        continue
                    rows.append(row._replace(offset=copy.tell(), size=member.size))
                    if member.size <= MAX_FILE_BYTES:
                        copy.write(self._read(member))
        except OSError as cause:
            raise OutputError(f"{path} cannot be written ({words_of(cause)}).") from cause
        return make_part(rows, self.name, self.state, path)

    def _read(self, member: Member) -> bytes:
        with refused_reads(self.source):
            try:
                self.stream.seek(member.offset)
                data = self.stream.read(member.size)
            except DAMAGE as cause:
                raise _damaged(self.source, member.name, cause) from cause
        if len(data) < member.size:
            raise _damaged(self.source, member.name, EOFError("the archive ends inside it"))
        return data


def find_parts(rows: list[Row], source: Place, name: str) -> Iterator[Part]:
    """Give the annotated images of a gzip'd tar in its order, each part when the stream has come to it.

    Raises:
        SourceError: the stream is damaged.
    """
    waiting = {row.name.removeprefix("./"): row for row in rows}
    if len(waiting) < len(rows):
        raise SourceError(f"the annotations name an image of {source} twice: get them anew.")
    first = 1
    with refused_reads(source), open_file(source) as packed, gzip.open(packed) as stream:
        walk = _Walk(source, stream, waiting)
        while not walk.is_over:
            run = walk.run()
            yield GzippedPart(f"{name} from {first}", f"image {first}", source, stream, run)
            for _ in run:  # what was not staged is passed over
                pass
            first = walk.num_found + 1
    if waiting:
        yield from annotated.cut_located(
            list(waiting.values()), source, f"{name} absent", "", annotated.MAX_PART_ROWS
        )


class _Walk:
    """A walk over a stream that stops after each run of annotated images."""

    def __init__(self, source: Place, stream: gzip.GzipFile, waiting: dict[str, Row]) -> None:
        self._source, self._waiting = source, waiting
        self._members = walk_members(stream)
        self.num_found = 0
        self._next = self._find_next()

    @property
    def is_over(self) -> bool:
        return self._next is None

    def run(self) -> Iterator[tuple[Row, Member]]:
        """Give the next images until there are enough for a part."""
        count, size = 0, 0
        while self._next is not None and count < annotated.MAX_PART_ROWS and size < MAX_PART_BYTES:
            row, member = self._next
            count, size = count + 1, size + member.size
            self.num_found += 1
            yield row, member
            self._next = self._find_next()

    def _find_next(self) -> tuple[Row, Member] | None:
        name = "its first image"
        with refused_reads(self._source):
            try:
                for member in self._members:
                    name = member.name
                    row = None if member.is_folder else self._waiting.pop(name.removeprefix("./"), None)
                    if row is not None:
                        return row, member
            except DAMAGE as cause:
                raise _damaged(self._source, name, cause) from cause
        return None


def _damaged(source: Place, name: str, cause: Exception) -> SourceError:
    return SourceError(f"{source} is damaged or cut short at or behind {name} ({cause}): get it anew.")
