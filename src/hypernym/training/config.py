"""The configuration of a run: every option once, with its default.

The same names serve in YAML files, on the command line (`--optim.lr 3e-4`) and in Python. A recipe is
a configuration with other values (`recipes.py`).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from hypernym.errors import UsageError, nearest
from hypernym.files import write_text
from hypernym.hierarchy.scheme import Scheme


class Options(BaseModel):
    """A group of options: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Precision(StrEnum):
    """The number format of the forward and backward pass; weights and sums stay in float32."""

    AUTO = "auto"
    """bf16 on a GPU that has it, fp16 on another, float32 on a CPU."""

    FLOAT32 = "float32"
    BF16 = "bf16"
    FP16 = "fp16"


class OptimOptions(Options):
    """The optimizer and its learning rate over time (OneCycle: up from lr / div_factor, down to 0)."""

    name: str = "adamw"
    """Any optimizer of timm."""

    lr: float = Field(default=1e-3, gt=0)
    """The highest learning rate."""

    weight_decay: float = Field(default=0.05, ge=0)
    """Not applied to biases and other one-dimensional parameters."""

    pct_start: float = Field(default=0.1, gt=0, lt=1)
    """The share of the steps in which the learning rate rises."""

    div_factor: float = Field(default=20.0, ge=1)
    """The highest learning rate, divided by the first."""

    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""


class LossOptions(Options):
    """The loss."""

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """The share of a target that is spread evenly over its softmax. (Official code: 0.2.)"""

    weights: Literal["classes", "images"] = "classes"
    """What the weight of a depth in semantic softmax makes up for: classes (the paper) or training
    images without a target there."""

    max_weight: float = Field(default=20.0, ge=1)
    """The largest weight of a depth. (Official code: 20.)"""

    use_deepest: bool = True
    """Off, the deepest depth is not taught, as in the official code."""


class AugmentOptions(Options):
    """Random crop and flip."""

    min_scale: float = Field(default=0.25, gt=0, le=1)
    """The smallest share of a picture that a crop keeps."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """The probability of a mirrored picture."""


class PretrainConfig(Options):
    """All that decides a run, beside its dataset."""

    model: str = "resnet50"
    """Any timm model."""

    pretrained: bool = False
    """Start from timm's weights for everything but the head."""

    scheme: Scheme = Scheme.SEMANTIC
    """How a label becomes a loss."""

    epochs: int = Field(default=80, ge=1)
    """Times that each training image is seen."""

    batch_size: int = Field(default=128, ge=1)
    """Images a step."""

    image_size: int | None = Field(default=None, ge=8)
    """Pixels of a side that the model sees; by default the size of the dataset."""

    optim: OptimOptions = OptimOptions()
    loss: LossOptions = LossOptions()
    augment: AugmentOptions = AugmentOptions()

    precision: Precision = Precision.AUTO
    """The number format of the forward and backward pass."""

    seed: int = Field(default=0, ge=0)
    """Decides the first weights, the order of the images and their augmentation."""

    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 ..."""

    workers: int | None = Field(default=None, ge=0)
    """Processes that load images; by default one for each core but one, at most 8."""

    log_every: int = Field(default=50, ge=1)
    """Steps between records in metrics.jsonl."""


RecipeName = Literal["standard", "small"]

RUNTIME_OPTIONS = {"device", "workers", "log_every"}
"""Options that a resumed run may change: they do not change what is learned."""


def read_config(path: Path) -> dict[str, Any]:
    """Read options from a YAML file, as they are written there.

    Raises:
        UsageError: the file is missing, is no YAML, or has a key that is no option.
    """
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise UsageError(f"{path} cannot be read as YAML ({' '.join(str(cause).split())}).") from cause
    if options is None:
        return {}
    _check_keys(path, options, PretrainConfig, "")
    return dict(options)


def save_config(path: Path, config: PretrainConfig) -> None:
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
