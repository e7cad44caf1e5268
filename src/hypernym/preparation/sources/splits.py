"""Splits: the names by which sources say what an image is for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

TRAIN = "train"

SPLITS = {
    "train": TRAIN,
    "trainval": TRAIN,
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""The split that each name stands for, in small letters."""


def split_of(name: str) -> str | None:
    """Return the split that a name stands for, in whatever letters, or None."""
    return SPLITS.get(name.lower())


def split_in(file_name: str) -> str | None:
    """Return the split that a file name speaks of: `train-00000-of-00042.parquet`, `cc3m_val_7.tar`."""
    words = re.split(r"[^a-z]+", file_name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def are_splits(names: Collection[str], *, hold_folders_alone: bool) -> bool:
    """Tell whether folders of these names are splits with the class folders in them, or classes.

    They are splits where each name is a split's, and either train is there with another, or the
    folders hold folders alone: a class may well be called "test".
    """
    splits = {split_of(name) for name in names}
    if not splits or None in splits:
        return False
    return hold_folders_alone or (TRAIN in splits and len(splits) > 1)
