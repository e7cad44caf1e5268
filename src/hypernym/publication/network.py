"""What is exported: from stored pixels to logits, and by choice on to the path.

Shapes: B images, S pixels of a side, C classes, L depths.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.tree import ROOT
from hypernym.inference import THRESHOLD
from hypernym.publication.paths import PathFinder

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from hypernym.checkpoint import Card, TrainedModel
    from hypernym.models import Classifier

IMAGES, CUT = "images", "threshold"
"""Inputs."""

LOGITS = "logits"
DECODED = ("probabilities", "path", "path_probabilities")
"""Outputs."""


class PathNetwork(nn.Module):
    """A classifier with the decoding of its path."""

    def __init__(self, classifier: Classifier, finder: PathFinder) -> None:
        super().__init__()
        self.classifier = classifier
        self.finder = finder

    def forward(
        self, images: torch.Tensor, threshold: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map images, uint8 (B, 3, S, S), to logits (B, C) and to what a `paths.FoundPath` holds.

        The path is cut at `threshold`, float32 (1,).
        """
        logits_BC = self.classifier(images)
        return logits_BC, *self.finder(logits_BC, threshold)


class Traced(NamedTuple):
    """A network, and its graph of torch's operators for any number of images."""

    network: nn.Module
    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: dict[str, str]
    """What a file of it carries: each value is JSON."""

    @property
    def decodes(self) -> bool:
        """Whether the path is an output, and the threshold an input."""
        return len(self.outputs) > 1


def trace(model: TrainedModel, *, decode: bool) -> Traced:
    """Trace a model on the CPU; with `decode` the path is built in."""
    card, size = model.card, model.card.preprocessing.size
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    batch = {0: torch.export.Dim("batch", min=1)}
    metadata = describe(card, decode=decode)
    network: nn.Module = model.classifier.cpu().eval()
    if not decode:
        program = _trace(network, (images,), (batch,))
        return Traced(network, program, (IMAGES,), (LOGITS,), metadata)
    finder = PathFinder(make_levels(card.tree), card.scheme)
    network = PathNetwork(model.classifier, finder).eval()
    program = _trace(network, (images, default_threshold()), (batch, None))
    return Traced(network, program, (IMAGES, CUT), (LOGITS, *DECODED), metadata)


def _trace(
    network: nn.Module, inputs: tuple[torch.Tensor, ...], shapes: tuple[Any, ...]
) -> ExportedProgram:
    with torch.no_grad():
        program = torch.export.export(network, inputs, dynamic_shapes=shapes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names folders of this machine
    return program


def default_threshold() -> torch.Tensor:
    """Return where a path is cut unless told otherwise, (1,)."""
    return torch.tensor([THRESHOLD])


def describe(card: Card, *, decode: bool) -> dict[str, str]:
    """Return all that is needed to use the outputs, each as JSON: the file alone is enough."""
    view = card.preprocessing
    parents = [card.class_ids[parent] if parent != ROOT else None for parent in card.tree.parents]
    resize: dict[str, Any] = {
        "size": view.size,
        "crop_mode": view.crop_mode,
        "crop_pct": view.crop_pct,
        "interpolation": view.interpolation,
        "antialias": True,
        "layout": "uint8 RGB, (batch, 3, size, size); mean and std are built in",
    }
    described: dict[str, Any] = {
        "class_ids": card.class_ids,
        "class_names": card.class_names,
        "parents": parents,
        "num_labels": card.tree.num_labels,
        "scheme": card.scheme.value,
        "preprocessing": resize,
    }
    if decode:
        described["threshold"] = THRESHOLD
    return {name: json.dumps(value, ensure_ascii=False) for name, value in described.items()}
