"""`hypernym pretrain`: train a timm model on a dataset and its tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import validate_call

from hypernym.data.dataset import open_dataset
from hypernym.errors import RunError
from hypernym.files import check_vacant
from hypernym.hierarchy.tree import load_tree
from hypernym.training.config import PretrainConfig, RecipeName, read_config
from hypernym.training.recipes import check_given, resolve_config
from hypernym.training.rehearsal import Rehearsal, rehearse
from hypernym.training.requests import go_on_with, lay_over_files, overlay

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from hypernym.distributed import World
    from hypernym.training.loop import Course

REHEARSED = "dry-run.png"
"""What `--dry-run` leaves in the folder of the run to be."""


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
    recipe: RecipeName | None = None,
    config: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    options: Annotated[PretrainConfig, Parameter(name="*")] | None = None,
    resume: bool | Literal["auto"] = False,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
) -> PretrainReport | Rehearsal:
    """Train a timm model on a dataset, with a loss that knows its tree.

    On several GPUs: torchrun --nproc-per-node 8 -m hypernym pretrain ...

    Args:
        dataset: A prepared dataset with a tree.
        run: The folder to make: configuration, metrics, checkpoints.
        recipe: Where the options start from; by default `default`.
        config: YAML files whose keys are the options' names; they are laid over the recipe in turn.
        options: The options; they are laid over recipe and files.
        resume: Go on with a run that was stopped, with its own options; only accumulate, compile,
            checkpoint_gradients, device, log_every, save, track and workers may change, and where
            distill.cache lies. Where no checkpoint was saved it begins (so `--resume auto`, which means
            the same, suits a job that may be started again).
        dry_run: Take a few steps, show what would be done and what it takes, and train nothing.
    """
    from hypernym.distributed import agree, join_world, local_device
    from hypernym.inference import choose_device
    from hypernym.training.pretraining import plan_pretraining

    given = options.model_dump(mode="json", exclude_unset=True) if options else {}
    if recipe is not None:
        given["recipe"] = recipe
    with join_world() as world:
        resolved, resumes = agree(
            world, lambda: _begin(dataset, run, config, given, resume=bool(resume))
        )
        opened = open_dataset(dataset)
        tree = load_tree(dataset / "tree.json", classes_digest=opened.classes.digest)
        device = local_device(choose_device(resolved.device))
        course = plan_pretraining(
            opened, tree, resolved, device, world, resumes=resumes, rehearses=dry_run
        )
        if dry_run:
            return rehearse(course, run / REHEARSED, device, world)
        return _train(course, run, resolved, device, world, resumes=resumes)


def _train(
    course: Course,
    run: Path,
    config: PretrainConfig,
    device: torch.device,
    world: World,
    *,
    resumes: bool,
) -> PretrainReport:
    from hypernym.training.loop import fit

    report = fit(course, run, device, world, resumes=resumes)
    return PretrainReport(
        run,
        config.model,
        config.scheme,
        report.epochs,
        report.steps,
        report.best_epoch,
        report.best_score,
        report.train_loss,
        report.seconds,
    )


def _begin(
    dataset: Path,
    run: Path,
    files: Sequence[Path],
    given: dict[str, Any],
    *,
    resume: bool,
) -> tuple[PretrainConfig, bool]:
    """Check what was given, before anything is made.

    Returns:
        The options in full; and whether there is a checkpoint to go on from.
    """
    from hypernym.checkpoint import is_resumable

    if not _has_learned_nothing(run):
        check_vacant(run, resume=resume, what="run")
    load_tree(dataset / "tree.json", classes_digest=open_dataset(dataset).classes.digest)
    resolved = _resolve(run, files, given, resume=resume)
    return resolved, resume and is_resumable(run / "checkpoints" / "last")


def _has_learned_nothing(run: Path) -> bool:
    """Tell whether a folder holds what a dry run leaves behind, or a run without a checkpoint."""
    is_run = (run / "config.yaml").exists() and not (run / "checkpoints").exists()
    return is_run or (run.is_dir() and {path.name for path in run.iterdir()} == {REHEARSED})


def _resolve(run: Path, files: Sequence[Path], given: dict[str, Any], *, resume: bool) -> PretrainConfig:
    """Lay files over the recipe and options over files; of a resumed run, check that nothing changed."""
    given = lay_over_files(files, given, PretrainConfig)
    begun = run / "config.yaml"
    found = {path.name for path in run.iterdir()} if run.is_dir() else set()
    if resume and not begun.exists() and found - {REHEARSED}:
        raise RunError(f"{run} holds no run (no config.yaml): give the folder of a run to resume it.")
    if resume and begun.exists() and not _has_learned_nothing(run):
        return go_on_with(begun, given, PretrainConfig)
    base: dict[str, Any] = {}
    if resume and begun.exists():  # it begins again, and may do so with other options
        before = read_config(begun, PretrainConfig)
        base = before if given.get("recipe") in {None, before.get("recipe")} else {}
    resolved = resolve_config(overlay(base, given))
    check_given(resolved, given)
    return resolved
