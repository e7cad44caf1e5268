"""What only a GPU can show; without one these tests are skipped, and say so."""

from __future__ import annotations

import random
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
from conftest import TINY, killed_before_step
from safetensors.torch import load_file

from hypernym.commands.evaluate import evaluate
from hypernym.commands.pretrain import pretrain
from hypernym.data.device_transforms import augment_on_device
from hypernym.data.loader import Batch
from hypernym.data.transforms import Augmentation
from hypernym.distributed import World, local_device
from hypernym.errors import UsageError
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.scheme import Distillation, Scheme
from hypernym.hierarchy.tree import ROOT, Tree
from hypernym.losses.distillation import Trust
from hypernym.losses.schemes import make_distillation, make_loss
from hypernym.models import Classifier, make_backbone
from hypernym.training.config import PretrainConfig
from hypernym.training.log import read_records
from hypernym.training.task import LabelTask
from hypernym.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hypernym.data.dataset import Dataset

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

# animal > dog, animal > cat > kitten; plant
FIVE = Tree(("animal", "cat", "dog", "kitten", "plant"), (ROOT, 0, 0, 1, ROOT), "by hand", "none")
LEVELS = make_levels(FIVE)
SIZE = 64
KINDS = [(scheme, kind) for scheme in Scheme for kind in (None, *Distillation)]


@contextmanager
def refused_to_wait() -> Iterator[None]:
    """Make an error of everything that lets Python wait for the GPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that the mode does not see everything yet
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def make_criterion(scheme: Scheme) -> torch.nn.Module:
    return make_loss(scheme, LEVELS, label_smoothing=0.1, weights_L=LEVELS.weights_L(1.0).tolist())


def make_trainer(scheme: Scheme = Scheme.SEMANTIC, **options: Any) -> Trainer:  # noqa: ANN401
    device = local_device(torch.device("cuda"))
    torch.manual_seed(0)
    backbone = make_backbone("test_resnet", num_classes=5, image_size=SIZE)
    task = LabelTask(
        Classifier(backbone, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), make_criterion(scheme).to(device)
    )
    config = PretrainConfig.model_validate({"batch_size": 8, "ema": 0.9} | options)
    return Trainer(task, config, device, World(), num_steps=40, image_size=SIZE)


def make_batch() -> Batch:
    images = torch.randint(256, (8, 3, SIZE, SIZE), dtype=torch.uint8).pin_memory()
    return Batch(images, (torch.arange(8) % 5).pin_memory(), torch.arange(8), None)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"precision": "float32"},
        {"precision": "fp16"},
        {"precision": "bf16", "accumulate": 2},
        {"augment": {"mixup": 0.5, "cutmix": 0.5}},
        {"optim": {"name": "sgd"}, "drop": 0.1, "ema": 0.0},
    ],
)
@pytest.mark.parametrize("scheme", Scheme)
def test_a_step_never_waits_for_the_gpu(scheme: Scheme, options: dict[str, Any]) -> None:
    trainer = make_trainer(scheme, **options)
    batches = [make_batch() for _ in range(options.get("accumulate", 1))]
    for _ in range(4):  # what is made or chosen once
        trainer.take_step(batches)
    with refused_to_wait():
        records = [record for _ in range(6) for record in trainer.take_step(batches)]
    assert [record.step for record in records] == list(range(3, 9))  # read two steps late
    assert [record.step for record in trainer.catch_up()] == [9, 10]


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_a_batch_is_learned_in_each_precision(precision: str) -> None:
    trainer, batch = make_trainer(precision=precision, optim={"lr": 5e-3}), make_batch()
    records = [record for _ in range(40) for record in trainer.take_step([batch])]
    records += trainer.catch_up()
    assert records[-1].values["loss"] < 0.7 * records[0].values["loss"]


def descend(loss: Callable[[torch.Tensor], torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
    """Return a loss and its gradient, on the CPU."""
    logits_BC = logits.clone().requires_grad_()
    value = loss(logits_BC)
    torch.autograd.backward(value)
    assert logits_BC.grad is not None
    return torch.cat([value.detach().reshape(1), logits_BC.grad.flatten()]).cpu()


@pytest.mark.parametrize(("scheme", "kind"), KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_losses_are_those_of_the_cpu(scheme: Scheme, kind: Distillation | None, shared: bool) -> None:
    torch.manual_seed(0)
    logits, teacher = torch.randn(2, 16, 5)
    targets = torch.randint(5, (16,))
    if shared:
        one, other = torch.nn.functional.one_hot(torch.stack([targets, targets.flip(0)]), 5).float()
        targets = 0.7 * one + 0.3 * other
    found = []
    for device in ("cpu", "cuda"):
        labels, said = targets.to(device), teacher.to(device)
        if kind is None:
            criterion = make_criterion(scheme).to(device)
            found.append(descend(lambda x, f=criterion, y=labels: f(x, y), logits.to(device)))  # type: ignore[misc]
        else:
            distance = make_distillation(kind, scheme, LEVELS, trust=Trust.PAPER, temperature=2.0)
            distance = distance.to(device)
            found.append(
                descend(lambda x, f=distance, t=said, y=labels: f(x, t, y), logits.to(device))  # type: ignore[misc]
            )
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_pictures_are_decoded_and_augmented_as_on_the_cpu(dataset: Dataset) -> None:
    reader, index = dataset.reader("train"), dataset.index("train")
    jpegs = [torch.frombuffer(bytearray(reader.read(index[row])), dtype=torch.uint8) for row in range(8)]
    pictures = []
    for name in ("cpu", "cuda"):
        chances = (random.Random(f"{row}") for row in range(8))  # noqa: S311
        device = local_device(torch.device(name))
        augmentation = Augmentation(cutout=0.3, erase=0.5)
        pictures.append(augment_on_device(jpegs, chances, augmentation, 32, device).cpu().float())
    difference = (pictures[1] - pictures[0]).abs()
    assert difference.mean() < 3  # of 255: its decoder upsamples colours in another way


def losses(run: Path) -> torch.Tensor:
    records = read_records(run / "metrics.jsonl")
    return torch.tensor([record["train/loss"] for record in records if "train/loss" in record])


def train(dataset: Dataset, run: Path, *, resume: bool = False, **options: Any) -> None:  # noqa: ANN401
    config = PretrainConfig.model_validate(TINY | {"ema": 0.9, "save": {"steps": 3}} | options)
    pretrain(dataset.path, run, recipe="small", options=config, resume=resume)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float32"},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"augment": {"on_device": True}},
        {"compile": True, "epochs": 1},
    ],
)
def test_a_run_on_a_gpu_goes_on_where_it_was(
    dataset: Dataset, tmp_path: Path, options: dict[str, Any]
) -> None:
    """Without torchrun, and nearly to the bit: kernels of a GPU may add in another order."""
    train(dataset, tmp_path / "whole", device="cuda", **options)
    with killed_before_step(8), pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "killed", device="cuda", **options)
    train(dataset, tmp_path / "killed", device="cuda", resume=True, **options)
    whole, resumed = losses(tmp_path / "whole"), losses(tmp_path / "killed")
    assert torch.allclose(resumed[:10], whole[:10], rtol=0.02)
    assert torch.allclose(resumed, whole, rtol=0.3)


@pytest.mark.parametrize(("first", "then"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_goes_on_on_another_device(
    dataset: Dataset, tmp_path: Path, first: str, then: str
) -> None:
    """A fused optimizer keeps its number of steps on the GPU, any other one on the host."""
    with killed_before_step(8), pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "run", device=first, precision="float32")
    train(dataset, tmp_path / "run", device=then, precision="float32", resume=True)
    train(dataset, tmp_path / "whole", device=first, precision="float32")
    assert torch.allclose(losses(tmp_path / "run")[:10], losses(tmp_path / "whole")[:10], rtol=0.05)


def test_a_run_of_a_gpu_is_measured_on_a_cpu_too(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, tmp_path / "run", device="cuda", precision="bf16", epochs=1)
    figures = [evaluate(tmp_path / "run", dataset.path, device=name) for name in ("cuda", "cpu")]
    assert figures[0].accuracy.images == figures[1].accuracy.images
    assert abs(figures[0].accuracy.top1 - figures[1].accuracy.top1) <= 2 / figures[0].accuracy.images
    weights = load_file(tmp_path / "run/checkpoints/last/model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} <= {torch.float32, torch.int64}


def test_a_gpu_with_too_little_memory_says_what_to_try(dataset: Dataset, tmp_path: Path) -> None:
    torch.cuda.set_per_process_memory_fraction(1e-4)
    try:
        with pytest.raises(UsageError, match="too little memory for 16 images"):
            train(dataset, tmp_path / "run", device="cuda", model="resnet50")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
