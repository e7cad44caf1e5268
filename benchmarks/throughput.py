"""Images a second of a training step, beside those of a loop as timm's train.py has it.

    python benchmarks/throughput.py                                    # ResNet-50 at 224 px, on a GPU
    python benchmarks/throughput.py --dataset DATASET --workers 15     # with pictures that are loaded
    python benchmarks/throughput.py --model resnet18 --size 64 --batch-size 16 --steps 3    # on a CPU

Both ways train the same model with the same loss, optimizer, schedule and number format on the same
uint8 batches, which come from the host, and take turns of some steps. timm's way is that of its train.py
without options: normalise on the device, autocast, one backward pass, update, read the loss. The figure
is the median over rounds of the ratio of a round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import chain, count, cycle
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from timm.utils import AverageMeter, NativeScaler

from hypernym.data.dataset import open_dataset
from hypernym.data.loader import Batch, make_train_loader
from hypernym.data.rows import SplitRows
from hypernym.data.transforms import Augmentation
from hypernym.distributed import World, local_device
from hypernym.inference import autocast
from hypernym.losses.single import SingleLabelLoss
from hypernym.models import Classifier, make_backbone
from hypernym.training.config import PretrainConfig
from hypernym.training.optimizer import make_optimizer, make_schedule
from hypernym.training.options import OptimOptions, Precision, ScheduleOptions
from hypernym.training.task import LabelTask
from hypernym.training.trainer import Trainer, resolve_precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SYNTHETIC = 4
"""Batches that are drawn, and then shown again and again."""


def main() -> None:
    """Print images a second of both, and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--classes", type=int, default=10450, help="of synthetic batches")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--precision", type=Precision, choices=list(Precision), default=Precision.AUTO)
    parser.add_argument("--steps", type=int, default=20, help="in a round")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument(
        "--dataset", type=Path, help="a prepared dataset; without one, synthetic batches"
    )
    parser.add_argument("--workers", type=int, default=8, help="that load the pictures of a dataset")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    device = local_device(torch.device(given.device))
    num_classes = given.classes
    batches = draw_batches(given.batch_size, given.size, num_classes, pin=device.type == "cuda")
    if given.dataset:
        num_classes = len(open_dataset(given.dataset).classes)
        batches = load_batches(given.dataset, given, device)
    config = PretrainConfig(
        model=given.model,
        batch_size=given.batch_size,
        ema=0.0,
        optim=OptimOptions(name=given.optimizer, lr=1e-4, clip_norm=0.0),
        schedule=ScheduleOptions(name="cosine"),
        precision=given.precision,
    )
    num_steps = (given.rounds + 1) * given.steps

    def make_task() -> LabelTask:
        torch.manual_seed(0)
        backbone = make_backbone(given.model, num_classes=num_classes, image_size=given.size)
        classifier = Classifier(backbone, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        return LabelTask(classifier, SingleLabelLoss())

    trainer = Trainer(make_task(), config, device, World(), num_steps=num_steps, image_size=given.size)
    ways: dict[str, Callable[[Batch], object]] = {
        "timm's loop": follow_timm(make_task(), config, device, num_steps),
        "hypernym": lambda batch: trainer.take_step([batch]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds + 1):
        for name, take_step in ways.items():
            taken = time_steps(take_step, batches, given.steps, device)
            if number:  # the first round warms up
                seconds[name].append(taken)
    print(
        f"{given.model}, {given.size} px, batch {given.batch_size}, {num_classes:,} classes, "
        f"{given.optimizer}, {resolve_precision(given.precision, device)}, {device}, "
        f"{torch.get_num_threads()} threads, {'loaded' if given.dataset else 'synthetic'} batches"
    )
    for name, times in seconds.items():
        print(f"  {name:<12}{given.batch_size / statistics.median(times):10.1f} images a second")
    ratios = [theirs / ours for theirs, ours in zip(*seconds.values(), strict=True)]
    low, middle, high = (sorted(ratios)[int(share * (len(ratios) - 1))] for share in (0.25, 0.5, 0.75))
    print(f"  hypernym / timm's loop {middle:.3f} (quartiles {low:.3f} to {high:.3f})")


def draw_batches(batch_size: int, size: int, num_classes: int, *, pin: bool) -> Iterator[Batch]:
    """Give synthetic batches without end, in the memory that a loader would hand them over in."""
    drawn = []
    for _ in range(SYNTHETIC):
        images = torch.randint(256, (batch_size, 3, size, size), dtype=torch.uint8)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.randint(num_classes, (batch_size,))
        if pin:
            images, labels = images.pin_memory(), labels.pin_memory()
        drawn.append(Batch(images, labels, torch.arange(batch_size), None))
    return cycle(drawn)


def load_batches(path: Path, given: argparse.Namespace, device: torch.device) -> Iterator[Batch]:
    """Give batches of a dataset without end, cropped and flipped."""
    loader = make_train_loader(
        SplitRows(open_dataset(path), "train"),
        Augmentation(),
        size=given.size,
        batch_size=given.batch_size,
        seed=0,
        workers=given.workers,
        pin=device.type == "cuda",
    )
    return chain.from_iterable(loader.batches(epoch, 0) for epoch in count())


def follow_timm(
    task: LabelTask, config: PretrainConfig, device: torch.device, num_steps: int
) -> Callable[[Batch], None]:
    """Return a step as timm's train.py takes it."""
    precision = resolve_precision(config.precision, device)
    classifier = task.classifier.to(device).to(memory_format=torch.channels_last).train()
    scaler = NativeScaler(device.type) if precision == torch.float16 else None
    scaled = scaler is not None
    optimizer = make_optimizer(classifier.backbone, config.optim, device, scaled=scaled)
    schedule = make_schedule(optimizer, config.schedule, config.optim.lr, num_steps)
    losses = AverageMeter()

    def take_step(batch: Batch) -> None:
        images = batch.images.to(device, non_blocking=True)
        labels = batch.labels.to(device, non_blocking=True)
        with autocast(device, precision):
            loss = task.losses(images, labels)["loss"]
        if scaler is not None:
            scaler(loss, optimizer)
        else:
            torch.autograd.backward(loss)
            optimizer.step()
        losses.update(loss.item(), len(labels))
        optimizer.zero_grad()
        schedule.step()

    return take_step


def time_steps(
    take_step: Callable[[Batch], object], batches: Iterator[Batch], steps: int, device: torch.device
) -> float:
    """Return the seconds of a step."""
    began = time.perf_counter()
    for _ in range(steps):
        take_step(next(batches))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    main()
