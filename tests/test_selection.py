import random
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hypernym.data.selection import Selection, SelectionRule, Split, select, shuffled
from hypernym.errors import SourceError

CLASS_IDS = ["B", "a", "a1", "b", "z", "é", "\U0001f9a2"]

Images = dict[str, str]
"""The class id of each key."""

images_of_some_classes = st.lists(st.sampled_from(CLASS_IDS), max_size=60).map(
    lambda class_ids: {f"image-{place}": class_id for place, class_id in enumerate(class_ids)}
)
rules = st.builds(
    SelectionRule,
    min_images=st.integers(1, 6),
    val_per_class=st.integers(0, 4),
    seed=st.integers(0, 3),
)


def select_images(images: Images, rule: SelectionRule) -> Selection:
    return select(list(images.values()), list(images), rule)


def split_of(images: Images, rule: SelectionRule) -> dict[str, Split]:
    return {
        key: Split(code)
        for key, code in zip(images, select_images(images, rule).splits.tolist(), strict=True)
    }


def has_a_class(images: Images, rule: SelectionRule) -> bool:
    return any(count >= rule.min_images for count in Counter(images.values()).values())


@given(images_of_some_classes, rules)
def test_a_class_stays_exactly_when_it_has_enough_images(images: Images, rule: SelectionRule) -> None:
    counts = Counter(images.values())
    if not has_a_class(images, rule):
        with pytest.raises(SourceError):
            select_images(images, rule)
        return
    selection = select_images(images, rule)
    assert set(selection.kept) == {name for name, count in counts.items() if count >= rule.min_images}
    assert selection.dropped == {name: n for name, n in counts.items() if n < rule.min_images}


@given(images_of_some_classes, rules)
def test_each_kept_class_gives_exactly_its_share_to_validation(
    images: Images, rule: SelectionRule
) -> None:
    if not has_a_class(images, rule):
        return
    selection = select_images(images, rule)
    found = Counter(zip(images.values(), selection.splits.tolist(), strict=True))
    for class_id, count in Counter(images.values()).items():
        held_out = min(rule.val_per_class, count)
        in_splits = [found[class_id, split] for split in (Split.DROPPED, Split.TRAIN, Split.VAL)]
        is_kept = class_id in selection.kept
        assert in_splits == ([0, count - held_out, held_out] if is_kept else [count, 0, 0])


@given(images_of_some_classes, rules, st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(
    images: Images, rule: SelectionRule, chance: random.Random
) -> None:
    if not has_a_class(images, rule):
        return
    items = list(images.items())
    chance.shuffle(items)
    assert split_of(dict(items), rule) == split_of(images, rule)
    assert select_images(dict(items), rule).kept == select_images(images, rule).kept


@given(images_of_some_classes, st.lists(st.sampled_from(CLASS_IDS), max_size=3), rules)
@example({f"image-{place}": "a" for place in range(60)}, ["a"], SelectionRule(1, 20, 0))
def test_added_images_move_at_most_as_many_others_between_the_splits(
    images: Images, more: list[str], rule: SelectionRule
) -> None:
    added = {f"added-{place}": class_id for place, class_id in enumerate(more)}
    if not has_a_class(images, rule):
        return
    before, after = split_of(images, rule), split_of(images | added, rule)
    moved = Counter(
        images[key] for key, split in before.items() if split != Split.DROPPED and split != after[key]
    )
    added_to = Counter(added.values())
    assert all(count <= added_to[class_id] for class_id, count in moved.items())


@given(images_of_some_classes, rules)
def test_kept_ids_are_in_byte_order(images: Images, rule: SelectionRule) -> None:
    if has_a_class(images, rule):
        kept = select_images(images, rule).kept
        assert list(kept) == sorted(kept, key=str.encode)


def test_upper_case_comes_before_lower_case_in_every_locale() -> None:
    selection = select(["b", "a", "B", "é"], ["1", "2", "3", "4"], SelectionRule(1, 0, 0))
    assert selection.kept == ("B", "a", "b", "é")


def test_another_seed_holds_out_other_images() -> None:
    images = {f"image-{number}": "a" for number in range(100)}
    held_out = [
        {
            key
            for key, split in split_of(images, SelectionRule(1, 20, seed)).items()
            if split == Split.VAL
        }
        for seed in (0, 1)
    ]
    assert [len(keys) for keys in held_out] == [20, 20]
    assert len(held_out[0] & held_out[1]) < 15


def test_without_any_large_class_the_largest_is_named_with_the_fix() -> None:
    with pytest.raises(SourceError, match=r"no class has 3 .*the largest, b, has 2.*--min-images"):
        select(["a", "b", "b"], ["1", "2", "3"], SelectionRule(3, 0, 0))


def test_without_any_image_the_message_says_so() -> None:
    with pytest.raises(SourceError, match="there is no usable image"):
        select([], [], SelectionRule(1, 0, 0))


def test_the_order_in_the_shards_is_a_shuffle_of_its_own_for_each_split_and_seed() -> None:
    orders = [
        shuffled(50, seed, split).tolist() for seed in (0, 1) for split in (Split.TRAIN, Split.VAL)
    ]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in [*orders, list(range(50))]}) == 5
    assert shuffled(50, 0, Split.TRAIN).tolist() == orders[0]
