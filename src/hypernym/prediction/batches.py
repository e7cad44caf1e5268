"""Pictures on their way into a model: decoded and resized by loading processes, in order."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch.utils.data import Dataset as TorchDataset

from hypernym.data.loader import make_loader
from hypernym.data.rejections import RejectionError
from hypernym.data.transforms import make_eval_transform, to_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hypernym.data.transforms import Preprocessing
    from hypernym.prediction.pictures import Picture

Value = TypeVar("Value")

FEW = 2
"""Batches that are loaded in this process: to start others would take longer."""


class PictureBatch(NamedTuple):
    """B pictures, of which R could be read."""

    pictures: tuple[Picture, ...]
    """All B."""

    images: torch.Tensor
    """uint8 (R, 3, S, S): those that could be read, as the model sees them."""

    errors: tuple[str, ...]
    """Of each of the B why it could not be read, or nothing."""


class Views(TorchDataset[PictureBatch]):
    """The one view that a model has of each picture, by batches of them."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._size = preprocessing.size
        self._transform = make_eval_transform(preprocessing)

    def __getitem__(self, pictures: tuple[Picture, ...]) -> PictureBatch:
        images = []
        errors = []
        for picture in pictures:
            try:
                images.append(self._transform(to_tensor(picture.decode(self._size))))
                errors.append("")
            except RejectionError as rejection:
                errors.append(rejection.rejected.sentence)
        size = (0, 3, self._size, self._size)
        stacked = torch.stack(images) if images else torch.empty(size, dtype=torch.uint8)
        return PictureBatch(pictures, stacked, tuple(errors))


def load_pictures(
    pictures: Iterable[Picture],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
    pin: bool,
) -> Iterator[PictureBatch]:
    """Give every picture once, in order; they are asked for as they are needed.

    Args:
        pictures: Any number of them.
        preprocessing: The model's.
        batch_size: Pictures at a time.
        workers: Loading processes; a few pictures are loaded in this one.
        pin: Whether batches come in page-locked memory.
    """
    return load_batches(cut(pictures, batch_size), preprocessing, workers=workers, pin=pin)


def load_batches(
    requests: Iterable[tuple[Picture, ...]], preprocessing: Preprocessing, *, workers: int, pin: bool
) -> Iterator[PictureBatch]:
    """Give batches of pictures that are chosen already; otherwise as `load_pictures`."""
    views = Views(preprocessing)
    requests = iter(requests)
    first = list(islice(requests, FEW + 1))
    if len(first) <= FEW or not workers:
        return map(views.__getitem__, chain(first, requests))
    return iter(make_loader(views, chain(first, requests), workers=workers, pin=pin, persistent=False))


def cut(values: Iterable[Value], size: int) -> Iterator[tuple[Value, ...]]:
    """Give stretches of `size` values, the last of them perhaps of fewer, as they are needed."""
    iterator = iter(values)
    while stretch := tuple(islice(iterator, size)):
        yield stretch
