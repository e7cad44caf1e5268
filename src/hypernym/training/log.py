"""The records of a run: metrics.jsonl is the truth, trackers show the same."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, Self

from hypernym.errors import UsageError
from hypernym.files import digest_text, write_text
from hypernym.training.options import Tracker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hypernym.training.config import TrainConfig


class MetricLog:
    """Appends records, one JSON object a line, each with the step that it was made after."""

    def __init__(
        self,
        run: Path,
        first_step: int,
        config: TrainConfig,
        *,
        is_measured: bool = True,
        writes: bool = True,
    ) -> None:
        """Open the log of a run that goes on after `first_step`; later records are taken back.

        So is that of a measurement after this very step, unless it `is_measured`. Only one of several
        processes `writes`.
        """
        self._boards: list[Board] = []
        self._stream = None
        if not writes:
            return
        path = run / "metrics.jsonl"
        kept = [
            record
            for record in read_records(path)
            if record["step"] < first_step
            or (record["step"] == first_step and (is_measured or "lr" in record))
        ]
        write_text(path, "".join(f"{json.dumps(record)}\n" for record in kept))
        self._boards = [make_board(tracker, run, first_step, config) for tracker in config.track]
        self._stream = path.open("a", encoding="utf-8")

    def write(self, step: int, **values: float) -> None:
        """Append a record; names with a slash are grouped by the trackers."""
        if self._stream is None:
            return
        self._stream.write(json.dumps({"step": step, **values}, allow_nan=False) + "\n")
        self._stream.flush()
        for board in self._boards:
            board.show(step, values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
        for board in self._boards:
            board.close()


def read_records(path: Path) -> list[dict[str, float]]:
    """Read the records of a run; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


class Board(Protocol):
    """One that shows records."""

    def show(self, step: int, values: dict[str, float]) -> None:
        """Show the values of a step."""

    def close(self) -> None:
        """Send what has not been sent."""


def check_trackers(trackers: Sequence[Tracker]) -> None:
    """Check that the packages of trackers are there, before a folder is made.

    Raises:
        UsageError: one is not installed.
    """
    for tracker in trackers:
        if sys.modules.get(tracker.value, True) is None or find_spec(tracker.value) is None:
            raise UsageError(
                f"--track {tracker}: the package {tracker} is not installed: "
                f"pip install 'hypernym[{tracker}]'."
            )


def make_board(tracker: Tracker, run: Path, first_step: int, config: TrainConfig) -> Board:
    """Return a tracker that goes on with a run after `first_step`."""
    match tracker:
        case Tracker.TENSORBOARD:
            return _TensorBoard(run, first_step)
        case Tracker.WANDB:
            return _WeightsAndBiases(run, config)
        case Tracker.TRACKIO:
            return _Trackio(run, config)


class _TensorBoard:
    def __init__(self, run: Path, first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(run, purge_step=first_step + 1)

    def show(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    """Goes by the environment for everything of its own: WANDB_MODE=offline, WANDB_ENTITY ..."""

    def __init__(self, run: Path, config: TrainConfig) -> None:
        import wandb

        self._run: Any = wandb.init(
            project="hypernym",
            dir=run,
            name=run.name,
            id=_id_of(run),
            resume="allow",
            config=config.model_dump(mode="json"),
        )

    def show(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    def __init__(self, run: Path, config: TrainConfig) -> None:
        import trackio

        self._trackio: Any = trackio
        trackio.init(
            project="hypernym", name=run.name, resume="allow", config=config.model_dump(mode="json")
        )

    def show(self, step: int, values: dict[str, float]) -> None:
        self._trackio.log(values, step=step)

    def close(self) -> None:
        self._trackio.finish()


def _id_of(run: Path) -> str:
    """Return a name that a resumed run has too, and no other run of this machine."""
    return digest_text(str(run.resolve()))[:16]
