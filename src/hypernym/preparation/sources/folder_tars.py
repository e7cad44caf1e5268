"""Class folders in one tar: photos/n01484850/1.JPEG, train/apple/1.png beside test/apple/2.png.

The class of a file is the outermost of its folders that says something. Taken off before it are

    1. the folders on top that all images share (photos/), as long as a folder is left to each image;
       a folder with the name of a split is never taken off so;
    2. the folder that is then on top, where these are splits by the rule for class folders.

What is left without a folder has no class: an image there becomes a row that says so, any other file
(README, labels.csv) is no image of the source. Names with a dot in front are left out, as in class
folders. A path inside the archive is taken for what it names: "./a/1.jpg", "/a/1.jpg" and
"../a/1.jpg" are all of class a, and nothing is ever written under any of them.

An archive may hold millions of files. `find_parts` reads all headers once and cuts them into runs; a
part reads the headers of its own run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hypernym.errors import SourceError
from hypernym.preparation.sources.part import IMAGE_SUFFIXES, SourceImage
from hypernym.preparation.sources.places import FileSpan
from hypernym.preparation.sources.splits import are_splits, split_of
from hypernym.preparation.sources.tars import reader_of_member, refused_damage, walk_members

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hypernym.preparation.sources.part import Place
    from hypernym.preparation.sources.tars import Member

MAX_PART_MEMBERS = 4096
MAX_PART_BYTES = 256 << 20
"""A part is closed when it has so many members, or when their bytes pass this."""


@dataclass(frozen=True)
class Nesting:
    """How the folders of an archive are to be read."""

    lead: tuple[str, ...]
    """The folders on top that all images share."""

    has_splits: bool
    """Whether the next folder is a split."""

    def place(self, folders: tuple[str, ...]) -> tuple[str | None, str | None]:
        """Return split and class of what lies in `folders`, either None if they say nothing of it."""
        below = folders[len(self.lead) :]
        if folders[: len(self.lead)] != self.lead or not below:
            return None, None
        if not self.has_splits:
            return None, below[0]
        return split_of(below[0]), below[1] if len(below) > 1 else None


@dataclass(frozen=True)
class FolderTarPart:
    """A run of members: all bytes from `start` to `end`."""

    name: str
    class_id: str | None
    state: str
    path: Place
    start: int
    end: int
    nesting: Nesting

    def images(self) -> Iterator[SourceImage]:
        """Walk the files of class folders, and images that lie in none, in the order of the archive.

        Raises:
            SourceError: the archive cannot be read, or is not the one that was looked at.
        """
        length = self.end - self.start
        with refused_damage(self.path), FileSpan(self.path, self.start, length) as stream:
            for member in walk_members(stream, until=length):
                folders = _folders_of(member)
                if folders is None:
                    continue
                split, class_id = self.nesting.place(folders)
                if class_id or _is_image(member):
                    read = reader_of_member(stream, member)
                    yield SourceImage(member.name, (class_id,) if class_id else (), read, split)

    def staged(self, folder: Path) -> FolderTarPart:  # noqa: ARG002  # nothing is to be copied
        """Return the part itself."""
        return self


def find_parts(source: Place) -> Iterator[FolderTarPart]:
    """Give runs of members in the order of the archive, from its headers.

    Raises:
        SourceError: the archive is damaged, or no file in it lies in a folder.
    """
    runs: list[_Run] = []
    outline_of_images, outline = _Outline(), _Outline()
    last: tuple[tuple[str, ...], bool] = ((), False)
    with refused_damage(source), FileSpan(source) as stream:
        for number, member in enumerate(walk_members(stream), 1):
            if not runs or runs[-1].is_full:
                runs.append(_Run(member.start, first=number))
            folders = _folders_of(member)
            is_walked = bool(folders) or _is_image(member)
            runs[-1].add(member, number, folders if is_walked else None)
            if folders and (folders, _is_image(member)) != last:
                last = (folders, _is_image(member))
                outline.add(folders)
                if last[1]:
                    outline_of_images.add(folders)
    nesting = outline_of_images.nesting() or outline.nesting()
    if nesting is None:
        raise SourceError(
            f"{source} holds no classes: the images of a class need a folder of their own in it."
        )
    for run in runs:
        name, state = f"members {run.first}-{run.last}", f"{run.end - run.start} bytes at {run.start}"
        class_id = nesting.place(run.common or ())[1]
        yield FolderTarPart(name, class_id, state, source, run.start, run.end, nesting)


@dataclass
class _Run:
    """Members that become a part."""

    start: int
    first: int
    last: int = 0
    end: int = 0
    common: tuple[str, ...] | None = None
    """The folders that all its files share, but for what is passed over; None while there is no file."""

    def add(self, member: Member, number: int, folders: tuple[str, ...] | None) -> None:
        self.last, self.end = number, member.end
        if folders is not None:
            self.common = folders if self.common is None else _common(self.common, folders)

    @property
    def is_full(self) -> bool:
        is_long = self.last - self.first + 1 >= MAX_PART_MEMBERS
        return is_long or self.end - self.start >= MAX_PART_BYTES


@dataclass
class _Outline:
    """What the folders of many files have in common, in constant memory."""

    lead: tuple[str, ...] | None = None
    tops: set[str] = field(default_factory=set)
    """The folders behind the lead, as far as they are splits; "" stands for all others."""

    is_flat: bool = False
    """Whether a file lies directly in one of them."""

    def add(self, folders: tuple[str, ...]) -> None:
        """Take in a file that lies in these folders, of which there is one at least."""
        before_class = tuple(takewhile(lambda folder: not split_of(folder), folders[:-1]))
        lead = before_class if self.lead is None else _common(self.lead, before_class)
        if self.lead is not None and len(lead) < len(self.lead):
            self.tops.add("")  # what was shared until now, and is no split
        self.lead = lead
        self.tops.add(folders[len(lead)].lower() if split_of(folders[len(lead)]) else "")
        self.is_flat |= len(folders) == len(lead) + 1

    def nesting(self) -> Nesting | None:
        """Return how the folders are to be read, or None if there was no file."""
        if self.lead is None:
            return None
        return Nesting(self.lead, are_splits(self.tops, hold_folders_alone=not self.is_flat))


def _folders_of(member: Member) -> tuple[str, ...] | None:
    """Return the folders that a file lies in; None if it is hidden, or is a folder itself."""
    pieces = [piece for piece in member.name.split("/") if piece not in {"", ".", ".."}]
    if member.is_folder or not pieces or any(piece.startswith(".") for piece in pieces):
        return None
    return tuple(pieces[:-1])


def _is_image(member: Member) -> bool:
    return PurePosixPath(member.name).suffix.lower() in IMAGE_SUFFIXES


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    both = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return tuple(pair[0] for pair in both)
