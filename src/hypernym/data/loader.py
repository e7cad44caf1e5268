"""The loader: batches from shards, in an order that is a pure function of (seed, epoch).

Nothing about the loader needs saving: a position is (epoch, step), and the augmentation of an image
is seeded by (seed, epoch, row, repeat). The number of workers and of processes changes no pixel.

A loading process is sent the rows of one batch and gives the whole batch, written into one tensor. It
opens the index by its path: the pages are shared by all processes, and nothing that grows with the
dataset is copied or sent (but for the numbers of chosen rows).
"""

from __future__ import annotations

import math
import random
import signal
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from hypernym.data.device_transforms import augment_on_device, check_device_augmentation
from hypernym.data.order import Request, Sharing, Sizes, TrainOrder
from hypernym.data.policies import keep_random_state, make_policy
from hypernym.data.transforms import TrainTransform, to_tensor
from hypernym.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from hypernym.data.rows import Rows
    from hypernym.data.transforms import Augmentation, Transform

Value = TypeVar("Value")


class Batch(NamedTuple):
    """B images in one tensor."""

    images: torch.Tensor
    """uint8 (B, 3, H, W); channels-last in training."""

    labels: torch.Tensor
    """int64 (B,): the label, or the first of several."""

    rows: torch.Tensor
    """int64 (B,): rows of the split's index."""

    present: torch.Tensor | None
    """bool (B, K): which of the K labels of the class table an image has, where images have several."""


class RawBatch(NamedTuple):
    """B images as they are stored."""

    jpegs: torch.Tensor
    """uint8 (bytes of all of them,): one after another."""

    ends: torch.Tensor
    """int64 (B,): where each of them ends."""

    request: Request
    labels: torch.Tensor
    rows: torch.Tensor
    present: torch.Tensor | None


class TrainBatches(TorchDataset[Batch | DatasetError]):
    """Augmented batches by `Request`.

    An error of the dataset is given back, not raised: a loading process would put its traceback into the
    message.
    """

    def __init__(self, rows: Rows, augmentation: Augmentation, seed: int) -> None:
        self._rows = rows
        self._augmentation = augmentation
        self._seed = seed

    def __getitem__(self, request: Request) -> Batch | DatasetError:
        if self._augmentation.policy:
            with keep_random_state():
                return self._load(request)
        return self._load(request)

    def _load(self, request: Request) -> Batch | DatasetError:
        transform = make_transform(self._augmentation, request.size)
        images_BHWC = make_images(len(request.rows), request.size, request.size, 3)
        chances = make_chances(self._seed, request)
        decoded = self._rows.decode(request.rows)
        try:
            for image_HWC, pixels_HWC, chance in zip(images_BHWC, decoded, chances, strict=True):
                transform.write(pixels_HWC, chance, image_HWC)
        except DatasetError as error:
            return error
        return Batch(images_BHWC.permute(0, 3, 1, 2), *_describe(self._rows, request.rows))


class RawBatches(TorchDataset[RawBatch | DatasetError]):
    """Batches of stored images by `Request`, for a device that decodes them."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __getitem__(self, request: Request) -> RawBatch | DatasetError:
        try:
            jpegs = self._rows.read(request.rows)
        except DatasetError as error:
            return error
        ends = torch.from_numpy(np.cumsum([len(jpeg) for jpeg in jpegs]))
        stored = torch.frombuffer(bytearray().join(jpegs), dtype=torch.uint8)
        return RawBatch(stored, ends, request, *_describe(self._rows, request.rows))


class EvalBatches(TorchDataset[Batch | DatasetError]):
    """Batches of a split, transformed without chance, by the range of their rows."""

    def __init__(self, rows: Rows, transform: Transform) -> None:
        self._rows = rows
        self._transform = transform

    def __getitem__(self, place: range) -> Batch | DatasetError:
        rows = np.arange(place.start, place.stop)
        try:
            images = [self._transform(to_tensor(pixels)) for pixels in self._rows.decode(rows)]
        except DatasetError as error:
            return error
        return Batch(torch.stack(images), *_describe(self._rows, rows))


def _describe(
    source: Rows, rows: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return the last three fields of a batch."""
    return source.first_labels(rows), torch.from_numpy(rows.copy()), source.present(rows)


def make_images(*shape: int) -> torch.Tensor:
    """Return memory for a batch, uint8 of this shape.

    In a loading process it is the memory that the batch is sent in, as in torch's own collating: to copy
    it there would take a sixth of the time of loading.
    """
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    make_shared: Callable[[int], torch.UntypedStorage] = torch.UntypedStorage._new_shared  # noqa: SLF001
    return torch.empty(0, dtype=torch.uint8).set_(make_shared(math.prod(shape))).view(shape)


@cache
def make_transform(augmentation: Augmentation, size: int) -> TrainTransform:
    """Return the transform of a size; a process makes it once."""
    return TrainTransform(augmentation, size)


def make_chances(seed: int, request: Request) -> Iterator[random.Random]:
    """Give the random numbers of each image: a pure function of (seed, epoch, row, repeat).

    The same object, seeded anew: use one before asking for the next. Python's generator takes a text and
    is seeded in a third of the time of NumPy's.
    """
    chance = random.Random()  # noqa: S311 - it draws pictures, not keys
    for row, repeat in zip(request.rows.tolist(), request.repeats.tolist(), strict=True):
        chance.seed(f"{seed} {request.epoch} {row} {repeat}")
        yield chance


@dataclass(frozen=True)
class TrainLoader:
    """Endless training data: give it a position, get the rest of that epoch."""

    order: TrainOrder
    loader: DataLoader[Batch | RawBatch | DatasetError]
    augmentation: Augmentation
    seed: int
    device: torch.device | None
    """Where images are decoded and augmented; None: in the loading processes."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch."""
        return len(self.order)

    def batches(self, epoch: int, first_step: int) -> Iterator[Batch]:
        """Give the micro-batches of an epoch, from a step of it on: `accumulate` of them a step.

        Raises:
            DatasetError: an image is not what was written.
        """
        self.order.move_to(epoch, first_step)
        return (
            self._finish(batch) if isinstance(batch, RawBatch) else batch
            for batch in _checked(iter(self.loader))
        )

    def _finish(self, raw: RawBatch) -> Batch:
        assert self.device is not None  # noqa: S101 - else no raw batches are made
        jpegs = raw.jpegs.tensor_split(raw.ends[:-1])
        chances = make_chances(self.seed, raw.request)
        images = augment_on_device(jpegs, chances, self.augmentation, raw.request.size, self.device)
        return Batch(images, raw.labels, raw.rows, raw.present)


def make_train_loader(
    rows: Rows,
    augmentation: Augmentation,
    *,
    size: int,
    first_size: int | None = None,
    epochs: int = 1,
    batch_size: int,
    accumulate: int = 1,
    repeats: int = 1,
    balance: float = 0.0,
    seed: int,
    workers: int,
    pin: bool,
    rank: int = 0,
    world: int = 1,
    device: torch.device | None = None,
) -> TrainLoader:
    """Return a loader of augmented batches.

    Args:
        rows: The images.
        augmentation: What happens to each picture.
        size: Pixels of a side in the last epoch.
        first_size: Pixels of a side in epoch 0; by default `size`.
        epochs: How many epochs the size grows over.
        batch_size: Images of a step, over all processes and parts of the step.
        accumulate: Parts of a step; each is a batch of its own.
        repeats: Times that an image stands in a step, augmented anew.
        balance: How evenly classes are drawn, from 0 to 1; by the first label of an image.
        seed: Decides order and augmentation.
        workers: Loading processes; 0 loads in this one.
        pin: Whether batches come in page-locked memory.
        rank: Which of the processes that train this one is.
        world: How many of them there are.
        device: Where to decode and augment, if not in the loading processes.

    Raises:
        UsageError: the batch size does not fit the images, processes, parts or repeats; there is no
            such policy, or none on a device.
    """
    make_policy(augmentation.policy, size)  # refuses what is no policy, before a process is started
    order = TrainOrder(
        rows.labels_N,
        Sharing(batch_size, accumulate, repeats, rank, world),
        Sizes(size if first_size is None else first_size, size, epochs),
        balance=balance,
        seed=seed,
    )
    if device:
        check_device_augmentation(augmentation)
    batches = RawBatches(rows) if device else TrainBatches(rows, augmentation, seed)
    loader = make_loader(batches, order, workers=workers, pin=pin, persistent=True)
    return TrainLoader(order, loader, augmentation, seed, device)


def make_eval_loader(
    rows: Rows,
    transform: Transform,
    *,
    batch_size: int,
    workers: int,
    pin: bool,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """Give every image once, in order.

    Whole batches are dealt out to the processes that measure, in turn, so that each batch is composed as
    with one process: some models and counters are exact only then.

    Raises:
        DatasetError: an image is not what was written.
    """
    number = len(rows)
    starts = range(rank * batch_size, number, world * batch_size)
    order = [range(start, min(start + batch_size, number)) for start in starts]
    batches = EvalBatches(rows, transform)
    return _checked(make_loader(batches, order, workers=workers, pin=pin, persistent=False))


def _checked(batches: Iterable[Value | DatasetError]) -> Iterator[Value]:
    for batch in batches:
        if isinstance(batch, DatasetError):
            raise batch
        yield batch


def make_loader(
    batches: TorchDataset[Value],
    order: Iterable[object],
    *,
    workers: int,
    pin: bool,
    persistent: bool,
) -> DataLoader[Value]:
    """Return torch's loader of whole batches, by requests for them."""
    return DataLoader(
        batches,
        # Each request is for a whole batch: there is nothing to collate.
        batch_size=None,
        sampler=order,
        collate_fn=_keep,
        num_workers=workers,
        worker_init_fn=_leave_signals_to_the_parent,
        persistent_workers=workers > 0 and persistent,
        pin_memory=pin,
        # Without its own generator a loader draws from torch's global one whenever it is iterated.
        generator=torch.Generator(),
    )


def _leave_signals_to_the_parent(_: int) -> None:
    """A signal to the whole group asks the run to save and end; its workers end after that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def _keep(batch: Value) -> Value:
    return batch


def derive_seed(*numbers: int) -> int:
    """Return a 64-bit seed that is a pure function of some non-negative numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
