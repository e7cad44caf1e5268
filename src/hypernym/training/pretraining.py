"""From a configuration to a course: what `pretrain` trains, on what, and how it is measured."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from timm.data import resolve_data_config

from hypernym.checkpoint import Card
from hypernym.data.images import Resize
from hypernym.data.rows import SplitRows
from hypernym.data.transforms import Preprocessing, crop_mode_of
from hypernym.distributed import agree
from hypernym.errors import UsageError
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.scheme import Scheme
from hypernym.inference import measure
from hypernym.losses.distillation import Trust
from hypernym.losses.schemes import make_distillation, make_loss
from hypernym.models import Classifier, make_backbone
from hypernym.progress import say
from hypernym.training.cache import TeacherCache
from hypernym.training.feeding import feed_measuring, feed_training
from hypernym.training.loop import Course, Measured
from hypernym.training.start import load_start
from hypernym.training.stopping import heed_signals
from hypernym.training.task import DistillTask, LabelTask
from hypernym.training.teacher import load_teacher
from hypernym.training.trainer import resolve_precision_of_answers

if TYPE_CHECKING:
    from torch import nn

    from hypernym.data.dataset import Dataset
    from hypernym.distributed import World
    from hypernym.hierarchy.levels import Levels
    from hypernym.hierarchy.tree import Tree
    from hypernym.training.cache import CachedTeacher
    from hypernym.training.config import PretrainConfig
    from hypernym.training.options import LossOptions
    from hypernym.training.task import Task
    from hypernym.training.teacher import Teacher


def plan_pretraining(
    dataset: Dataset,
    tree: Tree,
    config: PretrainConfig,
    device: torch.device,
    world: World,
    *,
    resumes: bool,
    rehearses: bool = False,
) -> Course:
    """Make model, loss and loaders from the configuration.

    Where a run `resumes`, its weights come from its checkpoint, and not from where they started. Where
    it only `rehearses`, one batch is measured, and a teacher's cache that is not there is not filled.

    Raises:
        HypernymError: an option does not fit the dataset, the model or this machine.
    """
    size = config.image_size or dataset.image_size
    levels = make_levels(tree)

    torch.manual_seed(config.seed)
    backbone = make_backbone(
        config.model,
        num_classes=levels.num_classes,
        image_size=size,
        drop=config.drop,
        drop_path=config.drop_path,
    )
    if not resumes and (config.start or config.pretrained):
        started = load_start(
            backbone,
            tree=tree,
            start=config.start,
            pretrained_name=config.model if config.pretrained else None,
            head=config.head,
        )
        say(str(started))
    preprocessing = _make_preprocessing(backbone, dataset, size, config)
    classifier = Classifier(backbone, preprocessing.mean, preprocessing.std)
    loader = feed_training(SplitRows(dataset, "train"), size, config, device, world)
    held_out = SplitRows(dataset, "val")

    def measure_val(model: Classifier) -> Measured:
        batches = feed_measuring(held_out, preprocessing, config.workers, device, world)
        shown = islice(batches, 1) if rehearses else batches
        precision = resolve_precision_of_answers(config.precision, device)
        accuracy = measure(model, shown, levels, device, world, len(held_out), precision)
        figures = {"val/top1": accuracy.top1, "val/semantic_top1": accuracy.semantic_top1}
        return Measured(accuracy.semantic_top1, figures)

    names, digest = tree.name_all(dataset.classes.names), dataset.card["digest"]
    return Course(
        _make_task(classifier, dataset, tree, levels, config, device, world, rehearses=rehearses),
        loader,
        config,
        Card(tree.ids, names, tree, preprocessing, config.scheme, digest),
        measure_val,
        lambda rows: dataset.keys("train", rows),
    )


def _make_task(
    classifier: Classifier,
    dataset: Dataset,
    tree: Tree,
    levels: Levels,
    config: PretrainConfig,
    device: torch.device,
    world: World,
    *,
    rehearses: bool,
) -> Task:
    """Choose what is learned from: labels, a teacher, or both."""
    options, distill = config.loss, config.distill
    is_semantic = config.scheme == Scheme.SEMANTIC
    criterion = make_loss(
        config.scheme,
        levels,
        label_smoothing=options.label_smoothing,
        weights_L=_weigh_depths(levels, dataset, options) if is_semantic else [],
        gamma_neg=options.gamma_neg,
        gamma_pos=options.gamma_pos,
        clip=options.clip,
    )
    if config.teacher is None:
        return LabelTask(classifier, criterion.to(device))
    distance = make_distillation(
        distill.kind, config.scheme, levels, trust=Trust(distill.trust), temperature=distill.temperature
    )
    return DistillTask(
        classifier,
        criterion.to(device) if distill.labels else None,
        distance.to(device),
        _call_teacher(config.teacher, dataset, tree, config, device, world, rehearses=rehearses),
        distill.alpha,
    )


def _call_teacher(
    name: str,
    dataset: Dataset,
    tree: Tree,
    config: PretrainConfig,
    device: torch.device,
    world: World,
    *,
    rehearses: bool,
) -> Teacher | CachedTeacher:
    """Load the teacher; with a cache, ask it of each training picture, unless that was done before.

    A rehearsal asks it of the first batch alone.
    """
    size = config.image_size or dataset.image_size
    kind = config.distill.kind
    teacher = load_teacher(name, tree, size, device, scheme=config.scheme, kind=kind)
    say(str(teacher.report))
    if config.distill.cache is None:
        return teacher
    if config.augment.mixup or config.augment.cutmix:
        raise UsageError(
            "--distill.cache knows what the teacher says of each picture alone, and mixup and cutmix "
            "blend them: leave away the cache, or --augment.mixup and --augment.cutmix."
        )
    images = SplitRows(dataset, "train")
    cache = TeacherCache(config.distill.cache, teacher, tree, dataset.card["digest"], len(images))
    say(str(cache))

    is_filled = agree(world, cache.is_filled)
    if rehearses and not is_filled:
        agree(world, cache.check_room)
        say("A dry run asks the teacher itself, and does not fill the folder.")
        return teacher
    if not is_filled:
        batches = feed_measuring(images, teacher.view, config.workers, device, world)
        precision = resolve_precision_of_answers(config.precision, device)
        with heed_signals() as asked:
            cache.fill(batches, device, world, precision, asked)
    return cache.open()


def _weigh_depths(levels: Levels, dataset: Dataset, options: LossOptions) -> list[float]:
    """Return the weight of each depth; inner classes that the tree added have no images."""
    images_C, max_weight = None, options.max_weight
    if options.weights == "equal":
        max_weight = 1.0
    if options.weights == "images":
        images_C = np.zeros(levels.num_classes, np.int64)
        images_C[: len(dataset.classes)] = dataset.classes.train_counts
    found_L = levels.weights_L(max_weight, images_C, use_deepest=options.use_deepest)
    weights: list[float] = found_L.tolist()
    classes_L = levels.counts_L.tolist()
    if not any(weight and classes > 1 for weight, classes in zip(weights, classes_L, strict=True)):
        raise UsageError(
            "--loss.no-use-deepest leaves nothing to learn: no depth but the deepest has more than "
            "one class."
        )
    return weights


def _make_preprocessing(
    backbone: nn.Module, dataset: Dataset, size: int, config: PretrainConfig
) -> Preprocessing:
    """Take mean and std from the model, and the view from how the dataset was prepared."""
    if config.pixels == "unit":
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    else:
        timm_config = resolve_data_config(model=backbone)
        mean, std = timm_config["mean"], timm_config["std"]
    crop_mode = crop_mode_of(Resize(dataset.card["images"]["resize"]))
    return Preprocessing(size, mean, std, crop_mode)
