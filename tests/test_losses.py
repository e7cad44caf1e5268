"""The losses against slow loops written from the definitions, and the official code's figures."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import forests
from timm.loss import AsymmetricLossMultiLabel
from torch.autograd import gradcheck
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from torch.utils._python_dispatch import TorchDispatchMode

from hypernym.hierarchy.levels import NONE, Levels, make_levels
from hypernym.hierarchy.scheme import Distillation, Scheme
from hypernym.hierarchy.tree import ROOT, Tree, build_from_wordnet
from hypernym.losses import distillation, semantic
from hypernym.losses.distillation import SemanticDistillationLoss, SigmoidDistillationLoss, Trust
from hypernym.losses.logits import LogitDistillationLoss
from hypernym.losses.multilabel import MultiLabelLoss
from hypernym.losses.schemes import make_distillation, make_loss
from hypernym.losses.semantic import SemanticSoftmaxLoss
from hypernym.losses.single import SingleLabelLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

# animal > dog, animal > cat > kitten; plant
FIVE = Tree(("animal", "cat", "dog", "kitten", "plant"), (ROOT, 0, 0, 1, ROOT), "by hand", "none")
LEVELS = make_levels(FIVE)
SEEDS = st.integers(0, 2**31)


def make_batch(levels: Levels, num_images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(num_images, levels.num_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(levels.num_classes, (num_images,), generator=generator)


def make_semantic(
    levels: Levels, smoothing: float = 0.1, max_weight: float = 20.0
) -> SemanticSoftmaxLoss:
    return SemanticSoftmaxLoss(levels, levels.weights_L(max_weight).tolist(), smoothing)


def value_and_gradient(
    loss: Callable[..., torch.Tensor], logits: torch.Tensor, *arguments: torch.Tensor | None
) -> tuple[float, torch.Tensor]:
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, *arguments)
    torch.autograd.backward(value)
    assert leaf.grad is not None
    return value.item(), leaf.grad


def depth_by_depth(
    loss: SemanticSoftmaxLoss | SemanticDistillationLoss,
) -> Callable[..., torch.Tensor]:
    """Return a loss by its other way, which a GPU and a compiler take."""

    def semantic_loss(
        logits: torch.Tensor, targets: torch.Tensor, known: torch.Tensor | None = None
    ) -> torch.Tensor:
        assert isinstance(loss, SemanticSoftmaxLoss)
        options = (loss.depths, loss.weights_L, loss.label_smoothing)
        value: torch.Tensor = semantic._DepthByDepth.apply(logits, targets, *options, known)
        return value

    def distance(
        student: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        assert isinstance(loss, SemanticDistillationLoss)
        options = (loss.depths, loss.trust, None, distillation._softmax, distillation._through_softmax)
        value: torch.Tensor = distillation._DepthByDepth.apply(student, teacher, targets, *options)
        return value

    return semantic_loss if isinstance(loss, SemanticSoftmaxLoss) else distance


# --- semantic softmax ---------------------------------------------------------------------------


def slow_semantic_loss(
    logits: torch.Tensor, labels: torch.Tensor, tree: Tree, smoothing: float, max_weight: float
) -> float:
    """Image by image and depth by depth, as the formula says."""
    paths = []
    for label in range(len(tree.ids)):
        path = [label]
        while tree.parents[path[0]] != ROOT:
            path.insert(0, tree.parents[path[0]])
        paths.append(path)
    num_depths = max(map(len, paths))
    at_depth = [[c for c, path in enumerate(paths) if len(path) == d + 1] for d in range(num_depths)]
    total = 0.0
    for depth, classes in enumerate(at_depth):
        weight = min(len(tree.ids) / sum(map(len, at_depth[depth:])), max_weight)
        for image, label in enumerate(labels.tolist()):
            if depth < len(paths[label]):
                log_sum = math.log(sum(math.exp(logits[image, c].item()) for c in classes))
                for c in classes:
                    share = smoothing / len(classes) + (1 - smoothing) * (c == paths[label][depth])
                    total -= weight * share * (logits[image, c].item() - log_sum) / len(labels)
    return total


@given(forests(), SEEDS, st.floats(0, 0.9), st.floats(1, 30))
def test_semantic_softmax_equals_the_slow_loop_on_any_forest(
    tree: Tree, seed: int, smoothing: float, max_weight: float
) -> None:
    levels = make_levels(tree)
    logits, labels = make_batch(levels, 6, seed)
    loss = make_semantic(levels, smoothing, max_weight)
    expected = slow_semantic_loss(logits, labels, tree, smoothing, max_weight)
    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@given(forests(), SEEDS, st.sampled_from([0.0, 0.2]))
def test_both_ways_give_the_same_value_and_gradient(tree: Tree, seed: int, smoothing: float) -> None:
    levels = make_levels(tree)
    logits, labels = make_batch(levels, 70, seed)  # more than one chunk of rows
    loss = make_semantic(levels, smoothing)
    value, gradient = value_and_gradient(lambda *given: 3 * loss(*given), logits, labels)
    one_by_one = depth_by_depth(loss)
    other_value, other_gradient = value_and_gradient(
        lambda *given: 3 * one_by_one(*given), logits, labels
    )
    assert value == pytest.approx(other_value, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(gradient, other_gradient)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_is_the_derivative(smoothing: float) -> None:
    logits, labels = make_batch(LEVELS, 6, seed=0)
    loss = depth_by_depth(make_semantic(LEVELS, smoothing))
    assert gradcheck(lambda x: loss(x, labels), logits.requires_grad_())


@given(SEEDS, st.integers(2, 12))
def test_with_one_depth_semantic_softmax_is_cross_entropy(seed: int, num_classes: int) -> None:
    ids = tuple(f"c{number:02}" for number in range(num_classes))
    levels = make_levels(Tree(ids, (ROOT,) * num_classes, "flat", "none"))
    logits, labels = make_batch(levels, 7, seed)
    expected = cross_entropy(logits, labels, label_smoothing=0.1)
    for scheme in (Scheme.SINGLE_LABEL, Scheme.SEMANTIC):
        loss = make_loss(scheme, levels, label_smoothing=0.1, weights_L=levels.weights_L().tolist())
        torch.testing.assert_close(loss(logits, labels), expected)


def permuted(order: list[int]) -> tuple[Tree, list[int]]:
    """Return the tree of five with its classes in another order, and the new label of each old one."""
    place_of = {old: new for new, old in enumerate(order)}
    ids = tuple(FIVE.ids[old] for old in order)
    parents = tuple(place_of.get(FIVE.parents[old], ROOT) for old in order)
    return Tree(ids, parents, "by hand", "none"), [place_of[old] for old in range(5)]


@given(st.permutations(range(5)), SEEDS)
def test_the_order_of_the_classes_changes_no_loss(order: list[int], seed: int) -> None:
    tree, place_of = permuted(order)
    moved = make_levels(tree)
    logits, labels = make_batch(LEVELS, 6, seed)
    teacher, _ = make_batch(LEVELS, 6, seed + 1)
    new_labels = torch.tensor([place_of[label] for label in labels.tolist()])
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (make_semantic(LEVELS), make_semantic(moved)),
        (SingleLabelLoss(0.1), SingleLabelLoss(0.1)),
        (MultiLabelLoss(LEVELS), MultiLabelLoss(moved)),
    ]
    for before, after in pairs:
        torch.testing.assert_close(before(logits, labels), after(logits[:, order], new_labels))
    torch.testing.assert_close(
        SemanticDistillationLoss(LEVELS)(logits, teacher, labels),
        SemanticDistillationLoss(moved)(logits[:, order], teacher[:, order], new_labels),
    )


def test_a_constant_added_within_a_depth_changes_nothing() -> None:
    logits, labels = make_batch(LEVELS, 8, seed=1)
    teacher, _ = make_batch(LEVELS, 8, seed=2)
    shifted = logits.clone()
    for depth, classes in enumerate(LEVELS.classes_at):
        shifted[:, classes] += 10.0 * (depth + 1)
    loss, distil = make_semantic(LEVELS), SemanticDistillationLoss(LEVELS)
    torch.testing.assert_close(loss(logits, labels), loss(shifted, labels))
    torch.testing.assert_close(distil(logits, teacher, labels), distil(shifted, teacher, labels))


def test_an_image_labelled_with_a_root_teaches_only_the_roots() -> None:
    logits = torch.zeros(1, 5)
    _, gradient = value_and_gradient(make_semantic(LEVELS), logits, torch.tensor([4]))
    assert gradient[0].ne(0).tolist() == [True, False, False, False, True]


def test_the_weights_of_three_nodes_are_those_of_the_worked_example() -> None:
    three = make_levels(Tree(("animal", "cat", "dog"), (ROOT, 0, 0), "by hand", "none"))
    assert three.weights_L(20).tolist() == [1.0, 1.5]  # O_1 = 2 / 3: two of three classes have a depth 1
    assert three.weights_L(1.2).tolist() == [1.0, 1.2]
    assert three.weights_L(images_C=np.array([60, 30, 10])).tolist() == [1.0, 2.5]
    assert three.weights_L(use_deepest=False).tolist() == [1.0, 0.0]
    assert three.weights_L(images_C=np.array([60, 0, 0])).tolist() == [1.0, 0.0]


# --- the official code's figures ----------------------------------------------------------------

OFFICIAL = json.loads((Path(__file__).parent / "official_losses.json").read_text())["cases"]


@pytest.fixture(scope="module")
def winter21() -> Levels:
    spec = find_spec("timm")
    assert spec is not None
    assert spec.origin is not None
    lists = Path(spec.origin).parent / "data" / "_info"
    ids = (lists / "imagenet21k_miil_w21_synsets.txt").read_text().split()
    return make_levels(build_from_wordnet(ids))


def draw_case(
    case: dict[str, Any], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(case["seed"])
    shape, scale = (case["batch"], 10450), np.float32(case["scale"])
    logits = rng.standard_normal(shape).astype(np.float32) * scale
    teacher = rng.standard_normal(shape).astype(np.float32) * scale
    labels = rng.integers(0, 10450, case["batch"])
    return (
        torch.from_numpy(logits).to(dtype),
        torch.from_numpy(teacher).to(dtype),
        torch.from_numpy(labels),
    )


@pytest.mark.parametrize("case", OFFICIAL, ids=lambda case: f"seed{case['seed']}")
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("way", ["in one sweep", "by depth"])
def test_semantic_softmax_equals_the_official_code(
    winter21: Levels, case: dict[str, Any], dtype: torch.dtype, rel: float, way: str
) -> None:
    logits, _, labels = draw_case(case, dtype)
    loss = make_semantic(winter21, smoothing=0.2)
    function = loss if way == "in one sweep" else depth_by_depth(loss)
    value, gradient = value_and_gradient(function, logits, labels)
    assert value == pytest.approx(case["loss"], rel=rel)
    assert gradient.double().norm().item() == pytest.approx(case["grad_norm"], rel=rel)
    assert gradient.double().abs().sum().item() == pytest.approx(case["grad_abs_sum"], rel=rel)


@pytest.mark.parametrize("case", OFFICIAL, ids=lambda case: f"seed{case['seed']}")
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_official_distillation_is_ours_times_the_batch(
    winter21: Levels, case: dict[str, Any], dtype: torch.dtype, rel: float
) -> None:
    logits, teacher, labels = draw_case(case, dtype)
    found = SemanticDistillationLoss(winter21, Trust.OFFICIAL)(logits, teacher, labels).item()
    assert found * case["batch"] == pytest.approx(case["official_kd_sum"], rel=rel)


# --- distillation -------------------------------------------------------------------------------


def slow_distillation(
    student: torch.Tensor,
    teacher: torch.Tensor,
    labels: torch.Tensor | None,
    levels: Levels,
    trust: Trust,
) -> float:
    total = 0.0
    for image in range(len(student)):
        for depth, classes in enumerate(levels.classes_at):
            s, t = student[image, classes].softmax(0), teacher[image, classes].softmax(0)
            trusted = sorted(t.tolist(), reverse=True)[: math.ceil(len(classes) / 20)]
            has_target = labels is not None and levels.ancestors_CL[labels[image], depth] != NONE
            p = 1.0 if has_target and trust == Trust.PAPER else sum(trusted)
            total += p * (t - s).square().sum().item() / len(student)
    return total


@given(forests(), SEEDS, st.sampled_from(Trust), st.booleans())
def test_distillation_equals_the_slow_loop_both_ways(
    tree: Tree, seed: int, trust: Trust, has_labels: bool
) -> None:
    levels = make_levels(tree)
    student, drawn = make_batch(levels, 25, seed)  # three rows at a time, then two, then one
    teacher, _ = make_batch(levels, 25, seed + 1)
    labels = drawn if has_labels else None
    loss = SemanticDistillationLoss(levels, trust)
    expected = slow_distillation(student, teacher, labels, levels, trust)
    value, gradient = value_and_gradient(loss, student, teacher, labels)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)
    leaf = student.detach().requires_grad_()
    other = depth_by_depth(loss)(leaf, teacher, labels)
    torch.autograd.backward(other)
    assert leaf.grad is not None
    assert other.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    torch.testing.assert_close(gradient, leaf.grad)


@given(SEEDS, st.integers(1, 70), st.sampled_from([0, 1, 8, 1000]), st.booleans())
def test_the_top_classes_are_summed_however_many_are_equal(
    seed: int, num_classes: int, fineness: int, is_wide: bool
) -> None:
    """Rounded logits make equal probabilities, also at the bound of the top 5 %."""
    ids = tuple(f"c{n:02}" for n in range(num_classes))
    levels = make_levels(Tree(ids, (ROOT,) * num_classes, "drawn", "none"))
    student, _ = make_batch(levels, 5, seed)
    teacher = (make_batch(levels, 5, seed + 1)[0] * fineness).round() / max(fineness, 1)
    expected = slow_distillation(student, teacher, None, levels, Trust.PAPER)
    if not is_wide:
        student, teacher = student.float(), teacher.float()
    value = SemanticDistillationLoss(levels)(student, teacher).item()
    assert value == pytest.approx(expected, rel=1e-9 if is_wide else 1e-5, abs=1e-12)


def test_the_gradient_of_distillation_is_the_derivative() -> None:
    student, labels = make_batch(LEVELS, 4, seed=3)
    teacher, _ = make_batch(LEVELS, 4, seed=4)
    loss = depth_by_depth(SemanticDistillationLoss(LEVELS))
    assert gradcheck(lambda x: loss(x, teacher, labels), student.requires_grad_())


@pytest.mark.parametrize("name", ["semantic", "multi-label"])
@pytest.mark.parametrize("is_swept", [True, False])
def test_a_second_backward_pass_finds_the_gradient_unscaled(name: str, is_swept: bool) -> None:
    logits, labels = make_batch(LEVELS, 4, seed=20)
    loss = make_semantic(LEVELS) if name == "semantic" else MultiLabelLoss(LEVELS)
    if name == "semantic" and not is_swept:
        loss = depth_by_depth(loss)  # type: ignore[assignment, arg-type]
    value = loss(logits.requires_grad_(), labels)
    once, twice, last = (
        torch.autograd.grad(scale * value, logits, retain_graph=scale != 3)[0] for scale in (1, 2, 3)
    )
    torch.testing.assert_close(twice, 2 * once)
    torch.testing.assert_close(last, 3 * once)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn() -> None:
    logits, labels = make_batch(LEVELS, 4, seed=5)
    value, gradient = value_and_gradient(
        SemanticDistillationLoss(LEVELS), logits, logits.clone(), labels
    )
    assert value == pytest.approx(0.0, abs=1e-15)
    assert gradient.abs().max() < 1e-15


def test_distillation_does_not_depend_on_the_batch_size() -> None:
    student, labels = make_batch(LEVELS, 4, seed=6)
    teacher, _ = make_batch(LEVELS, 4, seed=7)
    loss = SemanticDistillationLoss(LEVELS)
    twice = [torch.cat([each, each]) for each in (student, teacher, labels)]
    torch.testing.assert_close(loss(student, teacher, labels), loss(*twice))


def test_a_depth_that_half_of_a_target_reaches_is_trusted_by_halves() -> None:
    student, _ = make_batch(LEVELS, 4, seed=21)
    teacher, _ = make_batch(LEVELS, 4, seed=22)
    deep, shallow = torch.tensor([3, 3, 1, 0]), torch.tensor([1, 4, 0, 4])
    mixed = 0.5 * one_hot(deep, 5).double() + 0.5 * one_hot(shallow, 5).double()
    for loss in (SemanticDistillationLoss(LEVELS), SigmoidDistillationLoss(LEVELS)):
        expected = 0.5 * loss(student, teacher, deep) + 0.5 * loss(student, teacher, shallow)
        torch.testing.assert_close(loss(student, teacher, mixed), expected)


def test_several_whole_labels_trust_a_depth_no_more_than_one() -> None:
    student, _ = make_batch(LEVELS, 4, seed=23)
    teacher, _ = make_batch(LEVELS, 4, seed=24)
    labels = torch.tensor([3, 3, 3, 3])
    both = one_hot(labels, 5).double() + one_hot(labels - 1, 5).double()
    loss = SemanticDistillationLoss(LEVELS)
    torch.testing.assert_close(loss(student, teacher, both), loss(student, teacher, labels))


@given(forests(), SEEDS, st.sampled_from(Trust), st.booleans())
def test_distillation_between_sigmoids_equals_the_slow_loop(
    tree: Tree, seed: int, trust: Trust, has_labels: bool
) -> None:
    levels = make_levels(tree)
    student, drawn = make_batch(levels, 5, seed)
    teacher, _ = make_batch(levels, 5, seed + 1)
    labels = drawn if has_labels else None
    expected = 0.0
    for image in range(5):
        for depth, classes in enumerate(levels.classes_at):
            s, t = student[image, classes].sigmoid(), teacher[image, classes].sigmoid()
            top = sum(sorted(t.tolist(), reverse=True)[: math.ceil(len(classes) / 20)])
            has_target = has_labels and levels.ancestors_CL[drawn[image], depth] != NONE
            p = 1.0 if has_target and trust == Trust.PAPER else min(top, 1.0)
            expected += p * (t - s).square().sum().item() / 5
    found = SigmoidDistillationLoss(levels, trust)(student, teacher, labels)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


# --- logit distillation -------------------------------------------------------------------------


def slow_divergence(
    student: torch.Tensor,
    teacher: torch.Tensor,
    known: torch.Tensor,
    levels: Levels,
    scheme: Scheme,
    temperature: float,
) -> float:
    """Image by image and softmax by softmax, from probabilities."""
    groups = [np.arange(levels.num_classes)] if scheme == Scheme.SINGLE_LABEL else levels.classes_at
    total = 0.0
    for image in range(len(student)):
        for group in groups:
            classes = [c for c in group.tolist() if known[image, c]]
            s, t = student[image, classes] / temperature, teacher[image, classes] / temperature
            if scheme == Scheme.MULTI_LABEL:
                ps, pt = torch.cat([s, -s]).sigmoid(), torch.cat([t, -t]).sigmoid()
            else:
                ps, pt = s.softmax(0), t.softmax(0)
            for p, q in zip(pt.tolist(), ps.tolist(), strict=True):
                total += p * math.log(p / q)
    return temperature**2 * total / len(student)


ALL_SCHEMES = pytest.mark.parametrize("scheme", list(Scheme))


@ALL_SCHEMES
@given(tree=forests(), seed=SEEDS, temperature=st.floats(0.5, 8), masks=st.booleans())
def test_logit_distillation_equals_the_slow_loop(
    scheme: Scheme, tree: Tree, seed: int, temperature: float, masks: bool
) -> None:
    levels = make_levels(tree)
    student, _ = make_batch(levels, 4, seed)
    teacher, _ = make_batch(levels, 4, seed + 1)
    known = torch.ones(4, levels.num_classes, dtype=torch.bool)
    if masks:
        known = torch.rand(known.shape, generator=torch.Generator().manual_seed(seed)) < 0.7
    expected = slow_divergence(student, teacher, known, levels, scheme, temperature)
    loss = LogitDistillationLoss(levels, scheme, temperature)
    found = loss(student, teacher, None, known if masks else None).item()
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def all_distances() -> dict[str, nn.Module]:
    distances: dict[str, nn.Module] = {
        f"{kind} {scheme}": make_distillation(kind, scheme, LEVELS, trust=Trust.PAPER, temperature=2.0)
        for kind in Distillation
        for scheme in Scheme
    }
    return distances


DISTANCES = pytest.mark.parametrize("name", list(all_distances()))


def test_the_distance_is_chosen_by_kind_and_scheme() -> None:
    found = {name: type(distance) for name, distance in all_distances().items()}
    assert found == {
        "semantic single-label": SemanticDistillationLoss,
        "semantic multi-label": SigmoidDistillationLoss,
        "semantic semantic": SemanticDistillationLoss,
        "logits single-label": LogitDistillationLoss,
        "logits multi-label": LogitDistillationLoss,
        "logits semantic": LogitDistillationLoss,
    }


def test_a_chosen_distance_is_given_trust_and_temperature() -> None:
    official = make_distillation(
        Distillation.SEMANTIC, Scheme.SEMANTIC, LEVELS, trust=Trust.OFFICIAL, temperature=2.0
    )
    hot = make_distillation(
        Distillation.LOGITS, Scheme.SEMANTIC, LEVELS, trust=Trust.PAPER, temperature=7.0
    )
    assert official.trust == Trust.OFFICIAL
    assert hot.temperature == 7.0


@DISTANCES
def test_a_student_like_its_teacher_is_at_no_distance_and_any_other_at_some(name: str) -> None:
    student, labels = make_batch(LEVELS, 6, seed=25)
    teacher, _ = make_batch(LEVELS, 6, seed=26)
    distance = all_distances()[name]
    value, gradient = value_and_gradient(distance, student, student.clone(), labels)
    assert value == pytest.approx(0.0, abs=1e-12)
    assert gradient.abs().max() < 1e-12
    assert distance(student, teacher, labels) > 0.01


@DISTANCES
def test_the_gradient_of_a_distance_is_the_derivative(name: str) -> None:
    student, labels = make_batch(LEVELS, 3, seed=27)
    teacher, _ = make_batch(LEVELS, 3, seed=28)
    known = torch.ones(3, 5, dtype=torch.bool)
    known[1, 2] = known[2, 4] = False
    distance = all_distances()[name]
    assert gradcheck(lambda x: distance(x, teacher, labels, known), student.requires_grad_())


@DISTANCES
def test_no_gradient_goes_to_the_teacher(name: str) -> None:
    student, labels = make_batch(LEVELS, 3, seed=29)
    teacher, _ = make_batch(LEVELS, 3, seed=30)
    torch.autograd.backward(
        all_distances()[name](student.requires_grad_(), teacher.requires_grad_(), labels)
    )
    assert teacher.grad is None


@DISTANCES
def test_what_a_teacher_does_not_know_takes_no_part(name: str) -> None:
    student, labels = make_batch(LEVELS, 6, seed=31)
    teacher, _ = make_batch(LEVELS, 6, seed=32)
    known = torch.ones(6, 5, dtype=torch.bool)
    known[:, 1] = False
    known[0] = False  # all of it: no softmax is left
    distance = all_distances()[name]
    value, gradient = value_and_gradient(distance, student, teacher, labels, known)
    assert gradient[:, 1].eq(0).all()
    assert gradient[0].eq(0).all()
    wild_student, wild_teacher = student.clone(), teacher.clone()
    wild_student[:, 1] = 1e4
    wild_teacher[:, 1] = -1e4
    assert distance(wild_student, wild_teacher, labels, known).item() == pytest.approx(value)


@DISTANCES
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_distances_of_half_precision_are_summed_in_float32(name: str, dtype: torch.dtype) -> None:
    student, labels = make_batch(LEVELS, 8, seed=33)
    teacher, _ = make_batch(LEVELS, 8, seed=34)
    distance = all_distances()[name]
    half, half_teacher = student.to(dtype), teacher.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(distance, half, half_teacher, labels)
    expected, _ = value_and_gradient(distance, half.float(), half_teacher.float(), labels)
    assert value == pytest.approx(expected, rel=1e-6)
    assert gradient.dtype == dtype


@DISTANCES
@pytest.mark.parametrize("largest", [1e4, 3.3e38])
def test_distances_between_extreme_logits_are_finite(name: str, largest: float) -> None:
    student, labels = make_batch(LEVELS, 8, seed=35)
    teacher, _ = make_batch(LEVELS, 8, seed=36)
    wild = [(largest * each / each.abs().max()).float() for each in (student, teacher)]
    value, gradient = value_and_gradient(all_distances()[name], *wild, labels)
    assert math.isfinite(value)
    assert gradient.isfinite().all()


# --- multi-label --------------------------------------------------------------------------------


@given(forests(), SEEDS)
def test_multi_label_is_binary_cross_entropy_over_label_and_ancestors(tree: Tree, seed: int) -> None:
    levels = make_levels(tree)
    logits, labels = make_batch(levels, 25, seed)  # three rows at a time, then two, then one
    present = torch.zeros_like(logits)
    for image, label in enumerate(labels.tolist()):
        while label != ROOT:
            present[image, label] = 1.0
            label = tree.parents[label]  # noqa: PLW2901 - the walk goes up from here
    expected, expected_gradient = value_and_gradient(
        lambda x, y: binary_cross_entropy_with_logits(x, y, reduction="sum") / len(x), logits, present
    )
    value, gradient = value_and_gradient(MultiLabelLoss(levels), logits, labels)
    assert value == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("focus_gradient", [False, True])
def test_asymmetric_loss_equals_the_published_code(focus_gradient: bool) -> None:
    logits, labels = make_batch(LEVELS, 6, seed=8)
    ours = MultiLabelLoss(LEVELS, gamma_neg=4, gamma_pos=0, clip=0.05, focus_gradient=focus_gradient)
    present = ours.depths.with_ancestors(labels).double()
    theirs = AsymmetricLossMultiLabel(
        gamma_neg=4, gamma_pos=0, clip=0.05, disable_torch_grad_focal_loss=not focus_gradient
    )
    value, gradient = value_and_gradient(ours, logits, labels)
    expected, expected_gradient = value_and_gradient(theirs, logits, present)
    assert value == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-8)


def test_the_loss_of_a_scheme_is_given_its_own_options() -> None:
    logits, labels = make_batch(LEVELS, 6, seed=37)
    chosen = make_loss(
        Scheme.MULTI_LABEL,
        LEVELS,
        label_smoothing=0.3,  # has no meaning without a softmax
        weights_L=LEVELS.weights_L().tolist(),
        gamma_neg=4.0,
        gamma_pos=1.0,
        clip=0.05,
    )
    expected = MultiLabelLoss(LEVELS, gamma_neg=4.0, gamma_pos=1.0, clip=0.05)(logits, labels)
    torch.testing.assert_close(chosen(logits, labels), expected)


# --- what all losses accept ---------------------------------------------------------------------


def all_losses() -> dict[str, nn.Module]:
    return {
        "single-label": SingleLabelLoss(0.1),
        "semantic": make_semantic(LEVELS),
        "multi-label": MultiLabelLoss(LEVELS),
        "asymmetric": MultiLabelLoss(LEVELS, gamma_neg=4, clip=0.05),
        "asymmetric, focused": MultiLabelLoss(
            LEVELS, gamma_neg=4, gamma_pos=1, clip=0.05, focus_gradient=True
        ),
    }


LOSSES = pytest.mark.parametrize("name", list(all_losses()))


@LOSSES
def test_a_share_of_one_is_a_label(name: str) -> None:
    logits, labels = make_batch(LEVELS, 6, seed=9)
    loss = all_losses()[name]
    torch.testing.assert_close(loss(logits, labels), loss(logits, one_hot(labels, 5).double()))


@LOSSES
def test_mixed_targets_give_the_mixture_of_the_losses(name: str) -> None:
    logits, labels = make_batch(LEVELS, 6, seed=10)
    other = labels.roll(1)
    mixed = 0.3 * one_hot(labels, 5).double() + 0.7 * one_hot(other, 5).double()
    loss = all_losses()[name]
    expected = 0.3 * loss(logits, labels) + 0.7 * loss(logits, other)
    torch.testing.assert_close(loss(logits, mixed), expected)


def test_several_whole_labels_share_a_softmax_and_are_all_present() -> None:
    logits, _ = make_batch(LEVELS, 3, seed=38)
    both = torch.zeros(3, 5, dtype=torch.float64)
    both[:, [2, 3]] = 1.0  # dog and kitten, which have animal in common
    for name, loss in all_losses().items():
        dog, kitten = (loss(logits, torch.full((3,), label)) for label in (2, 3))
        if name in {"single-label", "semantic"}:
            torch.testing.assert_close(loss(logits, both), (dog + kitten) / 2)
        else:
            present = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]] * 3)
            torch.testing.assert_close(loss(logits, both), loss(logits, present))


@LOSSES
def test_classes_that_are_not_known_take_no_part(name: str) -> None:
    logits, _ = make_batch(LEVELS, 6, seed=11)
    labels = torch.tensor([0, 1, 2, 4, 0, 1])
    known = torch.ones(6, 5, dtype=torch.bool)
    known[:, 3] = False
    loss = all_losses()[name]
    _, gradient = value_and_gradient(loss, logits, labels, known)
    assert gradient[:, 3].eq(0).all()
    wild = logits.clone()
    wild[:, 3] = 1e4
    torch.testing.assert_close(loss(logits, labels, known), loss(wild, labels, known))


@LOSSES
def test_all_classes_known_is_as_if_nothing_was_said(name: str) -> None:
    logits, labels = make_batch(LEVELS, 6, seed=12)
    loss = all_losses()[name]
    known = torch.ones(6, 5, dtype=torch.bool)
    torch.testing.assert_close(loss(logits, labels), loss(logits, labels, known))


@LOSSES
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_float32(name: str, dtype: torch.dtype) -> None:
    logits, labels = make_batch(LEVELS, 8, seed=13)
    loss = all_losses()[name]
    half = logits.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(loss, half, labels)
    expected, exact_gradient = value_and_gradient(loss, half.float(), labels)
    assert value == pytest.approx(expected, rel=1e-6)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient.float(), exact_gradient, rtol=1e-2, atol=1e-4)


@LOSSES
def test_extreme_logits_give_finite_losses_and_gradients(name: str) -> None:
    logits, labels = make_batch(LEVELS, 8, seed=14)
    value, gradient = value_and_gradient(all_losses()[name], (1e4 * logits).float(), labels)
    assert math.isfinite(value)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("distance", [87.0, 1000.0])
def test_a_depth_far_below_the_largest_logit_keeps_its_digits(distance: float) -> None:
    logits, labels = make_batch(LEVELS, 8, seed=15)
    near, far = logits.roll(1, 0).float(), logits.float()
    far[:, LEVELS.classes_at[1]] -= distance
    distil = SemanticDistillationLoss(LEVELS)
    cases: list[tuple[nn.Module, tuple[torch.Tensor, ...]]] = [
        (make_semantic(LEVELS), (far, labels)),
        (distil, (far, near, labels)),
        (distil, (near, far, labels)),
    ]
    for loss, arguments in cases:
        value, gradient = value_and_gradient(loss, *arguments)
        wide = [each.double() if each.ndim == 2 else each for each in arguments]
        expected, expected_gradient = value_and_gradient(loss, *wide)
        assert value == pytest.approx(expected, rel=1e-5)
        torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-3, atol=1e-9)


def test_a_root_far_below_the_largest_logit_keeps_its_digits() -> None:
    logits, labels = make_batch(LEVELS, 8, seed=15)
    logits[:, 0] -= 100.0  # animal: its share of all classes is no float32
    loss = make_semantic(LEVELS)
    wide = loss(logits.float().double(), labels)
    torch.testing.assert_close(loss(logits.float(), labels).double(), wide, rtol=1e-6, atol=0.0)


@LOSSES
@pytest.mark.parametrize("is_shared", [False, True])
def test_a_logit_of_minus_infinity_takes_its_class_out(name: str, is_shared: bool) -> None:
    logits, _ = make_batch(LEVELS, 4, seed=16)
    labels = torch.tensor([0, 1, 1, 4])
    targets = one_hot(labels, 5).double() if is_shared else labels
    masked = logits.clone()
    masked[:, 2] = -torch.inf  # dog, beside cat
    known = torch.ones(4, 5, dtype=torch.bool)
    known[:, 2] = False
    loss = all_losses()[name]
    expected, expected_gradient = value_and_gradient(loss, logits, targets, known)
    for is_known in (None, known):
        value, gradient = value_and_gradient(loss, masked, targets, is_known)
        assert value == pytest.approx(expected)
        torch.testing.assert_close(gradient, expected_gradient)


def slow_losses(
    logits: torch.Tensor, shares: torch.Tensor, known: torch.Tensor, tree: Tree, smoothing: float
) -> dict[str, float]:
    """Image by image, for targets that are shared among labels and classes of which some are unknown."""
    levels = make_levels(tree)
    weights = levels.weights_L(20.0).tolist()
    paths = [[c for c in row if c != NONE] for row in levels.ancestors_CL.tolist()]
    total = {"single-label": 0.0, "semantic": 0.0, "multi-label": 0.0}

    def log_p(image: int, classes: list[int], c: int) -> float:
        of_softmax = [k for k in classes if known[image, k]]
        if c not in of_softmax:
            return 0.0
        log_sum = math.log(sum(math.exp(logits[image, k].item()) for k in of_softmax))
        values = [logits[image, k].item() - log_sum for k in of_softmax]
        even = sum(values) / len(values)
        return (1 - smoothing) * values[of_softmax.index(c)] + smoothing * even

    for image, row in enumerate(shares.tolist()):
        present = [0.0] * len(row)
        for label, share in enumerate(row):
            total["single-label"] -= share * log_p(image, list(range(len(row))), label)
            for depth, c in enumerate(paths[label]):
                at_depth = levels.classes_at[depth].tolist()
                total["semantic"] -= weights[depth] * share * log_p(image, at_depth, c)
                present[c] += share
        for c, share in enumerate(present):
            if known[image, c]:
                p = 1 / (1 + math.exp(-logits[image, c].item()))
                total["multi-label"] -= share * math.log(p) + (1 - share) * math.log(1 - p)
    return {name: value / len(shares) for name, value in total.items()}


@given(forests(), SEEDS, st.sampled_from([0.0, 0.2]), st.booleans(), st.booleans())
def test_shared_targets_and_unknown_classes_equal_the_slow_loop(
    tree: Tree, seed: int, smoothing: float, has_unknown: bool, is_shared: bool
) -> None:
    levels = make_levels(tree)
    logits, labels = make_batch(levels, 7, seed)
    generator = torch.Generator().manual_seed(seed)
    known = torch.rand(logits.shape, generator=generator) < (0.7 if has_unknown else 2.0)
    shares = one_hot(labels, levels.num_classes).double()
    if is_shared:
        shares = 0.25 * shares + 0.75 * shares.roll(1, 0)
    expected = slow_losses(logits, shares, known, tree, smoothing)
    losses = {
        "single-label": SingleLabelLoss(smoothing),
        "semantic": make_semantic(levels, smoothing),
        "multi-label": MultiLabelLoss(levels),
    }
    asked = (shares if is_shared else labels, known if has_unknown else None)
    for name, loss in losses.items():
        value, _ = value_and_gradient(loss, logits, *asked)
        assert value == pytest.approx(expected[name], rel=1e-6, abs=1e-9), name


@given(forests(), SEEDS, st.sampled_from(Trust), st.integers(1, 3))
def test_both_ways_agree_on_shared_targets(tree: Tree, seed: int, trust: Trust, labels: int) -> None:
    levels = make_levels(tree)
    logits, drawn = make_batch(levels, 70, seed)
    teacher, _ = make_batch(levels, 70, seed + 1)
    shares = sum(
        one_hot(drawn.roll(turn), levels.num_classes).double() / labels for turn in range(labels)
    )
    loss, distil = make_semantic(levels, 0.1), SemanticDistillationLoss(levels, trust)
    for one, arguments in ((loss, (shares,)), (distil, (teacher, shares))):
        value, gradient = value_and_gradient(one, logits, *arguments)
        expected, expected_gradient = value_and_gradient(depth_by_depth(one), logits, *arguments)
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-9)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-9)


def test_targets_of_very_many_labels_are_taken_too() -> None:
    levels = make_levels(Tree(tuple(f"c{n:02}" for n in range(40)), (ROOT, *(0,) * 39), "drawn", "none"))
    logits, _ = make_batch(levels, 9, seed=39)
    shares = torch.full((9, 40), 1 / 40, dtype=torch.float64)
    alone = [torch.full((9,), label) for label in range(40)]
    loss = make_semantic(levels)
    expected = torch.stack([loss(logits, labels) for labels in alone]).mean()
    torch.testing.assert_close(loss(logits, shares), expected)
    teacher = logits.roll(1, 0)
    distil = SemanticDistillationLoss(levels)
    assert distil(logits, teacher, shares).isfinite()


def test_a_batch_in_which_a_depth_has_no_target_is_finite() -> None:
    logits, _ = make_batch(LEVELS, 3, seed=17)
    labels = torch.tensor([0, 4, 0])
    value, gradient = value_and_gradient(make_semantic(LEVELS), logits, labels)
    assert math.isfinite(value)
    assert gradient[:, [1, 2, 3]].eq(0).all()


def on_a_batch(
    name: str, levels: Levels, num_images: int
) -> tuple[SemanticSoftmaxLoss | SemanticDistillationLoss, torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return a loss that is made in one sweep, logits, and its other arguments."""
    logits, labels = make_batch(levels, num_images, seed=18)
    teacher, _ = make_batch(levels, num_images, seed=19)
    if name == "semantic":
        return make_semantic(levels), logits, (labels,)
    return SemanticDistillationLoss(levels), logits, (teacher, labels)


SWEPT = pytest.mark.parametrize("name", ["semantic", "distillation"])


IN_A_FRESH_PROCESS = """
import torch
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.tree import ROOT, Tree
from hypernym.losses.distillation import SemanticDistillationLoss
from hypernym.losses.semantic import SemanticSoftmaxLoss

levels = make_levels(Tree(tuple("abcde"), (ROOT, 0, 0, 1, ROOT), "by hand", "none"))
torch.manual_seed(0)
x, labels = torch.randn(50, 5), torch.randint(5, (50,))

def value_and_gradients():
    s, t = x.clone().requires_grad_(), x.clone().requires_grad_()
    one = SemanticSoftmaxLoss(levels, [1.0] * 3, 0.1)(s, labels)
    two = SemanticDistillationLoss(levels)(t, x.roll(1, 0), labels)
    (one + two).backward()
    return torch.stack([one, two]).detach(), s.grad, t.grad

"""


def test_the_number_of_threads_changes_no_bit_and_stays_as_it_was() -> None:
    run_python(
        IN_A_FRESH_PROCESS
        + """
torch.set_num_threads(1)
first = value_and_gradients()
assert torch.get_num_threads() == 1
torch.set_num_threads(2)
assert all(map(torch.equal, first, value_and_gradients()))
assert torch.get_num_threads() == 2
"""
    )


def test_a_fork_of_a_process_that_ran_the_loops_takes_the_other_way() -> None:
    """numba ends a fork that uses the threads it has not got."""
    run_python(
        IN_A_FRESH_PROCESS
        + """
import os
first = value_and_gradients()
torch.set_num_threads(1)  # with more, torch itself would wait for ever in the fork
if not (child := os.fork()):
    others = value_and_gradients()
    os._exit(0 if all(torch.allclose(a, b) for a, b in zip(first, others)) else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    )


def run_python(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@SWEPT
@pytest.mark.parametrize("num_classes", [4, 6])
@pytest.mark.parametrize("num_images", [8, 10])
def test_what_does_not_fit_is_refused(name: str, num_images: int, num_classes: int) -> None:
    loss, logits, (*teacher, labels) = on_a_batch(name, LEVELS, 9)
    with pytest.raises(ValueError, match="the tree has 5 classes"):
        loss(torch.zeros(9, num_classes), *teacher, labels)
    with pytest.raises(ValueError, match=r"targets of shape"):
        loss(logits, *teacher, torch.zeros(num_images, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"targets of shape"):
        loss(logits, *teacher, torch.zeros(9, num_classes))
    if teacher:
        with pytest.raises(ValueError, match="teacher's logits"):
            loss(logits, torch.zeros(num_images, 5), labels)


@pytest.mark.parametrize("scheme", Scheme)
def test_sure_logits_lose_no_digits(scheme: Scheme) -> None:
    """Classes well learned, whose losses are small, and logits far from 0."""
    ids = tuple(f"c{n:03}" for n in range(300))
    levels = make_levels(Tree(ids, (*(ROOT,) * 100, *range(100), *range(100, 200)), "drawn", "none"))
    logits, labels = make_batch(levels, 40, seed=60)
    is_target = levels.ancestors_CL[labels.numpy()]
    for image, path in enumerate(is_target):
        logits[image, path[path >= 0]] += 20
    logits -= 15
    loss = make_loss(scheme, levels, label_smoothing=0.0, weights_L=[1.0] * 3)
    for shift in (0.0,) if scheme == Scheme.MULTI_LABEL else (0.0, 4096.0):
        exactly = (logits + shift).float().double()
        expected, gradient = value_and_gradient(loss, exactly, labels)
        value, gradient_32 = value_and_gradient(loss, exactly.float(), labels)
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-7)
        torch.testing.assert_close(gradient_32.double(), gradient, rtol=1e-4, atol=1e-8)


@SWEPT
def test_logits_need_not_be_contiguous(name: str) -> None:
    loss, logits, arguments = on_a_batch(name, LEVELS, 17)
    turned = [each.T.contiguous().T if each.ndim == 2 else each for each in (logits, *arguments)]
    value, gradient = value_and_gradient(loss, *turned)
    expected, expected_gradient = value_and_gradient(loss, logits, *arguments)
    assert value == pytest.approx(expected)
    torch.testing.assert_close(gradient, expected_gradient)


@SWEPT
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_given_is_not_written_to(name: str, dtype: torch.dtype) -> None:
    loss, logits, arguments = on_a_batch(name, LEVELS, 17)
    given = [each.to(dtype) if each.ndim == 2 else each for each in (logits, *arguments)]
    before = [each.clone() for each in given]
    value_and_gradient(loss, *given)
    assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_distillation_of_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    loss, logits, (teacher, labels) = on_a_batch("distillation", LEVELS, 17)
    student, teacher = logits.to(dtype), teacher.to(dtype)
    value, gradient = value_and_gradient(loss, student, teacher, labels)
    expected, exact_gradient = value_and_gradient(loss, student.float(), teacher.float(), labels)
    assert value == pytest.approx(expected, rel=1e-6)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient.float(), exact_gradient, rtol=1e-2, atol=1e-4)


@SWEPT
@pytest.mark.parametrize("num_images", [64, 256])
@pytest.mark.parametrize("is_swept", [True, False])
def test_beside_the_gradient_little_memory_is_taken(name: str, num_images: int, is_swept: bool) -> None:
    loss, logits, arguments = on_a_batch(name, make_deep_levels(), num_images)
    called = loss if is_swept else depth_by_depth(loss)
    assert measure_memory(called, logits, *arguments) < (1.1 if is_swept else 1.9) * logits.nbytes


@pytest.mark.parametrize("num_images", [64, 256])
def test_the_multi_label_loss_keeps_its_gradient_alone(num_images: int) -> None:
    logits, labels = make_batch(make_deep_levels(), num_images, seed=18)
    memory = measure_memory(MultiLabelLoss(make_deep_levels()), logits, labels)
    assert memory < 1.3 * logits.nbytes


def make_deep_levels() -> Levels:
    parents = (*(ROOT,) * 500, *range(500), *range(500, 1000), *range(1000, 1500))
    return make_levels(Tree(tuple(f"c{n:04}" for n in range(2000)), parents, "by hand", "none"))


def measure_memory(loss: Callable[..., torch.Tensor], *given: torch.Tensor) -> int:
    """Return the bytes held at the peak of a forward and backward pass, beside what is given."""
    with torch.profiler.profile(profile_memory=True) as profile:
        value_and_gradient(loss, *given)
    held = np.cumsum(
        [e.nbytes() for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    )
    return int(held.max())


WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "equal", "item"}


class NoWaiting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what would make the host wait for a GPU."""

    def __torch_dispatch__(
        self,
        function: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        arguments: Any = (),  # noqa: ANN401
        options: Any = None,  # noqa: ANN401
        /,
    ) -> Any:  # noqa: ANN401
        name = function.overloadpacket.__name__
        by_mask = name in {"index", "index_put", "index_put_"} and any(
            each is not None and each.dtype == torch.bool for each in arguments[1]
        )
        assert name not in WAITING, name
        assert not by_mask, name
        return function(*arguments, **(options or {}))


TARGETS = pytest.mark.parametrize("is_shared", [False, True], ids=["labels", "shares"])
KNOWN = pytest.mark.parametrize("has_unknown", [False, True], ids=["all known", "some unknown"])


def targets_for(labels: torch.Tensor, is_shared: bool, has_unknown: bool) -> tuple[Any, Any]:
    shares = 0.3 * one_hot(labels, 5).double() + 0.7 * one_hot(labels.roll(1), 5).double()
    known = torch.rand(len(labels), 5, generator=torch.Generator().manual_seed(1)) < 0.7
    return shares if is_shared else labels, known if has_unknown else None


@pytest.mark.parametrize("name", [*all_losses(), *all_distances()])
@TARGETS
@KNOWN
def test_compiled_losses_have_no_graph_break_and_the_same_value(
    name: str, is_shared: bool, has_unknown: bool
) -> None:
    torch.compiler.reset()
    logits, labels = make_batch(LEVELS, 8, seed=18)
    loss = {**all_losses(), **all_distances()}[name]
    arguments: tuple[Any, ...] = targets_for(labels, is_shared, has_unknown)
    if name in all_distances():
        arguments = (logits.roll(1, 0), *arguments)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    value, gradient = value_and_gradient(compiled, logits, *arguments)
    expected, expected_gradient = value_and_gradient(loss, logits, *arguments)
    assert value == pytest.approx(expected)
    torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("name", [*all_losses(), *all_distances()])
@TARGETS
@KNOWN
def test_no_loss_makes_the_host_wait_for_a_gpu(
    name: str, is_shared: bool, has_unknown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (semantic, distillation):  # the other way is the CPU's alone
        monkeypatch.setattr(module._InOneSweep, "apply", lambda *_: (None, False))
    logits, labels = make_batch(LEVELS, 8, seed=18)
    loss = {**all_losses(), **all_distances()}[name]
    arguments: tuple[Any, ...] = targets_for(labels, is_shared, has_unknown)
    if name in all_distances():
        arguments = (logits.roll(1, 0), *arguments)
    leaf = logits.requires_grad_()
    with NoWaiting():  # type: ignore[no-untyped-call]
        torch.autograd.backward(loss(leaf, *arguments))
