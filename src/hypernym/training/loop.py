"""The training loop: the only one.

Order of a start, whether new or resumed:
    1. the caller seeds torch and makes the classifier, so that the first weights are the seed's
    2. the classifier goes to the device; running mean, optimizer, schedule and scaler are made
    3. the folder is made and config.yaml written: a mistake until then leaves nothing behind
    4. a resumed run loads weights, the states of all of these, and the number of steps done
    5. metric records after that step are taken back
    6. the loader is moved to the place in the epoch that the number of steps says
"""

from __future__ import annotations

import math
import signal
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from hypernym.checkpoint import load_state, save_checkpoint
from hypernym.distributed import gather, wait_for_all
from hypernym.errors import DivergenceError, StoppedError
from hypernym.files import make_folder, write_json
from hypernym.progress import show_progress
from hypernym.training.book import Book
from hypernym.training.config import save_config
from hypernym.training.curves import Curves
from hypernym.training.log import MetricLog, check_trackers
from hypernym.training.saving import Calendar, save_kept
from hypernym.training.stopping import heed_signals
from hypernym.training.trainer import LATE, STOP, Trainer, told_what_to_try

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import torch

    from hypernym.checkpoint import Card
    from hypernym.data.loader import Batch, TrainLoader
    from hypernym.distributed import World
    from hypernym.models import Classifier
    from hypernym.training.config import TrainConfig
    from hypernym.training.stopping import StopRequest
    from hypernym.training.task import Task
    from hypernym.training.watch import StepRecord

DIVERGED_VERSION = 1


@dataclass(frozen=True)
class Measured:
    """What a measurement of the model during training gives."""

    score: float
    """The figure by which the best checkpoint is chosen; higher is better."""

    figures: dict[str, float]


@dataclass(frozen=True)
class FitReport:
    """How training ended."""

    epochs: int
    steps: int
    best_epoch: int
    best_score: float
    train_loss: float | None
    """Mean over the last epoch, or over as much of it as was done."""

    seconds: float
    """Of this process; not of earlier ones that it resumed."""


@dataclass(frozen=True)
class Course:
    """What is to be done: a task, its data, and who looks at the result."""

    task: Task
    loader: TrainLoader
    config: TrainConfig
    card: Card
    measure: Callable[[Classifier], Measured] | None
    """Measures a model on data that it is not trained on, in all processes together. None: nothing is
    held out, and the last model counts as the best."""

    name_images: Callable[[Sequence[int]], list[str]]
    """Tells the keys of rows of the training data."""


def fit(course: Course, run: Path, device: torch.device, world: World, *, resumes: bool) -> FitReport:
    """Train a task for all epochs, with a measurement after each, and checkpoints.

    Raises:
        DivergenceError: loss or gradient is not finite; earlier checkpoints are good, and the images of
            the batch stand in RUN/diverged.json.
        StoppedError: a signal asked to stop; the state was saved.
        KeyboardInterrupt: the same, by Ctrl-C.
        UsageError: the device has too little memory for the batch.
    """
    check_trackers(course.config.track)
    with told_what_to_try(course.config, world):
        fitting = _Fitting(course, run, device, world)
    if world.is_first:
        make_folder(run)
        save_config(run / "config.yaml", course.config)
    if resumes:
        fitting.resume()
    with heed_signals() as asked:
        try:
            with told_what_to_try(course.config, world):
                fitting.run_to_the_end(asked)
        except DivergenceError as mistake:
            fitting.tell_images(mistake)
            raise
    return fitting.report()


class _Fitting:
    """A run under way."""

    def __init__(self, course: Course, run: Path, device: torch.device, world: World) -> None:
        self._course, self._run, self._world = course, run, world
        self._config = course.config
        self._steps_per_epoch = course.loader.steps_per_epoch
        self._num_steps = self._config.epochs * self._steps_per_epoch
        self._trainer = Trainer(
            course.task,
            self._config,
            device,
            world,
            num_steps=self._num_steps,
            image_size=course.card.preprocessing.size,
        )
        self._book = Book(self._config.log_every, self._steps_per_epoch, self._config.batch_size)
        self._curves = Curves(run)
        self._calendar = Calendar(self._config.save, self._steps_per_epoch)
        self._best_epoch, self._best_score = 0, -math.inf
        self._figures: dict[str, float] = {}
        self._began = time.monotonic()

    def resume(self) -> None:
        """Go back to the last checkpoint."""
        last = self._run / "checkpoints" / "last"
        state = load_state(last, self._trainer.measured, self._course.card)
        self._trainer.load_state_dict(state["trainer"])
        self._book.load_state_dict(state["book"])
        self._best_epoch, self._best_score = state["best"]

    def run_to_the_end(self, asked: StopRequest) -> None:
        """Take all steps that are left."""
        trainer, world = self._trainer, self._world
        with (
            MetricLog(self._run, trainer.steps_done, self._config, writes=world.is_first) as log,
            show_progress("training", self._num_steps, "steps", done=trainer.steps_done) as advance,
        ):
            for parts in self._batches():
                late = self._calendar.is_late() and world.is_first
                records = trainer.take_step(parts, stop=asked.signal is not None, late=late)
                ends_epoch = trainer.steps_done % self._steps_per_epoch == 0
                if ends_epoch or self._is_due(records):
                    records += trainer.catch_up()  # nothing is saved that may have diverged
                self._book.note(records, log)
                if ends_epoch:
                    self._measure(log)
                if self._is_due(records):  # also by what was told just now
                    self._save_last()
                if any(record.values[STOP] for record in records):
                    self._leave(asked)
                advance(note=self._book.note_of_progress())

        if world.is_first:
            self._curves.draw()
        wait_for_all(world)  # whoever reads the checkpoints next finds them there

    def report(self) -> FitReport:
        """Return how it went."""
        return FitReport(
            self._config.epochs,
            self._trainer.steps_done,
            self._best_epoch,
            self._best_score,
            self._book.epoch_loss,
            time.monotonic() - self._began,
        )

    def tell_images(self, mistake: DivergenceError) -> None:
        """Write down which images were in the batch whose loss was not finite, of all processes."""
        rows = [row for rows in gather(self._world, mistake.rows) for row in rows]
        if self._world.is_first:
            write_json(
                self._run / "diverged.json",
                "diverged",
                DIVERGED_VERSION,
                step=mistake.step,
                message=str(mistake),
                images=self._course.name_images(rows),
            )
        wait_for_all(self._world)

    def _batches(self) -> Iterator[list[Batch]]:
        """Give this process's parts of every batch from the next step on."""
        while self._trainer.steps_done < self._num_steps:
            epoch, first_step = divmod(self._trainer.steps_done, self._steps_per_epoch)
            batches = self._book.time(self._course.loader.batches(epoch, first_step))
            while parts := list(islice(batches, self._config.accumulate)):
                yield parts

    def _measure(self, log: MetricLog) -> None:
        """Measure at the end of an epoch, and save the model if it is the best so far."""
        self._trainer.prepare_to_measure()
        epoch = self._trainer.steps_done // self._steps_per_epoch
        if self._course.measure is None:
            if epoch == self._config.epochs and self._world.is_first:
                self._save("best", self._config.save.keep_best)
            return
        measured = self._course.measure(self._trainer.measured)
        self._figures = measured.figures
        log.write(self._trainer.steps_done, epoch=epoch - 1, **measured.figures)
        if measured.score > self._best_score:
            self._best_score, self._best_epoch = measured.score, epoch
            if self._world.is_first:
                self._save("best", self._config.save.keep_best)
        if self._world.is_first:
            self._curves.draw_now_and_then()
        self._book.start_again()  # time spent here is no time of training

    def _is_due(self, records: Sequence[StepRecord]) -> bool:
        steps_done = self._trainer.steps_done
        asked = any(record.values[STOP] or record.values[LATE] for record in records)
        return asked or steps_done == self._num_steps or self._calendar.is_due(steps_done)

    def _save_last(self) -> None:
        """Save all that a resumed run needs."""
        if self._world.is_first:
            state = {
                "trainer": self._trainer.state_dict(),
                "book": self._book.state_dict(),
                "best": (self._best_epoch, self._best_score),
            }
            self._save("last", self._config.save.keep_last, state)
        self._calendar.note_saved()

    def _leave(self, asked: StopRequest) -> NoReturn:
        """End as the signal says; everything is saved."""
        wait_for_all(self._world)  # torchrun kills the others when one ends: let the first save
        if asked.signal == signal.SIGINT:
            raise KeyboardInterrupt
        name = asked.signal.name if asked.signal else "a signal to another process"
        raise StoppedError(
            f"{self._run} was stopped by {name}, and saved after {self._trainer.steps_done} steps: add "
            f"--resume to go on."
        )

    def _save(self, name: str, keep: int, state: dict[str, Any] | None = None) -> None:
        steps_done = self._trainer.steps_done
        progress = {
            "epoch": steps_done // self._steps_per_epoch,
            "step": steps_done,
            "figures": self._figures,
        }
        save_kept(
            self._run / "checkpoints" / name,
            steps_done,
            keep,
            lambda folder: save_checkpoint(
                folder, self._trainer.measured, self._course.card, progress, state
            ),
        )
