"""Few-shot: what is drawn, and ridge regression against scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch.nn.functional import one_hot

from hypernym.downstream.linear import standardise
from hypernym.downstream.shots import PENALTIES, draw_shots, fit_ridge, measure_shots
from hypernym.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = st.integers(0, 2**31)
LABELS = 5


def make_labels(seed: int, images: int) -> torch.Tensor:
    return torch.randint(LABELS, (images,), generator=torch.Generator().manual_seed(seed))


def make_present(seed: int, images: int) -> torch.Tensor:
    return torch.rand(images, LABELS, generator=torch.Generator().manual_seed(seed)) < 0.3


@given(SEEDS, st.integers(0, 60))
def test_each_class_gives_so_many_images_or_all_that_it_has(seed: int, images: int) -> None:
    labels = make_labels(seed, images)
    for number, rows in draw_shots(labels, (1, 3, 10), num_labels=LABELS, seed=seed).items():
        there = labels.bincount(minlength=LABELS)
        assert torch.equal(labels[rows].bincount(minlength=LABELS), there.clamp(max=number))
        assert len(set(rows.tolist())) == len(rows)


@given(SEEDS, st.integers(0, 60))
def test_with_several_labels_each_class_has_so_many_positives_and_none_is_drawn_in_vain(
    seed: int, images: int
) -> None:
    present = make_present(seed, images)
    for number, rows in draw_shots(present, (1, 3, 10), num_labels=LABELS, seed=seed).items():
        drawn = present[rows]
        assert (drawn.sum(dim=0) >= present.sum(dim=0).clamp(max=number)).all()
        assert len(rows) <= number * LABELS
        assert drawn.any(dim=1).all()


@pytest.mark.parametrize("make", [make_labels, make_present])
def test_fewer_shots_are_contained_in_more_whatever_else_is_asked_for(
    make: Callable[[int, int], torch.Tensor],
) -> None:
    targets = make(0, 80)
    found = draw_shots(targets, (1, 2, 5), num_labels=LABELS, seed=3)
    assert set(found[1].tolist()) < set(found[2].tolist()) < set(found[5].tolist())
    assert torch.equal(found[2], draw_shots(targets, (2,), num_labels=LABELS, seed=3)[2])
    assert not torch.equal(found[2], draw_shots(targets, (2,), num_labels=LABELS, seed=4)[2])


def test_no_shots_are_refused() -> None:
    with pytest.raises(UsageError, match="0 shots are none"):
        draw_shots(make_labels(0, 9), (0, 1), num_labels=LABELS, seed=0)


@pytest.mark.parametrize("features", [4, 50], ids=["more images than features", "more features"])
@pytest.mark.parametrize("several", [False, True])
def test_ridge_regression_is_that_of_scikit_learn(features: int, several: bool) -> None:
    drawn = 3 + 2 * torch.randn(20, features, generator=torch.Generator().manual_seed(0))
    targets = make_present(1, 20) if several else make_labels(1, 20)
    scale, mean = standardise(drawn)
    wanted = (targets if several else one_hot(targets, LABELS)).double().numpy()
    heads = list(fit_ridge(drawn, targets, LABELS))
    assert len(heads) == len(PENALTIES)
    for penalty, head in zip(sorted(PENALTIES, reverse=True), heads, strict=True):
        theirs = Ridge(penalty).fit(((drawn - mean) * scale).double().numpy(), wanted)
        expected = theirs.predict(((drawn - mean) * scale).double().numpy())
        found = drawn @ head.weight_KD.T + head.bias_K
        torch.testing.assert_close(found, torch.from_numpy(expected).float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("several", [False, True])
def test_more_shots_score_better_and_chosen_is_on_held_out_images_alone(several: bool) -> None:
    chance = torch.Generator().manual_seed(0)
    targets = make_present(1, 300) if several else make_labels(1, 300)
    marks = targets.float() if several else one_hot(targets, LABELS).float()
    features = marks @ torch.randn(LABELS, 12, generator=chance)
    features += 0.8 * torch.randn(300, 12, generator=chance)

    def score(held_out: torch.Tensor, test: torch.Tensor) -> tuple[tuple[float, ...], ...]:
        found = measure_shots(
            features[:150],
            targets[:150],
            features[150:200],
            held_out,
            features[200:],
            test,
            shots=(1, 20),
            draws=4,
            num_labels=LABELS,
            seed=0,
        )
        assert [row.shots for row in found] == [1, 20]
        assert [len(row.images) for row in found] == [4, 4]
        return tuple(row.scores for row in found)

    held_out, test = targets[150:200], targets[200:]
    few, many = score(held_out, test)
    assert min(many) > 0.6
    assert sum(few) < sum(many)
    assert len(set(few)) > 1
    assert score(held_out, test) == (few, many)
    assert max(score(held_out, test[torch.randperm(100, generator=chance)])[1]) < min(many)
    # other held-out targets choose other penalties
    assert score(held_out[torch.randperm(50, generator=chance)], test) != (few, many)
