"""The loader: batches from shards, in an order that is a pure function of (seed, epoch).

Nothing about the loader needs saving: a position is (epoch, step), and the augmentation of an image
is seeded by (seed, epoch, row). The number of workers changes nothing but speed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from hypernym.data.transforms import decode
from hypernym.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypernym.data.dataset import Dataset
    from hypernym.data.transforms import Transform

EVALUATION = -1
"""Stands for the epoch where no random choice is made."""


class Item(NamedTuple):
    """A request for one image: which row, in which epoch's augmentation."""

    epoch: int
    row: int


class Batch(NamedTuple):
    """B images in one tensor."""

    images: torch.Tensor
    """uint8 (B, 3, H, W)."""

    labels: torch.Tensor
    """int64 (B,)."""

    rows: torch.Tensor
    """int64 (B,): rows of the split's index."""


class ImageRows(TorchDataset[tuple[torch.Tensor, int, int]]):
    """The images of a split, transformed, by `Item`."""

    def __init__(self, dataset: Dataset, split: str, transform: Transform, seed: int) -> None:
        self._index = dataset.index(split)
        self._reader = dataset.reader(split)
        self._transform = transform
        self._seed = seed

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, item: Item) -> tuple[torch.Tensor, int, int]:
        entry = self._index[item.row]
        if item.epoch != EVALUATION:
            # torch.manual_seed would also walk all accelerators, which takes longer than the image.
            torch.default_generator.manual_seed(derive_seed(self._seed, item.epoch, item.row))
        image = self._transform(decode(self._reader.read(entry)))
        return image, int(entry["label"]), item.row


class TrainOrder:
    """The batches of an epoch: a permutation drawn from (seed, epoch), cut into steps.

    The images that do not fill a last batch are left out of this epoch; each epoch leaves out others.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int) -> None:
        if batch_size > num_images:
            raise UsageError(
                f"--batch-size {batch_size} is more than the {num_images} training images: give a "
                f"smaller one."
            )
        self._num_images = num_images
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0
        self._first_step = 0

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return self._num_images // self._batch_size

    def move_to(self, epoch: int, step: int) -> None:
        """Make the next iteration give the batches of `epoch` from `step` on."""
        self._epoch, self._first_step = epoch, step

    def __iter__(self) -> Iterator[list[Item]]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._num_images)
        steps = order[: len(self) * self._batch_size].reshape(len(self), self._batch_size)
        for rows in steps[self._first_step :]:
            yield [Item(self._epoch, int(row)) for row in rows]


@dataclass(frozen=True)
class TrainLoader:
    """Endless training data: give it a position, get the rest of that epoch."""

    order: TrainOrder
    loader: DataLoader[tuple[torch.Tensor, int, int]]

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return len(self.order)

    def batches(self, epoch: int, first_step: int) -> Iterator[Batch]:
        """Give the batches of an epoch, from a step of it on."""
        self.order.move_to(epoch, first_step)
        return (Batch(*batch) for batch in self.loader)


def make_train_loader(
    dataset: Dataset, transform: Transform, *, batch_size: int, seed: int, workers: int, pin: bool
) -> TrainLoader:
    """Return a loader over the train split."""
    rows = ImageRows(dataset, "train", transform, seed)
    order = TrainOrder(len(rows), batch_size, seed)
    return TrainLoader(order, _make_loader(rows, order, workers=workers, pin=pin))


def make_eval_loader(
    dataset: Dataset, split: str, transform: Transform, *, batch_size: int, workers: int, pin: bool
) -> Iterator[Batch]:
    """Give every image of a split once, in the order of the index."""
    rows = ImageRows(dataset, split, transform, seed=0)
    starts = range(0, len(rows), batch_size)
    order = [
        [Item(EVALUATION, row) for row in range(start, min(start + batch_size, len(rows)))]
        for start in starts
    ]
    return (Batch(*batch) for batch in _make_loader(rows, order, workers=workers, pin=pin))


def _make_loader(
    rows: ImageRows, order: TrainOrder | list[list[Item]], *, workers: int, pin: bool
) -> DataLoader[tuple[torch.Tensor, int, int]]:
    return DataLoader(
        rows,
        batch_sampler=order,
        num_workers=workers,
        persistent_workers=workers > 0 and isinstance(order, TrainOrder),
        pin_memory=pin,
        # Without its own generator a loader draws from torch's global one whenever it is iterated.
        generator=torch.Generator(),
    )


def derive_seed(*numbers: int) -> int:
    """Return a 64-bit seed that is a pure function of some non-negative numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
