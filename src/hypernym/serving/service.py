"""All that a server has: its models, its bounds, and how a request goes through them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from hypernym.errors import UsageError, nearest
from hypernym.hierarchy.rule import Rule
from hypernym.prediction.predictor import check_rule
from hypernym.serving.allowance import Allowance
from hypernym.serving.refusals import RefusalError
from hypernym.serving.schema import Health, PictureAnswer, PredictAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from hypernym.serving.examples import Example
    from hypernym.serving.models import ServedModel
    from hypernym.serving.schema import Defaults, Limits, ModelAnswer, ModelDetails, PredictOptions
    from hypernym.serving.uploads import Upload, UploadedPicture

BODIES_IN_MEMORY = 8
"""Requests of the largest size whose bodies are held at once; of smaller ones accordingly more."""


@dataclass(frozen=True)
class Asked:
    """How pictures are to be named."""

    models: tuple[ServedModel, ...]
    rule: Rule
    threshold: float
    probabilities: bool


class Service:
    """The models of a server; all but the models and the decoding runs on one event loop."""

    def __init__(
        self,
        models: Sequence[tuple[ServedModel, ModelDetails]],
        examples: Sequence[Example],
        *,
        defaults: Defaults,
        limits: Limits,
        threads: int,
    ) -> None:
        self.details = [details for _, details in models]
        self.examples = tuple(examples)
        self.defaults, self.limits = defaults, limits
        self.places = Allowance(
            limits.max_pictures, "too many pictures are waiting already: try again in a moment."
        )
        self.memory = Allowance(
            BODIES_IN_MEMORY * limits.max_bytes, "too much is being sent at once: try again in a moment."
        )
        self.num_pictures = 0
        self._models = {model.name: model for model, _ in models}
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decoder")

    def close(self) -> None:
        """End the threads."""
        self._decoders.shutdown(cancel_futures=True)
        for model in self._models.values():
            model.batcher.close()

    def health(self) -> Health:
        """Tell how much is waiting."""
        return Health(status="ok", waiting=self.places.taken, limit=self.places.limit)

    def find_model(self, name: str | None) -> ServedModel:
        """Return the model of a name; the first if none is given.

        Raises:
            RefusalError: there is none of that name.
        """
        if name is None:
            return next(iter(self._models.values()))
        if name not in self._models:
            word = name[:60]
            raise RefusalError(
                HTTPStatus.NOT_FOUND, f"there is no model {word!r}{nearest(word, self._models)}."
            )
        return self._models[name]

    async def predict(
        self, upload: Upload, leave: Callable[[], Coroutine[None, None, None]]
    ) -> PredictAnswer:
        """Name the pictures of a request.

        Args:
            upload: The pictures.
            leave: Returns when the client has left; what was not begun by then is given up.

        Raises:
            RefusalError: it cannot be meant, too much waits already, no picture can be read, or nobody
                waits for the answer.
        """
        asked = self._understand(upload.options)
        needed = len(upload.pictures) * len(asked.models)
        if needed > self.places.limit:
            raise RefusalError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"{len(upload.pictures)} pictures for {len(asked.models)} models are more than the "
                f"{self.places.limit} that may wait: send fewer at a time.",
            )
        with self.places.share() as share:
            share.take(needed)
            tasks = [asyncio.ensure_future(self._name(picture, asked)) for picture in upload.pictures]
            named, left = asyncio.gather(*tasks), asyncio.ensure_future(leave())
            try:
                await asyncio.wait((named, left), return_when=asyncio.FIRST_COMPLETED)
                if not named.done():
                    raise RefusalError(HTTPStatus.BAD_REQUEST, "the client has left.")
                answers = await named
            finally:
                for task in (*tasks, left):
                    task.cancel()
        self.num_pictures += len(answers)
        if all(answer.error for answer in answers):
            first = answers[0]
            raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{first.name}: {first.error}.")
        return PredictAnswer(images=answers)

    def _understand(self, options: PredictOptions) -> Asked:
        names: list[str] | list[None] = options.model or [None]
        models = tuple(self.find_model(name) for name in dict.fromkeys(names))
        rule = options.rule or self.defaults.rule
        threshold = options.threshold
        if threshold is None and rule is not Rule.LEAF:
            threshold = self.defaults.threshold
        try:
            return Asked(models, *check_rule(rule, threshold), options.probabilities)
        except UsageError as cause:
            raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, str(cause)) from cause

    async def _name(self, picture: UploadedPicture, asked: Asked) -> PictureAnswer:
        answers: list[ModelAnswer] = []
        said = (
            model.ask(
                picture,
                self._decoders,
                rule=asked.rule,
                threshold=asked.threshold,
                probabilities=asked.probabilities,
            )
            for model in asked.models
        )
        for answer in await asyncio.gather(*said):
            if isinstance(answer, str):
                return PictureAnswer(name=picture.name, error=answer, answers=[])
            answers.append(answer)
        return PictureAnswer(name=picture.name, error=None, answers=answers)
