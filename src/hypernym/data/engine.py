"""Map a function over independent parts, on the processes of this machine.

Workers come from a fork server that has imported the function's module and nothing of the caller's:
they start fast, hold no threads of the parent, and share its imports.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

from hypernym.errors import HypernymError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAX_LOADERS = 8

Task = TypeVar("Task")
Result = TypeVar("Result")


def count_workers(workers: int | None) -> int:
    """Return how many processes to use: as asked, or one for each core that we may run on."""
    if workers:
        return workers
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux can tell which cores are ours
        return os.cpu_count() or 1


def count_loaders(workers: int | None) -> int:
    """Return how many processes load images beside a model: as asked, or one for each core but one."""
    return min(MAX_LOADERS, count_workers(None) - 1) if workers is None else workers


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    workers: int,
    name: Callable[[Task], str],
) -> Iterator[Result]:
    """Call `function` on each task and give the results as they end, in any order.

    `function` is a module-level function (or a `functools.partial` of one) and its tasks can be
    pickled. With one worker everything runs in this process. An error in a task ends the work with
    that error, and says in which task it was; tasks that have ended stay ended.
    """
    if workers == 1 or len(tasks) <= 1:
        for task in tasks:
            yield _run_task(function, task, name(task))
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_module_of(function)])
    workers = min(workers, len(tasks))
    with ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
        futures = [pool.submit(_run_task, function, task, name(task)) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as cause:
            raise SourceError(
                "a worker process was killed, perhaps for want of memory: run the same command with "
                "--resume and fewer --workers. (In a script of your own, call hypernym only below "
                "`if __name__ == '__main__':`, for workers import the script anew.)"
            ) from cause
        finally:
            pool.shutdown(cancel_futures=True)


def _run_task(function: Callable[[Task], Result], task: Task, name: str) -> Result:
    try:
        return function(task)
    except HypernymError:
        raise
    except Exception as error:
        error.add_note(f"This happened in {name}.")
        raise


def _module_of(function: Callable[..., object]) -> str:
    inner = getattr(function, "func", function)
    return str(inner.__module__)


def _start_worker() -> None:
    """Leave the cores to the other workers, and do not outlive the parent."""
    # torch, when a worker imports it, would take all cores.
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that asked for it is gone, killed perhaps."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
