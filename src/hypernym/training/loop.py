"""The training loop: the only one.

Order of a start, whether new or resumed:
    1. the caller seeds torch and makes the classifier, so that the first weights are the seed's
    2. the classifier goes to the device; running mean, optimizer, schedule and scaler are made
    3. the folder is made and config.yaml written: a mistake until then leaves nothing behind
    4. a resumed run loads weights, the states of all of these, and the number of steps done
    5. metric records after that step are taken back
    6. a run that was saved at the end of an epoch and stopped in its measurement is measured
    7. the loader is moved to the place in the epoch that the number of steps says
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from hypernym.checkpoint import load_state, save_checkpoint
from hypernym.distributed import gather, wait_for_all
from hypernym.errors import DivergenceError
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
        self._is_measured = True
        """Whether the epoch that ended last has been measured."""

        self._saved_step = 0
        self._began = time.monotonic()

    def resume(self) -> None:
        """Go back to the last checkpoint."""
        last = self._run / "checkpoints" / "last"
        state = load_state(last, self._trainer.measured, self._course.card)
        self._trainer.load_state_dict(state["trainer"])
        self._book.load_state_dict(state["book"])
        self._best_epoch, self._best_score = state["best"]
        self._figures = state.get("figures", {})
        self._is_measured = state.get("is_measured", True)
        self._saved_step = self._trainer.steps_done

    def run_to_the_end(self, asked: StopRequest) -> None:
        """Take all steps that are left."""
        trainer, world = self._trainer, self._world
        with (
            MetricLog(
                self._run,
                trainer.steps_done,
                self._config,
                is_measured=self._is_measured,
                writes=world.is_first,
            ) as log,
            show_progress("training", self._num_steps, "steps", done=trainer.steps_done) as advance,
        ):
            if not self._is_measured:
                self._measure(log, asked)
            for parts in self._batches():
                late = self._calendar.is_late() and world.is_first
                records = trainer.take_step(parts, stop=asked.signal is not None, late=late)
                ends_epoch = trainer.steps_done % self._steps_per_epoch == 0
                if ends_epoch or self._is_due(records):
                    records += trainer.catch_up()  # nothing is saved that may have diverged
                self._book.note(records, log)
                self._is_measured = not (ends_epoch and self._has_to_measure())
                if self._is_due(records):  # also by what was told just now
                    self._save_last()
                if any(record.values[STOP] for record in records):
                    self._leave(asked)
                if not self._is_measured:
                    self._measure(log, asked)
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

    def _has_to_measure(self) -> bool:
        """Tell whether the end of this epoch is one to measure at, or to name the best model."""
        return self._course.measure is not None or self._trainer.steps_done == self._num_steps

    def _measure(self, log: MetricLog, asked: StopRequest) -> None:
        """Measure at the end of an epoch, and save the model if it is the best so far.

        All that was learned is saved before, where a checkpoint is due: a measurement can take longer
        than a scheduler waits.
        """
        trainer = self._trainer
        is_best = True  # of a run that nothing is held out of, its last
        if self._course.measure is not None:
            trainer.prepare_to_measure()
            with self._leaving_when(asked):
                measured = self._course.measure(trainer.measured)
            self._figures = measured.figures
            epoch = trainer.steps_done // self._steps_per_epoch
            log.write(trainer.steps_done, epoch=epoch - 1, **measured.figures)
            if is_best := measured.score > self._best_score:
                self._best_score, self._best_epoch = measured.score, epoch
        if is_best and self._world.is_first:
            self._save("best", self._config.save.keep_best)
        if self._world.is_first:
            self._curves.draw_now_and_then()
        self._book.start_again()  # time spent here is no time of training
        self._is_measured = True
        stops = any(gather(self._world, asked.signal is not None))
        if stops or self._saved_step == trainer.steps_done:
            self._save_last()
        if stops:
            self._leave(asked)

    @contextmanager
    def _leaving_when(self, asked: StopRequest) -> Iterator[None]:
        """Leave before the next batch of a measurement when a signal asks to.

        Of several processes none may leave alone, and they have no batches in common: they leave after
        the measurement.
        """

        def look(*_: object) -> None:
            if asked.signal is not None:
                if self._saved_step != self._trainer.steps_done:
                    self._save_last()
                self._leave(asked)

        if self._world.size > 1:
            yield
            return
        hook = self._trainer.measured.register_forward_pre_hook(look)
        try:
            yield
        finally:
            hook.remove()

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
                "figures": self._figures,
                "is_measured": self._is_measured,
            }
            self._save("last", self._config.save.keep_last, state)
        self._saved_step = self._trainer.steps_done
        self._calendar.note_saved()

    def _leave(self, asked: StopRequest) -> NoReturn:
        """End as the signal says; everything is saved."""
        wait_for_all(self._world)  # torchrun kills the others when one ends: let the first save
        asked.leave(self._run, f"saved after {self._trainer.steps_done} steps: add --resume to go on")

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
