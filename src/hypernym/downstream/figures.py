"""The figures that downstream datasets are judged by, from scores and targets.

Shapes: M images, B of them at a time, K labels. Scores are logits or log-odds as in
`hypernym.downstream`. A score that is not a number finds nothing.
"""

from __future__ import annotations

from enum import StrEnum

import torch

from hypernym.metrics.counter import divide
from hypernym.metrics.precision import AveragePrecisionCounter

TOP_K = 5

CHUNK_ENTRIES = 1 << 24
"""(image, label) pairs that are compared at a time."""


class Metric(StrEnum):
    """A figure of a downstream dataset; all are 0..1."""

    TOP1 = "top1"
    """Share of images whose label has the largest score."""

    TOP5 = "top5"
    """Share of images whose label is among the five largest scores."""

    MEAN_PER_CLASS = "mean_per_class"
    """The share for each class that has an image, averaged over these classes."""

    MAP = "map"
    """Mean over classes with a positive of the average precision, without interpolation."""

    MAP_VOC2007 = "map_voc2007"
    """The same, each class by the 11 points of VOC 2007."""

    MAP_VOC2010 = "map_voc2010"
    """The same, each class by the area of VOC 2010 and later."""

    MAP_MICRO = "map_micro"
    """Average precision of all (image, label) pairs in one list."""

    F1_MICRO = "f1_micro"
    """F1 of the pairs whose log-odds are above 0."""

    F1_MACRO = "f1_macro"
    """F1 of each class, averaged; classes without any positive among the images are left out."""


def main_metric(several_labels: bool) -> Metric:
    """Return the figure that settings are chosen by."""
    return Metric.MAP if several_labels else Metric.TOP1


def measure(scores_MK: torch.Tensor, targets: torch.Tensor, num_labels: int) -> dict[str, float]:
    """Return the figures by name: top1, top5 and mean_per_class, or those of several labels.

    Args:
        scores_MK: Scores; columns beyond `num_labels` (inner classes of a tree) are no answers.
        targets: Labels, int64 (M,), or bool (M, K).
        num_labels: K.
    """
    scores_MK = scores_MK[:, :num_labels]
    if targets.dim() == 1:
        return _measure_one_label(scores_MK, targets, num_labels)
    found = _average_precision(scores_MK, targets).compute()
    return {
        Metric.MAP.value: found.macro,
        Metric.MAP_VOC2007.value: found.voc2007,
        Metric.MAP_VOC2010.value: found.voc2010,
        Metric.MAP_MICRO.value: found.micro,
        **_measure_f1(scores_MK, targets.to(scores_MK.device)),
    }


def judge(scores_MK: torch.Tensor, targets: torch.Tensor, num_labels: int) -> float:
    """Return the main metric alone, to choose by."""
    scores_MK = scores_MK[:, :num_labels]
    if targets.dim() == 1:
        return divide(int((_places(scores_MK, targets) == 0).sum()), len(targets))
    return _average_precision(scores_MK, targets).compute().macro


def _measure_one_label(
    scores_MK: torch.Tensor, labels_M: torch.Tensor, num_labels: int
) -> dict[str, float]:
    place_M = _places(scores_MK, labels_M).cpu()
    labels_M = labels_M.cpu()
    images_K = labels_M.bincount(minlength=num_labels)
    right_K = labels_M[place_M == 0].bincount(minlength=num_labels)
    has_image_K = images_K > 0
    share_K = right_K[has_image_K].double() / images_K[has_image_K]
    return {
        Metric.TOP1.value: divide(int(right_K.sum()), len(labels_M)),
        Metric.TOP5.value: divide(int((place_M < TOP_K).sum()), len(labels_M)),
        Metric.MEAN_PER_CLASS.value: float(share_K.sum()) / max(1, len(share_K)),
    }


def _places(scores_MK: torch.Tensor, labels_M: torch.Tensor) -> torch.Tensor:
    """Return the place of each image's label, from 0; of equal scores the lower label comes first.

    `topk` leaves open which of equal scores it takes, and k-NN gives most labels the same.
    """
    labels_M = labels_M.to(scores_MK.device)
    label_K = torch.arange(scores_MK.shape[1], device=scores_MK.device)
    rows = max(1, CHUNK_ENTRIES // max(1, scores_MK.shape[1]))
    places = []
    for scores_BK, labels_B in zip(
        torch.split(scores_MK, rows), torch.split(labels_M, rows), strict=True
    ):
        own_B1 = scores_BK.gather(1, labels_B[:, None])
        # "not at most", so that what is not a number stands above
        above_BK = ~(scores_BK <= own_B1)
        level_BK = (scores_BK == own_B1) & (label_K < labels_B[:, None])
        places.append((above_BK | level_BK).sum(dim=1))
    return torch.cat(places)


def _average_precision(scores_MK: torch.Tensor, targets_MK: torch.Tensor) -> AveragePrecisionCounter:
    counter = AveragePrecisionCounter()
    counter.update(scores_MK.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf), targets_MK)
    return counter


def _measure_f1(scores_MK: torch.Tensor, targets_MK: torch.Tensor) -> dict[str, float]:
    said_MK = scores_MK > 0
    hits_K = (said_MK & targets_MK).sum(dim=0)
    said_K, positives_K = said_MK.sum(dim=0), targets_MK.sum(dim=0)
    has_positive_K = positives_K > 0
    f1_K = (2 * hits_K[has_positive_K]).double() / (said_K + positives_K)[has_positive_K]
    said_or_positive = int(said_K.sum() + positives_K.sum())
    return {
        Metric.F1_MICRO.value: divide(2 * int(hits_K.sum()), said_or_positive),
        Metric.F1_MACRO.value: float(f1_K.sum()) / max(1, len(f1_K)),
    }
