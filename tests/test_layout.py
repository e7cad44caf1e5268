from __future__ import annotations

import pickle
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seen_rows import Row, make_seen
from webdataset.tariterators import base_plus_ext

from hypernym.data.shards import sample_key, shard_name
from hypernym.preparation.convert import hash_text
from hypernym.preparation.duplicates import Verdicts
from hypernym.preparation.layout import ShardPlan, lay_out
from hypernym.preparation.selection import SPLITS, Selection, Split

if TYPE_CHECKING:
    import random

Placed = tuple[Row, Split]
"""An image and the split that was chosen for it."""

one_placed = st.tuples(
    st.builds(
        Row,
        key=st.just(""),
        class_ids=st.sampled_from([("a",), ("b",), ("a", "c")]),
        size=st.integers(1, 3000),
    ),
    st.sampled_from(Split),
)
placed = (st.lists(one_placed, max_size=5) | st.lists(one_placed, min_size=10, max_size=40)).map(
    lambda found: [
        (Row(f"{place}.jpg", row.class_ids, size=row.size), split)
        for place, (row, split) in enumerate(found)
    ]
)
shard_sizes = st.sampled_from([1, 1000, 5000, 1_000_000])


def lay_rows_out(images: list[Placed], shard_bytes: int = 5000) -> list[ShardPlan]:
    rows = [row for row, _ in images]
    seen = make_seen(rows)
    verdicts = Verdicts(np.full(len(rows), None, object), np.full(len(rows), -1), {})
    splits = np.array([split for _, split in images], np.int8)
    labels = seen.labels()
    return list(lay_out(seen, Selection(labels.class_ids, {}, splits, labels, verdicts), shard_bytes))


def keys_of(images: list[Placed], shards: list[ShardPlan], split: Split) -> list[str]:
    """Return the keys of a split in the order in which they are laid down."""
    return [images[row][0].key for shard in shards if shard.split is split for row in shard.rows]


# --- which image goes where ---------------------------------------------------------------------


@given(placed, shard_sizes)
def test_every_chosen_image_is_in_exactly_one_shard_of_its_split(
    images: list[Placed], shard_bytes: int
) -> None:
    shards = lay_rows_out(images, shard_bytes)
    for split in SPLITS:
        wanted = [row.key for row, own in images if own is split]
        assert Counter(keys_of(images, shards, split)) == Counter(wanted)
    assert all(len(shard.rows) for shard in shards)


@given(placed, shard_sizes)
def test_each_image_brings_its_labels_into_its_shard(images: list[Placed], shard_bytes: int) -> None:
    for shard in lay_rows_out(images, shard_bytes):
        assert len(shard.labels.starts) == len(shard.rows) + 1
        for place, row in enumerate(shard.rows):
            found = tuple(shard.labels.class_ids[code] for code in shard.labels[place])
            assert found == images[row][0].class_ids


@given(placed, shard_sizes)
def test_shards_are_as_large_as_asked_but_for_one_image_and_the_last(
    images: list[Placed], shard_bytes: int
) -> None:
    shards = lay_rows_out(images, shard_bytes)
    sizes = {split: [row.size for row, own in images if own is split] for split in SPLITS}
    for split in SPLITS:
        own = [shard for shard in shards if shard.split is split]
        assert [shard.number for shard in own] == list(range(len(own)))
        assert [shard.name for shard in own] == [
            f"{split.folder}/{shard_name(number)}" for number in range(len(own))
        ]
        lengths = [sum(images[row][0].size for row in shard.rows) for shard in own]
        largest = max(sizes[split], default=0)
        assert all(length < shard_bytes + largest for length in lengths)
        assert all(length > shard_bytes - largest for length in lengths[:-1])


@given(placed, shard_sizes, st.randoms(use_true_random=False))
def test_the_order_is_that_of_a_hash_and_of_nothing_else(
    images: list[Placed], shard_bytes: int, chance: random.Random
) -> None:
    shuffled = list(images)
    chance.shuffle(shuffled)
    before, after = lay_rows_out(images, shard_bytes), lay_rows_out(shuffled, shard_bytes)
    for split in SPLITS:
        keys = keys_of(images, before, split)
        assert keys_of(shuffled, after, split) == keys
        assert keys == sorted(keys, key=lambda key: hash_text(f"0/order/{key}"))


def test_images_of_the_same_class_do_not_lie_together() -> None:
    images = [(Row(f"{n}", ("ab"[n // 50],)), Split.TRAIN) for n in range(100)]
    laid = [images[row][0].class_ids for shard in lay_rows_out(images) for row in shard.rows]
    assert 30 < sum(first != second for first, second in pairwise(laid)) < 70


def test_nothing_chosen_is_no_shard() -> None:
    assert lay_rows_out([]) == []
    assert lay_rows_out([(Row("1"), Split.DROPPED)]) == []


def test_a_dataset_has_several_labels_when_an_image_that_stays_has() -> None:
    one, two = Row("1"), Row("2", ("a", "b"))
    for split in SPLITS:
        shards = lay_rows_out([(one, Split.TRAIN), (two, split)])
        assert all(shard.several for shard in shards)
    assert not any(shard.several for shard in lay_rows_out([(one, Split.TRAIN), (two, Split.DROPPED)]))


@pytest.mark.parametrize("num", [1, 3000])
def test_the_plan_of_a_shard_is_small(num: int) -> None:
    images = [(Row(f"{n}"), Split.TRAIN) for n in range(num)]
    (shard,) = lay_rows_out(images, 10**9)
    assert len(pickle.dumps(shard)) < 2000 + 24 * num


# --- under which key ----------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a.jpg", "a.png", "./a", "b.jpg", "b.c.jpg", "b_c", "a~2", "a_2"]),
            st.sampled_from(Split),
        ),
        max_size=12,
    )
)
def test_images_whose_keys_meet_are_numbered_in_the_order_of_the_source(
    found: list[tuple[str, Split]],
) -> None:
    images = [(Row(key), split) for key, split in found]
    shards = lay_rows_out(images, 1000)
    times: Counter[str] = Counter()
    wanted = {}
    for row, (key, split) in enumerate(found):
        times[sample_key(key)] += 1
        if times[sample_key(key)] > 1 and split is not Split.DROPPED:
            wanted[row] = times[sample_key(key)]
    assert {row: n for shard in shards for row, n in shard.numbered.items()} == wanted
    for shard in shards:
        assert set(shard.numbered) <= set(shard.rows.tolist())


keys = st.text(max_size=20) | st.lists(
    st.sampled_from(["..", ".", "/", "~", "__", "a", "é", ".jpg", "\n", "\0", "\udcff", "\\", " "]),
    max_size=8,
).map("".join)


@given(keys)
@example("...")
@example("../../etc/passwd")
@example("__a/b.jpg")
@example("/")
@example("a/.jpg")
def test_a_sample_key_is_a_safe_path_that_a_webdataset_reader_takes_whole(key: str) -> None:
    sample = sample_key(key)
    pieces = sample.split("/")
    assert not {"", ".", ".."} & set(pieces)
    assert "." not in pieces[-1]
    assert "~" not in sample
    assert sample.isprintable()
    assert sample.encode()
    assert not sample.startswith("__")
    for numbered in (sample, f"{sample}~2"):
        assert base_plus_ext(f"{numbered}.jpg") == (numbered, "jpg")


@given(keys)
def test_a_sample_key_is_its_own(key: str) -> None:
    sample = sample_key(key)
    assert sample_key(f"{sample}.jpg") == sample


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("n02084071/n02084071_1.JPEG", "n02084071/n02084071_1"),
        ("train.v2/a.b.c.jpg", "train.v2/a_b_c"),
        ("folder/without-extension", "folder/without-extension"),
        ("/absolute/../a.jpg", "absolute/a"),
        ("", "unnamed"),
        (".jpg", "_jpg"),
        ("a~2.jpg", "a_2"),
        ("line\nbreak.jpg", "line_break"),
        ("__meta__.jpg", "x__meta__"),
    ],
)
def test_keys_look_like_those_of_the_source(key: str, wanted: str) -> None:
    assert sample_key(key) == wanted
