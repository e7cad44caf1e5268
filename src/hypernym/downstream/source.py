"""What is transferred: a run, a model folder, a file of weights or a model of timm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import timm
import torch
from timm.data import resolve_data_config

from hypernym.checkpoint import find_checkpoint, load_card, read_architecture
from hypernym.downstream.config import REQUEST, TransferConfig
from hypernym.downstream.report import Provenance
from hypernym.errors import UsageError, nearest
from hypernym.models import Classifier, make_backbone
from hypernym.training.config import PretrainConfig, read_config
from hypernym.training.requests import flatten
from hypernym.training.start import load_start
from hypernym.training.weights import is_foreign_folder

if TYPE_CHECKING:
    from hypernym.hierarchy.tree import Tree

REMOTE = ("hf-hub:", "local-dir:")


@dataclass(frozen=True)
class Source:
    """A model to transfer, before its head is made anew."""

    provenance: Provenance
    start: Path | None
    """A folder or file of weights; None for a model of timm."""

    size: int
    """Pixels of a side that it was made for."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def make_classifier(self, tree: Tree, size: int, config: TransferConfig) -> Classifier:
        """Return the model with a new head that has an output for each id of the tree.

        Raises:
            UsageError: its weights cannot be read or do not fit, or it cannot take this size.
        """
        torch.manual_seed(config.seed)
        architecture = self.provenance.model
        backbone = make_backbone(
            architecture,
            num_classes=len(tree.ids),
            image_size=size,
            drop=config.drop,
            drop_path=config.drop_path,
        )
        if not config.untrained:
            load_start(
                backbone,
                tree=tree,
                start=self.start,
                pretrained_name=architecture if self.start is None else None,
                head="new",
            )
        return Classifier(backbone, self.mean, self.std)


def open_source(name: str, config: TransferConfig) -> Source:
    """Look at what was given as the model; no weights are read.

    Args:
        name: A run, a checkpoint folder, a folder in timm's hub form, a file of weights, or timm's name.
        config: `model` names what a file is of, `pixels` can say that it sees pixels in 0..1.

    Raises:
        UsageError: there is no such model, or what kind a file is of was not said.
        RunError: the folder holds no checkpoint.
    """
    path = Path(name)
    if config.model and not path.is_file():
        raise UsageError(
            f"--model {config.model} names what a file of weights is of, and {name} says that itself: "
            f"leave it away."
        )
    if path.is_dir() and not is_foreign_folder(path):
        if config.pixels == "unit":
            raise UsageError(
                f"--pixels unit: {name} carries the mean and std that it was trained with: leave it "
                f"away."
            )
        return _open_run(path, name)
    if path.is_file() and not config.model:
        raise UsageError(f"{name} is a file of weights: say by --model which model of timm it is of.")
    if path.exists():
        architecture = config.model or read_architecture(path)
    else:
        architecture = name
        if not name.startswith(REMOTE) and not timm.is_model(name):
            hint = nearest(name, timm.list_models())
            raise UsageError(f"{name} is neither a run, a folder, a file nor a model of timm{hint}.")
    described = f"local-dir:{path}" if path.is_dir() else architecture
    found = resolve_data_config(model=make_backbone(described, num_classes=1, image_size=None))
    mean, std = found["mean"], found["std"]
    if config.pixels == "unit":
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    start = path if path.exists() else None
    return Source(Provenance(name, architecture), start, found["input_size"][-1], mean, std)


def _open_run(path: Path, name: str) -> Source:
    """Open a checkpoint of our own; it carries its preprocessing."""
    folder = find_checkpoint(path)
    card, progress = load_card(folder)
    begun = path / "config.yaml"
    kind = TransferConfig if (path / REQUEST).exists() else PretrainConfig
    options = flatten(read_config(begun, kind)) if begun.exists() else {}
    provenance = Provenance(
        name,
        read_architecture(folder),
        card.scheme.value,
        options.get("seed"),
        progress["epoch"],
        card.dataset_digest,
        options,
    )
    view = card.preprocessing
    return Source(provenance, path, view.size, view.mean, view.std)
