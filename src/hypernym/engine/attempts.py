"""What crosses between this process and the workers of an engine.

A worker answers in bytes, whether its task ended well or not: so no engine wraps an error, prints it
or stumbles over it (Dask waits for ever for a result that cannot be unpickled). What is left to an
engine is the one thing that a worker cannot tell by itself: that it died.
"""

from __future__ import annotations

import pickle
import traceback
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypernym.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


@dataclass(frozen=True)
class Engine:
    """A place where tasks are attempted, as long as its context lasts."""

    submit: Callable[[Callable[[Any], Any], Any], Future[bytes]]
    """Have a worker call `attempt` with a function and a task."""

    window: int
    """How many tasks it is given at a time: two for each worker, so that none waits for its next."""

    died: tuple[type[BaseException], ...] = ()
    """What a future raises when its worker died."""


class WorkerDiedError(Exception):
    """The process died in which a task ran: killed, or out of memory."""


@dataclass(frozen=True)
class Returned:
    """A task ended well."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """A task ended with an error; its traceback is text, for frames stay in their process."""

    error: Exception
    trace: str = ""


def attempt(function: Callable[[Any], Any], task: Any) -> bytes:  # noqa: ANN401 - any task
    """Call `function` on `task`, and return a pickle of what came of it."""
    try:
        return pickle.dumps(Returned(function(task)))
    except Exception as error:  # noqa: BLE001 - the worker boundary: the loop decides what to raise
        return _pickle_error(error)


def _pickle_error(error: Exception) -> bytes:
    """Pickle an error, or where its class does not allow it, one that means the same to the loop."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickled = pickle.dumps(Raised(error, trace))
        pickle.loads(pickled)  # noqa: S301 - our own bytes; many errors break only here
    except Exception:  # noqa: BLE001 - whatever a foreign class raises when it is copied
        kind = OSError if isinstance(error, OSError) else RuntimeError
        pickled = pickle.dumps(Raised(kind(f"{type(error).__name__}: {error}"), trace))
    return pickled


def read_answer(engine: Engine, future: Future[bytes]) -> Returned | Raised:
    """Return what came of an attempt that has ended, whoever has to tell it."""
    try:
        answer: Returned | Raised = pickle.loads(future.result())  # noqa: S301 - bytes of `attempt`
    except engine.died as cause:
        # The words of a cluster are long, and name what changes from run to run; its class says enough.
        what = cause if isinstance(cause, WorkerDiedError) else type(cause).__name__
        return Raised(WorkerDiedError(f"the worker process died ({what})"))
    except CancelledError:
        return Raised(
            UsageError(
                "the cluster dropped a task that was not cancelled: its scheduler has gone. Start it "
                "again, and run the same command with --resume."
            )
        )
    except Exception as error:  # noqa: BLE001 - a task that cannot be pickled, say: a bug like any other
        return Raised(error)
    return answer
