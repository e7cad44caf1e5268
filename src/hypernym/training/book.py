"""The book of a run: what its steps told, added up until it is written down."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from hypernym.training.trainer import LATE, STOP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hypernym.data.loader import Batch
    from hypernym.training.log import MetricLog
    from hypernym.training.watch import StepRecord


class Book:
    """Sums since the last record and since the start of the epoch.

    A resumed run goes on with them, so that its records equal those of a run that was not stopped;
    times alone are those of this process.
    """

    def __init__(self, log_every: int, steps_per_epoch: int, batch_size: int) -> None:
        self._log_every = log_every
        self._steps_per_epoch = steps_per_epoch
        self._batch_size = batch_size
        self._recent: dict[str, tuple[float, int]] = {}
        """Sum and number of what was told, by name."""

        self._epoch_loss, self._num_epoch = 0.0, 0
        self._waited, self._steps_timed, self._since = 0.0, 0, time.monotonic()
        self._loss, self._lr, self._rate, self._waiting = 0.0, 0.0, 0.0, 0.0

    @property
    def epoch_loss(self) -> float | None:
        """Mean loss over the epoch so far; None where no step of it was taken."""
        return self._epoch_loss / self._num_epoch if self._num_epoch else None

    def time(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pass batches on, and count how long they were waited for."""
        iterator = iter(batches)
        while True:
            began = time.monotonic()
            batch = next(iterator, None)
            self._waited += time.monotonic() - began
            if batch is None:
                return
            yield batch

    def note(self, records: Sequence[StepRecord], log: MetricLog | None) -> None:
        """Add records; every so many steps, write them down."""
        for record in records:
            first = (record.step - 1) % self._steps_per_epoch == 0
            loss = record.values["loss"]
            self._epoch_loss = loss + (0.0 if first else self._epoch_loss)
            self._num_epoch = 1 + (0 if first else self._num_epoch)
            self._loss, self._lr = loss, record.lr
            for name, value in record.values.items():
                if name not in {STOP, LATE} and math.isfinite(value):  # fp16 gradients may overflow
                    total, count = self._recent.get(name, (0.0, 0))
                    self._recent[name] = total + value, count + 1
            self._steps_timed += 1
            if record.step % self._log_every == 0 and log is not None:
                self._write(record, log)

    def note_of_progress(self) -> str:
        """Return what stands beside the progress bar."""
        if not self._rate:
            self._take_time(reset=False)
        return (
            f"loss {self._loss:.3f}, lr {self._lr:.1e}, {self._rate:.0f} images/s, "
            f"{100 * self._waiting:.0f} % waiting for data"
        )

    def start_again(self) -> None:
        """Leave out the time since the last record: something else was done in it."""
        self._waited, self._steps_timed, self._since = 0.0, 0, time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return {
            "recent": dict(self._recent),
            "epoch_loss": self._epoch_loss,
            "num_epoch": self._num_epoch,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore them."""
        self._recent = state_dict["recent"]
        self._epoch_loss = state_dict["epoch_loss"]
        self._num_epoch = state_dict["num_epoch"]

    def _write(self, record: StepRecord, log: MetricLog) -> None:
        self._take_time(reset=True)
        means = {f"train/{name}": total / count for name, (total, count) in self._recent.items()}
        log.write(
            record.step,
            epoch=(record.step - 1) // self._steps_per_epoch,
            **means,
            lr=record.lr,
            images_per_second=self._rate,
            waiting=self._waiting,
        )
        self._recent = {}

    def _take_time(self, *, reset: bool) -> None:
        passed = max(time.monotonic() - self._since, 1e-9)
        self._rate = self._steps_timed * self._batch_size / passed
        self._waiting = min(1.0, self._waited / passed)
        if reset:
            self.start_again()
