"""Which classes the outputs of a foreign model stand for, and of which release they are.

Weights that were published without class ids are told by their number of outputs: timm's package holds
the lists of ImageNet's sets, and no two of them are of one length. The order of a list is the order of
the outputs; that of the released weights of ImageNet-21K-P is that of the sorted ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from timm.data import ImageNetInfo

from hypernym.data.classes import PUBLISHED, load_class_list
from hypernym.errors import MismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.hierarchy.tree import Tree

SETS = {
    1_000: "imagenet-1k",
    11_821: "imagenet-12k",
    21_841: "imagenet-22k",
    21_842: "imagenet-22k-ms",
    21_843: "imagenet-21k-goog",
}
"""timm's names of ImageNet's other sets, by their number of classes."""

ENOUGH = 0.9
"""A dataset is of a release if it holds more than this share of its classes, and no other class."""


@dataclass(frozen=True)
class Outputs:
    """What the outputs of a model stand for."""

    ids: tuple[str, ...]
    """Class ids, in the order of the outputs; empty where they are not known."""

    told_by: str
    """How that is known, as in "its classes are told by ..."."""

    num_labels: int
    """How many of them, from the start, are labels of images and not inner classes of a tree."""


def name_outputs(num_outputs: int, label_names: Sequence[str] | None) -> Outputs:
    """Return what the outputs of a model stand for.

    Args:
        num_outputs: Of its head.
        label_names: The class ids that its card has, in order; they are asked first.
    """
    if label_names and len(label_names) == num_outputs:
        return Outputs(tuple(label_names), "its card", num_outputs)
    for name, ids in _releases().items():
        if len(ids) == num_outputs:
            return Outputs(tuple(sorted(ids)), f"their number, that of {name}", num_outputs)
    if num_outputs in SETS:
        ids_of_set = tuple(ImageNetInfo(SETS[num_outputs]).label_names())
        return Outputs(ids_of_set, f"their number, that of {SETS[num_outputs]}", num_outputs)
    return Outputs((), "nothing", num_outputs)


def find_release(ids: Sequence[str]) -> str | None:
    """Return the release of ImageNet-21K-P that class ids are of, or None.

    The classes of winter21 are a part of those of fall11: what fits into the smaller list is of it.
    """
    found = set(ids)
    for name, listed in sorted(_releases().items(), key=lambda item: len(item[1])):
        if found <= listed and len(found) > ENOUGH * len(listed):
            return name
    return None


def refuse_mixing(tree: Tree, outputs: Outputs, what: str, way_out: str) -> None:
    """Check that a dataset and a model are not of two releases of ImageNet-21K-P.

    Args:
        tree: Of the dataset.
        outputs: Of the model.
        what: The model, as the user gave it.
        way_out: What to do instead of preparing the dataset anew, as a clause.

    Raises:
        MismatchError: they are.
    """
    ours = find_release(tree.ids[: tree.num_labels])
    theirs = find_release(outputs.ids[: outputs.num_labels])
    if ours is None or theirs is None or ours == theirs:
        return
    raise MismatchError(
        f"{what} has the classes of {theirs} and the dataset those of {ours}, two releases of one set "
        f"that must not be mixed: {way_out}, or prepare the dataset with --classes {theirs}."
    )


@cache
def _releases() -> dict[str, frozenset[str]]:
    return {name: load_class_list(name) for name in PUBLISHED}
