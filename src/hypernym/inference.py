"""A trained model applied: to batches (what was counted), to pictures (a path for each)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hypernym.data.images import decode_image
from hypernym.data.rejections import Reason, RejectionError
from hypernym.data.transforms import make_eval_transform, to_tensor
from hypernym.decoding import PathDecoder
from hypernym.errors import UsageError
from hypernym.hierarchy.levels import make_levels
from hypernym.metrics import Accuracy, AccuracyCounter
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from hypernym.checkpoint import TrainedModel
    from hypernym.data.loader import Batch
    from hypernym.decoding import Paths
    from hypernym.hierarchy.levels import Levels
    from hypernym.models import Classifier


@dataclass(frozen=True)
class Step:
    """One class on a path."""

    class_id: str
    name: str
    probability: float
    """That the picture shows something of this kind; 0..1."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture."""

    image: Path
    path: tuple[Step, ...]
    """From the root down, as far as the probability reaches the threshold; it may be empty."""

    beyond: tuple[Step, ...]
    """How the path would go on, to the most probable leaf."""

    error: str = ""
    """Why the picture could not be read; then both paths are empty."""

    def __str__(self) -> str:
        """Return one line: the path, and the first step that fell short."""
        if self.error:
            return f"{self.image}: {self.error}"
        steps = [f"{step.name} {step.probability:.2f}" for step in self.path] or ["unsure"]
        doubt = [f"  (perhaps {step.name} {step.probability:.2f})" for step in self.beyond[:1]]
        return f"{self.image}: {' > '.join(steps)}{''.join(doubt)}"


@torch.inference_mode()
def measure(
    classifier: Classifier,
    batches: Iterable[Batch],
    levels: Levels,
    device: torch.device,
    total: int,
) -> Accuracy:
    """Measure a model, in evaluation mode and float32, on `total` images."""
    was_training = classifier.training
    classifier.eval()
    counter = AccuracyCounter(levels, device)
    with show_progress("evaluating", total, "images") as advance:
        for batch in batches:
            logits_BC = classifier(batch.images.to(device, non_blocking=True))
            counter.update(logits_BC, batch.labels.to(device, non_blocking=True))
            advance(len(batch.labels))
    classifier.train(was_training)
    return counter.compute()


@torch.inference_mode()
def predict_images(
    model: TrainedModel,
    images: Sequence[Path],
    *,
    threshold: float,
    batch_size: int,
    device: torch.device,
) -> Iterator[Prediction]:
    """Give a prediction for each picture, in order; one that cannot be read says why."""
    transform = make_eval_transform(model.card.preprocessing)
    decoder = PathDecoder(make_levels(model.card.tree), model.card.scheme, device)
    classifier = model.classifier.to(device).eval()
    for start in range(0, len(images), batch_size):
        chunk = images[start : start + batch_size]
        pictures: dict[Path, torch.Tensor] = {}
        errors: dict[Path, str] = {}
        for image in chunk:
            try:
                pictures[image] = transform(to_tensor(decode_image(_read(image))))
            except RejectionError as rejection:
                errors[image] = rejection.rejected.sentence
        found = {}
        if pictures:
            logits_BC = classifier(torch.stack(list(pictures.values())).to(device))
            paths = decoder.decode(logits_BC, threshold)
            found = dict(zip(pictures, _steps(paths, model), strict=True))
        for image in chunk:
            if image in errors:
                yield Prediction(image, (), (), errors[image])
            else:
                steps, length = found[image]
                yield Prediction(image, steps[:length], steps[length:])


def _steps(paths: Paths, model: TrainedModel) -> Iterator[tuple[tuple[Step, ...], int]]:
    ids, names = model.card.class_ids, model.card.class_names
    for labels, probabilities, length in zip(*(field.tolist() for field in paths), strict=True):
        steps = (
            Step(ids[label], names[label], probability)
            for label, probability in zip(labels, probabilities, strict=True)
            if label >= 0
        )
        yield tuple(steps), length


def _read(image: Path) -> bytes:
    try:
        return image.read_bytes()
    except OSError as cause:
        raise RejectionError(Reason.UNREADABLE, str(cause.strerror)) from cause


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is the first GPU, else the CPU.

    Raises:
        UsageError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as cause:
        raise UsageError(
            f"--device {name} cannot be used here ({str(cause).splitlines()[0]})."
        ) from cause
    return device
