"""Weights as they are found: in a run, a folder, a file or with timm; and what timm knows of them."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import timm
import torch
from safetensors import SafetensorError
from timm.models import load_state_dict
from timm.models._hub import load_state_dict_from_path

from hypernym.checkpoint import CONFIG, find_checkpoint, load_checkpoint
from hypernym.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

FILES = (".safetensors", ".pth", ".pt", ".bin", ".tar")
"""Endings of weight files: safetensors, and what torch.save writes."""

UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    EOFError,
    AssertionError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""What timm, torch and safetensors raise at files and names that are not what they should be."""


@dataclass(frozen=True)
class Weights:
    """Weights as they were found."""

    source: str
    tensors: dict[str, torch.Tensor]
    label_names: tuple[str, ...] | None
    """Class ids of the outputs, where a card has them."""

    num_labels: int | None = None
    """Of a checkpoint of our own: how many of them are labels of images."""

    architecture: str | None = None
    """timm's name of the model that they are of, where it is known."""


def read_weights(path: Path) -> Weights:
    """Read a run, a checkpoint folder, a folder in timm's hub form, or a file of weights.

    Raises:
        UsageError: there is no such thing, or it cannot be read as weights.
        RunError: the folder has no checkpoint.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise UsageError(
            f"{path} does not exist: give a run, a folder with a model, or a file ({', '.join(FILES)})."
        )
    if path.suffix not in FILES:
        raise UsageError(f"{path} ends in none of {', '.join(FILES)}: give such a file.")
    try:
        tensors = load_state_dict(str(path), weights_only=True)
    except UNREADABLE as cause:
        raise UsageError(f"{path} cannot be read as weights ({first_line(cause)}).") from cause
    return Weights(str(path), _only_tensors(tensors, path), None, None, _guess_architecture(path.name))


def is_foreign_folder(folder: Path) -> bool:
    """Tell whether a folder is a model in timm's hub form that this package did not write.

    Raises:
        UsageError: its card cannot be read.
    """
    if not (folder / CONFIG).exists():
        return False
    return "hypernym" not in _read_config(folder)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as cause:
        raise UsageError(f"{folder / CONFIG} cannot be read as JSON ({first_line(cause)}).") from cause


def _read_folder(folder: Path) -> Weights:
    if not is_foreign_folder(folder):
        with torch.random.fork_rng(devices=[]):
            model = load_checkpoint(find_checkpoint(folder))
        backbone, card = model.classifier.backbone, model.card
        architecture = config_of(backbone)["architecture"]
        num_labels = card.tree.num_labels
        return Weights(str(folder), backbone.state_dict(), card.class_ids, num_labels, architecture)
    try:
        tensors = load_state_dict_from_path(folder, weights_only=True)
    except UNREADABLE as cause:
        raise UsageError(f"{folder}: its weights cannot be read ({first_line(cause)}).") from cause
    config = _read_config(folder)
    label_names = config.get("label_names") or config.get("pretrained_cfg", {}).get("label_names")
    return Weights(
        str(folder),
        _only_tensors(tensors, folder),
        tuple(label_names) if label_names else None,
        None,
        config.get("architecture"),
    )


def read_timm_weights(name: str) -> Weights:
    """Let timm find, or download, the weights of a model, with the head that they were published with.

    Raises:
        UsageError: timm has none, or they cannot be had here.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            model = timm.create_model(name, pretrained=True)  # with the head that it was published with
    except UNREADABLE as cause:
        raise UsageError(
            f"timm cannot give the weights of {name!r} ({first_line(cause)}): see "
            f"timm.list_pretrained() for names with weights; without a network, give a file of them."
        ) from cause
    config = config_of(model)
    label_names = config.get("label_names")
    return Weights(
        f"timm's {name}",
        model.state_dict(),
        tuple(label_names) if label_names else None,
        None,
        config.get("architecture"),
    )


def _only_tensors(found: object, path: Path) -> dict[str, torch.Tensor]:
    tensors = found if isinstance(found, dict) else {}
    tensors = {key: value for key, value in tensors.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise UsageError(f"{path} holds no weights: give the state dict of a timm model.")
    return tensors


def head_names(backbone: nn.Module) -> list[str]:
    """Return the names of the layers that give the logits, each with the dot that follows it.

    A distilled model has two of them.
    """
    named = config_of(backbone)["classifier"]
    names = [named] if isinstance(named, str) else list(named)
    modules = dict(backbone.named_modules())
    return [f"{name}." for name in names if hasattr(modules.get(name), "weight")]


def config_of(backbone: nn.Module) -> dict[str, Any]:
    """Return what timm knows of a model that it made."""
    return cast("dict[str, Any]", backbone.pretrained_cfg)


def _guess_architecture(file: str) -> str | None:
    """Return the longest name of a timm model that a file's name begins with."""
    names = [name for name in timm.list_models() if file.startswith(name)]
    return max(names, key=len, default=None)


def first_line(cause: BaseException) -> str:
    """Return the first line of a foreign error, to be put into a message of our own."""
    return (str(cause).splitlines() or [repr(cause)])[0]
