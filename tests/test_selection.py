from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seen_rows import OWN_LOOK, Row, digest, make_seen

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.hierarchy.taxonomies import load_wordnet_taxonomy
from hypernym.hierarchy.wordnet import ParentRule
from hypernym.preparation.duplicates import Conflicts, DuplicateRule, Duplicates
from hypernym.preparation.selection import Count, Holdout, Selection, SelectionRule, Split, select

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

CLASS_IDS = ["B", "a", "a1", "b", "z", "é", "\U0001f9a2"]
IGNORE = DuplicateRule(Duplicates.IGNORE, Conflicts.DROP, 24)
NEAR = DuplicateRule(Duplicates.NEAR, Conflicts.DROP, 4)
LOOKING = [Duplicates.NEAR, Duplicates.EXACT, Duplicates.KEEP]

few_or_many = st.lists(st.sampled_from(CLASS_IDS), max_size=5) | st.lists(
    st.sampled_from(CLASS_IDS), min_size=20, max_size=60
)
images_of_some_classes = few_or_many.map(
    lambda class_ids: [Row(f"image-{place}", (class_id,)) for place, class_id in enumerate(class_ids)]
)
holdouts = st.sampled_from(Holdout)
rules = st.builds(
    SelectionRule,
    min_images=st.integers(1, 6),
    val_per_class=st.integers(0, 4),
    seed=st.integers(0, 3),
    count=st.sampled_from(Count),
    holdout=holdouts,
)
rows_of_any_kind = st.lists(
    st.builds(
        Row,
        key=st.just(""),
        class_ids=st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(tuple),
        split=st.sampled_from([None, None, None, "train", "val", "test"]),
        reason=st.sampled_from([None, None, None, "truncated"]),
        content=st.sampled_from(["", "x", "y"]),
        look=st.sampled_from(
            [OWN_LOOK, None, *(digest("x")[:31] + bytes([bits]) for bits in (0, 1, 7))]
        ),
        width=st.integers(50, 53),
    ),
    min_size=10,
    max_size=30,
).map(lambda rows: [replace(row, key=f"{place}.jpg") for place, row in enumerate(rows)])
"""Several labels or none, stated splits, unusable images, equal and nearly equal pictures."""


def above_nothing(_: str) -> Sequence[str]:
    return ()


def select_images(
    rows: Sequence[Row],
    rule: SelectionRule,
    duplicates: DuplicateRule = IGNORE,
    ancestors_of: Callable[[str], Sequence[str]] = above_nothing,
) -> Selection:
    return select(make_seen(rows, rule.seed), rule, duplicates, ancestors_of=ancestors_of)


def select_any(
    rows: Sequence[Row], rule: SelectionRule, duplicates: DuplicateRule = IGNORE
) -> Selection | None:
    """Return the selection, or None where no image is left."""
    try:
        return select_images(rows, rule, duplicates)
    except SourceError:
        return None


def splits_of(rows: Sequence[Row], selection: Selection) -> dict[str, Split]:
    return {row.key: Split(code) for row, code in zip(rows, selection.splits.tolist(), strict=True)}


def labels_of(rows: Sequence[Row], selection: Selection) -> dict[str, list[str]]:
    """Return the class ids that remain of each image."""
    labels = selection.labels
    return {
        row.key: [labels.class_ids[code] for code in labels[place]] for place, row in enumerate(rows)
    }


def held_out(rows: Sequence[Row], rule: SelectionRule) -> list[str]:
    splits = splits_of(rows, select_images(rows, rule))
    return [key for key, split in splits.items() if split is Split.VAL]


def count_classes(rows: Sequence[Row]) -> Counter[str]:
    return Counter(row.class_ids[0] for row in rows)


def has_a_class(rows: Sequence[Row], rule: SelectionRule) -> bool:
    return any(count >= rule.min_images for count in count_classes(rows).values())


# --- which classes stay -------------------------------------------------------------------------


@given(images_of_some_classes, rules)
def test_a_class_stays_exactly_when_it_has_enough_images(rows: list[Row], rule: SelectionRule) -> None:
    counts = count_classes(rows)
    if not has_a_class(rows, rule):
        with pytest.raises(SourceError):
            select_images(rows, rule)
        return
    selection = select_images(rows, rule)
    assert set(selection.kept) == {name for name, count in counts.items() if count >= rule.min_images}
    assert selection.dropped == {name: n for name, n in counts.items() if n < rule.min_images}


@given(images_of_some_classes, rules)
def test_kept_ids_are_in_byte_order(rows: list[Row], rule: SelectionRule) -> None:
    if has_a_class(rows, rule):
        kept = select_images(rows, rule).kept
        assert list(kept) == sorted(kept, key=str.encode)


def test_upper_case_comes_before_lower_case_in_every_locale() -> None:
    rows = [Row(class_id, (class_id,)) for class_id in ["b", "a", "B", "é"]]
    assert select_images(rows, SelectionRule(1, 0, 0)).kept == ("B", "a", "b", "é")


def test_images_that_do_not_decode_count_only_by_name() -> None:
    rows = [Row("1"), Row("2", reason="truncated"), Row("3", ("b",)), Row("4", ("b",))]
    usable = select_images(rows, SelectionRule(2, 0, 0, Count.USABLE))
    names = select_images(rows, SelectionRule(2, 0, 0, Count.NAMES))
    assert (usable.kept, usable.dropped) == (("b",), {"a": 1})
    assert (names.kept, names.dropped) == (("a", "b"), {})
    assert splits_of(rows, names)["2"] is Split.DROPPED
    rows.append(Row("5", ("b",)))
    assert select_images(rows, SelectionRule(3, 0, 0, Count.USABLE)).dropped == {"a": 1}
    assert select_images(rows, SelectionRule(3, 0, 0, Count.NAMES)).dropped == {"a": 2}


def test_images_of_a_stated_test_split_do_not_make_a_class_large() -> None:
    rows = [
        Row("1"),
        Row("2", split="val"),
        Row("3", split="test"),
        *(Row(f"b{n}", ("b",), "test") for n in range(5)),
    ]
    for count in Count:
        assert select_images(rows, SelectionRule(2, 0, 0, count)).dropped == {"b": 0}
        with pytest.raises(SourceError, match="the largest, a, has 2"):
            select_images(rows, SelectionRule(3, 0, 0, count))


def test_a_class_that_its_duplicates_leave_too_small_is_dropped_unless_names_count() -> None:
    rows = [Row("1", content="x"), Row("2", content="x"), Row("3", ("b",)), Row("4", ("b",))]
    usable = select_images(rows, SelectionRule(2, 0, 0, Count.USABLE), NEAR)
    names = select_images(rows, SelectionRule(2, 0, 0, Count.NAMES), NEAR)
    assert (usable.kept, usable.dropped) == (("b",), {"a": 1})
    assert usable.splits.tolist() == [-1, -1, 0, 0]
    assert names.kept == ("a", "b")
    assert names.splits.tolist() == [0, -1, 0, 0]


def test_without_any_large_class_the_largest_is_named_with_the_fix() -> None:
    rows = [Row("1"), Row("2", ("b",)), Row("3", ("b",))]
    with pytest.raises(SourceError, match=r"no class has 3 .*the largest, b, has 2.*--min-images"):
        select_images(rows, SelectionRule(3, 0, 0))


@pytest.mark.parametrize("rows", [[], [Row("1", reason="empty")]])
def test_without_any_image_the_message_says_so(rows: list[Row]) -> None:
    with pytest.raises(SourceError, match="there is no usable image"):
        select_images(rows, SelectionRule(1, 0, 0))


def test_a_class_of_names_alone_is_no_dataset() -> None:
    rows = [Row("1", reason="empty"), Row("2", reason="empty")]
    with pytest.raises(SourceError, match=r"1 classes have 2 images by name.*--count usable"):
        select_images(rows, SelectionRule(2, 0, 0, Count.NAMES))


# --- which images are held out ------------------------------------------------------------------


@given(images_of_some_classes, rules)
def test_each_kept_class_gives_exactly_its_share_to_validation(
    rows: list[Row], rule: SelectionRule
) -> None:
    if not has_a_class(rows, rule):
        return
    selection = select_images(rows, rule)
    classes = [row.class_ids[0] for row in rows]
    found = Counter(zip(classes, selection.splits.tolist(), strict=True))
    for class_id, count in Counter(classes).items():
        share = min(rule.val_per_class, count)
        in_splits = [found[class_id, split] for split in (Split.DROPPED, Split.TRAIN, Split.VAL)]
        is_kept = class_id in selection.kept
        assert in_splits == ([0, count - share, share] if is_kept else [count, 0, 0])


@given(images_of_some_classes, rules, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(
    rows: list[Row], rule: SelectionRule, chance: random.Random
) -> None:
    if not has_a_class(rows, rule):
        return
    shuffled = list(rows)
    chance.shuffle(shuffled)
    before, after = select_images(rows, rule), select_images(shuffled, rule)
    assert splits_of(shuffled, after) == splits_of(rows, before)
    assert after.kept == before.kept


@given(images_of_some_classes, st.lists(st.sampled_from(CLASS_IDS), max_size=3), rules)
@example([Row(f"image-{place}") for place in range(60)], ["a"], SelectionRule(1, 20, 0))
def test_added_images_move_at_most_as_many_others_between_the_splits(
    rows: list[Row], more: list[str], rule: SelectionRule
) -> None:
    added = [Row(f"added-{place}", (class_id,)) for place, class_id in enumerate(more)]
    if not has_a_class(rows, rule):
        return
    before = splits_of(rows, select_images(rows, rule))
    after = splits_of([*added, *rows], select_images([*added, *rows], rule))
    moved = Counter(
        row.class_ids[0] for row in rows if before[row.key] not in {Split.DROPPED, after[row.key]}
    )
    assert all(count <= count_classes(added)[class_id] for class_id, count in moved.items())


def test_another_seed_holds_out_other_images() -> None:
    rows = [Row(f"image-{number}") for number in range(100)]
    first, second = (set(held_out(rows, SelectionRule(1, 20, seed))) for seed in (0, 1))
    assert (len(first), len(second)) == (20, 20)
    assert len(first & second) < 15


def test_the_first_names_are_those_that_ls_shows_first_in_the_c_locale() -> None:
    names = ["n1_2.JPEG", "n1_100.JPEG", "n1_10.JPEG", "n1_1.JPEG", "N1_9.JPEG", "né.JPEG"]
    rows = [Row(name) for name in names]
    by_number = [
        set(held_out(rows, SelectionRule(1, number, 0, holdout=Holdout.FIRST_NAMES)))
        for number in range(7)
    ]
    order = [next(iter(more - fewer)) for fewer, more in pairwise(by_number)]
    assert order == [
        "N1_9.JPEG",
        "n1_1.JPEG",
        "n1_10.JPEG",
        "n1_100.JPEG",
        "n1_2.JPEG",
        "né.JPEG",
    ]


def test_the_first_names_of_a_class_are_held_out_whatever_part_they_lie_in() -> None:
    rows = [
        Row(f"{class_id}/{name}", (class_id,), part=part)
        for part, name, class_id in [
            (1, "a", "x"),
            (1, "b", "y"),
            (0, "z", "x"),
            (1, "a2", "y"),
            (0, "w", "z"),
        ]
    ]
    rule = SelectionRule(1, 1, 0, holdout=Holdout.FIRST_NAMES)
    assert held_out(rows, rule) == ["x/a", "y/a2", "z/w"]


# --- as the official scripts do -----------------------------------------------------------------


def split_officially(
    rows: Sequence[Row], min_images: int, num_val: int
) -> tuple[set[str], dict[str, Split]]:
    """Return the classes that the scripts keep, and the split of each file in them.

    In every class folder they count `ls *.JPEG`, and move what `ls | head` shows first.
    """
    folders: dict[str, list[str]] = {}
    for row in rows:
        folders.setdefault(row.class_ids[0], []).append(row.key)
    splits = {}
    kept = set()
    for class_id, names in folders.items():
        if sum(name.endswith(".JPEG") for name in names) >= min_images:
            kept.add(class_id)
            for place, name in enumerate(sorted(names, key=str.encode)):
                splits[name] = Split.VAL if place < num_val else Split.TRAIN
    return kept, splits


archives = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 30),
        st.sampled_from([".JPEG", ".JPEG", ".JPEG", ".JPEG", ".txt", ".xml"]),
        st.sampled_from([None, None, "truncated", "not an image", "not a regular file"]),
        st.integers(0, 2),
    ),
    min_size=10,
    max_size=40,
    unique_by=lambda image: image[:3],
).map(
    lambda images: [
        Row(
            f"{class_id}/{class_id}_{number}{ending}",
            (class_id,),
            reason=reason or (None if ending == ".JPEG" else "not an image"),
            part=part,
        )
        for class_id, number, ending, reason, part in images
    ]
)
"""What lies in the folders of three classes, some of it unusable or no image at all."""


@given(archives, st.integers(1, 6), st.integers(0, 6))
@example(
    [Row("a/1.JPEG", reason="truncated"), Row("a/2.JPEG"), Row("a/3.JPEG")], 3, 1
)  # the second name is not held out in place of the first
@example([Row("a/1.JPEG"), *(Row(f"a/{n}.txt", reason="not an image") for n in range(3))], 2, 0)
def test_by_name_the_official_scripts_and_we_count_and_hold_out_the_same(
    rows: list[Row], min_images: int, num_val: int
) -> None:
    kept, wanted = split_officially(rows, min_images, num_val)
    rule = SelectionRule(min_images, num_val, 0, Count.NAMES, Holdout.FIRST_NAMES)
    usable = {row.key: wanted[row.key] for row in rows if row.reason is None and row.key in wanted}
    if not usable:
        with pytest.raises(SourceError):
            select_images(rows, rule)
        return
    selection = select_images(rows, rule)
    assert set(selection.kept) == kept
    found = splits_of(rows, selection)
    assert {key: split for key, split in found.items() if split is not Split.DROPPED} == usable


@pytest.mark.parametrize(
    ("key", "reason", "counts"),
    [
        ("a/1.JPEG", None, True),
        ("a/1.jpg", "truncated", True),
        ("a/1.PNG", "not an image", True),
        ("a/1.JPEG.txt", "not an image", False),
        ("a/1.dat", None, False),
        ("a/JPEG", "not an image", False),
        ("a.JPEG/README", "not an image", False),
        ("train.v1/17", None, True),  # a row of a table
        ("train.v1/17", "truncated", True),
        ("a.tar", "damaged archive", False),
        ("a", "failed part", False),
    ],
)
def test_a_name_counts_that_is_an_images_or_a_rows_of_a_table(
    key: str, reason: str | None, *, counts: bool
) -> None:
    rows = [Row(key, reason=reason), Row("b.jpg", ("b",))]
    selection = select_images(rows, SelectionRule(1, 0, 0, Count.NAMES))
    assert selection.kept == (("a", "b") if counts else ("b",))


def test_a_row_that_stands_for_a_lost_part_is_none_of_the_first_names() -> None:
    lost = [Row("a.tar", reason="damaged archive"), Row("a", reason="failed part")]
    rows = [*lost, *(Row(f"a/{number}.JPEG") for number in range(4))]
    assert held_out(rows, SelectionRule(1, 2, 0, Count.NAMES, Holdout.FIRST_NAMES)) == [
        "a/0.JPEG",
        "a/1.JPEG",
    ]


# --- splits that the source states --------------------------------------------------------------


@given(rows_of_any_kind, rules, st.sampled_from(Duplicates))
def test_an_image_is_never_in_another_split_than_the_one_stated(
    rows: list[Row], rule: SelectionRule, duplicates: Duplicates
) -> None:
    selection = select_any(rows, rule, replace(NEAR, duplicates=duplicates))
    if selection is None:
        return
    splits = splits_of(rows, selection)
    for row in rows:
        if row.split in {"val", "test"}:
            assert splits[row.key] in {Split.DROPPED, Split[row.split.upper()]}
        else:
            assert splits[row.key] is not Split.TEST


def test_a_stated_validation_split_is_the_whole_of_it() -> None:
    rows = [Row("1", split="train"), Row("2"), Row("3", split="val"), Row("4", split="test"), Row("5")]
    splits = splits_of(rows, select_images(rows, SelectionRule(1, 2, 0)))
    assert list(splits.values()) == [Split.TRAIN, Split.TRAIN, Split.VAL, Split.TEST, Split.TRAIN]


def test_beside_a_stated_test_split_images_of_training_are_held_out() -> None:
    rows = [*(Row(f"{n}", split="train") for n in range(9)), Row("t", split="test")]
    splits = splits_of(rows, select_images(rows, SelectionRule(1, 2, 0)))
    assert Counter(splits.values()) == {Split.TRAIN: 7, Split.VAL: 2, Split.TEST: 1}
    assert splits["t"] is Split.TEST


def test_a_validation_split_of_dropped_classes_alone_is_none() -> None:
    rows = [*(Row(f"{n}") for n in range(9)), Row("v", ("rare",), "val")]
    splits = splits_of(rows, select_images(rows, SelectionRule(2, 3, 0)))
    assert Counter(splits.values()) == {Split.TRAIN: 6, Split.VAL: 3, Split.DROPPED: 1}


# --- several labels an image --------------------------------------------------------------------


@given(rows_of_any_kind, rules)
def test_an_image_stays_exactly_when_it_is_usable_and_a_label_of_it_stays(
    rows: list[Row], rule: SelectionRule
) -> None:
    counts: Counter[str] = Counter()
    for row in rows:
        if row.split != "test" and (rule.count is Count.NAMES or row.reason is None):
            counts.update(row.class_ids)
    selection = select_any(rows, rule)
    if selection is None:
        return
    assert set(selection.kept) == {name for name, count in counts.items() if count >= rule.min_images}
    too_rare = {name: count for name, count in counts.items() if count < rule.min_images}
    assert {name: count for name, count in selection.dropped.items() if count} == too_rare
    splits, labels = splits_of(rows, selection), labels_of(rows, selection)
    for row in rows:
        assert labels[row.key] == [name for name in row.class_ids if name in selection.kept]
        assert (splits[row.key] >= 0) == (row.reason is None and bool(labels[row.key]))


def test_an_image_counts_for_each_of_its_labels_and_is_held_out_by_the_first() -> None:
    rows = [Row(f"{n}", ("b", "a")) for n in range(4)] + [Row(f"a{n}") for n in range(4)]
    selection = select_images(rows, SelectionRule(4, 1, 0))
    assert selection.kept == ("a", "b")
    in_val = [row for row in rows if splits_of(rows, selection)[row.key] is Split.VAL]
    assert sorted(row.class_ids[0] for row in in_val) == ["a", "b"]
    with pytest.raises(SourceError, match="a, has 8"):
        select_images(rows, SelectionRule(9, 1, 0))


# --- duplicates ---------------------------------------------------------------------------------


def is_equal(row: Row, other: Row) -> bool:
    return row.content == other.content != ""


def is_alike(row: Row, other: Row) -> bool:
    """Tell whether two images are equal, or differ in 4 bits at most."""
    looks = [one.look for one in (row, other)]
    if is_equal(row, other) or None in looks or OWN_LOOK in looks:
        return is_equal(row, other)
    first, second = (int.from_bytes(look or b"") for look in looks)
    return (first ^ second).bit_count() <= 4


def pairs_that_stay(rows: list[Row], splits: dict[str, Split]) -> list[tuple[Row, Row]]:
    stay = [row for row in rows if splits[row.key] >= 0]
    return [(row, other) for place, row in enumerate(stay) for other in stay[:place]]


@given(rows_of_any_kind, rules, st.sampled_from(LOOKING), st.sampled_from(Conflicts))
@example(
    [Row("1", look=bytes(32)), Row("2", look=bytes(32))],
    SelectionRule(1, 1, 0),
    Duplicates.KEEP,
    Conflicts.DROP,
)
@example(
    [Row("1", content="x"), Row("2", content="x")],
    SelectionRule(1, 1, 0),
    Duplicates.KEEP,
    Conflicts.DROP,
)
@example(
    [Row("1", look=bytes(32)), Row("2", look=bytes(32))],
    SelectionRule(1, 1, 0),
    Duplicates.EXACT,
    Conflicts.DROP,
)
def test_no_picture_is_on_both_sides_of_the_split(
    rows: list[Row], rule: SelectionRule, duplicates: Duplicates, conflicts: Conflicts
) -> None:
    selection = select_any(rows, rule, DuplicateRule(duplicates, conflicts, 4))
    if selection is None:
        return
    splits = splits_of(rows, selection)
    for row, other in pairs_that_stay(rows, splits):
        if (splits[row.key] is Split.TRAIN) != (splits[other.key] is Split.TRAIN):
            assert not is_alike(row, other)


@given(rows_of_any_kind, rules, st.sampled_from([Duplicates.NEAR, Duplicates.EXACT]))
def test_pictures_stay_twice_only_in_a_stated_split(
    rows: list[Row], rule: SelectionRule, duplicates: Duplicates
) -> None:
    selection = select_any(rows, rule, DuplicateRule(duplicates, Conflicts.DROP, 4))
    if selection is None:
        return
    splits = splits_of(rows, selection)
    for row, other in pairs_that_stay(rows, splits):
        if is_equal(row, other) or (duplicates is Duplicates.NEAR and is_alike(row, other)):
            assert row.split == other.split
            assert row.split in {"val", "test"}


@pytest.mark.parametrize(
    ("duplicates", "wanted"),
    [
        (Duplicates.NEAR, ["equal-2", "near-2"]),
        (Duplicates.EXACT, ["equal-2", "near-1", "near-2"]),
        (Duplicates.KEEP, ["equal-1", "equal-2", "near-1", "near-2"]),
        (Duplicates.IGNORE, ["equal-1", "equal-2", "near-1", "near-2"]),
    ],
)
def test_each_policy_lets_stay_what_it_says(duplicates: Duplicates, wanted: list[str]) -> None:
    rows = [
        Row("equal-1", content="x"),
        Row("equal-2", content="x", width=101),
        Row("near-1", look=bytes(32)),
        Row("near-2", look=bytes(31) + b"\x0f", width=101),
    ]
    selection = select_images(rows, SelectionRule(1, 0, 0), replace(NEAR, duplicates=duplicates))
    splits = splits_of(rows, selection)
    assert [key for key, split in splits.items() if split is Split.TRAIN] == wanted


def test_of_pictures_that_are_kept_those_in_training_go_when_one_is_held_out() -> None:
    rows = [Row(f"{n}", content="x") for n in range(4)] + [Row(f"alone-{n}") for n in range(20)]
    for seed in range(8):
        rule = SelectionRule(1, 6, seed)
        selection = select_images(rows, rule, replace(NEAR, duplicates=Duplicates.KEEP))
        same = Counter(selection.splits[:4].tolist())
        assert same == {Split.TRAIN: 4} or same[Split.TRAIN] == 0 < same[Split.VAL]
        assert Split.DROPPED not in selection.splits[4:]


@given(rows_of_any_kind, rules)
def test_where_duplicates_are_ignored_nothing_changes(rows: list[Row], rule: SelectionRule) -> None:
    alone = [replace(row, content="", look=OWN_LOOK) for row in rows]
    selection, wanted = select_any(rows, rule), select_any(alone, rule)
    assert (selection is None) == (wanted is None)
    if selection and wanted:
        assert selection.splits.tolist() == wanted.splits.tolist()
        assert labels_of(rows, selection) == labels_of(alone, wanted)
        assert selection.kept == wanted.kept
        assert not any(selection.verdicts.reason_N)


@given(rows_of_any_kind, rules, st.sampled_from(Duplicates), st.sampled_from(Conflicts))
def test_every_image_that_went_because_of_another_says_why_and_of_which(
    rows: list[Row], rule: SelectionRule, duplicates: Duplicates, conflicts: Conflicts
) -> None:
    selection = select_any(rows, rule, DuplicateRule(duplicates, conflicts, 4))
    if selection is None:
        return
    verdicts = selection.verdicts
    for place, (reason, other) in enumerate(zip(verdicts.reason_N, verdicts.of_N.tolist(), strict=True)):
        assert (reason is None) == (other == -1)
        if reason:
            assert selection.splits[place] == Split.DROPPED
            assert reason in {Reason.DUPLICATE, Reason.CONFLICT}
            assert other != place
            assert rows[place].reason is rows[other].reason is None


def test_a_test_picture_goes_before_a_validation_picture_before_a_training_picture() -> None:
    rows = [
        Row(f"{n}", split=split, content="x", width=200 - n)
        for n, split in enumerate(["train", "val", "test"])
    ]
    others = [Row(f"other-{n}") for n in range(5)]
    for left, wanted in [(3, "2"), (2, "1"), (1, "0")]:
        for duplicates in (Duplicates.NEAR, Duplicates.EXACT):
            given_rows = [*rows[:left], *others]
            splits = splits_of(
                given_rows,
                select_images(given_rows, SelectionRule(1, 0, 0), replace(NEAR, duplicates=duplicates)),
            )
            assert [row.key for row in rows[:left] if splits[row.key] >= 0] == [wanted]


def test_a_stated_training_picture_is_no_better_than_one_of_no_stated_split() -> None:
    rows = [Row("1", split="train", content="x"), Row("2", content="x", width=200)]
    assert select_images(rows, SelectionRule(1, 0, 0), NEAR).splits.tolist() == [-1, 0]


def test_labels_of_classes_that_are_too_rare_decide_nothing() -> None:
    many = [Row(f"{n}") for n in range(3)]
    rows = [*many, Row("x1", content="x"), Row("x2", ("rare",), content="x")]
    selection = select_images(rows, SelectionRule(3, 0, 0), NEAR)
    assert splits_of(rows, selection)["x1"] is Split.TRAIN
    assert selection.dropped == {"rare": 1}


def test_labels_of_rare_classes_beside_others_decide_nothing_either() -> None:
    many = [Row(f"{n}") for n in range(3)]
    rows = [
        *many,
        Row("x1", ("a", "rare"), content="x"),
        Row("x2", ("a", "seldom"), content="x", width=200),
    ]
    for conflicts in Conflicts:
        selection = select_images(rows, SelectionRule(3, 0, 0), replace(NEAR, conflicts=conflicts))
        splits = splits_of(rows, selection)
        assert (splits["x1"], splits["x2"]) == (Split.DROPPED, Split.TRAIN)
        assert selection.verdicts.reason_N[3] is Reason.DUPLICATE
        assert labels_of(rows, selection)["x2"] == ["a"]


def test_a_picture_under_classes_of_wordnet_keeps_the_deepest_of_them() -> None:
    dog, hunting_dog, terrier, cat = "n02084071", "n02087122", "n02092468", "n02121620"
    rows = [
        Row("upper", (dog,), content="x", width=900),
        Row("lower", (terrier,), content="x"),
        Row("middle", (hunting_dog,), content="x", width=500),
        Row("one", (dog,), content="y"),
        Row("other", (cat,), content="y", width=101),
        *(Row(f"{name}-{n}", (name,)) for name in (dog, hunting_dog, terrier, cat) for n in range(2)),
    ]
    above = load_wordnet_taxonomy(ParentRule.IMAGENET).ancestors_of
    dropped = select_images(rows, SelectionRule(1, 0, 0), NEAR, above)
    duplicate, conflict = Reason.DUPLICATE, Reason.CONFLICT
    reasons = [duplicate, None, duplicate, conflict, conflict, *[None] * 8]
    assert dropped.verdicts.reason_N.tolist() == reasons
    assert dropped.verdicts.of_N.tolist() == [1, -1, 1, 4, 3, *[-1] * 8]
    assert (dropped.splits >= 0).tolist() == [reason is None for reason in reasons]
    keeping = replace(NEAR, conflicts=Conflicts.KEEP_ALL_LABELS)
    kept = select_images(rows, SelectionRule(1, 0, 0), keeping, above)
    assert (kept.splits[:5] >= 0).tolist() == [False, True, False, False, True]
    others = {row.key: list(row.class_ids) for row in rows}
    assert labels_of(rows, kept) == others | {"other": [dog, cat]}


def test_pictures_of_which_nothing_is_known_are_like_no_other() -> None:
    rows = [Row(f"{n}", look=None) for n in range(4)]
    splits = splits_of(rows, select_images(rows, SelectionRule(1, 0, 0), NEAR))
    assert set(splits.values()) == {Split.TRAIN}


def test_unusable_images_are_like_no_other() -> None:
    rows = [
        Row("1", reason="truncated", content="x"),
        Row("2", content="x"),
        Row("3", reason="truncated"),
    ]
    selection = select_images(rows, SelectionRule(1, 0, 0), NEAR)
    assert selection.splits.tolist() == [Split.DROPPED, Split.TRAIN, Split.DROPPED]
    assert not np.any(selection.verdicts.of_N >= 0)
