"""The configuration of a transfer: the method, and what each method has to decide."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hypernym.training.config import TrainConfig
from hypernym.training.options import Options

REQUEST = "transfer.yaml"
"""The options of a transfer, in its folder."""

RecipeName = Literal["auto", "cifar100", "cifar100-sgd", "multi-label"]

Rate = Annotated[float, Field(gt=0)]
Decay = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Method(StrEnum):
    """How a pretrained model is judged on another dataset."""

    FULL = "full"
    """Fine-tuning: all weights go on learning."""

    LINEAR = "linear"
    """A linear head on features that stay as they are."""

    KNN = "knn"
    """A vote of the nearest training images; nothing is learned."""

    FEW_SHOT = "few-shot"
    """A head on the features of a few images a class, drawn several times."""


class ProbeOptions(Options):
    """A linear head: all pairs of rate and weight decay are trained at once, the best is kept."""

    rates: tuple[Rate, ...] = ()
    """Learning rates to try; by default a grid that suits most features."""

    weight_decays: tuple[Decay, ...] = ()
    """Weight decays to try."""


class NeighborOptions(Options):
    """k-NN."""

    neighbors: tuple[Count, ...] = (1, 5, 10, 20, 50, 100)
    """Numbers of neighbours to try."""


class FewShotOptions(Options):
    """Few images a class."""

    shots: tuple[Count, ...] = (1, 2, 5, 10)
    """Images a class."""

    draws: int = Field(default=5, ge=1)
    """Times that they are drawn."""


class TransferConfig(TrainConfig):
    """All that decides a transfer, beside the model and the dataset.

    `image_size` is that of the model unless given; options of training are those of full fine-tuning.
    """

    model: str = ""
    """timm's name of the model that a file of weights is of; everything else says it itself."""

    epochs: int = Field(default=40, ge=1)
    """Times that each training image is seen; the recipe auto goes by their number."""

    batch_size: int = Field(default=64, ge=1)
    """Images a step, over all processes and parts of a step; the recipe auto goes by their number."""

    image_size: int | None = Field(default=None, ge=8)
    """Pixels of a side that the model sees; by default those that it was made for."""

    method: Method = Method.FULL
    """full, linear, knn or few-shot."""

    untrained: bool = False
    """Random weights in the place of the model's: what pretraining is worth."""

    hold_out: float = Field(default=0.2, gt=0, lt=1)
    """The share of train that options are chosen on, where the dataset holds out none itself (val,
    beside a test split); at most 20,000 images."""

    rates: tuple[Rate, ...] = ()
    """Full fine-tuning: learning rates to try (recipe auto: four); none takes optim.lr as it is."""

    trial: float = Field(default=0.34, gt=0, le=1)
    """Full fine-tuning: the share of the epochs that each of them is tried for."""

    features: Path | None = None
    """A folder that keeps what the model sees in each picture, for other transfers of it; by default
    OUT/features."""

    linear: ProbeOptions = ProbeOptions()
    knn: NeighborOptions = NeighborOptions()
    few_shot: FewShotOptions = FewShotOptions()
