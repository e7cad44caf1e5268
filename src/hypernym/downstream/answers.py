"""What a transferred model says of the test images, and the figures of that.

    OUT/answers.npz    one label an image: labels, guesses, int32 (M,)
                       several: scores, float32 (M, K), and present, bool (M, K)

Images are in the order of the split's index, so that two models are compared picture by picture.

Shapes: M images, K labels, C classes (labels, then inner classes of the tree).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernym.decoding import Decoder
from hypernym.downstream.figures import measure
from hypernym.files import open_whole
from hypernym.hierarchy.scheme import Scheme
from hypernym.metrics.accuracy import AccuracyCounter
from hypernym.metrics.mistakes import MistakeCounter
from hypernym.metrics.precision import AveragePrecisionCounter, TreeTargets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch

    from hypernym.hierarchy.levels import Levels

ROWS = 1024
"""Images that are decoded at a time."""


def describe(
    logits_MC: torch.Tensor, targets: torch.Tensor, levels: Levels
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Return the figures by name, and the accuracy at each depth of the tree.

    Over a tree of more than one depth the figures of it join those of the labels. The accuracy at a
    depth goes by probabilities: that of an inner class is the sum over the classes beneath it, whether
    any image is labelled with it or not. So a model that knows leaves alone is right at every depth
    where its guess leads to.

    Args:
        logits_MC: Logits, or log-odds where images have several labels.
        targets: Labels, int64 (M,), or bool (M, K).
        levels: The tree.
    """
    targets = targets.to(logits_MC.device)
    figures = measure(logits_MC, targets, levels.num_labels)
    if levels.num_depths == 1:
        return figures, []
    if targets.ndim > 1:
        return figures | {"map_tree": _precision_over_tree(logits_MC, targets, levels)}, []
    decoder = Decoder(levels, Scheme.SINGLE_LABEL, logits_MC.device)
    accuracy = AccuracyCounter(levels, logits_MC.device)
    mistakes = MistakeCounter(levels, logits_MC.device)
    for rows in _rows(len(targets)):
        logits_BC, labels_B = logits_MC[rows], targets[rows]
        accuracy.update(decoder.log_probabilities(logits_BC), labels_B)
        mistakes.update(logits_BC[:, : levels.num_labels].argmax(dim=1), labels_B)
    found, far = accuracy.compute(), mistakes.compute()
    over_tree = {
        "semantic_top1": found.semantic_top1,
        "tree_f1": far.f1,
        "tree_distance": far.distance,
        "tree_distance_of_mistakes": far.distance_of_mistakes,
        "lca_height": far.lca_height,
        "lca_height_of_mistakes": far.lca_height_of_mistakes,
    }
    return figures | over_tree, [asdict(depth) for depth in found.by_depth]


def _precision_over_tree(logits_MC: torch.Tensor, present_MK: torch.Tensor, levels: Levels) -> float:
    """Return the mAP over labels and their ancestors; what is beneath a label counts as unknown."""
    decoder = Decoder(levels, Scheme.MULTI_LABEL, logits_MC.device)
    targets = TreeTargets(levels, logits_MC.device)
    counter = AveragePrecisionCounter()
    for rows in _rows(len(present_MK)):
        log_probability_BC = decoder.log_probabilities(logits_MC[rows])
        counter.update(log_probability_BC, targets.of_several(present_MK[rows]))
    return counter.compute().macro


def _rows(number: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, number, ROWS))


def find_chance(targets: torch.Tensor, num_labels: int) -> float:
    """Return what guessing gives: top-1 evenly over labels, or the mAP of scores that say nothing."""
    if targets.ndim == 1:
        return 1 / num_labels
    share_K = targets.float().mean(dim=0)
    return float(share_K[share_K > 0].mean())


def save_answers(path: Path, logits_MC: torch.Tensor, targets: torch.Tensor, num_labels: int) -> None:
    """Write what was said of each image."""
    scores_MK = logits_MC[:, :num_labels].cpu()
    targets = targets.cpu()
    with open_whole(path) as stream:
        if targets.ndim > 1:
            np.savez(stream, scores=scores_MK.numpy(), present=targets.numpy())
        else:
            guesses_M = scores_MK.argmax(dim=1).int()
            np.savez(stream, labels=targets.int().numpy(), guesses=guesses_M.numpy())
