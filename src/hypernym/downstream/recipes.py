"""Recipes of full fine-tuning. Each opens with its command and expected result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypernym.downstream.config import Method, TransferConfig
from hypernym.errors import UsageError
from hypernym.training.options import AugmentOptions, LossOptions, OptimOptions, ScheduleOptions
from hypernym.training.requests import flatten, overlay, refuse_without_effect

if TYPE_CHECKING:
    from hypernym.downstream.config import RecipeName

SHORTEST, LONGEST = 8, 60
"""Epochs."""

BATCHES = ((2_000, 32), (20_000, 64), (200_000, 128))
"""Numbers of training images, and the batch below each of them; above, 256."""


EVERY_METHOD = {
    "model",
    "method",
    "untrained",
    "hold_out",
    "image_size",
    "pixels",
    "seed",
    "device",
    "workers",
}
"""Options that all methods heed."""


def auto(num_images: int) -> TransferConfig:
    """Return the recipe for a dataset of this size: the fewer images, the more epochs.

    hypernym transfer MODEL DATASET OUT

    60 epochs up to 1,000 images, a third less for each ten times as many; the learning rate is the best
    of four on a part of train.

    Expected: docs/log.md has what it gives on CIFAR-100 and VOC 2007.
    """
    epochs = round(LONGEST * min(1.0, (1_000 / num_images) ** 0.2))
    batch_size = next((batch for images, batch in BATCHES if num_images < images), 256)
    return TransferConfig(
        epochs=max(SHORTEST, epochs),
        batch_size=min(batch_size, max(1, num_images // 2)),
        rates=(1e-4, 3e-4, 1e-3, 3e-3),
        ema=0.0,
        augment=AugmentOptions(min_scale=0.4),
    )


def cifar100() -> TransferConfig:
    """Return the recipe that the authors give for CIFAR-100, with timm's training script.

    hypernym transfer MODEL CIFAR100 OUT --recipe cifar100

    Expected, of the paper, with ViT-B/16 pretrained on ImageNet-21K-P: top-1 94.2 %; not repeated here.
    """
    return TransferConfig(
        epochs=50,
        batch_size=128,
        ema=0.995,
        optim=OptimOptions(name="adam", lr=2e-4, weight_decay=1e-4, clip_norm=0.0),
        schedule=ScheduleOptions(name="cosine", warmup=3 / 50),
        loss=LossOptions(label_smoothing=0.1),
        augment=AugmentOptions(view="squash", policy="v0", erase=0.5),
    )


def cifar100_sgd() -> TransferConfig:
    """Return the recipe that the authors name for CIFAR-100 in issue 40 of their code.

    hypernym transfer MODEL CIFAR100 OUT --recipe cifar100-sgd

    Expected: not published. What the issue leaves open (length, augmentation) is as in `cifar100`.
    """
    return cifar100().model_copy(
        update={
            "ema": 0.0,
            "optim": OptimOptions(name="sgd", lr=1e-2, weight_decay=1e-4, clip_norm=0.0),
        }
    )


def multi_label() -> TransferConfig:
    """Return the authors' recipe for several labels an image: asymmetric loss, Adam, OneCycle.

    hypernym transfer MODEL COCO OUT --recipe multi-label

    Expected, of the paper, with ViT-B/16 pretrained on ImageNet-21K-P: mAP 82.6 % on MS-COCO, 93.1 % on
    Pascal VOC; not repeated here.
    """
    return TransferConfig(
        epochs=40,
        batch_size=64,
        ema=0.9997,
        optim=OptimOptions(name="adam", lr=1e-4, weight_decay=1e-4, clip_norm=0.0),
        schedule=ScheduleOptions(name="onecycle", warmup=0.2),
        loss=LossOptions(gamma_neg=4.0, gamma_pos=0.0, clip=0.05),
        augment=AugmentOptions(view="squash", policy="randaugment", cutout=0.5),
    )


def resolve_config(recipe: RecipeName, given: dict[str, Any], num_images: int) -> TransferConfig:
    """Lay the options that were given over a recipe; a rate that was given is taken as it is."""
    match recipe:
        case "auto":
            base = auto(num_images)
        case "cifar100":
            base = cifar100()
        case "cifar100-sgd":
            base = cifar100_sgd()
        case "multi-label":
            base = multi_label()
    if "lr" in given.get("optim", {}) and not given.get("rates"):
        base = base.model_copy(update={"rates": ()})
    return TransferConfig.model_validate(overlay(base.model_dump(), given))


def check_given(
    recipe: RecipeName,
    config: TransferConfig,
    given: dict[str, Any],
    *,
    several_labels: bool,
    holds_out_val: bool,
) -> None:
    """Refuse options that were given and that a transfer would take no notice of.

    Args:
        recipe: As it was asked for.
        config: The options in full.
        given: Those that were given on the command line or from Python.
        several_labels: Whether images of the dataset have several labels.
        holds_out_val: Whether the dataset itself holds out images to choose on.

    Raises:
        UsageError: one has a meaning only beside another, or contradicts it.
    """
    if "lr" in given.get("optim", {}) and given.get("rates"):
        raise UsageError(
            f"--optim.lr {given['optim']['lr']} is one learning rate, and --rates are some to choose "
            f"from: give one of the two."
        )
    if recipe != "auto" and config.method != Method.FULL:
        raise UsageError(
            f"--recipe {recipe} is one of fine-tuning, and has no meaning with --method "
            f"{config.method}: leave it away."
        )
    if recipe != "auto" and (recipe == "multi-label") != several_labels:
        kind = "several labels" if several_labels else "one label"
        raise UsageError(
            f"--recipe {recipe} does not suit a dataset of {kind} an image: give another, or auto."
        )
    semantic = (False, "`pretrain --scheme semantic`")
    needs = {
        "loss.weights": semantic,
        "loss.max_weight": semantic,
        "loss.use_deepest": semantic,
        "loss.label_smoothing": (not several_labels, "a dataset of one label an image"),
        **{
            f"loss.{name}": (several_labels, "a dataset of several labels an image")
            for name in ("gamma_neg", "gamma_pos", "clip")
        },
        "augment.min_scale": (config.augment.view == "crop", "--augment.view crop"),
        "hold_out": (not holds_out_val, "a dataset without val images beside a test split"),
        "trial": (len(config.rates) > 1, "several --rates"),
    }
    for option in flatten(TransferConfig().model_dump(mode="json")):
        group = option.partition(".")[0]
        of_one = {"linear": Method.LINEAR, "knn": Method.KNN, "few_shot": Method.FEW_SHOT}
        if group in of_one:
            needs[option] = (config.method == of_one[group], f"--method {of_one[group]}")
        elif option == "features":
            needs[option] = (config.method != Method.FULL, "--method linear, knn or few-shot")
        elif option not in needs and option not in EVERY_METHOD and config.method != Method.FULL:
            needs[option] = (False, "--method full")
    refuse_without_effect(TransferConfig, given, needs)
