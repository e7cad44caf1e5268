"""The order of training images: a pure function of (seed, epoch), at any number of processes.

An epoch is drawn whole, as S steps of one global batch, and then dealt out: step, part of the step,
process, place. So a position is (epoch, step), and nothing random needs saving. Only the process that
hands out work draws it; a loading process is sent the rows of one micro-batch at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hypernym.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SIZE_STEP = 16
"""Pixels: sizes on the way to the last one are multiples of this, which patches and strides divide."""


class Request(NamedTuple):
    """What a loading process is asked for: B images in one tensor."""

    epoch: int
    size: int
    """Pixels of a side."""

    rows: NDArray[np.int64]
    """(B,): rows of the split's index."""

    repeats: NDArray[np.int64]
    """(B,): which of the augmentations of its image in this step, from 0."""


@dataclass(frozen=True)
class Sizes:
    """The size of each epoch: it grows evenly from the first epoch to the last."""

    first: int
    """Pixels of a side in epoch 0."""

    last: int
    """Pixels of a side in the last epoch."""

    epochs: int

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise UsageError(
                f"--augment.first-size {self.first} is above the size of the last epoch, {self.last}: "
                f"the size grows. Give at most {self.last}."
            )

    def size_of(self, epoch: int) -> int:
        """Return the pixels of a side in an epoch, a multiple of 16 in all but the last one."""
        if self.first == self.last or epoch >= self.epochs - 1:
            return self.last
        size = self.first + (self.last - self.first) * epoch / (self.epochs - 1)
        return min(max(round(size / SIZE_STEP), 1) * SIZE_STEP, self.last)


@dataclass(frozen=True)
class Sharing:
    """How the global batch of a step is dealt out to processes, and in each to parts of the step."""

    batch_size: int
    """Images of a step, over all processes and parts."""

    accumulate: int = 1
    """Parts of a step, one after another."""

    repeats: int = 1
    """Times that an image stands in a step."""

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        parts = self.world * self.accumulate
        if self.batch_size % parts:
            raise UsageError(
                f"--batch-size {self.batch_size} cannot be dealt out evenly to {self.world} "
                f"process{'es' if self.world > 1 else ''} in {self.accumulate} "
                f"part{'s' if self.accumulate > 1 else ''} each: give {self._nearest(parts)}."
            )
        if self.batch_size % self.repeats:
            raise UsageError(
                f"--batch-size {self.batch_size} does not hold each image --augment.repeats "
                f"{self.repeats} times: give {self._nearest(int(np.lcm(parts, self.repeats)))}."
            )

    @property
    def micro_size(self) -> int:
        """Images of one process in one part of a step."""
        return self.batch_size // (self.world * self.accumulate)

    def _nearest(self, divisor: int) -> int:
        return max(round(self.batch_size / divisor), 1) * divisor


class TrainOrder:
    """The micro-batches of one process in an epoch.

    Without `balance`, an epoch is a permutation; the images that do not fill a last batch are left out
    of it, and each epoch leaves out others. With it, classes are drawn evenly (see `balance_rows`).

    With repeats (Hoffer et al. 2019, "Augment your batch") a step holds 1/repeats as many images,
    each of them `repeats` times, and an epoch as many steps as without. The copies stand a share of
    the batch apart, so that processes get different ones, as in timm's RepeatAugSampler.
    """

    def __init__(
        self, labels_N: NDArray[np.int32], sharing: Sharing, sizes: Sizes, *, balance: float, seed: int
    ) -> None:
        """Set up the order.

        Args:
            labels_N: The label of each image; looked at only where classes are balanced.
            sharing: Who takes what of a batch.
            sizes: The size of each epoch.
            balance: 0 takes each image once an epoch, 1 each class equally often.
            seed: Decides the order, together with the epoch.

        Raises:
            UsageError: there are fewer images than a batch takes.
        """
        if sharing.batch_size > len(labels_N):
            raise UsageError(
                f"--batch-size {sharing.batch_size} is more than the {len(labels_N)} training images: "
                f"give a smaller one."
            )
        # A column of the index lies scattered in its file: what is used at random is copied once.
        self._labels_N = np.ascontiguousarray(labels_N) if balance else labels_N
        self._sharing = sharing
        self._sizes = sizes
        self._balance = balance
        self._seed = seed
        self._epoch = 0
        self._first_step = 0

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return len(self._labels_N) // self._sharing.batch_size

    def move_to(self, epoch: int, step: int) -> None:
        """Make the next iteration give the micro-batches of `epoch` from `step` on."""
        self._epoch, self._first_step = epoch, step

    def __iter__(self) -> Iterator[Request]:
        # No generator itself, which would look at the position only when it is first asked.
        return self._deal_out(self._epoch, self._first_step)

    def _deal_out(self, epoch: int, first_step: int) -> Iterator[Request]:
        sharing = self._sharing
        size = self._sizes.size_of(epoch)
        distinct = sharing.batch_size // sharing.repeats
        steps_SB = self._draw(epoch, len(self) * distinct).reshape(len(self), distinct)
        repeats = np.repeat(np.arange(sharing.repeats), distinct)
        split = (sharing.accumulate, sharing.world, sharing.micro_size)
        repeats_AM = repeats.reshape(split)[:, sharing.rank]
        for step_B in steps_SB[first_step:]:
            rows_AM = np.tile(step_B, sharing.repeats).reshape(split)[:, sharing.rank]
            for rows_M, repeats_M in zip(rows_AM, repeats_AM, strict=True):
                yield Request(epoch, size, rows_M, repeats_M)

    def _draw(self, epoch: int, count: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self._seed, epoch])
        if self._balance:
            return balance_rows(self._labels_N, count, self._balance, random)
        return random.permutation(len(self._labels_N))[:count]


def balance_rows(
    labels_N: NDArray[np.int32], count: int, balance: float, random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw rows so that a class of n images is drawn in proportion to n^(1 - balance).

    The draws of a class are its share of `count`, rounded up or down; each image of a class is drawn
    equally often, or once more than another.

    Args:
        labels_N: The label of each image.
        count: How many rows to draw.
        balance: From 0 (in proportion to the images) to 1 (each class equally often).
        random: Decides everything else.

    Returns:
        int64 (count,), in random order.
    """
    images_C = np.bincount(labels_N)
    shares_C = np.where(images_C, images_C.astype(np.float64) ** (1 - balance), 0.0)
    # One offset for all classes (systematic sampling): the rounded draws add up to `count`.
    sums_C = np.cumsum(shares_C)
    ends_C = np.where(sums_C < sums_C[-1], sums_C * (count / sums_C[-1]), count)
    draws_C = np.diff(np.floor(ends_C + random.random()).astype(np.int64).clip(max=count), prepend=0)
    # The images of each class, in random order, one class after another.
    shuffled_N = random.permutation(len(labels_N))
    # As small as they go: NumPy sorts numbers of two bytes by counting, in half the time.
    labels_N = labels_N.astype(np.min_scalar_type(len(images_C)))
    by_class_N = shuffled_N[np.argsort(labels_N[shuffled_N], kind="stable")]
    # The draws of a class go round and round through its images.
    first_draws_C = np.cumsum(draws_C) - draws_C
    turns = (np.arange(count) - np.repeat(first_draws_C, draws_C)) % np.repeat(images_C, draws_C)
    rows = by_class_N[np.repeat(np.cumsum(images_C) - images_C, draws_C) + turns]
    return random.permutation(rows)
