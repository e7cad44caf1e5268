"""Decoded labels against walks over the tree; paths are consistent whatever the logits say."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import forests

from hypernym.decoding import Decoded, Decoder
from hypernym.hierarchy.levels import NONE, make_levels
from hypernym.hierarchy.rule import Rule
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT, Tree

NINE = Tree(
    tuple("abcdefghi"), (ROOT, 0, 0, 1, 1, ROOT, 5, 6, ROOT), "by hand", "none"
)  # a > b > d, e; a > c; f > g > h; i
LEVELS = make_levels(NINE)
CPU = torch.device("cpu")
SCHEMES = pytest.mark.parametrize("scheme", list(Scheme))
SEEDS = st.integers(0, 2**31)


def make_logits(seed: int, num_classes: int = 9, scale: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(11, num_classes, generator=generator)


def decode(
    tree: Tree, scheme: Scheme, logits: torch.Tensor, threshold: float, rule: Rule = Rule.PATH
) -> Decoded:
    return Decoder(make_levels(tree), scheme, CPU).decode(logits, threshold, rule)


def children_of(tree: Tree, node: int) -> list[int]:
    return [child for child, parent in enumerate(tree.parents) if parent == node]


def below(tree: Tree, label: int) -> list[int]:
    return [label, *(deep for child in children_of(tree, label) for deep in below(tree, child))]


def path_to(tree: Tree, label: int) -> list[int]:
    return [*path_to(tree, tree.parents[label]), label] if label != ROOT else []


def kept_in(decoded: Decoded) -> list[list[int]]:
    rows = zip(decoded.labels.tolist(), decoded.kept.tolist(), strict=True)
    return [[label for label, kept in zip(*row, strict=True) if kept] for row in rows]


@SCHEMES
@given(tree=forests(), seed=SEEDS, threshold=st.floats(0, 1))
def test_every_path_runs_from_parent_to_child_with_falling_probability(
    scheme: Scheme, tree: Tree, seed: int, threshold: float
) -> None:
    decoded = decode(tree, scheme, make_logits(seed, len(tree.ids)), threshold)
    for labels, probabilities, kept in zip(*(field.tolist() for field in decoded), strict=True):
        path = [label for label in labels if label != NONE]
        assert [tree.parents[label] for label in path] == [ROOT, *path[:-1]]
        assert not children_of(tree, path[-1])
        shown = probabilities[: len(path)]
        assert shown == sorted(shown, reverse=True)
        assert kept[: len(path)] == [value >= torch.tensor(threshold).item() for value in shown]
        assert not any(kept[len(path) :])


@SCHEMES
@given(tree=forests(max_classes=20), seed=SEEDS)
def test_probabilities_equal_those_of_a_loop_over_the_tree(
    scheme: Scheme, tree: Tree, seed: int
) -> None:
    logits = make_logits(seed, len(tree.ids))
    found = Decoder(make_levels(tree), scheme, CPU).log_probabilities(logits).exp()
    for image in range(len(logits)):
        shares = logits[image].softmax(0)
        for label in range(len(tree.ids)):
            match scheme:
                case Scheme.SINGLE_LABEL:
                    expected = sum(shares[deeper].item() for deeper in below(tree, label))
                case Scheme.SEMANTIC:
                    expected = 1.0
                    for step in path_to(tree, label):
                        siblings = children_of(tree, tree.parents[step])
                        expected *= logits[image, siblings].softmax(0)[siblings.index(step)].item()
                case Scheme.MULTI_LABEL:
                    expected = 1.0
                    for step in path_to(tree, label):
                        own = logits[image, step].sigmoid().item()
                        expected = min(own, expected * own ** (2**-10))
            assert found[image, label].item() == pytest.approx(expected, rel=1e-4)


@SCHEMES
@given(tree=forests(), seed=SEEDS)
def test_a_path_is_a_walk_to_the_most_probable_child(scheme: Scheme, tree: Tree, seed: int) -> None:
    logits = make_logits(seed, len(tree.ids))
    probability = Decoder(make_levels(tree), scheme, CPU).log_probabilities(logits).exp().tolist()
    for row, path in zip(probability, kept_in(decode(tree, scheme, logits, 0.0)), strict=True):
        node, walk = ROOT, []
        while children := children_of(tree, node):
            node = max(children, key=row.__getitem__)
            walk.append(node)
        assert path == walk


@pytest.mark.parametrize("scheme", [Scheme.SINGLE_LABEL, Scheme.SEMANTIC])
@given(tree=forests(), seed=SEEDS, threshold=st.floats(0.5, 1, exclude_min=True))
def test_above_one_half_a_path_holds_every_class_that_reaches_the_threshold(
    scheme: Scheme, tree: Tree, seed: int, threshold: float
) -> None:
    logits = make_logits(seed, len(tree.ids))
    threshold = max(threshold, 0.501)  # as far from 1/2 as rounding may reach
    probability = Decoder(make_levels(tree), scheme, CPU).log_probabilities(logits).exp()
    for row, path in zip(probability, kept_in(decode(tree, scheme, logits, threshold)), strict=True):
        assert sorted(path) == (row >= threshold).nonzero()[:, 0].tolist()


@SCHEMES
@given(tree=forests(), seed=SEEDS)
def test_the_leaf_is_the_most_probable_of_all_leaves(scheme: Scheme, tree: Tree, seed: int) -> None:
    logits = make_logits(seed, len(tree.ids))
    leaves = [label for label in range(len(tree.ids)) if not children_of(tree, label)]
    probability = Decoder(make_levels(tree), scheme, CPU).log_probabilities(logits).tolist()
    decoded = decode(tree, scheme, logits, 0.9, Rule.LEAF)
    ends = decoded.ends.tolist()
    for row, path, end in zip(probability, kept_in(decoded), ends, strict=True):
        best = max(leaves, key=row.__getitem__)
        assert (path, end) == (path_to(tree, best), best)


@SCHEMES
@given(tree=forests(), seed=SEEDS, threshold=st.sampled_from([0.0, 0.3, 0.5, 0.8]))
def test_the_official_rule_asks_each_depth_by_itself(
    scheme: Scheme, tree: Tree, seed: int, threshold: float
) -> None:
    logits = make_logits(seed, len(tree.ids))
    depths = [len(path_to(tree, label)) - 1 for label in range(len(tree.ids))]
    found = kept_in(decode(tree, scheme, logits, threshold, Rule.OFFICIAL))
    for image, labels in enumerate(found):
        expected = []
        for depth in range(max(depths) + 1):
            classes = [label for label, at in enumerate(depths) if at == depth]
            is_binary = scheme == Scheme.MULTI_LABEL
            of_depth = logits[image, classes]
            shares = (of_depth.sigmoid() if is_binary else of_depth.softmax(0)).tolist()
            if max(shares) > threshold:
                expected.append(classes[shares.index(max(shares))])
        assert labels == expected


@pytest.mark.parametrize("rule", list(Rule))
@SCHEMES
@settings(max_examples=25)
@given(tree=forests(), seed=SEEDS)
def test_permuting_the_classes_permutes_the_labels(
    scheme: Scheme, rule: Rule, tree: Tree, seed: int
) -> None:
    size = len(tree.ids)
    logits = make_logits(seed, size)
    new = torch.randperm(size, generator=torch.Generator().manual_seed(seed))
    parents, ids = [ROOT] * size, [""] * size
    for label, parent in enumerate(tree.parents):
        parents[new[label]] = int(new[parent]) if parent != ROOT else ROOT
        ids[new[label]] = tree.ids[label]
    moved = torch.empty_like(logits)
    moved[:, new] = logits
    before = decode(tree, scheme, logits, 0.4, rule)
    after = decode(Tree(tuple(ids), tuple(parents), "drawn", "a test"), scheme, moved, 0.4, rule)
    expected = torch.where(before.labels != NONE, new[before.labels], NONE)
    assert torch.equal(after.labels, expected)
    assert torch.equal(after.kept, before.kept)
    torch.testing.assert_close(after.probabilities, before.probabilities)


@pytest.mark.parametrize("rule", list(Rule))
@settings(max_examples=25)
@given(tree=forests(), seed=SEEDS)
def test_a_constant_added_within_a_depth_changes_no_label_of_a_semantic_model(
    rule: Rule, tree: Tree, seed: int
) -> None:
    levels = make_levels(tree)
    logits = make_logits(seed, len(tree.ids))
    shifts = 5 * torch.randn(levels.num_depths, generator=torch.Generator().manual_seed(seed))
    shifted = logits + shifts[torch.from_numpy(levels.depth_C)]
    before, after = (decode(tree, Scheme.SEMANTIC, each, 0.4, rule) for each in (logits, shifted))
    assert torch.equal(after.labels, before.labels)
    assert torch.equal(after.kept, before.kept)
    torch.testing.assert_close(after.probabilities, before.probabilities, rtol=1e-4, atol=1e-5)


def test_official_labels_need_not_lie_on_one_path() -> None:
    logits = torch.full((1, 9), -10.0)
    logits[0, [0, 6, 3]] = 10.0  # a, g beneath f, d beneath b
    decoded = decode(NINE, Scheme.SEMANTIC, logits, 0.5, Rule.OFFICIAL)
    assert kept_in(decoded) == [[0, 6, 3]]
    assert decoded.ends.tolist() == [3]


def test_a_sure_class_is_named_though_no_leaf_of_it_is() -> None:
    # a: 0.6, shared evenly by its leaves; i, a leaf: 0.4
    many = Tree(tuple("abcdefghi"), (ROOT, *[0] * 7, ROOT), "by hand", "none")
    logits = torch.tensor([[0.6, *[1.0] * 7, 0.4]]).log()
    decoded = decode(many, Scheme.SEMANTIC, logits, 0.5)
    assert kept_in(decoded) == [[0]]
    assert decode(many, Scheme.SEMANTIC, logits, 0.5, Rule.LEAF).ends.tolist() == [8]


@pytest.mark.parametrize("rule", list(Rule))
@SCHEMES
@pytest.mark.parametrize("mask", [[], [1, 2], [3], [0, 5, 8], [7]])
def test_extreme_and_masked_logits_give_finite_probabilities(
    scheme: Scheme, rule: Rule, mask: list[int]
) -> None:
    for scale in (1.0, 1e4, 1e38):
        logits = make_logits(1, scale=scale)
        logits[:, mask] = -torch.inf
        logits[0, 4] = torch.inf
        decoded = decode(NINE, scheme, logits, 0.5, rule)
        assert decoded.probabilities.isfinite().all()
        if rule == Rule.PATH:  # a masked class that is not a leaf may be named for what is beneath it
            masked_leaves = {2, 3, 4, 7, 8} & set(mask)
            assert not masked_leaves & {label for path in kept_in(decoded) for label in path}


def test_a_path_goes_as_far_as_the_model_is_sure() -> None:
    logits = torch.full((1, 9), -10.0)
    logits[0, [0, 1]] = 10.0  # surely a > b, but d and e alike
    decoded = decode(NINE, Scheme.SEMANTIC, logits, 0.6)
    assert kept_in(decoded) == [[0, 1]]
    assert decoded.ends.tolist() == [1]
    assert decoded.probabilities[0, 2].item() == pytest.approx(0.5, abs=1e-3)


def test_a_path_without_a_label_ends_nowhere() -> None:
    decoded = decode(NINE, Scheme.SEMANTIC, torch.zeros(1, 9), 0.6)
    assert kept_in(decoded) == [[]]
    assert decoded.ends.tolist() == [NONE]


def test_several_children_may_be_surely_there_by_the_multi_label_scheme() -> None:
    logits = torch.full((1, 9), -10.0)
    logits[0, [0, 1, 2]] = torch.tensor([3.0, 2.0, 2.5])  # a, and its children b and c
    decoder = Decoder(LEVELS, Scheme.MULTI_LABEL, CPU)
    probability = decoder.log_probabilities(logits).exp()[0]
    assert probability[[1, 2]].sum() > 1 > probability[0]
    assert kept_in(decoder.decode(logits, 0.5)) == [[0, 2]]


def test_a_sigmoid_above_its_parents_is_cut_at_it() -> None:
    logits = torch.tensor([[-3.0, 5.0, 0.0, 9.0, -9.0, 0.0, 0.0, 0.0, 0.0]])  # b and d are beneath a
    decoder = Decoder(LEVELS, Scheme.MULTI_LABEL, CPU)
    probability = decoder.log_probabilities(logits).exp()[0]
    least = torch.tensor(-3.0).sigmoid().item()
    assert probability[[0, 1, 3]].tolist() == pytest.approx([least] * 3, rel=1e-3)


def test_of_two_siblings_that_are_cut_the_surer_one_is_taken() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0, -9.0, -9.0, -9.0, -9.0, -9.0, -9.0]])  # b and c beneath a
    decoded = Decoder(LEVELS, Scheme.MULTI_LABEL, CPU).decode(logits, 0.5)
    assert kept_in(decoded) == [[0, 2]]
    assert decoded.probabilities[0, 0] >= decoded.probabilities[0, 1]


def test_a_sigmoid_that_is_lower_than_its_parents_is_its_own() -> None:
    logits = torch.tensor([[-3.0, 5.0, 0.0, 9.0, -9.0, 0.0, 0.0, 0.0, 0.0]])
    decoder = Decoder(LEVELS, Scheme.MULTI_LABEL, CPU)
    probability = decoder.log_probabilities(logits).exp()[0]
    assert probability[4].item() == pytest.approx(torch.tensor(-9.0).sigmoid().item())
