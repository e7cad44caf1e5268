"""A model that is served: pictures in, answers out, in batches with those of other requests.

Shapes: C classes, S pixels of a side, N questions of a batch.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import numpy as np
import torch

from hypernym.prediction.batches import PictureBatch, Views
from hypernym.serving.batcher import Batcher
from hypernym.serving.directory import Directory
from hypernym.serving.refusals import RefusalError
from hypernym.serving.schema import ModelAnswer, ModelDetails, StepAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from hypernym.hierarchy.rule import Rule
    from hypernym.prediction.answers import Prediction, Step
    from hypernym.prediction.pictures import Picture
    from hypernym.prediction.predictor import Predictor

ANSWER_SECONDS = 60.0
"""In which a model must have answered."""

DECIMALS = 6
"""Of a probability in an answer."""


@dataclass(frozen=True)
class Question:
    """What a model is asked."""

    picture: Picture
    view: torch.Tensor
    """uint8 (3, S, S)."""

    rule: Rule
    threshold: float
    wants_probabilities: bool


@dataclass(frozen=True)
class Answer:
    """What it says."""

    prediction: Prediction
    probabilities: list[float] | None
    """Of all C classes, if they were asked for."""


class ServedModel:
    """A model with a name, its classes, and the thread that runs it."""

    def __init__(self, name: str, predictor: Predictor, batch_size: int) -> None:
        self.name = name
        self.directory = Directory(predictor.card)
        self._predictor = predictor
        self._views = Views(predictor.card.preprocessing)
        self.batcher: Batcher[Question, Answer] = Batcher(self._answer, batch_size, f"model {name}")

    def describe(self, architecture: str) -> ModelDetails:
        """Tell what the model is."""
        card = self._predictor.card
        return ModelDetails(
            name=self.name,
            architecture=architecture,
            scheme=card.scheme,
            size=card.preprocessing.size,
            classes=len(self.directory),
            depths=self.directory.num_depths,
            roots=self.directory.num_roots,
        )

    async def ask(
        self, picture: Picture, decoders: Executor, *, rule: Rule, threshold: float, probabilities: bool
    ) -> ModelAnswer | str:
        """Ask about a picture; a text says why it cannot be read.

        Raises:
            RefusalError: there was no answer in time.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                batch = await loop.run_in_executor(decoders, self._views.__getitem__, (picture,))
                if batch.errors[0]:
                    return batch.errors[0]
                question = Question(picture, batch.images[0], rule, threshold, probabilities)
                answer = await asyncio.wrap_future(self.batcher.ask(question))
        except TimeoutError as cause:
            raise RefusalError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the model {self.name} did not answer within {ANSWER_SECONDS:g} seconds: "
                f"try again later.",
            ) from cause
        return ModelAnswer(
            model=self.name,
            path=_to_steps(answer.prediction.path),
            beyond=_to_steps(answer.prediction.beyond),
            probabilities=answer.probabilities,
        )

    def _answer(self, questions: Sequence[Question]) -> list[Answer]:
        """Answer a batch: the model runs once, labels are found once for each way of asking."""
        logits_NC = self._predictor.run(torch.stack([question.view for question in questions])).logits
        probabilities = self._find_probabilities(questions, logits_NC)
        alike: defaultdict[tuple[Rule, float], list[int]] = defaultdict(list)
        for row, question in enumerate(questions):
            alike[question.rule, question.threshold].append(row)
        found: dict[int, Prediction] = {}
        for (rule, threshold), rows in alike.items():
            pictures = tuple(questions[row].picture for row in rows)
            batch = PictureBatch(pictures, torch.empty(0), ("",) * len(rows))
            predictions = self._predictor.answer(batch, logits_NC[rows], rule=rule, threshold=threshold)
            found |= zip(rows, predictions, strict=True)
        return [Answer(found[row], probabilities.get(row)) for row in range(len(questions))]

    def _find_probabilities(
        self, questions: Sequence[Question], logits_NC: torch.Tensor
    ) -> dict[int, list[float]]:
        rows = [row for row, question in enumerate(questions) if question.wants_probabilities]
        if not rows:
            return {}
        shares_NC = self._predictor.probabilities(logits_NC[rows]).double().cpu().numpy()
        rounded_NC = np.clip(shares_NC, 0, 1).round(DECIMALS)
        return dict(zip(rows, rounded_NC.tolist(), strict=True))


def _to_steps(steps: Sequence[Step]) -> list[StepAnswer]:
    return [
        StepAnswer(
            id=step.class_id, name=step.name, probability=min(round(step.probability, DECIMALS), 1.0)
        )
        for step in steps
    ]
