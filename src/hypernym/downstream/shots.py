"""Few-shot: a head that is learned from a few images of each class.

Shapes as in `hypernym.downstream`; S images drawn, H held-out images, R directions that features span.
The head is ridge regression onto the targets, in closed form, as in big_vision's few-shot evaluator:
with so few images it is about as good as a logistic one, and all penalties share one decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import one_hot

from hypernym.downstream.figures import judge
from hypernym.downstream.linear import standardise
from hypernym.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

PENALTIES = tuple(10.0**power for power in range(-3, 6))
"""Factors p of ||weight||^2 beside the sum of squared errors, on standardised features of length one."""


@dataclass(frozen=True)
class Head:
    """What ridge regression gives, for features as they are."""

    weight_KD: torch.Tensor
    bias_K: torch.Tensor

    def judge(self, features_MD: torch.Tensor, targets: torch.Tensor) -> float:
        """Return the main metric on some images."""
        scores_MK = torch.addmm(self.bias_K, features_MD.to(self.bias_K.device), self.weight_KD.T)
        return judge(scores_MK, targets, len(self.bias_K))


@dataclass(frozen=True)
class FewShot:
    """What a number of images of each class gives, a value for each draw."""

    shots: int
    images: tuple[int, ...]
    """Images drawn; more than `shots` for each class where an image has several labels."""

    scores: tuple[float, ...]
    """The main metric on the test images."""


def draw_shots(
    targets: torch.Tensor, shots: Sequence[int], *, num_labels: int, seed: int
) -> dict[int, torch.Tensor]:
    """Draw images until each class has so many, and return their rows, sorted, for each number.

    Fewer shots of a seed are contained in more; a class without enough images gives all that it has. An
    image with several labels counts for each of them; for the classes that it lacks it is a negative.

    Raises:
        UsageError: a number of shots is below 1.
    """
    if min(shots) < 1:
        raise UsageError(f"{min(shots)} shots are none to learn from: ask for 1 or more.")
    targets_N = targets.cpu().numpy()
    order_N = np.random.default_rng(seed).permutation(len(targets_N))
    candidates = [iter(rows.tolist()) for rows in _by_label(targets_N, order_N, num_labels)]
    counts_K = np.zeros(num_labels, np.int64)
    drawn: dict[int, None] = {}
    found = {}
    for number in range(1, max(shots) + 1):
        for label, rows in enumerate(candidates):
            while counts_K[label] < number and (row := next(rows, None)) is not None:
                if row not in drawn:
                    drawn[row] = None
                    counts_K[targets_N[row]] += 1
        if number in shots:
            found[number] = torch.tensor(sorted(drawn), dtype=torch.int64)
    return found


def measure_shots(
    features_ND: torch.Tensor,
    targets: torch.Tensor,
    held_out_HD: torch.Tensor,
    held_out_targets: torch.Tensor,
    test_MD: torch.Tensor,
    test_targets: torch.Tensor,
    *,
    shots: Sequence[int],
    draws: int,
    num_labels: int,
    seed: int,
) -> tuple[FewShot, ...]:
    """Return the main metric on the test images, for each number of shots and each draw.

    The penalty is the best of `PENALTIES` on the held-out images, for each draw anew, the largest of
    equally good ones. Draw d of a seed is the same for all numbers of shots.

    Raises:
        UsageError: a number of shots is below 1.
    """
    images: dict[int, list[int]] = {number: [] for number in sorted(set(shots))}
    scores: dict[int, list[float]] = {number: [] for number in images}
    for draw in range(draws):
        draw_seed = int(np.random.SeedSequence((seed, draw)).generate_state(1)[0])
        drawn = draw_shots(targets, shots, num_labels=num_labels, seed=draw_seed)
        for number, rows_S in drawn.items():
            drawn_SD = features_ND[rows_S.to(features_ND.device)]
            drawn_targets = targets[rows_S.to(targets.device)].to(drawn_SD.device)
            heads = list(fit_ridge(drawn_SD, drawn_targets, num_labels))
            by_penalty = [head.judge(held_out_HD, held_out_targets) for head in heads]
            best = heads[by_penalty.index(max(by_penalty))]
            images[number].append(len(rows_S))
            scores[number].append(best.judge(test_MD, test_targets))
    return tuple(FewShot(number, tuple(images[number]), tuple(scores[number])) for number in images)


def fit_ridge(features_SD: torch.Tensor, targets: torch.Tensor, num_labels: int) -> Iterator[Head]:
    """Give a head for each penalty, the largest first."""
    scale_D, mean_D = standardise(features_SD)
    standard_SD = ((features_SD - mean_D) * scale_D).double()
    targets_SK = (one_hot(targets, num_labels) if targets.dim() == 1 else targets).double()
    mean_K = targets_SK.mean(dim=0)
    centred_SK = targets_SK - mean_K
    # the smaller of the two matrices of products has all that is not zero of the larger one
    if len(features_SD) < features_SD.shape[1]:
        square_R, basis_SR = torch.linalg.eigh(standard_SD @ standard_SD.T)
        left_DR, right_RK = standard_SD.T @ basis_SR, basis_SR.T @ centred_SK
    else:
        square_R, left_DR = torch.linalg.eigh(standard_SD.T @ standard_SD)
        right_RK = left_DR.T @ (standard_SD.T @ centred_SK)
    for penalty in sorted(PENALTIES, reverse=True):
        solved_RK = right_RK / (square_R.clamp(min=0) + penalty)[:, None]
        weight_KD = (left_DR @ solved_RK).T.float() * scale_D
        yield Head(weight_KD, mean_K.float() - weight_KD @ mean_D)


def _by_label(
    targets_N: NDArray[Any], order_N: NDArray[np.int64], num_labels: int
) -> Iterator[NDArray[np.int64]]:
    """Give the rows that have each label, in the order drawn."""
    if targets_N.ndim == 1:
        sorted_N = order_N[np.argsort(targets_N[order_N], kind="stable")]
        ends_K = np.bincount(targets_N, minlength=num_labels).cumsum()
        yield from np.split(sorted_N, ends_K[:-1])
    else:
        for label in range(num_labels):
            yield order_N[targets_N[order_N, label]]
