"""A finished run, read: what made it, and what was measured of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hypernym.data.dataset import CARD
from hypernym.downstream.config import REQUEST
from hypernym.downstream.report import REPORT, REPORT_VERSION
from hypernym.errors import RunError
from hypernym.files import read_json, read_yaml
from hypernym.metrics import REPORT_VERSION as EVALUATED_VERSION
from hypernym.training.log import read_records
from hypernym.training.requests import flatten

CONFIG, EVALUATED = "config.yaml", "report.json"
"""What a pretraining was begun with, and what was measured of it."""

HOUR = 3600

SEMANTIC_TOP1, SUMMED, EXACT_LEAF, MEAN_PRECISION = (
    "semantic top-1",
    "semantic top-1, summed",
    "exact leaf",
    "mAP",
)
"""The figures of a pretraining on its own classes."""


class Fields(BaseModel):
    """A part of a report; what it does not name is left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class DepthAccuracy(Fields):
    """Accuracy within one depth of the tree; shares are 0..1."""

    depth: int
    classes: int
    images: int
    accuracy: float
    chance: float


class Shots(Fields):
    """Scores with so many training images a class."""

    shots: int
    scores: list[float]
    """One for each draw of the images; 0..1."""


class Source(Fields):
    """What was transferred."""

    name: str
    """A path, or the name of a timm model."""

    model: str
    scheme: str | None
    seed: int | None
    epochs: int | None
    dataset_digest: str | None
    options: dict[str, Any]
    """Of its pretraining, under their names on the command line; empty where nobody knows them."""


class ImageCounts(Fields):
    """Images of each split."""

    train: int
    held_out: int
    test: int


class TransferReport(Fields):
    """What `transfer` wrote of a run; shares are 0..1."""

    source: Source
    dataset: str
    dataset_digest: str
    method: str
    seed: int
    options: dict[str, Any]
    several_labels: bool
    metric: str
    score: float
    """The main figure, on the test split."""

    figures: dict[str, float]
    chance: float
    by_depth: list[DepthAccuracy]
    chosen: dict[str, Any]
    chosen_score: float | None
    images: ImageCounts
    shots: list[Shots] | None
    seconds: float
    device: str


@dataclass(frozen=True)
class Cost:
    """What a pretraining took."""

    steps: int
    images: int
    """Images seen, with repeats."""

    hours: float
    """Of training alone, from the rates in metrics.jsonl: without measuring and saving."""


@dataclass(frozen=True)
class Pretraining:
    """A pretraining run with its report."""

    folder: Path
    options: dict[str, Any]
    dataset: str
    """Where it was measured."""

    dataset_digest: str | None
    """Of the dataset that it was measured on; None if that is not there any more."""

    trained_on: str | None
    """Digest of the dataset that it was trained on, as the checkpoint says."""

    split: str
    figures: dict[str, float]
    chances: dict[str, float]
    by_depth: tuple[DepthAccuracy, ...]
    """By logits, each depth by itself."""

    summed: tuple[DepthAccuracy, ...]
    """By probabilities, those of a class with all beneath it."""

    cost: Cost

    @property
    def unit(self) -> int:
        """The seed that pairs it with runs of other schemes."""
        return int(self.options["seed"])


@dataclass(frozen=True)
class Transfer:
    """A transfer run with its report."""

    folder: Path
    report: TransferReport

    @property
    def unit(self) -> int:
        """The seed that pairs it with runs of other schemes.

        That of the pretraining: two transfers of one pretraining are no two pretrainings. Where that is
        not known, the seed of the transfer.
        """
        seed = self.report.source.seed
        return self.report.seed if seed is None else seed


def read_run(folder: Path) -> Pretraining | Transfer:
    """Read a run folder.

    Raises:
        RunError: it is none, or nothing was measured of it yet, or its report cannot be read.
    """
    is_transfer = (folder / REQUEST).is_file()
    path = find_report(folder)
    if not path.is_file():
        if is_transfer:
            raise RunError(f"{folder} has no {REPORT}: finish it by `hypernym transfer` with --resume.")
        if (folder / CONFIG).is_file():
            raise RunError(
                f"{folder} has no {EVALUATED}: run `hypernym evaluate {folder} DATASET` first."
            )
        raise RunError(f"{folder} holds no run (no {CONFIG}): give folders of finished runs.")
    try:
        if is_transfer:
            document = read_json(path, "transfer", REPORT_VERSION, RunError)
            return Transfer(folder, TransferReport.model_validate(document))
        document = read_json(path, "report", EVALUATED_VERSION, RunError)
        options = flatten(_read_yaml(folder / CONFIG))
        return _read_pretraining(folder, options, document)
    except ValidationError as cause:
        problem = cause.errors()[0]
        field = ".".join(str(place) for place in problem["loc"])
        raise RunError(
            f"{path} is damaged: {field}: {problem['msg'].lower()}; measure the run again."
        ) from cause
    except (KeyError, TypeError) as cause:
        raise RunError(f"{path} is damaged: it lacks {cause}; measure the run again.") from cause


def find_report(folder: Path) -> Path:
    """Return where the report of a run is, or will be, that tells that it is done."""
    return folder / (REPORT if (folder / REQUEST).is_file() else EVALUATED)


def digest_of(dataset: Path) -> str | None:
    """Return the digest of a dataset folder, or None if there is none."""
    try:
        card = json.loads((dataset / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    digest = card.get("digest") if isinstance(card, dict) else None
    return None if digest is None else str(digest)


def _read_yaml(path: Path) -> dict[str, Any]:
    options = read_yaml(path, RunError)
    if not isinstance(options, dict):
        raise RunError(f"{path} is no mapping of options to values: give the folder of a run.")
    return options


def _read_pretraining(folder: Path, options: dict[str, Any], document: dict[str, Any]) -> Pretraining:
    accuracy, precision = document["accuracy"], document["average_precision"]
    figures = {
        SEMANTIC_TOP1: float(accuracy["semantic_top1"]),
        SUMMED: float(document["summed"]["semantic_top1"]),
        EXACT_LEAF: float(document["leaf_mistakes"]["exact"]),
        MEAN_PRECISION: float(precision["macro"]),
    }
    return Pretraining(
        folder=folder,
        options=options,
        dataset=str(document["dataset"]),
        dataset_digest=digest_of(Path(document["dataset"])),
        trained_on=_trained_on(folder),
        split=str(document["split"]),
        figures=figures,
        chances=dict.fromkeys((SEMANTIC_TOP1, SUMMED), float(accuracy["semantic_top1_chance"])),
        by_depth=tuple(DepthAccuracy.model_validate(at) for at in accuracy["by_depth"]),
        summed=tuple(DepthAccuracy.model_validate(at) for at in document["summed"]["by_depth"]),
        cost=_count_cost(folder, int(options["batch_size"])),
    )


def _trained_on(folder: Path) -> str | None:
    try:
        config = json.loads((folder / "checkpoints/best/config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    digest = config.get("hypernym", {}).get("dataset_digest")
    return None if digest is None else str(digest)


def _count_cost(folder: Path, batch_size: int) -> Cost:
    """Add up time from the rate of each stretch of steps; the last rate holds to the end."""
    last_step, timed_step, rate, seconds = 0, 0, 0.0, 0.0
    for record in read_records(folder / "metrics.jsonl"):
        last_step = int(record["step"])
        if record.get("images_per_second"):
            rate = record["images_per_second"]
            seconds += (last_step - timed_step) * batch_size / rate
            timed_step = last_step
    if rate:
        seconds += (last_step - timed_step) * batch_size / rate
    return Cost(last_step, last_step * batch_size, seconds / HOUR)
