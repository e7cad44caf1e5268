from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom
from strategies import forests

from hypernym.data.rejections import Reason
from hypernym.hierarchy.taxonomies import Taxonomy
from hypernym.hierarchy.tree import ROOT, Tree
from hypernym.preparation.duplicates import (
    MIN_TABLES,
    RECALL,
    Conflicts,
    Prints,
    Verdicts,
    group_equal,
    group_similar,
    plan_tables,
    resolve,
    straddling,
)
from hypernym.preparation.seen import LabelsOfImages

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BITS = 256
SURE = 5
"""Of few pictures, pairs that differ in so many bits or fewer are missed once in 10^19 times."""


# --- which pictures are alike -------------------------------------------------------------------


class Picture(NamedTuple):
    """What a picture is known by: `look` is the perceptual hash as a number, if there is one."""

    digest: int
    look: int | None


def picture_near(digest: int, center: int, begin: int, num_bits: int, *, has_hash: bool) -> Picture:
    """Return a picture whose hash differs from a random one, the center, in some adjacent bits."""
    look = int.from_bytes(np.random.default_rng(center).bytes(BITS // 8))
    flipped = ((1 << num_bits) - 1) << begin
    return Picture(digest, look ^ flipped if has_hash else None)


digests = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1])
some_pictures = st.builds(
    picture_near,
    digests,
    st.integers(0, 2),
    st.sampled_from([0, 3, 20, 220]),
    st.integers(0, 30),
    has_hash=st.sampled_from([True, True, True, False]),
)
pictures = st.lists(some_pictures, max_size=5) | st.lists(some_pictures, min_size=10, max_size=30)


def make_prints(of: list[Picture]) -> Prints:
    looks = b"".join((picture.look or 0).to_bytes(BITS // 8) for picture in of)
    return Prints(
        np.array([picture.digest for picture in of], np.uint64),
        np.frombuffer(looks, ">u8").reshape(len(of), 4).astype(np.uint64),
        np.array([picture.look is not None for picture in of], np.bool_),
    )


def is_alike(picture: Picture, other: Picture, max_distance: int) -> bool:
    if picture.look is None or other.look is None:
        return picture.digest == other.digest
    near = (picture.look ^ other.look).bit_count() <= max_distance
    return near or picture.digest == other.digest


def join(num: int, is_joined: Callable[[int, int], bool]) -> list[int]:
    """Return the first of the group of each of `num` things, comparing each with each."""
    group = list(range(num))
    for first, second in combinations(range(num), 2):
        if is_joined(first, second):
            low, high = sorted([group[first], group[second]])
            group = [low if place == high else place for place in group]
    return group


def join_alike(of: list[Picture], max_distance: int) -> list[int]:
    return join(len(of), lambda first, second: is_alike(of[first], of[second], max_distance))


@given(st.lists(digests, max_size=30))
def test_files_of_the_same_digest_are_one_group(found: list[int]) -> None:
    of = [Picture(digest, None) for digest in found]
    wanted = [found.index(digest) for digest in found]
    assert group_equal(make_prints(of)).tolist() == wanted
    assert group_similar(make_prints(of), BITS).tolist() == wanted


@given(pictures, st.integers(0, SURE))
def test_a_group_is_made_of_all_that_differ_in_few_bits(of: list[Picture], max_distance: int) -> None:
    assert group_similar(make_prints(of), max_distance).tolist() == join_alike(of, max_distance)


@given(pictures, st.integers(SURE, 40))
def test_no_pictures_are_joined_that_differ_in_more_bits_but_by_way_of_others(
    of: list[Picture], max_distance: int
) -> None:
    group = group_similar(make_prints(of), max_distance).tolist()
    at_most, at_least = join_alike(of, max_distance), join_alike(of, SURE)
    assert [at_most[first] for first in group] == at_most
    assert [group[first] for first in at_least] == group
    assert all(group[first] == first <= place for place, first in enumerate(group))


def test_two_pictures_that_differ_in_one_bit_too_many_are_not_joined() -> None:
    of = [picture_near(number, 0, 0, 4 * number, has_hash=True) for number in (1, 2)]
    assert group_similar(make_prints(of), 4).tolist() == [0, 0]
    assert group_similar(make_prints(of), 3).tolist() == [0, 1]


def test_a_long_chain_of_small_steps_is_one_group() -> None:
    chain = [picture_near(place, 0, 0, 3 * place, has_hash=True) for place in range(85)]
    order = np.random.default_rng(0).permutation(len(chain))
    assert set(group_similar(make_prints([chain[place] for place in order]), 3).tolist()) == {0}


def test_a_thousand_pictures_of_the_same_look_are_one_group() -> None:
    of = [Picture(place, 12345) for place in range(1000)]
    assert set(group_similar(make_prints(of), 0).tolist()) == {0}


def flip_bits(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.uint64]:
    """Return the hashes with so many of their bits turned round, drawn at random."""
    chance = np.random.default_rng(distance)
    places = np.argsort(chance.random((len(hashes), BITS)), axis=1)[:, :distance]
    flipped = np.zeros((len(hashes), BITS), np.uint8)
    np.put_along_axis(flipped, places, 1, axis=1)
    turned: NDArray[np.uint64] = hashes ^ np.packbits(flipped, axis=1).view(np.uint64)
    return turned


@pytest.mark.parametrize("max_distance", [16, 24, 32, 40, 48])
@pytest.mark.parametrize("nearer", [0, 8])
def test_near_pairs_are_found_as_often_as_is_said(max_distance: int, nearer: int) -> None:
    distance, num = max_distance - nearer, 5000
    hashes = np.random.default_rng(distance).integers(0, 1 << 64, (num, 4), np.uint64)
    both = np.concatenate([hashes, flip_bits(hashes, distance)])
    prints = Prints(np.arange(2 * num, dtype=np.uint64), both, np.ones(2 * num, np.bool_))
    group = group_similar(prints, max_distance)
    assert group[:num].tolist() == list(range(num))
    found = group[num:] == np.arange(num)
    assert np.all(found | (group[num:] == np.arange(num, 2 * num)))
    num_bits, num_tables = plan_tables(2 * num, max_distance)
    wanted = 1 - hypergeom.sf(0, BITS, distance, num_bits) ** num_tables
    assert wanted >= RECALL
    # Five standard deviations of so many pairs.
    assert abs(found.mean() - wanted) <= 5 * (wanted * (1 - wanted) / num) ** 0.5 + 0.001


@pytest.mark.parametrize("num", [2, 10_000, 14_197_122])
@pytest.mark.parametrize("max_distance", [0, 8, 16, 24, 32, 48])
def test_there_are_no_more_tables_than_it_takes_to_find_enough(num: int, max_distance: int) -> None:
    num_bits, num_tables = plan_tables(num, max_distance)
    assert 8 <= num_bits <= 24
    assert 2**num_bits > min(num, 2**23)  # few others agree by chance
    misses = float(hypergeom.sf(0, BITS, max_distance, num_bits))
    assert misses**num_tables <= 1 - RECALL
    assert num_tables == MIN_TABLES or misses ** (num_tables - 1) > 1 - RECALL


# --- which of them stay -------------------------------------------------------------------------


class Case(NamedTuple):
    """Images in groups, under labels of a tree."""

    tree: Tree
    group: list[int]
    """The first image of the group; -1: the image does not count."""

    levels: list[int]
    areas: list[int]
    labels: list[list[int]]

    def above(self, label: int) -> list[int]:
        """Return the labels above one."""
        found = []
        while (label := self.tree.parents[label]) != ROOT:
            found.append(label)
        return found

    def implied(self, row: int) -> set[int]:
        """Return the labels of an image and all above them."""
        return {above for label in self.labels[row] for above in [label, *self.above(label)]}

    def resolve(self, conflicts: Conflicts) -> Verdicts:
        flat = np.array([label for own in self.labels for label in own], np.int32)
        starts = np.cumsum([0, *map(len, self.labels)])
        return resolve(
            np.array(self.group, np.int64),
            np.array(self.levels, np.int8),
            np.array(self.areas, np.int64),
            LabelsOfImages(self.tree.ids, flat, starts),
            self.above,
            conflicts,
        )

    def groups(self) -> list[list[int]]:
        """Return the images of each group of two or more."""
        rows = range(len(self.group))
        return [
            [row for row in rows if self.group[row] == first]
            for first in set(self.group) - {-1}
            if self.group.count(first) > 1
        ]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    tree = draw(forests(max_classes=10))
    image = st.tuples(
        st.sampled_from([None, 0, 1, 2, 3]),
        st.sampled_from([0, 0, 0, 0, 1, 2]),
        st.integers(1, 3),
        st.lists(st.integers(0, len(tree.ids) - 1), min_size=1, max_size=2, unique=True),
    )
    images = draw(st.lists(image, min_size=6, max_size=14))
    names = [name for name, *_ in images]
    group = [-1 if name is None else names.index(name) for name in names]
    levels, areas = [level for _, level, _, _ in images], [area for _, _, area, _ in images]
    return Case(tree, group, levels, areas, [labels for *_, labels in images])


def says_all(case: Case, row: int, members: list[int]) -> bool:
    """Tell whether every label in a group is one of this image's, or above one of them."""
    return all(label in case.implied(row) for other in members for label in case.labels[other])


@given(cases(), st.sampled_from(Conflicts))
def test_of_like_images_those_stay_that_should(case: Case, conflicts: Conflicts) -> None:
    wanted: dict[int, Reason] = {}
    relabelled = {}
    for members in case.groups():
        top = max(case.levels[row] for row in members)
        complete = [row for row in members if says_all(case, row, members)]
        by_size = sorted(complete or members, key=lambda row: (-case.areas[row], row))
        if top > 0:
            stay = [row for row in members if case.levels[row] == top]
        elif complete or conflicts is Conflicts.KEEP_ALL_LABELS:
            stay = by_size[:1]
        else:
            stay = []
        reason = Reason.DUPLICATE if stay else Reason.CONFLICT
        wanted |= dict.fromkeys(set(members) - set(stay), reason)
        if top == 0 and stay and not complete:
            said = {label for row in members for label in case.implied(row)}
            inner = {above for label in said for above in case.above(label)}
            relabelled[stay[0]] = tuple(sorted(said - inner))
    verdicts = case.resolve(conflicts)
    reasons = {row: reason for row, reason in enumerate(verdicts.reason_N) if reason is not None}
    assert reasons == wanted
    assert verdicts.relabelled == relabelled


@given(cases(), st.sampled_from(Conflicts))
def test_an_image_goes_because_of_one_like_it_that_stays_unless_labels_conflict(
    case: Case, conflicts: Conflicts
) -> None:
    verdicts = case.resolve(conflicts)
    for row, (reason, other) in enumerate(zip(verdicts.reason_N, verdicts.of_N.tolist(), strict=True)):
        assert (reason is None) == (other == -1)
        if reason is not None:
            assert other != row
            assert case.group[row] == case.group[other]
            gone = Reason.CONFLICT if reason is Reason.CONFLICT else None
            assert verdicts.reason_N[other] is gone


@given(cases())
def test_labels_that_are_kept_together_are_minimal_and_imply_all_others(case: Case) -> None:
    for row, labels in case.resolve(Conflicts.KEEP_ALL_LABELS).relabelled.items():
        above = {label for own in labels for label in case.above(own)}
        assert not above & set(labels)
        members = [other for other, first in enumerate(case.group) if first == case.group[row]]
        said = {label for other in members for label in case.implied(other)}
        assert above | set(labels) == said


def chain_case(labels: list[list[int]], areas: list[int]) -> Case:
    """One group in a chain of three classes, 0 above 1 above 2, beside a class 3."""
    tree = Tree(("top", "middle", "bottom", "other"), (ROOT, 0, 1, ROOT), "drawn", "a test")
    return Case(tree, [0] * len(labels), [0] * len(labels), areas, labels)


def staying(case: Case, conflicts: Conflicts = Conflicts.DROP) -> list[int]:
    reasons: NDArray[np.object_] = case.resolve(conflicts).reason_N
    return [row for row, reason in enumerate(reasons) if reason is None]


def test_under_a_class_and_its_ancestors_the_deepest_label_stays_however_small() -> None:
    assert staying(chain_case([[0], [2], [1], [0]], [9, 1, 5, 9])) == [1]


def test_of_several_under_the_deepest_label_the_largest_stays() -> None:
    assert staying(chain_case([[0], [2], [2], [2]], [9, 3, 5, 5])) == [2]


def test_an_image_with_all_the_labels_of_the_others_is_no_conflict() -> None:
    assert staying(chain_case([[2], [3, 2], [3], [0, 3]], [9, 1, 5, 9])) == [1]


def test_under_unrelated_classes_all_go_or_the_largest_stays_with_the_minimal_labels() -> None:
    case = chain_case([[0], [2], [3], [1]], [9, 1, 5, 9])
    assert staying(case) == []
    assert staying(case, Conflicts.KEEP_ALL_LABELS) == [0]
    assert case.resolve(Conflicts.KEEP_ALL_LABELS).relabelled == {0: (2, 3)}


# --- which label is the deeper ------------------------------------------------------------------


@given(forests())
def test_what_is_above_a_class_is_told_nearest_first(tree: Tree) -> None:
    above = taxonomy_of(
        {
            name: (tree.ids[parent],) if parent != ROOT else ()
            for name, parent in zip(tree.ids, tree.parents, strict=True)
        }
    ).ancestors_of
    for name in tree.ids:
        steps = [name, *above(name)]
        assert [tree.parents[tree.ids.index(step)] for step in steps] == [
            *(tree.ids.index(step) for step in steps[1:]),
            ROOT,
        ]


def test_nothing_is_above_a_class_that_the_taxonomy_does_not_know() -> None:
    assert taxonomy_of({"a": ()}).ancestors_of("b") == ()


def test_of_several_parents_the_one_that_counts_leads_up() -> None:
    taxonomy = taxonomy_of({"a": ("b", "c"), "b": (), "c": ("d",), "d": ()})
    assert taxonomy.ancestors_of("a") == ("b",)
    assert replace(taxonomy, exceptions={"a": "c"}).ancestors_of("a") == ("c", "d")


def test_in_a_circle_no_class_is_above_itself() -> None:
    taxonomy = taxonomy_of({"a": ("b",), "b": ("c",), "c": ("b",), "d": ("d",)})
    assert taxonomy.ancestors_of("a") == ("b", "c")
    assert taxonomy.ancestors_of("b") == ("c",)
    assert taxonomy.ancestors_of("d") == ()


def taxonomy_of(parents: dict[str, tuple[str, ...]]) -> Taxonomy:
    return Taxonomy(parents, {}, "by hand", "first")


# --- the two sides of the split -----------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from([None, 0, 1, 2]), st.booleans()), min_size=5, max_size=20))
def test_a_training_image_straddles_when_a_held_out_one_is_in_its_group(
    images: list[tuple[int | None, bool]],
) -> None:
    names = [name for name, _ in images]
    group = [-1 if name is None else names.index(name) for name in names]
    is_train = [train for _, train in images]
    found = straddling(np.array(group, np.int64), np.array(is_train, np.bool_)).tolist()
    for row, first in enumerate(group):
        like = [other for other, name in enumerate(group) if name == first and not is_train[other]]
        assert found[row] == (like[0] if is_train[row] and first >= 0 and like else -1)
