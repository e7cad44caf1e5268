"""Clusters: Ray and Dask, each imported only when it is named.

Their own retries are off, as far as they are ours to switch: the loop counts attempts. Ray gives a
task, and Dask a worker process, one thread for numerical libraries, so that is left to them.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hypernym.engine.attempts import Engine, Raised, WorkerDiedError, attempt, read_answer
from hypernym.engine.processes import MAIN_GUARD
from hypernym.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

PATIENCE = 20
"""Seconds until a cluster that does not answer is taken for absent."""

CHECKS = 3
"""Workers that are asked which hypernym they run, if the one before died."""


@contextmanager
def on_ray(address: str | None, workers: int) -> Iterator[Engine]:
    """Attempt tasks on the Ray cluster at `address`, or this machine's, or a new one of `workers` cores.

    A process that is connected to Ray already stays connected to it, and so afterwards.

    Raises:
        UsageError: there is no such cluster, or its workers cannot run this hypernym.
    """
    # Under `uv run`, Ray would pack the current folder, images and all, and send it to its workers.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray
    from ray import exceptions

    refs: dict[Future[bytes], Any] = {}
    with ExitStack() as stack:
        if not ray.is_initialized():
            _connect_ray(address, workers)
            stack.callback(ray.shutdown)
        elif address:
            raise UsageError(
                f"this process is connected to Ray already, which may not be at {address}: "
                f"name the engine 'ray' alone, or call ray.shutdown() before."
            )
        remote = ray.remote(num_cpus=1, max_retries=0)(attempt)

        def submit(function: Callable[[Any], Any], task: Any) -> Future[bytes]:  # noqa: ANN401 - any task
            ref = remote.remote(function, task)
            future: Future[bytes] = ref.future()
            refs[future] = ref
            future.add_done_callback(refs.pop)
            return future

        @stack.callback
        def cancel() -> None:
            for ref in list(refs.values()):
                ray.cancel(ref, force=True)

        engine = Engine(
            submit,
            window=2 * max(1, int(ray.cluster_resources().get("CPU", 0))),
            died=(
                exceptions.WorkerCrashedError,
                exceptions.OutOfMemoryError,
                exceptions.NodeDiedError,
                exceptions.ObjectLostError,  # the answer was lost with its node
            ),
        )
        _check_workers(engine, "Ray")
        yield engine


def _connect_ray(address: str | None, workers: int) -> None:
    import ray

    if address:
        _knock(address)  # Ray itself would knock for minutes, and then end this process
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address=address or "auto", **quiet)
    except ConnectionError as cause:
        if address:
            raise UsageError(
                f"Ray at {address} does not let us in: name it on a machine of its cluster, and set "
                f"RAY_AUTH_MODE=token where it asks for a token (the engine 'ray' alone does so itself)."
            ) from cause
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=workers, include_dashboard=False, **quiet)


def _knock(address: str) -> None:
    """Check that something listens at HOST:PORT."""
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        socket.create_connection((place.hostname, place.port or 0), timeout=PATIENCE).close()
    except (OSError, ValueError) as cause:
        raise UsageError(
            f"no Ray answers at {address} ({cause}): give the HOST:PORT that `ray start --head` "
            f"printed, on a machine of that cluster."
        ) from cause


@contextmanager
def on_dask(address: str | None, workers: int) -> Iterator[Engine]:
    """Attempt tasks on the Dask cluster at `address`, or on a new one of `workers` processes here.

    Raises:
        UsageError: there is no such cluster, or its workers cannot run this hypernym.
    """
    import distributed

    # What it has to say of a lost scheduler, in many lines, is what the loop says in one.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        place = stack.enter_context(_start_dask(workers)) if address is None else address
        try:
            client = stack.enter_context(  # which takes its tasks back when it is closed
                distributed.Client(place, timeout=PATIENCE, set_as_default=False)
            )
            client.wait_for_workers(1, timeout=PATIENCE)
        except (OSError, ValueError) as cause:
            raise UsageError(
                f"no Dask scheduler with workers answers at {address} ({cause}): give the address that "
                f"`dask scheduler` printed, such as tcp://HOST:8786."
            ) from cause
        executor = client.get_executor(pure=False, retries=0)
        engine = Engine(
            lambda function, task: executor.submit(attempt, function, task),
            window=2 * sum(client.ncores().values()),
            died=(distributed.KilledWorker,),
        )
        _check_workers(engine, "Dask")
        yield engine


@contextmanager
def _start_dask(workers: int) -> Iterator[Any]:
    import dask
    import distributed

    with ExitStack() as stack:
        # One death tells enough: the loop decides on another attempt.
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
        try:
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",  # None would be port 8787, for all the world
                silence_logs="CRITICAL",
            )
        except RuntimeError as cause:
            raise UsageError(f"Dask cannot start workers here ({cause}): {MAIN_GUARD}") from cause
        yield stack.enter_context(cluster)


def _check_workers(engine: Engine, cluster: str) -> None:
    """Check that a worker runs what we run: two versions would make two kinds of bytes."""
    ours = _name_versions()
    for _ in range(CHECKS):
        answer = read_answer(engine, engine.submit(_name_versions, None))
        if not (isinstance(answer, Raised) and isinstance(answer.error, WorkerDiedError)):
            break  # one that died of what it did before says nothing of its versions
    theirs = answer.error if isinstance(answer, Raised) else answer.value
    if theirs != ours:
        raise UsageError(
            f"the workers of the {cluster} cluster cannot run this hypernym: install {ours} on each of "
            f"its machines (a worker answered: {theirs})."
        )


def _name_versions(_: None = None) -> str:
    return f"hypernym {version('hypernym')} with Python {platform.python_version()}"
