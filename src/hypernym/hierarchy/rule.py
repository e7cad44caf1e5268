"""How the outputs of a model are read as labels of a tree."""

from enum import StrEnum


class Rule(StrEnum):
    """Which labels an image is given."""

    PATH = "path"
    """One path from the root down, always to the most probable child, as far as the model is sure."""

    OFFICIAL = "official"
    """The most probable class of each depth, where the model is sure; they need not lie on one path."""

    LEAF = "leaf"
    """The most probable leaf and its ancestors, however sure the model is."""
