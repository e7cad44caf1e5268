from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hypernym.preparation import seen as room
from hypernym.preparation.seen import (
    GATHERED,
    SEEN,
    LabelsOfImages,
    Seen,
    gather_seen,
    open_seen,
    words_of,
)

Rows = list[dict[str, Any]]

NUMBERS = ["width", "height", "sample_hash", "holdout_hash", "order_hash", "offset", "size"]
CLASS_IDS = ["B", "a", "a1", "b", "é", "Z\U0001f9a2", "\ue000"]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
words = st.none() | st.sampled_from(["", "train", "val", "é\U0001f9a2"])
hashes = st.sampled_from([0, 1, 2**63, 2**64 - 1])
sizes = st.none() | st.sampled_from([1, 500, 2**31 - 1])
digests = st.none() | st.sampled_from([bytes(range(32)), bytes(range(255, 223, -1)), b"\xff" * 32])
rows = st.fixed_dictionaries(
    {
        "key": texts,
        "class_ids": st.lists(st.sampled_from(CLASS_IDS), max_size=3) | st.none(),
        "stated_split": words,
        "reason": words,
        "detail": words,
        "form": words,
        "width": sizes,
        "height": sizes,
        "source_sha256": digests,
        "fingerprint": digests,
        "sample_key": words,
        "sample_hash": hashes,
        "holdout_hash": hashes,
        "order_hash": hashes,
        "offset": sizes,
        "size": sizes,
    }
)
some_rows = st.lists(rows, max_size=7, unique_by=lambda row: str(row["key"]))
parts = st.lists(some_rows, max_size=2) | st.lists(some_rows, min_size=3, max_size=5)
"""The rows of some parts, of which any may be empty."""


counts = st.lists(st.integers(0, 7), max_size=9)
"""The number of rows of some parts."""


def make_parts(lengths: list[int]) -> list[Rows]:
    empty = dict.fromkeys(SEEN.names)
    return [
        [empty | {"key": f"{place}", "offset": 10 * number} for place in range(length)]
        for number, length in enumerate(lengths)
    ]


def gather(some_parts: list[Rows], rows_per_batch: int) -> Seen:
    """Write a table a part, numbered 0, 2, 4 ...; gather and open them."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "ROWS_PER_BATCH", rows_per_batch)
        tables = {2 * place: Path(name, f"{place}.parquet") for place in range(len(some_parts))}
        for path, part in zip(tables.values(), some_parts, strict=True):
            pq.write_table(pa.Table.from_pylist(part, SEEN), path)
        gather_seen(tables, Path(name, "seen.arrow"))
        return open_seen(Path(name, "seen.arrow"))


def cut(seen: Seen, places: list[int]) -> Seen:
    """Return the same rows in batches that begin in the middle of their buffers."""
    table = pa.Table.from_batches(
        [batch for _, table in seen.batches(GATHERED.names) for batch in table.to_batches()], GATHERED
    )
    whole = table.combine_chunks()
    inner = sorted({0, len(whole), *(place % (len(whole) + 1) for place in places)})
    batches = [
        batch for begin, end in pairwise(inner) for batch in whole.slice(begin, end - begin).to_batches()
    ]
    return Seen(batches)


def split_to_words(value: bytes) -> list[int]:
    return [int.from_bytes(value[place : place + 8], "big") for place in range(0, len(value), 8)]


def expect(some_parts: list[Rows]) -> Rows:
    """Return all rows, with the number of the part."""
    return [row | {"part": 2 * place} for place, part in enumerate(some_parts) for row in part]


def check_columns(seen: Seen, wanted: Rows) -> None:
    for name in [*NUMBERS, "part"]:
        column = seen.column(name)
        assert column.tolist() == [row[name] or 0 for row in wanted]
        assert column.dtype == GATHERED.field(name).type.to_pandas_dtype()
    for name in ["reason", "fingerprint", "stated_split", "width"]:
        assert seen.is_null(name).tolist() == [row[name] is None for row in wanted]


def check_words(seen: Seen, wanted: Rows) -> None:
    for name in ["source_sha256", "fingerprint"]:
        whole, firsts = seen.words(name), seen.words(name, first=1)
        assert whole.shape == (len(wanted), 4)
        assert whole.dtype == firsts.dtype == np.uint64
        assert firsts.shape == (len(wanted), 1)
        for row, own, first in zip(wanted, whole.tolist(), firsts.tolist(), strict=True):
            if row[name] is not None:
                assert own == split_to_words(row[name])
                assert first == own[:1]
        known = np.array([place for place, row in enumerate(wanted) if row[name] is not None], np.int64)
        assert seen.words(name, rows=known).tolist() == whole[known].tolist()
        assert seen.words(name, rows=known, first=1).tolist() == firsts[known].tolist()


def check_labels(seen: Seen, wanted: Rows) -> None:
    labels = seen.labels()
    stated = [row["class_ids"] or [] for row in wanted]
    assert labels.class_ids == tuple(sorted({name for own in stated for name in own}, key=str.encode))
    assert len(labels.starts) == len(wanted) + 1
    found = [[labels.class_ids[code] for code in labels[row]] for row in range(len(wanted))]
    assert found == stated
    assert len(labels.codes) == labels.starts[-1]
    assert labels.row_of_code.tolist() == [row for row, own in enumerate(stated) for _ in own]


@given(parts, st.integers(1, 12), st.lists(st.integers(0, 30), max_size=4))
@example([], 1, [])
@example([[], []], 1, [])
def test_what_was_gathered_reads_back_column_by_column(
    some_parts: list[Rows], rows_per_batch: int, places: list[int]
) -> None:
    wanted = expect(some_parts)
    gathered = gather(some_parts, rows_per_batch)
    for seen in (gathered, cut(gathered, places)):
        assert len(seen) == len(wanted)
        check_columns(seen, wanted)
        check_words(seen, wanted)
        check_labels(seen, wanted)


@given(parts, st.integers(1, 12), st.lists(st.integers(0, 30), max_size=4), st.data())
def test_any_rows_are_taken_in_any_order(
    some_parts: list[Rows], rows_per_batch: int, places: list[int], data: st.DataObject
) -> None:
    wanted = expect(some_parts)
    chosen = data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=20) if wanted else st.just([]))
    gathered = gather(some_parts, rows_per_batch)
    for seen in (gathered, cut(gathered, places)):
        taken = seen.take(np.array(chosen, np.int64), GATHERED.names)
        assert taken.schema == GATHERED
        assert taken.to_pylist() == [wanted[row] for row in chosen]


@given(counts, st.integers(1, 12))
def test_batches_walk_all_rows_and_say_where_they_begin(lengths: list[int], rows_per_batch: int) -> None:
    some_parts = make_parts(lengths)
    wanted = [{"key": row["key"], "offset": row["offset"]} for part in some_parts for row in part]
    place = 0
    for start, table in gather(some_parts, rows_per_batch).batches(["key", "offset"]):
        assert start == place
        assert table.column_names == ["key", "offset"]
        assert table.to_pylist() == wanted[start : start + len(table)]
        place += len(table)
    assert place == len(wanted)


@given(counts, st.integers(1, 12))
def test_a_batch_is_full_before_the_next_one_begins(lengths: list[int], rows_per_batch: int) -> None:
    seen = gather(make_parts(lengths), rows_per_batch)
    found = [len(table) for _, table in seen.batches(["key"])]
    largest = max(lengths, default=0)
    assert all(rows_per_batch <= length < rows_per_batch + largest for length in found[:-1])


def test_many_small_parts_become_one_batch() -> None:
    seen = gather(make_parts([1] * 20), room.ROWS_PER_BATCH)
    assert len(list(seen.batches(["key"]))) == 1
    assert seen.column("part").tolist() == list(range(0, 40, 2))


@given(
    st.lists(st.lists(st.sampled_from(CLASS_IDS), max_size=3) | st.none(), min_size=4, max_size=12),
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
)
@example([["a", "b"], ["B"], None, ["a"]], [1, 2])
def test_labels_are_those_stated_wherever_batches_begin(
    stated: list[list[str] | None], places: list[int]
) -> None:
    wanted = [{"class_ids": own} for own in stated]
    check_labels(cut(Seen(pa.Table.from_pylist(wanted, GATHERED).to_batches()), places), wanted)


def test_words_of_a_sliced_column_are_those_of_the_slice() -> None:
    values = [bytes([number]) * 16 for number in range(6)]
    column = pa.array(values, pa.binary(16)).slice(2, 3)
    assert words_of(column).tolist() == [split_to_words(value) for value in values[2:5]]


@given(st.lists(st.lists(st.integers(0, 6), max_size=4), max_size=10), st.data())
def test_labels_are_taken_in_any_order(own: list[list[int]], data: st.DataObject) -> None:
    flat = np.array([code for codes in own for code in codes], np.int32)
    labels = LabelsOfImages(tuple("abcdefg"), flat, np.cumsum([0, *map(len, own)]))
    chosen = data.draw(st.lists(st.integers(0, len(own) - 1), max_size=20) if own else st.just([]))
    taken = labels.take(np.array(chosen, np.int64))
    assert [taken[place].tolist() for place in range(len(chosen))] == [own[row] for row in chosen]
    assert taken.class_ids == labels.class_ids
    assert taken.codes.dtype == np.int32
    assert len(taken.starts) == len(chosen) + 1
