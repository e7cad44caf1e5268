"""The groups of options that make up a configuration: each option once, with its default.

The same names serve in YAML files, on the command line (`--optim.lr 3e-4`) and in Python.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from hypernym.hierarchy.scheme import Distillation


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
    """The optimizer."""

    name: str = "adamw"
    """Any optimizer of timm."""

    lr: float = Field(default=1e-3, gt=0)
    """The highest learning rate."""

    weight_decay: float = Field(default=0.05, ge=0)
    """Not applied to biases and other one-dimensional parameters."""

    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """The learning rate of a layer, divided by that of the next one towards the head."""

    clip_norm: float = Field(default=1.0, ge=0)
    """Gradients are scaled down to this norm; 0 leaves them."""


class ScheduleOptions(Options):
    """The learning rate over time."""

    name: str = "onecycle"
    """onecycle, or a scheduler of timm: constant, cosine, poly, tanh, step, multistep, wsd."""

    warmup: float = Field(default=0.1, ge=0, lt=1)
    """The share of the steps in which the learning rate rises."""

    first: float = Field(default=0.05, gt=0, le=1)
    """The learning rate of the first step, as a share of the highest. (Official code: 1 / 20.)"""

    last: float = Field(default=0.0, ge=0, le=1)
    """The learning rate of the last step, as a share of the highest; `constant` has no use for it."""


class LossOptions(Options):
    """The loss of the labels."""

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """The share of a target that is spread evenly over its softmax. (Official code: 0.2.)"""

    weights: Literal["equal", "classes", "images"] = "equal"
    """How much a depth counts in semantic softmax: all the same (docs/schemes.md), or the more the
    fewer classes (the paper) or training images have a target there."""

    max_weight: float = Field(default=20.0, ge=1)
    """The largest weight of a depth by classes or images. (Official code: 20.)"""

    use_deepest: bool = True
    """Off, the deepest depth is not taught, as in the official code."""

    gamma_neg: float = Field(default=0.0, ge=0)
    """How much the multi-label loss looks away from easy negatives. (Asymmetric loss: 4; 0 is BCE.)"""

    gamma_pos: float = Field(default=0.0, ge=0)
    """How much the multi-label loss looks away from easy positives. (Asymmetric loss: 0.)"""

    clip: float = Field(default=0.0, ge=0, lt=1)
    """The probability below which the multi-label loss takes no notice of a negative. (Asymmetric
    loss: 0.05.)"""


class DistillOptions(Options):
    """Learning from a teacher (`teacher`)."""

    kind: Distillation = Distillation.SEMANTIC
    """How student and teacher are compared."""

    alpha: float = Field(default=10.0, gt=0)
    """The factor of the distance to the teacher, beside the loss of the labels."""

    labels: bool = True
    """Off, the teacher alone is learned from."""

    trust: Literal["paper", "official"] = "paper"
    """How far the teacher is trusted at a depth: 1 where the label has a target and its top 5 % below
    (paper), or its top 5 % everywhere (official code). Semantic distillation only."""

    temperature: float = Field(default=2.0, gt=0)
    """Logits are divided by this. Logit distillation only."""

    cache: Path | None = None
    """A folder for what the teacher says of each training picture, seen whole; it is then asked once a
    picture and not once an epoch, and of the picture and not of the student's crop."""


class AugmentOptions(Options):
    """What happens to a training picture."""

    view: Literal["crop", "squash"] = "crop"
    """`crop`: a random part of it; `squash`: all of it, resized."""

    min_scale: float = Field(default=0.25, gt=0, le=1)
    """The smallest share of a picture that a crop keeps."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """The probability of a mirrored picture."""

    policy: str = ""
    """`randaugment` (two operations, as the official code draws them), or a policy of timm:
    rand-m9-mstd0.5-inc1, augmix-m5-w3, original, v0, 3a ..."""

    cutout: float = Field(default=0.0, ge=0, lt=1)
    """The side of a square that is painted over, as a share of the picture's. (Official code: 0.5.)"""

    erase: float = Field(default=0.0, ge=0, le=1)
    """The probability that a random rectangle is erased (Zhong et al. 2017, "Random Erasing")."""

    mixup: float = Field(default=0.0, ge=0)
    """Alpha of mixup: pictures and targets of a batch are blended in pairs; 0 is off."""

    cutmix: float = Field(default=0.0, ge=0)
    """Alpha of cutmix: a rectangle of one picture is put into another; 0 is off. With both, one of them
    is drawn for each batch."""

    repeats: int = Field(default=1, ge=1)
    """Times that a picture stands in one batch, augmented anew (Hoffer et al. 2019)."""

    first_size: int | None = Field(default=None, ge=8)
    """Pixels of a side in the first epoch; the size grows evenly to `image_size`, in steps of 16."""

    on_device: bool = False
    """Decode and augment on the training device, in batches, instead of in the loading processes."""


class SaveOptions(Options):
    """When checkpoints are saved, beside after the last step, and how many are kept."""

    epochs: int = Field(default=1, ge=0)
    """After so many epochs; 0: never."""

    steps: int = Field(default=0, ge=0)
    """After so many steps; 0: never."""

    minutes: float = Field(default=0.0, ge=0)
    """After so many minutes; 0: never."""

    keep_last: int = Field(default=1, ge=1)
    """How many of the latest to keep, each of which training can resume from."""

    keep_best: int = Field(default=1, ge=1)
    """How many of the best to keep."""


class Tracker(StrEnum):
    """Who shows the records of a run, beside metrics.jsonl and curves.svg."""

    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    TRACKIO = "trackio"
