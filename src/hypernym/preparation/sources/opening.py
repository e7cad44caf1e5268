"""Opening: a source at an address, in the layout that is seen there or that is stated."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from hypernym.errors import SourceError, UsageError
from hypernym.preparation.sources import (
    archives,
    cifar,
    coco,
    folder_tars,
    folders,
    food251,
    imagenet,
    inaturalist,
    lists,
    parquet,
    streams,
    voc,
    webdataset,
)
from hypernym.preparation.sources.layouts import layout_of
from hypernym.preparation.sources.part import Layout, Source
from hypernym.preparation.sources.places import is_folder, is_there, place_of, refused_reads, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypernym.preparation.sources.part import Part, Place

OPTIONS = {
    "image column": {Layout.PARQUET, Layout.LIST},
    "label column": {Layout.PARQUET, Layout.LIST, Layout.WEBDATASET},
    "split column": {Layout.LIST},
}
"""The layouts in which each column can be stated."""


def open_source(
    address: str,
    *,
    layout: Layout | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
) -> Source:
    """Look at what lies at an address, which is a local path or anything that fsspec knows.

    Args:
        address: A folder or a file.
        layout: How it is laid out, where it is not to be looked at.
        image_column: The column of images (Parquet) or of paths (lists), if it has no common name.
        label_column: The column of labels (Parquet, lists), or the field of JSON (WebDataset).
        split_column: The column of splits (lists).

    Raises:
        SourceError: nothing lies there, or nothing in a known layout.
        UsageError: a column was stated for a layout without columns.
    """
    place = place_of(address)
    with refused_reads(place):
        if not is_there(place):
            raise SourceError(
                f"{address} does not exist: give a folder of class folders, a tar of them, or another "
                f"of the known layouts ({', '.join(Layout)})."
            )
        layout = layout or layout_of(place)
        holds_files = is_folder(place)
        size = None if holds_files else size_of(place)
    columns = {"image column": image_column, "label column": label_column, "split column": split_column}
    stated = {role: name for role, name in columns.items() if name is not None}
    for role in stated:
        if layout not in OPTIONS[role]:
            raise UsageError(f"{address} is of the layout {layout}, which has no {role} to be stated.")
    name = place.resolve().name if isinstance(place, Path) else place.name
    state = {"name": name, "size": size, "layout": str(layout), **stated}
    find_parts = _finder_of(layout, place, image_column, label_column, split_column)
    if layout is Layout.INATURALIST and holds_files and (files := inaturalist.state_of_stream(place)):
        return Source(address, layout, {**state, "files": files}, find_parts, is_stream=True)
    if layout is Layout.GZIP_TAR_OF_CLASS_TARS:
        return Source(address, layout, state, find_parts, is_stream=True)
    # To look once may mean to read a million headers: whoever asks again gets the same parts.
    found = cache(lambda: tuple(find_parts()))
    return Source(address, layout, state, lambda: iter(found()))


PUBLISHED: dict[Layout, Callable[[Place], Iterator[Part]]] = {
    Layout.VOC: voc.find_parts,
    Layout.COCO: coco.find_parts,
    Layout.INATURALIST: inaturalist.find_parts,
    Layout.CIFAR: cifar.find_parts,
    Layout.IMAGENET_1K: imagenet.find_parts,
    Layout.FOOD_251: food251.find_parts,
}
"""What finds the parts of datasets as their owners publish them."""


def _finder_of(  # noqa: PLR0911  # a layout a line
    layout: Layout, place: Place, image: str | None, label: str | None, split: str | None
) -> Callable[[], Iterator[Part]]:
    match layout:
        case Layout.CLASS_FOLDERS:
            return partial(folders.find_parts, place)
        case Layout.FOLDER_TAR:
            return partial(folder_tars.find_parts, place)
        case Layout.CLASS_TARS:
            return partial(archives.find_parts_in_folder, place)
        case Layout.TAR_OF_CLASS_TARS:
            return partial(archives.find_parts_in_tar, place)
        case Layout.GZIP_TAR_OF_CLASS_TARS:
            return partial(streams.find_parts, place)
        case Layout.WEBDATASET:
            return partial(webdataset.find_parts, place, label)
        case Layout.PARQUET:
            return partial(parquet.find_parts, place, image, label)
        case Layout.LIST:
            return partial(lists.find_parts, place, image, label, split)
        case _:
            return partial(PUBLISHED[layout], place)
