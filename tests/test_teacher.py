"""Teachers of another architecture, order, size and normalisation; what they say kept on disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm
import torch
from conftest import TINY
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.transforms.v2 import functional

from hypernym.checkpoint import Card, load_checkpoint, save_checkpoint
from hypernym.commands.pretrain import pretrain
from hypernym.data.classes import load_class_list
from hypernym.data.loader import Batch
from hypernym.data.transforms import Preprocessing
from hypernym.decoding import Decoder
from hypernym.errors import MismatchError, OutputError, RunError, StoppedError, UsageError
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.scheme import Distillation, Scheme
from hypernym.hierarchy.tree import ROOT, Tree
from hypernym.losses.distillation import Trust
from hypernym.losses.schemes import make_distillation, make_loss
from hypernym.models import Classifier, make_backbone
from hypernym.training import feeding
from hypernym.training.cache import CACHE_CARD, CACHE_LOGITS, TeacherCache
from hypernym.training.config import PretrainConfig
from hypernym.training.task import DistillTask, LabelTask
from hypernym.training.teacher import Teacher, load_teacher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hypernym.data.dataset import Dataset
    from hypernym.training.task import Task

CPU = torch.device("cpu")
# animal > dog, animal > cat > kitten; plant
FIVE = Tree(("animal", "cat", "dog", "kitten", "plant"), (ROOT, 0, 0, 1, ROOT), "by hand", "none")
MOVED = Tree(
    ("plant", "rock", "kitten", "animal", "cat", "dog"), (ROOT, ROOT, 4, ROOT, 3, 3), "by hand", "none"
)
"""The same classes in another order, and one more."""

LEVELS = make_levels(FIVE)
SIZE = 32


def make_classifier(num_classes: int, seed: int, name: str = "test_resnet") -> Classifier:
    torch.manual_seed(seed)
    backbone = make_backbone(name, num_classes=num_classes, image_size=SIZE)
    return Classifier(backbone, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def save_model(
    folder: Path,
    tree: Tree,
    *,
    scheme: Scheme = Scheme.SEMANTIC,
    size: int = SIZE,
    name: str = "test_efficientnet",
) -> Path:
    classifier = make_classifier(len(tree.ids), seed=7, name=name)
    view = Preprocessing(size, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), "squash", "bilinear")
    card = Card(tree.ids, tree.ids, tree, view, scheme, "0" * 64)
    save_checkpoint(folder, classifier, card, {"epoch": 1})
    return folder


def save_foreign(folder: Path, num_outputs: int, label_names: Sequence[str] = ()) -> Path:
    """Write a folder in timm's hub form, with a mean and std and size of its own."""
    folder.mkdir()
    torch.manual_seed(8)
    model = timm.create_model("test_resnet", num_classes=num_outputs)
    save_file(model.state_dict(), folder / "model.safetensors")
    view = {"input_size": [3, 48, 48], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    config = {
        "architecture": "test_resnet",
        "num_classes": num_outputs,
        "pretrained_cfg": {**view, "classifier": "fc", "interpolation": "bilinear", "crop_pct": 0.9},
    }
    if label_names:
        config["label_names"] = list(label_names)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def load(
    path: Path | str,
    tree: Tree = FIVE,
    scheme: Scheme = Scheme.SEMANTIC,
    kind: Distillation = Distillation.SEMANTIC,
) -> Teacher:
    return load_teacher(str(path), tree, SIZE, CPU, scheme=scheme, kind=kind)


def draw_images(num: int = 6, size: int = SIZE, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num, 3, size, size), generator=generator, dtype=torch.uint8)


# --- matching classes ---------------------------------------------------------------------------


def test_a_run_of_another_order_answers_in_the_order_of_the_student(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "run", MOVED)
    teacher = load(folder)
    images = draw_images()
    own = load_checkpoint(folder).classifier(images)
    expected = own[:, [MOVED.ids.index(class_id) for class_id in FIVE.ids]]
    torch.testing.assert_close(teacher(images), expected)
    assert teacher.known_C is None
    assert "knows 5 of 5 classes (told by its card)" in str(teacher.report)


def test_classes_that_the_teacher_lacks_are_marked_and_named(tmp_path: Path) -> None:
    three = Tree(("dog", "plant", "animal"), (2, ROOT, ROOT), "by hand", "none")
    teacher = load(save_model(tmp_path / "run", three))
    assert teacher.known_C is not None
    assert teacher.known_C.tolist() == [True, False, True, False, True]
    assert teacher(draw_images())[:, [1, 3]].eq(0).all()
    assert str(teacher.report).endswith(
        "knows 3 of 5 classes (told by its card); 2 it does not know, such as cat, kitten."
    )


def test_a_foreign_model_is_asked_with_its_own_size_and_normalisation(tmp_path: Path) -> None:
    folder = save_foreign(tmp_path / "folder", 6, MOVED.ids)
    teacher = load(folder)
    images = draw_images()
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    resized = functional.resize(images.float() / 255, [48, 48], antialias=True)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 0.6, 0.7])
    with torch.no_grad():
        own = model((resized - mean[:, None, None]) / std[:, None, None])
    expected = own[:, [MOVED.ids.index(class_id) for class_id in FIVE.ids]]
    torch.testing.assert_close(teacher(images), expected, rtol=1e-4, atol=1e-5)
    assert "asked at 48 px, resized from 32" in str(teacher.report)
    assert (teacher.view.crop_pct, teacher.view.crop_mode) == (1.0, "center")  # seen whole


def test_float_pictures_are_seen_as_whole_numbers_are(tmp_path: Path) -> None:
    teacher = load(save_model(tmp_path / "run", MOVED, size=40))
    images = draw_images()
    torch.testing.assert_close(teacher(images.float()), teacher(images))


def test_a_published_number_of_outputs_tells_the_classes(tmp_path: Path) -> None:
    ids = tuple(sorted(load_class_list("imagenet21k-p")))
    tree = Tree((ids[500], "mine", ids[2]), (ROOT,) * 3, "by hand", "none")
    teacher = load(save_foreign(tmp_path / "folder", 11221), tree)
    own = teacher.classifier(functional.resize(draw_images().float(), [48, 48], antialias=True))
    torch.testing.assert_close(teacher(draw_images())[:, [0, 2]], own[:, [500, 2]].detach())
    assert "their number, that of imagenet21k-p" in str(teacher.report)


def test_a_teacher_without_shared_classes_is_refused(tmp_path: Path) -> None:
    stones = Tree(("basalt", "gneiss", "plant"), (ROOT,) * 3, "by hand", "none")
    with pytest.raises(MismatchError, match=r"of which 1 are among the 5 .* animal, cat, dog"):
        load(save_model(tmp_path / "run", stones))


def test_a_teacher_whose_classes_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="6 outputs, and which classes they stand for is not known"):
        load(save_foreign(tmp_path / "folder", 6))


def test_a_teacher_of_the_other_release_is_refused(tmp_path: Path) -> None:
    ids = tuple(sorted(load_class_list("imagenet21k-p-winter21")))
    tree = Tree(ids, (ROOT,) * len(ids), "by hand", "none")
    folder = save_foreign(tmp_path / "folder", 11221)
    with pytest.raises(MismatchError, match=r"imagenet21k-p and .*imagenet21k-p-winter21, two releases"):
        load(folder, tree)


def test_what_is_no_teacher_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such model \(did you mean 'resnet50'"):
        load("resnet5O")
    with pytest.raises(RunError, match="holds no checkpoint"):
        load(tmp_path)


def test_loading_a_teacher_draws_no_random_number(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "run", MOVED)
    torch.manual_seed(5)
    expected = torch.get_rng_state()
    load(folder)
    assert torch.equal(torch.get_rng_state(), expected)


# --- the scheme of student and teacher ----------------------------------------------------------


def test_a_multi_label_student_is_told_the_decoded_probabilities_of_a_semantic_teacher(
    tmp_path: Path,
) -> None:
    folder = save_model(tmp_path / "run", MOVED)
    images = draw_images()
    found = load(folder, scheme=Scheme.MULTI_LABEL)(images).sigmoid()
    decoder = Decoder(make_levels(MOVED), Scheme.SEMANTIC, CPU)
    own = decoder.log_probabilities(load_checkpoint(folder).classifier(images)).exp()
    expected = own[:, [MOVED.ids.index(class_id) for class_id in FIVE.ids]]
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-6)


def test_a_multi_label_student_is_told_sums_over_the_tree_by_a_foreign_teacher(tmp_path: Path) -> None:
    ids = ("plant", "rock", "animal", "cat", "dog")  # no kitten
    folder = save_foreign(tmp_path / "folder", 5, ids)
    teacher = load(folder, scheme=Scheme.MULTI_LABEL)
    found = teacher(draw_images()).sigmoid()
    own = teacher.classifier(functional.resize(draw_images().float(), [48, 48], antialias=True))
    plant, animal, cat, dog = own[:, [0, 2, 3, 4]].softmax(1).detach().T
    expected = torch.stack([animal + cat + dog, cat, dog, plant], dim=1)
    torch.testing.assert_close(found[:, [0, 1, 2, 4]], expected, rtol=1e-4, atol=1e-6)


def test_a_multi_label_teacher_speaks_to_a_multi_label_student_as_it_is(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "run", FIVE, scheme=Scheme.MULTI_LABEL)
    images = draw_images()
    found = load(folder, scheme=Scheme.MULTI_LABEL)(images)
    torch.testing.assert_close(found, load_checkpoint(folder).classifier(images))


def test_logits_of_several_depths_are_not_compared_in_one_softmax(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "run", FIVE)
    with pytest.raises(MismatchError, match=r"give --distill\.kind semantic"):
        load(folder, scheme=Scheme.SINGLE_LABEL, kind=Distillation.LOGITS)
    load(folder, scheme=Scheme.SINGLE_LABEL, kind=Distillation.SEMANTIC)


# --- tasks --------------------------------------------------------------------------------------


def make_task(
    teacher: Teacher, *, labels: bool = True, alpha: float = 3.0, scheme: Scheme = Scheme.SEMANTIC
) -> DistillTask:
    weights_L = LEVELS.weights_L().tolist()
    criterion = make_loss(scheme, LEVELS, label_smoothing=0.1, weights_L=weights_L)
    distance = make_distillation(
        Distillation.SEMANTIC, scheme, LEVELS, trust=Trust.PAPER, temperature=1.0
    )
    student = make_classifier(5, seed=1)
    return DistillTask(student, criterion if labels else None, distance, teacher, alpha)


def test_the_loss_is_that_of_the_labels_and_alpha_times_that_of_the_teacher(tmp_path: Path) -> None:
    task = make_task(load(save_model(tmp_path / "run", MOVED)))
    task.classifier.eval()  # the same logits each time
    images, labels = draw_images(), torch.tensor([0, 1, 2, 3, 4, 0])
    found = task.losses(images, labels)
    student, teacher = task.classifier(images), task.teacher(images)
    assert task.criterion is not None
    torch.testing.assert_close(found["label"], task.criterion(student, labels))
    torch.testing.assert_close(found["teacher"], task.distance(student, teacher, labels))
    torch.testing.assert_close(found["loss"], found["label"] + 3.0 * found["teacher"])


def test_classes_that_the_teacher_lacks_have_no_part_in_the_distance(tmp_path: Path) -> None:
    three = Tree(("dog", "plant", "animal"), (2, ROOT, ROOT), "by hand", "none")
    task = make_task(load(save_model(tmp_path / "run", three)), labels=False)
    logits = torch.zeros(6, 5, requires_grad=True)
    task.forward_model = lambda _: logits
    torch.autograd.backward(task.losses(draw_images(), torch.zeros(6, dtype=torch.int64))["loss"])
    assert logits.grad is not None
    assert logits.grad[:, [1, 3]].eq(0).all()
    assert logits.grad[:, [0, 4]].ne(0).any()


def test_the_teacher_alone_can_be_learned_from(tmp_path: Path) -> None:
    task = make_task(load(save_model(tmp_path / "run", MOVED)), labels=False, alpha=2.0)
    task.classifier.eval()
    one, other = (task.losses(draw_images(), torch.full((6,), label)) for label in (0, 3))
    assert set(one) == {"loss", "teacher"}
    torch.testing.assert_close(one["loss"], 2.0 * one["teacher"])
    torch.testing.assert_close(one["loss"], other["loss"])  # whatever the labels


def test_a_teacher_is_not_trained_and_stays_in_evaluation_mode(tmp_path: Path) -> None:
    teacher = load(save_model(tmp_path / "run", MOVED))
    task = make_task(teacher)
    before = {name: value.clone() for name, value in teacher.classifier.state_dict().items()}
    task.classifier.train()
    teacher.train()
    assert not any(module.training for module in teacher.modules())
    torch.autograd.backward(task.losses(draw_images(), torch.zeros(6, dtype=torch.int64))["loss"])
    for name, value in teacher.classifier.state_dict().items():
        assert torch.equal(value, before[name])  # batch normalisation counted nothing
    assert all(weight.grad is None for weight in teacher.parameters())
    assert not any(weight.requires_grad for weight in teacher.parameters())
    ours = {id(weight) for weight in task.classifier.parameters()}
    assert not ours & {id(weight) for weight in teacher.parameters()}
    assert all(weight.grad is not None for weight in task.classifier.parameters())


@pytest.mark.parametrize("distils", [False, True])
def test_a_task_asks_what_the_loop_has_put_in_the_place_of_the_model(
    distils: bool, tmp_path: Path
) -> None:
    task: Task = LabelTask(make_classifier(5, seed=1), nn.CrossEntropyLoss())
    if distils:
        task = make_task(load(save_model(tmp_path / "run", MOVED)))
    asked = []

    def wrapper(images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        logits: torch.Tensor = task.classifier(images)
        return logits

    task.forward_model = wrapper
    task.losses(draw_images(), torch.zeros(6, dtype=torch.int64), torch.arange(6))
    assert asked == [6]


def test_labels_alone_give_the_loss_of_labels_and_of_shares() -> None:
    task = LabelTask(make_classifier(5, seed=1), nn.CrossEntropyLoss())
    task.classifier.eval()
    images, labels = draw_images(), torch.tensor([0, 1, 2, 3, 4, 0])
    shares = 0.5 * torch.eye(5)[labels] + 0.5 * torch.eye(5)[labels.flip(0)]
    logits = task.classifier(images)
    torch.testing.assert_close(task.losses(images, labels)["loss"], cross_entropy(logits, labels))
    torch.testing.assert_close(task.losses(images, shares)["loss"], cross_entropy(logits, shares))


@pytest.mark.parametrize("distils", [False, True])
def test_labels_of_the_class_table_alone_leave_the_inner_classes_out(
    distils: bool, tmp_path: Path
) -> None:
    task = make_task(load(save_model(tmp_path / "run", MOVED)))
    assert task.criterion is not None
    chosen: Task = task if distils else LabelTask(task.classifier, task.criterion)
    task.classifier.eval()
    several = torch.tensor([[True, False, True], [False, True, False]])  # of the first three classes
    in_full = nn.functional.pad(several.float(), (0, 2))
    found = chosen.losses(draw_images(2), several)["loss"]
    torch.testing.assert_close(found, chosen.losses(draw_images(2), in_full)["loss"])
    one = torch.tensor([0, 1])
    as_labels = chosen.losses(draw_images(2), one)["loss"]
    as_shares = chosen.losses(draw_images(2), nn.functional.one_hot(one, 3))["loss"]
    torch.testing.assert_close(as_shares, as_labels)


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_student_of_every_scheme_comes_nearer_to_its_teacher(scheme: Scheme, tmp_path: Path) -> None:
    task = make_task(
        load(save_model(tmp_path / "run", MOVED), scheme=scheme), labels=False, scheme=scheme
    )
    teacher_head = task.teacher.classifier.backbone.get_classifier()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        teacher_head.weight.mul_(30)  # sure of itself
    torch.manual_seed(0)
    small = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(48, 5))  # takes no time
    task.classifier = task.forward_model = Classifier(small, (0.5, 0.5, 0.5), (0.1, 0.1, 0.1))
    optimizer = torch.optim.Adam(task.classifier.parameters(), lr=3e-2)
    images, labels = draw_images(8), torch.zeros(8, dtype=torch.int64)
    losses = []
    task.classifier.train()
    for _ in range(30):
        loss = task.losses(images, labels)["loss"]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


# --- the cache ----------------------------------------------------------------------------------


def show(num_images: int, batch_size: int = 4) -> list[Batch]:
    """Batches of a split, last row first."""
    images = draw_images(num_images)
    order = torch.arange(num_images).flip(0)
    return [Batch(images[rows], rows % 5, rows, None) for rows in torch.split(order, batch_size)]


def make_cache(
    folder: Path, teacher: Teacher, num_images: int = 10, digest: str = "d" * 64
) -> TeacherCache:
    return TeacherCache(folder, teacher, FIVE, digest, num_images)


@pytest.fixture
def teacher(tmp_path: Path) -> Teacher:
    return load(save_model(tmp_path / "run", MOVED))


def test_a_cache_says_of_each_row_what_the_teacher_said(teacher: Teacher, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", teacher)
    assert not cache.is_filled()
    cache.fill(show(10), CPU)
    assert cache.is_filled()
    cached = cache.open()
    rows = torch.tensor([7, 0, 7, 3])
    expected = teacher(draw_images(10))[rows]
    found = cached(torch.zeros(4, 3, 8, 8), rows)  # it does not look at the pictures
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_a_task_with_a_cache_asks_by_rows(teacher: Teacher, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", teacher)
    cache.fill(show(10), CPU)
    live = make_task(teacher)
    kept = DistillTask(live.classifier, live.criterion, live.distance, cache.open(), live.alpha)
    live.classifier.eval()
    rows = torch.tensor([2, 9, 4])
    images = draw_images(10)[rows]
    expected = live.losses(images, rows % 5)["teacher"]
    torch.testing.assert_close(
        kept.losses(images, rows % 5, rows)["teacher"], expected, rtol=1e-2, atol=1e-4
    )
    with pytest.raises(ValueError, match="asked by rows"):
        kept.losses(images, rows % 5)


def test_a_cache_says_beforehand_what_room_it_takes(teacher: Teacher, tmp_path: Path) -> None:
    cache = TeacherCache(tmp_path / "cache", teacher, FIVE, "d", 107_374_182)
    assert cache.num_bytes == 107_374_182 * 5 * 2
    assert "107,374,182 pictures in 5 classes: 1.00 GiB." in str(cache)
    assert str(make_cache(tmp_path / "cache", teacher)).endswith("5 classes: under 0.01 GiB.")


def test_a_cache_is_not_begun_where_it_has_no_room(teacher: Teacher, tmp_path: Path) -> None:
    cache = TeacherCache(tmp_path / "cache", teacher, FIVE, "d", 10**15)
    with pytest.raises(OutputError, match=r"make room, or give another folder to --distill\.cache"):
        cache.fill([], CPU)
    assert not (tmp_path / "cache" / CACHE_LOGITS).exists()


@pytest.mark.parametrize("shown", [show(9), show(11)[:2], show(10) + show(10)[:1]])
def test_a_cache_that_was_not_filled_whole_is_never_used(
    shown: list[Batch], teacher: Teacher, tmp_path: Path
) -> None:
    cache = make_cache(tmp_path / "cache", teacher, num_images=11 if len(shown) == 2 else 10)
    with pytest.raises(RunError, match="were not shown to the teacher once"):
        cache.fill(shown, CPU)
    assert not cache.is_filled()
    with pytest.raises(RunError, match="is not filled"):
        cache.open()


def test_a_fill_that_is_cut_short_takes_the_old_card_away(teacher: Teacher, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", teacher)
    cache.fill(show(10), CPU)
    with pytest.raises(RunError, match="not shown"):
        cache.fill(show(4), CPU)
    assert not cache.is_filled()


def test_a_cache_of_something_else_is_refused_by_what_differs(teacher: Teacher, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    make_cache(folder, teacher).fill(show(10), CPU)
    with pytest.raises(MismatchError, match="its dataset_digest is dddddddd, and here it is eeeeeeee"):
        make_cache(folder, teacher, digest="e" * 64).is_filled()
    with pytest.raises(MismatchError, match="its images is 10, and here it is 12"):
        make_cache(folder, teacher, num_images=12).open()
    moved = Tree(FIVE.ids[::-1], (ROOT,) * 5, "by hand", "none")
    with pytest.raises(MismatchError, match=r"digest is .*--distill\.cache"):
        TeacherCache(folder, load(tmp_path / "run", moved), moved, "d" * 64, 10).is_filled()
    with torch.no_grad():
        next(teacher.parameters()).add_(1e-3)
    with pytest.raises(MismatchError, match="its teacher_digest is"):
        make_cache(folder, teacher).is_filled()


def test_the_same_teacher_loaded_again_finds_its_cache(teacher: Teacher, tmp_path: Path) -> None:
    make_cache(tmp_path / "cache", teacher).fill(show(10), CPU)
    again = load(tmp_path / "run")
    assert make_cache(tmp_path / "cache", again).is_filled()
    assert load(tmp_path / "run", scheme=Scheme.MULTI_LABEL).digest() != again.digest()


def test_a_damaged_cache_is_refused(teacher: Teacher, tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", teacher)
    cache.fill(show(10), CPU)
    logits = tmp_path / "cache" / CACHE_LOGITS
    whole = logits.read_bytes()
    logits.write_bytes(whole[:-40])
    with pytest.raises(RunError, match="cannot be read"):
        cache.open()
    np.save(logits, np.zeros((3, 5), np.float16))
    with pytest.raises(RunError, match=r"instead of float16 \(10, 5\)"):
        cache.open()
    (tmp_path / "cache" / CACHE_CARD).write_text("{")
    with pytest.raises(RunError, match="cannot be read as JSON"):
        cache.is_filled()


def test_logits_too_large_for_half_precision_stay_finite(teacher: Teacher, tmp_path: Path) -> None:
    head = teacher.classifier.backbone.get_classifier()  # type: ignore[operator]
    with torch.no_grad():
        head.bias.fill_(1e30)
    cache = make_cache(tmp_path / "cache", teacher)
    cache.fill(show(10), CPU)
    assert cache.open()(draw_images(2), torch.tensor([0, 9])).isfinite().all()


def test_a_dry_run_tells_of_a_cache_and_does_not_fill_it(
    run: Path, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"teacher": str(run), "distill": {"cache": tmp_path / "said"}, "epochs": 1}
    config = PretrainConfig.model_validate(TINY | options)
    pretrain(dataset.path, tmp_path / "run", recipe="small", options=config, dry_run=True)
    said = capsys.readouterr().err
    assert "classes: under 0.01 GiB." in said
    assert "does not fill the folder" in said
    assert not (tmp_path / "said").exists()
    pretrain(dataset.path, tmp_path / "run", recipe="small", options=config)
    pretrain(dataset.path, tmp_path / "dry", recipe="small", options=config, dry_run=True)
    assert "does not fill" not in capsys.readouterr().err


def test_a_dry_run_finds_that_a_cache_has_no_room(
    run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TeacherCache, "num_bytes", 10**18)
    options = {"teacher": str(run), "distill": {"cache": tmp_path / "said"}}
    with pytest.raises(OutputError, match="make room"):
        pretrain(
            dataset.path,
            tmp_path / "run",
            recipe="small",
            options=PretrainConfig.model_validate(TINY | options),
            dry_run=True,
        )


def test_a_signal_ends_the_filling_of_a_cache(
    run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Teacher.forward, 0

    def forward(self: Teacher, *arguments: Any) -> torch.Tensor:  # noqa: ANN401
        nonlocal calls
        calls += 1
        os.kill(os.getpid(), signal.SIGTERM)
        return real(self, *arguments)

    monkeypatch.setattr(feeding, "MEASURED_AT_A_TIME", 16)
    options = {"teacher": str(run), "distill": {"cache": tmp_path / "said"}, "epochs": 1}
    config = PretrainConfig.model_validate(TINY | options)
    with monkeypatch.context() as patched:
        patched.setattr(Teacher, "forward", forward)
        with pytest.raises(StoppedError, match="said was stopped by SIGTERM, and is not filled"):
            pretrain(dataset.path, tmp_path / "run", recipe="small", options=config)
    assert calls == 1
    assert not (tmp_path / "said" / CACHE_CARD).exists()
    pretrain(dataset.path, tmp_path / "run", recipe="small", options=config)
    assert (tmp_path / "said" / CACHE_CARD).exists()


def test_a_resumed_run_may_find_its_cache_elsewhere_but_must_have_one(
    run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    def train(cache: str | None, *, resume: bool = False) -> None:
        options = {"teacher": str(run), "epochs": 1}
        if cache:
            options |= {"distill": {"cache": tmp_path / cache}}
        config = PretrainConfig.model_validate(TINY | options)
        pretrain(dataset.path, tmp_path / name, recipe="small", options=config, resume=resume)

    name = "cached"
    train("said")
    shutil.move(tmp_path / "said", tmp_path / "moved")
    train("moved", resume=True)
    name = "asked"
    train(None)
    with pytest.raises(RunError, match=r"begun with distill\.cache None, not .*moved"):
        train("moved", resume=True)


def test_a_cache_is_refused_where_pictures_are_blended(
    run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    options = {"teacher": str(run), "distill": {"cache": tmp_path / "said"}, "augment": {"mixup": 0.2}}
    with pytest.raises(UsageError, match="leave away the cache"):
        pretrain(
            dataset.path,
            tmp_path / "run",
            recipe="small",
            options=PretrainConfig.model_validate(TINY | options),
        )
