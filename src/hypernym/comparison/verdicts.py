"""Which differences of a grid are real: two tests each, corrected for how many there are.

A difference is real if it holds over seeds (trained again, it would come out again) and over images
(on other test pictures, it would come out again). Its p is the larger of the two: both must be small
(Berger 1982, "Multiparameter Hypothesis Testing and Acceptance Sampling", intersection-union test).

Shapes: M images, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from hypernym.comparison.answers import (
    SingleAnswers,
    draw_precision,
    load_answers,
    same_images,
)
from hypernym.comparison.runs import Transfer
from hypernym.comparison.statistics import (
    ALPHA,
    Finding,
    compare_means,
    compare_seeds,
    correct_for_many,
    judge_draws,
)
from hypernym.errors import MismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hypernym.comparison.answers import Answers
    from hypernym.comparison.grid import Cell, Column, Grid

SAME_SCORE = 1e-3
"""Answers that do not give the reported score within this are not what was scored."""


@dataclass(frozen=True)
class Pair:
    """Two schemes in one column, over the seeds that both have."""

    column: str
    better: str
    worse: str
    seeds: tuple[int, ...]
    difference: float
    """Of the means over these seeds; 0 or more."""

    over_seeds: Finding | None
    over_images: Finding | None
    p: float | None = None
    """Of both tests together, corrected (Holm); None if one of them could not be made."""

    @property
    def is_real(self) -> bool:
        """Tell whether both tests and the correction say so."""
        return self.p is not None and self.p < ALPHA

    @property
    def reason(self) -> str:
        """Say in words what was found."""
        if self.is_real:
            return "real"
        if self.over_seeds is None:
            return "fewer than two shared seeds"
        if self.over_images is None:
            return "no answers an image"
        failed = [
            name
            for name, found in (("seeds", self.over_seeds), ("images", self.over_images))
            if found.p >= ALPHA
        ]
        return f"not over {' and '.join(failed)}" if failed else "not after correction"


@dataclass(frozen=True)
class Wins:
    """On how many transfers one scheme has a higher mean than another."""

    better: str
    worse: str
    higher: int
    lower: int
    columns: int
    """Where both have a shared seed."""

    real: int
    """Of `higher`, those that are real."""

    real_losses: int
    """Of `lower`, those that are real."""


def judge_pairs(grid: Grid) -> tuple[Pair, ...]:
    """Compare every two schemes in every column."""
    pairs = []
    for column in grid.columns:
        known = _Known()
        for first, second in combinations(grid.schemes, 2):
            cells = grid.cell(first, column), grid.cell(second, column)
            if cells[0] is not None and cells[1] is not None:
                pair = _compare(column, (first, cells[0]), (second, cells[1]), known)
                pairs += [pair] if pair else []
    tested = [
        (place, max(pair.over_seeds.p, pair.over_images.p))
        for place, pair in enumerate(pairs)
        if pair.over_seeds is not None and pair.over_images is not None
    ]
    corrected = correct_for_many([p for _, p in tested])
    for (place, _), p in zip(tested, corrected, strict=True):
        pairs[place] = replace(pairs[place], p=p)
    return tuple(pairs)


def find_best(grid: Grid, pairs: Sequence[Pair]) -> dict[str, str]:
    """Return the scheme that is really better than the second, for each column that has one."""
    best = {}
    for column in grid.columns:
        means = {
            scheme: cell.interval.mean
            for scheme in grid.schemes
            if (cell := grid.cell(scheme, column)) is not None
        }
        first, *others = sorted(means, key=lambda scheme: -means[scheme])
        if others and any(
            pair.is_real and (pair.column, pair.better, pair.worse) == (column.name, first, others[0])
            for pair in pairs
        ):
            best[column.name] = first
    return best


def count_wins(grid: Grid, pairs: Sequence[Pair]) -> tuple[Wins, ...]:
    """Count for every two schemes on how many transfers each is better; the winner stands first."""
    transfers = {column.name for column in grid.columns if column.kind == "transfer"}
    found = []
    for first, second in combinations(grid.schemes, 2):
        both = [
            pair
            for pair in pairs
            if pair.column in transfers and {pair.better, pair.worse} == {first, second}
        ]
        ahead = {
            name: [pair for pair in both if pair.better == name and pair.difference > 0]
            for name in (first, second)
        }
        better, worse = (first, second) if len(ahead[first]) >= len(ahead[second]) else (second, first)
        if both:
            real = {name: sum(pair.is_real for pair in won) for name, won in ahead.items()}
            higher, lower = len(ahead[better]), len(ahead[worse])
            found.append(Wins(better, worse, higher, lower, len(both), real[better], real[worse]))
    return tuple(found)


def _compare(
    column: Column, first: tuple[str, Cell], second: tuple[str, Cell], known: _Known
) -> Pair | None:
    seeds = tuple(sorted(first[1].scores.keys() & second[1].scores.keys()))
    if not seeds:
        return None

    def mean(cell: Cell) -> float:
        return float(np.mean([cell.scores[seed] for seed in seeds]))

    (better, ours), (worse, theirs) = sorted([first, second], key=lambda of: -mean(of[1]))
    return Pair(
        column.name,
        better,
        worse,
        seeds,
        mean(ours) - mean(theirs),
        compare_seeds(ours.scores, theirs.scores),
        _compare_images(ours, theirs, seeds, known),
    )


class _Known:
    """Answers of the runs of a column, each read once; None where they do not give their score."""

    def __init__(self) -> None:
        self._answers: dict[Path, Answers | None] = {}

    def read(self, run: Transfer) -> Answers | None:
        if run.report.shots:  # the score is a mean over draws, and no answers are kept
            return None
        if run.folder not in self._answers:
            answers = load_answers(run.folder)
            fits = abs(answers.score - run.report.score) <= SAME_SCORE
            self._answers[run.folder] = answers if fits else None
        return self._answers[run.folder]


@dataclass(frozen=True)
class _Share:
    """A run in the mean over seeds: a seed with several transfers shares its part among them."""

    run: Transfer
    answers: Answers
    weight: float


def _compare_images(ours: Cell, theirs: Cell, seeds: Sequence[int], known: _Known) -> Finding | None:
    """Test the difference of the means over seeds, over resampled test images."""
    one, other = (_share_out(cell, seeds, known) for cell in (ours, theirs))
    if one is None or other is None:
        return None
    first = one[0]
    for share in one + other:
        if not same_images(first.answers, share.answers):
            raise MismatchError(
                f"{first.run.folder} and {share.run.folder} answered for different images of "
                f"{first.run.report.dataset}: make one of the transfers again."
            )
    if isinstance(first.answers, SingleAnswers):
        return compare_means(_mean_correct(one) - _mean_correct(other))
    scores = [sum(share.weight * share.answers.score for share in shares) for shares in (one, other)]
    return judge_draws(scores[0] - scores[1], _mean_draws(one) - _mean_draws(other))


def _share_out(cell: Cell, seeds: Sequence[int], known: _Known) -> list[_Share] | None:
    """Return the answers of a cell's runs, or None where some are not to be had."""
    shares = []
    for seed in seeds:
        for run in cell.runs[seed]:
            answers = known.read(run) if isinstance(run, Transfer) else None
            if answers is None or not isinstance(run, Transfer):
                return None
            shares.append(_Share(run, answers, 1 / (len(seeds) * len(cell.runs[seed]))))
    return shares


def _mean_correct(shares: Sequence[_Share]) -> NDArray[np.float64]:
    """Return the share of runs that are right about each image, (M,)."""
    correct_NM = [
        share.weight * share.answers.correct_M
        for share in shares
        if isinstance(share.answers, SingleAnswers)
    ]
    return np.asarray(np.sum(correct_NM, axis=0))


def _mean_draws(shares: Sequence[_Share]) -> NDArray[np.float64]:
    """Return the mean over runs of their scores on resampled images, (D,)."""
    draws_ND = [
        share.weight
        * draw_precision(share.run.folder, (share.run.folder / "answers.npz").stat().st_mtime_ns)
        for share in shares
    ]
    return np.asarray(np.sum(draws_ND, axis=0))
