"""Places: a file or folder on this machine, or behind any address that fsspec knows.

A local place is a `pathlib.Path`, whatever way it was written. Only an address with another scheme
(`s3://`, `memory://` ...) imports `upath`, whose UPath has the methods of a Path.

The functions of this file are the only ones that ask a store anything, and whatever it answers is a
sentence in the end (`refused_reads`).
"""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError
from hypernym.preparation.sources.part import MAX_FILE_BYTES, in_byte_order, words_of
from hypernym.preparation.sources.stores import StoredFile, asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypernym.preparation.sources.part import Place

LOCAL_SCHEMES = ("file://", "local://")

OF_THE_FILE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.EACCES,
        errno.EPERM,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.EILSEQ,
    }
)
"""What the system says of a single file; all else is said of a disk, a mount or a network."""


def place_of(address: str) -> Place:
    """Return the place that an address names, whether or not anything lies there.

    Raises:
        SourceError: no installed package knows the scheme of the address.
    """
    scheme = next((scheme for scheme in LOCAL_SCHEMES if address.startswith(scheme)), "")
    if scheme or "://" not in address:
        return Path(address.removeprefix(scheme))
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
            with os.scandir(folder) as scanned:
                entries = [Entry(folder, e.name, _is_folder(e), e.is_symlink()) for e in scanned]
        else:
            with asked(folder):
                found = folder.fs.ls(folder.path, detail=True)
            listed = [(entry["name"].rstrip("/"), entry["type"]) for entry in found]
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


def is_there(place: Place) -> bool:
    """Tell whether a file or folder lies at a place.

    Raises (as the next three):
        OSError: the system does not say.
    """
    return place.exists() if isinstance(place, Path) else _mode_of(place) != 0


def is_folder(place: Place) -> bool:
    """Tell whether a folder lies at a place, or a link to one."""
    return place.is_dir() if isinstance(place, Path) else stat.S_ISDIR(_mode_of(place))


def is_file(place: Place) -> bool:
    """Tell whether a regular file lies at a place, or a link to one."""
    return place.is_file() if isinstance(place, Path) else stat.S_ISREG(_mode_of(place))


def size_of(place: Place) -> int:
    """Return the bytes of a file."""
    with asked(place):
        return int(place.stat().st_size)


def _mode_of(place: Place) -> int:
    """Return what lies at a place as `st_mode` says it; 0: nothing.

    A store's own `exists` and `isdir` say no where it does not answer, and may read all of a file.
    """
    try:
        with asked(place):
            return int(place.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def state_of(file: Place) -> str:
    """Return what tells one content of a file from another: its size and time.

    Raises:
        SourceError: the system does not say.
    """
    with refused_reads(file), asked(file):
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


def is_of_the_store(cause: OSError) -> bool:
    """Tell whether an error speaks of what holds a file, and would be said of any other file too."""
    of_one = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
    return cause.errno not in OF_THE_FILE and not isinstance(cause, of_one)


def reader_of_file(path: Place, root: Place) -> Callable[[], bytes]:
    """Return a `read` of a whole file that is said to lie at `path`.

    `root` is a file or folder that was there when the source was looked at. `read` raises `SourceError`
    where that is gone as well, or where the store does not answer: then nothing is said of the image.
    """

    def read() -> bytes:
        try:
            with asked(path):
                about = path.stat()
            if not stat.S_ISREG(about.st_mode):
                raise RejectionError(Reason.NOT_A_FILE)
            if about.st_size > MAX_FILE_BYTES:
                raise RejectionError(Reason.TOO_LARGE, f"{about.st_size} bytes")
            return read_whole(path)
        except OSError as cause:
            if is_of_the_store(cause) or (cause.errno == errno.ENOENT and not _still_holds(root)):
                raise SourceError(f"{path} cannot be read ({words_of(cause)}).") from cause
            leads_nowhere = cause.errno in {errno.ENOENT, errno.ELOOP} and path.is_symlink()
            reason = Reason.NOT_A_FILE if leads_nowhere else Reason.UNREADABLE
            raise RejectionError(reason, words_of(cause)) from cause
        except ValueError as cause:
            raise RejectionError(Reason.UNREADABLE, "no file can have such a name") from cause

    return read


def _still_holds(root: Place) -> bool:
    """Tell whether a local file or folder is still there; where a mount went, an empty folder stays."""
    if not isinstance(root, Path):
        return True  # a store that does not answer says so itself
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is not None
    except NotADirectoryError:
        return True
    except OSError:
        return False


def read_whole(place: Place) -> bytes:
    """Return all bytes of a small file.

    Raises:
        OSError: the system does not hand them out.
    """
    with asked(place):
        return place.read_bytes()


def open_file(place: Place, end: int | None = None) -> IO[bytes]:
    """Open a regular file for reading; a pipe would be waited for, a device may never end.

    Nothing behind `end` is read ahead.

    Raises:
        SourceError: it is no regular file.
        OSError: the system does not open it.
    """
    with asked(place):
        mode = place.stat().st_mode
    if not stat.S_ISREG(mode):
        raise SourceError(f"{place} is not a regular file: give a file or a folder.")
    return place.open("rb") if isinstance(place, Path) else io.BufferedReader(StoredFile(place, end))


class FileSpan(io.RawIOBase):
    """A read-only view of `size` bytes of a file, from `offset`: a file inside an archive.

    Without a size it reaches to the end of the file.
    """

    def __init__(self, path: Place, offset: int = 0, size: int | None = None) -> None:
        self._stream = open_file(path, None if size is None else offset + size)
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
        if hasattr(self, "_stream"):  # the collector closes one that could not be opened too
            self._stream.close()
        super().close()
