"""One loop over tasks on processes, a real Ray and a real Dask."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pyarrow as pa
import pytest

from hypernym.commands.prepare import prepare
from hypernym.engine import Failed, check_engine, clusters, count_loaders, run_tasks
from hypernym.engine.attempts import Engine, WorkerDiedError, attempt
from hypernym.engine.tasks import _run
from hypernym.errors import OutputError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from hypernym.data.dataset import Dataset

Task = TypeVar("Task")
Result = TypeVar("Result")

WORKERS = 2
BIN = Path(sys.executable).parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(__file__).parent),  # where workers find the tasks below
    "PYTHONWARNINGS": "ignore",
    "RAY_AUTH_MODE": "disabled",  # or `ray start` would ask for a token as soon as the user has one
    "RAY_USAGE_STATS_ENABLED": "0",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",  # its default, 3, quadruples the waiting
}


# --- tasks -------------------------------------------------------------------------------------


def square(number: int) -> int:
    return number * number


def square_but_die_of_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker.name


def read_late(folder: Path) -> str:
    """Fail to read until the third attempt, or for ever where the folder says so."""
    attempts = len(list(folder.glob("attempt-*")))
    (folder / f"attempt-{attempts}").touch()
    if attempts < 2 or folder.name == "never":
        (folder / "image.jpg").read_bytes()
    return folder.name


def miss_source(name: str) -> NoReturn:
    raise SourceError(f"{name} is not what it was.")


def want_memory(_: str) -> NoReturn:
    raise MemoryError


def name_process(_: int) -> int:
    return os.getpid()


def fill_disk(number: int) -> NoReturn:
    raise OutputError(f"{number}.tar cannot be written (No space left on device).")


def divide(number: int) -> float:
    return 1 / number


class StubbornError(Exception):
    """An error that is pickled and never unpickled, as many are."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} is {reason}")


def be_stubborn(_: int) -> NoReturn:
    raise StubbornError("tar", "odd")


def return_lock(_: int) -> object:
    return threading.Lock()


def count_threads(_: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def nap(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(120)


# --- engines -----------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def daemon(*command: object, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(word) for word in command], env=ENVIRONMENT, stdout=stream, stderr=stream
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_for(happened: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited for nothing"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """A Ray that this process is connected to: connecting anew takes seconds a test."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # pytest's folders are too long for Ray's sockets
    port = free_port()
    options = {"port": port, "ray-client-server-port": free_port(), "num-cpus": WORKERS}
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [BIN / "ray", "start", "--head", "--block", "--include-dashboard=false", *words]
    log = folder / "log"
    with daemon(*command, f"--temp-dir={folder}", log=log):
        wait_for(lambda: b"runtime started" in log.read_bytes(), 60)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_AUTH_MODE", ENVIRONMENT["RAY_AUTH_MODE"])
            ray.init(address=f"127.0.0.1:{port}", log_to_driver=False, logging_level="ERROR")
            yield f"127.0.0.1:{port}"
            ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def run_dask(folder: Path, workers: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = [BIN / "dask", "scheduler", "--host", address, "--no-dashboard"]
    worker = [BIN / "dask", "worker", address, "--nthreads=1", f"--nworkers={workers}", "--no-dashboard"]
    with (
        daemon(*scheduler, log=folder / "scheduler.log") as process,
        daemon(*worker, f"--local-directory={folder}", log=folder / "worker.log"),
    ):
        yield f"dask:{address}", process


@pytest.fixture(scope="module")
def dask_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("distributed", reason="Dask is not installed")
    with run_dask(tmp_path_factory.mktemp("dask"), WORKERS) as (engine, _):
        yield engine


@pytest.fixture(scope="module", params=["processes", "ray", "dask"])
def engine(request: pytest.FixtureRequest) -> str:
    match request.param:
        case "ray":
            request.getfixturevalue("ray_address")
        case "dask":
            return str(request.getfixturevalue("dask_engine"))
    return str(request.param)


def name_task(task: object) -> str:
    return f"task {task}"


def run(
    function: Callable[[Task], Result], tasks: Iterable[Task], engine: str
) -> Generator[tuple[Task, Result | Failed], None, None]:
    return run_tasks(function, tasks, engine=engine, workers=WORKERS, name=name_task)


# --- the same on every engine ------------------------------------------------------------------


def test_every_task_gives_its_result(engine: str) -> None:
    assert dict(run(square, range(20), engine)) == {number: number**2 for number in range(20)}


def test_no_task_is_no_result(engine: str) -> None:
    assert list(run(square, [], engine)) == []


def test_tasks_are_taken_as_they_are_needed(engine: str) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in count():
            taken.append(number)
            yield number

    results = run(square, tasks(), engine)
    for given, _ in enumerate(islice(results, 20)):
        assert len(taken) - given <= 2 * WORKERS
    assert len(taken) >= 20
    results.close()


def test_a_task_that_kills_its_workers_fails_alone(engine: str) -> None:
    results = dict(run(square_but_die_of_three, range(20), engine))
    failed = results.pop(3)
    assert isinstance(failed, Failed)
    assert failed.name == "task 3"
    assert "the worker process died" in failed.detail
    assert "3 attempts" in failed.detail
    assert results == {number: number**2 for number in range(20) if number != 3}


def test_a_task_whose_worker_died_is_tried_again(engine: str, tmp_path: Path) -> None:
    assert dict(run(die_once, [tmp_path / "died"], engine)) == {tmp_path / "died": "died"}


def test_a_task_that_cannot_read_is_tried_again_then_fails(engine: str, tmp_path: Path) -> None:
    late, never = tmp_path / "late", tmp_path / "never"
    for folder in (late, never):
        folder.mkdir()
    (late / "image.jpg").touch()
    results = dict(run(read_late, [late, never], engine))
    assert results[late] == "late"
    failed = results[never]
    assert isinstance(failed, Failed)
    assert failed.detail.startswith("FileNotFoundError: [Errno 2]")
    assert len(list(never.iterdir())) == 3


def test_a_place_that_cannot_be_written_ends_the_work(engine: str) -> None:
    with pytest.raises(OutputError, match="No space left on device") as caught:
        list(run(fill_disk, [7], engine))
    assert not hasattr(caught.value, "__notes__")


def test_a_bug_is_raised_and_says_where(engine: str) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(run(divide, [4, 0, 2], engine))
    notes = "\n".join(caught.value.__notes__)
    assert "This happened in task 0." in notes
    assert "return 1 / number" in notes  # the traceback of the worker


def test_an_error_that_cannot_travel_is_told_in_words(engine: str) -> None:
    with pytest.raises(RuntimeError, match="StubbornError: tar is odd"):
        list(run(be_stubborn, [1], engine))


def test_a_result_that_cannot_travel_is_a_bug(engine: str) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        list(run(return_lock, [1], engine))


def test_a_worker_leaves_the_cores_to_the_others(engine: str) -> None:
    assert dict(run(count_threads, [1], engine)) == {1: "1"}


SCRIPT = """
import sys
from pathlib import Path
from hypernym.engine import run_tasks
from test_engine import nap

if __name__ == "__main__":
    tasks = [Path(sys.argv[2])] * 12
    try:
        list(run_tasks(nap, tasks, engine=sys.argv[1], workers=2, name=str))
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_ctrl_c_ends_the_work_at_once(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    address = f"ray:{request.getfixturevalue('ray_address')}" if engine == "ray" else engine
    script, folder = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(SCRIPT)
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, script, address, folder],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: len(list(folder.iterdir())) == WORKERS, 60)
    if engine == "processes":
        for path in folder.iterdir():
            os.kill(int(path.name), signal.SIGINT)  # which is the parent's to answer
        time.sleep(0.3)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the parent and to all its children
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in words
    wait_for(lambda: not is_group(process.pid), 60)
    if not engine.startswith("dask"):  # a thread of Dask ends its task; what waited behind it is gone
        wait_for(lambda: not any(is_process(int(path.name)) for path in folder.iterdir()), 60)
    assert len(list(folder.iterdir())) == WORKERS


def is_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def is_process(number: int) -> bool:
    """Whether it runs: one that ended, but that nobody has waited for yet, does not."""
    try:
        status = Path(f"/proc/{number}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return not re.search(r"^State:\s+[ZX]", status, re.MULTILINE)


# --- processes ---------------------------------------------------------------------------------


def meet_pandas(_: int) -> bool:
    """Do what pyarrow imports pandas for, where it is."""
    pa.array([1])
    return "pandas" in sys.modules


def test_workers_do_without_pandas_and_this_process_may_have_it() -> None:
    assert find_spec("pandas") is not None
    assert dict(run_tasks(meet_pandas, [1, 2], workers=2, name=str)) == {1: False, 2: False}
    assert meet_pandas(0)


def test_one_worker_is_this_process() -> None:
    results = run_tasks(name_process, [1], workers=1, name=str)
    assert dict(results) == {1: os.getpid()}


@pytest.mark.parametrize(
    ("function", "detail"),
    [
        (miss_source, "n01 is not what it was. (3 attempts)"),
        (want_memory, "MemoryError (3 attempts)"),
    ],
)
def test_what_is_given_up_on_says_why(function: Callable[[str], NoReturn], detail: str) -> None:
    results = run_tasks(function, ["n01"], workers=1, name=name_task)
    assert dict(results) == {"n01": Failed("task n01", detail)}


def test_closing_kills_the_workers(tmp_path: Path) -> None:
    check_closing("processes", tmp_path)


def check_closing(engine: str, folder: Path) -> None:
    results = run(nap_or_not, [None, *[folder] * 8], engine)
    assert next(results) == (None, None)
    wait_for(lambda: len(list(folder.iterdir())) == WORKERS, 60)
    begin = time.monotonic()
    results.close()
    assert time.monotonic() - begin < 30
    wait_for(lambda: not any(is_process(int(path.name)) for path in folder.iterdir()), 60)
    assert len(list(folder.iterdir())) == WORKERS


def nap_or_not(folder: Path | None) -> None:
    if folder:
        nap(folder)


def test_ctrl_c_while_workers_start_is_as_quiet(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, script, "processes", tmp_path],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: has_waking_fork_server(process.pid), 60)
    os.killpg(process.pid, signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert (process.returncode, words) == (130, "")


def has_waking_fork_server(parent: int) -> bool:
    """Whether it imports what its workers will need: Python has its hand on SIGINT by then."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes():
            status = dict(re.findall(r"(\w+):\s+(.*)", Path(f"/proc/{child}/status").read_text()))
            return bool(int(status["SigCgt"], 16) & 1 << signal.SIGINT - 1)
    return False


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script, folder = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(SCRIPT)
    folder.mkdir()
    with subprocess.Popen([sys.executable, script, "processes", folder], env=ENVIRONMENT) as process:
        wait_for(lambda: len(list(folder.iterdir())) == WORKERS, 60)
        process.kill()
    wait_for(lambda: not any(is_process(int(path.name)) for path in folder.iterdir()), 60)


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from hypernym.engine import run_tasks\n"
        "from test_engine import square\n"
        "list(run_tasks(square, range(4), workers=2, name=str))\n"
    )
    ended = subprocess.run(
        [sys.executable, script],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("hypernym.errors.UsageError: worker processes end")
    assert "below `if __name__ == '__main__':`" in ended.stderr


# --- clusters ----------------------------------------------------------------------------------


def test_ray_is_left_as_it_was_found(ray_address: str) -> None:
    ray = pytest.importorskip("ray")
    assert dict(run(square, [2], "ray")) == {2: 4}
    assert ray.is_initialized()
    with pytest.raises(UsageError, match=f"may not be at {ray_address}"):
        next(run(square, [2], f"ray:{ray_address}"))


@pytest.mark.usefixtures("ray_address")
def test_closing_cancels_on_ray(tmp_path: Path) -> None:
    check_closing("ray", tmp_path)


@pytest.mark.parametrize("engine", ["ray:127.0.0.1:{}", "dask:tcp://127.0.0.1:{}"])
def test_a_cluster_that_is_not_there_is_named(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("ray" if engine.startswith("ray") else "distributed")
    monkeypatch.setattr("hypernym.engine.clusters.PATIENCE", 1)
    monkeypatch.setattr(library, "is_initialized", lambda: False, raising=False)
    word = engine.format(free_port())
    with pytest.raises(UsageError, match=f"answers at {word.partition(':')[2]} "):
        next(run(square, [1], word))


def test_a_cluster_of_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, dask_engine: str
) -> None:
    monkeypatch.setattr("hypernym.engine.clusters.version", lambda _: "99.0")
    with pytest.raises(UsageError, match=r"install hypernym 99\.0 with Python .* answered: hypernym"):
        next(run(square, [1], dask_engine))


def test_dask_without_an_address_starts_its_own() -> None:
    pytest.importorskip("distributed")
    assert dict(run(square, range(3), "dask")) == {0: 0, 1: 1, 2: 4}


def test_a_cluster_that_goes_away_ends_the_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("distributed")
    log = logging.getLogger("distributed.client")
    log.addHandler(caplog.handler)
    request.addfinalizer(lambda: log.removeHandler(caplog.handler))
    with run_dask(tmp_path, 1) as (engine, scheduler):
        results = run(sleep, [0, 1], engine)
        assert next(results) == (0, 0)
        scheduler.kill()
        with pytest.raises(UsageError, match="its scheduler has gone"):
            next(results)
    assert caplog.records == []  # pages of tracebacks


def sleep(seconds: int) -> int:
    time.sleep(seconds)
    return seconds


# --- the loop, on an engine of threads ---------------------------------------------------------


class Threads:
    """An engine whose workers die of every negative task; it writes down what ran at the same time."""

    def __init__(self, workers: int) -> None:
        self.running: list[int] = []
        self.beside: list[tuple[int, list[int]]] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(workers)
        self.engine = Engine(self._submit, window=2 * workers, died=(WorkerDiedError,))

    def _submit(self, function: Callable[[int], int], task: int) -> Future[bytes]:
        return self._pool.submit(self._work, function, task)

    def _work(self, function: Callable[[int], int], task: int) -> bytes:
        with self._lock:
            self.beside.append((task, list(self.running)))
            self.running.append(task)
        time.sleep(0.002)
        with self._lock:
            self.running.remove(task)
        if task < 0:
            raise WorkerDiedError
        return attempt(function, task)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_the_last_attempt_after_a_death_is_made_alone(retries: int) -> None:
    threads = Threads(4)
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(40):
            taken.append(number)
            yield -number if number in {5, 6, 20} else number

    results: dict[int, int | Failed] = {}
    for task, result in _run(nullcontext(threads.engine), square, tasks(), str, retries):
        assert len(taken) - len(results) <= threads.engine.window  # one set aside keeps its place
        results[task] = result
    assert {task for task, result in results.items() if isinstance(result, Failed)} == {-5, -6, -20}
    assert len(results) == 40
    for poisoned in (-5, -6, -20):
        beside = [others for task, others in threads.beside if task == poisoned]
        assert len(beside) == retries + 1
        assert not retries or beside[-1] == []
    later = {other for _, others in threads.beside[-8:] for other in others}
    assert later  # the others run together, then as before


# --- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["procesess", "ray:", "dask:", "processes:4", "slurm", ""])
def test_a_word_that_is_no_engine_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="is no engine"):
        check_engine(word)


def test_the_nearest_engine_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'processes'"):
        run(square, [], "process")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypernym.engine.tasks.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'hypernym\[dask\]'"):
        run(square, [], "dask:tcp://nowhere:8786")


# --- a preparation -----------------------------------------------------------------------------


def test_a_dataset_begun_on_processes_and_ended_on_any_engine_has_the_same_bytes(
    engine: str, world: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """A share of the parts is left to be done, as after a kill."""

    def go_on(shard: str | None, engine: str) -> None:
        prepare(
            world,
            tmp_path / "dataset",
            min_images=3,
            val_per_class=2,
            size=32,
            workers=WORKERS,
            engine=engine,
            shard=shard,
            resume=shard is None,
        )

    go_on("0/3", "processes")
    go_on(None, engine)
    for path in dataset.path.rglob("*"):
        # The tree was built later; the report tells of the run, with its times.
        if path.is_file() and path.name not in {"tree.json", "report.html"}:
            made = tmp_path / "dataset" / path.relative_to(dataset.path)
            assert made.read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(("cores", "beside", "loaders"), [(16, 1, 8), (4, 1, 3), (16, 4, 3), (8, 8, 0)])
def test_processes_that_train_together_share_the_cores_for_loading(
    monkeypatch: pytest.MonkeyPatch, cores: int, beside: int, loaders: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(beside))
    assert count_loaders(None) == loaders
    assert count_loaders(5) == 5


@pytest.mark.parametrize(("deaths", "is_refused"), [(0, False), (2, False), (3, True)])
def test_a_worker_that_dies_while_it_is_asked_says_nothing_of_its_versions(
    deaths: int, is_refused: bool
) -> None:
    asked = 0

    def submit(function: Callable[[Any], Any], task: Any) -> Future[bytes]:  # noqa: ANN401
        nonlocal asked
        asked += 1
        future: Future[bytes] = Future()
        if asked <= deaths:
            future.set_exception(WorkerDiedError("killed"))
        else:
            future.set_result(attempt(function, task))
        return future

    engine = Engine(submit, window=1, died=(WorkerDiedError,))
    if is_refused:
        with pytest.raises(UsageError, match="cannot run this hypernym"):
            clusters._check_workers(engine, "Ray")
    else:
        clusters._check_workers(engine, "Ray")
    assert asked == min(deaths + 1, 3)
