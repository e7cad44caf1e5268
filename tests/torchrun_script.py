# ruff: noqa: ANN401 - it stands in for functions of any arguments
"""What each process of test_distributed.py does: torchrun starts it with `SCENARIO FOLDER DATASET`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

from torch import Tensor, distributed

from hypernym.commands.evaluate import evaluate
from hypernym.commands.pretrain import pretrain
from hypernym.distributed import join_world, wait_for_all
from hypernym.training.config import PretrainConfig
from hypernym.training.stopping import StopRequest
from hypernym.training.trainer import Trainer

TINY = {"model": "test_resnet", "epochs": 2, "batch_size": 12, "workers": 0, "log_every": 1, "ema": 0.9}
KILLED_BEFORE = (2, 9, 15)
"""Steps; an epoch has eight, and a checkpoint is saved after every third."""


def train(dataset: Path, run: Path, *, resume: bool = False, **options: Any) -> None:
    config = PretrainConfig.model_validate(TINY | {"save": {"steps": 3}} | options)
    pretrain(dataset, run, recipe="small", options=config, resume=resume)


def train_and_kill(dataset: Path, run: Path, step: int) -> None:
    real = Trainer.take_step

    def take_step(self: Trainer, *parts: Any, **flags: Any) -> Any:
        if self.steps_done + 1 == step:
            raise KeyboardInterrupt
        return real(self, *parts, **flags)

    Trainer.take_step = take_step  # type: ignore[method-assign]
    try:
        train(dataset, run)
    except KeyboardInterrupt:
        pass
    finally:
        Trainer.take_step = real  # type: ignore[method-assign]


def run_everything(folder: Path, dataset: Path) -> None:
    """Train once through, once for each kill, and once with a model that batches do not mix in."""
    with join_world() as world:
        train(dataset, folder / "whole")
        evaluate(folder / "whole", dataset, workers=0, batch_size=5)
        for step in KILLED_BEFORE:
            train_and_kill(dataset, folder / f"killed-{step}", step)
            wait_for_all(world)
            train(dataset, folder / f"killed-{step}", resume=True)
        train(dataset, folder / "vit", model="test_vit", ema=0.0)
        train(dataset, folder / "parts", model="test_vit", ema=0.0, accumulate=2)


def stop_in_fifth_step(dataset: Path, run: Path, number: signal.Signals) -> None:
    """Train; in the fifth step torchrun is told to end, as by a scheduler, and passes the signal on."""
    real, note, noted = Trainer.take_step, StopRequest.note, Event()

    def take_step(self: Trainer, *parts: Any, **flags: Any) -> Any:
        if self.steps_done == 4:
            if distributed.get_rank() == 0:
                os.kill(os.getppid(), number)
            while not noted.is_set():
                time.sleep(0.01)
        return real(self, *parts, **flags)

    def note_and_tell(self: StopRequest, *arguments: Any) -> None:
        note(self, *arguments)
        noted.set()

    Trainer.take_step = take_step  # type: ignore[method-assign]
    StopRequest.note = note_and_tell  # type: ignore[method-assign, assignment]
    train(dataset, run)


def terminate(folder: Path, dataset: Path) -> None:
    stop_in_fifth_step(dataset, folder / "terminated", signal.SIGTERM)


def go_on_and_be_warned(folder: Path, dataset: Path) -> None:
    with join_world():
        train(dataset, folder / "terminated", resume=True)
        train(dataset, folder / "whole")
        stop_in_fifth_step(dataset, folder / "warned", signal.SIGUSR1)


def fail_alone(folder: Path, dataset: Path) -> None:
    """Let the second process fail in its third step."""
    real = Trainer.take_step

    def take_step(self: Trainer, *parts: Any, **flags: Any) -> Any:
        if self.steps_done == 2 and distributed.get_rank() == 1:
            raise OSError("the disk of process 1 is gone")
        return real(self, *parts, **flags)

    Trainer.take_step = take_step  # type: ignore[method-assign]
    train(dataset, folder / "failed", epochs=50)


def diverge_alone(folder: Path, dataset: Path) -> None:
    """Let the loss of the second process be infinite in its third step."""
    from hypernym.losses.semantic import SemanticSoftmaxLoss

    real, calls = SemanticSoftmaxLoss.forward, 0

    def forward(self: SemanticSoftmaxLoss, logits: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        loss = real(self, logits, targets)
        return loss + float("inf") if calls == 3 and distributed.get_rank() == 1 else loss

    SemanticSoftmaxLoss.forward = forward  # type: ignore[method-assign, assignment]
    train(dataset, folder / "diverged")


if __name__ == "__main__":
    scenario, folder, dataset = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    globals()[scenario](folder, dataset)
