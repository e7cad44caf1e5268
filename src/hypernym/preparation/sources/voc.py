"""Pascal VOC as published: http://host.robots.ox.ac.uk/pascal/VOC, for 2007 and 2012.

    SOURCE.tar                         VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar
    SOURCE/VOCtrainval_06-Nov-2007.tar, SOURCE/VOCtest_06-Nov-2007.tar
    SOURCE/VOCdevkit/VOC2007/..., SOURCE/VOC2007/..., or SOURCE itself is VOC2007
        Annotations/000005.xml, ImageSets/Main/trainval.txt, test.txt, JPEGImages/000005.jpg

An image has the label of every class of which it shows an object that is not difficult. An image with
difficult objects alone has no label, and becomes a row that says so. trainval (or train and val) is the
train split, test the test split.

The XML is read by expat without document types, so that no entity is ever defined or expanded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError
from hypernym.preparation.sources.annotated import Row, cut, find_members, reader_of_inside
from hypernym.preparation.sources.part import readable, refusal
from hypernym.preparation.sources.places import FileSpan, is_folder, list_folder, refused_reads
from hypernym.preparation.sources.tars import reader_of_member

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from hypernym.preparation.sources.annotated import AnnotatedPart
    from hypernym.preparation.sources.part import Place
    from hypernym.preparation.sources.tars import Member

YEAR = re.compile(r"VOC20\d\d")
TAR = re.compile(r"VOC.*20\d\d\.tar")
MEMBER = re.compile(r"(^|/)VOC20\d\d/(Annotations|ImageSets|JPEGImages)/")
DEVKIT = "VOCdevkit"
XML, SETS, JPEGS = "Annotations", "ImageSets/Main", "JPEGImages"
IMAGE_SETS = {"trainval": "train", "train": "train", "val": "train", "test": "test"}
"""The split that each image set becomes; train and val count only where trainval is missing."""

MAX_XML_BYTES = 1 << 20


def is_voc(names: Collection[str]) -> bool:
    """Tell whether a folder holds Pascal VOC, by the names in it."""
    return (
        DEVKIT in names
        or {XML, "ImageSets"} <= set(names)
        or any(YEAR.fullmatch(name) or TAR.fullmatch(name) for name in names)
    )


def is_voc_member(name: str) -> bool:
    """Tell whether a file in a tar is one of Pascal VOC's."""
    return MEMBER.search(name) is not None


def find_parts(source: Place) -> Iterator[AnnotatedPart]:
    """Give runs of images, set by set.

    Raises:
        SourceError: an archive or folder cannot be read, or holds no image set.
    """
    is_empty = True
    for place, root, read, is_tar in _years_in(source):
        below = f"{root}/" if is_tar and root else ""
        name = root.rpartition("/")[2] if is_tar else _name_of(place)
        for image_set, stems in _image_sets(read, below):
            rows = [_row(name, stem, below, IMAGE_SETS[image_set], read) for stem in stems]
            yield from cut(rows, place, f"{name} {image_set}")
            is_empty = False
    if is_empty:
        raise SourceError(
            f"{source} holds no image sets of Pascal VOC: it needs {SETS}/trainval.txt or test.txt "
            f"beside {XML}/ and {JPEGS}/, as its archives have them."
        )


def _name_of(folder: Place) -> str:
    return readable(folder.resolve().name if isinstance(folder, Path) else folder.name)


def _years_in(source: Place) -> Iterator[tuple[Place, str, Callable[[str], bytes], bool]]:
    """Give each year of a source: place, path in a tar, what reads a small file of it, whether a tar."""
    with refused_reads(source):
        in_folder = is_folder(source)
    if not in_folder:
        yield from _years_in_tar(source)
        return
    entries = list_folder(source)
    names = {entry.name for entry in entries}
    if {XML, "ImageSets"} <= names:
        yield source, "", _Folder(source).read, False
        return
    folders = [entry for entry in entries if entry.is_folder]
    if DEVKIT in {entry.name for entry in folders}:
        folders = [entry for entry in list_folder(source / DEVKIT) if entry.is_folder]
    years = [folder for folder in folders if YEAR.fullmatch(folder.name)]
    for year in years:
        yield year.place, "", _Folder(year.place).read, False
    if not years:
        for entry in entries:
            if TAR.fullmatch(entry.name) and not entry.is_folder:
                yield from _years_in_tar(entry.place)


def _years_in_tar(tar: Place) -> Iterator[tuple[Place, str, Callable[[str], bytes], bool]]:
    members = find_members(tar)
    roots = {name.partition(f"/{SETS}/")[0] for name in members if f"/{SETS}/" in name}
    for root in sorted(roots):
        with refused_reads(tar), FileSpan(tar) as stream:
            yield tar, root, _Tar(members, stream).read, True


@dataclass(frozen=True)
class _Folder:
    """The small files of a folder."""

    folder: Place

    def read(self, name: str) -> bytes:
        """Return what a file holds; RejectionError: it cannot be read."""
        return reader_of_inside(self.folder, name)()


@dataclass(frozen=True)
class _Tar:
    """The small files of a tar."""

    members: dict[str, Member]
    stream: FileSpan

    def read(self, name: str) -> bytes:
        """Return what a member holds; RejectionError: it cannot be read."""
        member = self.members.get(name)
        absent = refusal(Reason.UNREADABLE, "the archive has no such file")
        return (reader_of_member(self.stream, member) if member else absent)()


def _image_sets(read: Callable[[str], bytes], below: str) -> Iterator[tuple[str, list[str]]]:
    """Give the stems of each image set that there is."""
    found: set[str] = set()
    for name in IMAGE_SETS:
        if name in {"train", "val"} and "trainval" in found:
            continue
        try:
            text = read(f"{below}{SETS}/{name}.txt")
        except RejectionError:
            continue
        found.add(name)
        lines = text.decode("utf-8", "surrogateescape").splitlines()
        yield name, [line.split()[0] for line in lines if line.strip()]


def _row(year: str, stem: str, below: str, split: str, read: Callable[[str], bytes]) -> Row:
    key, name = f"{year}/{JPEGS}/{stem}.jpg", f"{below}{JPEGS}/{stem}.jpg"
    try:
        class_ids = classes_shown(read(f"{below}{XML}/{stem}.xml"))
    except RejectionError as rejection:
        return Row(key, name, (), split, f"{stem}.xml: {rejection.rejected.sentence}")
    return Row(key, name, class_ids, split)


def classes_shown(xml: bytes) -> tuple[str, ...]:
    """Return the classes of the objects in an annotation that are not difficult, each once.

    Raises:
        RejectionError: the XML is damaged, has a document type, or has an object without a name.
    """
    if len(xml) > MAX_XML_BYTES:
        raise RejectionError(Reason.NO_LABEL, f"{len(xml)} bytes are no annotation")
    parser = ET.XMLParser(target=_WithoutDoctype())  # noqa: S314  # document types are refused
    try:
        parser.feed(xml)
        root = parser.close()
    except (ET.ParseError, ValueError, LookupError) as cause:
        raise RejectionError(Reason.NO_LABEL, f"damaged XML ({cause})") from cause
    found: dict[str, None] = {}
    for thing in root.findall("object"):
        name = (thing.findtext("name") or "").strip()
        if not name:
            raise RejectionError(Reason.NO_LABEL, "an object has no name")
        if (thing.findtext("difficult") or "0").strip() != "1":
            found[readable(name)] = None
    return tuple(found)


class _WithoutDoctype(ET.TreeBuilder):
    """Builds a tree, and refuses what could define entities."""

    def doctype(self, name: str, *_: str | None) -> None:
        """Refuse."""
        raise RejectionError(Reason.NO_LABEL, f"XML with a document type ({name}) is not read")
