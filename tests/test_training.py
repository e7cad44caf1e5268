"""Training learns, resumes to the bit, and stops when it must."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from conftest import TINY, killed_before_step
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from hypernym.checkpoint import find_checkpoint, load_checkpoint
from hypernym.commands import tree
from hypernym.commands.evaluate import evaluate
from hypernym.commands.prepare import prepare
from hypernym.commands.pretrain import pretrain
from hypernym.data.dataset import open_dataset
from hypernym.data.loader import Batch
from hypernym.data.order import Sharing
from hypernym.distributed import World, join_world, local_device
from hypernym.errors import DivergenceError, OutputError, RunError, UsageError
from hypernym.hierarchy.scheme import Scheme
from hypernym.losses.semantic import SemanticSoftmaxLoss
from hypernym.losses.single import SingleLabelLoss
from hypernym.metrics.accuracy import AccuracyCounter
from hypernym.models import Classifier, make_backbone
from hypernym.training import feeding, trainer
from hypernym.training.config import PretrainConfig
from hypernym.training.optimizer import TIMM_SCHEDULES, lr_of, make_optimizer, make_schedule
from hypernym.training.options import AugmentOptions, OptimOptions, ScheduleOptions
from hypernym.training.task import LabelTask
from hypernym.training.trainer import Trainer, told_what_to_try
from hypernym.training.watch import StepRecord, Watch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hypernym.data.dataset import Dataset


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


def test_a_run_is_not_resumed_on_another_dataset(world: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    prepare(world, tmp_path / "other", min_images=3, val_per_class=1, size=32, workers=1)
    tree.build(tmp_path / "other")
    with pytest.raises(RunError, match="give the dataset of the first run"):
        train(open_dataset(tmp_path / "other"), tmp_path / "run", resume=True)


@pytest.mark.parametrize("name", ["onecycle", *TIMM_SCHEDULES])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_a_schedule_of_any_length_can_be_followed(name: str, num_steps: int, warmup: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = make_schedule(optimizer, ScheduleOptions(name=name, warmup=warmup), 0.5, num_steps)
    for _ in range(num_steps):
        optimizer.step()
        assert 0 <= lr_of(optimizer) <= 0.5 + 1e-9
        schedule.step()


@pytest.mark.parametrize("name", ["onecycle", "cosine", "poly"])
def test_a_schedule_rises_for_its_share_of_the_steps_and_then_falls(name: str) -> None:
    rates = follow(ScheduleOptions(name=name, warmup=0.25, first=0.1), 40)
    top = max(range(40), key=rates.__getitem__)
    assert rates[0] == pytest.approx(0.05)
    assert abs(top - 10) <= 1
    assert rates[top] == pytest.approx(0.5, rel=1e-3)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.05


def test_a_schedule_goes_on_where_it_was() -> None:
    options = ScheduleOptions(name="cosine")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = make_schedule(optimizer, options, 0.5, 40)
    schedule.load_state_dict({"steps_done": 17})
    assert lr_of(optimizer) == follow(options, 40)[17]


def follow(options: ScheduleOptions, num_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = make_schedule(optimizer, options, 0.5, num_steps)
    rates = []
    for _ in range(num_steps):
        rates.append(lr_of(optimizer))
        optimizer.step()
        schedule.step()
    return rates


def test_layers_far_from_the_head_learn_more_slowly() -> None:
    model = make_backbone("test_vit", num_classes=5, image_size=32)
    optimizer = make_optimizer(model, OptimOptions(lr=0.5, layer_decay=0.5), torch.device("cpu"))
    make_schedule(optimizer, ScheduleOptions(name="onecycle", first=1.0, warmup=0.5), 0.5, 10)
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rates = [
        rate_of[id(model.get_parameter(name))] for name in ("patch_embed.proj.weight", "head.weight")
    ]
    assert rates[1] == pytest.approx(0.5)
    assert rates[0] <= 0.5**3 + 1e-9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optim": {"name": "adamv"}}, "--optim.name adamv: timm has no such optimizer"),
        ({"schedule": {"name": "cosin"}}, r"no such schedule \(did you mean 'cosine'\?\)"),
        ({"batch_size": 15, "accumulate": 2}, "15"),
        ({"augment": {"policy": "rund-m9"}}, "rund-m9"),
        ({"optim": {"name": "adahessian"}}, "timm has no such optimizer"),
        ({"distill": {"alpha": 3.0}}, "--distill.alpha 3.0 has a meaning only with --teacher"),
        ({"loss": {"gamma_neg": 4.0}}, "a meaning only with --scheme multi-label"),
        ({"head": "new"}, "a meaning only with --start or --pretrained"),
        ({"augment": {"view": "squash", "min_scale": 0.5}}, "a meaning only with --augment.view crop"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(
    dataset: Dataset, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        train(dataset, tmp_path / "run", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 2, "drop": 0.1},
        {"augment": {"mixup": 0.8}},
        {"augment": {"mixup": 0.8, "cutmix": 1.0}, "scheme": "single-label"},
        {"augment": {"cutmix": 1.0}, "scheme": "multi-label"},
        {"augment": {"view": "squash", "policy": "randaugment", "cutout": 0.5}, "pixels": "unit"},
        {"augment": {"policy": "rand-m9-mstd0.5-inc1", "erase": 0.5, "repeats": 2}, "balance": 0.5},
        {"augment": {"first_size": 16}, "channels_last": False},
        {"augment": {"on_device": True}},
        {"model": "test_vit", "drop_path": 0.2, "checkpoint_gradients": True},
        {"optim": {"name": "lamb", "clip_norm": 0.0}, "schedule": {"name": "cosine"}},
        {"precision": "fp16"},
        {"loss": {"gamma_neg": 4, "clip": 0.05}, "scheme": "multi-label", "save": {"epochs": 0}},
    ],
)
def test_every_option_trains_and_resumes_to_the_bit(
    dataset: Dataset, tmp_path: Path, options: dict[str, Any]
) -> None:
    options = {"epochs": 1, "ema": 0.9, **options}
    train(dataset, tmp_path / "whole", **options)
    curve = [loss for _, loss in losses(tmp_path / "whole")]
    assert all(math.isfinite(loss) for loss in curve)
    options["save"] = {"steps": 3}
    with killed_before_step(8), pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "killed", **options)
    train(dataset, tmp_path / "killed", resume=True, **options)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    last = "checkpoints/last"
    assert same_weights(tmp_path / "killed" / last, tmp_path / "whole" / last)


def test_a_compiled_model_learns_the_same_and_keeps_the_names_of_its_weights(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def compile_without_kernels(model: torch.nn.Module) -> torch.nn.Module:
        compiled.append(model)
        traced: torch.nn.Module = compiler(model, backend="eager", fullgraph=True)
        return traced

    compiler: Any = torch.compile
    train(dataset, tmp_path / "plain", epochs=1)
    monkeypatch.setattr(torch, "compile", compile_without_kernels)
    train(dataset, tmp_path / "compiled", epochs=1, compile=True)
    assert len(compiled) == 1
    assert losses(tmp_path / "compiled") == losses(tmp_path / "plain")
    last = "checkpoints/last"
    assert same_weights(tmp_path / "compiled" / last, tmp_path / "plain" / last)


def test_a_step_in_parts_is_the_same_step(dataset: Dataset, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "model": "test_vit",
        "epochs": 1,
        "optim": {"name": "sgd", "lr": 0.01, "clip_norm": 0.0},  # which feels the size of a gradient
    }
    for accumulate in (1, 4):
        train(dataset, tmp_path / str(accumulate), accumulate=accumulate, **options)
    whole, in_parts = (torch.tensor(losses(tmp_path / str(number))) for number in (1, 4))
    assert torch.allclose(whole, in_parts, rtol=1e-3)


def test_the_running_mean_is_what_is_saved_and_the_weights_go_on(
    dataset: Dataset, tmp_path: Path
) -> None:
    train(dataset, tmp_path / "run", epochs=1, ema=0.9)
    last = tmp_path / "run/checkpoints/last"
    averaged = load_file(last / "model.safetensors")
    weights = torch.load(last / "state.pt", weights_only=True)["trainer"]["weights"]
    assert averaged.keys() == weights.keys()
    assert not all(torch.equal(averaged[name], weights[name]) for name in weights)


def test_too_little_memory_says_what_to_try(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def take_step(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Trainer, "take_step", take_step)
    with pytest.raises(UsageError, match=r"16 images at a time: try --accumulate 2, .* parts of 8"):
        train(dataset, tmp_path / "run", epochs=1)


@given(
    share=st.integers(1, 40),
    processes=st.integers(1, 8),
    accumulate=st.integers(1, 4),
    repeats=st.integers(1, 3),
)
def test_what_is_advised_where_memory_lacks_can_be_given(
    share: int, processes: int, accumulate: int, repeats: int
) -> None:
    config = PretrainConfig(
        batch_size=share * math.lcm(processes * accumulate, repeats),
        accumulate=accumulate,
        augment=AugmentOptions(repeats=repeats),
    )
    before = share_out(config, processes)
    with pytest.raises(UsageError) as told, told_what_to_try(config, World(0, processes)):
        raise torch.OutOfMemoryError
    advised = re.findall(r"--(batch-size|accumulate) (\d+)", str(told.value))
    for option, value in advised:
        changed = config.model_copy(update={option.replace("-", "_"): int(value)})
        assert share_out(changed, processes) < before
    assert advised or "another --model" in str(told.value)
    if before > 1:
        assert "--accumulate" in str(told.value)


def share_out(config: PretrainConfig, processes: int) -> int:
    """Return the images of a part; raise what the loader would."""
    repeats = config.augment.repeats
    return Sharing(config.batch_size, config.accumulate, repeats, 0, processes).micro_size


def test_a_gpu_without_torchrun_is_made_the_current_one_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = []

    def set_device(device: torch.device) -> None:
        assert device.index is not None, "torch would refuse it"
        chosen.append(device)

    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert local_device(torch.device("cpu")) == torch.device("cpu")
    for name in ("cuda", "cuda:3"):
        local_device(torch.device(name))
    monkeypatch.setenv("LOCAL_RANK", "2")
    local_device(torch.device("cuda"))
    assert chosen == [torch.device("cuda", number) for number in (0, 3, 2)]


def test_a_world_is_taken_apart_only_after_a_clean_end(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_apart = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(
        torch.distributed, "destroy_process_group", lambda: taken_apart.append("destroyed")
    )
    with pytest.raises(OSError, match="gone"), join_world():
        raise OSError("the disk is gone")
    assert taken_apart == []
    with join_world() as world:
        assert (world.rank, world.size) == (1, 2)
    assert taken_apart == ["destroyed"]


def make_trainer(**options: Any) -> Trainer:  # noqa: ANN401
    backbone = make_backbone("test_resnet", num_classes=5, image_size=32)
    classifier = Classifier(backbone, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    config = PretrainConfig.model_validate({"batch_size": 4, "ema": 0.9} | options)
    task = LabelTask(classifier, SingleLabelLoss(0.1))
    return Trainer(task, config, torch.device("cpu"), World(), num_steps=8, image_size=32)


def make_batch() -> Batch:
    images = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    return Batch(images, torch.arange(4), torch.arange(4), None)


def make_fused(*arguments: Any, fused: bool, **options: Any) -> torch.optim.Optimizer:  # noqa: ANN401
    """Make an optimizer as on a GPU."""
    optimizer = make_optimizer(*arguments, **options)
    for group in optimizer.param_groups:
        group["fused"] = fused
    return optimizer


@pytest.mark.parametrize("fused_here", [False, True])
def test_an_optimizer_is_loaded_for_the_device_that_it_goes_on_at(
    fused_here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fused one keeps its number of steps on the GPU, and torch asks the loaded groups whether."""

    monkeypatch.setattr(trainer, "make_optimizer", partial(make_fused, fused=not fused_here))
    saved = make_trainer()
    saved.take_step([make_batch()])
    monkeypatch.setattr(trainer, "make_optimizer", partial(make_fused, fused=fused_here))
    resumed = make_trainer()
    loaded: list[dict[str, Any]] = []
    resumed._optimizer.register_load_state_dict_pre_hook(lambda _, state: loaded.append(state))
    resumed.load_state_dict(saved.state_dict())
    assert [group["fused"] for group in loaded[0]["param_groups"]] == [fused_here] * 2
    assert [group["fused"] for group in resumed._optimizer.param_groups] == [fused_here] * 2
    resumed.take_step([make_batch()])


class NoHostSynchronisation(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses operations that would make Python wait for a GPU."""

    WAITING = frozenset(
        {"_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "equal"}
    )

    def __torch_dispatch__(
        self,
        operation: Any,  # noqa: ANN401
        types: object,
        arguments: Sequence[Any] = (),
        options: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        name = operation.overloadpacket.__name__
        assert name not in self.WAITING, f"{name} waits for the device"
        if name in {"index", "index_put", "index_put_"}:
            indices = [index for index in arguments[1] if index is not None]
            assert all(index.dtype != torch.bool for index in indices), f"{name} by bool waits"
        return operation(*arguments, **(options or {}))


@pytest.mark.parametrize(
    "options", [{}, {"precision": "bf16"}, {"optim": {"clip_norm": 0.0}, "ema": 0.0}]
)
def test_a_step_never_waits_for_the_device(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: with a fused optimizer, and numbers that are read steps later."""

    monkeypatch.setattr(trainer, "make_optimizer", partial(make_fused, fused=True))
    stepping = make_trainer(**options)
    monkeypatch.setattr(stepping._watch, "take", lambda **_: iter(()))
    batch = make_batch()
    stepping.take_step([batch])  # the first makes the state of the optimizer
    watched = NoHostSynchronisation()  # type: ignore[no-untyped-call]
    with watched:
        stepping.take_step([batch])
    with pytest.raises(AssertionError, match="waits for the device"), watched:
        torch.ones(2).sum().item()


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_update(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = 0

    def count_update(*_: object) -> None:
        nonlocal updates
        updates += 1

    monkeypatch.setattr(Trainer, "_update", count_update)
    monkeypatch.setattr(trainer, "get_total_norm", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(DivergenceError, match="the gradient norm became nan at step 1"):
        train(dataset, tmp_path / "run", epochs=1)
    assert updates == 0
    told = json.loads((tmp_path / "run/diverged.json").read_text())
    assert (told["step"], len(told["images"])) == (1, 16)


def test_a_fused_optimizer_leaves_out_an_update_that_is_not_finite() -> None:
    """What a GPU does without telling the host; torch's fused kernel for the CPU does the same."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.5, fused=True)
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    for flag, moved in ((1.0, False), (0.0, True)):
        weight.grad = torch.full((3,), float("nan") if flag else 1.0)
        optimizer.found_inf = torch.tensor(flag)  # type: ignore[attr-defined]
        optimizer.step()
        assert (not torch.equal(weight.detach(), torch.ones(3))) == moved


def test_numbers_are_read_late_and_in_order() -> None:
    watch = Watch(torch.device("cpu"))
    watch._on_gpu = True
    watch._pending = deque(
        (StepRecord(step, 0.1, torch.arange(2), {"loss": 0.0}), torch.tensor([float(step)]), None)
        for step in range(1, 6)
    )
    assert [record.step for record in watch.take()] == [1, 2, 3]
    assert [record.values["loss"] for record in watch.take(everything=True)] == [4.0, 5.0]


def test_a_dry_run_shows_the_first_batch_and_trains_nothing(dataset: Dataset, tmp_path: Path) -> None:
    options = PretrainConfig.model_validate(TINY)
    shown = pretrain(dataset.path, tmp_path / "run", recipe="small", options=options, dry_run=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["dry-run.png"]
    with Image.open(tmp_path / "run/dry-run.png") as picture:
        assert picture.size == (8 * 34 + 2, 2 * 34 + 2)
    assert "steps" in str(shown)
    assert "parameters" in str(shown)
    train(dataset, tmp_path / "run", epochs=1)


def test_a_dry_run_measures_one_batch(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = 0
    real = AccuracyCounter.update

    def update(self: AccuracyCounter, *arguments: Any) -> None:  # noqa: ANN401
        nonlocal shown
        shown += 1
        real(self, *arguments)

    monkeypatch.setattr(AccuracyCounter, "update", update)
    monkeypatch.setattr(feeding, "MEASURED_AT_A_TIME", 4)
    options = PretrainConfig.model_validate(TINY)
    pretrain(dataset.path, tmp_path / "run", recipe="small", options=options, dry_run=True)
    assert shown == 1


def test_a_dry_run_of_few_steps_is_no_longer_than_it_needs(dataset: Dataset, tmp_path: Path) -> None:
    options = PretrainConfig.model_validate(TINY | {"batch_size": 100, "epochs": 1})
    shown = pretrain(dataset.path, tmp_path / "run", recipe="small", options=options, dry_run=True)
    assert "in 1 epochs of 1" in str(shown)


def test_gradients_that_are_never_finite_stop_an_fp16_run(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "MOST_BAD_STEPS", 4)
    monkeypatch.setattr(trainer, "get_total_norm", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(DivergenceError, match=r"no gradient of the last 4 steps was finite, at step 4"):
        train(dataset, tmp_path / "run", epochs=1, precision="fp16")
    assert "Infinity" not in (tmp_path / "run/metrics.jsonl").read_text()


def test_a_run_that_saved_nothing_is_in_nobodys_way(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trainer, "get_total_norm", lambda *_: torch.tensor(float("nan")))
        with pytest.raises(DivergenceError):
            train(dataset, tmp_path / "run", epochs=1)
    train(dataset, tmp_path / "run", epochs=1, optim={"lr": 0.001})
    steps = [step for step, _ in losses(tmp_path / "run")]
    assert steps == list(range(1, len(steps) + 1))


def test_a_tree_of_which_nothing_can_be_learned_is_refused_by_semantic_softmax_alone(
    dataset: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(dataset.path, tmp_path / "flat")
    ids = dataset.classes.ids
    rows = "".join(f"{child},{ids[0]}\n" for child in ids[1:])
    (tmp_path / "edges.csv").write_text(f"child,parent\n{ids[0]},\n{rows}")
    tree.build(tmp_path / "flat", taxonomy=tmp_path / "edges.csv")
    flat = open_dataset(tmp_path / "flat")
    options: dict[str, Any] = {"epochs": 1, "loss": {"use_deepest": False}}
    with pytest.raises(UsageError, match="leaves nothing to learn"):
        train(flat, tmp_path / "semantic", **options)
    train(flat, tmp_path / "single", epochs=1, scheme="single-label")


def test_a_full_disk_is_told_in_a_sentence(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OutputError, match=r"checkpoints/last cannot be written \(.*No space left"):
        train(dataset, tmp_path / "run", epochs=1)


def test_the_curves_are_drawn(run: Path) -> None:
    drawn = (run / "curves.svg").read_text()
    assert drawn.startswith("<?xml")
    assert all(word in drawn for word in ("learning rate", "images a second", "semantic_top1"))


def test_several_of_the_last_and_of_the_best_are_kept(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, tmp_path / "run", save={"steps": 4, "keep_last": 3, "keep_best": 2})
    names = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    kept = [name for name in names if name.startswith("last-")]
    assert kept == ["last-00000028", "last-00000032"]
    assert sum(name.startswith("best") for name in names) == 2
    for name in names:
        load_checkpoint(tmp_path / "run/checkpoints" / name)


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
    with pytest.raises(DivergenceError, match=r"at step 2: begin a new run with a lower --optim\.lr"):
        train(dataset, tmp_path / "run", epochs=1)


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_all_schemes_train_in_each_precision(dataset: Dataset, tmp_path: Path, precision: str) -> None:
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


TRACKING = """
import sys
from pathlib import Path
from hypernym.training.config import PretrainConfig
from hypernym.training.options import Tracker
from hypernym.training.log import MetricLog
config = PretrainConfig(track=(Tracker(sys.argv[1]),))
for first_step in (0, 1):  # the second goes on with the first
    with MetricLog(Path(sys.argv[2]), first_step, config) as log:
        log.write(first_step + 1, **{"train/loss": 2.5, "epoch": 0})
"""


@pytest.mark.parametrize(("tracker", "shown"), [("wandb", "run-*.wandb"), ("trackio", "hypernym.db")])
def test_a_tracker_gets_the_records(tracker: str, shown: str, tmp_path: Path) -> None:
    pytest.importorskip(tracker)
    (tmp_path / "run").mkdir()
    outside = {"WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", TRACKING, tracker, tmp_path / "run"],
        env={**os.environ, **outside},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2
    (database, *_) = tmp_path.rglob(shown)
    assert b"train/loss" in database.read_bytes()


def test_a_tracker_that_is_not_installed_is_named(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(UsageError, match=r"--track trackio: .* pip install 'hypernym\[trackio\]'"):
        train(dataset, tmp_path / "run", track=("trackio",))
