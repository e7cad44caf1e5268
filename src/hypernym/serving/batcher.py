"""One thread that answers questions in batches: what came while it worked is its next batch."""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Question = TypeVar("Question")
Answer = TypeVar("Answer")

WAIT_SECONDS = 0.002
"""How long a batch that is not full waits for more."""


class Batcher(Generic[Question, Answer]):
    """Answers in the order of asking, at most `batch_size` at a time.

    The queue itself has no bound: whoever asks holds one of the server's places meanwhile.
    """

    def __init__(
        self, answer: Callable[[Sequence[Question]], Sequence[Answer]], batch_size: int, name: str
    ) -> None:
        """Start the thread.

        Args:
            answer: Gives an answer to each question of a batch, in order.
            batch_size: Questions at a time.
            name: Of the thread.
        """
        self._answer = answer
        self._batch_size = batch_size
        self._asked: queue.SimpleQueue[tuple[Question, Future[Answer]] | None] = queue.SimpleQueue()
        self.batches = 0
        self.questions = 0
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def ask(self, question: Question) -> Future[Answer]:
        """Ask; a future that is cancelled in time costs nothing."""
        future: Future[Answer] = Future()
        self._asked.put((question, future))
        return future

    def close(self) -> None:
        """Answer what was asked, then end the thread."""
        self._asked.put(None)
        self._thread.join()

    def _work(self) -> None:
        goes_on = True
        while goes_on:
            taken, goes_on = self._take()
            waiting = [
                (question, future) for question, future in taken if future.set_running_or_notify_cancel()
            ]
            if waiting:
                self._work_on(waiting)

    def _take(self) -> tuple[list[tuple[Question, Future[Answer]]], bool]:
        """Return the next questions, and whether there will be more."""
        taken: list[tuple[Question, Future[Answer]]] = []
        deadline = 0.0
        while len(taken) < self._batch_size:
            try:
                left = max(deadline - time.monotonic(), 0.0) if taken else None
                entry = self._asked.get(timeout=left)
            except queue.Empty:
                break
            if entry is None:
                return taken, False
            deadline = deadline or time.monotonic() + WAIT_SECONDS
            taken.append(entry)
        return taken, True

    def _work_on(self, waiting: list[tuple[Question, Future[Answer]]]) -> None:
        self.batches += 1
        self.questions += len(waiting)
        try:
            answers = self._answer([question for question, _ in waiting])
        except Exception as cause:  # noqa: BLE001 - the boundary of the thread: whoever asked raises it
            for _, future in waiting:
                future.set_exception(cause)
            return
        for (_, future), answer in zip(waiting, answers, strict=True):
            future.set_result(answer)
