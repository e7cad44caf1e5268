"""What a step tells about itself, read without holding up the device.

A GPU works through what it was given while Python goes on. To read a number of the present step would
stop that; so numbers are copied in the background and read some steps later, always the same number of
steps, so that all processes act on them at the same place. The CPU has no such queue: there, at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

LAG = 2
"""Steps on a GPU after which numbers are read: by then they have long been there."""


@dataclass(frozen=True)
class StepRecord:
    """What one step tells, over all processes."""

    step: int
    """Steps done, this one included."""

    lr: float
    rows: torch.Tensor
    """int64: the images that this process saw in it."""

    values: dict[str, float]
    """The losses; `gradient_norm`; how many processes were asked to stop, and to save."""


class Watch:
    """Numbers on their way from the device."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._pending: deque[tuple[StepRecord, torch.Tensor, torch.cuda.Event | None]] = deque()

    def put(self, record: StepRecord, values: torch.Tensor) -> None:
        """Send for the values (N,) of a step, in the order of the keys of `record.values`."""
        event = None
        if self._on_gpu:
            stream = torch.cuda.current_stream(values.device)
            values = values.to("cpu", non_blocking=True)  # into pinned memory
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(stream)
        self._pending.append((record, values, event))

    def take(self, *, everything: bool = False) -> Iterator[StepRecord]:
        """Give the records that are due; `everything` waits for the device."""
        lag = LAG if self._on_gpu and not everything else 0
        while len(self._pending) > lag:
            record, values, event = self._pending.popleft()
            if event is not None:
                event.synchronize()
            numbers = zip(record.values, values.tolist(), strict=True)
            yield StepRecord(record.step, record.lr, record.rows, dict(numbers))
