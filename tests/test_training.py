"""Training learns, resumes to the bit, and stops when it must."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from conftest import TINY
from safetensors.torch import load_file

from hypernym.checkpoint import find_checkpoint, load_checkpoint
from hypernym.commands import tree
from hypernym.commands.evaluate import evaluate
from hypernym.commands.prepare import prepare
from hypernym.commands.pretrain import pretrain
from hypernym.data.dataset import open_dataset
from hypernym.errors import DivergenceError, OutputError, RunError, UsageError
from hypernym.hierarchy.scheme import Scheme
from hypernym.losses.semantic import SemanticSoftmaxLoss
from hypernym.training import loop
from hypernym.training.config import OptimOptions, PretrainConfig
from hypernym.training.loop import Trainer
from hypernym.training.optimizer import make_schedule

if TYPE_CHECKING:
    from pathlib import Path

    from hypernym.data.dataset import Dataset
    from hypernym.data.loader import Batch


def train(dataset: Dataset, run: Path, *, resume: bool = False, **options: Any) -> None:  # noqa: ANN401
    """Train as the `run` of conftest.py is trained, but for the options given."""
    config = PretrainConfig.model_validate(TINY | options)
    pretrain(dataset.path, run, recipe="small", options=config, resume=resume)


def losses(run: Path) -> list[tuple[float, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(record["step"], record["train/loss"]) for record in records if "train/loss" in record]


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_a_run_folder_holds_what_the_formats_say(run: Path) -> None:
    assert PretrainConfig.model_validate(yaml.safe_load((run / "config.yaml").read_text())).epochs == 3
    for name in ("last", "best"):
        files = {path.name for path in (run / "checkpoints" / name).iterdir()}
        extra = {"state.pt"} if name == "last" else set()
        assert files == {"model.safetensors", "config.json", "tree.json"} | extra
    steps = [step for step, _ in losses(run)]
    assert steps == list(range(1, len(steps) + 1))


def test_the_loss_falls(run: Path) -> None:
    values = [loss for _, loss in losses(run)]
    third = len(values) // 3
    assert sum(values[-third:]) < 0.9 * sum(values[:third])


def test_the_same_seed_gives_the_same_curve_on_any_number_of_workers(
    dataset: Dataset, run: Path, tmp_path: Path
) -> None:
    train(dataset, tmp_path / "again", workers=2)
    assert losses(tmp_path / "again") == losses(run)
    assert same_weights(tmp_path / "again/checkpoints/last", run / "checkpoints/last")


def kill_in_step(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make training stop before `step`, as a kill would."""
    real = Trainer.take_step

    def take_step(self: Trainer, batch: Batch) -> float:
        if self.steps_done + 1 == step:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(Trainer, "take_step", take_step)


@pytest.mark.parametrize("step", [1, 17, 33])
def test_a_killed_and_resumed_run_equals_one_never_killed(
    dataset: Dataset, run: Path, tmp_path: Path, step: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        kill_in_step(patched, step)
        with pytest.raises(KeyboardInterrupt):
            train(dataset, tmp_path / "run")
    train(dataset, tmp_path / "run", resume=True)
    assert losses(tmp_path / "run") == losses(run)
    assert same_weights(tmp_path / "run/checkpoints/last", run / "checkpoints/last")
    assert same_weights(tmp_path / "run/checkpoints/best", run / "checkpoints/best")


def test_a_run_killed_between_its_first_two_checkpoints_starts_again(
    dataset: Dataset, run: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        kill_in_step(patched, 12)
        with pytest.raises(KeyboardInterrupt):
            train(dataset, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints/last")  # only `best` was saved when the kill came
    train(dataset, tmp_path / "run", resume=True)
    assert losses(tmp_path / "run") == losses(run)


def test_a_run_is_not_resumed_on_another_dataset(world: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    prepare(world, tmp_path / "other", min_images=3, val_per_class=1, size=32, workers=1)
    tree.build(tmp_path / "other")
    with pytest.raises(RunError, match="give the dataset of the first run"):
        train(open_dataset(tmp_path / "other"), tmp_path / "run", resume=True)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
@pytest.mark.parametrize("pct_start", [0.1, 0.5, 0.99])
def test_a_schedule_of_any_length_can_be_followed(num_steps: int, pct_start: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make_schedule(optimizer, OptimOptions(lr=0.5, pct_start=pct_start), num_steps)
    for _ in range(num_steps):
        optimizer.step()
        assert 0 <= schedule.get_last_lr()[0] <= 0.5
        schedule.step()


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_update(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(DivergenceError, match="the gradient became nan at step 0"):
        train(dataset, tmp_path / "run", epochs=1)


def test_reading_a_run_leaves_the_checkpoint_that_is_being_written(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    half_written = tmp_path / "run/checkpoints/.last.new"
    half_written.mkdir()
    find_checkpoint(tmp_path / "run")
    assert half_written.exists()


def test_a_folder_without_a_run_is_not_resumed(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no run"):
        train(dataset, tmp_path, resume=True)


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, tmp_path / "run", epochs=1)
    before = (tmp_path / "run/checkpoints/last/model.safetensors").read_bytes()
    train(dataset, tmp_path / "run", epochs=1, resume=True)
    assert (tmp_path / "run/checkpoints/last/model.safetensors").read_bytes() == before


def test_resuming_with_another_learning_rate_is_refused(dataset: Dataset, run: Path) -> None:
    with pytest.raises(RunError, match="begun with optim"):
        train(dataset, run, optim=OptimOptions(lr=0.1), resume=True)


def test_a_taken_folder_is_refused(dataset: Dataset, run: Path) -> None:
    with pytest.raises(OutputError, match="--resume"):
        train(dataset, run)


def test_a_loss_that_is_not_finite_stops_the_run_before_the_update(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SemanticSoftmaxLoss.forward
    calls = 0

    def forward(self: SemanticSoftmaxLoss, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return real(self, logits, labels) * (float("nan") if calls == 2 else 1.0)

    monkeypatch.setattr(SemanticSoftmaxLoss, "forward", forward)
    with pytest.raises(DivergenceError, match=r"at step 1: begin a new run with a lower --optim\.lr"):
        train(dataset, tmp_path / "run", epochs=1)


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_both_schemes_train_in_each_precision(dataset: Dataset, tmp_path: Path, precision: str) -> None:
    for scheme in Scheme:
        train(dataset, tmp_path / scheme, epochs=1, scheme=scheme, precision=precision)
        assert load_checkpoint(find_checkpoint(tmp_path / scheme)).card.scheme == scheme


def test_a_vision_transformer_is_made_for_the_size_of_the_dataset(
    dataset: Dataset, tmp_path: Path
) -> None:
    train(dataset, tmp_path / "vit", model="test_vit", epochs=1)
    assert evaluate(tmp_path / "vit", dataset.path).accuracy.images > 0


def test_yaml_files_lie_between_the_recipe_and_the_options(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("epochs: 7\noptim: {lr: 0.5, weight_decay: 0.25}\n")
    (tmp_path / "b.yaml").write_text("epochs: 1\noptim: {lr: 0.125}\n")
    given = {name: value for name, value in TINY.items() if name != "epochs"} | {"optim": {"lr": 0.001}}
    pretrain(
        dataset.path,
        tmp_path / "run",
        recipe="small",
        config=(tmp_path / "a.yaml", tmp_path / "b.yaml"),
        options=PretrainConfig.model_validate(given),
    )
    written = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert written["epochs"] == 1
    assert (written["optim"]["lr"], written["optim"]["weight_decay"]) == (0.001, 0.25)


def test_an_unknown_key_in_yaml_names_the_nearest(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("optim: {lrr: 0.5}\n")
    with pytest.raises(
        UsageError, match=r"a.yaml: there is no option optim.lrr \(did you mean 'lr'\?\)"
    ):
        pretrain(dataset.path, tmp_path / "run", config=(tmp_path / "a.yaml",))
