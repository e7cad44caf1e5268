"""What a transferred model answered to each test image, and how its score moves with the images.

Shapes: M images, K classes, P positive (image, class) pairs, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from hypernym.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PRECISION_DRAWS = 2_000
"""Resamples of the images for a mean average precision: the smallest p is 2 / 2,001."""

MAX_ENTRIES = 500_000
"""With more (image, class) pairs there are fewer draws: COCO's would take minutes a run."""

FEW_PRECISION_DRAWS = 400


@dataclass(frozen=True)
class SingleAnswers:
    """One label an image."""

    labels_M: NDArray[np.int32]
    guesses_M: NDArray[np.int32]

    @property
    def correct_M(self) -> NDArray[np.float64]:
        """1 where the guess is the label, else 0."""
        return np.equal(self.labels_M, self.guesses_M).astype(np.float64)

    @property
    def score(self) -> float:
        """Top-1 accuracy, 0..1."""
        return float(self.correct_M.mean())


@dataclass(frozen=True)
class SeveralAnswers:
    """Several labels an image."""

    scores_MK: NDArray[np.float32]
    present_MK: NDArray[np.bool_]

    @property
    def score(self) -> float:
        """Mean average precision over classes with a positive, 0..1."""
        return RankedAnswers(self).score(np.ones(len(self.scores_MK), np.int64))


Answers = SingleAnswers | SeveralAnswers


def load_answers(run: Path) -> Answers:
    """Read the answers of a transfer run.

    Raises:
        RunError: they are missing or damaged.
    """
    path = run / "answers.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "scores" in arrays:
                return SeveralAnswers(arrays["scores"], arrays["present"])
            return SingleAnswers(arrays["labels"], arrays["guesses"])
    except (OSError, ValueError, KeyError, BadZipFile) as cause:
        raise RunError(
            f"{path} cannot be read ({' '.join(str(cause).split())}): make the transfer again."
        ) from cause


def same_images(one: Answers, other: Answers) -> bool:
    """Tell whether two runs answered for the same labels of the same images."""
    if isinstance(one, SingleAnswers) and isinstance(other, SingleAnswers):
        return np.array_equal(one.labels_M, other.labels_M)
    if isinstance(one, SeveralAnswers) and isinstance(other, SeveralAnswers):
        return np.array_equal(one.present_MK, other.present_MK)
    return False


class RankedAnswers:
    """Scores sorted once, so that any weights of the images give their average precision quickly.

    Average precision is sum (R_n - R_(n-1)) P_n at each distinct score, as in `metrics.precision`.
    """

    def __init__(self, answers: SeveralAnswers) -> None:
        num, self._num_classes = answers.scores_MK.shape
        scores_KM = np.ascontiguousarray(answers.scores_MK.T)
        order_KM = np.argsort(-scores_KM, axis=1, kind="stable")
        sorted_KM = np.take_along_axis(scores_KM, order_KM, axis=1)
        is_end_KM = np.ones(sorted_KM.shape, bool)
        is_end_KM[:, :-1] = sorted_KM[:, :-1] != sorted_KM[:, 1:]
        # The classes stand one behind the other in one list of ranks.
        self._order = order_KM.ravel()
        ranks_P = np.flatnonzero(np.take_along_axis(answers.present_MK.T, order_KM, axis=1))
        ends = np.flatnonzero(is_end_KM)
        self._class_P, self._image_P = ranks_P // num, self._order[ranks_P]
        self._end_P = ends[np.searchsorted(ends, ranks_P)]
        self._last_P = np.searchsorted(ranks_P, self._end_P, side="right") - 1
        self._first_P = np.searchsorted(ranks_P, self._class_P * num)

    def score(self, weights_M: NDArray[np.int64]) -> float:
        """Return the mean average precision of images that count so many times each."""
        weights_P = weights_M[self._image_P]
        found = np.concatenate([[0], weights_P.cumsum()])
        found_P = found[self._last_P + 1] - found[self._first_P]
        ranked_P = weights_M[self._order].cumsum()[self._end_P] - self._class_P * weights_M.sum()
        gains_P = weights_P * found_P / np.maximum(ranked_P, 1)
        total_K, summed_K = (
            np.bincount(self._class_P, values_P, minlength=self._num_classes)
            for values_P in (weights_P, gains_P)
        )
        has_K = total_K > 0
        return float((summed_K[has_K] / total_K[has_K]).mean()) if has_K.any() else 0.0


@cache
def draw_precision(run: Path, written_ns: int) -> NDArray[np.float64]:
    """Return the mean average precision of a run on resampled images, (D,).

    The resamples are the same for all runs on the same number of images, so that those of two runs can
    be subtracted. Kept in memory: a page is made anew after each run.

    Args:
        run: A transfer run with several labels an image.
        written_ns: When its answers were written; another time is another run.
    """
    answers = load_answers(run)
    if not isinstance(answers, SeveralAnswers):
        raise TypeError(f"{run} has one label an image, at {written_ns}")
    ranked = RankedAnswers(answers)
    num = len(answers.scores_MK)
    draws = PRECISION_DRAWS if answers.scores_MK.size <= MAX_ENTRIES else FEW_PRECISION_DRAWS
    random = np.random.default_rng(0)
    return np.array(
        [ranked.score(np.bincount(random.integers(0, num, num), minlength=num)) for _ in range(draws)]
    )
