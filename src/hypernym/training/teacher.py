"""Teachers: models that say of a picture what a student should say.

A teacher is asked at its own size and with its own normalisation, and answers with logits in the order
of the student's classes; which outputs belong to which classes is told by class id. What it says of
each training picture can be kept on disk (`cache`).

Shapes: B images, C classes of the student.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import timm
import torch
from timm.data import resolve_data_config
from torch import nn
from torchvision.transforms.v2 import functional

from hypernym.checkpoint import find_checkpoint, load_checkpoint
from hypernym.data.transforms import Preprocessing
from hypernym.decoding import Decoder
from hypernym.errors import MismatchError, UsageError, nearest
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.scheme import Distillation, Scheme
from hypernym.models import Classifier
from hypernym.training.releases import Outputs, name_outputs, refuse_mixing
from hypernym.training.weights import UNREADABLE, config_of, first_line, is_foreign_folder

if TYPE_CHECKING:
    from hypernym.hierarchy.tree import Tree

FEWEST = 2
"""Classes that student and teacher must share: over a single one nothing can be compared."""


@dataclass(frozen=True)
class TeacherReport:
    """What a teacher knows of a student's classes, for the log."""

    name: str
    scheme: Scheme | None
    """That it was trained with, where its card says so."""

    classes: int
    """Of the student."""

    known: int
    """How many of them the teacher has an output for."""

    missing: tuple[str, ...]
    """The first few of the others."""

    told_by: str
    size: int
    """Pixels of a side, at which it is asked."""

    student_size: int

    def __str__(self) -> str:
        """Return one sentence."""
        resized = f", resized from {self.student_size}" if self.size != self.student_size else ""
        scheme = f", trained as {self.scheme}" if self.scheme else ""
        unknown = self.classes - self.known
        rest = f"; {unknown} it does not know, such as {', '.join(self.missing)}" if unknown else ""
        return (
            f"The teacher {self.name}{scheme}, asked at {self.size} px{resized}, knows {self.known} of "
            f"{self.classes} classes (told by {self.told_by}){rest}."
        )


class Teacher(nn.Module):
    """A frozen model whose answers are in the order of the student's classes.

    It is in evaluation mode, whatever mode is asked for, and none of its weights takes a gradient.
    """

    known_C: torch.Tensor | None
    """bool (C,): the classes that it has an output for; None where it has all. The others get 0."""

    _places_C: torch.Tensor

    def __init__(
        self,
        classifier: Classifier,
        places: list[int],
        view: Preprocessing,
        report: TeacherReport,
        own_decoder: Decoder | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        """Make a teacher.

        Args:
            classifier: The model.
            places: For each class of the student the output of the model, or -1.
            view: How it sees a picture that is shown to it whole.
            report: What is known of it.
            own_decoder: Reads its outputs as probabilities of its own tree; the answers are then
                log-odds, as a multi-label student is asked for.
            decoder: The same, over the student's tree.
        """
        super().__init__()
        self.classifier = classifier.requires_grad_(requires_grad=False)
        self.view = view
        self.report = report
        self._own_decoder, self._decoder = own_decoder, decoder
        places_C = torch.tensor(places)
        known_C = places_C >= 0
        self.register_buffer("_places_C", places_C.clamp(min=0), persistent=False)
        self.register_buffer("known_C", None if known_C.all() else known_C, persistent=False)
        self.train(mode=False)

    def train(self, mode: bool = True) -> Teacher:  # noqa: ARG002 - the signature is torch's
        """Stay in evaluation mode."""
        super().train(mode=False)
        return self

    @torch.no_grad()
    def forward(self, images: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:  # noqa: ARG002
        """Map images (B, 3, H, W), uint8 or float in 0..255, to logits (B, C).

        Args:
            images: Of any size; another than the teacher's is resized, on their device.
            rows: Not asked for; see `cache.CachedTeacher`.
        """
        sides = [self.view.size, self.view.size]
        if list(images.shape[-2:]) != sides:
            images = functional.resize(images.float(), sides, antialias=True)
        logits = self.classifier(images)
        if self._own_decoder is not None:
            logits = _log_odds(self._own_decoder.log_probabilities(logits))
        logits_BC: torch.Tensor = logits.index_select(1, self._places_C)
        if self._decoder is not None:
            if self.known_C is not None:
                logits_BC = logits_BC.masked_fill(~self.known_C, -torch.inf)
            logits_BC = _log_odds(self._decoder.log_probabilities(logits_BC))
        return logits_BC if self.known_C is None else logits_BC.masked_fill(~self.known_C, 0.0)

    def digest(self) -> str:
        """Return the SHA-256 of all that decides what it says of a picture seen whole."""
        digest = hashlib.sha256(repr(asdict(self.view)).encode())
        digest.update(str(config_of(self.classifier.backbone)["architecture"]).encode())
        reads = (self._own_decoder is not None, self._decoder is not None)
        digest.update(repr((self.report.scheme, reads, self._places_C.tolist())).encode())
        for name, tensor in self.classifier.backbone.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()


def load_teacher(
    name: str, tree: Tree, size: int, device: torch.device, *, scheme: Scheme, kind: Distillation
) -> Teacher:
    """Load a teacher for the classes of a tree.

    A multi-label student is told log-odds: of a teacher with softmaxes, those of its decoded
    probabilities (see `decoding`), for logits of a softmax say nothing of a class by itself.

    Args:
        name: A run, a checkpoint folder, a folder in timm's hub form, or a model of timm.
        tree: Whose ids are the student's classes, in order.
        size: Pixels of a side that the student sees.
        device: Where the teacher is asked.
        scheme: The student's.
        kind: How the two are compared.

    Raises:
        UsageError: there is no such model, or it has no weights.
        RunError: the folder has no checkpoint.
        MismatchError: its classes are not known or not those of the tree, they are of two releases
            of ImageNet-21K-P, or its logits cannot be compared in the way asked for.
    """
    with torch.random.fork_rng(devices=[]):  # a teacher changes no first weight of the student
        classifier, view, outputs, own = _open(name)
    theirs = None if own is None else own[1]
    option = f"--teacher {name}"
    places = _match(option, tree, outputs)
    if (scheme, kind, theirs) == (Scheme.SINGLE_LABEL, Distillation.LOGITS, Scheme.SEMANTIC):
        raise MismatchError(
            f"{option} was trained as semantic, so its logits of different depths cannot be compared "
            f"in the one softmax of a single-label student: give --distill.kind semantic, which "
            f"compares each depth by itself, or a teacher trained as single-label."
        )
    own_decoder = decoder = None
    if scheme == Scheme.MULTI_LABEL and theirs != Scheme.MULTI_LABEL:
        if own is not None:
            own_decoder = Decoder(make_levels(own[0]), own[1], device)
        else:
            decoder = Decoder(make_levels(tree), Scheme.SINGLE_LABEL, device)
    missing = [class_id for class_id, place in zip(tree.ids, places, strict=True) if place < 0]
    known = len(tree.ids) - len(missing)
    told_by = outputs.told_by
    report = TeacherReport(
        name, theirs, len(tree.ids), known, tuple(missing[:3]), told_by, view.size, size
    )
    return Teacher(classifier, places, view, report, own_decoder, decoder).to(device)


def _open(name: str) -> tuple[Classifier, Preprocessing, Outputs, tuple[Tree, Scheme] | None]:
    """Return a model, how it sees a whole picture, its classes, and its own tree and scheme."""
    path = Path(name)
    if path.is_dir() and not is_foreign_folder(path):
        model = load_checkpoint(find_checkpoint(path))
        card = model.card
        view = replace(card.preprocessing, crop_pct=1.0)
        outputs = Outputs(card.class_ids, "its card", card.tree.num_labels)
        return model.classifier, view, outputs, (card.tree, card.scheme)
    source = f"local-dir:{name}" if path.is_dir() else name
    if not path.is_dir() and ":" not in name and not timm.is_model(name):
        raise UsageError(
            f"--teacher {name} is no folder, and timm has no such model"
            f"{nearest(name, timm.list_models())}: give a run, a checkpoint folder or a timm model."
        )
    try:
        backbone = timm.create_model(source, pretrained=True)  # with its own head
    except UNREADABLE as cause:
        raise UsageError(
            f"timm cannot give the weights of --teacher {name} ({first_line(cause)}): see "
            f"timm.list_pretrained() for names with weights; without a network, give a folder."
        ) from cause
    config = resolve_data_config(model=backbone)
    view = Preprocessing(
        config["input_size"][-1],
        tuple(config["mean"]),
        tuple(config["std"]),
        "squash" if config["crop_mode"] == "squash" else "center",
        config["interpolation"],
    )
    outputs = name_outputs(backbone.num_classes, config_of(backbone).get("label_names"))
    return Classifier(backbone, view.mean, view.std), view, outputs, None


def _match(option: str, tree: Tree, outputs: Outputs) -> list[int]:
    """Return for each class of the tree the output that stands for it, or -1."""
    if not outputs.ids:
        raise MismatchError(
            f"{option} has {outputs.num_labels:,} outputs, and which classes they stand for is not "
            f"known: give a run or a folder whose config.json has label_names."
        )
    refuse_mixing(tree, outputs, option, "give a teacher of the dataset's release")
    there = {class_id: place for place, class_id in enumerate(outputs.ids)}
    places = [there.get(class_id, -1) for class_id in tree.ids]
    shared = sum(place >= 0 for place in places)
    if shared < FEWEST:
        missing = [class_id for class_id in tree.ids if class_id not in there]
        raise MismatchError(
            f"{option} has {len(outputs.ids):,} classes (told by {outputs.told_by}), of which {shared} "
            f"are among the {len(tree.ids):,} of the dataset; {', '.join(missing[:3])} and others are "
            f"missing. Give a teacher that knows the classes of the dataset by their ids."
        )
    return places


def _log_odds(log_probability: torch.Tensor) -> torch.Tensor:
    """Return the logits of sigmoids that have these probabilities, within +-16."""
    log_probability = log_probability.clamp(-16.0, -1e-7)
    return log_probability - torch.log(-torch.expm1(log_probability))
