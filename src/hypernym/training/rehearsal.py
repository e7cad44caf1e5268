"""A rehearsal: one step of a run to be, what it takes, and what the model would see."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path  # noqa: TC003 - commands read the annotations of what they return
from typing import TYPE_CHECKING

from hypernym.files import make_folder, open_whole

if TYPE_CHECKING:
    import torch

    from hypernym.distributed import World
    from hypernym.training.loop import Course

GIB = 1 << 30
SHOWN = 64
"""Pictures of the first batch that are drawn, at most."""

TIMED_STEPS = 3


@dataclass(frozen=True)
class Rehearsal:
    """What a run would do."""

    model: str
    parameters: int
    outputs: int
    epochs: int
    steps_per_epoch: int
    batch: str
    """Images a step, and how they are shared out."""

    device: str
    memory: float
    """GiB: the most that the device gave to a step; on a CPU, that this process ever held."""

    seconds_per_step: float
    """Without waiting for data."""

    loss: float
    picture: Path
    """The first batch, as the model sees it but for mixup and cutmix."""

    def __str__(self) -> str:
        """Return the summary for a person."""
        steps = self.epochs * self.steps_per_epoch
        hours = steps * self.seconds_per_step / 3600
        return (
            f"{self.model}: {self.parameters:,} parameters, {self.outputs:,} outputs\n"
            f"  steps   {steps:,} in {self.epochs} epochs of {self.steps_per_epoch:,}\n"
            f"  batch   {self.batch}\n"
            f"  memory  {self.memory:.2f} GiB on {self.device}\n"
            f"  time    {self.seconds_per_step:.3f} s a step, {hours:.2f} h in all if data never has to "
            f"be waited for\n"
            f"  loss    {self.loss:.3f} at first\n"
            f"The first batch: {self.picture}. Nothing was trained."
        )


def rehearse(course: Course, picture: Path, device: torch.device, world: World) -> Rehearsal:
    """Take a few steps of a run and forget them; draw the first batch.

    Raises:
        UsageError: as a real run would.
    """
    import torch
    from torchvision.transforms.v2.functional import to_pil_image
    from torchvision.utils import make_grid

    from hypernym.training.trainer import Trainer, told_what_to_try

    config = course.config
    steps_per_epoch = course.loader.steps_per_epoch
    with told_what_to_try(config, world):
        trainer = Trainer(
            course.task,
            config,
            device,
            world,
            num_steps=max(config.epochs * steps_per_epoch, 1 + TIMED_STEPS),
            image_size=course.card.preprocessing.size,
        )
        parts = list(islice(course.loader.batches(0, 0), config.accumulate))
        records = trainer.take_step(parts) + trainer.catch_up()  # the first one warms up
        began = time.monotonic()
        for _ in range(TIMED_STEPS):
            trainer.take_step(parts)
        trainer.catch_up()
        seconds = (time.monotonic() - began) / TIMED_STEPS
        if course.measure is not None:
            course.measure(trainer.measured)
    if world.is_first:
        make_folder(picture.parent)
        images = torch.cat([part.images for part in parts])[:SHOWN].cpu()
        with open_whole(picture) as stream:
            to_pil_image(make_grid(images, nrow=8, padding=2, pad_value=255)).save(stream, "PNG")
    per_part = config.batch_size // (world.size * config.accumulate)
    return Rehearsal(
        model=config.model,
        parameters=sum(parameter.numel() for parameter in course.task.classifier.parameters()),
        outputs=len(course.card.class_ids),
        epochs=config.epochs,
        steps_per_epoch=steps_per_epoch,
        batch=f"{config.batch_size} images: {world.size} x {config.accumulate} x {per_part}",
        device=str(device),
        memory=_peak_bytes(device) / GIB,
        seconds_per_step=seconds,
        loss=records[0].values["loss"],
        picture=picture,
    )


def _peak_bytes(device: torch.device) -> int:
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
