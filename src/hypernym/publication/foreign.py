"""Weights from elsewhere, given what this package's own models carry: class ids, names and a tree.

Order of what is asked for the classes of the outputs:
    1. --classes
    2. the card beside the weights
    3. their number: that of a release of ImageNet-21K-P, or of another of ImageNet's sets
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
from timm.data import resolve_data_config

from hypernym.checkpoint import Card, TrainedModel
from hypernym.data.transforms import Preprocessing
from hypernym.errors import UsageError, nearest
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.taxonomies import read_taxonomy
from hypernym.hierarchy.tree import Inner, build_from_wordnet, build_tree, make_flat_tree
from hypernym.hierarchy.wordnet import WORDNET_ID, load_wordnet, name_of
from hypernym.models import Classifier
from hypernym.training.releases import find_release, name_outputs
from hypernym.training.weights import UNREADABLE, config_of, first_line, read_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from hypernym.hierarchy.tree import Tree

CROP_MODES = ("squash", "center")


def open_foreign(
    source: str,
    *,
    model: str | None,
    classes: Path | None,
    taxonomy: Path | None,
    scheme: Scheme | None,
) -> TrainedModel:
    """Read weights in timm's form; `progress` of the model tells how its classes are known.

    Args:
        source: A file of weights, a folder in timm's hub form, or timm's name of a model.
        model: Of a file: timm's name with the tag of the weights, by which their mean and std are known.
        classes: A file with a class a line, in the order of the outputs.
        taxonomy: Over these classes; without it WordNet's where they are of WordNet, else none.
        scheme: By which they were trained; if not given, semantic for the classes of ImageNet-21K-P and
            single-label for all others.

    Raises:
        UsageError: the weights cannot be read, or what their outputs or pixels mean is not known.
        TreeError: the taxonomy cannot become a tree over the classes.
    """
    backbone = _make_backbone(source, model)
    config = config_of(backbone)
    number = int(config["num_classes"])
    names: Sequence[str] = ()
    if classes is not None:
        ids, names = _read_classes(classes)
        told_by = f"{classes.name}"
        if len(ids) != number:
            raise UsageError(
                f"--classes {classes} names {len(ids):,} classes, and {source} has {number:,} outputs: "
                f"give a line for each output, in their order."
            )
    else:
        outputs = name_outputs(number, config.get("label_names"))
        ids, told_by = outputs.ids, outputs.told_by
        if not ids:
            raise UsageError(
                f"what the {number:,} outputs of {source} stand for is not known: give --classes with a "
                f"file that has a class id or a name a line, in the order of the outputs."
            )
        described = config.get("label_descriptions") or {}
        names = [described.get(class_id) or name_of(class_id) for class_id in ids]
    tree = _build_tree(ids, taxonomy)
    if scheme is None:
        scheme = Scheme.SEMANTIC if find_release(ids) else Scheme.SINGLE_LABEL
    view = _read_preprocessing(source, backbone)
    card = Card(ids, tree.name_all(names), tree, view, scheme, dataset_digest="")
    classifier = Classifier(backbone, view.mean, view.std).eval()
    progress = {
        "epoch": 0,
        "step": 0,
        "figures": {},
        "source": source,
        "told_by": told_by,
        "licence": str(config.get("license") or ""),
    }
    return TrainedModel(classifier, card, progress)


def _make_backbone(source: str, model: str | None) -> nn.Module:
    path = Path(source)
    if path.is_file() and model is None:
        raise UsageError(
            f"{source} is a file of weights: say by --model which model of timm it is of, with the tag "
            f"of the weights (such as tresnet_m.miil_in21k), by which mean and std are known."
        )
    if not path.is_file() and model is not None:
        raise UsageError(
            f"--model {model} names what a file of weights is of, and {source} says that itself: leave "
            f"it away."
        )
    name = f"local-dir:{path}" if path.is_dir() else model or source
    _check_name(name, source)
    options: dict[str, Any] = {}
    if path.is_file():
        number = _count_outputs(path, name)
        options = {
            "num_classes": number,
            "pretrained_cfg_overlay": {"file": source, "num_classes": number, "custom_load": False},
        }
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=True, **options)
    except UNREADABLE as cause:
        raise UsageError(
            f"the weights of {source} cannot be read as those of {model or source!r} "
            f"({first_line(cause)}): give the model that they are of, or other weights."
        ) from cause
    return backbone


def _check_name(name: str, source: str) -> None:
    if name.startswith(("local-dir:", "hf-hub:")):
        return
    if not timm.is_model(name):
        what = (
            f"timm has no model {name!r}"
            if name != source
            else (f"{source} is neither a run, a folder, a file nor a model of timm")
        )
        raise UsageError(f"{what}{nearest(name, timm.list_models(pretrained=False))}.")
    tagged = timm.models.get_arch_pretrained_cfgs(name.partition(".")[0])
    if "." in name and name not in tagged:
        raise UsageError(
            f"timm has no weights {name!r}{nearest(name, tagged)}: the tag says by which mean and std "
            f"they were trained. It knows {', '.join(tagged) or 'none of this model'}."
        )


def _count_outputs(path: Path, name: str) -> int:
    """Return how many outputs a file of weights has."""
    tensors = read_weights(path).tensors
    named = timm.get_pretrained_cfg(name, allow_unregistered=True).classifier or ""
    heads = [named] if isinstance(named, str) else list(named)
    for head in heads:
        if f"{head}.weight" in tensors:
            return len(tensors[f"{head}.weight"])
    raise UsageError(
        f"{path} has no head {' or '.join(heads)!r}, as {name} has: give weights with their head, under "
        f"timm's names."
    )


def _read_classes(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read ids and names: a line is a WordNet id and what follows it, or as a whole both."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise UsageError(f"--classes {path} cannot be read ({cause}): give a text file.") from cause
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ids, names = [], []
    for line in lines:
        first, _, rest = line.replace("\t", " ").partition(" ")
        is_wordnet = WORDNET_ID.fullmatch(first) is not None
        ids.append(first if is_wordnet else line)
        names.append((rest.strip() or name_of(first)) if is_wordnet else line)
    repeated = next((class_id for class_id, count in Counter(ids).items() if count > 1), None)
    if repeated is not None:
        raise UsageError(
            f"--classes {path} names {repeated!r} twice: each output needs an id of its own."
        )
    return tuple(ids), tuple(names)


def _build_tree(ids: Sequence[str], taxonomy: Path | None) -> Tree:
    """Build a tree of the outputs alone: there is none for an inner class."""
    if taxonomy is not None:
        return build_tree(ids, read_taxonomy(taxonomy), Inner.NONE)
    if all(class_id in load_wordnet().lemmas for class_id in ids):
        return build_from_wordnet(ids)
    return make_flat_tree(ids)


def _read_preprocessing(source: str, backbone: nn.Module) -> Preprocessing:
    """Take over timm's preprocessing of these weights, where it is one that this package has."""
    found = resolve_data_config(model=backbone)
    _, height, width = found["input_size"]
    if height != width or found["crop_mode"] not in CROP_MODES:
        raise UsageError(
            f"{source} sees pictures of {height} x {width} pixels in the crop mode "
            f"{found['crop_mode']!r}: only squares, and the modes {' and '.join(CROP_MODES)}, can be "
            f"exported."
        )
    mean, std = tuple(found["mean"]), tuple(found["std"])
    return Preprocessing(
        height, mean, std, found["crop_mode"], found["interpolation"], found["crop_pct"]
    )
