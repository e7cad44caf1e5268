"""The training loop: the only one.

Order of a start, whether new or resumed:
    1. the caller seeds torch and makes the classifier, so that the first weights are the seed's
    2. the task goes to the device
    3. optimizer, schedule and scaler are made
    4. a resumed run loads all of their states and the position (epoch, step)
    5. metric records after the position are taken back
    6. the loader is moved to the position
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

from hypernym.checkpoint import STATE, load_state, save_checkpoint
from hypernym.data.loader import derive_seed
from hypernym.errors import DivergenceError
from hypernym.progress import show_progress
from hypernym.training.config import Precision
from hypernym.training.log import MetricLog
from hypernym.training.optimizer import make_optimizer, make_schedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from hypernym.checkpoint import Card
    from hypernym.data.loader import Batch, TrainLoader
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
    train_loss: float
    """Mean over the last epoch; NaN where a resumed run had nothing left to do."""

    seconds: float
    """Of this process; not of earlier ones that it resumed."""


class Stateful(Protocol):
    """What a resumed run restores."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""


@dataclass
class _Position:
    """Where training stands: `step` steps of all are done."""

    step: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf


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
        DivergenceError: the loss is not finite; the weights before it are in checkpoints/last.
    """
    began = time.monotonic()
    classifier = task.classifier.to(device).to(memory_format=torch.channels_last)
    num_steps = config.epochs * loader.steps_per_epoch
    precision = resolve_precision(config.precision, device)
    optimizer = make_optimizer(classifier, config.optim)
    schedule = make_schedule(optimizer, config.optim, num_steps)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    stateful: dict[str, Stateful] = {"optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    last, best = run / "checkpoints" / "last", run / "checkpoints" / "best"
    position = _Position()
    if resume and (last / STATE).exists():
        state = load_state(last, classifier)
        for name, thing in stateful.items():
            thing.load_state_dict(state[name])
        position = _Position(**state["position"])

    mean_loss = math.nan
    with (
        MetricLog(run, position.step) as log,
        show_progress("training", num_steps, "steps", done=position.step) as advance,
    ):
        while position.step < num_steps:
            epoch, first_step = divmod(position.step, loader.steps_per_epoch)
            window = _Window(config.batch_size)
            classifier.train()
            for batch in loader.batches(epoch, first_step):
                torch.manual_seed(derive_seed(config.seed, position.step))
                loss = _take_step(
                    task, batch, optimizer, scaler, config, device, precision, position.step
                )
                schedule.step()
                position.step += 1
                window.add(loss)
                advance(note=f"loss {loss:.3f}")
                if position.step % config.log_every == 0:
                    lr = float(schedule.get_last_lr()[0])
                    log.write(position.step, epoch=epoch, lr=lr, **window.take())
            mean_loss = window.mean
            measured = measure()
            log.write(position.step, epoch=epoch, **measured.figures)
            progress = {"epoch": epoch + 1, "step": position.step, "figures": measured.figures}
            if measured.score > position.best_score:
                position.best_score, position.best_epoch = measured.score, epoch + 1
                save_checkpoint(best, classifier, card, progress)
            state = {
                "position": vars(position),
                **{name: thing.state_dict() for name, thing in stateful.items()},
            }
            save_checkpoint(last, classifier, card, progress, state)
    return FitReport(
        config.epochs,
        position.step,
        position.best_epoch,
        position.best_score,
        mean_loss,
        time.monotonic() - began,
    )


def _take_step(
    task: Task,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    config: PretrainConfig,
    device: torch.device,
    precision: torch.dtype,
    step: int,
) -> float:
    """Forward, backward, update; return the loss."""
    images = batch.images.to(device, non_blocking=True)
    labels = batch.labels.to(device, non_blocking=True)
    with _autocast(device, precision):
        losses = task.losses(images, labels)
    loss = losses["loss"].item()
    if not math.isfinite(loss):
        raise DivergenceError(
            f"the loss became {loss} at step {step}: lower --optim.lr (now {config.optim.lr:g}), or "
            f"set --precision float32. The weights of the last whole epoch are in checkpoints/last."
        )
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(scaler.scale(losses["loss"]))
    scaler.unscale_(optimizer)
    clip_grad_norm_(task.classifier.parameters(), config.optim.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return loss


class _Window:
    """The losses since the last record, and of the epoch."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._began = time.monotonic()
        self._recent: list[float] = []
        self._sum, self._count = 0.0, 0

    def add(self, loss: float) -> None:
        self._recent.append(loss)
        self._sum += loss
        self._count += 1

    def take(self) -> dict[str, float]:
        """Return the figures since the last call and begin anew."""
        now = time.monotonic()
        images = len(self._recent) * self._batch_size
        figures = {
            "train/loss": sum(self._recent) / len(self._recent),
            "images_per_second": images / (now - self._began),
        }
        self._began, self._recent = now, []
        return figures

    @property
    def mean(self) -> float:
        """The mean loss of the epoch, or of what was left of it; NaN of nothing."""
        return self._sum / self._count if self._count else math.nan


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
