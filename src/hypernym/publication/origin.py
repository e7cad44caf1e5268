"""What is exported: a model with all that is known of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernym.checkpoint import check_classes, find_checkpoint, load_checkpoint
from hypernym.errors import UsageError
from hypernym.metrics import REPORT_VERSION
from hypernym.publication.foreign import open_foreign
from hypernym.training.weights import is_foreign_folder

if TYPE_CHECKING:
    from hypernym.checkpoint import TrainedModel
    from hypernym.data.dataset import Dataset
    from hypernym.hierarchy.scheme import Scheme


@dataclass(frozen=True)
class ForeignOptions:
    """What can be said of weights that this package did not train."""

    model: str | None
    classes: Path | None
    taxonomy: Path | None
    scheme: Scheme | None

    @property
    def given(self) -> list[str]:
        """The names of the options that were used."""
        return [name for name, value in vars(self).items() if value is not None]


@dataclass(frozen=True)
class Origin:
    """A model, and what its card tells beside it."""

    model: TrainedModel
    source: str
    report: dict[str, Any] | None
    """The run's `report.json`, if it is of this checkpoint."""

    dataset: Dataset | None
    """With the classes that it was trained on."""

    told_by: str = ""
    """Of foreign weights: how their classes are known."""

    licence: str = ""
    """Of foreign weights: what timm states."""

    @property
    def is_foreign(self) -> bool:
        """Whether it was trained elsewhere."""
        return bool(self.told_by)

    @property
    def is_trained_on_dataset(self) -> bool:
        """Whether the dataset is the very one that it was trained on."""
        return self.dataset is not None and self.dataset.card["digest"] == self.model.card.dataset_digest


def open_origin(source: str, options: ForeignOptions, dataset: Dataset | None) -> Origin:
    """Open a run, a checkpoint, or weights from elsewhere.

    Raises:
        UsageError: the options do not fit what was given.
        RunError: the folder holds no model.
        MismatchError: the dataset has other classes.
    """
    path = Path(source)
    if path.is_dir() and not is_foreign_folder(path):
        if options.given:
            raise UsageError(
                f"--{options.given[0]} speaks of weights from elsewhere, and {source} knows it itself: "
                f"leave it away."
            )
        folder = find_checkpoint(path)
        model = load_checkpoint(folder)
        report = _read_report(path, model)
    else:
        folder, report = path, None
        model = open_foreign(source, **vars(options))
    told = model.progress  # it knows where it came from, also when it was exported before
    origin = Origin(
        model,
        told.get("source", source),
        report,
        dataset,
        told.get("told_by", ""),
        told.get("licence", ""),
    )
    if dataset is not None:
        check_classes(origin.model.card, dataset, folder)
    return origin


def _read_report(run: Path, model: TrainedModel) -> dict[str, Any] | None:
    """Read what `evaluate` wrote into the run, if it speaks of this checkpoint."""
    try:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    match report:
        case {
            "format": "hypernym.report",
            "version": version,
            "epoch": epoch,
        } if (version, epoch) == (REPORT_VERSION, model.progress["epoch"]):
            return dict(report)
    return None
