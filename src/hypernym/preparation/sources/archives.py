"""Class tars: CLASS.tar holds the images of a class.

    a folder of class tars     SOURCE/n02084071.tar, or SOURCE/train/n02084071.tar ...
    a tar of class tars        SOURCE.tar holds n02084071.tar holds n02084071_1.JPEG (fall11)

Nothing is unpacked: a class tar inside a tar is read where it lies.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources.part import SourceImage, in_byte_order, readable, refusal
from hypernym.preparation.sources.places import FileSpan, list_folder, refused_reads, state_of
from hypernym.preparation.sources.splits import split_of
from hypernym.preparation.sources.tars import reader_of_member, refused_damage, walk_members

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hypernym.preparation.sources.part import Place
    from hypernym.preparation.sources.places import Entry
    from hypernym.preparation.sources.tars import Member, Stream


@dataclass(frozen=True)
class ClassTarPart:
    """The tar of a class: a file, or `size` bytes of one."""

    name: str
    class_id: str
    state: str
    path: Place
    offset: int = 0
    size: int | None = None
    """None: to the end of the file."""

    split: str | None = None

    def images(self) -> Iterator[SourceImage]:
        """Walk the members but for folders, in their order; damage is a row for all that is lost.

        Raises:
            SourceError: the file cannot be read.
        """
        with refused_reads(self.path), FileSpan(self.path, self.offset, self.size) as stream:
            try:
                for member in walk_members(stream):
                    if not member.is_folder:
                        key, read = f"{self.name}/{member.name}", reader_of_member(stream, member)
                        yield SourceImage(key, (self.class_id,), read, self.split)
            except tarfile.ReadError as cause:
                read = refusal(Reason.DAMAGED_ARCHIVE, f"{cause}: what follows in it is lost")
                yield SourceImage(f"{self.name}.tar", (self.class_id,), read, self.split)

    def staged(self, folder: Path) -> ClassTarPart:  # noqa: ARG002  # nothing is to be copied
        """Return the part itself."""
        return self


def find_parts_in_folder(source: Place) -> Iterator[ClassTarPart]:
    """Give the class tars of a folder in byte order, split by split.

    Raises:
        SourceError: the folder cannot be listed, or there is no tar in it.
    """
    is_empty = True
    for folder, tar in tars_in(source):
        class_id = readable(tar.place.stem)
        name, split = (
            (f"{readable(folder)}/{class_id}", split_of(folder)) if folder else (class_id, None)
        )
        yield ClassTarPart(name, class_id, state_of(tar.place), tar.place, split=split)
        is_empty = False
    if is_empty:
        raise SourceError(f"{source} holds no classes: it needs one CLASS.tar for each class.")


def find_parts_in_tar(source: Place) -> Iterator[ClassTarPart]:
    """Give the class tars of a tar in byte order, from its headers.

    Raises:
        SourceError: the tar is damaged, or holds no class tar, or a class twice.
    """
    with refused_damage(source), FileSpan(source) as stream:
        parts = [
            ClassTarPart(class_id, class_id, state_of_member(tar), source, tar.offset, tar.size)
            for class_id, tar in walk_class_tars(source, stream)
        ]
    yield from sorted(parts, key=lambda part: in_byte_order(part.name))


def walk_class_tars(source: Place, stream: Stream) -> Iterator[tuple[str, Member]]:
    """Give the class tars among the members of a tar, each with its class id.

    Raises:
        SourceError: there is none, or a class twice.
        tarfile.ReadError: the tar is damaged, or is cut short.
        OSError: the system does not hand out its bytes.
    """
    found: set[str] = set()
    for member in walk_members(stream):
        if is_class_tar(member):
            name = PurePosixPath(member.name)
            if name.stem in found:
                raise SourceError(f"{source} holds {name.name} twice: keep one of them.")
            found.add(name.stem)
            yield name.stem, member
    if not found:
        raise SourceError(
            f"{source} holds no classes: a tar of class tars needs one member CLASS.tar for each class."
        )


def is_class_tar(member: Member) -> bool:
    """Tell whether a member is the tar of a class, by its name."""
    name = PurePosixPath(member.name)
    return member.is_file and name.suffix == ".tar" and not name.name.startswith(".")


def state_of_member(member: Member) -> str:
    """Return what tells a member from another in its place."""
    return f"{member.size} bytes at {member.offset}"


def tars_in(folder: Place) -> list[tuple[str, Entry]]:
    """Return the tars of a folder and of its train/, val/ and test/, each with that folder or "".

    Raises:
        SourceError: a folder cannot be listed.
    """
    entries = list_folder(folder)
    tars = [("", entry) for entry in entries if _is_tar(entry)]
    splits = [entry for entry in entries if entry.is_folder and split_of(entry.name)]
    within = [(split.name, entry) for split in splits for entry in list_folder(split.place)]
    return [*tars, *((split, entry) for split, entry in within if _is_tar(entry))]


def _is_tar(entry: Entry) -> bool:
    return entry.name.endswith(".tar") and not entry.is_folder
