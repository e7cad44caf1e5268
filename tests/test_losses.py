"""The losses against slow loops written from the definitions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from hypernym.hierarchy.levels import Levels, make_levels
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT, Tree
from hypernym.losses import SemanticSoftmaxLoss, make_loss

# animal > dog, animal > cat > kitten; plant
FIVE = Tree(("animal", "cat", "dog", "kitten", "plant"), (ROOT, 0, 0, 1, ROOT), "by hand", "none")


def make_batch(levels: Levels, num_images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(num_images, levels.num_classes, generator=generator)
    return logits, torch.randint(levels.num_classes, (num_images,), generator=generator)


def slow_semantic_loss(
    logits: torch.Tensor, labels: torch.Tensor, tree: Tree, smoothing: float, max_weight: float
) -> float:
    """Domain page, section 4, image by image and depth by depth."""
    levels = make_levels(tree)
    counts = [int((levels.depth_C == depth).sum()) for depth in range(levels.num_depths)]
    total = 0.0
    for depth in range(levels.num_depths):
        classes = [c for c in range(len(tree.ids)) if levels.depth_C[c] == depth]
        weight = min(sum(counts) / sum(counts[depth:]), max_weight)
        loss_of_depth = 0.0
        for image, label in enumerate(labels.tolist()):
            path = [label]
            while tree.parents[path[0]] != ROOT:
                path.insert(0, tree.parents[path[0]])
            if depth >= len(path):
                continue
            exponentials = {c: math.exp(logits[image, c].item()) for c in classes}
            for c in classes:
                share = smoothing / len(classes) + (1 - smoothing) * (c == path[depth])
                loss_of_depth -= share * math.log(exponentials[c] / sum(exponentials.values()))
        total += weight * loss_of_depth / len(labels)
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("max_weight", [1.5, 20.0])
def test_semantic_softmax_equals_the_slow_loop(smoothing: float, max_weight: float) -> None:
    levels = make_levels(FIVE)
    logits, labels = make_batch(levels, 16, seed=0)
    loss = SemanticSoftmaxLoss(levels, smoothing, max_weight)(logits, labels).item()
    assert loss == pytest.approx(
        slow_semantic_loss(logits, labels, FIVE, smoothing, max_weight), rel=1e-5
    )


@given(st.integers(0, 2**31), st.integers(2, 12))
def test_with_one_depth_semantic_softmax_is_cross_entropy(seed: int, num_classes: int) -> None:
    ids = tuple(f"c{number:02}" for number in range(num_classes))
    levels = make_levels(Tree(ids, (ROOT,) * num_classes, "flat", "none"))
    logits, labels = make_batch(levels, 7, seed)
    losses = [
        make_loss(scheme, levels, label_smoothing=0.1, max_weight=20)(logits, labels)
        for scheme in Scheme
    ]
    expected = cross_entropy(logits, labels, label_smoothing=0.1)
    for loss in losses:
        torch.testing.assert_close(loss, expected)


@given(st.permutations(range(5)), st.integers(0, 2**31))
def test_the_order_of_the_classes_changes_no_loss(order: list[int], seed: int) -> None:
    place_of = {old: new for new, old in enumerate(order)}
    moved = Tree(
        tuple(FIVE.ids[old] for old in order),
        tuple(place_of.get(FIVE.parents[old], ROOT) for old in order),
        "by hand",
        "none",
    )
    logits, labels = make_batch(make_levels(FIVE), 6, seed)
    moved_labels = torch.tensor([place_of[label] for label in labels.tolist()])
    before = SemanticSoftmaxLoss(make_levels(FIVE), 0.1, 20)(logits, labels)
    after = SemanticSoftmaxLoss(make_levels(moved), 0.1, 20)(logits[:, order], moved_labels)
    torch.testing.assert_close(before, after)


def test_a_constant_added_within_a_depth_changes_nothing() -> None:
    levels = make_levels(FIVE)
    logits, labels = make_batch(levels, 8, seed=1)
    loss = SemanticSoftmaxLoss(levels, 0.1, 20)
    shifted = logits.clone()
    for depth, classes in enumerate(levels.classes_at):
        shifted[:, classes] += 10.0 * (depth + 1)
    torch.testing.assert_close(loss(logits, labels), loss(shifted, labels))


def test_an_image_labelled_with_a_root_teaches_only_the_roots() -> None:
    logits = torch.zeros(1, 5, requires_grad=True)
    SemanticSoftmaxLoss(make_levels(FIVE), 0.1, 20)(logits, torch.tensor([4])).backward()
    assert logits.grad is not None
    assert logits.grad[0].ne(0).tolist() == [True, False, False, False, True]


def test_half_precision_logits_are_summed_in_float32() -> None:
    levels = make_levels(FIVE)
    logits, labels = make_batch(levels, 8, seed=2)
    loss = SemanticSoftmaxLoss(levels, 0.1, 20)
    half = loss(logits.bfloat16(), labels)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(logits.bfloat16().float(), labels))
