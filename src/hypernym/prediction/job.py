"""Many pictures, from their sources to answers: in memory, or to files in parts that can be resumed.

Shapes: B pictures of a batch, of which R could be read; D features.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.rule import Rule
from hypernym.prediction.answers import Prediction
from hypernym.prediction.batches import cut, load_batches
from hypernym.prediction.parts import PART, Parts
from hypernym.prediction.summary import Summary, Tally
from hypernym.prediction.tables import make_schema, make_table, write_answers, write_features

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from hypernym.prediction.batches import PictureBatch
    from hypernym.prediction.gathering import Gathered
    from hypernym.prediction.pictures import Picture
    from hypernym.prediction.places import Drawings
    from hypernym.prediction.predictor import Predictor
    from hypernym.progress import Advance


@dataclass(frozen=True)
class Wanted:
    """What is asked of each picture."""

    rule: Rule
    threshold: float
    answers: bool
    """Whether it is to be named."""

    features: bool
    """Whether its features are wanted."""


@dataclass(frozen=True)
class Loading:
    """How pictures are loaded."""

    batch_size: int
    workers: int


class Job:
    """A model at work on many pictures."""

    def __init__(
        self,
        model: Predictor,
        wanted: Wanted,
        loading: Loading,
        drawings: Drawings | None,
        advance: Advance,
    ) -> None:
        self._model, self._wanted, self._loading = model, wanted, loading
        self._drawings, self._advance = drawings, advance
        depths = make_levels(model.tree).depth_C.tolist()
        depth_of = dict(zip(model.tree.ids, depths, strict=True))
        self._tally = Tally(depth_of if wanted.answers else None)
        self._places: deque[Path] = deque()
        """Of drawings, in the order of the pictures that are on their way."""

    def answer(self, pictures: Iterable[Picture]) -> tuple[tuple[Prediction, ...], Summary]:
        """Name all pictures, in memory."""
        predictions: list[Prediction] = []
        for _, answered, _ in self._work(self._announce(cut(pictures, self._loading.batch_size))):
            predictions += answered
            for prediction in answered:
                label = prediction.label
                self._tally.add(label.class_id if label else None, prediction.error)
        return tuple(predictions), self._tally.summarise()

    def write(
        self, pictures: Gathered, parts: Parts, *, out: Path | None, embed: Path | None
    ) -> Summary:
        """Answer all pictures by the part, then make the parts into files.

        Args:
            pictures: All of them, also those that an earlier run has answered.
            parts: Where the work lies until it is whole.
            out: The file of answers, if they are wanted.
            embed: The file of features, if they are wanted.

        Raises:
            UsageError: parts of an earlier run are of other pictures.
        """
        schema = make_schema(
            answers=self._wanted.answers,
            truth=pictures.has_truth,
            num_features=self._model.num_features if self._wanted.features else 0,
        )
        missing: deque[tuple[int, int]] = deque()
        waiting: list[pa.Table] = []
        for batch, predictions, features_BD in self._work(self._find_missing(pictures, parts, missing)):
            waiting.append(make_table(schema, batch.pictures, predictions, features_BD))
            number, size = missing[0]
            if sum(map(len, waiting)) == size:
                parts.write(number, pa.concat_tables(waiting).combine_chunks())
                missing.popleft()
                waiting = []
        num_rows = 0
        names = ["label_id", "error"] if self._wanted.answers else ["error"]
        for table in parts.read():
            num_rows += len(table)
            for row in table.select(names).to_pylist():
                self._tally.add(row.get("label_id"), row["error"])
        if out:
            write_answers(out, schema, parts.read())
        if embed:
            write_features(embed, schema, parts.read(), num_rows)
        parts.remove()
        return self._tally.summarise()

    def _find_missing(
        self, pictures: Iterable[Picture], parts: Parts, missing: deque[tuple[int, int]]
    ) -> Iterator[tuple[Picture, ...]]:
        """Give the batches of parts that are not there, and note number and size of these parts.

        No batch lies in two parts: so each is composed as in a run that was never stopped.
        """
        number = -1
        for number, part in enumerate(cut(pictures, PART)):
            if parts.find(number, [picture.name for picture in part]):
                if self._drawings:
                    for picture in part:
                        self._drawings.place(picture.name)
                continue
            missing.append((number, len(part)))
            yield from self._announce(cut(part, self._loading.batch_size))
        parts.check_end(number + 1)

    def _announce(self, batches: Iterator[tuple[Picture, ...]]) -> Iterator[tuple[Picture, ...]]:
        """Give each drawing its place, in the order of the pictures."""
        for batch in batches:
            if self._drawings:
                self._places += [self._drawings.place(picture.name) for picture in batch]
            yield batch

    def _work(
        self, requests: Iterator[tuple[Picture, ...]]
    ) -> Iterator[tuple[PictureBatch, list[Prediction], NDArray[np.float32] | None]]:
        """Give batches with what was found of each of their B pictures; features are (B, D)."""
        wanted = self._wanted
        batches = load_batches(
            requests,
            self._model.card.preprocessing,
            workers=self._loading.workers,
            pin=self._model.device.type == "cuda",
        )
        for batch in batches:
            outputs = self._model.run(batch.images, features=wanted.features)
            if wanted.answers:
                named = self._model.answer(
                    batch, outputs.logits, rule=wanted.rule, threshold=wanted.threshold
                )
            else:
                named = (
                    Prediction(picture.name, (), (), error)
                    for picture, error in zip(batch.pictures, batch.errors, strict=True)
                )
            predictions = list(named)
            features_BD = None
            if outputs.features is not None:
                features_RD = outputs.features.float().cpu().numpy()
                features_BD = np.full((len(batch.errors), features_RD.shape[1]), np.nan, np.float32)
                features_BD[[not error for error in batch.errors]] = features_RD
            if self._drawings:
                self._draw(batch.pictures, predictions)
            self._tally.count_done(len(batch.pictures))
            self._advance(len(batch.pictures))
            yield batch, predictions, features_BD

    def _draw(self, pictures: Iterable[Picture], predictions: Iterable[Prediction]) -> None:
        from hypernym.prediction.drawing import draw_prediction  # loads matplotlib

        nested = self._wanted.rule != Rule.OFFICIAL
        for picture, prediction in zip(pictures, predictions, strict=True):
            draw_prediction(self._places.popleft(), picture, prediction, nested=nested)
