"""Gzip'd tars of class tars (ImageNet-21K, winter21): read in one pass, since gzip leads only forwards.

A part becomes known when the stream comes to it. `staged` copies it out of the stream into a file of
its own, which other processes can open; a part that is not staged is passed over. So no more of the
archive lies on the disk than is being worked on, and none of it in memory.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from hypernym.errors import OutputError, SourceError
from hypernym.preparation.sources.archives import ClassTarPart, state_of_member, walk_class_tars
from hypernym.preparation.sources.part import words_of
from hypernym.preparation.sources.places import open_file, refused_reads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hypernym.preparation.sources.part import Place
    from hypernym.preparation.sources.tars import Member

COPY_BYTES = 1 << 20
"""What is held in memory of a class tar while it is copied."""

ZEROS = bytes(COPY_BYTES)

MAX_CLASS_TAR_BYTES = 64 << 30
"""A class tar that claims more is not copied to the disk: the largest known ones have a few GB."""

DAMAGE = (tarfile.ReadError, EOFError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged stream raises."""


@dataclass(frozen=True)
class StreamPart:
    """A class tar that the stream has come to; it is within reach until the next is asked for."""

    name: str
    state: str
    source: Place
    stream: gzip.GzipFile
    member: Member
    before: str | None
    """The class before it, which has passed whole."""

    @property
    def class_id(self) -> str:
        """The class: the tar is named after it."""
        return self.name

    def images(self) -> NoReturn:
        """Refuse: it is read where it was staged."""
        raise RuntimeError(f"{self.name} lies in a stream: stage it and walk what was staged")

    def staged(self, folder: Path) -> ClassTarPart:
        """Copy the class tar into a file in `folder`, and return the part that lies there.

        Blocks of zeros become holes in the file, so that a bomb of zeros takes no room.

        Raises:
            SourceError: the stream is damaged or ends inside the class tar, or that is too large.
            OutputError: the folder cannot take it.
        """
        if self.stream.closed or self.stream.tell() > self.member.offset:
            raise RuntimeError(f"{self.name} was asked for after the stream had moved on")
        if self.member.size > MAX_CLASS_TAR_BYTES:
            raise SourceError(
                f"{self.source}: {self.name}.tar claims {self.member.size} bytes, more than any class "
                f"has: get the archive anew."
            )
        path = folder / f"{self.member.offset}.tar"  # a name inside an archive is never a path
        try:
            with path.open("wb") as copy:
                for block in self._blocks():
                    if block == ZEROS[: len(block)]:
                        copy.seek(len(block), os.SEEK_CUR)
                    else:
                        copy.write(block)
                copy.truncate()
        except OSError as cause:
            raise OutputError(f"{path} cannot be written ({words_of(cause)}).") from cause
        return ClassTarPart(self.name, self.class_id, self.state, path)

    def _blocks(self) -> Iterator[bytes]:
        left = self.member.size
        with refused_reads(self.source):
            try:
                self.stream.seek(self.member.offset)
                while left:
                    block = self.stream.read(min(COPY_BYTES, left))
                    if not block:
                        raise EOFError(f"the tar ends inside {self.name}.tar")
                    left -= len(block)
                    yield block
            except DAMAGE as cause:
                raise _refused_damage(self.source, self.before, cause) from cause


def find_parts(source: Place) -> Iterator[StreamPart]:
    """Give the class tars in the order of the stream, each when the stream has come to it.

    Raises:
        SourceError: the stream is damaged, holds no class tar, or a class twice.
    """
    part: StreamPart | None = None
    with refused_reads(source), open_file(source) as packed, gzip.open(packed) as stream:
        try:
            for name, tar in walk_class_tars(source, stream):
                before = part.name if part else None
                part = StreamPart(name, state_of_member(tar), source, stream, tar, before)
                yield part
        except DAMAGE as cause:
            raise _refused_damage(source, _last_whole(part), cause) from cause


def _last_whole(part: StreamPart | None) -> str | None:
    """Return the class tar that had passed whole when the stream broke behind the start of `part`."""
    if part is None:
        return None
    return part.name if part.stream.tell() >= part.member.end else part.before


def _refused_damage(source: Place, whole: str | None, cause: Exception) -> SourceError:
    place = f"after {whole}.tar" if whole else "before its first class tar ends"
    return SourceError(
        f"{source} is damaged or cut short {place} ({cause}): get it anew, or unpack what can be saved "
        f"into class folders and give their folder."
    )
