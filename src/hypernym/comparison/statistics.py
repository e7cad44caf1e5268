"""Intervals and tests: over seeds, over images, and over many comparisons at once.

Shapes: M images, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

LEVEL = 0.95
"""Of every interval."""

ALPHA = 1 - LEVEL
"""A corrected p below this is a real difference."""

MIN_SEEDS = 2
MEAN_DRAWS = 10_000
"""Resamples of the images for a mean: the smallest p is 2 / 10,001."""

NO_SPREAD = 1e-12
"""Differences that lie closer together are one difference."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds."""

    mean: float
    half_width: float | None
    """Of the 95 % interval by Student's t, n - 1 degrees of freedom; None with one seed."""

    num: int


@dataclass(frozen=True)
class Finding:
    """One test of a difference."""

    difference: float
    low: float
    """Ends of the 95 % interval of the difference."""

    high: float
    p: float
    """Two-sided."""


def make_interval(values: Sequence[float]) -> Interval:
    """Return the mean of values, one a seed, with its interval."""
    num = len(values)
    mean = float(np.mean(values))
    if num < MIN_SEEDS:
        return Interval(mean, None, num)
    quantile = float(stats.t.ppf(1 - ALPHA / 2, num - 1))
    return Interval(mean, quantile * float(np.std(values, ddof=1)) / num**0.5, num)


def compare_seeds(first: Mapping[int, float], second: Mapping[int, float]) -> Finding | None:
    """Test the differences first - second, paired by seed (Student's paired t).

    Args:
        first: Scores by seed.
        second: The same of another scheme; only seeds that both have count.

    Returns:
        The finding; p is 1 where all differences are one number: then the seed decided nothing, and
        several runs are one run counted several times. None with fewer than two shared seeds.
    """
    shared = sorted(first.keys() & second.keys())
    if len(shared) < MIN_SEEDS:
        return None
    ones, others = ([scores[seed] for seed in shared] for scores in (first, second))
    differences = np.subtract(ones, others)
    mean = float(differences.mean())
    if np.ptp(differences) <= NO_SPREAD:
        return Finding(mean, mean, mean, 1.0)
    found = stats.ttest_rel(ones, others)
    low, high = found.confidence_interval(LEVEL)
    return Finding(mean, float(low), float(high), float(found.pvalue))


def compare_means(differences_M: NDArray[np.float64]) -> Finding:
    """Test whether the mean of differences, one an image, is other than 0: bootstrap over images.

    A resample of the images is a multinomial draw over the few values that differences take.
    """
    values, counts = np.unique(differences_M, return_counts=True)
    num = len(differences_M)
    drawn = np.random.default_rng(0).multinomial(num, counts / num, size=MEAN_DRAWS)
    return judge_draws(float(differences_M.mean()), drawn @ values / num)


def judge_draws(difference: float, draws_D: NDArray[np.float64]) -> Finding:
    """Turn resampled differences into a percentile interval and its two-sided p.

    (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 13 and 15.)
    """
    low, high = np.quantile(draws_D, [ALPHA / 2, 1 - ALPHA / 2])
    beyond = int(min((draws_D <= 0).sum(), (draws_D >= 0).sum()))
    return Finding(difference, float(low), float(high), min(1.0, 2 * (beyond + 1) / (len(draws_D) + 1)))


def correct_for_many(p_values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number.

    (Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".) In the order given.
    """
    num = len(p_values)
    corrected = [0.0] * num
    largest = 0.0
    for rank, place in enumerate(sorted(range(num), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (num - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
