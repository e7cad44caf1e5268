"""What a run is fed with: augmented batches to learn from, plain ones to be measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypernym.data.loader import make_eval_loader, make_train_loader
from hypernym.data.transforms import Augmentation, make_eval_transform
from hypernym.engine import count_loaders

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from hypernym.data.loader import Batch, TrainLoader
    from hypernym.data.rows import Rows
    from hypernym.data.transforms import Preprocessing
    from hypernym.distributed import World
    from hypernym.training.config import TrainConfig

MEASURED_AT_A_TIME = 128
"""Images: whatever the batch of training is, so that a measurement fits where a step fits."""


def feed_training(
    rows: Rows, size: int, config: TrainConfig, device: torch.device, world: World
) -> TrainLoader:
    """Return the batches of a run, of pictures that grow to `size` pixels of a side.

    Raises:
        UsageError: the batch size does not fit the images or the processes, or there is no such
            augmentation.
    """
    augment = config.augment
    return make_train_loader(
        rows,
        Augmentation(
            augment.view,
            augment.min_scale,
            augment.flip,
            augment.policy,
            augment.cutout,
            augment.erase,
        ),
        size=size,
        first_size=augment.first_size,
        epochs=config.epochs,
        batch_size=config.batch_size,
        accumulate=config.accumulate,
        repeats=augment.repeats,
        balance=config.balance,
        seed=config.seed,
        workers=count_loaders(config.workers),
        pin=device.type == "cuda",
        rank=world.rank,
        world=world.size,
        device=device if augment.on_device else None,
    )


def feed_measuring(
    rows: Rows, view: Preprocessing, workers: int | None, device: torch.device, world: World
) -> Iterator[Batch]:
    """Give this process's share of some images, each once, as a model expects them."""
    return make_eval_loader(
        rows,
        make_eval_transform(view),
        batch_size=MEASURED_AT_A_TIME,
        workers=count_loaders(workers),
        pin=device.type == "cuda",
        rank=world.rank,
        world=world.size,
    )
