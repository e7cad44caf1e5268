"""Start weights: from a run, a folder, a file or timm; the head is matched by class id.

Order of a start:
    1. the weights are read, with what is known of the classes of their head
    2. timm's own filter for the architecture renames them and resamples position embeddings
    3. every weight but those of the head must fit; nothing is written before that is known
    4. outputs of the head whose class both sides know are copied; the others keep their first values
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from hypernym.errors import UsageError
from hypernym.training.releases import Outputs, name_outputs, refuse_mixing
from hypernym.training.weights import (
    UNREADABLE,
    config_of,
    first_line,
    head_names,
    read_timm_weights,
    read_weights,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn

    from hypernym.hierarchy.tree import Tree
    from hypernym.training.weights import Weights


@dataclass(frozen=True)
class StartReport:
    """What was taken over, for the log."""

    source: str
    """Where the weights come from; empty where all are as they were drawn."""

    outputs: int
    """Of the head."""

    taken: int
    """How many of them were taken over."""

    reason: str
    """How the classes of the source are known, or why no output was taken over."""

    def __str__(self) -> str:
        """Return one sentence or two."""
        if not self.source:
            return "All weights are drawn at random."
        if not self.taken:
            return (
                f"All {self.outputs} outputs of the head made anew ({self.reason}); "
                f"all other weights taken from {self.source}."
            )
        anew = self.outputs - self.taken
        rest = f"{anew} made anew" if anew else "none made anew"
        return (
            f"{self.taken} of {self.outputs} outputs of the head taken over by class id from "
            f"{self.source} ({self.reason}), {rest}; all other weights taken from there."
        )


def load_start(
    backbone: nn.Module,
    *,
    tree: Tree,
    start: Path | None,
    pretrained_name: str | None,
    head: Literal["match", "new"],
) -> StartReport:
    """Put start weights into a timm model that was just made; no random number is drawn.

    Args:
        backbone: The model, with an output for each id of the tree.
        tree: Whose ids the outputs stand for.
        start: A run, a checkpoint folder, a folder in timm's hub form, or a file of weights.
        pretrained_name: A model of timm with weights. Without this and `start` nothing is changed.
        head: `match`: take over the outputs whose class is known by id; `new`: none.

    Raises:
        UsageError: both were given, or the weights cannot be read, or are of another architecture.
        RunError: the folder has no checkpoint.
        MismatchError: head and dataset are of two releases of ImageNet-21K-P.
    """
    if start is not None and pretrained_name is not None:
        raise UsageError(
            "--start and --pretrained each say where the first weights come from: give one of them."
        )
    if start is not None:
        weights, option = read_weights(start), str(start)
    elif pretrained_name is not None:
        weights, option = read_timm_weights(pretrained_name), f"timm's {pretrained_name}"
    else:
        return StartReport("", len(tree.ids), 0, "")
    tensors = _filter(backbone, weights, option)
    heads = head_names(backbone)
    body = {key: value for key, value in tensors.items() if not key.startswith(tuple(heads))}
    _check_body(backbone, body, heads, weights, option)
    outputs = _outputs_of(tensors, heads, weights)
    if head == "match":
        refuse_mixing(tree, outputs, option, "give weights of the dataset's release, or add --head new")
    backbone.load_state_dict(body, strict=False)
    if head == "new":
        return StartReport(weights.source, len(tree.ids), 0, "--head new")
    return _take_over(backbone, tensors, heads, outputs, tree, weights.source)


def _filter(backbone: nn.Module, weights: Weights, option: str) -> dict[str, torch.Tensor]:
    """Let timm rename and resample as it does with weights that it has downloaded."""
    function = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if function is None:
        return weights.tensors
    takes_model = len(inspect.signature(function).parameters) > 1
    try:
        filtered = function(dict(weights.tensors), *([backbone] if takes_model else []))
    except UNREADABLE as cause:
        message = _of_another(
            backbone, weights, f"timm cannot convert them: {first_line(cause)}", option
        )
        raise UsageError(message) from cause
    return dict(filtered)


def _check_body(
    backbone: nn.Module,
    body: dict[str, torch.Tensor],
    heads: Sequence[str],
    weights: Weights,
    option: str,
) -> None:
    expected = {
        key: value for key, value in backbone.state_dict().items() if not key.startswith(tuple(heads))
    }
    # Counters of batches came late to batch normalisation; other buffers are made by the model.
    made = {name for name, _ in backbone.named_buffers()} - set(expected)
    missing = [key for key in expected if key not in body and not key.endswith("num_batches_tracked")]
    unknown = [
        key
        for key in body
        if key not in expected and key not in made and not key.endswith("num_batches_tracked")
    ]
    misshapen = [
        f"{key} of {_shape(body[key])} for {_shape(value)}"
        for key, value in expected.items()
        if key in body and body[key].shape != value.shape
    ]
    found = {"missing": missing, "of another shape": misshapen, "unknown to the model": unknown}
    wrong = "; ".join(
        f"{len(keys)} {what}, such as {', '.join(keys[:3])}" for what, keys in found.items() if keys
    )
    if wrong:
        raise UsageError(_of_another(backbone, weights, wrong, option))


def _of_another(backbone: nn.Module, weights: Weights, wrong: str, option: str) -> str:
    model = config_of(backbone)["architecture"]
    made_for = weights.architecture
    known = made_for is not None and made_for != model
    seems = f": they seem to be made for {made_for!r}" if known else ""
    way_out = f"--model {made_for}" if known else "the model that they are of, or other weights"
    return f"the weights of {option} do not fit {model!r} ({wrong}){seems}. Give {way_out}."


def _outputs_of(tensors: dict[str, torch.Tensor], heads: Sequence[str], weights: Weights) -> Outputs:
    num_outputs = next(
        (len(tensors[f"{name}weight"]) for name in heads if f"{name}weight" in tensors), 0
    )
    found = name_outputs(num_outputs, weights.label_names)
    if weights.num_labels is None:
        return found
    return Outputs(found.ids, found.told_by, weights.num_labels)


@torch.no_grad()
def _take_over(
    backbone: nn.Module,
    tensors: dict[str, torch.Tensor],
    heads: Sequence[str],
    outputs: Outputs,
    tree: Tree,
    source: str,
) -> StartReport:
    """Copy the rows of the head whose class both sides know."""
    modules = dict(backbone.named_modules())
    there = {class_id: place for place, class_id in enumerate(outputs.ids)}
    pairs = [(here, there[class_id]) for here, class_id in enumerate(tree.ids) if class_id in there]
    mine, theirs = [list(places) for places in zip(*pairs, strict=True)] if pairs else ([], [])
    for name in heads:
        weight = tensors.get(f"{name}weight")
        if weight is None or not pairs:
            continue
        layer = modules[name.removesuffix(".")]
        rows = weight[theirs].to(layer.weight.dtype)
        # A linear layer and a convolution over one pixel hold the same numbers in another shape.
        layer.weight[mine] = rows.reshape(-1, *layer.weight.shape[1:]).to(layer.weight.device)
        if layer.bias is not None:
            bias = tensors.get(f"{name}bias", torch.zeros(len(weight)))
            layer.bias[mine] = bias[theirs].to(layer.bias)
    if not any(f"{name}weight" in tensors for name in heads):
        reason = "the source has no head"
    elif not outputs.ids:
        num_outputs = next(len(tensors[f"{name}weight"]) for name in heads if f"{name}weight" in tensors)
        reason = f"the classes of the {num_outputs:,} outputs of the source are not known"
    elif not pairs:
        reason = f"none of the {len(outputs.ids):,} classes of the source is a class of the dataset"
    else:
        reason = f"{len(outputs.ids):,} classes, told by {outputs.told_by}"
    return StartReport(source, len(tree.ids), len(pairs), reason)


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "1"
