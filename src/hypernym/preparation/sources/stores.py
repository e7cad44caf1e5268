"""What a store answers, behind an address that fsspec knows: its errors, and its files read with care.

Whatever the library of a store raises is an `OSError` outside of here.
"""

from __future__ import annotations

import errno
import io
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypernym.preparation.sources.part import Place

LEAST_AHEAD, MOST_AHEAD = 1 << 15, 1 << 22
"""Bytes that are read ahead in a store. The least is wasted where only headers are read, far apart; the
most is about what a store sends in the time that it takes to answer."""

ABSENT, REFUSALS = {404, 410}, range(400, 500)
"""What a server of HTTP answers about the one file that it was asked for."""

LATER = {408, 429}
"""But for these: the same request may succeed later."""


@contextmanager
def asked(place: Place) -> Iterator[None]:
    """Turn whatever the library of a store raises into an `OSError`; a local place has no library."""
    try:
        yield
    except FileNotFoundError as absence:
        # fsspec says so of any failure over HTTP, and what it was stands behind.
        cause = absence.__cause__
        if isinstance(cause, _failures_of_http()) and getattr(cause, "status", 0) not in ABSENT:
            raise _as_os_error(cause) from absence
        raise
    except OSError:
        raise
    except Exception as cause:
        # The boundary towards libraries that fsspec found by a scheme: each has errors of its own, which
        # nobody can name here. Within it stand only calls of theirs.
        if isinstance(place, Path):
            raise
        raise _as_os_error(cause) from cause


def _failures_of_http() -> tuple[type[BaseException], ...]:
    aiohttp = sys.modules.get("aiohttp")  # where it was not imported, nothing was raised by it
    return (TimeoutError, aiohttp.ClientError) if aiohttp else (TimeoutError,)


def _as_os_error(cause: BaseException) -> OSError:
    """Return an error of the store, or of the file where a server refuses that one."""
    status = getattr(cause, "status", None)
    refused = isinstance(status, int) and status in REFUSALS and status not in LATER
    words = f"{type(cause).__name__}: {cause}".removesuffix(": ")
    return OSError(errno.EACCES if refused else errno.EIO, words)


class StoredFile(io.RawIOBase):
    """A file in a store, which is read ahead the further, the longer it has been read forwards.

    A request takes as long as some megabytes. But whoever walks the headers of a large archive wants
    half a kilobyte here and there: fsspec's own reading ahead would fetch 5 MiB for each.
    """

    def __init__(self, place: Place, end: int | None) -> None:
        self._place, self._end = place, end
        self._held, self._start = b"", 0
        self._position = 0
        self._ahead = LEAST_AHEAD // 2
        with asked(place):
            self._file = place.open("rb", cache_type="none")  # type: ignore[call-overload]

    def readable(self) -> bool:
        """Return True: it is for reading."""
        return True

    def seekable(self) -> bool:
        """Return True; a store that only sends files from the start says so when it is asked."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position counted from the start, the present place or the end of the file."""
        if whence == io.SEEK_END:
            with asked(self._place):
                offset += self._file.seek(0, io.SEEK_END)
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed asks for more
        """Fill `buffer` from the present place, with as much as is at hand."""
        inside = self._position - self._start
        if not 0 <= inside < len(self._held):
            self._fetch(len(buffer))
            inside = 0
        data = self._held[inside : inside + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _fetch(self, wanted: int) -> None:
        """Ask the store for what lies at the present place and, if it is read forwards, behind it."""
        skipped = self._position - self._start - len(self._held)
        is_forwards = 0 <= skipped <= self._ahead
        self._ahead = min(2 * self._ahead, MOST_AHEAD) if is_forwards else LEAST_AHEAD
        amount = self._ahead
        if self._end is not None:
            amount = min(amount, max(0, self._end - self._position))
        with asked(self._place):
            if self._file.tell() != self._position:
                self._file.seek(self._position)
            self._held = self._file.read(max(wanted, amount))
        self._start = self._position

    def close(self) -> None:
        """Close the file below."""
        if not self.closed and hasattr(self, "_file"):  # the collector closes one that was not opened
            self._file.close()
        super().close()
