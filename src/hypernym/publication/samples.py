"""Pictures that an export is tried on: those of a dataset, or drawn ones, as the model sees them.

Shapes: N images, S pixels of a side.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch

from hypernym.data.loader import make_eval_loader
from hypernym.data.rows import ChosenRows
from hypernym.data.transforms import make_eval_transform, to_tensor
from hypernym.engine import count_loaders
from hypernym.world.classes import CLASSES
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypernym.data.dataset import Dataset
    from hypernym.data.loader import Batch
    from hypernym.data.transforms import Preprocessing

NUM_TRIED = 16
MANY = 1000
"""Images that it pays to start loading processes for."""

BATCH = 32


def take_samples(dataset: Dataset | None, preprocessing: Preprocessing) -> torch.Tensor:
    """Return some images, uint8 (N, 3, S, S): of the validation split, or drawn where there is none."""
    if dataset is not None:
        rows = np.arange(min(NUM_TRIED, len(dataset.index("val"))))
        return next(load_rows(dataset, "val", rows, preprocessing)).images
    view = make_eval_transform(preprocessing)
    chance = np.random.default_rng(0)
    size = preprocessing.size
    drawn = (draw(drawn.id, size, chance) for drawn in islice(CLASSES, NUM_TRIED))
    return torch.stack([view(to_tensor(np.array(picture))) for picture in drawn])


def load_rows(
    dataset: Dataset, split: str, rows: np.ndarray[tuple[int], np.dtype[np.int64]], view: Preprocessing
) -> Iterator[Batch]:
    """Give batches of rows of a split, in their order."""
    return make_eval_loader(
        ChosenRows(dataset, [(split, rows)]),
        make_eval_transform(view),
        batch_size=BATCH,
        workers=count_loaders(None) if len(rows) > MANY else 0,
        pin=False,
    )
