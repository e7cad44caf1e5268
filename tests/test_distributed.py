"""Training and evaluation on several processes that torchrun starts, here over gloo on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.launcher.api import LaunchConfig
from torchrun_script import KILLED_BEFORE, TINY

from hypernym.commands.evaluate import evaluate
from hypernym.commands.pretrain import pretrain
from hypernym.data.dataset import open_dataset
from hypernym.training.config import PretrainConfig
from hypernym.training.log import read_records

if TYPE_CHECKING:
    from hypernym.data.dataset import Dataset

SCRIPT = Path(__file__).with_name("torchrun_script.py")
TIMES = {"images_per_second", "waiting"}


def torchrun(processes: int, *words: str | Path) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.Popen(
        [*launcher, f"--nproc-per-node={processes}", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def records(run: Path) -> list[dict[str, float]]:
    return [
        {name: value for name, value in record.items() if name not in TIMES}
        for record in read_records(run / "metrics.jsonl")
    ]


def losses(run: Path) -> torch.Tensor:
    return torch.tensor([record["train/loss"] for record in records(run) if "train/loss" in record])


@pytest.fixture(scope="module", params=[2, 3])
def runs(
    request: pytest.FixtureRequest, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """All that several processes trained together."""
    folder = tmp_path_factory.mktemp(f"world-{request.param}")
    process = torchrun(request.param, SCRIPT, "run_everything", folder, dataset.path)
    words, _ = process.communicate(timeout=280)
    assert process.returncode == 0, words
    return folder


@pytest.fixture(scope="module")
def alone(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same vision transformer, trained by one process."""
    run = tmp_path_factory.mktemp("alone") / "vit"
    options = PretrainConfig.model_validate(TINY | {"model": "test_vit", "ema": 0.0})
    pretrain(dataset.path, run, recipe="small", options=options)
    return run


def test_a_killed_and_resumed_run_of_several_processes_equals_one_never_killed(runs: Path) -> None:
    assert len(records(runs / "whole")) > 16
    for step in KILLED_BEFORE:
        assert_same(runs / f"killed-{step}", runs / "whole")


def assert_same(run: Path, whole: Path) -> None:
    assert records(run) == records(whole)
    weights, expected = (
        load_file(folder / "checkpoints/last/model.safetensors") for folder in (run, whole)
    )
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_evaluation_is_the_same_on_any_number_of_processes(runs: Path, dataset: Dataset) -> None:
    together = json.loads((runs / "whole/report.json").read_text())
    evaluate(runs / "whole", dataset.path, workers=0, batch_size=5)
    assert json.loads((runs / "whole/report.json").read_text()) == together


def test_the_number_of_processes_and_of_parts_changes_no_batch(runs: Path, alone: Path) -> None:
    for name in ("vit", "parts"):
        assert torch.allclose(losses(runs / name)[:6], losses(alone)[:6], rtol=1e-4)
        assert torch.allclose(losses(runs / name), losses(alone), rtol=2e-2)


def test_the_failure_of_one_process_ends_all_with_its_error(dataset: Dataset, tmp_path: Path) -> None:
    process = torchrun(2, SCRIPT, "fail_alone", tmp_path, dataset.path)
    words, _ = process.communicate(timeout=280)
    assert process.returncode != 0
    assert "the disk of process 1 is gone" in words


def test_a_loss_that_one_process_finds_infinite_stops_all_and_names_all_images(
    dataset: Dataset, tmp_path: Path
) -> None:
    process = torchrun(2, SCRIPT, "diverge_alone", tmp_path, dataset.path)
    words, _ = process.communicate(timeout=280)
    assert process.returncode != 0
    assert "the loss became inf at step 3" in words
    told = json.loads((tmp_path / "diverged/diverged.json").read_text())
    assert (told["step"], len(told["images"])) == (3, TINY["batch_size"])
    known = open_dataset(dataset.path).keys("train", range(len(dataset.index("train"))))
    assert set(told["images"]) <= set(known)


@pytest.mark.skipif(
    not hasattr(LaunchConfig, "signals_to_handle"), reason="this torchrun passes no other signals on"
)
def test_processes_that_a_scheduler_ends_are_saved_and_go_on_to_the_bit(
    dataset: Dataset, tmp_path: Path
) -> None:
    process = torchrun(2, SCRIPT, "terminate", tmp_path, dataset.path)
    said, _ = process.communicate(timeout=280)
    assert process.returncode == 1, said  # the launcher's own
    assert "was stopped by SIGTERM, and saved after" in said
    assert 4 <= len(records(tmp_path / "terminated")) < 8
    handled = "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"
    process = torchrun(2, handled, SCRIPT, "go_on_and_be_warned", tmp_path, dataset.path)
    said, _ = process.communicate(timeout=280)
    assert process.returncode == 1, said
    assert "was stopped by SIGUSR1, and saved after" in said
    assert (tmp_path / "warned/checkpoints/last/state.pt").exists()
    assert_same(tmp_path / "terminated", tmp_path / "whole")


def test_a_mistake_is_told_once(dataset: Dataset, tmp_path: Path) -> None:
    process = torchrun(
        2, "-m", "hypernym", "pretrain", dataset.path, tmp_path / "run", "--start", "gone"
    )
    words, _ = process.communicate(timeout=280)
    assert process.returncode != 0
    assert words.count("error: ") == 1
