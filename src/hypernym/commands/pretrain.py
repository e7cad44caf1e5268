"""`hypernym pretrain`: train a timm model on a dataset and its tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from cyclopts import Parameter
from pydantic import validate_call

from hypernym.data.dataset import open_dataset
from hypernym.data.images import Resize
from hypernym.engine import count_loaders
from hypernym.errors import RunError, UsageError
from hypernym.files import check_vacant
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.tree import load_tree
from hypernym.training.config import (
    RUNTIME_OPTIONS,
    LossOptions,
    PretrainConfig,
    RecipeName,
    read_config,
)
from hypernym.training.recipes import overlay, resolve_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from hypernym.data.dataset import Dataset
    from hypernym.data.transforms import Preprocessing
    from hypernym.hierarchy.levels import Levels
    from hypernym.hierarchy.tree import Tree
    from hypernym.training.loop import FitReport


@dataclass(frozen=True)
class PretrainReport:
    """What `pretrain` made."""

    run: Path
    model: str
    scheme: str
    epochs: int
    steps: int
    best_epoch: int
    semantic_top1: float
    """Of the best checkpoint; 0..1."""

    train_loss: float | None
    seconds: float

    def __str__(self) -> str:
        """Return the summary for a person."""
        return (
            f"{self.run}: {self.model}, {self.scheme}, {self.epochs} epochs, {self.steps:,} steps in "
            f"{self.seconds:.0f} s\n"
            f"  best epoch     {self.best_epoch}\n"
            f"  semantic top-1 {100 * self.semantic_top1:.1f} %\n"
            f"Next: hypernym evaluate {self.run} DATASET"
        )


@validate_call
def pretrain(
    dataset: Path,
    run: Path,
    *,
    recipe: RecipeName = "standard",
    config: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    options: Annotated[PretrainConfig, Parameter(name="*")] | None = None,
    resume: bool = False,
) -> PretrainReport:
    """Train a timm model on a dataset, with a loss that knows its tree.

    Args:
        dataset: A prepared dataset with a tree.
        run: The folder to make: configuration, metrics, checkpoints.
        recipe: Where the options start from.
        config: YAML files whose keys are the options' names; they are laid over the recipe in turn.
        options: The options; they are laid over recipe and files.
        resume: Go on with a run that was stopped, with its own options; only device, workers and
            log_every may change.
    """
    check_vacant(run, resume=resume, what="run")
    opened = open_dataset(dataset)
    tree = load_tree(dataset / "tree.json", classes_digest=opened.classes.digest)
    given = options.model_dump(mode="json", exclude_unset=True) if options else {}
    resolved = _resolve(run, recipe, config, given, resume=resume)

    report = _train(opened, tree, run, resolved, resume=resume)
    return PretrainReport(
        run,
        resolved.model,
        resolved.scheme,
        report.epochs,
        report.steps,
        report.best_epoch,
        report.best_score,
        report.train_loss,
        report.seconds,
    )


def _train(
    dataset: Dataset, tree: Tree, run: Path, config: PretrainConfig, *, resume: bool
) -> FitReport:
    """Make model, loss and loaders from the configuration, and fit."""
    import torch

    from hypernym.checkpoint import Card
    from hypernym.data.loader import make_eval_loader, make_train_loader
    from hypernym.data.transforms import make_eval_transform, make_train_transform
    from hypernym.inference import choose_device, measure
    from hypernym.losses.schemes import make_loss
    from hypernym.models import Classifier, make_backbone
    from hypernym.training.loop import Measured, fit
    from hypernym.training.task import LabelTask

    device = choose_device(config.device)
    on_gpu = device.type == "cuda"
    workers = count_loaders(config.workers)
    size = config.image_size or dataset.image_size
    levels = make_levels(tree)

    torch.manual_seed(config.seed)
    num_classes = levels.num_classes
    backbone = make_backbone(
        config.model, num_classes=num_classes, image_size=size, pretrained=config.pretrained
    )
    preprocessing = _make_preprocessing(backbone, dataset, size)
    classifier = Classifier(backbone, preprocessing.mean, preprocessing.std)
    weights_L = _weigh_depths(levels, dataset, config.loss)
    criterion = make_loss(
        config.scheme, levels, label_smoothing=config.loss.label_smoothing, weights_L=weights_L
    )
    task = LabelTask(classifier, criterion.to(device))
    loader = make_train_loader(
        dataset,
        make_train_transform(size, config.augment.min_scale, config.augment.flip),
        batch_size=config.batch_size,
        seed=config.seed,
        workers=workers,
        pin=on_gpu,
    )
    num_val = len(dataset.index("val"))

    def measure_val() -> Measured:
        transform = make_eval_transform(preprocessing)
        batches = make_eval_loader(
            dataset, "val", transform, batch_size=config.batch_size, workers=workers, pin=on_gpu
        )
        accuracy = measure(classifier, batches, levels, device, num_val)
        figures = {"val/top1": accuracy.top1, "val/semantic_top1": accuracy.semantic_top1}
        return Measured(accuracy.semantic_top1, figures)

    names, digest = tree.name_all(dataset.classes.names), dataset.card["digest"]
    card = Card(tree.ids, names, tree, preprocessing, config.scheme, digest)
    return fit(task, loader, run, config, card, measure_val, device, resume=resume)


def _weigh_depths(levels: Levels, dataset: Dataset, options: LossOptions) -> list[float]:
    """Return the weight of each depth; inner classes that the tree added have no images."""
    images_C = None
    if options.weights == "images":
        images_C = np.zeros(levels.num_classes, np.int64)
        images_C[: len(dataset.classes)] = dataset.classes.train_counts
    weights: list[float] = levels.weights_L(
        options.max_weight, images_C, use_deepest=options.use_deepest
    ).tolist()
    if not any(weights):
        raise UsageError("--loss.no-use-deepest leaves nothing to learn: the tree has one depth.")
    return weights


def _make_preprocessing(backbone: nn.Module, dataset: Dataset, size: int) -> Preprocessing:
    """Take mean and std from the model, and the view from how the dataset was prepared."""
    from timm.data import resolve_data_config

    from hypernym.data.transforms import Preprocessing, crop_mode_of

    timm_config = resolve_data_config(model=backbone)
    crop_mode = crop_mode_of(Resize(dataset.card["images"]["resize"]))
    return Preprocessing(size, timm_config["mean"], timm_config["std"], crop_mode)


def _resolve(
    run: Path, recipe: RecipeName, files: Sequence[Path], given: dict[str, Any], *, resume: bool
) -> PretrainConfig:
    """Lay files over the recipe and options over files; of a resumed run, check that nothing changed."""
    for path in reversed(files):
        given = overlay(read_config(path), given)
    begun = run / "config.yaml"
    if resume and not begun.exists() and run.exists() and any(run.iterdir()):
        raise RunError(f"{run} holds no run (no config.yaml): give the folder of a run to resume it.")
    if not (resume and begun.exists()):
        return resolve_config(recipe, given)
    before = read_config(begun)
    resolved = PretrainConfig.model_validate(overlay(before, given))
    now = resolved.model_dump(mode="json")
    changed = [name for name in before if before[name] != now[name] and name not in RUNTIME_OPTIONS]
    if changed:
        name = changed[0]
        raise RunError(
            f"{run} was begun with {name} {before[name]}, not {now[name]}: leave "
            f"--{name.replace('_', '-')} away to resume it, or give a new folder."
        )
    return resolved
