"""Class folders: SOURCE/CLASS/..., or SOURCE/train/CLASS/... where the folders on top are splits.

A file belongs to the class folder that it lies in, however deep. Names with a dot in front are left
out, and so are files beside the class folders. A class folder may be a link (a common way to make a
subset), and so may a file; a link to a folder further down is not followed, since it may lead round in
circles, and becomes a row with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources.part import SourceImage, readable, refusal
from hypernym.preparation.sources.places import list_folder, reader_of_file, refused_reads
from hypernym.preparation.sources.splits import are_splits, split_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypernym.preparation.sources.part import Place
    from hypernym.preparation.sources.places import Entry


@dataclass(frozen=True)
class FolderPart:
    """A class folder, of one split if there are splits."""

    name: str
    class_id: str
    state: str
    path: Place
    split: str | None = None

    def images(self) -> Iterator[SourceImage]:
        """Walk the files: those of a folder, then those of its folders, each in byte order.

        Raises:
            SourceError: a folder cannot be listed.
        """
        for inside, entries in _walk(self.path):
            for entry in entries:
                if entry.is_folder and not entry.is_link:
                    continue
                read = (
                    refusal(Reason.NOT_A_FILE, "a link to a folder is not followed")
                    if entry.is_folder
                    else reader_of_file(entry.place, self.path)
                )
                key = readable("/".join((self.name, *inside, entry.name)))
                yield SourceImage(key, (self.class_id,), read, self.split)

    def staged(self, folder: Path) -> FolderPart:  # noqa: ARG002  # nothing is to be copied
        """Return the part itself."""
        return self


def find_parts(source: Place) -> Iterator[FolderPart]:
    """Give the class folders in byte order, split by split.

    Raises:
        SourceError: a folder cannot be listed, or there is no class folder.
    """
    is_empty = True
    for split, folder in _class_folders(source):
        class_id = readable(folder.name)
        name = class_id if split is None else f"{readable(folder.folder.name)}/{class_id}"
        yield FolderPart(name, class_id, _state_of(folder.place), folder.place, split)
        is_empty = False
    if is_empty:
        raise SourceError(
            f"{source} holds no classes: a folder needs one folder of images for each class, alone or "
            f"within train/, val/ and test/."
        )


def _class_folders(source: Place) -> Iterator[tuple[str | None, Entry]]:
    """Give each class folder with the split that it lies in."""
    tops = _folders_in(source)
    if not _are_splits(tops):
        yield from ((None, top) for top in tops)
        return
    for top in tops:
        yield from ((split_of(top.name), folder) for folder in _folders_in(top.place))


def _folders_in(folder: Place) -> list[Entry]:
    return [entry for entry in list_folder(folder) if entry.is_folder]


def _are_splits(tops: list[Entry]) -> bool:
    names = [top.name for top in tops]
    if are_splits(names, hold_folders_alone=False):
        return True
    if not are_splits(names, hold_folders_alone=True):
        return False  # whatever they hold: it is not looked at
    return all(entry.is_folder for top in tops for entry in list_folder(top.place))


def _walk(top: Place) -> Iterator[tuple[tuple[str, ...], list[Entry]]]:
    """Give each folder's path below `top` with what it holds, a folder before those inside it."""
    waiting: list[tuple[tuple[str, ...], Place]] = [((), top)]
    while waiting:
        inside, folder = waiting.pop()
        entries = list_folder(folder)
        yield inside, entries
        below = [entry for entry in entries if entry.is_folder and not entry.is_link]
        waiting += [((*inside, entry.name), entry.place) for entry in reversed(below)]


def _state_of(top: Place) -> str:
    """Return times and number of all entries: files added, taken away or renamed change it.

    A file that is written over in place does not; to see that, each file would have to be asked.
    """
    newest, count = 0, 0
    for inside, entries in _walk(top):
        count += len(entries)
        folder = top.joinpath(*inside)
        if isinstance(folder, Path):  # folders in a store have no time
            with refused_reads(folder):
                newest = max(newest, folder.stat().st_mtime_ns)
    return f"{count} entries, {newest}"
