"""Food-251 as published for iFood 2019: https://github.com/karansikka1/iFood_2019.

    SOURCE/annot/ or SOURCE itself     class_list.txt, train_info.csv, val_info.csv
        (its edition on Kaggle: train_labels.csv, val_labels.csv)
    SOURCE/train_set/train_000000.jpg ..., or SOURCE/train/, or SOURCE/train.tar; the same for val

A row of the tables is "train_000000.jpg,94", a row of the list of classes "94 tiramisu"; a class id is
the name. The val images are the test split: those that are called test have no published labels.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from hypernym.errors import SourceError
from hypernym.preparation.sources.annotated import Row, cut, find_holding
from hypernym.preparation.sources.part import readable
from hypernym.preparation.sources.places import is_file, is_folder, read_whole, refused_reads

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hypernym.preparation.sources.annotated import AnnotatedPart
    from hypernym.preparation.sources.part import Place

CLASSES = "class_list.txt"
TABLES = {
    "train": ("train_info.csv", "train_labels.csv"),
    "val": ("val_info.csv", "val_labels.csv"),
}
SPLITS = {"train": "train", "val": "test"}


def is_food251(names: Collection[str]) -> bool:
    """Tell whether a folder holds Food-251, by the names in it."""
    found = {*names}
    if CLASSES in found:
        return bool({*TABLES["train"]} & found)
    return "annot" in found and bool({"train_set", "train.tar"} & found)


def find_parts(source: Place) -> Iterator[AnnotatedPart]:
    """Give runs of images, train before val.

    Raises:
        SourceError: a table or the images are missing, or a row says something impossible.
    """
    with refused_reads(source):
        folder = source / "annot" if is_folder(source / "annot") else source
    classes = _load_classes(folder / CLASSES)
    is_empty = True
    for word, names in TABLES.items():
        with refused_reads(folder):
            table = next((folder / name for name in names if is_file(folder / name)), None)
        if table is not None:
            holding = _find_images(source, word)
            rows = list(_rows_in(table, classes, SPLITS[word], word))
            yield from cut(rows, holding, word)
            is_empty = False
    if is_empty:
        raise SourceError(f"{source} holds no labels of Food-251: put {TABLES['train'][0]} there.")


def _find_images(source: Place, word: str) -> Place:
    with refused_reads(source):
        if is_folder(source / f"{word}_set"):
            return source / f"{word}_set"
    return find_holding(source, word, (".tar",))


def _lines(path: Place) -> list[str]:
    with refused_reads(path):
        data = read_whole(path)
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as cause:
        raise SourceError(f"{path} is not UTF-8 text ({cause}): get it anew.") from cause


def _load_classes(path: Place) -> dict[str, str]:
    classes = {}
    for line in _lines(path):
        number, _, name = line.strip().partition(" ")
        if line.strip():
            if not number.isdecimal() or not name.strip():
                raise SourceError(f"{path}: {line!r:.60} is no number and name of a class: get it anew.")
            classes[number] = readable(name.strip())
    return classes


def _rows_in(table: Place, classes: dict[str, str], split: str, word: str) -> Iterator[Row]:
    for number, cells in enumerate(csv.reader(_lines(table)), 1):
        if not cells or (number == 1 and not cells[-1].strip().isdecimal()):
            continue  # an empty line, or the header of Kaggle's edition
        name, label = cells[0].strip(), cells[-1].strip()
        if len(cells) != 2 or label not in classes:  # noqa: PLR2004  # image and label
            raise SourceError(
                f"{table}, row {number}: {','.join(cells)!r:.60} is no image and class, as "
                f"train_000000.jpg,94 is."
            )
        yield Row(f"{word}/{name}", name, (classes[label],), split)
