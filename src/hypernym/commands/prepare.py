"""`hypernym prepare`: raw images become a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, validate_call

from hypernym.data.engine import count_workers
from hypernym.data.images import ImagePolicy, Resize
from hypernym.data.pipeline import PrepareRules, run_preparation
from hypernym.data.selection import SelectionRule
from hypernym.errors import UsageError
from hypernym.files import check_vacant
from hypernym.hierarchy.wordnet import name_of


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` made."""

    dataset: Path
    classes: int
    classes_dropped: int
    train_images: int
    val_images: int
    images_seen: int
    images_rejected: dict[str, int]
    digest: str

    def __str__(self) -> str:
        """Return the summary for a person."""
        rejected = ", ".join(f"{count} {reason}" for reason, count in self.images_rejected.items())
        return (
            f"{self.dataset}: {self.classes} classes, {self.train_images:,} train and "
            f"{self.val_images:,} val images\n"
            f"  seen      {self.images_seen:,} images\n"
            f"  rejected  {sum(self.images_rejected.values()):,} images"
            f"{f' ({rejected})' if rejected else ''}\n"
            f"  dropped   {self.classes_dropped:,} classes with too few images\n"
            f"  digest    {self.digest[:16]}\n"
            f"Next: hypernym tree build {self.dataset}"
        )


@validate_call
def prepare(
    source: Path,
    dataset: Path,
    *,
    min_images: Annotated[int, Field(ge=1)] = 50,
    val_per_class: Annotated[int, Field(ge=0)] = 10,
    size: Annotated[int, Field(ge=8, le=4096)] = 224,
    resize: Resize = Resize.SQUISH,
    quality: Annotated[int, Field(ge=1, le=100)] = 95,
    shard_mb: Annotated[int, Field(ge=1)] = 128,
    seed: Annotated[int, Field(ge=0)] = 0,
    workers: Annotated[int, Field(ge=1)] | None = None,
    resume: bool = False,
) -> PrepareReport:
    """Turn raw images into a checked, split, resized and sharded dataset.

    Args:
        source: A folder of class folders, or a tar of class tars (it is read in place).
        dataset: The folder to make. Nothing is written anywhere else.
        min_images: Classes with fewer usable images are dropped (the paper: 501).
        val_per_class: Images of each class held out for validation (the paper: 50).
        size: Pixels of a side of the stored images; an image that lies within stays as it is.
        resize: "squish" to a square, or "short-edge" to keep the aspect ratio.
        quality: JPEG quality of the stored images.
        shard_mb: Megabytes of images in a shard.
        seed: Chooses the images held out and the order in the shards.
        workers: Processes; by default one for each core.
        resume: Go on with a preparation that was stopped.
    """
    if val_per_class >= min_images:
        raise UsageError(
            f"--val-per-class {val_per_class} would hold out every image of a class of --min-images "
            f"{min_images}: keep the first below the second."
        )
    rules = PrepareRules(
        ImagePolicy(size, resize, quality),
        SelectionRule(min_images, val_per_class, seed),
        shard_mb * 1_000_000,
    )
    check_vacant(dataset, resume=resume, what="dataset")
    made = run_preparation(
        source,
        dataset,
        rules,
        name_classes=lambda ids: [name_of(class_id) for class_id in ids],
        workers=count_workers(workers),
    )
    card = made.card
    return PrepareReport(
        dataset,
        len(made.classes),
        len(card["classes_dropped"]),
        card["splits"]["train"]["images"],
        card["splits"]["val"]["images"],
        card["images_seen"],
        card["images_rejected"],
        card["digest"],
    )
