"""Places: a file or folder on this machine, or behind any address that fsspec knows.

A local place is a `pathlib.Path`, whatever way it was written. Only an address with another scheme
(`s3://`, `memory://` ...) imports `upath`, whose UPath has the methods of a Path.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from hypernym.errors import SourceError
from hypernym.preparation.sources.part import in_byte_order, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypernym.preparation.sources.part import Place

LOCAL_SCHEME = "file://"


def place_of(address: str) -> Place:
    """Return the place that an address names, whether or not anything lies there.

    Raises:
        SourceError: no installed package knows the scheme of the address.
    """
    if "://" not in address or address.startswith(LOCAL_SCHEME):
        return Path(address.removeprefix(LOCAL_SCHEME))
    from upath import UPath

    try:
        place = UPath(address)
        _ = place.fs  # here the package that knows the scheme is imported
    except (ImportError, ValueError) as cause:
        raise SourceError(
            f"{address} cannot be opened ({cause}): install the package that fsspec names for it, or "
            f"give a local path."
        ) from cause
    return place


@dataclass(frozen=True, slots=True)
class Entry:
    """What a folder holds under one name."""

    folder: Place
    name: str
    is_folder: bool
    """Whether it is a folder, or a link to one."""

    is_link: bool

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self.folder / self.name


def list_folder(folder: Place) -> list[Entry]:
    """Return what a folder holds, in the byte order of the names, but for hidden names.

    No file is asked about on its own, which in a store would be a request for each.

    Raises:
        SourceError: the folder cannot be listed.
    """
    with refused_reads(folder, "be listed"):
        if isinstance(folder, Path):
            with os.scandir(folder) as found:
                entries = [Entry(folder, e.name, _is_folder(e), e.is_symlink()) for e in found]
        else:
            listed = [(e["name"].rstrip("/"), e["type"]) for e in folder.fs.ls(folder.path, detail=True)]
            entries = [
                Entry(folder, name.rpartition("/")[2], kind == "directory", is_link=False)
                for name, kind in listed
                if name != folder.path.rstrip("/")  # some stores list a folder among what it holds
            ]
    visible = (entry for entry in entries if not entry.name.startswith("."))
    return sorted(visible, key=lambda entry: in_byte_order(entry.name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in circles, or to where nobody may look
        return False


def is_inside(folder: Place, path: str) -> bool:
    """Tell whether a path that a source states leads to a file in a folder, also through links."""
    steps = PurePosixPath(path)
    if steps.is_absolute() or ".." in steps.parts or "\0" in path or "://" in path:
        return False
    if not isinstance(folder, Path):
        return True
    try:
        return (folder / path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in circles, names that no file can have
        return False


def state_of(file: Place) -> str:
    """Return what tells one content of a file from another: its size and time.

    Raises:
        SourceError: the system does not say.
    """
    with refused_reads(file):
        about = file.stat()
    return f"{about.st_size} bytes of {about.st_mtime_ns if isinstance(file, Path) else about.st_mtime}"


@contextmanager
def refused_reads(place: Place, verb: str = "be read") -> Iterator[None]:
    """Turn what the system says of a place into a sentence.

    Raises:
        SourceError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as cause:
        raise SourceError(f"{place} cannot {verb} ({words_of(cause)}).") from cause


def open_file(place: Place) -> IO[bytes]:
    """Open a regular file for reading; a pipe would be waited for, a device may never end.

    Raises:
        SourceError: it is no regular file.
        OSError: the system does not open it.
    """
    if not stat.S_ISREG(place.stat().st_mode):
        raise SourceError(f"{place} is not a regular file: give a file or a folder.")
    return place.open("rb")


class FileSpan(io.RawIOBase):
    """A read-only view of `size` bytes of a file, from `offset`: a file inside an archive.

    Without a size it reaches to the end of the file.
    """

    def __init__(self, path: Place, offset: int = 0, size: int | None = None) -> None:
        self._stream = open_file(path)
        self._is_local = isinstance(path, Path)
        self._offset = offset
        self._size = self._stream.seek(0, io.SEEK_END) - offset if size is None else size
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
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        place = self._offset + self._position
        if self._is_local:
            data = os.pread(self._stream.fileno(), wanted, place)
        else:
            self._stream.seek(place)
            data = self._stream.read(wanted)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file below."""
        self._stream.close()
        super().close()
