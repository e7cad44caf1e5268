"""A run that was stopped, in whatever way, ends as one that never was."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from conftest import TINY, killed_before_step
from safetensors.torch import load_file

from hypernym import checkpoint, inference
from hypernym.commands.pretrain import pretrain
from hypernym.errors import RunError, StoppedError
from hypernym.hierarchy import tree
from hypernym.training import pretraining
from hypernym.training.config import PretrainConfig
from hypernym.training.curves import Curves
from hypernym.training.log import read_records
from hypernym.training.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from hypernym.data.dataset import Dataset
    from hypernym.metrics.accuracy import Accuracy

OPTIONS = {**TINY, "ema": 0.95, "log_every": 4, "augment": {"mixup": 0.5}}
"""Of a run whose records span several steps, with everything that has a state of its own."""

TIMES = {"images_per_second", "waiting"}


def train(dataset: Dataset, run: Path, *, resume: bool = False, **options: Any) -> None:  # noqa: ANN401
    config = PretrainConfig.model_validate(OPTIONS | options)
    pretrain(dataset.path, run, recipe="small", options=config, resume=resume)


def records(run: Path) -> list[dict[str, float]]:
    return [
        {name: value for name, value in record.items() if name not in TIMES}
        for record in read_records(run / "metrics.jsonl")
    ]


def assert_same(run: Path, whole: Path) -> None:
    """Weights, records and all that is saved for the next resume are equal to the bit."""
    assert records(run) == records(whole)
    for name in ("last", "best"):
        places = [folder / "checkpoints" / name for folder in (run, whole)]
        weights, expected = (load_file(place / "model.safetensors") for place in places)
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[key], expected[key]) for key in expected)
        card, expected_card = ((place / "config.json").read_text() for place in places)
        assert card == expected_card
    states = [
        torch.load(folder / "checkpoints/last/state.pt", weights_only=True) for folder in (run, whole)
    ]
    assert equal(*states)


def equal(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@pytest.fixture(scope="module")
def whole(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped: three epochs."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(dataset, run)
    return run


@pytest.mark.parametrize(
    ("step", "save"),
    [
        (1, {}),
        (17, {}),
        (33, {}),
        (9, {"steps": 5}),
        (17, {"epochs": 0, "steps": 2}),
        (6, {"minutes": 1e-9}),
    ],
)
def test_a_killed_and_resumed_run_equals_one_never_killed(
    dataset: Dataset, whole: Path, tmp_path: Path, step: int, save: dict[str, float]
) -> None:
    with killed_before_step(step), pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", save=save)
    train(dataset, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", whole)


def test_a_run_killed_twice_and_resumed_with_other_workers_equals_one_never_killed(
    dataset: Dataset, whole: Path, tmp_path: Path
) -> None:
    for step, workers in ((6, 0), (21, 2)):
        with killed_before_step(step), pytest.raises(KeyboardInterrupt):
            train(dataset, tmp_path / "run", save={"steps": 3}, workers=workers, resume=step > 6)
    train(dataset, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", whole)


def test_checkpoints_by_the_clock_lose_no_more_than_it_says(dataset: Dataset, tmp_path: Path) -> None:
    with killed_before_step(6), pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", save={"minutes": 1e-9})
    state = torch.load(tmp_path / "run/checkpoints/last/state.pt", weights_only=True)
    assert state["trainer"]["steps_done"] == 5


def send_in_step(monkeypatch: pytest.MonkeyPatch, step: int, number: signal.Signals) -> None:
    """Have this process get a signal while it takes a step."""
    real = Trainer._descend

    def descend(self: Trainer, *arguments: Any) -> Any:  # noqa: ANN401
        if self.steps_done + 1 == step:
            os.kill(os.getpid(), number)
        return real(self, *arguments)

    monkeypatch.setattr(Trainer, "_descend", descend)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_lets_the_step_end_and_saves(
    dataset: Dataset, whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    ends = KeyboardInterrupt if number == signal.SIGINT else StoppedError
    with pytest.MonkeyPatch.context() as patched:
        send_in_step(patched, 7, number)
        with pytest.raises(ends):
            train(dataset, tmp_path / "run")
    assert signal.getsignal(number) is before
    state = torch.load(tmp_path / "run/checkpoints/last/state.pt", weights_only=True)
    assert state["trainer"]["steps_done"] in {7, 8}  # the flag is read in the step after the signal
    train(dataset, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", whole)


def stop_in_measurement(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Have this process stopped in the measurement after the second epoch."""
    real, calls = inference.measure, 0

    def measure(*arguments: Any) -> Accuracy:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls == 2 and what == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        if calls == 2 and what == "kill":
            raise KeyboardInterrupt
        return real(*arguments)

    def draw_now_and_then(_: Curves) -> None:  # it comes when the figures have been written down
        if calls == 2 and what == "kill after it":
            raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "measure", measure)
    monkeypatch.setattr(Curves, "draw_now_and_then", draw_now_and_then)


@pytest.mark.parametrize(
    ("what", "save"),
    [("signal", {}), ("signal", {"epochs": 0}), ("kill", {}), ("kill after it", {})],
)
def test_a_run_stopped_in_a_measurement_loses_nothing_and_equals_one_never_stopped(
    dataset: Dataset, whole: Path, tmp_path: Path, what: str, save: dict[str, int]
) -> None:
    ends = StoppedError if what == "signal" else KeyboardInterrupt
    with pytest.MonkeyPatch.context() as patched:
        stop_in_measurement(patched, what)
        with pytest.raises(ends):
            train(dataset, tmp_path / "run", save=save)
    state = torch.load(tmp_path / "run/checkpoints/last/state.pt", weights_only=True)
    assert not state["is_measured"]
    steps = [record["step"] for record in records(whole) if "val/top1" in record]
    assert state["trainer"]["steps_done"] == steps[1]
    train(dataset, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", whole)


KILLED = """
import os
import signal
import sys
from pathlib import Path

import torch
import yaml

from hypernym.commands.pretrain import pretrain
from hypernym.training.config import PretrainConfig
from hypernym.training.trainer import Trainer

dataset, folder, options = sys.argv[1:]
torch.set_num_threads(1)
config = PretrainConfig.model_validate(yaml.safe_load(options))


def die_at(kind, name, call):
    real, calls = getattr(kind, name), 0

    def act(*arguments, **flags):
        nonlocal calls
        calls += 1
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **flags)

    setattr(kind, name, act)


# of a checkpoint that is being saved the weights lie there, the rest does not
places = {"step": (Trainer, "_descend", 20), "checkpoint": (torch, "save", 9)}
for name, place in places.items():
    if os.fork() == 0:
        die_at(*place)
        pretrain(Path(dataset), Path(folder) / name, recipe="small", options=config)
        os._exit(0)
    _, status = os.wait()
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
"""


def test_runs_under_a_real_kill_equal_one_never_killed(
    dataset: Dataset, whole: Path, tmp_path: Path
) -> None:
    options = yaml.safe_dump(OPTIONS | {"save": {"steps": 2}})
    words = [sys.executable, "-c", KILLED, str(dataset.path), str(tmp_path), options]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=250, check=False)
    assert ended.returncode == 0, ended.stderr
    for run in (tmp_path / "step", tmp_path / "checkpoint"):
        assert 0 < len(records(run)) < len(records(whole))
        train(dataset, run, resume=True)
        assert_same(run, whole)
    assert list((tmp_path / "checkpoint/checkpoints").glob(".*")) == []


def test_a_scheduler_finds_an_exit_code_of_its_own(dataset: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--recipe=small", "--epochs=4000", "--batch-size=16", "--workers=2", "--log-every=1"]
    words = [sys.executable, "-m", "hypernym", "pretrain", str(dataset.path), str(run), *options]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 120
    while len(read_records(run / "metrics.jsonl")) < 3:
        assert time.monotonic() < end, "no step was taken"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)  # as a scheduler does: to the loading processes too
    _, said = process.communicate(timeout=120)
    assert process.returncode == 75
    assert "stopped by SIGTERM, and saved after" in said
    assert "Traceback" not in said
    assert (run / "checkpoints/last/state.pt").exists()


def test_a_checkpoint_that_was_cut_while_it_was_written_is_never_loaded(
    dataset: Dataset, whole: Path, tmp_path: Path
) -> None:
    real, calls = tree.save_tree, 0

    def save_tree(*arguments: Any) -> None:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls == 4:  # weights of the new checkpoint lie there, the rest does not
            raise KeyboardInterrupt
        real(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint, "save_tree", save_tree)
        with pytest.raises(KeyboardInterrupt):
            train(dataset, tmp_path / "run", save={"steps": 4})
    train(dataset, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", whole)


def test_a_damaged_checkpoint_says_what_to_do(dataset: Dataset, whole: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "state.pt"):
        run = tmp_path / name
        shutil.copytree(whole, run)
        damaged = run / "checkpoints/last" / name
        damaged.write_bytes(damaged.read_bytes()[:-100])
        with pytest.raises(RunError, match=f"{name} is damaged"):
            train(dataset, run, resume=True)


def test_a_run_killed_between_its_first_two_checkpoints_starts_again(
    dataset: Dataset, whole: Path, tmp_path: Path
) -> None:
    with killed_before_step(12), pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/last")  # only `best` was saved when the kill came
    train(dataset, tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", whole)


def test_a_run_is_not_resumed_with_another_recipe(dataset: Dataset, whole: Path, tmp_path: Path) -> None:
    assert yaml.safe_load((whole / "config.yaml").read_text())["recipe"] == "small"
    with pytest.raises(RunError, match="begun with recipe small, not official: leave --recipe away"):
        pretrain(dataset.path, whole, recipe="official", resume=True)
    pretrain(dataset.path, whole, resume=True)
    shutil.copytree(whole, tmp_path / "old")  # of a time when the name was not written down
    config = tmp_path / "old/config.yaml"
    config.write_text(config.read_text().replace("recipe: small\n", ""))
    pretrain(dataset.path, tmp_path / "old", recipe="small", resume=True)


def test_a_file_of_options_may_name_its_recipe(dataset: Dataset, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "again"
    pretrain(dataset.path, run, config=(whole / "config.yaml",))
    assert (run / "config.yaml").read_text() == (whole / "config.yaml").read_text()
    assert_same(run, whole)


def test_what_may_change_more_than_last_bits_is_told(
    dataset: Dataset, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    train(dataset, tmp_path / "run", resume=True, accumulate=2, workers=1)
    said = capsys.readouterr().err
    assert "was begun with accumulate 1 and goes on with 2: batch normalisation" in said
    assert "workers" not in said


def test_a_run_that_saved_nothing_begins_again_with_other_options(
    dataset: Dataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with killed_before_step(3), pytest.raises(KeyboardInterrupt):
        train(dataset, run, epochs=1)
    pretrain(dataset.path, run, options=PretrainConfig(batch_size=8), resume="auto")
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert (written["batch_size"], written["ema"], written["recipe"]) == (8, 0.95, "small")
    with pytest.raises(RunError, match="begun with batch_size 8, not 4"):
        train(dataset, run, resume=True, epochs=1, batch_size=4)


def test_resume_auto_begins_where_nothing_was_begun(dataset: Dataset, tmp_path: Path) -> None:
    options = PretrainConfig.model_validate(OPTIONS | {"epochs": 1})
    pretrain(dataset.path, tmp_path / "run", recipe="small", options=options, resume="auto")
    assert (tmp_path / "run/checkpoints/last/state.pt").exists()
