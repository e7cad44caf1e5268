"""The training loop: the only one.

Order of a start, whether new or resumed:
    1. the caller seeds torch and makes the classifier, so that the first weights are the seed's
    2. the classifier goes to the device; optimizer, schedule and scaler are made
    3. the folder is made and config.yaml written
    4. a resumed run loads weights, the states of all of these, and the number of steps done
    5. metric records after that step are taken back
    6. the loader is moved to the place in the epoch that the number of steps says
Each step seeds torch from (seed, step): what is drawn in it depends on nothing before.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn.utils import clip_grad_norm_

from hypernym.checkpoint import is_resumable, load_state, save_checkpoint
from hypernym.data.loader import derive_seed
from hypernym.errors import DivergenceError
from hypernym.files import make_folder
from hypernym.progress import show_progress
from hypernym.training.config import Precision, save_config
from hypernym.training.log import MetricLog
from hypernym.training.optimizer import make_optimizer, make_schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hypernym.checkpoint import Card
    from hypernym.data.loader import Batch, TrainLoader
    from hypernym.progress import Advance
    from hypernym.training.config import PretrainConfig
    from hypernym.training.task import Task


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
    """Mean over the last epoch; None where a resumed run had nothing left to do."""

    seconds: float
    """Of this process; not of earlier ones that it resumed."""


def fit(
    task: Task,
    loader: TrainLoader,
    run: Path,
    config: PretrainConfig,
    card: Card,
    measure: Callable[[], Measured],
    device: torch.device,
    *,
    resume: bool,
) -> FitReport:
    """Train a task for all epochs, with a measurement and a checkpoint after each.

    Raises:
        DivergenceError: loss or gradient is not finite; earlier checkpoints are good.
    """
    began = time.monotonic()
    num_steps = config.epochs * loader.steps_per_epoch
    trainer = Trainer(task, config, device, num_steps)
    make_folder(run)
    save_config(run / "config.yaml", config)
    last, best = run / "checkpoints" / "last", run / "checkpoints" / "best"
    if resume and is_resumable(last):
        trainer.load_state_dict(load_state(last, task.classifier, card))

    train_loss = None
    with (
        MetricLog(run, trainer.steps_done) as log,
        show_progress("training", num_steps, "steps", done=trainer.steps_done) as advance,
    ):
        while trainer.steps_done < num_steps:
            epoch, first_step = divmod(trainer.steps_done, loader.steps_per_epoch)
            train_loss = trainer.run_epoch(epoch, loader.batches(epoch, first_step), log, advance)
            measured = measure()
            log.write(trainer.steps_done, epoch=epoch, **measured.figures)
            progress = {"epoch": epoch + 1, "step": trainer.steps_done, "figures": measured.figures}
            if measured.score > trainer.best_score:
                trainer.best_score, trainer.best_epoch = measured.score, epoch + 1
                save_checkpoint(best, task.classifier, card, progress)
            save_checkpoint(last, task.classifier, card, progress, trainer.state_dict())
    return FitReport(
        config.epochs,
        trainer.steps_done,
        trainer.best_epoch,
        trainer.best_score,
        train_loss,
        time.monotonic() - began,
    )


class Stateful(Protocol):
    """What a resumed run restores."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Restore them."""


class Trainer:
    """Steps, and all of their state beside the weights."""

    def __init__(self, task: Task, config: PretrainConfig, device: torch.device, num_steps: int) -> None:
        self._task = task
        self._config = config
        self._device = device
        self._precision = resolve_precision(config.precision, device)
        task.classifier.to(device).to(memory_format=torch.channels_last)
        self._optimizer = make_optimizer(task.classifier, config.optim)
        self._schedule = make_schedule(self._optimizer, config.optim, num_steps)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._precision == torch.float16)
        self.steps_done = 0
        self.best_epoch = 0
        self.best_score = -math.inf

    def run_epoch(self, epoch: int, batches: Iterator[Batch], log: MetricLog, advance: Advance) -> float:
        """Take a step for each batch and return the mean loss."""
        self._task.classifier.train()
        losses: list[float] = []
        recorded, since = 0, time.monotonic()
        for batch in batches:
            losses.append(self.take_step(batch))
            advance(note=f"loss {losses[-1]:.3f}")
            if self.steps_done % self._config.log_every == 0:
                recent, now = losses[recorded:], time.monotonic()
                figures = {
                    "train/loss": sum(recent) / len(recent),
                    "lr": float(self._schedule.get_last_lr()[0]),
                    "images_per_second": len(recent) * len(batch.labels) / (now - since),
                }
                log.write(self.steps_done, epoch=epoch, **figures)
                recorded, since = len(losses), now
        return sum(losses) / len(losses)

    def take_step(self, batch: Batch) -> float:
        """Forward, backward, update; return the loss."""
        torch.manual_seed(derive_seed(self._config.seed, self.steps_done))
        images = batch.images.to(self._device, non_blocking=True)
        labels = batch.labels.to(self._device, non_blocking=True)
        with _autocast(self._device, self._precision):
            losses = self._task.losses(images, labels)
        loss = losses["loss"].item()
        self._check_finite("loss", loss)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self._scaler.scale(losses["loss"]))
        self._scaler.unscale_(self._optimizer)
        norm = clip_grad_norm_(self._task.classifier.parameters(), self._config.optim.clip_norm)
        if not self._scaler.is_enabled():  # a scaler skips such a step and lowers its scale
            self._check_finite("gradient", norm.item())
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        self.steps_done += 1
        return loss

    def _check_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise DivergenceError(
                f"the {what} became {value} at step {self.steps_done}: begin a new run with a lower "
                f"--optim.lr (now {self._config.optim.lr:g}) or --precision float32. Checkpoints of "
                f"whole epochs before it are good."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, beside the weights."""
        position = {
            "steps_done": self.steps_done,
            "best_epoch": self.best_epoch,
            "best_score": self.best_score,
        }
        return {
            "position": position,
            **{name: part.state_dict() for name, part in self._stateful().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])
        for name, value in state["position"].items():
            setattr(self, name, value)

    def _stateful(self) -> dict[str, Stateful]:
        return {
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "scaler": self._scaler,
        }


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the number format of the forward pass."""
    match precision:
        case Precision.FLOAT32:
            return torch.float32
        case Precision.BF16:
            return torch.bfloat16
        case Precision.FP16:
            return torch.float16
        case Precision.AUTO if device.type != "cuda":
            return torch.float32
        case Precision.AUTO:
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)
