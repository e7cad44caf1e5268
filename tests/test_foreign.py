from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seen_rows import Row, digest, make_seen

from hypernym.commands.prepare import prepare
from hypernym.data.classes import ClassTable
from hypernym.data.dataset import Dataset
from hypernym.data.rejections import Reason
from hypernym.errors import DatasetError
from hypernym.preparation.duplicates import Conflicts, DuplicateRule, Duplicates, Prints
from hypernym.preparation.foreign import load_foreign
from hypernym.preparation.rules import Recipe
from hypernym.preparation.selection import Foreign, Selection, SelectionRule, Split, select

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("split", pa.string()),
        ("source_sha256", pa.binary(32)),
        ("fingerprint", pa.binary(32)),
    ]
)


def write_dataset(folder: Path, rows: list[dict[str, Any]]) -> Dataset:
    """Write what is asked of a dataset: a row an image, `images.parquet` as `prepare` makes it."""
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "images.parquet", row_group_size=2)
    return Dataset(folder, {}, ClassTable((), (), (), (), ()))


def image(key: str, split: str, *, look: bytes | None = None, content: str = "") -> dict[str, Any]:
    return {
        "source": key,
        "split": split,
        "source_sha256": hashlib.sha256((content or key).encode()).digest(),
        "fingerprint": look,
    }


def flip(look: bytes, num_bits: int) -> bytes:
    """Return a hash that differs in the first bits."""
    number = int.from_bytes(look) ^ ((1 << num_bits) - 1)
    return number.to_bytes(len(look))


def select_images(rows: list[Row], duplicates: Duplicates, foreign: Foreign) -> Selection:
    rule = DuplicateRule(duplicates, Conflicts.DROP, 5)
    return select(
        make_seen(rows), SelectionRule(1, 1, 0), rule, ancestors_of=lambda _: (), foreign=foreign
    )


LOOK = digest("look")


# --- what other datasets hold out ---------------------------------------------------------------


def test_pictures_of_the_val_and_test_splits_are_loaded(tmp_path: Path) -> None:
    first = write_dataset(
        tmp_path / "cars",
        [
            image("t/1.jpg", "train", look=LOOK),
            image("v/2.jpg", "val", look=flip(LOOK, 3)),
            image("v/3.jpg", "val"),
            image("s/4.jpg", "test", look=LOOK),
        ],
    )
    second = write_dataset(tmp_path / "birds", [image("5.jpg", "val", look=flip(LOOK, 1))])
    foreign = load_foreign([first, second])
    assert foreign.names == ("cars/v/2.jpg", "cars/v/3.jpg", "cars/s/4.jpg", "birds/5.jpg")
    contents = [
        hashlib.sha256(name.encode()).digest() for name in ("v/2.jpg", "v/3.jpg", "s/4.jpg", "5.jpg")
    ]
    assert foreign.prints.digests_N.tolist() == [int.from_bytes(content[:8]) for content in contents]
    assert foreign.prints.has_hash_N.tolist() == [True, False, True, True]
    looks = [flip(LOOK, 3), None, LOOK, flip(LOOK, 1)]
    for words, look in zip(foreign.prints.hashes_NW.tolist(), looks, strict=True):
        if look:
            assert b"".join(word.to_bytes(8) for word in words) == look


def test_a_dataset_that_holds_nothing_out_is_refused(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "all", [image("1", "train", look=LOOK)])
    with pytest.raises(DatasetError, match="all holds no image out"):
        load_foreign([dataset])


def test_a_dataset_without_perceptual_hashes_is_refused(tmp_path: Path) -> None:
    good = write_dataset(tmp_path / "good", [image("1", "val", look=LOOK)])
    bad = write_dataset(tmp_path / "bad", [image("1", "train", look=LOOK), image("2", "val")])
    with pytest.raises(
        DatasetError, match=r"bad was prepared without perceptual hashes.*prepare it anew"
    ):
        load_foreign([good, bad])


def test_a_table_that_is_missing_damaged_or_of_another_kind_is_named(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "gone", [image("1", "val", look=LOOK)])
    table = dataset.path / "images.parquet"
    whole = table.read_bytes()
    pq.write_table(pa.table({"key": ["1"]}), table)
    with pytest.raises(
        DatasetError, match=r"gone/images.parquet cannot be read .*prepare the dataset anew"
    ):
        load_foreign([dataset])
    table.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"gone/images.parquet cannot be read"):
        load_foreign([dataset])
    table.unlink()
    with pytest.raises(DatasetError, match=r"gone/images.parquet cannot be read"):
        load_foreign([dataset])


def test_a_prepared_dataset_is_loaded_with_the_digests_of_its_sources(dataset: Dataset) -> None:
    rows = pq.read_table(dataset.path / "images.parquet").to_pylist()
    held_out = [row for row in rows if row["split"] != "train"]
    foreign = load_foreign([dataset])
    assert foreign.names == tuple(f"{dataset.path.name}/{row['source']}" for row in held_out)
    digests = [int.from_bytes(row["source_sha256"][:8]) for row in held_out]
    assert foreign.prints.digests_N.tolist() == digests
    assert foreign.prints.has_hash_N.all()


# --- what they keep out of this one -------------------------------------------------------------


def is_alike(row: Row, other: Row) -> bool:
    """Tell whether two images are equal, or differ in 5 bits at most."""
    if row.content and row.content == other.content:
        return True
    if row.look is None or other.look is None:
        return False
    return (int.from_bytes(row.look) ^ int.from_bytes(other.look)).bit_count() <= 5


def find_shared(rows: list[Row], others: list[Row]) -> list[str]:
    """Return the keys of the images that are like one of the others, also by way of a third one."""
    shared: list[Row] = []
    while more := [
        row
        for row in rows
        if row not in shared and any(is_alike(row, other) for other in [*others, *shared])
    ]:
        shared += more
    return sorted(row.key for row in shared)


def make_foreign(others: list[Row]) -> Foreign:
    seen = make_seen(others)
    prints = Prints(
        seen.words("source_sha256")[:, 0], seen.words("fingerprint"), ~seen.is_null("fingerprint")
    )
    return Foreign(prints, tuple(other.key for other in others))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "", "x", "y"]),
            st.none() | st.integers(0, 25),
            st.sampled_from([None, "train", "val", "test"]),
        ),
        min_size=4,
        max_size=14,
    ),
    st.sampled_from(Duplicates),
)
@example([("y", None, "train"), ("y", None, "val")], Duplicates.IGNORE)
def test_exactly_the_pictures_go_that_another_dataset_holds_out(
    images: list[tuple[str, int | None, str | None]], duplicates: Duplicates
) -> None:
    rows = [
        Row(f"{place}", split=split, content=content, look=None if bits is None else flip(LOOK, bits))
        for place, (content, bits, split) in enumerate(images)
    ]
    others = [
        Row("cars/1", content="x", look=None),
        Row("cars/2", look=LOOK),
        Row("cars/3", look=LOOK),
    ]
    alone = [Row(f"alone-{number}") for number in range(3)]
    selection = select_images([*rows, *alone], duplicates, make_foreign(others))
    reasons, splits = selection.verdicts.reason_N, selection.splits
    shared = [row for row, reason in enumerate(reasons) if reason is Reason.SHARED]
    assert sorted(rows[row].key for row in shared) == find_shared(rows, others)
    for row in shared:
        assert splits[row] == Split.DROPPED
        assert 0 <= selection.verdicts.of_N[row] - len(rows) - len(alone) < len(others)
    if duplicates is Duplicates.IGNORE:
        assert [row for row, split in enumerate(splits) if split == Split.DROPPED] == shared
    assert all(splits[len(rows) :] >= 0)


def test_the_picture_of_the_other_dataset_is_named() -> None:
    others = [Row("cars/1"), Row("cars/2", content="x"), Row("cars/3")]
    rows = [Row("1"), Row("2", content="x")]
    for duplicates in Duplicates:
        selection = select_images(rows, duplicates, make_foreign(others))
        assert selection.verdicts.of_N.tolist() == [-1, len(rows) + 1]


def test_of_pictures_that_are_twice_here_and_held_out_there_none_stays() -> None:
    rows = [Row("1", content="x"), Row("2", content="x", split="test"), Row("3"), Row("4")]
    for duplicates in Duplicates:
        selection = select_images(rows, duplicates, make_foreign([Row("cars/1", content="x")]))
        assert selection.splits[:2].tolist() == [Split.DROPPED] * 2
        assert set(selection.verdicts.reason_N[:2]) == {Reason.SHARED}


def test_a_class_whose_pictures_another_dataset_holds_is_dropped() -> None:
    rows = [Row("1", ("b",), content="x"), Row("2")]
    selection = select_images(rows, Duplicates.IGNORE, make_foreign([Row("cars/1", content="x")]))
    assert (selection.kept, selection.dropped) == (("a",), {"b": 0})


def test_prepare_leaves_out_what_another_dataset_holds_out(
    world: Path, dataset: Dataset, tmp_path: Path
) -> None:
    prepare(
        str(world),
        tmp_path / "new",
        recipe=Recipe.IMAGENET21K_P,
        min_images=3,
        val_per_class=2,
        size=32,
        against=(dataset.path,),
        workers=1,
    )
    held_out = read_sources(dataset.path, "val")
    rejected = pq.read_table(tmp_path / "new/rejected.parquet").to_pylist()
    shared = {row["key"]: row["detail"] for row in rejected if row["reason"] == Reason.SHARED}
    assert shared == {key: f"like {dataset.path.name}/{key}" for key in held_out}
    here = read_sources(tmp_path / "new", "train") | read_sources(tmp_path / "new", "val")
    assert here == read_sources(dataset.path, "train")


def read_sources(dataset: Path, split: str) -> set[str]:
    rows = pq.read_table(dataset / "images.parquet").to_pylist()
    return {row["source"] for row in rows if row["split"] == split}
