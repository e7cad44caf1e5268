"""What a person points at, gathered: files, folders, patterns, datasets, standard input.

Everything is checked at once and walked as it is needed: a folder of a million pictures is never a list.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from glob import has_magic
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError, UsageError
from hypernym.prediction.pictures import MissingPicture, PictureBytes, PictureFile
from hypernym.prediction.samples import Samples, is_dataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hypernym.prediction.pictures import Picture

STDIN = "-"
BLOCK = 1 << 16
ANY_DEPTH = "**"

IMAGE_BEGINNING = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*|\0\0\0\x0cjP  "
    rb"|\xff\x4f\xff\x51|\x1f\x8b|P[1-6]\s+\d+\s+\d+\s",
    re.DOTALL,
)
"""How files of the kinds begin that can be read; no list of paths begins so."""


class Source(Protocol):
    """Pictures from one place."""

    def __iter__(self) -> Iterator[Picture]:
        """Give them in order, the same each time."""
        ...


@dataclass(frozen=True)
class Gathered:
    """All that was pointed at, in the order given."""

    sources: tuple[Source, ...]

    @property
    def has_truth(self) -> bool:
        """Whether some of the pictures come with their labels."""
        return any(isinstance(source, Samples) for source in self.sources)

    def __iter__(self) -> Iterator[Picture]:
        """Give the pictures.

        Raises:
            SourceError: there are none.
        """
        found = False
        for picture in chain.from_iterable(self.sources):
            found = True
            yield picture
        if not found:
            raise SourceError("there is no picture: give image files or folders that hold some.")

    def count(self) -> int | None:
        """Return how many there are, or None where that is known at the end only."""
        if any(isinstance(source, StandardInput) for source in self.sources):
            return None
        return sum(
            len(source) if isinstance(source, Samples) else sum(1 for _ in source)
            for source in self.sources
        )


def gather(words: Sequence[str], *, split: str | None = None) -> Gathered:
    """Find what is meant by words, each of which stands for one picture or for several.

    Args:
        words: A file; a folder, with all folders in it (what is hidden is left out); a pattern such as
            `photos/**/*.jpg`, unless a file bears just that name; a dataset; `-`: standard input, with
            a path a line or NUL-separated, or with the bytes of one image.
        split: Of datasets; None: val, or train of one without.

    Raises:
        SourceError: a word stands for nothing.
        DatasetError: a dataset is not finished, or has no such split.
        UsageError: there is a split and no dataset, or standard input is asked for twice.
    """
    if list(words).count(STDIN) > 1:
        raise UsageError("standard input (-) was given twice: it can be read once, so leave one out.")
    gathered = Gathered(tuple(chain.from_iterable(_find(word, split) for word in words)))
    if split and not gathered.has_truth:
        raise UsageError(f"--split {split} is of datasets, and none was given: leave it out.")
    return gathered


def _find(word: str, split: str | None) -> Iterable[Source]:
    path = Path(word)
    if word == STDIN:
        return [StandardInput(sys.stdin.buffer)]
    if os.path.lexists(path):
        return [_open(path, split)]
    if has_magic(word):
        return [_open(match, split) for match in _expand(word)]
    if word.startswith("-"):
        raise UsageError(f"{word} is no option of predict, and no file: see hypernym predict --help.")
    raise SourceError(
        f"{word} does not exist: give image files, folders, datasets, patterns, or - for standard input."
    )


def _open(path: Path, split: str | None) -> Source:
    if not _is_folder(path):
        return (PictureFile(path),)
    if is_dataset(path):
        return Samples(path, split)
    try:
        os.scandir(path).close()
    except OSError as cause:
        raise SourceError(
            f"{path} cannot be listed ({cause.strerror}): give a folder that you may read."
        ) from cause
    return Folder(path)


def _expand(pattern: str) -> list[Path]:
    """Return what a pattern stands for, sorted: files and, if it has no `**`, folders; none hidden."""
    pieces = Path(pattern).parts
    fixed = next(place for place, piece in enumerate(pieces) if has_magic(piece))
    top, inside = Path(*pieces[:fixed]), list(pieces[fixed:])
    # `**` at the end means all files, as in a shell; pathlib would give the folders.
    inside += ["*"] if inside[-1] == ANY_DEPTH else []
    wants_hidden = any(piece.startswith(".") for piece in inside)
    if any(ANY_DEPTH in piece and piece != ANY_DEPTH for piece in inside):  # Python 3.13 takes it for *
        raise SourceError(f"{pattern!r} is no pattern: ** must stand between slashes.")
    found = [
        match
        for match in sorted(top.glob("/".join(inside)))
        if (wants_hidden or not any(_is_hidden(piece) for piece in match.relative_to(top).parts))
        and not (ANY_DEPTH in inside and _is_folder(match))
    ]
    if not found:
        raise SourceError(f"{pattern!r} stands for no file: there is none of that name or pattern.")
    return found


def _is_folder(path: Path) -> bool:
    """Tell whether a path leads to a folder; one that leads nowhere says so when it is opened."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


@dataclass(frozen=True)
class Folder:
    """A folder, with the folders in it, in the order of names; hidden ones are left out.

    A link to a folder is not followed, since it may lead round in circles. It is told, as is a folder
    inside that cannot be listed.
    """

    path: Path

    def __iter__(self) -> Iterator[Picture]:
        try:
            with os.scandir(self.path) as entries:
                inside = sorted(
                    (entry for entry in entries if not _is_hidden(entry.name)), key=lambda of: of.name
                )
        except OSError as cause:
            yield MissingPicture(
                PictureFile(self.path).name, Reason.UNREADABLE, f"the folder: {cause.strerror}"
            )
            return
        for entry in inside:
            path = self.path / entry.name
            try:
                is_file, is_folder = entry.is_file(), entry.is_dir()
            except OSError as cause:  # a link to itself, or into a folder that may not be entered
                yield MissingPicture(PictureFile(path).name, Reason.UNREADABLE, str(cause.strerror))
                continue
            if is_folder and not entry.is_symlink():
                yield from Folder(path)
            elif is_file:
                yield PictureFile(path)
            else:
                detail = "a link to a folder is not followed" if is_folder else ""
                yield MissingPicture(PictureFile(path).name, Reason.NOT_A_FILE, detail)


@dataclass(frozen=True)
class StandardInput:
    """Paths from a stream, a line each or, if there is a NUL among the first, NUL-separated.

    A line may end as on Windows. A path that itself ends in a return must be NUL-separated.

    Or the bytes of one image, if it begins like one. It can be read once.
    """

    stream: BinaryIO

    def __iter__(self) -> Iterator[Picture]:
        block = self.stream.read(BLOCK)
        if IMAGE_BEGINNING.match(block):
            yield PictureBytes(block + self.stream.read(), STDIN)
            return
        separator = b"\0" if b"\0" in block else b"\n"
        rest = b""
        while block:
            *whole, rest = (rest + block).split(separator)
            yield from _take_paths(whole, separator)
            block = self.stream.read(BLOCK)
        yield from _take_paths([rest], separator)


def _take_paths(paths: list[bytes], separator: bytes) -> Iterator[PictureFile]:
    for path in paths:
        own = path.removesuffix(b"\r") if separator == b"\n" else path
        if own:
            yield PictureFile(Path(os.fsdecode(own)))
