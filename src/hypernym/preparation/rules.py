"""All that decides the bytes of a dataset, beside its source; and the rules that have a name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hypernym.data.images import ImagePolicy, Resize
from hypernym.preparation.duplicates import Conflicts, DuplicateRule, Duplicates
from hypernym.preparation.selection import Count, Holdout, SelectionRule


@dataclass(frozen=True)
class PrepareRules:
    """All that decides the bytes of a dataset, beside its source and the classes asked for."""

    images: ImagePolicy
    selection: SelectionRule
    duplicates: DuplicateRule
    shard_bytes: int
    """A shard is closed when its JPEGs pass this many bytes."""


class Recipe(StrEnum):
    """Rules with a name."""

    DEFAULT = "default"
    """Counts the images that decode, keeps one of like pictures, and holds out by a hash of the key, so
    that images added later move few."""

    IMAGENET21K_P = "imagenet21k-p"
    """What the official scripts of ImageNet-21K-P do: more than 500 images by name, the first 50 names
    in byte order held out, duplicates left where they are, squished to 224 pixels."""


def make_rules(recipe: Recipe) -> PrepareRules:
    """Return the rules of a recipe, which options may then change one by one."""
    match recipe:
        case Recipe.DEFAULT:
            return PrepareRules(
                ImagePolicy(224, Resize.SQUISH, 95),
                SelectionRule(50, 10, 0, Count.USABLE, Holdout.HASH),
                DuplicateRule(Duplicates.NEAR, Conflicts.DROP, 24),
                128_000_000,
            )
        case Recipe.IMAGENET21K_P:
            return PrepareRules(
                ImagePolicy(224, Resize.SQUISH, 95),
                SelectionRule(501, 50, 0, Count.NAMES, Holdout.FIRST_NAMES),
                DuplicateRule(Duplicates.IGNORE, Conflicts.DROP, 24),
                128_000_000,
            )
