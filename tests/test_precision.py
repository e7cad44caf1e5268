"""Average precision against a ranking written down in loops, and against torchmetrics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import forests
from torch.nn.functional import logsigmoid
from torchmetrics.classification import MultilabelAveragePrecision

from hypernym.hierarchy.levels import make_levels
from hypernym.metrics import precision
from hypernym.metrics.precision import (
    UNKNOWN,
    AveragePrecision,
    AveragePrecisionCounter,
    BinnedPrecisionCounter,
    TreeTargets,
    count_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hypernym.hierarchy.tree import Tree

    Ranked = list[tuple[float, float]]

SEEDS = st.integers(0, 2**31)
CPU = torch.device("cpu")


def make_scores(seed: int, num_scores: int) -> tuple[torch.Tensor, torch.Tensor]:
    """30 images, 6 classes; scores take `num_scores` values, so some are equal."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(num_scores, (30, 6), generator=generator) / num_scores
    return scores, torch.randint(UNKNOWN, 2, (30, 6), generator=generator)


def measure(scores: torch.Tensor, targets: torch.Tensor) -> AveragePrecision:
    counter = AveragePrecisionCounter()
    counter.update(scores, targets)
    return counter.compute()


def make_odds(seed: int, highest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log odds of 30 images and 6 classes in the middle of bins up to `highest`, and targets."""
    generator = torch.Generator().manual_seed(seed)
    bins = torch.randint(-highest, highest, (30, 6), generator=generator)
    return (bins + 0.5) / 64, torch.randint(UNKNOWN, 2, (30, 6), generator=generator)


def count_bins(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> BinnedPrecisionCounter:
    counter = BinnedPrecisionCounter(6, CPU)
    for log_odds, targets in batches:
        counter.update(logsigmoid(log_odds), targets)
    return counter


def rank(scores: torch.Tensor, targets: torch.Tensor) -> Ranked:
    """(recall, precision) of all known pairs whose score is at least s, for each score s."""
    pairs = [pair for pair in zip(scores.tolist(), targets.tolist(), strict=True) if pair[1] != UNKNOWN]
    positives = sum(target for _, target in pairs)
    points = []
    for bound in sorted({score for score, _ in pairs}, reverse=True):
        taken = [target for score, target in pairs if score >= bound]
        points.append((sum(taken) / positives, sum(taken) / len(taken)))
    return points


def plain(points: Ranked) -> float:
    area, reached = 0.0, 0.0
    for recall, precise in points:
        area += (recall - reached) * precise
        reached = recall
    return area


def best_from(points: Ranked, recall: float) -> float:
    return max(precise for reached, precise in points if reached >= recall - 1e-9)


def voc2007(points: Ranked) -> float:
    return sum(best_from(points, tenth / 10) for tenth in range(11)) / 11


def voc2010(points: Ranked) -> float:
    return plain([(recall, best_from(points, recall)) for recall, _ in points])


@given(seed=SEEDS, num_scores=st.sampled_from([2, 10, 1 << 20]), first_class=st.integers(0, 5))
def test_average_precision_equals_that_of_a_loop_over_the_ranking(
    seed: int, num_scores: int, first_class: int
) -> None:
    scores, targets = make_scores(seed, num_scores)
    targets[:, :first_class] = targets[:, :first_class].clamp(max=0)  # classes without a positive
    found = measure(scores, targets)
    with_positive = [c for c in range(6) if (targets[:, c] == 1).any()]
    ranked = [rank(scores[:, c], targets[:, c]) for c in with_positive]

    def mean(of: Callable[[Ranked], float]) -> float:
        return sum(map(of, ranked)) / len(ranked)

    assert found.classes == len(with_positive)
    assert found.voc2007 == pytest.approx(mean(voc2007))
    assert found.voc2010 == pytest.approx(mean(voc2010))
    assert found.macro == pytest.approx(mean(plain))
    assert found.micro == pytest.approx(plain(rank(scores.flatten(), targets.flatten())))


@pytest.mark.parametrize("num_scores", [4, 1 << 20])
def test_torchmetrics_finds_the_same(num_scores: int) -> None:
    scores, targets = make_scores(0, num_scores)
    targets = targets.clamp(min=0)
    found = measure(scores, targets)
    for average, ours in (("macro", found.macro), ("micro", found.micro)):
        oracle = MultilabelAveragePrecision(6, average=average)  # type: ignore[arg-type]
        assert ours == pytest.approx(oracle(scores, targets).item(), rel=1e-5)


def test_the_example_of_the_eleven_points() -> None:
    # hit, miss, hit, miss, miss: recall 1/2 at precision 1, recall 1 at precision 2/3
    found = measure(
        torch.tensor([[0.9], [0.8], [0.7], [0.6], [0.5]]), torch.tensor([[1], [0], [1], [0], [0]])
    )
    assert found.voc2007 == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert found.voc2010 == found.macro == pytest.approx((1 + 2 / 3) / 2)


def test_chunks_of_classes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, targets = make_scores(1, 50)
    whole = measure(scores, targets)
    monkeypatch.setattr(precision, "CHUNK_ENTRIES", 60)
    found = measure(scores, targets)
    assert (found.classes, found.micro) == (whole.classes, whole.micro)
    assert found.macro == pytest.approx(whole.macro)


def test_a_batch_may_be_overwritten_once_it_is_counted() -> None:
    scores, targets = make_scores(2, 50)
    expected = measure(scores, targets)
    counter = AveragePrecisionCounter()
    kept = scores.clone()
    counter.update(kept, targets)
    kept.zero_()
    assert counter.compute() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_memory_is_what_is_stated(dtype: torch.dtype) -> None:
    counter = AveragePrecisionCounter(dtype)
    for seed in range(3):
        counter.update(*make_scores(seed, 50))
    held = sum(tensor.nbytes for tensor in (*counter.scores, *counter.targets))
    assert held == count_bytes(90, 6, dtype)


def test_batches_without_images_are_counted_as_nothing() -> None:
    nothing = AveragePrecision(0, 0.0, 0.0, 0.0, 0.0)
    assert measure(torch.zeros(0, 6), torch.zeros(0, 6)) == nothing
    counter = AveragePrecisionCounter()
    scores, targets = make_scores(3, 50)
    for part in (slice(0, 0), slice(0, 30), slice(30, 30)):
        counter.update(scores[part], targets[part])
    assert counter.compute() == measure(scores, targets)
    empty = (torch.zeros(0, 6), torch.zeros(0, 6))
    assert count_bins([empty]).compute() == replace(nothing, bin_width=1 / 64)


@given(seed=SEEDS, highest=st.sampled_from([2, 40, 900]), first_class=st.integers(0, 6))
def test_bins_give_exactly_what_is_found_of_rounded_scores(
    seed: int, highest: int, first_class: int
) -> None:
    log_odds, targets = make_odds(seed, highest)
    targets[:, :first_class] = targets[:, :first_class].clamp(max=0)  # classes without a positive
    rounded = (64 * log_odds).floor().clamp(-768, 511)
    found, expected = count_bins([(log_odds, targets)]).compute(), measure(rounded, targets)
    assert found.classes == expected.classes
    for figure in ("voc2007", "voc2010", "macro", "micro"):
        assert getattr(found, figure) == pytest.approx(getattr(expected, figure), rel=1e-12)


@given(owners=st.lists(st.integers(0, 2), min_size=30, max_size=30))
def test_bins_of_several_processes_add_up(owners: list[int]) -> None:
    log_odds, targets = make_odds(5, 100)
    whole = count_bins([])
    for process in range(3):
        own = torch.tensor(owners) == process
        whole.merge(count_bins([(log_odds[own], targets[own])]))
    assert torch.equal(whole.counts, count_bins([(log_odds, targets)]).counts)


def test_narrower_bins_come_nearer_to_the_exact_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(2000, 6, generator=generator) < 0.2).int()
    log_odds = 2 * torch.randn(2000, 6, generator=generator) + 2 * targets - 3
    exact = measure(log_odds, targets)
    errors = []
    for width in (2, 1 / 4, 1 / 64, 1 / 512):
        monkeypatch.setattr(precision, "BIN_WIDTH", width)
        monkeypatch.setattr(precision, "NUM_BINS", int(20 / width))
        found = count_bins([(log_odds, targets)]).compute()
        assert found.bin_width == width
        assert found.macro <= exact.macro  # to take scores as equal is to be unsure of their order
        errors.append(exact.macro - found.macro)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.05
    assert errors[2] < 0.005
    assert errors[3] < 0.0005


def test_chunks_of_bins_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = count_bins([make_odds(6, 100)])
    whole = counter.compute()
    monkeypatch.setattr(precision, "CHUNK_BINS", 4 * 1280)  # of the 6 classes first 4, then 2
    found = counter.compute()
    assert (found.classes, found.micro) == (whole.classes, whole.micro)
    assert found.macro == pytest.approx(whole.macro)


def test_what_is_no_number_falls_into_the_lowest_bin() -> None:
    counter = BinnedPrecisionCounter(1, CPU)
    counter.update(torch.tensor([[torch.nan], [-1.0]]), torch.tensor([[0], [1]]))
    assert counter.compute().macro == 1.0


def test_sure_and_impossible_classes_fall_into_the_outermost_bins() -> None:
    counter = BinnedPrecisionCounter(1, CPU)
    surest = torch.tensor([-torch.inf, -1e30, -1e-30, 0.0, 1e-6])[:, None]
    counter.update(surest, torch.tensor([0, 0, 1, 1, 1])[:, None])
    assert counter.counts[1, 0].nonzero()[:, 0].tolist() == [0, 1279]
    assert counter.compute() == AveragePrecision(1, 1.0, 1.0, 1.0, 1.0, 1 / 64)


@given(forests(), SEEDS)
def test_a_label_makes_its_ancestors_positive_and_what_is_beneath_it_unknown(
    tree: Tree, seed: int
) -> None:
    size = len(tree.ids)

    def is_beneath(low: int, high: int) -> bool:
        return low == high or (low >= 0 and is_beneath(tree.parents[low], high))

    labels = torch.randint(size, (8,), generator=torch.Generator().manual_seed(seed))
    targets = TreeTargets(make_levels(tree), CPU).of(labels).tolist()
    for label, row in zip(labels.tolist(), targets, strict=True):
        for other in range(size):
            expected = UNKNOWN if is_beneath(other, label) else 0
            assert row[other] == (1 if is_beneath(label, other) else expected)


@given(tree=forests(12), seed=st.integers(0, 99))
def test_targets_of_several_labels_are_those_of_each_put_together(tree: Tree, seed: int) -> None:
    present = torch.rand(5, len(tree.ids), generator=torch.Generator().manual_seed(seed)) < 0.3
    targets = TreeTargets(make_levels(tree), torch.device("cpu"))
    found = targets.of_several(present)
    for image in range(5):
        each = [targets.of(torch.tensor([label]))[0].tolist() for label in range(len(tree.ids))]
        mine = [each[label] for label in present[image].nonzero()[:, 0].tolist()]
        for place in range(len(tree.ids)):
            told = {row[place] for row in mine}
            expected = 1 if 1 in told else UNKNOWN if UNKNOWN in told else 0
            assert found[image, place] == expected
