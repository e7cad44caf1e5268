"""Annotated images: files that annotations name, in a folder, in plain tars or in a zip, cut into runs.

What stands apart in published datasets, annotations here and images there, is brought together once,
when the parts are looked for. A part carries its own rows, packed, so that no worker reads the
annotations again.

A name in annotations is looked for under its place alone: in a folder it must lead to a file inside
that folder, also through links; in an archive it is compared with the names of members. A name without
a folder is found in a tar under whatever folder. What is not there is a row with a reason.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError
from hypernym.preparation.sources.part import (
    MAX_FILE_BYTES,
    SourceImage,
    readable,
    refusal,
    words_of,
)
from hypernym.preparation.sources.places import (
    FileSpan,
    is_folder,
    is_inside,
    is_of_the_store,
    is_there,
    open_file,
    reader_of_file,
    refused_reads,
    state_of,
)
from hypernym.preparation.sources.tars import Member, reader_of_member, refused_damage, walk_members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from hypernym.preparation.sources.part import Place

MAX_PART_ROWS = 1000
MAX_ZIP_ROWS = 5000
"""Of a part of a zip: whoever opens it reads the names of all its files, which takes seconds."""

TAR, ZIP = ".tar", ".zip"

ZIP_DAMAGE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error)
"""What zipfile raises over damaged, encrypted and strangely packed members."""

ABSENT = -1
"""The offset of a file that its tar does not have."""


class Row(NamedTuple):
    """What annotations say of an image."""

    key: str
    name: str
    """Of its file, below the folder or in the archive."""

    class_ids: tuple[str, ...]
    split: str
    fault: str = ""
    """Why its label cannot be read, if so."""

    offset: int = ABSENT
    """Where its bytes begin in a tar."""

    size: int = 0


Reader: TypeAlias = "Callable[[Row], Callable[[], bytes]]"


@dataclass(frozen=True)
class AnnotatedPart:
    """A run of annotated images in one folder or archive."""

    name: str
    state: str
    place: Place
    packed: bytes
    """Its rows: JSON under zlib."""

    class_id: None = None

    def images(self) -> Iterator[SourceImage]:
        """Walk the rows in their order.

        Raises:
            SourceError: the archive cannot be opened.
        """
        with _open_holding(self.place) as reader_of:
            for key, name, class_ids, *more in json.loads(zlib.decompress(self.packed)):
                row = Row(key, name, tuple(class_ids), *more)
                read = refusal(Reason.NO_LABEL, row.fault) if row.fault else reader_of(row)
                yield SourceImage(readable(row.key), row.class_ids, read, row.split)

    def staged(self, folder: Path) -> AnnotatedPart:  # noqa: ARG002  # nothing is to be copied
        """Return the part itself."""
        return self


def cut(rows: Iterable[Row], place: Place, name: str) -> Iterator[AnnotatedPart]:
    """Cut rows into parts; those of a tar in the order in which their bytes lie there.

    Raises:
        SourceError: the archive is damaged or cannot be read.
    """
    with refused_reads(place):
        in_folder = is_folder(place)
    state = "" if in_folder else state_of(place)
    if not in_folder and place.suffix != ZIP:
        members = find_members(place)
        located = [_locate(row, members) for row in rows]
        rows = sorted(located, key=lambda row: (row.offset == ABSENT, row.offset))
    is_zip = not in_folder and place.suffix == ZIP
    yield from cut_located(rows, place, name, state, MAX_ZIP_ROWS if is_zip else MAX_PART_ROWS)


def cut_located(
    rows: Iterable[Row], place: Place, name: str, state: str, num_rows: int
) -> Iterator[AnnotatedPart]:
    """Cut rows of which it is known where they lie; `state` is what tells the archive from another."""
    run: list[Row] = []
    first = 1
    for row in rows:
        run.append(row)
        if len(run) == num_rows:
            yield make_part(run, f"{name} {first}-{first + len(run) - 1}", state, place)
            first, run = first + len(run), []
    if run:
        yield make_part(run, f"{name} {first}-{first + len(run) - 1}", state, place)


def make_part(run: list[Row], name: str, state: str, place: Place) -> AnnotatedPart:
    """Return the part that a run of rows makes."""
    text = json.dumps(run).encode()
    digest = blake2b(text, digest_size=16).hexdigest()
    return AnnotatedPart(name, f"{digest}, {state}", place, zlib.compress(text))


def find_members(tar: Place) -> dict[str, Member]:
    """Return the files of a tar by name, and by the last piece of the name where that is the first.

    Raises:
        SourceError: the tar is damaged or cannot be read.
    """
    members: dict[str, Member] = {}
    with refused_damage(tar), FileSpan(tar) as stream:
        for member in walk_members(stream):
            if not member.is_folder:
                name = member.name.removeprefix("./")
                members[name] = member
                members.setdefault(name.rpartition("/")[2], member)
    return members


def _locate(row: Row, members: dict[str, Member]) -> Row:
    member = members.get(row.name.removeprefix("./"))
    if member is None or not member.is_file:
        return row
    return row._replace(offset=member.offset, size=member.size)


@contextmanager
def _open_holding(place: Place) -> Iterator[Reader]:
    with refused_reads(place):
        in_folder = is_folder(place)
    if in_folder:
        yield lambda row: reader_of_inside(place, row.name)
    elif place.suffix == ZIP:
        with open_zip(place) as archive:
            yield lambda row: lambda: read_from_zip(archive, row.name)
    else:
        with refused_reads(place), FileSpan(place) as stream:
            yield (
                lambda row: (
                    refusal(Reason.UNREADABLE, "the archive has no such file")
                    if row.offset == ABSENT
                    else reader_of_member(
                        stream, Member(row.name, 0, row.offset, row.size, is_file=True, is_folder=False)
                    )
                )
            )


def reader_of_inside(folder: Place, name: str) -> Callable[[], bytes]:
    """Return a `read` of a file that annotations name; it must lie inside the folder."""
    if not is_inside(folder, name):
        return refusal(Reason.UNREADABLE, f"the annotations point at {name}, which is outside")
    return reader_of_file(folder / name, folder)


@contextmanager
def open_zip(place: Place) -> Iterator[zipfile.ZipFile]:
    """Open a zip for reading.

    Raises:
        SourceError: it cannot be read, or is no whole zip.
    """
    with refused_reads(place), open_file(place) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as cause:
            raise SourceError(f"{place} is not a whole zip archive ({cause}): get it anew.") from cause
        with archive:
            yield archive


def read_from_zip(archive: zipfile.ZipFile, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the bytes of a member of a zip, at most `limit` of them, whatever its header says.

    Raises:
        RejectionError: there is no such member, or it is damaged or too large.
    """
    try:
        with archive.open(name) as stream:
            data = stream.read(limit + 1)
    except KeyError as cause:
        raise RejectionError(Reason.UNREADABLE, "the zip has no such file") from cause
    except OSError as cause:
        if is_of_the_store(cause):
            raise SourceError(f"{name} cannot be read from its zip ({words_of(cause)}).") from cause
        raise RejectionError(Reason.UNREADABLE, words_of(cause)) from cause
    except ZIP_DAMAGE as cause:
        raise RejectionError(Reason.UNREADABLE, f"{cause}") from cause
    if len(data) > limit:
        raise RejectionError(Reason.TOO_LARGE, f"over {limit} bytes")
    return data


def find_holding(source: Place, name: str, endings: tuple[str, ...]) -> Place:
    """Return where images lie: a folder of this name, else an archive with one of these endings.

    Raises:
        SourceError: nothing of this name is there.
    """
    places = [source / name, *(source / f"{name}{ending}" for ending in endings)]
    with refused_reads(source):
        for place in places:
            if is_there(place):
                return place
    wanted = " or ".join([f"{name}/", *(place.name for place in places[1:])])
    raise SourceError(f"{source} has annotations and no images: put {wanted} beside them.")
