"""Signals that end a run early: it saves first, and can be resumed to the bit."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from hypernym.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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

    def leave(self, folder: Path, state: str) -> NoReturn:
        """End as the signal says; `state` tells what of `folder` is kept, and how to go on.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            StoppedError: it was another one, or came to another process.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        name = self.signal.name if self.signal else "a signal to another process"
        raise StoppedError(f"{folder} was stopped by {name}, and {state}.")


@contextmanager
def heed_signals() -> Iterator[StopRequest]:
    """Turn signals into a request that is answered where nothing is lost."""
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
