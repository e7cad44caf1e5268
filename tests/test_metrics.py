"""The metrics against loops, and their exactness under any split into batches."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypernym.hierarchy.levels import NONE, Levels, make_levels
from hypernym.hierarchy.tree import ROOT, Tree
from hypernym.metrics import Accuracy, AccuracyCounter

NINE = Tree(
    tuple("abcdefghi"), (ROOT, 0, 0, 1, 1, ROOT, 5, 6, ROOT), "by hand", "none"
)  # a > b > d, e; a > c; f > g > h; i
LEVELS = make_levels(NINE)
CPU = torch.device("cpu")


def make_batch(num_images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_images, 9, generator=generator)
    return logits, torch.randint(9, (num_images,), generator=generator)


def count(batches: list[tuple[torch.Tensor, torch.Tensor]], levels: Levels = LEVELS) -> Accuracy:
    counter = AccuracyCounter(levels, CPU)
    for logits, labels in batches:
        counter.update(logits, labels)
    return counter.compute()


def test_accuracies_equal_those_of_a_loop_over_images_and_depths() -> None:
    logits, labels = make_batch(200, seed=0)
    pairs, correct = 0, 0
    by_depth = [[0, 0] for _ in range(LEVELS.num_depths)]
    top5 = 0
    for image, label in enumerate(labels.tolist()):
        ranked = sorted(range(9), key=lambda c: -logits[image, c].item())
        top5 += label in ranked[:5]
        for depth in range(LEVELS.num_depths):
            target = LEVELS.ancestors_CL[label, depth]
            if target == NONE:
                continue
            at_depth = [c for c in ranked if LEVELS.depth_C[c] == depth]
            pairs += 1
            correct += at_depth[0] == target
            by_depth[depth][0] += 1
            by_depth[depth][1] += at_depth[0] == target
    found = count([(logits, labels)])
    assert found.images == 200
    assert found.top1 == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert found.top5 == pytest.approx(top5 / 200)
    assert found.semantic_top1 == pytest.approx(correct / pairs)
    for measured, (total, hits) in zip(found.by_depth, by_depth, strict=True):
        assert measured.images == total
        assert measured.accuracy == pytest.approx(hits / total)


@given(st.lists(st.integers(1, 59), max_size=6))
def test_any_split_into_batches_gives_the_same_numbers(cuts: list[int]) -> None:
    logits, labels = make_batch(60, seed=1)
    edges = sorted({0, 60, *cuts})
    batches = [(logits[start:end], labels[start:end]) for start, end in pairwise(edges)]
    assert count(batches) == count([(logits, labels)])


def test_chance_is_what_even_guessing_gives() -> None:
    _, labels = make_batch(4000, seed=2)
    noise = torch.randn(4000, 9, generator=torch.Generator().manual_seed(3))
    found = count([(noise, labels)])
    assert found.semantic_top1 == pytest.approx(found.semantic_top1_chance, abs=0.02)
    assert found.top1 == pytest.approx(found.top1_chance, abs=0.02)


def test_perfect_logits_score_one_everywhere() -> None:
    _, labels = make_batch(50, seed=4)
    logits = torch.zeros(50, 9)
    for image, label in enumerate(labels.tolist()):
        for ancestor in LEVELS.ancestors_CL[label]:
            if ancestor != NONE:
                logits[image, ancestor] = 1.0
        logits[image, label] = 2.0
    found = count([(logits, labels)])
    assert (found.top1, found.semantic_top1) == (1.0, 1.0)


def test_fewer_than_five_classes_are_counted_too() -> None:
    three = make_levels(Tree(("a", "b", "c"), (ROOT, 0, 0), "by hand", "none"))
    logits = torch.tensor([[0.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
    found = count([(logits, torch.tensor([1, 2]))], three)
    assert (found.top1, found.top5) == (0.5, 1.0)
