"""How a label of a tree is taught, and hence how a model's outputs are read."""

from enum import StrEnum


class Scheme(StrEnum):
    """A way to turn a label into a loss; a model is decoded by the scheme that it was trained with."""

    SINGLE_LABEL = "single-label"
    """One softmax over all classes."""

    MULTI_LABEL = "multi-label"
    """A sigmoid a class: the label and its ancestors are 1, all other classes are 0."""

    SEMANTIC = "semantic"
    """One softmax for each depth of the tree (the paper's semantic softmax)."""


class Distillation(StrEnum):
    """How a student is compared with its teacher."""

    SEMANTIC = "semantic"
    """By the probabilities within each depth of the tree (the paper's semantic distillation)."""

    LOGITS = "logits"
    """By the divergence of softened probabilities, in each softmax of the scheme (Hinton et al. 2015,
    "Distilling the Knowledge in a Neural Network"): the baseline."""
