"""Layouts: which one lies at a place, seen from names, first bytes and the first members of a tar."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from contextlib import suppress
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hypernym.errors import SourceError
from hypernym.preparation.sources.archives import is_class_tar, tars_in
from hypernym.preparation.sources.cifar import BINARY, PICKLED, check_pickled, is_cifar
from hypernym.preparation.sources.coco import is_coco
from hypernym.preparation.sources.food251 import is_food251
from hypernym.preparation.sources.imagenet import is_imagenet
from hypernym.preparation.sources.inaturalist import is_inaturalist
from hypernym.preparation.sources.parquet import tables_in
from hypernym.preparation.sources.part import IMAGE_SUFFIXES, Layout
from hypernym.preparation.sources.places import (
    FileSpan,
    is_folder,
    list_folder,
    open_file,
    refused_reads,
)
from hypernym.preparation.sources.rows import LIST_SUFFIXES
from hypernym.preparation.sources.splits import split_of
from hypernym.preparation.sources.tars import refused_damage, walk_members
from hypernym.preparation.sources.voc import is_voc, is_voc_member
from hypernym.preparation.sources.webdataset import gather_samples

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hypernym.preparation.sources.part import Place
    from hypernym.preparation.sources.places import Entry
    from hypernym.preparation.sources.tars import Member

OWN_CARD = "dataset.json"
"""What a finished dataset of our own holds."""

MAX_LOOKED_AT = 1000
"""Members of a tar that are looked at to see what it is."""

MAX_NAMED = 3
"""Names in a message of what was found instead."""

PARQUET, GZIP = b"PAR1", b"\x1f\x8b"
PACKED = {
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
}
"""What is not read, by its first bytes."""


PUBLISHED: dict[Layout, Callable[[Collection[str]], bool]] = {
    Layout.VOC: is_voc,
    Layout.COCO: is_coco,
    Layout.INATURALIST: is_inaturalist,
    Layout.CIFAR: is_cifar,
    Layout.IMAGENET_1K: is_imagenet,
    Layout.FOOD_251: is_food251,
}
"""What tells datasets as their owners publish them, by the names in their folder."""


def layout_of(place: Place) -> Layout:
    """Return the layout of what lies at a place.

    Raises:
        SourceError: it has none of the known layouts, or several, or cannot be read.
    """
    with refused_reads(place):
        return _layout_of_folder(place) if is_folder(place) else _layout_of_file(place)


def _layout_of_folder(folder: Place) -> Layout:
    entries = list_folder(folder)
    if any(entry.name == OWN_CARD for entry in entries):
        return Layout.WEBDATASET
    names = {entry.name for entry in entries}
    check_pickled(folder, {e.name for e in entries if not e.is_folder or e.name in PICKLED})
    for layout, is_there in PUBLISHED.items():
        if is_there(names):
            return layout
    tars, tables = tars_in(folder), tables_in(folder)
    # Where tars or tables lie in folders for splits, these are no class folders.
    holders = {"data", *(e.name for e in entries if split_of(e.name))} if tars or tables else set()
    has_folders = any(entry.is_folder and entry.name not in holders for entry in entries)
    match bool(tars), bool(tables), has_folders:
        case True, False, False:
            return _layout_of_tars([tar.place for _, tar in tars])
        case False, True, False:
            return Layout.PARQUET
        case False, False, True:
            _check_not_above_tables(folder, [entry for entry in entries if entry.is_folder])
            return Layout.CLASS_FOLDERS
        case False, False, False:
            raise _no_classes(folder, [entry.name for entry in entries])
    kinds = {"tars": bool(tars), "Parquet files": bool(tables), "folders": has_folders}
    found = " and ".join(kind for kind, is_there in kinds.items() if is_there)
    raise SourceError(
        f"{folder} holds {found}: say which of them is meant by --layout ({', '.join(Layout)})."
    )


def _check_not_above_tables(folder: Place, below: list[Entry]) -> None:
    """Refuse a folder of folders of tables, as the Hugging Face hub has one for each configuration.

    Raises:
        SourceError: one of the first folders holds tables and no image.
    """
    for entry in below[:MAX_NAMED]:
        if tables_in(entry.place) and not _holds_images(entry.place):
            names = ", ".join(entry.name for entry in below[:MAX_NAMED])
            raise SourceError(
                f"{folder} holds Parquet files in folders of their own ({names}): give one of these "
                f"folders, as {entry.place}, or --layout {Layout.CLASS_FOLDERS} if each is a class."
            )


def _holds_images(folder: Place) -> bool:
    return any(
        PurePosixPath(entry.name).suffix.lower() in IMAGE_SUFFIXES for entry in list_folder(folder)
    )


def _layout_of_tars(tars: list[Place]) -> Layout:
    """Look into the first tar that is not damaged from its start on."""
    for tar in tars:
        if members := _first_members(tar):
            return Layout.WEBDATASET if _are_samples(members) else Layout.CLASS_TARS
    return Layout.CLASS_TARS


def _layout_of_file(file: Place) -> Layout:
    if file.suffix.lower() in LIST_SUFFIXES:
        return Layout.LIST
    with open_file(file) as stream:
        start = stream.read(8)
    if start.startswith(PARQUET):
        return Layout.PARQUET
    if start.startswith(GZIP):
        return _layout_of_gzip(file)
    for magic, name in PACKED.items():
        if start.startswith(magic):
            raise SourceError(f"{file} is packed by {name}, which is not read: unpack it first.")
    return _layout_of_tar(file)


def _layout_of_tar(tar: Place) -> Layout:
    members = _first_members(tar, last=is_class_tar)
    if not members:
        with refused_damage(tar), FileSpan(tar) as stream:
            next(walk_members(stream), None)
    if any(map(is_class_tar, members)):
        return Layout.TAR_OF_CLASS_TARS
    if any(is_voc_member(member.name) for member in members):
        return Layout.VOC
    if _are_samples(members):
        return Layout.WEBDATASET
    if any(member.is_file and "/" in member.name.removeprefix("./") for member in members):
        return Layout.FOLDER_TAR
    raise _no_classes(tar, [member.name for member in members])


def _layout_of_gzip(file: Place) -> Layout:
    """Tell class tars from CIFAR; refuse a gzip'd tar of images, of which none could be found again."""
    try:
        with open_file(file) as packed, gzip.open(packed) as stream:
            first = next((member.name for member in walk_members(stream) if member.is_file), "")
    except (tarfile.ReadError, EOFError, zlib.error, gzip.BadGzipFile):
        return Layout.GZIP_TAR_OF_CLASS_TARS  # its reader will say more
    top = first.removeprefix("./").partition("/")[0]
    check_pickled(file, {top})
    if top in BINARY:
        return Layout.CIFAR
    if PurePosixPath(first).suffix.lower() in IMAGE_SUFFIXES:
        raise SourceError(
            f"{file} is a gzip'd tar of images; under gzip only a tar of class tars is read: unpack it "
            f"by gunzip, and give the tar."
        )
    return Layout.GZIP_TAR_OF_CLASS_TARS


def _first_members(tar: Place, last: Callable[[Member], bool] = lambda _: False) -> list[Member]:
    """Return the first members of a tar, as far as it is whole, and none behind one that is `last`."""
    members: list[Member] = []
    # Whoever walks the tar will come to the damage.
    with refused_reads(tar), FileSpan(tar) as stream, suppress(tarfile.ReadError):
        for member in islice(walk_members(stream), MAX_LOOKED_AT):
            members.append(member)
            if last(member):
                break
    return members


def _are_samples(members: list[Member]) -> bool:
    return any(sample.image and sample.labels for sample in gather_samples(members))


def _no_classes(place: Place, names: list[str]) -> SourceError:
    found = ", ".join(names[:MAX_NAMED]) + (" ..." if len(names) > MAX_NAMED else "")
    return SourceError(
        f"{place} holds no classes, but {found or 'nothing'}. A source is a folder or a tar with one "
        f"folder of images, or one CLASS.tar, for each class; WebDataset shards; Parquet files; or a "
        f"list X.csv, X.tsv or X.jsonl of files and labels."
    )
