"""Work that is cut into parts, each written whole into a folder beside the result: it can be resumed.

.NAME.parts/request.json    what was asked for; another request is refused
.NAME.parts/000000.arrow    the answers to the first `PART` pictures, with their names
"""

from __future__ import annotations

import shutil
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hypernym.errors import OutputError, UsageError
from hypernym.files import make_folder, open_whole, read_json, temporary_beside, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PART = 1024
"""Pictures of a part: what a kill can cost, and a row group of a Parquet file."""

REQUEST, REQUEST_VERSION = "request.json", 1
ENDING = ".arrow"


class Parts:
    """The parts of one result, those of an earlier run among them."""

    def __init__(self, result: Path, request: dict[str, Any], *, resume: bool) -> None:
        """Open the folder beside a result.

        Args:
            result: The file that the parts become.
            request: All that decides the answers but the pictures; values of JSON.
            resume: Whether to go on with what lies there, if something does.

        Raises:
            OutputError: the folder is there and is not to be resumed.
            UsageError: it was begun with another request.
        """
        self._result, self._request = result, request
        self.folder = folder_beside(result)
        self.num_done = PART * sum(path.suffix == ENDING for path in _list(self.folder))
        """How many pictures are answered already; a few less if the last part is among them."""
        if not (self.folder / REQUEST).exists():
            return
        if not resume:
            raise OutputError(
                f"{self.folder} holds what was begun for {result}: add --resume to go on with it, or "
                f"remove the folder."
            )
        begun = read_json(self.folder / REQUEST, "request", REQUEST_VERSION, OutputError)
        differing = [
            f"{name} was {begun.get(name)!r} and is {value!r}"
            for name, value in request.items()
            if begun.get(name) != value
        ]
        if differing:
            raise UsageError(
                f"{self._result} was begun with another request ({'; '.join(differing)}): repeat that "
                f"one to resume it, or remove {self.folder}."
            )

    def find(self, number: int, names: Sequence[str]) -> bool:
        """Tell whether a part is there already.

        Args:
            number: From 0.
            names: The names of its pictures.

        Raises:
            UsageError: it is of other pictures.
        """
        path = self._path(number)
        if not path.exists():
            return False
        begun = _read(path)["image"].to_pylist()
        if begun != list(names):
            pairs = enumerate(zip([*begun, None], [*names, None], strict=False))
            place, (old, new) = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
            raise UsageError(
                f"{self._result} was begun with other pictures (number {number * PART + place + 1} was "
                f"{old or 'none'} and is {new or 'none'}): give the same ones to resume it, or remove "
                f"{self.folder}."
            )
        return True

    def check_end(self, number: int) -> None:
        """Check that no part lies behind the last one.

        Raises:
            UsageError: there were more pictures.
        """
        if self._path(number).exists():
            raise UsageError(
                f"{self._result} was begun with more than the {number * PART:,} pictures of now: give "
                f"the same ones to resume it, or remove {self.folder}."
            )

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part, a row a picture; the first one makes the folder."""
        if not (self.folder / REQUEST).exists():
            make_folder(self.folder)
            write_json(self.folder / REQUEST, "request", REQUEST_VERSION, **self._request)
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with (
            open_whole(self._path(number)) as stream,
            pa.ipc.new_file(stream, table.schema, options=options) as writer,
        ):
            writer.write_table(table)

    def read(self) -> Iterator[pa.Table]:
        """Give all parts in order."""
        return map(_read, takewhile(lambda path: path.exists(), map(self._path, count())))

    def remove(self) -> None:
        """Remove the folder, at once: what is half removed is no part."""
        shutil.rmtree(self.folder.rename(temporary_beside(self.folder)), ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}{ENDING}"


def folder_beside(result: Path) -> Path:
    """Return the folder in which the parts of a result lie until it is whole."""
    return result.with_name(f".{result.name}.parts")


def _list(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _read(path: Path) -> pa.Table:
    try:
        with pa.ipc.open_file(path) as file:
            return file.read_all()
    except (pa.ArrowInvalid, OSError) as cause:
        raise OutputError(f"{path} is damaged ({cause}): remove it, and resume once more.") from cause
