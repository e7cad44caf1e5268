"""Parquet tables, as `datasets` writes them for the Hugging Face hub, and plainer ones."""

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_files import Row, make_files, parts_of, photo, walk, walk_or_sentence, walk_part

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources import parquet as parquet_room
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.sources.part import Layout


def write_table(path: Path, metadata: object = None, group: int = 100, /, **columns: Any) -> Path:  # noqa: ANN401
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pq.write_table(table, path, row_group_size=group)
    return path


def features(**named: object) -> dict[str, object]:
    return {"info": {"features": named}}


CLASS_LABEL = {"_type": "ClassLabel", "names": ["duck", "swan"]}
EMBEDDED = [{"bytes": photo(number), "path": f"{number}.jpg"} for number in range(3)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset as it lies on the hub: data/ with a file for each split, images embedded."""
    import datasets

    folder = tmp_path_factory.mktemp("hub")
    files = folder / "files"
    files.mkdir()
    for number in range(7):
        (files / f"{number}.jpg").write_bytes(photo(number))
    labels = datasets.ClassLabel(names=["duck", "mute swan"])
    columns = {
        "image": [str(files / f"{number}.jpg") for number in range(7)],
        "label": [number % 2 for number in range(6)] + [-1],
        "coarse": [0] * 7,
    }
    table = datasets.Dataset.from_dict(columns)
    for name, feature in {"image": datasets.Image(), "label": labels, "coarse": labels}.items():
        table = table.cast_column(name, feature)
    table = table.with_format("arrow").map(datasets.table.embed_table_storage, batched=True)
    (folder / "hub" / "data").mkdir(parents=True)
    for split in ("train", "validation"):
        path = folder / "hub" / "data" / f"{split}-00000-of-00001.parquet"
        table.with_format(None).to_parquet(path, batch_size=3)
    return folder / "hub"


def test_the_tables_of_the_hub_are_read_with_class_names_and_splits(hub: Path) -> None:
    assert open_source(str(hub)).layout is Layout.PARQUET
    rows = walk(hub)
    assert rows == [
        Row(
            f"data/{split}-00000-of-00001/{number}/{number}.jpg",
            () if number == 6 else (("duck", "mute swan")[number % 2],),
            meant,
            photo(number),
        )
        for split, meant in (("train", "train"), ("validation", "val"))
        for number in range(7)
    ]
    assert [part.name for part in parts_of(hub)][:3] == [
        f"data/train-00000-of-00001 rows {rows}" for rows in ("0-2", "3-5", "6-6")
    ]
    coarse = walk(hub / "data" / "train-00000-of-00001.parquet", label_column="coarse")
    assert {row.class_ids for row in coarse} == {("duck",)}
    assert {row.split for row in coarse} == {"train"}


@pytest.mark.parametrize(
    ("feature", "labels", "meant"),
    [
        (
            {"_type": "List", "feature": CLASS_LABEL},
            [[0], [1, 0], []],
            [("duck",), ("swan", "duck"), ()],
        ),
        ({"_type": "Sequence", "feature": CLASS_LABEL}, [[0], None, [1]], [("duck",), (), ("swan",)]),
        ([CLASS_LABEL], [[1, 1], [0], []], [("swan",), ("duck",), ()]),
        (CLASS_LABEL, [1, -1, None], [("swan",), (), ()]),
        ({"_type": "Value"}, [7, 3, None], [("7",), ("3",), ()]),
        ({"_type": "Value"}, ["a", " b ", ""], [("a",), ("b",), ()]),
        ({"_type": "Value"}, [["a"], ["b", "a"], []], [("a",), ("b", "a"), ()]),
    ],
)
def test_labels_are_names_numbers_texts_or_lists_of_them(
    feature: object, labels: list[object], meant: list[tuple[str, ...]], tmp_path: Path
) -> None:
    path = write_table(tmp_path / "a.parquet", features(label=feature), image=EMBEDDED, label=labels)
    assert [row.class_ids for row in walk(path)] == meant


def test_a_label_that_is_no_class_is_a_row(tmp_path: Path) -> None:
    metadata = features(label=CLASS_LABEL)
    path = write_table(tmp_path / "a.parquet", metadata, image=EMBEDDED, label=[0, 2, 1])
    assert [(row.class_ids, row.content) for row in walk(path)] == [
        (("duck",), photo(0)),
        ((), Reason.NO_LABEL),
        (("swan",), photo(2)),
    ]
    path = write_table(tmp_path / "a.parquet", image=EMBEDDED, label=[0.5, 1.0, 2.0])
    assert {row.content for row in walk(path)} == {Reason.NO_LABEL}


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_columns_of_plain_bytes_are_images_under_common_names(kind: pa.DataType, tmp_path: Path) -> None:
    images = pa.array([photo(0), b"", None], kind)
    path = write_table(tmp_path / "a.parquet", IMG=images, name=["x"] * 3, Class=["a", "b", "c"])
    assert [(row.key, row.class_ids, row.content) for row in walk(path)] == [
        ("a/0", ("a",), photo(0)),
        ("a/1", ("b",), b""),
        ("a/2", ("c",), Reason.EMPTY),
    ]


def test_columns_of_any_name_are_found_by_what_the_metadata_says_of_them(tmp_path: Path) -> None:
    metadata = features(scan={"_type": "Image"}, species=CLASS_LABEL, label={"_type": "Value"})
    columns = {"scan": EMBEDDED, "image": EMBEDDED[::-1], "label": ["x"] * 3, "species": [0, 1, 0]}
    rows = walk(write_table(tmp_path / "a.parquet", metadata, **columns))
    assert [row.class_ids for row in rows] == [("duck",), ("swan",), ("duck",)]
    assert [row.content for row in rows] == [photo(number) for number in range(3)]


def test_stated_columns_count(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", x=EMBEDDED, image=EMBEDDED, y=["a"] * 3, label=["b"] * 3)
    assert {row.class_ids for row in walk(path)} == {("b",)}
    assert {row.class_ids for row in walk(path, image_column="x", label_column="y")} == {("a",)}


@pytest.mark.parametrize(
    ("columns", "stated", "message"),
    [
        ({"label": ["a"]}, {}, r"no column that may hold the image: .*--image-column.* label\."),
        ({"image": [EMBEDDED[0]]}, {}, r"no column that may hold the label: .*--label-column"),
        (
            {"x": [b"1"], "y": [b"2"], "label": ["a"]},
            {},
            r"several columns \(x, y\) that may hold the im",
        ),
        ({"image": ["a.jpg"], "label": ["a"]}, {}, "no column that may hold the image"),
        ({"image": ["a.jpg"], "label": ["a"]}, {"image_column": "image"}, "'image' holds string, not"),
        (
            {"image": [b""], "label": ["a"]},
            {"label_column": "lable"},
            r"no column 'lable' \(did you mean",
        ),
    ],
)
def test_columns_that_cannot_be_told_are_named_with_what_to_do(
    columns: dict[str, list[object]], stated: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = write_table(tmp_path / "a.parquet", **columns)
    with pytest.raises(SourceError, match=rf"a\.parquet.*{message}"):
        parts_of(path, **stated)


def test_splits_are_told_by_folders_or_file_names(tmp_path: Path) -> None:
    names = {
        "train/0000.parquet": "train",
        "test/0000.parquet": "test",
        "data/validation-0.parquet": "val",
    }
    for name in names:
        write_table(tmp_path / name, image=EMBEDDED, label=["a"] * 3)
    assert {
        part.path.relative_to(tmp_path).as_posix(): part.split for part in parts_of(tmp_path)
    } == names


def test_an_image_that_is_named_and_not_embedded_is_read_beside_the_table(tmp_path: Path) -> None:
    make_files(tmp_path, "source/in/1.jpg", "secret.jpg")
    (tmp_path / "source/link.jpg").symlink_to(tmp_path / "secret.jpg")
    paths = ["in/1.jpg", "in/2.jpg", "../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", None]
    images = [{"bytes": None, "path": path} for path in paths]
    path = write_table(tmp_path / "source/a.parquet", image=images, label=["a"] * len(paths))
    rows = walk(path)
    assert [row.content for row in rows] == [
        b"source/in/1.jpg",
        *[Reason.UNREADABLE] * 4,
        Reason.EMPTY,
    ]
    assert rows[1].detail == "No such file or directory"
    assert "does not lie beside it" in rows[2].detail


def test_a_cell_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_room, "MAX_FILE_BYTES", 100)
    path = write_table(tmp_path / "a.parquet", image=[bytes(100), bytes(101)], label=["a", "a"])
    assert [row.content for row in walk(path)] == [bytes(100), Reason.TOO_LARGE]


def test_row_groups_are_parts_that_are_read_a_few_rows_at_a_time(tmp_path: Path) -> None:
    images = [bytes([number]) * 200_000 for number in range(200)]
    path = tmp_path / "a.parquet"
    table = pa.table({"image": images, "label": ["a"] * 200})
    pages = {"write_batch_size": 4, "data_page_size": 100_000, "use_dictionary": False}
    pq.write_table(table, path, row_group_size=150, compression="none", **pages)
    del table
    first, second = parts_of(path)
    assert [row.content for row in walk_part(second)] == images[150:]
    assert first.state != second.state
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    for image, truth in zip(first.images(), images, strict=False):
        assert image.read() == truth
        assert pa.total_allocated_bytes() - before < 12_000_000  # of 30 MB
    assert tracemalloc.get_traced_memory()[1] < 12_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("content", [b"PAR1" + bytes(100), b"PAR1", b"x" * 2000 + b"PAR1"])
def test_what_is_no_table_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.parquet is not a whole Parquet file .*get it anew"):
        parts_of(tmp_path)


def test_damage_inside_a_table_keeps_the_rows_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    images = [bytes([number]) * 5000 for number in range(64)]
    table = pa.table({"image": images, "label": ["a"] * 64})
    pages = {"write_batch_size": 1, "data_page_size": 5000, "use_dictionary": False}
    pq.write_table(table, path, compression="zstd", **pages)
    content = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    middle = column.data_page_offset + column.total_compressed_size // 2
    content[middle : middle + 60] = b"\xaa" * 60
    path.write_bytes(content)
    rows = walk(path)
    assert rows[-1].content is Reason.DAMAGED_ARCHIVE
    assert [row.content for row in rows[:-1]] == images[: len(rows) - 1]
    assert 0 < len(rows) - 1 < 64


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)
)
@settings(deadline=None, max_examples=150)
def test_a_table_changed_in_any_way_ends_in_rows_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("changed") / "a.parquet"
    metadata = features(label=CLASS_LABEL)
    write_table(path, metadata, 2, image=EMBEDDED, label=[0, 1, 0])
    content = bytearray(path.read_bytes())
    for place, data in changes:
        start = place % len(content)
        content[start : start + len(data)] = data
    path.write_bytes(content)
    rows, message = walk_or_sentence(path)
    assert len(rows) <= 6
    assert str(path) in message or not message


def test_a_mount_that_goes_away_during_the_walk_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(tmp_path / "a.parquet", image=EMBEDDED, label=["a"] * 3)
    (part,) = parts_of(path)

    class Stale(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise OSError(116, "Stale file handle")

    monkeypatch.setattr(parquet_room, "open_file", lambda _: Stale(path.read_bytes()))
    with pytest.raises(SourceError, match=r"a\.parquet cannot be read \(Stale file handle\)"):
        list(part.images())


def test_a_table_in_a_store_leads_to_no_file_outside_its_folder() -> None:
    from upath import UPath

    store = UPath("memory://outside")
    (store / "in").mkdir(parents=True, exist_ok=True)
    for name in ("secret.jpg", "in/1.jpg"):
        (store / name).write_bytes(name.encode())
    paths = ["1.jpg", "../secret.jpg", "/outside/secret.jpg", "memory://outside/secret.jpg"]
    images = [{"bytes": None, "path": path} for path in paths]
    with (store / "in" / "a.parquet").open("wb") as stream:
        pq.write_table(pa.table({"image": images, "label": ["a"] * 4}), stream)
    contents = [row.content for row in walk("memory://outside/in")]
    assert contents == [b"in/1.jpg", *[Reason.UNREADABLE] * 3]


def test_tables_in_a_store_are_read_like_those_on_a_disk(tmp_path: Path) -> None:
    from upath import UPath

    path = write_table(
        tmp_path / "train-0.parquet", features(label=CLASS_LABEL), image=EMBEDDED, label=[0, 1, 0]
    )
    store = UPath("memory://tables")
    store.mkdir(exist_ok=True)
    (store / "train-0.parquet").write_bytes(path.read_bytes())
    assert walk("memory://tables") == walk(tmp_path)
    assert len(walk(tmp_path)) == 3
