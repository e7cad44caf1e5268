"""Time the counters, and weigh what they hold, beside torchmetrics.

    python benchmarks/metrics.py [--device cuda] [--batch 256] [--repeats 7] [--threads 1]

Classes and tree are ImageNet-21K-P's (11,221 classes, 12 depths). Each row is a median over
repeats in which the contestants take turns, so that a busy machine slows all of them alike.
torchmetrics has no counterpart of the metrics over the tree.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import timm
import torch
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MultilabelAveragePrecision,
)

from hypernym.decoding import Decoder
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.rule import Rule
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import build_from_wordnet
from hypernym.inference import EvaluationCounter
from hypernym.metrics.accuracy import AccuracyCounter
from hypernym.metrics.calibration import CalibrationCounter
from hypernym.metrics.coverage import CoverageCounter
from hypernym.metrics.mistakes import MistakeCounter
from hypernym.metrics.precision import AveragePrecisionCounter, TreeTargets

if TYPE_CHECKING:
    from collections.abc import Callable

AVERAGE_PRECISION_IMAGES = 1024


def main() -> None:
    """Print milliseconds a batch and bytes of state."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)

    ids = Path(timm.__file__).parent / "data/_info/imagenet21k_miil_synsets.txt"
    levels = make_levels(build_from_wordnet(tuple(ids.read_text().split())))
    num_classes = levels.num_classes
    generator = torch.Generator(device).manual_seed(0)
    logits = torch.randn(given.batch, num_classes, device=device, generator=generator)
    labels = torch.randint(num_classes, (given.batch,), device=device, generator=generator)
    print(
        f"{given.batch} images x {num_classes:,} classes on {device}, {torch.get_num_threads()} threads"
    )

    top1 = MulticlassAccuracy(num_classes, top_k=1, average="micro").to(device)
    top5 = MulticlassAccuracy(num_classes, top_k=5, average="micro").to(device)
    macro = MulticlassAccuracy(num_classes, top_k=1, average="macro").to(device)
    theirs_calibration = MulticlassCalibrationError(num_classes, n_bins=15).to(device)

    def update_theirs() -> None:
        for metric in (top1, top5, macro):
            metric.update(logits, labels)

    decoders = {scheme: Decoder(levels, scheme, device) for scheme in Scheme}
    path = decoders[Scheme.SEMANTIC].decode(logits, 0.5)
    accuracy, calibration = AccuracyCounter(levels, device), CalibrationCounter(levels, device)
    mistakes, coverage = MistakeCounter(levels, device), CoverageCounter(levels, device)
    everything = EvaluationCounter(levels, Scheme.SEMANTIC, device, keep_scores=False)
    contestants: dict[str, Callable[[], object]] = {
        "torchmetrics: top-1, top-5, macro": update_theirs,
        "torchmetrics: calibration, all classes": lambda: theirs_calibration.update(logits, labels),
        "accuracy: top-1, top-5, each depth": lambda: accuracy.update(logits, labels),
        "calibration, each depth": lambda: calibration.update(logits, labels),
        "mistakes": lambda: mistakes.update(path.ends, labels),
        "coverage, 21 thresholds": lambda: coverage.update(path.labels, path.probabilities, labels),
        **{
            f"decode {scheme}, {rule}": partial(decoders[scheme].decode, logits, 0.5, rule)
            for scheme in Scheme
            for rule in Rule
        },
        "everything that evaluate counts": lambda: everything.update(logits, labels),
    }
    for name, milliseconds in _time_in_turns(contestants, given.repeats, device).items():
        print(f"  {name:<42} {milliseconds:8.1f} ms a batch")
    counts = (accuracy, calibration, mistakes, coverage)
    print(f"  counts of our counters {sum(counter.counts.nbytes for counter in counts):,} bytes")
    _compare_average_precision(logits.cpu(), labels.cpu(), TreeTargets(levels, torch.device("cpu")))


def _time_in_turns(
    contestants: dict[str, Callable[[], object]], repeats: int, device: torch.device
) -> dict[str, float]:
    """Return the median milliseconds of each contestant; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats + 1):
        for name, run in contestants.items():
            _wait_for(device)
            began = time.perf_counter()
            run()
            _wait_for(device)
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: statistics.median(measured[1:]) for name, measured in times.items()}


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _compare_average_precision(logits: torch.Tensor, labels: torch.Tensor, targets: TreeTargets) -> None:
    """Print seconds and bytes of mAP over all classes, ours and theirs, on repeated batches."""
    rounds = max(1, AVERAGE_PRECISION_IMAGES // len(labels))
    noise = torch.Generator().manual_seed(1)
    batches = [
        (torch.rand(logits.shape, generator=noise), targets.of(labels).clamp(min=0))
        for _ in range(rounds)
    ]
    ours = AveragePrecisionCounter()
    theirs = MultilabelAveragePrecision(logits.shape[1], average="macro", validate_args=False)
    for name, metric in (("ours", ours), ("torchmetrics", theirs)):
        for scores, target in batches:
            metric.update(scores, target)
        began = time.perf_counter()
        metric.compute()
        print(f"  mAP of {rounds * len(labels):,} images, {name}: {time.perf_counter() - began:.1f} s")
    held = sum(tensor.nbytes for tensor in (*ours.scores, *ours.targets))
    print(f"  scores and targets that ours keeps: {held:,} bytes")


if __name__ == "__main__":
    main()
