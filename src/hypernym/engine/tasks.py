"""The loop over tasks, the same on every engine."""

from __future__ import annotations

from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Generic, TypeVar

from hypernym.engine.attempts import Raised, Returned, WorkerDiedError, read_answer
from hypernym.engine.clusters import on_dask, on_ray
from hypernym.engine.processes import in_this_process, on_processes
from hypernym.errors import HypernymError, SourceError, UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from hypernym.engine.attempts import Engine

LIBRARIES = {"processes": None, "ray": "ray", "dask": "distributed"}
"""The engines, and what must be installed for each."""

DEATHS = (WorkerDiedError, MemoryError)
RETRIED = (*DEATHS, OSError, SourceError)
"""What may be the fault of the moment, and is never the fault of another task."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failed:
    """A task that was given up on, after every attempt that it was allowed."""

    name: str
    detail: str


@dataclass
class _Trial(Generic[Task]):
    task: Task
    failures: int = 0


def check_engine(engine: str) -> tuple[str, str | None]:
    """Return kind and address of an engine as named on the command line.

    The words are `processes`, `ray`, `ray:ADDRESS`, `dask` and `dask:ADDRESS`.

    Raises:
        UsageError: there is no such engine, or its library is not installed.
    """
    kind, colon, address = engine.partition(":")
    if kind not in LIBRARIES or bool(colon) != bool(address) or (kind == "processes" and address):
        hint = nearest(kind, LIBRARIES) if kind not in LIBRARIES else ""
        raise UsageError(
            f"{engine!r} is no engine{hint}: "
            f"give processes, ray, ray:HOST:PORT, dask or dask:tcp://HOST:PORT."
        )
    library = LIBRARIES[kind]
    if library and find_spec(library) is None:
        raise UsageError(
            f"the engine {engine!r} needs a library that is not installed: "
            f"pip install 'hypernym[{kind}]'."
        )
    return kind, address or None


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    engine: str = "processes",
    workers: int,
    name: Callable[[Task], str],
    retries: int = 2,
    imports: Sequence[str] = (),
) -> Generator[tuple[Task, Result | Failed], None, None]:
    """Call `function` on each task and give the results as they end, in any order.

    `function` is a module-level function (or a `functools.partial` of one); tasks and results can be
    pickled. Tasks are taken from their iterable as the work goes on, at most two for each worker at a
    time. `workers` counts processes of this machine (one: everything runs in this process); a cluster
    that is running is asked for its own. Closing the generator ends the work at once: workers on this
    machine are killed, tasks on a cluster cancelled. `imports` are modules that the function imports
    late: processes of this machine then have them from the beginning, and share their memory.

    A task is tried again, `retries` times, when its worker died (the last time alone, with nothing
    else running that could be to blame) or when it raised OSError or SourceError; then it is Failed.

    Raises:
        UsageError: there is no such engine, or it cannot be reached, now or on the first `next`.
        HypernymError: a task raised another one, such as OutputError; it ends the work.
        Exception: a bug in a task, with a note that names the task.
    """
    kind, address = check_engine(engine)
    opened: AbstractContextManager[Engine]
    match kind:
        case "ray":
            opened = on_ray(address, workers)
        case "dask":
            opened = on_dask(address, workers)
        case _:
            opened = in_this_process() if workers == 1 else on_processes(workers, function, imports)
    return _run(opened, function, tasks, name, retries)


def _run(
    opened: AbstractContextManager[Engine],
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    name: Callable[[Task], str],
    retries: int,
) -> Generator[tuple[Task, Result | Failed], None, None]:
    untried = (_Trial(task) for task in tasks)
    again: deque[_Trial[Task]] = deque()
    alone: deque[_Trial[Task]] = deque()
    flying: dict[Future[bytes], _Trial[Task]] = {}
    with opened as engine:
        while True:
            while not alone and len(flying) < engine.window:
                trial = again.popleft() if again else next(untried, None)
                if trial is None:
                    break
                flying[engine.submit(function, trial.task)] = trial
            if not flying:
                if not alone:
                    return
                trial = alone.popleft()
                flying[engine.submit(function, trial.task)] = trial
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                trial = flying.pop(future)
                answer = read_answer(engine, future)
                if isinstance(answer, Returned):
                    yield trial.task, answer.value
                elif trial.failures < retries and isinstance(answer.error, RETRIED):
                    trial.failures += 1
                    last = trial.failures == retries and isinstance(answer.error, DEATHS)
                    (alone if last else again).append(trial)
                else:
                    yield trial.task, _give_up(answer, name(trial.task), trial.failures + 1)


def _give_up(raised: Raised, name: str, attempts: int) -> Failed:
    """Return what becomes of a task that is not tried again; raise what is more than its own fault."""
    error = raised.error
    if isinstance(error, RETRIED):
        ours = isinstance(error, (WorkerDiedError, SourceError))
        what = str(error) if ours else f"{type(error).__name__}: {error}".removesuffix(": ")
        return Failed(name, f"{what} ({attempts} attempts)" if attempts > 1 else what)
    if not isinstance(error, HypernymError):
        error.add_note(f"This happened in {name}.")
        if raised.trace:
            error.add_note(f"There it was:\n{raised.trace}")
    raise error
