import numpy as np
import pytest
from hypothesis import given
from strategies import forests

from hypernym.hierarchy.levels import NONE, make_levels
from hypernym.hierarchy.tree import ROOT, Tree


def ancestors_of(label: int, tree: Tree) -> list[int]:
    """The slow truth: the labels above a class, nearest first."""
    parent = tree.parents[label]
    return [] if parent == ROOT else [parent, *ancestors_of(parent, tree)]


def depth_of(label: int, tree: Tree) -> int:
    return len(ancestors_of(label, tree))


def classes_at(depth: int, tree: Tree) -> list[int]:
    return [label for label in range(len(tree.ids)) if depth_of(label, tree) == depth]


def num_depths(tree: Tree) -> int:
    return 1 + max(depth_of(label, tree) for label in range(len(tree.ids)))


def tree_of(*parents: int) -> Tree:
    return Tree(tuple(f"class-{label}" for label in range(len(parents))), parents, "by hand", "a test")


@given(forests())
def test_the_depth_of_a_class_is_the_number_of_its_ancestors(tree: Tree) -> None:
    levels = make_levels(tree)
    assert levels.num_classes == len(tree.ids)
    assert levels.num_depths == num_depths(tree)
    assert levels.depth_C.tolist() == [depth_of(label, tree) for label in range(len(tree.ids))]
    assert levels.parents_C.tolist() == list(tree.parents)


@given(forests())
def test_a_class_has_one_ancestor_at_each_depth_above_itself_and_none_below(tree: Tree) -> None:
    levels = make_levels(tree)
    for label, row in enumerate(levels.ancestors_CL.tolist()):
        path = [*reversed(ancestors_of(label, tree)), label]
        assert row == path + [NONE] * (num_depths(tree) - len(path))


@given(forests())
def test_the_classes_of_a_depth_stand_in_label_order(tree: Tree) -> None:
    levels = make_levels(tree)
    expected = [classes_at(depth, tree) for depth in range(num_depths(tree))]
    assert [classes.tolist() for classes in levels.classes_at] == expected
    assert levels.counts_L.tolist() == [len(classes) for classes in expected]


@given(forests())
def test_the_position_of_a_class_is_its_place_among_those_of_its_depth(tree: Tree) -> None:
    for label, position in enumerate(make_levels(tree).position_C.tolist()):
        assert classes_at(depth_of(label, tree), tree)[position] == label


@given(forests())
def test_a_target_is_the_place_of_the_ancestor_within_its_depth(tree: Tree) -> None:
    for label, row in enumerate(make_levels(tree).targets_CL.tolist()):
        path = [*reversed(ancestors_of(label, tree)), label]
        assert row[: len(path)] == [
            classes_at(depth, tree).index(ancestor) for depth, ancestor in enumerate(path)
        ]
        assert set(row[len(path) :]) <= {NONE}


@given(forests())
def test_a_weight_is_the_inverse_of_the_share_of_classes_with_a_target_there(tree: Tree) -> None:
    counts = [len(classes_at(depth, tree)) for depth in range(num_depths(tree))]
    shares = [sum(counts[depth:]) / sum(counts) for depth in range(len(counts))]
    levels = make_levels(tree)
    np.testing.assert_allclose(levels.weights_L(np.inf), [1 / share for share in shares])
    np.testing.assert_allclose(levels.weights_L(2.0), [min(1 / share, 2.0) for share in shares])
    targets_per_depth = (levels.targets_CL != NONE).mean(axis=0)
    np.testing.assert_allclose(targets_per_depth, shares)


def test_a_small_tree_worked_by_hand() -> None:
    """0 swan < 3 bird < 4 animal > 1 fish; 2 sun stands alone."""
    levels = make_levels(tree_of(3, 4, ROOT, 4, ROOT))
    assert levels.depth_C.tolist() == [2, 1, 0, 1, 0]
    assert levels.ancestors_CL.tolist() == [
        [4, 3, 0],
        [4, 1, NONE],
        [2, NONE, NONE],
        [4, 3, NONE],
        [4, NONE, NONE],
    ]
    assert levels.position_C.tolist() == [0, 0, 0, 1, 1]
    assert levels.targets_CL.tolist() == [
        [1, 1, 0],
        [1, 0, NONE],
        [0, NONE, NONE],
        [1, 1, NONE],
        [1, NONE, NONE],
    ]
    assert levels.weights_L(20.0).tolist() == pytest.approx([1.0, 5 / 3, 5.0])
    assert levels.weights_L(4.0).tolist() == pytest.approx([1.0, 5 / 3, 4.0])


def test_a_tree_of_one_depth_is_a_plain_list_of_classes() -> None:
    levels = make_levels(tree_of(ROOT, ROOT, ROOT))
    assert levels.num_depths == 1
    assert levels.ancestors_CL.tolist() == [[0], [1], [2]]
    assert levels.targets_CL.tolist() == [[0], [1], [2]]
    assert levels.weights_L(20.0).tolist() == [1.0]


def test_a_depth_in_the_middle_may_hold_a_single_class() -> None:
    levels = make_levels(tree_of(1, 2, ROOT, 1, ROOT))
    assert levels.counts_L.tolist() == [2, 1, 2]
    assert [classes.tolist() for classes in levels.classes_at] == [[2, 4], [1], [0, 3]]
    assert levels.targets_CL[:, 1].tolist() == [0, 0, NONE, 0, NONE]
    assert levels.weights_L(20.0).tolist() == pytest.approx([1.0, 5 / 3, 5 / 2])
