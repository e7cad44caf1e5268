"""`hypernym.load`: a trained model that is asked about pictures.

Shapes: B images, C classes, L depths, D features, S pixels of a side.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from hypernym.checkpoint import find_checkpoint, load_checkpoint
from hypernym.decoding import Decoder
from hypernym.engine import count_loaders
from hypernym.errors import SourceError, UsageError
from hypernym.hierarchy.levels import NONE, make_levels
from hypernym.hierarchy.rule import Rule
from hypernym.inference import THRESHOLD, choose_device
from hypernym.prediction.answers import Prediction, Predictions, Step
from hypernym.prediction.batches import load_pictures
from hypernym.prediction.pictures import take_pictures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from numpy.typing import NDArray

    from hypernym.checkpoint import Card, TrainedModel
    from hypernym.hierarchy.tree import Tree
    from hypernym.prediction.batches import PictureBatch
    from hypernym.prediction.pictures import Picture


IN_CACHE = 16
"""Images that a CPU looks at at once, whatever the batch: of more, what a layer gives is memory that the
system hands out anew each time, a page at a time, which can take longer than the layer."""


class Outputs(NamedTuple):
    """What a model makes of R images."""

    logits: torch.Tensor
    """(R, C), on the model's device."""

    features: torch.Tensor | None
    """(R, D), or None if they were not asked for."""


class Predictor:
    """A trained model with its tree: pictures in, paths or features out."""

    def __init__(self, model: TrainedModel, device: torch.device) -> None:
        self.card: Card = model.card
        self.device = device
        self.classifier = model.classifier.to(device).eval()
        if device.type == "cpu":
            self.classifier = self.classifier.to(memory_format=torch.channels_last)
        self._decoder = Decoder(make_levels(model.card.tree), model.card.scheme, device)

    @property
    def tree(self) -> Tree:
        """The label tree; the outputs of the model stand for its ids."""
        return self.card.tree

    def __repr__(self) -> str:
        size = self.card.preprocessing.size
        return (
            f"Predictor({len(self.tree.ids):,} classes, {size} x {size} pixels, "
            f"{self.card.scheme}, on {self.device})"
        )

    def predict(
        self,
        images: Any,  # noqa: ANN401 - whatever `take_pictures` takes
        *,
        rule: Rule | str = Rule.PATH,
        threshold: float | None = None,
        batch_size: int = 64,
    ) -> Predictions:
        """Name pictures by paths of the tree.

        Args:
            images: A path, bytes, a PIL image, an array or tensor of uint8 pixels, or several of them.
            rule: See `hierarchy.rule.Rule`.
            threshold: The least probability of a label, 0..1; 0.5 if not given.
            batch_size: Images at a time.

        Raises:
            SourceError: something is no picture at all. A picture that cannot be read is an answer
                with an error.
            UsageError: the rule does not exist, or stops at no threshold, or the threshold is none; or
                `batch_size` is below 1.
        """
        rule, threshold = check_rule(rule, threshold)
        pictures = take_pictures(images)
        predictions: list[Prediction] = []
        for batch in self.load(pictures, batch_size=batch_size):
            logits = self.run(batch.images).logits
            predictions += self.answer(batch, logits, rule=rule, threshold=threshold)
        return Predictions(predictions, pictures)

    def embed(self, images: Any, *, batch_size: int = 64) -> NDArray[np.float32]:  # noqa: ANN401
        """Return the features of pictures, float32 (N, D): what the last layer is given.

        Args:
            images: As in `predict`.
            batch_size: Images at a time.

        Raises:
            SourceError: a picture cannot be read.
            UsageError: `batch_size` is below 1.
        """
        found = []
        for batch in self.load(take_pictures(images), batch_size=batch_size):
            for picture, error in zip(batch.pictures, batch.errors, strict=True):
                if error:
                    raise SourceError(f"{picture.name} has no features: {error}.")
            features = self.run(batch.images, features=True).features
            assert features is not None  # noqa: S101 - they were asked for
            found.append(features.float().cpu().numpy())
        return np.concatenate(found) if found else np.empty((0, self.num_features), np.float32)

    @cached_property
    def num_features(self) -> int:
        """How many numbers `embed` gives of an image."""
        size = self.card.preprocessing.size
        blank = torch.zeros(1, 3, size, size, dtype=torch.uint8)
        features = self.run(blank, features=True).features
        assert features is not None  # noqa: S101 - they were asked for
        return features.shape[1]

    def load(
        self, pictures: Iterable[Picture], *, batch_size: int, workers: int | None = None
    ) -> Iterator[PictureBatch]:
        """Give the views that the model has of pictures, in order; many are loaded by processes.

        Raises:
            UsageError: `batch_size` is below 1.
        """
        if batch_size < 1:
            raise UsageError(f"the batch size {batch_size} is no number of images: give 1 or more.")
        return load_pictures(
            pictures,
            self.card.preprocessing,
            batch_size=batch_size,
            workers=count_loaders(workers),
            pin=self.device.type == "cuda",
        )

    @torch.inference_mode()
    def run(self, images_RCSS: torch.Tensor, *, features: bool = False) -> Outputs:
        """Run the model on views, uint8 (R, 3, S, S); R may be 0."""
        if not len(images_RCSS):  # many architectures cannot be given none
            logits_0C = torch.empty((0, len(self.tree.ids)), device=self.device)
            size = (0, self.num_features if features else 0)
            return Outputs(logits_0C, logits_0C.new_empty(size) if features else None)
        images = images_RCSS.to(self.device, non_blocking=True)
        if self.device.type != "cpu":
            return self._run_at_once(images, features=features)
        pieces = torch.split(images.contiguous(memory_format=torch.channels_last), IN_CACHE)
        found = [self._run_at_once(piece, features=features) for piece in pieces]
        embedded = [outputs.features for outputs in found if outputs.features is not None]
        return Outputs(
            torch.cat([outputs.logits for outputs in found]),
            torch.cat(embedded) if embedded else None,
        )

    def _run_at_once(self, images_RCSS: torch.Tensor, *, features: bool) -> Outputs:
        if features:
            return Outputs(*self.classifier.classify_and_embed(images_RCSS))
        return Outputs(self.classifier(images_RCSS), None)

    @torch.inference_mode()
    def probabilities(self, logits_RC: torch.Tensor) -> torch.Tensor:
        """Return the probability (R, C) that an image shows something of each class's kind."""
        return self._decoder.log_probabilities(logits_RC).exp()

    @torch.inference_mode()
    def answer(
        self, batch: PictureBatch, logits_RC: torch.Tensor, *, rule: Rule, threshold: float
    ) -> Iterator[Prediction]:
        """Give the answer to each picture of a batch, from the logits of those that could be read."""
        found = self._find_steps(logits_RC, rule, threshold)
        for picture, error in zip(batch.pictures, batch.errors, strict=True):
            paths = ((), ()) if error else next(found)
            yield Prediction(picture.name, *paths, error)

    def _find_steps(
        self, logits_RC: torch.Tensor, rule: Rule, threshold: float
    ) -> Iterator[tuple[tuple[Step, ...], tuple[Step, ...]]]:
        """Give, for each image, the steps that are kept and those that are not."""
        if not len(logits_RC):
            return
        ids, names = self.card.class_ids, self.card.class_names
        decoded = self._decoder.decode(logits_RC, threshold, rule)
        for row in zip(*(field.tolist() for field in decoded), strict=True):
            steps = [
                (Step(ids[label], names[label], probability), kept)
                for label, probability, kept in zip(*row, strict=True)
                if label != NONE
            ]
            yield (
                tuple(step for step, kept in steps if kept),
                tuple(step for step, kept in steps if not kept),
            )


def check_rule(rule: Rule | str, threshold: float | None) -> tuple[Rule, float]:
    """Return a rule and the threshold that it works with.

    Raises:
        UsageError: there is no such rule, the threshold is none, or the rule has no use for one.
    """
    if rule not in list(Rule):
        raise UsageError(f"there is no rule {rule!r}: give one of {', '.join(Rule)}.")
    if rule == Rule.LEAF and threshold is not None:
        raise UsageError(
            f"the threshold {threshold} says where to stop, but rule leaf never stops: leave one out."
        )
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"the threshold {threshold} is no probability: give a number from 0 to 1.")
    return Rule(rule), THRESHOLD if threshold is None else threshold


def load(run: str | PathLike[str], *, device: str = "auto") -> Predictor:
    """Load a trained model, to be asked about pictures.

    Args:
        run: A run (its best checkpoint is used), a checkpoint folder, or a folder made by `export`.
        device: auto (a GPU if there is one), cpu, cuda ...

    Raises:
        RunError: there is no model.
        UsageError: there is no such device.
    """
    chosen = choose_device(device)
    return Predictor(load_checkpoint(find_checkpoint(Path(run))), chosen)
