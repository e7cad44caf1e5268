"""Paths are consistent whatever the logits say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypernym.decoding import PathDecoder
from hypernym.hierarchy.levels import NONE, make_levels
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT, Tree

NINE = Tree(
    tuple("abcdefghi"), (ROOT, 0, 0, 1, 1, ROOT, 5, 6, ROOT), "by hand", "none"
)  # a > b > d, e; a > c; f > g > h; i
LEVELS = make_levels(NINE)
CPU = torch.device("cpu")
SCHEMES = pytest.mark.parametrize("scheme", list(Scheme))


def make_logits(seed: int, scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(11, 9, generator=torch.Generator().manual_seed(seed))


@SCHEMES
@given(seed=st.integers(0, 2**31), threshold=st.floats(0, 1))
def test_every_path_runs_from_parent_to_child_with_falling_probability(
    scheme: Scheme, seed: int, threshold: float
) -> None:
    paths = PathDecoder(LEVELS, scheme, CPU).decode(make_logits(seed), threshold)
    for labels, probabilities, length in zip(*(field.tolist() for field in paths), strict=True):
        path = [label for label in labels if label != NONE]
        assert [NINE.parents[label] for label in path] == [ROOT, *path[:-1]]
        shown = probabilities[: len(path)]
        assert shown == sorted(shown, reverse=True)
        assert all(value >= threshold for value in shown[:length])
        assert all(value < threshold for value in shown[length:])


@SCHEMES
def test_probabilities_equal_those_of_a_loop_over_the_tree(scheme: Scheme) -> None:
    logits = make_logits(0)
    found = PathDecoder(LEVELS, scheme, CPU).log_probabilities(logits).exp()
    children = {parent: [c for c in range(9) if NINE.parents[c] == parent] for parent in range(-1, 9)}

    def below(label: int) -> list[int]:
        return [label, *(deeper for child in children[label] for deeper in below(child))]

    for image in range(len(logits)):
        shares = logits[image].softmax(0)
        for label in range(9):
            match scheme:
                case Scheme.SINGLE_LABEL:
                    expected = sum(shares[deeper].item() for deeper in below(label))
                case Scheme.SEMANTIC:
                    expected, step = 1.0, label
                    while step != ROOT:
                        siblings = children[NINE.parents[step]]
                        expected *= logits[image][siblings].softmax(0)[siblings.index(step)].item()
                        step = NINE.parents[step]
            assert found[image, label].item() == pytest.approx(expected, rel=1e-4)


@SCHEMES
def test_extreme_logits_give_finite_probabilities(scheme: Scheme) -> None:
    paths = PathDecoder(LEVELS, scheme, CPU).decode(make_logits(1, scale=1e4), 0.5)
    assert paths.probabilities.isfinite().all()


def test_a_path_goes_as_far_as_the_model_is_sure() -> None:
    logits = torch.full((1, 9), -10.0)
    logits[0, [0, 1]] = 10.0  # surely a > b, but d and e alike
    paths = PathDecoder(LEVELS, Scheme.SEMANTIC, CPU).decode(logits, 0.6)
    assert paths.labels[0, :2].tolist() == [0, 1]
    assert paths.lengths.tolist() == [2]
    assert paths.probabilities[0, 2].item() == pytest.approx(0.5, abs=1e-3)
