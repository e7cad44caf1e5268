"""A trained model applied to labelled images: what was counted.

Shapes: B images, C classes.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from hypernym.decoding import Decoder
from hypernym.distributed import add_up, gather
from hypernym.errors import UsageError
from hypernym.hierarchy.levels import make_levels
from hypernym.metrics.accuracy import Accuracy, AccuracyCounter, SummedAccuracy
from hypernym.metrics.calibration import CalibrationCounter
from hypernym.metrics.coverage import CoverageCounter
from hypernym.metrics.mistakes import MistakeCounter
from hypernym.metrics.precision import AveragePrecisionCounter, BinnedPrecisionCounter, TreeTargets
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from hypernym.checkpoint import TrainedModel
    from hypernym.data.loader import Batch
    from hypernym.distributed import World
    from hypernym.hierarchy.levels import Levels
    from hypernym.hierarchy.scheme import Scheme
    from hypernym.metrics.calibration import DepthCalibration
    from hypernym.metrics.coverage import CoveragePoint
    from hypernym.metrics.mistakes import Mistakes
    from hypernym.metrics.precision import AveragePrecision
    from hypernym.models import Classifier

THRESHOLD = 0.5
"""Where a path is cut unless told otherwise: a class stays that is more probable than not."""


@dataclass(frozen=True)
class Evaluation:
    """All that is measured of a model on labelled images."""

    accuracy: Accuracy
    """By logits, each depth by itself: the paper's figures."""

    summed: SummedAccuracy
    """By probabilities: that of a class holds, by the single-label scheme, those of all classes beneath
    it. A softmax over all classes is not taught to have a large logit for an ancestor of the label, and
    knows the ancestor all the same."""

    calibration: tuple[DepthCalibration, ...]
    """By depth."""

    path_mistakes: Mistakes
    """Of the end of the path at threshold 0.5, the answer of a model that may stop at an ancestor;
    an empty path ends in the virtual root."""

    leaf_mistakes: Mistakes
    """Of the most probable leaf, the answer of a model that must name one, as papers compare them."""

    coverage: tuple[CoveragePoint, ...]
    """By threshold."""

    average_precision: AveragePrecision
    """Exact if the scores were kept, else of scores in bins."""


class EvaluationCounter:
    """Counts everything in an `Evaluation`.

    Beside the scores, if they are kept, it needs under 20 MB at 11,221 classes; with their bins instead
    under 140 MB.
    """

    def __init__(
        self, levels: Levels, scheme: Scheme, device: torch.device, *, keep_scores: bool
    ) -> None:
        self._decoder = Decoder(levels, scheme, device)
        self._targets = TreeTargets(levels, device)
        self._accuracy = AccuracyCounter(levels, device)
        self._summed = AccuracyCounter(levels, device)
        self._calibration = CalibrationCounter(levels, device)
        self._path_mistakes = MistakeCounter(levels, device)
        self._leaf_mistakes = MistakeCounter(levels, device)
        self._coverage = CoverageCounter(levels, device)
        self._precision = (
            AveragePrecisionCounter()
            if keep_scores
            else BinnedPrecisionCounter(levels.num_classes, device)
        )

    def update(
        self,
        logits_BC: torch.Tensor,
        labels_B: torch.Tensor,
        present_BK: torch.Tensor | None = None,
    ) -> None:
        """Count a batch of logits (B, C) against labels (B,).

        Where images have several labels, average precision looks at all of them (B, K), and everything
        else at the first.
        """
        self._accuracy.update(logits_BC, labels_B)
        self._calibration.update(logits_BC, labels_B)
        log_probability_BC = self._decoder.log_probabilities(logits_BC)
        self._summed.update(log_probability_BC, labels_B)
        path = self._decoder.follow(log_probability_BC, THRESHOLD)
        self._path_mistakes.update(path.ends, labels_B)
        self._leaf_mistakes.update(self._decoder.find_leaf(log_probability_BC).ends, labels_B)
        self._coverage.update(path.labels, path.probabilities, labels_B)
        targets = self._targets
        targets_BC = targets.of(labels_B) if present_BK is None else targets.of_several(present_BK)
        self._precision.update(log_probability_BC, targets_BC)

    def merge(self, other: EvaluationCounter) -> None:
        """Add what another counter of the same model has counted; both keep scores, or neither does."""
        self._accuracy.merge(other._accuracy)
        self._summed.merge(other._summed)
        self._calibration.merge(other._calibration)
        self._path_mistakes.merge(other._path_mistakes)
        self._leaf_mistakes.merge(other._leaf_mistakes)
        self._coverage.merge(other._coverage)
        match self._precision, other._precision:
            case AveragePrecisionCounter() as kept, AveragePrecisionCounter() as others:
                kept.merge(others)
            case BinnedPrecisionCounter() as binned, BinnedPrecisionCounter() as others:
                binned.merge(others)

    def sum_up(self, world: World) -> None:
        """Add what the counters of all processes have counted, in all of them."""
        for counter in (
            self._accuracy,
            self._summed,
            self._calibration,
            self._path_mistakes,
            self._leaf_mistakes,
            self._coverage,
        ):
            add_up(world, counter.counts)
        if isinstance(self._precision, BinnedPrecisionCounter):
            add_up(world, self._precision.counts)
        else:
            first, *others = gather(world, self._precision)
            for other in others:
                first.merge(other)
            self._precision = first

    def compute(self) -> Evaluation:
        """Return what was measured on all images counted so far."""
        summed = self._summed.compute()
        return Evaluation(
            self._accuracy.compute(),
            SummedAccuracy(summed.semantic_top1, summed.by_depth),
            self._calibration.compute(),
            self._path_mistakes.compute(),
            self._leaf_mistakes.compute(),
            self._coverage.compute(),
            self._precision.compute(),
        )


def measure(
    classifier: Classifier,
    batches: Iterable[Batch],
    levels: Levels,
    device: torch.device,
    world: World,
    total: int,
    precision: torch.dtype = torch.float32,
) -> Accuracy:
    """Measure the accuracy of a model, in evaluation mode, on `total` images.

    Each process counts the batches that it is given; all of them return the accuracy over all images.
    """
    counter = AccuracyCounter(levels, device)
    for logits_BC, labels_B, _ in run_model(classifier, batches, device, world, total, precision):
        counter.update(logits_BC, labels_B)
    add_up(world, counter.counts)
    return counter.compute()


def measure_all(
    model: TrainedModel,
    batches: Iterable[Batch],
    device: torch.device,
    world: World,
    total: int,
    *,
    keep_scores: bool,
) -> Evaluation:
    """Measure everything of a model, in evaluation mode and float32, on `total` images.

    Each process counts the batches that it is given; all of them return the figures of all images.
    Average precision is exact with `keep_scores`: see `AveragePrecisionCounter` for what that costs.
    """
    levels = make_levels(model.card.tree)
    counter = EvaluationCounter(levels, model.card.scheme, device, keep_scores=keep_scores)
    classifier = model.classifier.to(device)
    for logits_BC, labels_B, present_BK in run_model(classifier, batches, device, world, total):
        counter.update(logits_BC, labels_B, present_BK)
    counter.sum_up(world)
    return counter.compute()


@torch.no_grad()  # what a model keeps of a forward pass in inference mode, no training could use
def run_model(
    classifier: Classifier,
    batches: Iterable[Batch],
    device: torch.device,
    world: World,
    total: int,
    precision: torch.dtype = torch.float32,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
    """Run the model in evaluation mode, over `total` images.

    In another `precision` than float32, the forward pass is in the one that autocast chooses.

    Returns:
        For each batch logits (B, C), labels (B,) and, where images have several, all of them (B, K).
    """
    was_training = classifier.training
    classifier.eval()
    done = shown = 0
    with show_progress("evaluating", total, "images") as advance:
        for batch in batches:
            with autocast(device, precision):
                logits_BC = classifier(batch.images.to(device, non_blocking=True)).float()
            present_BK = None if batch.present is None else batch.present.to(device)
            yield logits_BC, batch.labels.to(device, non_blocking=True), present_BK
            done = min(total, done + world.size * len(batch.labels))
            advance(done - shown)
            shown = done
    classifier.train(was_training)


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """Return a context in which a model works in `precision`, where torch has it for an operation."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is the first GPU, else the CPU.

    Raises:
        UsageError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as cause:
        raise UsageError(
            f"--device {name} cannot be used here ({str(cause).splitlines()[0]})."
        ) from cause
    return device
