"""ImageNet-1K as published: https://image-net.org (ILSVRC2012) and its edition on Kaggle.

    train    SOURCE/ILSVRC2012_img_train.tar, a tar of class tars
             or SOURCE/ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_10026.JPEG
    val      SOURCE/ILSVRC2012_img_val.tar, all images in one folder
             or SOURCE/ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG
    labels of val    SOURCE/LOC_val_solution.csv, from Kaggle: ImageId,PredictionString, in which the
             first word of the second is the WordNet id

The val images are the test split, for they are what figures are published of; the images called test
have no published labels. The ground truth of the original devkit counts classes in an order that only
a MATLAB file states: it is not read.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hypernym.errors import SourceError
from hypernym.preparation.sources import archives, folders
from hypernym.preparation.sources.annotated import Row, cut
from hypernym.preparation.sources.places import is_file, is_there, open_file, refused_reads
from hypernym.preparation.sources.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hypernym.preparation.sources.part import Part, Place

TRAIN_TAR, VAL_TAR, LABELS = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "LOC_val_solution.csv"
KAGGLE = ("ILSVRC", "Data", "CLS-LOC")
IMAGE, BOXES = "ImageId", "PredictionString"
WORDNET_ID = re.compile(r"n\d{8}")


def is_imagenet(names: Collection[str]) -> bool:
    """Tell whether a folder holds ImageNet-1K, by the names in it."""
    return bool({TRAIN_TAR, VAL_TAR} & {*names}) or {LABELS, KAGGLE[0]} <= {*names}


def find_parts(source: Place) -> Iterator[Part]:
    """Give the classes of train, then runs of val.

    Raises:
        SourceError: images are missing, val has no labels, or an archive is damaged.
    """
    with refused_reads(source):
        train = _first_there(source / TRAIN_TAR, source.joinpath(*KAGGLE, "train"))
        val = _first_there(source / VAL_TAR, source.joinpath(*KAGGLE, "val"))
        has_labels = is_file(source / LABELS)
    if train is None and val is None:
        raise SourceError(
            f"{source} holds no images of ImageNet-1K: put {TRAIN_TAR} and {VAL_TAR} there."
        )
    if val is not None and not has_labels:
        raise SourceError(
            f"{source} holds the val images of ImageNet-1K and no labels of them: put {LABELS} there, "
            f"which is in its edition on Kaggle."
        )
    if train is not None:
        is_tar = train.name == TRAIN_TAR
        parts = archives.find_parts_in_tar(train) if is_tar else folders.find_parts(train)
        for part in parts:
            yield replace(part, name=f"train/{part.name}", split="train")
    if val is not None:
        yield from cut(_val_rows(source / LABELS), val, "val")


def _first_there(*places: Place) -> Place | None:
    return next((place for place in places if is_there(place)), None)


def _val_rows(labels: Place) -> list[Row]:
    found = []
    with refused_reads(labels), open_file(labels) as stream:
        rows = Rows(labels, stream)
        if not {IMAGE, BOXES} <= {*rows.columns}:
            raise SourceError(f"{labels} needs the columns {IMAGE} and {BOXES}: get it anew.")
        for row in rows:
            image, words = row[IMAGE].strip(), row[BOXES].split()
            if not image or not words or not WORDNET_ID.fullmatch(words[0]):
                raise rows.refusal(f"{words[:1]} is no WordNet id, as n01440764 is one")
            name = f"{image}.JPEG"
            found.append(Row(f"val/{name}", name, (words[0],), "test"))
    return found
