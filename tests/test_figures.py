"""Figures of downstream datasets, against scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, recall_score
from torchmetrics.functional.classification import multiclass_accuracy

from hypernym.downstream import figures
from hypernym.downstream.figures import Metric, judge, main_metric, measure

SEEDS = st.integers(0, 2**31)
LABELS = 8


def make_scores(seed: int, images: int = 40) -> torch.Tensor:
    return torch.randn(images, LABELS, generator=torch.Generator().manual_seed(seed))


def make_labels(seed: int, images: int = 40) -> torch.Tensor:
    """The last label has no image."""
    return torch.randint(LABELS - 1, (images,), generator=torch.Generator().manual_seed(seed + 1))


def make_present(seed: int, images: int = 40) -> torch.Tensor:
    """The last label has no positive."""
    present = torch.rand(images, LABELS, generator=torch.Generator().manual_seed(seed + 1)) < 0.3
    present[:, -1] = False
    present[0, :-1] = True
    return present


@given(SEEDS)
def test_figures_of_one_label_are_those_of_torchmetrics_and_scikit_learn(seed: int) -> None:
    scores, labels = make_scores(seed), make_labels(seed)
    found = measure(scores, labels, LABELS)
    guesses = scores.argmax(dim=1)
    for name, k in (("top1", 1), ("top5", 5)):
        theirs = multiclass_accuracy(scores, labels, LABELS, average="micro", top_k=k)
        assert found[name] == pytest.approx(float(theirs))
    of_class = recall_score(labels, guesses, labels=np.unique(labels), average=None)
    assert found["mean_per_class"] == pytest.approx(np.mean(of_class))
    assert set(found) == {Metric.TOP1, Metric.TOP5, Metric.MEAN_PER_CLASS}
    assert judge(scores, labels, LABELS) == found[main_metric(several_labels=False)]


@given(SEEDS)
def test_figures_of_several_labels_are_those_of_scikit_learn(seed: int) -> None:
    scores, present = make_scores(seed), make_present(seed)
    found = measure(scores, present, LABELS)
    known = present[:, :-1].numpy()
    theirs = average_precision_score(known, scores[:, :-1].numpy(), average="macro")
    assert found["map"] == pytest.approx(theirs)
    theirs = average_precision_score(present.numpy().ravel(), scores.numpy().ravel())
    assert found["map_micro"] == pytest.approx(theirs)
    said = scores.numpy() > 0
    assert found["f1_micro"] == pytest.approx(f1_score(present.numpy(), said, average="micro"))
    assert found["f1_macro"] == pytest.approx(f1_score(known, said[:, :-1], average="macro"))
    assert judge(scores, present, LABELS) == found[main_metric(several_labels=True)]
    named = {metric for metric in Metric if metric.startswith(("map", "f1"))}
    assert set(found) == named


def test_of_equal_scores_the_lower_label_comes_first() -> None:
    labels = torch.tensor([0, 4, 5])
    found = measure(torch.zeros(3, LABELS), labels, LABELS)
    assert found == {"top1": 1 / 3, "top5": 2 / 3, "mean_per_class": 1 / 3}


@pytest.mark.parametrize("targets", [make_labels(0), make_present(0)], ids=["one", "several"])
def test_scores_that_are_no_numbers_find_nothing_that_a_guess_would_not(targets: torch.Tensor) -> None:
    nothing = torch.full((40, LABELS), torch.nan)
    same = torch.zeros(40, LABELS)
    if targets.dim() == 1:
        assert judge(nothing, targets, LABELS) == 0
    else:
        assert judge(nothing, targets, LABELS) == judge(same, targets, LABELS)
        assert measure(nothing, targets, LABELS)["f1_micro"] == 0


def test_inner_classes_behind_the_labels_are_no_answers() -> None:
    scores, labels = make_scores(0), make_labels(0)
    wider = torch.cat([scores, torch.full((40, 3), 100.0)], dim=1)
    assert measure(wider, labels, LABELS) == measure(scores, labels, LABELS)
    present = make_present(0)
    assert measure(wider, present, LABELS) == measure(scores, present, LABELS)


def test_figures_are_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = make_scores(0), make_labels(0)
    whole = measure(scores, labels, LABELS)
    monkeypatch.setattr(figures, "CHUNK_ENTRIES", 7 * LABELS)
    assert measure(scores, labels, LABELS) == whole
