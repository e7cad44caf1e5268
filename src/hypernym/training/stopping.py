"""Signals that end a run early: it saves first, and can be resumed to the bit."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""A scheduler's warning, Ctrl-C, and what Slurm sends where `--signal=USR1@120` asks for it."""


class StopRequest:
    """Which signal asked to stop, if any did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def note(self, number: int, _: Any) -> None:  # noqa: ANN401 - the frame that was interrupted
        """Remember a signal; a second Ctrl-C stops at once."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)


@contextmanager
def heed_signals() -> Iterator[StopRequest]:
    """Turn signals into a request that the loop answers after its step."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread can be told of signals
        return
    before = {number: signal.signal(number, request.note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
