"""The configuration of a run: what its groups of options are, and its files.

A recipe is a configuration with other values (`recipes.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from cyclopts import Parameter
from pydantic import BaseModel, Field

from hypernym.errors import UsageError, nearest
from hypernym.files import read_yaml, write_text
from hypernym.hierarchy.scheme import Scheme
from hypernym.training.options import (
    AugmentOptions,
    DistillOptions,
    LossOptions,
    OptimOptions,
    Options,
    Precision,
    SaveOptions,
    ScheduleOptions,
    Tracker,
)


class TrainConfig(Options):
    """What every training has to decide, beside its dataset and what is learned from it."""

    model: str = "resnet50"
    """Any timm model."""

    epochs: int = Field(default=80, ge=1)
    """Times that each training image is seen."""

    batch_size: int = Field(default=128, ge=1)
    """Images a step, over all processes and parts of a step."""

    accumulate: int = Field(default=1, ge=1)
    """Parts that each process takes its share of a step in, one after another, to save memory."""

    image_size: int | None = Field(default=None, ge=8)
    """Pixels of a side that the model sees; by default the size of the dataset."""

    pixels: Literal["model", "unit"] = "model"
    """What the model sees: pixels less its mean, divided by its std (model), or in 0..1 as they are
    (unit, as in the official code)."""

    balance: float = Field(default=0.0, ge=0, le=1)
    """How evenly classes are drawn: 0 takes each image once an epoch, 1 each class equally often;
    between them a class of n images is drawn in proportion to n^(1 - balance)."""

    drop: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the head."""

    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """The largest share of images for which a block is skipped (stochastic depth)."""

    ema: float = Field(default=0.9998, ge=0, lt=1)
    """The decay of a running mean of the weights, which is then what is measured and saved; 0: none."""

    optim: OptimOptions = OptimOptions()
    schedule: ScheduleOptions = ScheduleOptions()
    loss: LossOptions = LossOptions()
    augment: AugmentOptions = AugmentOptions()

    precision: Precision = Precision.AUTO
    """The number format of the forward and backward pass."""

    sync_batchnorm: bool = False
    """Batch normalisation over the images of all processes."""

    checkpoint_gradients: bool = False
    """Compute activations a second time rather than keep them, to save memory."""

    compile: bool = False
    """Run the model through torch.compile."""

    channels_last: bool = True
    """Lay pictures out pixel by pixel, which convolutions are faster on."""

    seed: int = Field(default=0, ge=0)
    """Decides the first weights, the order of the images and their augmentation."""

    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 ..."""

    workers: int | None = Field(default=None, ge=0)
    """Processes that load images; by default one for each core but one, at most 8."""

    save: SaveOptions = SaveOptions()

    log_every: int = Field(default=50, ge=1)
    """Steps between records in metrics.jsonl."""

    track: tuple[Tracker, ...] = (Tracker.TENSORBOARD,)
    """Where the records are shown too."""


RecipeName = Literal["default", "official", "small"]


class PretrainConfig(TrainConfig):
    """All that decides a pretraining, beside its dataset."""

    recipe: Annotated[RecipeName | None, Parameter(parse=False)] = None
    """Where the options started from. On the command line and in Python a word to `pretrain` itself."""

    pretrained: bool = False
    """Start from timm's weights."""

    start: Path | None = None
    """Start from the weights of a run, a checkpoint folder, or a file (.safetensors, .pth)."""

    head: Literal["match", "new"] = "match"
    """The last layer of start weights: outputs whose class is known by id are taken over (match), or
    all are made anew (new)."""

    scheme: Scheme = Scheme.SEMANTIC
    """How a label becomes a loss."""

    teacher: str | None = None
    """A run, a checkpoint folder or a timm model to learn from beside the labels."""

    distill: DistillOptions = DistillOptions()


CAVEATS = {
    "accumulate": "batch normalisation, mixup and cutmix look at one part of a step",
    "checkpoint_gradients": "batch normalisation counts each batch twice in its running means",
    "device": "--precision auto means another number format on another kind of device",
}
"""Options that a resumed run may change, and what more than last bits that can change."""

RUNTIME_OPTIONS = {*CAVEATS, "compile", "features", "log_every", "save", "track", "workers"}
"""Options and groups that a resumed run may change."""

MOVABLE_OPTIONS = {"distill.cache"}
"""Folders that a resumed run may have elsewhere, if it was begun with one."""


def may_change(name: str, then: object, now: object) -> bool:
    """Tell whether an option of a run that was begun may have another value than it had."""
    moves = name in MOVABLE_OPTIONS and None not in {then, now}
    return moves or bool({name, name.partition(".")[0]} & RUNTIME_OPTIONS)


def read_config(path: Path, kind: type[TrainConfig]) -> dict[str, Any]:
    """Read options of a kind of training from a YAML file, as they are written there.

    Raises:
        UsageError: the file is missing, is no YAML, or has a key that is no option.
    """
    options = read_yaml(path, UsageError)
    if options is None:
        return {}
    _check_keys(path, options, kind, "")
    return dict(options)


def save_config(path: Path, config: TrainConfig) -> None:
    """Write all options as YAML, from which `read_config` reads them."""
    write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _check_keys(path: Path, options: object, group: type[BaseModel], prefix: str) -> None:
    if not isinstance(options, dict):
        raise UsageError(
            f"{path}: {prefix.rstrip('.') or 'the file'} must be a mapping of options to values."
        )
    for key, value in options.items():
        if key not in group.model_fields:
            hint = nearest(str(key), group.model_fields)
            raise UsageError(f"{path}: there is no option {prefix}{key}{hint}.")
        annotation = group.model_fields[key].annotation
        if isinstance(annotation, type) and issubclass(annotation, Options):
            _check_keys(path, value, annotation, f"{prefix}{key}.")
