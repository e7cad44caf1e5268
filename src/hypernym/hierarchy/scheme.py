"""How a label of a tree is taught, and hence how a model's outputs are read."""

from enum import StrEnum


class Scheme(StrEnum):
    """A way to turn a label into a loss; a model is decoded by the scheme that it was trained with."""

    SINGLE_LABEL = "single-label"
    """One softmax over all classes."""

    SEMANTIC = "semantic"
    """One softmax for each depth of the tree (the paper's semantic softmax)."""
