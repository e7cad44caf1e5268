"""Sources: what the user has, cut into independent parts, as lazy images.

A part (a class archive, a class folder) is the unit of parallel work, of restart and of statistics.
`find_parts` looks at names alone; `open_part` walks one part and gives its images unread. Nothing is
ever unpacked: a name inside an archive becomes a key, never a path.

Layouts:
    class folders            SOURCE/n02084071/anything.jpg, also in folders further down
    a tar of class tars      SOURCE.tar holds n02084071.tar holds n02084071_1.JPEG (ImageNet-21K, fall11)
"""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NoReturn

from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_FILE_BYTES = 256 << 20
"""A file over 256 MiB is refused unread: the largest photos are far smaller."""


MAX_END_BYTES = 1 << 20
"""An archive ends in two blocks of zeros, filled up to the blocking factor of its writer."""


@dataclass(frozen=True)
class Part:
    """An independent piece of a source: everything that is labelled with one class.

    `path` is a class folder, or an archive in which the class archive lies at `offset` with `size`
    bytes.
    """

    name: str
    class_id: str
    path: Path
    offset: int = 0
    size: int = 0


@dataclass(frozen=True)
class SourceImage:
    """An image that was found and not yet read.

    `key` is unique in its source and says where the image lies. `read` returns the bytes, or raises
    `RejectionError`.
    """

    key: str
    class_ids: tuple[str, ...]
    read: Callable[[], bytes]


def find_parts(source: Path) -> list[Part]:
    """Return the parts of a source, in the byte order of their names.

    Raises:
        SourceError: there is no such source, or nothing in it looks like a class.
    """
    if not source.exists():
        raise SourceError(f"{source} does not exist: give a folder of class folders or a tar of them.")
    parts = _find_folders(source) if source.is_dir() else _find_class_archives(source)
    if not parts:
        raise SourceError(
            f"{source} holds no classes: a folder needs one folder of images for each class, a tar "
            f"one member CLASS.tar for each class."
        )
    return sorted(parts, key=lambda part: os.fsencode(part.name))


def open_part(part: Part) -> Iterator[SourceImage]:
    """Walk the images of a part, in a fixed order, without reading them.

    Raises:
        SourceError: the part, or the archive that holds it, cannot be opened.
    """
    return _open_folder(part) if part.path.is_dir() else _open_class_archive(part)


def _find_folders(source: Path) -> list[Part]:
    try:
        folders = [entry for entry in source.iterdir() if entry.is_dir()]
    except OSError as cause:
        _refuse_folder(cause)
    return [
        Part(_readable(folder.name), _readable(folder.name), folder)
        for folder in folders
        if not folder.name.startswith(".")
    ]


def _open_folder(part: Part) -> Iterator[SourceImage]:
    for folder, subfolders, names in os.walk(part.path, onerror=_refuse_folder):
        subfolders[:] = sorted((n for n in subfolders if not n.startswith(".")), key=os.fsencode)
        inside = Path(folder).relative_to(part.path)
        for name in sorted(names, key=os.fsencode):
            if not name.startswith("."):
                key = _readable((PurePosixPath(part.name) / inside / name).as_posix())
                yield SourceImage(key, (part.class_id,), _reader_of_file(Path(folder) / name))


def _refuse_folder(cause: OSError) -> NoReturn:
    raise SourceError(f"{cause.filename} cannot be listed ({cause.strerror}).") from cause


def _reader_of_file(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            if not path.is_file():
                raise RejectionError(Reason.NOT_A_FILE)
            if path.stat().st_size > MAX_FILE_BYTES:
                raise RejectionError(Reason.TOO_LARGE, f"{path.stat().st_size} bytes")
            return path.read_bytes()
        except OSError as cause:
            raise RejectionError(Reason.UNREADABLE, str(cause.strerror)) from cause

    return read


def _find_class_archives(source: Path) -> list[Part]:
    parts: dict[str, Part] = {}
    try:
        with source.open("rb") as stream, _open_tar(stream) as outer:
            for member in _members(outer):
                name = PurePosixPath(_readable(member.name))
                if member.isreg() and name.suffix == ".tar" and not name.name.startswith("."):
                    if name.stem in parts:
                        raise SourceError(f"{source} holds {name.name} twice: keep one of them.")
                    span = (member.offset_data, member.size)
                    parts[name.stem] = Part(name.stem, name.stem, source, *span)
    except tarfile.TarError as cause:
        raise SourceError(
            f"{source} is not a whole, plain tar archive ({cause}): get it anew, or unpack what can "
            f"be saved into class folders and give their folder."
        ) from cause
    except OSError as cause:
        raise SourceError(f"{source} cannot be read ({cause.strerror}).") from cause
    return list(parts.values())


def _open_class_archive(part: Part) -> Iterator[SourceImage]:
    try:
        stream = io.BufferedReader(FileSpan(part.path, part.offset, part.size), 1 << 20)
    except OSError as cause:
        raise SourceError(f"{part.path} cannot be opened ({cause.strerror}).") from cause
    with stream:
        try:
            with _open_tar(stream) as archive:
                for member in _members(archive):
                    if not member.isdir():
                        key = _readable(f"{part.name}/{member.name}")
                        yield SourceImage(key, (part.class_id,), _reader_of_member(archive, member))
        except tarfile.TarError as cause:
            read = _refusal(Reason.DAMAGED_ARCHIVE, f"{cause}: what follows in it is lost")
            yield SourceImage(f"{part.name}.tar", (part.class_id,), read)


def _reader_of_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        if not member.isreg() or member.issparse():
            raise RejectionError(Reason.NOT_A_FILE)
        if member.size > MAX_FILE_BYTES:
            raise RejectionError(Reason.TOO_LARGE, f"{member.size} bytes")
        try:
            stream = archive.extractfile(member)
            return stream.read() if stream else b""
        except tarfile.ReadError as cause:
            raise RejectionError(Reason.TRUNCATED, "the archive ends inside this file") from cause
        except OSError as cause:
            raise RejectionError(Reason.UNREADABLE, str(cause.strerror)) from cause

    return read


def _refusal(reason: Reason, detail: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise RejectionError(reason, detail)

    return read


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Give the members in order, in constant memory; damage raises `tarfile.ReadError`."""
    while (member := _next_member(archive)) is not None:
        yield member
    # A damaged header ends tarfile's walk as if it were the end: the end is zeros, and not too many.
    archive.fileobj.seek(archive.offset)
    end = archive.fileobj.read(MAX_END_BYTES + 1)
    if not end or end.strip(b"\0") or len(end) > MAX_END_BYTES:
        raise tarfile.ReadError(f"no member and no end of the archive at byte {archive.offset}")


def _next_member(archive: tarfile.TarFile) -> tarfile.TarInfo | None:
    with _damage_in_one_form():
        member = archive.next()
    # tarfile remembers every member it met: millions, in a large archive.
    archive.members.clear()  # type: ignore[attr-defined]
    # A size below zero would lead back to this header, for ever.
    if member is not None and (member.size < 0 or archive.offset <= member.offset):
        raise tarfile.ReadError(f"damaged header at byte {member.offset}")
    return member


@contextmanager
def _damage_in_one_form() -> Iterator[None]:
    """Let tarfile fail in one way; hostile headers bring it to all of these."""
    try:
        yield
    except (ValueError, ArithmeticError, LookupError, RecursionError) as cause:
        raise tarfile.ReadError(f"damaged header ({cause})") from cause


def _open_tar(stream: IO[bytes]) -> tarfile.TarFile:
    with _damage_in_one_form():
        return tarfile.open(fileobj=stream, mode="r:")


def _readable(name: str) -> str:
    """Return a name that can be written as UTF-8: foreign bytes become escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class FileSpan(io.RawIOBase):
    """A read-only view of `size` bytes of a file, from `offset`: a file inside an archive."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._stream = path.open("rb", buffering=0)
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Return True: a span is for reading."""
        return True

    def seekable(self) -> bool:
        """Return True: any position is reached at once."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position counted from the start, the present place or the end of the span."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed asks for more
        """Fill `buffer` from the present place, never past the end of the span."""
        wanted = min(len(buffer), max(0, self._size - self._position))
        data = os.pread(self._stream.fileno(), wanted, self._offset + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file below."""
        self._stream.close()
        super().close()
