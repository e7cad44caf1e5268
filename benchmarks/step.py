"""What a training step costs beside model, loss and optimizer, on synthetic batches.

    python benchmarks/step.py --model resnet18 --size 96 --batch-size 32

The bare loop is forward, backward and update of the same model with the same loss and optimizer. The
training step of hypernym does the same and, beside it, seeds, adds up, checks, clips and takes notes.
Both work on the same batches in turn; the figure is the median over rounds of the ratio of a round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch

from hypernym.data.loader import Batch
from hypernym.distributed import World
from hypernym.losses.single import SingleLabelLoss
from hypernym.models import Classifier, make_backbone
from hypernym.training.config import PretrainConfig
from hypernym.training.optimizer import make_optimizer
from hypernym.training.options import OptimOptions, Precision
from hypernym.training.task import LabelTask
from hypernym.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Print milliseconds a step of both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6, help="in a round")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--ema", type=float, default=0.0, help="decay; also costs the bare loop nothing")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    device = torch.device(given.device)
    size, num_images, num_classes = given.size, given.batch_size, given.classes

    batch = Batch(
        torch.randint(256, (num_images, 3, size, size), dtype=torch.uint8, device=device),
        torch.randint(num_classes, (num_images,), device=device),
        torch.arange(num_images),
        None,
    )
    optim = OptimOptions(lr=1e-4, clip_norm=0.0)
    config = PretrainConfig(
        optim=optim, batch_size=num_images, ema=given.ema, precision=Precision.FLOAT32
    )

    def make_task() -> LabelTask:
        torch.manual_seed(0)
        backbone = make_backbone(given.model, num_classes=num_classes, image_size=size)
        classifier = Classifier(backbone, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        return LabelTask(classifier, SingleLabelLoss())

    num_steps = (given.rounds + 1) * given.steps
    trainer = Trainer(make_task(), config, device, World(), num_steps=num_steps, image_size=size)
    bare = make_task()
    bare.classifier.to(device).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(bare.classifier.backbone, optim, device)

    def take_bare_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(bare.losses(batch.images, batch.labels)["loss"])
        optimizer.step()

    def take_step() -> None:
        trainer.take_step([batch])

    ways = {"bare loop": take_bare_step, "hypernym": take_step}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds + 1):
        for name, way in ways.items():
            taken = _time(way, given.steps, device)
            if number:  # the first round warms up
                seconds[name].append(taken)
    ratios = [ours / theirs for theirs, ours in zip(*seconds.values(), strict=True)]
    print(f"{given.model}, {size} px, batch {num_images}, {device}, {torch.get_num_threads()} threads")
    for name, times in seconds.items():
        print(f"  {name:<10}{1000 * statistics.median(times):9.2f} ms a step")
    low, middle, high = (sorted(ratios)[int(share * (len(ratios) - 1))] for share in (0.25, 0.5, 0.75))
    print(f"  ratio     {middle:9.3f} (quartiles {low:.3f} to {high:.3f}; budget 1.03)")


def _time(way: Callable[[], None], steps: int, device: torch.device) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        way()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    main()
