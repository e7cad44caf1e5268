"""Tars: the members of an archive, from its headers alone, whatever those headers claim.

The blocks of a header are read by Python's `tarfile`; the walk from header to header is our own. That
of `tarfile` reads extended headers of any size into memory, calls itself once for each of them, keeps
every member that it met, and takes a damaged header for the end. This one runs in constant memory and
always ends: a header leads to a place behind it, or the archive is damaged there.
"""

from __future__ import annotations

import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError
from hypernym.preparation.sources.part import MAX_FILE_BYTES, readable, words_of
from hypernym.preparation.sources.places import refused_reads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypernym.preparation.sources.part import Place

BLOCK = tarfile.BLOCKSIZE

MAX_HEADER_BYTES = 1 << 20
"""All headers of one member together: room for the longest names and attributes that systems know."""

MAX_END_BYTES = 1 << 20
"""An archive ends in two blocks of zeros, filled up to the blocking factor of its writer."""

MAX_MEMBER_BYTES = 1 << 62
"""No file system has larger files; beyond, offsets would not fit the calls of the system."""

SPARSE = b"GNU.sparse."
"""What the keywords of sparse files begin with, in extended headers."""

MAX_DIGITS = 20
"""Python takes long to read a number of thousands of digits, and refuses longer ones."""

EXTENDED_SPARSE, MORE_SPARSE = 482, 504
"""Bytes that say whether the map of an old GNU sparse file goes on in a block of its own."""


class Stream(Protocol):
    """What a walk needs of a file; a walk only ever seeks forwards."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes."""

    def seek(self, offset: int, /) -> int:
        """Move to a place counted from the start."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a header says."""

    name: str
    """As it stands in the archive, in UTF-8: a key, never a path."""

    start: int
    """Where its first header begins."""

    offset: int
    """Where its bytes begin."""

    size: int
    is_file: bool
    """Whether it holds bytes of its own; folders, links, devices and sparse files do not."""

    is_folder: bool

    @property
    def end(self) -> int:
        """Where the next header begins."""
        return self.offset + -(-self.size // BLOCK) * BLOCK


def walk_members(stream: Stream, *, until: int | None = None) -> Iterator[Member]:
    """Give the members of an archive in order, or of its first `until` bytes.

    Raises:
        tarfile.ReadError: the archive is damaged, or is cut short.
        OSError: the system does not hand out its bytes.
    """
    position = 0
    while position != until:
        member = _read_member(stream, position)
        if member is None:
            return
        yield member
        position = member.end


def reader_of_member(stream: Stream, member: Member) -> Callable[[], bytes]:
    """Return a `read` of a member, to be called before `stream` is closed.

    It raises `SourceError` where the system does not hand out bytes of the archive.
    """

    def read() -> bytes:
        if not member.is_file:
            raise RejectionError(Reason.NOT_A_FILE)
        if member.size > MAX_FILE_BYTES:
            raise RejectionError(Reason.TOO_LARGE, f"{member.size} bytes")
        try:
            stream.seek(member.offset)
            data = stream.read(member.size) or b""
        except OSError as cause:
            # The archive was open: this speaks of what holds it, and not of the member.
            raise SourceError(f"{member.name} cannot be read ({words_of(cause)}).") from cause
        if len(data) < member.size:
            raise RejectionError(Reason.TRUNCATED, "the archive ends inside this file")
        return data

    return read


@contextmanager
def refused_damage(path: Place) -> Iterator[None]:
    """Turn damage of an archive, or what the system says of it, into a sentence.

    Raises:
        SourceError: in place of a `tarfile.ReadError` or an `OSError`.
    """
    try:
        with refused_reads(path):
            yield
    except tarfile.ReadError as cause:
        raise SourceError(
            f"{path} is not a whole, plain tar archive ({cause}): get it anew, or unpack what can "
            f"be saved into class folders and give their folder."
        ) from cause


def _read_member(stream: Stream, start: int) -> Member | None:
    """Read the header at `start` with those that extend it; None at the end of the archive."""
    said: dict[bytes, bytes] = {}
    position = start
    while True:
        block = _read(stream, position, BLOCK)
        if position == start and block and not block.strip(b"\0"):
            _check_end(stream, position, block)
            return None
        header = _parse_block(block, position)
        position += BLOCK
        match header.type:
            case tarfile.XGLTYPE | tarfile.GNUTYPE_LONGLINK:
                pass  # neither says anything about a file
            case tarfile.GNUTYPE_LONGNAME:
                name = _read_extension(stream, start, position, header.size)
                said[b"path"] = name.partition(b"\0")[0]
            case tarfile.XHDTYPE | tarfile.SOLARIS_XHDTYPE:
                said |= _parse_pax(_read_extension(stream, start, position, header.size), position)
            case _:
                return _describe(stream, header, block, said, start, position)
        position += -(-header.size // BLOCK) * BLOCK


def _describe(
    stream: Stream,
    header: tarfile.TarInfo,
    block: bytes,
    said: dict[bytes, bytes],
    start: int,
    position: int,
) -> Member:
    is_sparse = header.type == tarfile.GNUTYPE_SPARSE or any(word.startswith(SPARSE) for word in said)
    goes_on = header.type == tarfile.GNUTYPE_SPARSE and block[EXTENDED_SPARSE]
    while goes_on:
        goes_on = _read_extension(stream, start, position, BLOCK)[MORE_SPARSE]
        position += BLOCK
    size = 0
    if header.isreg() or header.type not in tarfile.SUPPORTED_TYPES:
        size = _parse_size(said[b"size"], position) if b"size" in said else header.size
    name = said.get(b"GNU.sparse.name", said.get(b"path"))
    return Member(
        readable(header.name if name is None else name.decode("utf-8", "surrogateescape")),
        start,
        position,
        size,
        is_file=header.isreg() and not is_sparse,
        is_folder=header.isdir(),
    )


def _read(stream: Stream, position: int, size: int) -> bytes:
    stream.seek(position)
    return stream.read(size) or b""


def _read_extension(stream: Stream, start: int, position: int, size: int) -> bytes:
    """Read what extends a header, if all of it together stays within bounds."""
    if position + size - start > MAX_HEADER_BYTES:
        raise tarfile.ReadError(f"a header of over {MAX_HEADER_BYTES} bytes at byte {start}")
    data = _read(stream, position, size)
    if len(data) < size:
        raise tarfile.ReadError(f"the archive ends inside the header at byte {start}")
    return data


def _parse_block(block: bytes, position: int) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as cause:
        raise tarfile.ReadError(f"no header and no end at byte {position}: {cause}") from cause
    if not 0 <= header.size <= MAX_MEMBER_BYTES:
        raise tarfile.ReadError(f"a size of {header.size} bytes at byte {position}")
    return header


def _parse_pax(records: bytes, position: int) -> dict[bytes, bytes]:
    """Take what matters here out of lines "LENGTH KEYWORD=VALUE"; a length counts its whole line."""
    said: dict[bytes, bytes] = {}
    place, length_of_all = 0, len(records.rstrip(b"\0"))
    while place < length_of_all:
        length, space, _ = records[place : place + 20].partition(b" ")
        end = place + int(length) if length.isdigit() and space else 0
        keyword, equals, value = records[place + len(length) + 1 : end].partition(b"=")
        if not equals or end > len(records) or not value.endswith(b"\n"):
            raise tarfile.ReadError(f"a damaged extended header at byte {position}")
        if keyword in {b"path", b"size"} or keyword.startswith(SPARSE):
            said[keyword] = value[:-1].rstrip(b"/")  # a folder's name may end in it
        place = end
    return said


def _parse_size(digits: bytes, position: int) -> int:
    if digits.isdigit() and len(digits) < MAX_DIGITS and int(digits) <= MAX_MEMBER_BYTES:
        return int(digits)
    raise tarfile.ReadError(f"a size without sense at byte {position}")


def _check_end(stream: Stream, position: int, block: bytes) -> None:
    """See that only zeros follow, and not too many: a hole in the archive looks like its end."""
    end = block + (stream.read(MAX_END_BYTES) or b"")
    if end.strip(b"\0") or len(end) > MAX_END_BYTES:
        raise tarfile.ReadError(f"no member and no end of the archive at byte {position}")
