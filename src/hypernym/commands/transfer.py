"""`hypernym transfer`: how good a pretrained model is on another dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import validate_call

from hypernym.data.dataset import open_dataset
from hypernym.downstream.config import REQUEST, Method, RecipeName, TransferConfig
from hypernym.downstream.recipes import check_given, resolve_config
from hypernym.downstream.report import REPORT, TransferReport, load_report
from hypernym.errors import RunError, UsageError
from hypernym.files import check_vacant, make_folder, read_json, write_json
from hypernym.training.config import save_config
from hypernym.training.requests import go_on_with, lay_over_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.data.dataset import Dataset

SOURCE, SOURCE_VERSION = "source.json", 1
"""What is transferred where to: a resumed transfer must be given the same."""


@validate_call
def transfer(
    source: str,
    dataset: Path,
    out: Path,
    *,
    recipe: RecipeName = "auto",
    config: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    options: Annotated[TransferConfig, Parameter(name="*")] | None = None,
    resume: bool | Literal["auto"] = False,
) -> TransferReport:
    """Judge a pretrained model on another dataset: fine-tune it, or probe its features.

    Options are chosen on a part of train; then all of train is learned from, and the test split is
    looked at once.

    Args:
        source: A run, a checkpoint folder, a folder in timm's hub form, a file of weights, or timm's
            name of a model with weights.
        dataset: A prepared dataset, with one label an image or several, with a tree or without.
        out: The folder to make: a run (but for knn and few-shot), the report, the answers.
        recipe: Where the options of full fine-tuning start from: auto (by the number of images), the
            authors' cifar100, cifar100-sgd or multi-label.
        config: YAML files whose keys are the options' names; they are laid over the recipe in turn.
        options: The options; they are laid over recipe and files.
        resume: Go on with a transfer that was stopped, with its own options.
    """
    given = options.model_dump(mode="json", exclude_unset=True) if options else {}

    from hypernym.distributed import agree, join_world, local_device
    from hypernym.downstream.case import set_up_case
    from hypernym.downstream.judging import judge_model
    from hypernym.downstream.source import open_source
    from hypernym.inference import choose_device

    with join_world() as world:
        opened = open_dataset(dataset)
        request = Request(source, opened, out, recipe, config, given, bool(resume))
        resolved = agree(world, lambda: _begin(request))
        if resolved.method != Method.FULL and world.size > 1:
            raise UsageError(
                f"--method {resolved.method} runs in one process: start it without torchrun."
            )
        if resume and (out / REPORT).exists():
            return load_report(out)
        device = local_device(choose_device(resolved.device))
        model = open_source(source, resolved)
        case = set_up_case(model, opened, resolved, device, world)
        case.make_classifier(resolved)  # what cannot be made leaves nothing behind
        if world.is_first:
            make_folder(out)
            begun = {"source": source, "dataset_digest": opened.card["digest"], "recipe": recipe}
            write_json(out / SOURCE, "source", SOURCE_VERSION, **begun)
            save_config(out / REQUEST, resolved)
        return judge_model(case, out, resume=bool(resume))


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    source: str
    dataset: Dataset
    out: Path
    recipe: RecipeName
    files: Sequence[Path]
    given: dict[str, Any]
    resume: bool


def _begin(request: Request) -> TransferConfig:
    """Check what was asked for, before anything is made."""
    out, dataset = request.out, request.dataset
    if not _has_done_nothing(out):
        check_vacant(out, resume=request.resume, what="transfer")
    given = lay_over_files(request.files, request.given, TransferConfig)
    begun = out / REQUEST
    if request.resume and begun.exists():
        _check_same(request)
        return go_on_with(begun, given, TransferConfig)
    if request.resume and out.is_dir() and any(out.iterdir()):
        raise RunError(f"{out} holds no transfer (no {REQUEST}): give the folder of one to resume it.")
    splits = dataset.card["splits"]
    resolved = resolve_config(request.recipe, given, len(dataset.index("train")))
    check_given(
        request.recipe,
        resolved,
        request.given,
        several_labels=dataset.card["several_labels"],
        holds_out_val=all(splits.get(name, {}).get("images") for name in ("val", "test")),
    )
    return resolved


def _has_done_nothing(out: Path) -> bool:
    """Tell whether a folder holds no more than what a transfer begins with."""
    return out.is_dir() and {path.name for path in out.iterdir()} in ({SOURCE}, {SOURCE, REQUEST})


def _check_same(request: Request) -> None:
    """Check that a transfer that goes on is of the same model, dataset and, if one is named, recipe.

    Raises:
        RunError: it is of others.
    """
    begun = read_json(request.out / SOURCE, "source", SOURCE_VERSION, RunError)
    if begun["source"] != request.source:
        raise RunError(
            f"{request.out} was begun with the model {begun['source']}, not {request.source}: give that "
            f"one to resume it, or a new folder."
        )
    if begun["dataset_digest"] != request.dataset.card["digest"]:
        raise RunError(
            f"{request.out} was begun on another dataset than {request.dataset.path} (digest "
            f"{begun['dataset_digest'][:8]}): give that one to resume it, or a new folder."
        )
    if request.recipe not in {"auto", begun.get("recipe", request.recipe)}:
        raise RunError(
            f"{request.out} was begun with --recipe {begun['recipe']}, not {request.recipe}: leave it "
            f"out to resume, or give a new folder."
        )
