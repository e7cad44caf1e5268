"""A checkpoint: weights and a card, self-contained, and itself a timm model folder.

    model.safetensors    the weights, under timm's names
    config.json          timm's hub form: architecture, preprocessing, class ids and names; and, under
                         `hypernym`, what only this package reads
    tree.json            the label tree
    state.pt             optimizer, schedule and position, to resume training (in `last` alone)

`timm.create_model("local-dir:FOLDER", pretrained=True)` opens it without this package.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_file
from timm.models._hub import save_config_for_hf

from hypernym.data.transforms import Preprocessing
from hypernym.errors import MismatchError, OutputError, RunError
from hypernym.files import recover_folder, replace_folder, whole_folder
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import Tree, load_tree, save_tree
from hypernym.models import Classifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hypernym.data.dataset import Dataset

CARD_VERSION = 1
WEIGHTS, CONFIG, TREE, STATE = "model.safetensors", "config.json", "tree.json", "state.pt"


@dataclass(frozen=True)
class Card:
    """What a model must carry to be used by someone who never saw its dataset."""

    class_ids: tuple[str, ...]
    """Of the outputs, in order: those of the tree, of which the first `tree.num_labels` are labels."""

    class_names: tuple[str, ...]
    tree: Tree
    preprocessing: Preprocessing
    scheme: Scheme
    dataset_digest: str
    """Of the dataset that it was trained on."""

    @property
    def classes_digest(self) -> str:
        """The digest of the class table whose labels the model was trained on."""
        return self.tree.classes_digest


@dataclass(frozen=True)
class TrainedModel:
    """A model read from a checkpoint, in evaluation mode."""

    classifier: Classifier
    card: Card
    progress: dict[str, Any]
    """Where in training it was saved, and how good it was."""


def save_checkpoint(
    folder: Path,
    classifier: Classifier,
    card: Card,
    progress: dict[str, Any],
    state: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint; the folder is replaced as a whole.

    Args:
        folder: The checkpoint's own folder.
        classifier: The model.
        card: What travels with it.
        progress: Epoch, step and figures, for a person to read.
        state: Tensors and plain values from which training resumes.
    """
    backbone = classifier.backbone
    size = card.preprocessing.size
    own = {
        "version": CARD_VERSION,
        "scheme": card.scheme,
        "classes_digest": card.classes_digest,
        "dataset_digest": card.dataset_digest,
        "class_names": card.class_names,  # timm's descriptions are keyed by id, in no order
        "preprocessing": asdict(card.preprocessing),
        **progress,
    }
    config = {
        "label_names": list(card.class_ids),
        "label_descriptions": dict(zip(card.class_ids, card.class_names, strict=True)),
        "hypernym": own,
    }
    data_config = {**asdict(card.preprocessing), "input_size": (3, size, size)}
    del data_config["size"]
    with _told_of_full_disks(folder), replace_folder(folder) as new:
        tensors = {name: value.contiguous() for name, value in backbone.state_dict().items()}
        save_file(tensors, new / WEIGHTS, metadata={"format": "pt"})
        save_config_for_hf(backbone, str(new / CONFIG), config, data_config=data_config)
        save_tree(new / TREE, card.tree)
        if state is not None:
            torch.save(state, new / STATE)


@contextmanager
def _told_of_full_disks(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as cause:  # whatever a writer makes of an error
        raise OutputError(
            f"{folder} cannot be written ({' '.join(str(cause).split())}): make room, or give a place "
            f"that you may write to; checkpoints from before are whole."
        ) from cause


def load_checkpoint(folder: Path) -> TrainedModel:
    """Read a checkpoint folder.

    Raises:
        RunError: the folder is missing or is not a checkpoint of this version.
    """
    card, progress = load_card(folder)
    name = f"local-dir:{folder}"
    try:
        backbone = timm.create_model(name, pretrained=True, num_classes=len(card.class_ids))
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as cause:
        told = (str(cause).splitlines() or [repr(cause)])[0]
        raise RunError(
            f"{folder} holds weights that cannot be read, or a model that this timm does not know "
            f"({told}): copy it anew, or take another checkpoint."
        ) from cause
    classifier = Classifier(backbone, card.preprocessing.mean, card.preprocessing.std)
    return TrainedModel(classifier.eval(), card, progress)


def is_resumable(folder: Path) -> bool:
    """Tell whether training can go on from a checkpoint folder."""
    recover_folder(folder)
    return (folder / STATE).exists()


def load_state(folder: Path, classifier: Classifier, card: Card) -> dict[str, Any]:
    """Load the weights of `folder` into a classifier and return what else training resumes from.

    Raises:
        RunError: the checkpoint is of another dataset, or of another tree over it.
    """
    found, _ = load_card(folder)
    if found.dataset_digest != card.dataset_digest:
        raise RunError(
            f"{folder} was trained on the dataset with digest {found.dataset_digest[:8]}, not "
            f"{card.dataset_digest[:8]}: give the dataset of the first run to resume it."
        )
    if found.tree.parent_digest != card.tree.parent_digest:
        raise RunError(
            f"{folder} was trained with another tree than the dataset has now: copy {folder / TREE} "
            f"back into the dataset to resume it, or begin a new run."
        )
    try:
        load_model(classifier.backbone, folder / WEIGHTS)
    except (SafetensorError, RuntimeError) as cause:
        raise _damaged(folder / WEIGHTS) from cause
    try:
        state: dict[str, Any] = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, UnpicklingError) as cause:
        raise _damaged(folder / STATE) from cause
    return state


def _damaged(file: Path) -> RunError:
    return RunError(
        f"{file} is damaged: put another checkpoint with a {STATE} in the place of its folder (such as "
        f"{file.parent.name}-00001200, if --save.keep-last kept some), or begin a new run."
    )


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint meant by a run folder (its best, else its last) or a checkpoint folder.

    Raises:
        RunError: there is none.
    """
    candidates = (path / "checkpoints" / "best", path / "checkpoints" / "last", path)
    for folder in map(whole_folder, candidates):
        if (folder / WEIGHTS).exists():
            return folder
    if not path.exists():
        raise RunError(f"{path} does not exist: give the folder of a run.")
    raise RunError(
        f"{path} holds no checkpoint: give a run that has saved one (see {path}/config.yaml)."
    )


def check_classes(card: Card, dataset: Dataset, folder: Path) -> None:
    """Check that the labels that a model was trained on are those of a dataset.

    Raises:
        MismatchError: the class tables differ.
    """
    if card.classes_digest == dataset.classes.digest:
        return
    labels = card.class_ids[: card.tree.num_labels]
    shared = len(set(labels) & set(dataset.classes.ids))
    raise MismatchError(
        f"{folder} was trained on {len(labels)} classes (digest {card.classes_digest[:8]}) and "
        f"{dataset.path} has {len(dataset.classes)} (digest {dataset.classes.digest[:8]}); {shared} "
        f"are in both. Give the dataset that it was trained on, or one of the same release."
    )


def read_architecture(folder: Path) -> str:
    """Return timm's name of the model in a folder of timm's hub form.

    Raises:
        RunError: the folder does not say.
    """
    try:
        return str(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["architecture"])
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RunError(f"{folder / CONFIG} names no architecture of timm ({cause!r}).") from cause


def load_card(folder: Path) -> tuple[Card, dict[str, Any]]:
    """Read what travels with a model, and how far it had come; no weights.

    Raises:
        RunError: the folder is not a checkpoint of this version.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        own = dict(config["hypernym"])
        version = own.pop("version")
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RunError(f"{folder} is not a checkpoint of hypernym ({CONFIG}: {cause!r}).") from cause
    if not (folder / TREE).exists():
        raise RunError(f"{folder} has no {TREE}: it is not whole, so copy it anew.")
    if version != CARD_VERSION:
        raise RunError(f"{folder} has version {version}; this hypernym reads {CARD_VERSION}.")
    try:
        digest = own.pop("classes_digest")
        preprocessing = own.pop("preprocessing")
        preprocessing |= {name: tuple(preprocessing[name]) for name in ("mean", "std")}
        card = Card(
            class_ids=tuple(config["label_names"]),
            class_names=tuple(own.pop("class_names")),
            tree=load_tree(folder / TREE, classes_digest=digest),
            preprocessing=Preprocessing(**preprocessing),
            scheme=Scheme(own.pop("scheme")),
            dataset_digest=own.pop("dataset_digest"),
        )
    except (KeyError, TypeError, ValueError) as cause:
        raise RunError(
            f"{folder / CONFIG} is damaged ({cause!r}): copy the checkpoint anew, or take another."
        ) from cause
    return card, own
