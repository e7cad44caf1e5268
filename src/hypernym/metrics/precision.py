"""Average precision over classes, on targets of several labels an image.

Two counters: one keeps every score and is exact, one counts scores in bins and stays small however
many images there are.

Shapes: M images in all, K classes of a chunk, P distinct scores of positives, N bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch

from hypernym.hierarchy.levels import NONE
from hypernym.metrics.counter import Counter, pad_ancestors

if TYPE_CHECKING:
    from hypernym.hierarchy.levels import Levels

UNKNOWN = -1
"""Stands in a target where it is not known whether the image shows the class (VOC: difficult)."""

CHUNK_ENTRIES = 1 << 22
"""(image, class) pairs that are sorted at a time."""

LOWEST, BIN_WIDTH, NUM_BINS = -12.0, 1 / 64, 1280
"""In log odds: the odds p / (1 - p) of two scores of one bin differ by at most 1.6 %, and the bins reach
from odds of 1 to 160,000 to odds of 3,000 to 1. What is beyond falls into the outermost ones."""

CHUNK_BINS = 1 << 18
"""(bin, class) pairs whose precision is computed at a time."""


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision, all 0..1. Precision and recall are taken at each distinct score.

    Pairs (image, class) whose target is unknown take no part. Equal scores count as found together,
    so that the order of images means nothing.
    """

    classes: int
    """Classes with a known positive; the means run over these."""

    voc2007: float
    """Mean over classes of the 11-point average: the mean over recalls 0, 0.1, ..., 1 of the largest
    precision at that recall or more (Everingham et al. 2010, "The PASCAL VOC Challenge", 4.2)."""

    voc2010: float
    """Mean over classes of the area under the same curve at every recall (VOC 2010 and later)."""

    macro: float
    """Mean over classes of sum (R_n - R_(n-1)) P_n, without interpolation: the mAP of multi-label
    work on MS-COCO, and scikit-learn's `average_precision_score(average="macro")`."""

    micro: float
    """The same with all (image, class) pairs ranked in one list."""

    bin_width: float = 0.0
    """Of the bins in which scores were counted, in log odds: all scores of one bin count as equal. 0 if
    each score was kept."""


def count_bytes(num_images: int, num_classes: int, dtype: torch.dtype = torch.float32) -> int:
    """Return the memory that an `AveragePrecisionCounter` takes for so many images."""
    return num_images * num_classes * (dtype.itemsize + 1)


class AveragePrecisionCounter:
    """Keeps all scores: a place in a ranking is known when the last image has been seen.

    It costs 5 bytes an image and class in the memory of the CPU (a float32 score, a target of one
    byte; 3 bytes with `dtype=torch.float16`, where scores closer than 1 in 2,048 become equal), see
    `count_bytes`: 280 MB for 5,000 images of 11,221 classes. `compute` takes about 300 MB on top,
    however many classes there are, in chunks of classes. Each update copies to the CPU, and so waits
    for the device. Processes gather their scores and merge; they do not add up.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self._dtype = dtype
        self.scores: list[torch.Tensor] = []
        """(B, C) of each batch, on the CPU."""

        self.targets: list[torch.Tensor] = []
        """int8 (B, C) of each batch, on the CPU."""

    def update(self, scores_BC: torch.Tensor, targets_BC: torch.Tensor) -> None:
        """Keep a batch: any scores that grow with the belief, and targets 1, 0 or `UNKNOWN`."""
        if not len(scores_BC):
            return
        # `copy`: a caller may go on writing to its tensors
        self.scores.append(scores_BC.detach().to("cpu", self._dtype, copy=True))
        self.targets.append(targets_BC.to("cpu", torch.int8, copy=True))

    def merge(self, other: Self) -> None:
        """Take over what another counter has kept."""
        self.scores += other.scores
        self.targets += other.targets

    def compute(self) -> AveragePrecision:
        """Return the average precision of all images kept so far; 0 where no class has a positive."""
        num_images = sum(len(targets_BC) for targets_BC in self.targets)
        num_classes = self.targets[0].shape[1] if self.targets else 0
        chunk = max(1, CHUNK_ENTRIES // max(1, num_images))
        by_class = []
        for start in range(0, num_classes, chunk):
            targets_MK = torch.cat([targets[:, start : start + chunk] for targets in self.targets])
            has_positive_K = (targets_MK == 1).any(dim=0)
            scores_MK = torch.cat([scores[:, start : start + chunk] for scores in self.scores])
            by_class.append(_by_class(scores_MK[:, has_positive_K], targets_MK[:, has_positive_K]))
        found_3C = torch.cat(by_class, dim=1) if by_class else torch.zeros(3, 0)
        classes = found_3C.shape[1]
        voc2007, voc2010, macro = found_3C.sum(dim=1).div(max(1, classes)).tolist()
        return AveragePrecision(classes, voc2007, voc2010, macro, self._micro())

    def _micro(self) -> float:
        """Rank all pairs at once; only scores of positives cut the list, so only those are sorted."""
        pairs = list(zip(self.scores, self.targets, strict=True))
        hits = [scores_BC[targets_BC == 1] for scores_BC, targets_BC in pairs]
        if not any(len(hit) for hit in hits):
            return 0.0
        bounds_P, positives_P = torch.unique(torch.cat(hits), return_counts=True)
        ranked_P = torch.zeros(len(bounds_P) + 1, dtype=torch.int64)
        for scores_BC, targets_BC in pairs:
            known = scores_BC[targets_BC != UNKNOWN]
            # how many of the bounds each score reaches
            reached = torch.searchsorted(bounds_P, known, right=True)
            ranked_P += reached.bincount(minlength=len(ranked_P))
        found_P = positives_P.flip(0).cumsum(0).double()
        above_P = ranked_P[1:].flip(0).cumsum(0).double()
        return float((positives_P.flip(0) * found_P / above_P).sum() / found_P[-1])


class BinnedPrecisionCounter(Counter):
    """Counts in bins how sure a model is of each class: the size is that of C, not of the images.

    It is to the last digit what `AveragePrecisionCounter` finds of scores that are rounded down to
    multiples of 1/64 in log odds. That is rarely more, and mostly a little less, than the figure of the
    scores themselves, for the order within a bin is lost (docs/hierarchy.md). Bins of equal width in
    probability would do for few classes alone: of thousands, most are always below the first bound. It
    takes 10 KiB a class, 115 MB for 11,221, on the device of the scores; `compute` looks at some classes
    at a time.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        # positives, then all known pairs, by class and bin; up to 2^31 images
        shape = (2, num_classes, NUM_BINS)
        self.counts = torch.zeros(shape, dtype=torch.int32, device=device)

    def update(self, log_probability_BC: torch.Tensor, targets_BC: torch.Tensor) -> None:
        """Count a batch of log probabilities, whose targets are 1, 0 or `UNKNOWN`."""
        log_probability_BC = log_probability_BC.float().clamp(max=0.0)
        log_odds_BC = log_probability_BC - log_probability_BC.expm1().neg_().log_()
        bin_BC = log_odds_BC.sub_(LOWEST).div_(BIN_WIDTH).floor_().clamp_(0, NUM_BINS - 1).nan_to_num_(0)
        start_C = torch.arange(self.counts.shape[1], device=bin_BC.device) * NUM_BINS
        place_BC = bin_BC.long().add_(start_C)
        for counts_CN, counted_BC in zip(
            self.counts, (targets_BC == 1, targets_BC != UNKNOWN), strict=True
        ):
            counts_CN.view(-1).scatter_add_(0, place_BC.flatten(), counted_BC.flatten().int())

    def compute(self) -> AveragePrecision:
        """Return the average precision of all images counted so far; 0 where nothing is positive."""
        by_class, sum_2N1 = [], torch.zeros(2, NUM_BINS, 1, dtype=torch.int64)
        for chunk_2KN in torch.split(self.counts, CHUNK_BINS // NUM_BINS, dim=1):
            chunk_2NK = chunk_2KN.cpu().flip(2).transpose(1, 2)
            sum_2N1 += chunk_2NK.sum(dim=2, keepdim=True)
            by_class.append(_by_bin(chunk_2NK[:, :, chunk_2NK[0].any(dim=0)]))
        found_3C = torch.cat(by_class, dim=1)
        classes = found_3C.shape[1]
        voc2007, voc2010, macro = found_3C.sum(dim=1).div(max(1, classes)).tolist()
        micro = _by_bin(sum_2N1)[2].item()
        return AveragePrecision(classes, voc2007, voc2010, macro, micro, BIN_WIDTH)


def _by_bin(counts_2NK: torch.Tensor) -> torch.Tensor:
    """Return the figures of `_average` of positives and known pairs in bins, the highest bin first."""
    positives_NK, (found_NK, known_NK) = counts_2NK[0], counts_2NK.cumsum(1)
    return _average(positives_NK, found_NK, found_NK.double() / known_NK.clamp(min=1))


def _by_class(scores_MK: torch.Tensor, targets_MK: torch.Tensor) -> torch.Tensor:
    """Return the figures of `_average` of scores and targets; every class has a positive."""
    scores_MK, order_MK = scores_MK.sort(dim=0, descending=True)
    targets_MK = targets_MK.gather(0, order_MK)
    positive_MK = targets_MK == 1
    found_MK = positive_MK.cumsum(0)
    ranked_MK = (targets_MK != UNKNOWN).cumsum(0)
    precision_MK = found_MK.double() / ranked_MK.clamp(min=1)

    # Precision is taken where a run of equal scores ends.
    is_end_MK = torch.ones_like(positive_MK)
    is_end_MK[:-1] = scores_MK[:-1] != scores_MK[1:]
    num_images = len(scores_MK)
    place_M = torch.arange(num_images)[:, None]
    end_MK = torch.where(is_end_MK, place_M, num_images - 1).flip(0).cummin(0).values.flip(0)
    return _average(positive_MK, found_MK, precision_MK.gather(0, end_MK))


def _average(
    positives_MK: torch.Tensor, found_MK: torch.Tensor, precision_MK: torch.Tensor
) -> torch.Tensor:
    """Return VOC 2007, VOC 2010 and plain average precision, float64 (3, K), of each class.

    Args:
        positives_MK: Positives at each place of the ranking; a place may be a bin.
        found_MK: Positives so far, the place itself included.
        precision_MK: At each place.
    """
    # for VOC the largest from there on
    onward_MK = precision_MK.flip(0).cummax(0).values.flip(0)
    total_K = found_MK[-1]
    share_MK = positives_MK.double() / total_K.clamp(min=1)
    # recall r / 10 is reached at the first place with 10 * found >= r * total: in integers, so exactly
    at_recall = [
        onward_MK.gather(0, (10 * found_MK < tenth * total_K).sum(0, keepdim=True))[0]
        for tenth in range(11)
    ]
    return torch.stack(
        [torch.stack(at_recall).mean(0), (share_MK * onward_MK).sum(0), (share_MK * precision_MK).sum(0)]
    )


class TreeTargets:
    """Targets of several labels from one label an image: it and its ancestors are positive.

    Whether an image shows one of the classes beneath its label is unknown, since images are also
    labelled with inner classes: a picture of a cow as `animal`.
    """

    def __init__(self, levels: Levels, device: torch.device) -> None:
        self._ancestors_CL = pad_ancestors(levels, device)
        self._ancestors_LC = torch.from_numpy(levels.ancestors_CL.T.copy()).to(device)
        self._depth_C = torch.from_numpy(levels.depth_C).to(device)

    def of(self, labels_B: torch.Tensor) -> torch.Tensor:
        """Return targets, int8 (B, C), of labels (B,)."""
        beneath_BC = self._ancestors_LC[self._depth_C[labels_B]] == labels_B[:, None]
        targets_BC = torch.where(beneath_BC, UNKNOWN, 0).to(torch.int8)
        ancestors_BL = self._ancestors_CL[labels_B]
        # where there is no ancestor, the label is marked once more
        marked_BL = torch.where(ancestors_BL != NONE, ancestors_BL, labels_B[:, None])
        return targets_BC.scatter_(1, marked_BL, 1)

    def of_several(self, present_BK: torch.Tensor) -> torch.Tensor:
        """Return targets, int8 (B, C), of images with several labels, bool (B, K).

        A class is positive if it is for one of the labels, and unknown if it is beneath one of them and
        positive for none.
        """
        image_P, label_P = present_BK.nonzero(as_tuple=True)
        targets_PC = self.of(label_P)
        none_BC = torch.zeros(len(present_BK), targets_PC.shape[1], device=present_BK.device)
        positive_BC = none_BC.index_add(0, image_P, (targets_PC == 1).float()) > 0
        unknown_BC = none_BC.index_add(0, image_P, (targets_PC == UNKNOWN).float()) > 0
        return torch.where(positive_BC, 1, torch.where(unknown_BC, UNKNOWN, 0)).to(torch.int8)
