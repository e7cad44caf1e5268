"""The processes of this machine.

Workers come from a fork server that has imported the function's module, what the caller says that it
will need, and nothing else of the caller's: they start fast, hold no threads of the parent, and share
its imports.

Each worker has a thread here that hands it one task after another. So when a worker dies it is known
which task it was at, and no other task is touched; `ProcessPoolExecutor` would lose all its workers,
and leave everything in flight under suspicion.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING, Any

from hypernym.engine.attempts import Engine, WorkerDiedError, attempt
from hypernym.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

MAX_LOADERS = 8

THREADS = "OMP_NUM_THREADS"
"""Read by torch and numpy when they are imported; without it each worker would take all cores."""

MAIN_GUARD = (
    "in a script of your own, call hypernym only below `if __name__ == '__main__':`, for workers import "
    "the script anew."
)


def count_workers(workers: int | None) -> int:
    """Return how many processes to use: as asked, or one for each core that we may run on."""
    if workers:
        return workers
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux can tell which cores are ours
        return os.cpu_count() or 1


def count_loaders(workers: int | None) -> int:
    """Return how many processes load images beside a model: as asked, or one for each core but one.

    Of the cores that fall to this process, where torchrun has started several on this machine.
    """
    if workers is not None:
        return workers
    cores = count_workers(None) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(0, min(MAX_LOADERS, cores - 1))


@contextmanager
def in_this_process() -> Iterator[Engine]:
    """Attempt each task here, at once: nothing is started, and nothing survives a task that kills."""

    def submit(function: Callable[[Any], Any], task: Any) -> Future[bytes]:  # noqa: ANN401 - any task
        future: Future[bytes] = Future()
        future.set_result(attempt(function, task))
        return future

    yield Engine(submit, window=1)


@contextmanager
def on_processes(
    workers: int, function: Callable[..., object], imports: Sequence[str] = ()
) -> Iterator[Engine]:
    """Attempt tasks on `workers` processes of this machine, which are killed at the end.

    `imports` are modules that every worker would import: the fork server does it once for all.
    """
    _start_fork_server(function, imports)
    crew = _Crew()
    threads = ThreadPoolExecutor(workers, thread_name_prefix="hypernym")
    try:
        yield Engine(
            lambda function, task: threads.submit(crew.work, function, task),
            window=2 * workers,
            died=(WorkerDiedError,),
        )
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        crew.kill()  # its files are whole or absent: nothing is worth waiting for
        threads.shutdown()


class _Worker:
    """A process that attempts one task after another."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that the worker's end closes with the worker

    def wait_until_ready(self) -> None:
        self._pipe.recv_bytes()

    def work(self, function: Callable[[Any], Any], task: Any) -> bytes:  # noqa: ANN401 - any task
        self._pipe.send((function, task))
        return self._pipe.recv_bytes()


class _Crew:
    """The workers, one for each thread that asks."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._lock = threading.Lock()  # around whatever starts a process or asks for its end
        self._workers: list[_Worker] = []
        self._over = False
        self._proven = False

    def work(self, function: Callable[[Any], Any], task: Any) -> bytes:  # noqa: ANN401 - any task
        """Have this thread's worker attempt a task; hire one where there is none, or none any more."""
        worker: _Worker = getattr(self._own, "worker", None) or self._hire()
        self._own.worker = worker
        try:
            return worker.work(function, task)
        except (EOFError, ConnectionError) as cause:
            self._own.worker = None
            raise WorkerDiedError(self._tell_end(worker)) from cause

    def _hire(self) -> _Worker:
        with self._lock:
            if self._over:
                raise WorkerDiedError("the work is over")
            worker = _Worker()
            self._workers.append(worker)
        try:
            worker.wait_until_ready()
        except (EOFError, ConnectionError) as cause:
            if self._proven:
                raise WorkerDiedError(self._tell_end(worker)) from cause
            raise UsageError(f"worker processes end before their first task: {MAIN_GUARD}") from cause
        self._proven = True
        return worker

    def _tell_end(self, worker: _Worker) -> str:
        with self._lock:
            worker.process.join()
            code = worker.process.exitcode or 0
        if code == -signal.SIGKILL:
            return "killed, perhaps for want of memory"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End every worker at once, and hire no more."""
        with self._lock:
            self._over = True
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                worker.process.join()


class _NoPandas(MetaPathFinder):
    """Keeps pyarrow from importing pandas, where it is, to know its tables if it sees them.

    It would take a third of a second of each worker, or a whole one where nothing is compiled yet.
    """

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("workers do without pandas")


def _serve(pipe: Connection) -> None:
    """Live as a worker: say that we are ready, then answer each task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # if the fork server is one that was here before ours
    os.environ[THREADS] = "1"  # for the same reason
    sys.meta_path.insert(0, _NoPandas())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send_bytes(b"")
    while True:
        function, task = pipe.recv()
        pipe.send_bytes(attempt(function, task))


def _end_with_parent() -> None:
    """End this worker when the process that asked for it is gone, killed perhaps."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _start_fork_server(function: Callable[..., object], imports: Sequence[str]) -> None:
    """Start the fork server deaf to Ctrl-C, as all its workers will be from their first moment."""
    module = str(getattr(function, "func", function).__module__)
    preload = {__name__, module, *imports} - {"__main__"}  # a script may do anything when it is imported
    multiprocessing.get_context("forkserver").set_forkserver_preload(sorted(preload))
    resource_tracker.ensure_running()  # before: it ends with the mask as it likes it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threads = os.environ.get(THREADS)
    os.environ[THREADS] = "1"  # so that what it imports starts no thread, which a fork would lose
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if threads is None:
            del os.environ[THREADS]
        else:
            os.environ[THREADS] = threads
