"""Linear heads against torch's own optimizer and scikit-learn's logistic regression."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from hypernym.downstream import linear
from hypernym.downstream.figures import judge
from hypernym.downstream.linear import (
    GRID,
    Choice,
    Heads,
    Schedule,
    Setting,
    average,
    choose,
    make_grid,
    plan_schedule,
    standardise,
    train_heads,
)
from hypernym.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

LABELS = 4
FEATURES = 10
QUICK = Schedule(epochs=3, batch_size=16)


class Examples(NamedTuple):
    features_ND: torch.Tensor
    targets: torch.Tensor


def make_data(images: int, *, several: bool = False, noise: float = 1.5) -> Examples:
    """Features around a centre for each label, of unlike sizes and far from 0."""
    chance = torch.Generator().manual_seed(images)
    if several:
        targets = torch.rand(images, LABELS, generator=chance) < 0.4
    else:
        targets = torch.randint(LABELS, (images,), generator=chance)
    marks = targets.float() if several else torch.eye(LABELS)[targets]
    centres = torch.randn(LABELS, FEATURES, generator=torch.Generator().manual_seed(0))
    features = marks @ centres + noise * torch.randn(images, FEATURES, generator=chance)
    return Examples(5 + features * torch.linspace(0.1, 9, FEATURES), targets)


def train(settings: Sequence[Setting], *, several: bool = False, seed: int = 0) -> Heads:
    return train_heads(
        *make_data(70, several=several), settings, num_labels=LABELS, schedule=QUICK, seed=seed
    )


@pytest.mark.parametrize("several", [False, True])
def test_a_head_is_what_autograd_and_torchs_optimizer_make(several: bool) -> None:
    features, targets = make_data(70, several=several)
    setting = Setting(2.0, 0.01)
    found = train([Setting(0.5, 0.0), setting], several=several)

    scale, mean = standardise(features)
    # the bias as one more weight, of a feature of 1 that is brought to the length of the others
    standard = torch.cat([(features - mean) * scale, torch.full((70, 1), FEATURES**-0.5)], dim=1)
    counts = targets.sum(dim=0) if several else targets.bincount()
    share = (counts + 0.5) / 71
    weight = torch.zeros(LABELS, FEATURES, requires_grad=True)
    bias = ((share.logit() if several else share.log()) * FEATURES**0.5)[:, None].requires_grad_()
    groups: list[dict[str, Any]] = [
        {"params": [weight], "weight_decay": setting.weight_decay},
        {"params": [bias]},
    ]
    optimizer = torch.optim.SGD(groups, lr=setting.lr, momentum=linear.MOMENTUM, nesterov=True)
    steps = QUICK.epochs * (70 // QUICK.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(0)
    for _ in range(QUICK.epochs):
        rows = torch.randperm(70, generator=order)
        for batch in torch.split(rows, QUICK.batch_size)[:-1]:
            logits = standard[batch] @ torch.cat([weight, bias], dim=1).T
            if several:
                wanted = targets[batch].float()
                loss = binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(batch)
            else:
                loss = cross_entropy(logits, targets[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    expected = standard @ torch.cat([weight, bias], dim=1).detach().T
    torch.testing.assert_close(found.scores(features, 1), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("several", [False, True])
def test_the_chosen_head_is_as_good_as_a_tuned_logistic_regression(several: bool) -> None:
    train_, held_out, test = (make_data(images, several=several) for images in (400, 100, 500))
    schedule = plan_schedule(400)
    choice = choose(
        train_.features_ND,
        train_.targets,
        held_out.features_ND,
        held_out.targets,
        GRID,
        num_labels=LABELS,
        schedule=schedule,
        seed=0,
    )
    everything = Examples(*(torch.cat(pair) for pair in zip(train_, held_out, strict=True)))
    heads = train_heads(*everything, [choice.setting], num_labels=LABELS, schedule=schedule, seed=0)
    scale, mean = standardise(train_.features_ND)

    def score_theirs(penalty: float, learned: Examples, seen: Examples) -> float:
        model = LogisticRegression(C=penalty, max_iter=1000)
        fitted = (OneVsRestClassifier(model) if several else model).fit(
            ((learned.features_ND - mean) * scale).numpy(), learned.targets.numpy()
        )
        scores = torch.from_numpy(fitted.decision_function(((seen.features_ND - mean) * scale).numpy()))
        return judge(scores, seen.targets, LABELS)

    best = max((10.0**power for power in range(-2, 4)), key=lambda c: score_theirs(c, train_, held_out))
    theirs = score_theirs(best, everything, test)
    assert judge(heads.scores(test.features_ND), test.targets, LABELS) > theirs - 0.01
    assert theirs > 0.6


@pytest.mark.parametrize("several", [False, True])
def test_a_head_is_the_same_alone_and_beside_others(several: bool) -> None:
    settings = make_grid((0.5, 4.0), (0.0, 0.01))
    together = train(settings, several=several)
    for place, setting in enumerate(settings):
        alone = train([setting], several=several)
        torch.testing.assert_close(alone.weight_GKD[0], together.weight_GKD[place])
        torch.testing.assert_close(alone.bias_GK[0], together.bias_GK[place])


def test_a_seed_decides_everything() -> None:
    settings = make_grid((1.0,), (0.0,))
    first, again, other = train(settings), train(settings), train(settings, seed=1)
    assert torch.equal(first.weight_GKD, again.weight_GKD)
    assert not torch.equal(first.weight_GKD[0], other.weight_GKD[0])
    assert not torch.equal(first.weight_GKD[1], other.weight_GKD[1])
    assert not torch.equal(first.weight_GKD[0], first.weight_GKD[1])


def test_features_that_never_change_get_no_weight_and_do_no_harm() -> None:
    features, targets = make_data(70)
    widened = torch.cat([features, torch.full((70, 2), 1e4 / 3)], dim=1)
    heads = train_heads(widened, targets, [Setting(1.0, 0.0)], num_labels=LABELS, schedule=QUICK, seed=0)
    assert heads.weight_GKD[..., FEATURES:].eq(0).all()
    assert heads.scores(widened).isfinite().all()


def test_a_head_that_has_learned_nothing_says_how_frequent_each_label_is() -> None:
    features, present = make_data(70, several=True)
    heads = train([Setting(0.0, 0.0)], several=True)
    torch.testing.assert_close(heads.scores(features).sigmoid()[0], (present.sum(dim=0) + 0.5) / 71)


@pytest.mark.parametrize("floats", [1, 2 * LABELS * 16, 10**9], ids=["one at once", "two", "all"])
def test_settings_are_scored_alike_however_many_fit_into_memory(
    floats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_grid((0.001, 0.5, 4.0), (0.0, 0.01))
    together = train(settings)
    held_out = make_data(50)
    monkeypatch.setattr(linear, "MAX_FLOATS", floats)
    learned = make_data(70)
    choice = choose(
        learned.features_ND,
        learned.targets,
        held_out.features_ND,
        held_out.targets,
        settings,
        num_labels=LABELS,
        schedule=QUICK,
        seed=0,
    )
    scores = [
        judge(together.scores(held_out.features_ND, head), held_out.targets, LABELS) for head in range(9)
    ]
    assert choice.scores == pytest.approx(scores)
    assert choice.score == max(choice.scores) > min(choice.scores)
    best = scores.index(max(scores))
    assert choice.setting == settings[best]
    torch.testing.assert_close(choice.best.weight_GKD[0], together.weight_GKD[best])
    torch.testing.assert_close(choice.best.bias_GK[0], together.bias_GK[best])


def test_labels_that_held_out_images_do_not_have_are_learned_and_not_judged() -> None:
    (features, present), (held_out, known) = make_data(70, several=True), make_data(50, several=True)
    choice, narrow = (
        choose(features, present, held_out, judged, GRID, num_labels=LABELS, schedule=QUICK, seed=0)
        for judged in (known, known[:, :-1])
    )
    assert narrow.best.weight_GKD.shape == (1, LABELS, FEATURES)
    scores = narrow.best.scores(held_out)
    assert narrow.score == judge(scores, known[:, :-1], LABELS - 1)
    assert choice.score == judge(choice.best.scores(held_out), known, LABELS)


def test_a_rate_at_the_edge_of_the_grid_is_told() -> None:
    settings = make_grid((1.0, 3.0, 0.3), (0.0,))
    head = Heads((settings[0],), torch.zeros(1, LABELS, FEATURES), torch.zeros(1, LABELS))
    for rate, edge in ((0.3, "smallest"), (1.0, ""), (3.0, "largest")):
        best = replace(head, settings=(Setting(rate, 0.0),))
        assert Choice(settings, (0.0,) * len(settings), best).edge == edge
        assert Choice(best.settings, (0.0,), best).edge == ""


@pytest.mark.parametrize("images", [1, 11, 942, 6_000, 50_000, 1_280_000])
def test_a_schedule_has_steps_enough_for_few_images_and_few_epochs_for_many(images: int) -> None:
    schedule = plan_schedule(images)
    steps = schedule.epochs * max(1, images // schedule.batch_size)
    assert steps >= min(100, linear.MIN_STEPS)
    assert 10 <= schedule.epochs <= 100
    assert steps <= linear.MIN_STEPS * 1.2 or schedule.epochs == 10


def test_what_cannot_be_learned_from_is_refused() -> None:
    features, targets = make_data(70)
    with pytest.raises(UsageError, match="no image to train"):
        train_heads(features[:0], targets[:0], make_grid(), num_labels=LABELS, schedule=QUICK, seed=0)
    with pytest.raises(UsageError, match="no setting"):
        choose(features, targets, features, targets, (), num_labels=LABELS, schedule=QUICK, seed=0)
    features[3, 2] = torch.nan
    with pytest.raises(UsageError, match="not finite"):
        train_heads(features, targets, make_grid(), num_labels=LABELS, schedule=QUICK, seed=0)


def test_the_mean_of_heads_scores_the_mean_of_their_scores() -> None:
    torch.manual_seed(0)
    heads = [
        Heads((Setting(rate, 0.0),), torch.randn(1, 3, 5), torch.randn(1, 3)) for rate in (1.0, 2.0)
    ]
    features_MD = torch.randn(7, 5)
    expected_MK = (heads[0].scores(features_MD) + heads[1].scores(features_MD)) / 2
    assert torch.allclose(average(heads).scores(features_MD), expected_MK, atol=1e-6)


def test_settings_are_ranked_by_their_scores() -> None:
    settings = tuple(Setting(rate, 0.0) for rate in (1.0, 2.0, 3.0))
    heads = Heads(settings[1:2], torch.zeros(1, 2, 2), torch.zeros(1, 2))
    choice = Choice(settings, (0.2, 0.9, 0.5), heads)
    assert choice.rank(2) == [settings[1], settings[2]]
