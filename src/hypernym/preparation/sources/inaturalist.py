"""iNaturalist as published for its competitions: https://github.com/visipedia/inat_comp, 2017 to 2021.

    SOURCE/train2018.json, val2018.json (2021: train.json or train_mini.json, val.json)
    SOURCE/train_val2018/Plantae/7477/1.jpg ..., or SOURCE/train_val2018.tar.gz or .tar
        (2021: train/02912_Animalia_.../1.jpg, or train.tar.gz; the same for val)

The JSON has COCO's form; the name of a file begins with the folder of its images. A class id is the
category's id in digits, by which all files of a year speak of it: the names of 2018 and 2019 were
disguised at first, and were published later in categories.json. Any of these JSON files is a taxonomy,
too: its categories state kingdom, phylum, class, order, family and genus.

The val images are the test split: those that are called test have no published labels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypernym.errors import SourceError
from hypernym.preparation.sources import gzipped
from hypernym.preparation.sources.annotated import Row, cut, find_holding
from hypernym.preparation.sources.annotations import load_annotations
from hypernym.preparation.sources.part import readable
from hypernym.preparation.sources.places import list_folder, state_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hypernym.preparation.sources.part import Part, Place

LABELS = re.compile(r"(train|val)(20\d\d)?\.json")
MINI = "train_mini.json"
GZIPPED = re.compile(r"(train|val)\w*\.tar\.gz")
SPLITS = {"train": "train", "val": "test"}


def is_inaturalist(names: Collection[str]) -> bool:
    """Tell whether a folder holds iNaturalist, by the names in it: the labels of train and val."""
    words = {match[1] for name in names if (match := LABELS.fullmatch(name))}
    return words == {*SPLITS} or (MINI in names and "val" in words)


def state_of_stream(source: Place) -> str | None:
    """Return what tells archives and labels from others, or None where no archive is gzip'd."""
    names = {entry.name for entry in list_folder(source)}
    archives = [name for name in names if GZIPPED.fullmatch(name)]
    if all({name.removesuffix(".tar.gz"), name.removesuffix(".gz")} & names for name in archives):
        return None
    labels = [name for name in names if LABELS.fullmatch(name) or name == MINI]
    return "; ".join(f"{name} {state_of(source / name)}" for name in sorted([*archives, *labels]))


def find_parts(source: Place) -> Iterator[Part]:
    """Give runs of images, train before val, folder by folder of images.

    Raises:
        SourceError: labels or images are missing, or not as published.
    """
    names = {entry.name for entry in list_folder(source)}
    files = sorted(name for name in names if LABELS.fullmatch(name))
    if not any(name.startswith("train") for name in files) and MINI in names:
        files.insert(0, MINI)
    if len(files) > len(SPLITS):
        raise SourceError(f"{source} holds labels of several years: leave those of one of them.")
    if not files:
        raise SourceError(f"{source} holds no labels of iNaturalist: put train.json and val.json there.")
    # One archive may hold the images of both: it is read once, with the rows of both.
    gzipped_rows: dict[Place, list[Row]] = {}
    for name in files:
        for top, own in _rows_by_folder(source, name).items():
            holding = find_holding(source, top, (".tar", ".tar.gz"))
            if holding.name.endswith(".gz"):
                gzipped_rows.setdefault(holding, []).extend(own)
            else:
                place = source if holding.name == top else holding
                yield from cut(own, place, f"{name.partition('.')[0]}/{top}")
    for holding, own in gzipped_rows.items():
        yield from gzipped.find_parts(own, holding, holding.name.removesuffix(".tar.gz"))


def _rows_by_folder(source: Place, file: str) -> dict[str, list[Row]]:
    """Return what a file says, by the folder on top in which the images lie."""
    annotations = load_annotations(source / file)
    split = SPLITS["train" if file.startswith("train") else "val"]
    rows: dict[str, list[Row]] = {}
    for image, path in annotations.names.items():
        class_ids = tuple(str(category) for category in annotations.labels.get(image, ()))
        top, slash, _ = path.removeprefix("./").partition("/")
        if not slash or top in {"", ".."}:
            raise SourceError(
                f"{source / file} names the image {readable(path)}: the published names begin with the "
                f"folder of the images."
            )
        rows.setdefault(top, []).append(Row(path, path, class_ids, split))
    return rows
