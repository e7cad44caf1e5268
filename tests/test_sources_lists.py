"""Lists of files and labels: CSV, tab-separated, JSON lines."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_files import Row, gnu_tar, make_files, parts_of, walk, walk_or_sentence, walk_part

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources import lists as lists_room
from hypernym.preparation.sources import rows as rows_room
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.sources.part import Layout

Meant = dict[str, tuple[str | None, tuple[str, ...]]]


def write_csv(path: Path, *rows: list[str], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)
    return path


def write_jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labels_of(source: Path, **columns: str) -> Meant:
    return {row.key: (row.split, row.class_ids) for row in walk(source, **columns)}


def test_the_files_of_a_csv_are_read_beside_it(tmp_path: Path) -> None:
    make_files(tmp_path, "data/photos/1.jpg", "data/photos/ü 2,.jpg", "elsewhere/3.jpg", "data/folder/x")
    source = write_csv(
        tmp_path / "data" / "photos.csv",
        ["path", "label", "split"],
        ["photos/1.jpg", "swan", "train"],
        ["photos/ü 2,.jpg", "mute swan; bird |swan", "Validation"],
        ["../elsewhere/3.jpg", "", "trainval"],
        [str(tmp_path / "elsewhere/3.jpg"), "7", "test"],
        [f"file://{tmp_path}/elsewhere/3.jpg", "8", "val"],
        ["photos/absent.jpg", "swan", "valid"],
        ["folder", "swan", "train"],
    )
    assert open_source(str(source)).layout is Layout.LIST
    rows = walk(source)
    assert rows == [
        Row("photos/1.jpg", ("swan",), "train", b"data/photos/1.jpg"),
        Row("photos/ü 2,.jpg", ("mute swan", "bird", "swan"), "val", "data/photos/ü 2,.jpg".encode()),
        Row("../elsewhere/3.jpg", (), "train", b"elsewhere/3.jpg"),
        Row(f"{tmp_path}/elsewhere/3.jpg", ("7",), "test", b"elsewhere/3.jpg"),
        Row(f"file://{tmp_path}/elsewhere/3.jpg", ("8",), "val", b"elsewhere/3.jpg"),
        Row("photos/absent.jpg", ("swan",), "val", Reason.UNREADABLE, "No such file or directory"),
        Row("folder", ("swan",), "train", Reason.NOT_A_FILE),
    ]


@pytest.mark.parametrize("path", ["path", "file", "filename", "File_Name", "image", "image_path"])
@pytest.mark.parametrize("label", ["label", "labels", "CLASS", "class_id", "category"])
def test_columns_are_found_by_common_names(path: str, label: str, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.tsv", ["id", label, path], ["7", "swan", "1.jpg"], delimiter="\t")
    assert labels_of(source) == {"1.jpg": (None, ("swan",))}
    source = write_jsonl(tmp_path / "a.jsonl", {"id": 7, label: "swan", path: "1.jpg"})
    assert labels_of(source) == {"1.jpg": (None, ("swan",))}


def test_stated_columns_count(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", ["x", "path", "y", "label", "z"], ["1", "2", "a", "b", "val"])
    assert labels_of(source) == {"2": (None, ("b",))}
    stated = {"image_column": "x", "label_column": "y", "split_column": "z"}
    assert labels_of(source, **stated) == {"1": ("val", ("a",))}


def test_a_csv_with_a_byte_order_mark_and_windows_lines_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('\ufeffpath,label\r\n1.jpg,swan\r\n\r\n"2\n.jpg",é\r\n'.encode())
    assert labels_of(tmp_path / "a.csv") == {"1.jpg": (None, ("swan",)), "2\n.jpg": (None, ("é",))}


def test_a_path_that_cannot_be_looked_up_is_a_row_and_no_fault_of_the_list(tmp_path: Path) -> None:
    path = f"/{'long' * 100}/1.jpg"
    source = write_csv(tmp_path / "a.csv", ["path", "label"], [path, "swan"], ["2.jpg", "swan"])
    assert labels_of(source) == {path: (None, ("swan",)), "2.jpg": (None, ("swan",))}


def test_json_lines_hold_one_label_or_a_list(tmp_path: Path) -> None:
    source = write_jsonl(
        tmp_path / "metadata.jsonl",
        {"file_name": "1.jpg", "label": "a;b"},
        {"file_name": "2.jpg", "label": ["a", 7, "a"]},
        {"file_name": "3.jpg", "label": 3, "split": "test"},
        {"file_name": "4.jpg", "label": None},
        {"file_name": "5.jpg"},
    )
    assert labels_of(source) == {
        "1.jpg": (None, ("a;b",)),
        "2.jpg": (None, ("a", "7")),
        "3.jpg": (None, ("3",)),
        "4.jpg": (None, ()),
        "5.jpg": (None, ()),
    }


def test_a_wide_table_names_its_classes_in_the_header(tmp_path: Path) -> None:
    source = write_csv(
        tmp_path / "a.csv",
        ["path", "split", "swan", "duck", "width", "goose", "note"],
        ["1.jpg", "train", "1", "-1", "640", "0", ""],
        ["2.jpg", "test", "1.0", "1", "1", "", ""],
        ["3.jpg", "val", "0", "0", "1", "-1", ""],
    )
    assert labels_of(source) == {
        "1.jpg": ("train", ("swan",)),
        "2.jpg": ("test", ("swan", "duck")),
        "3.jpg": ("val", ()),
    }


def test_the_table_of_voc2007_is_read_once_its_paths_are_written_out(
    shared: Path, tmp_path: Path
) -> None:
    source = shared / "data" / "voc2007.tar"
    if not source.exists():
        pytest.skip("voc2007.tar is not in shared/data")
    gnu_tar("-C", tmp_path, "-xf", source)
    with (tmp_path / "labels.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    paths = [["path", *header], *([f"JPEGImages/{row[0]}.jpg", *row] for row in rows)]
    found = walk(write_csv(tmp_path / "paths.csv", *paths))
    assert len(found) == 1907
    assert all(isinstance(row.content, bytes) for row in found)
    assert len({class_id for row in found for class_id in row.class_ids}) == 20
    assert {split: sum(row.split == split for row in found) for split in ("train", "test")} == {
        "train": 942,
        "test": 965,
    }


def test_rows_of_one_path_are_merged_also_over_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_room, "MAX_PART_ROWS", 2)
    rows = ["a/1.jpg,x", "2.jpg,y", "./a/1.jpg,y", "3.jpg,x", "2.jpg,y", "a//1.jpg,z", "4.jpg,"]
    (tmp_path / "a.csv").write_text("\n".join(["path,label", *rows]))
    parts = parts_of(tmp_path / "a.csv")
    assert [part.name for part in parts] == ["rows 1-2", "rows 3-4", "rows 5-6", "rows 7-7"]
    merged = [[(row.key, row.class_ids) for row in walk_part(part)] for part in parts]
    assert merged == [
        [("a/1.jpg", ("x", "y", "z")), ("2.jpg", ("y",))],
        [("3.jpg", ("x",))],
        [],
        [("4.jpg", ())],
    ]


def test_the_state_of_a_part_tells_other_rows_and_other_labels_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_room, "MAX_PART_ROWS", 1)

    def states(text: str, label_column: str = "label") -> list[str]:
        (tmp_path / "a.csv").write_text(text)
        return [part.state for part in parts_of(tmp_path / "a.csv", label_column=label_column)]

    first = states("path,label\n1,a\n2,b\n3,c\n")
    assert states("path,label\n1,a\n2,b\n3,c\n") == first
    assert [a == b for a, b in zip(first, states("path,label\n1,a\n2,x\n3,c\n"), strict=True)] == [
        *(True, False, True)
    ]
    assert not {*first} & {*states("path,other\n1,a\n2,b\n3,c\n", "other")}
    assert [a == b for a, b in zip(first, states("path,label\n1,a\n2,b\n1,c\n"), strict=True)] == [
        *(False, True, False)
    ]


TABLE = "path,label,split"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", r"no column that may hold the image: .*--image-column"),
        ("a.csv", "photos/1.jpg,swan\n", r"no column that may hold the image.* photos/1\.jpg, swan\."),
        ("a.csv", "path,name\n1.jpg,swan\n", r"no column of labels, and no columns of 1 and 0"),
        ("a.csv", "path,note\n1.jpg,\n", r"no column of labels, and no columns of 1 and 0"),
        ("a.csv", "path,label,path\n", "has two columns 'path': rename one"),
        ("a.csv", "path,label\n1.jpg\n", "row 1: it has 1 cells, and the header 2"),
        ("a.csv", "path,label\n1.jpg,a\n2.jpg,b,c\n", "row 2: it has 3 cells, and the header 2"),
        ("a.csv", "path,label\n1.jpg,a\n ,b\n", "row 2: it names no file in the column 'path'"),
        ("a.csv", f"{TABLE}\n1.jpg,a,train\n2.jpg,b,dev\n", "row 2: the split 'dev' is none of train,"),
        ("a.csv", f"{TABLE}\n1.jpg,a,\n", "row 1: the split '' is none of train"),
        (
            "a.csv",
            f"{TABLE}\n1,a,train\n2,b,val\n1,b,val\n",
            "row 3: 1 is in val here and in train in row 1",
        ),
        ("a.csv", 'path,label\n1.jpg,"a\n', r"after row 0: unexpected end of data"),
        (
            "a.csv",
            "path,label\n" + "x" * 200_000 + ",a\n",
            r"after row 0: field larger than field limit",
        ),
        ("a.jsonl", '{"path": "1.jpg"}\n', "no column of labels"),
        ("a.jsonl", '{"path": "1", "label": 1}\n{"path": 2}\n', "row 2: it names no file"),
        ("a.jsonl", '{"path": "1", "label": 1}\n{"label": 2}\n', "row 2: it names no file"),
        ("a.jsonl", '{"path": "1", "label": 1}\n\n{"path"\n', r"row 2: it is not JSON \(Expecting"),
        ("a.jsonl", '["path"]\n', "row 1: it is no JSON object"),
        ("a.jsonl", '{"path": "1", "label": {"a": 1}}\n', r"row 1: \{'a': 1\} is no class"),
        ("a.jsonl", "[" * 100_000 + "\n", "row 1: it is not JSON"),
    ],
)
def test_a_list_without_sense_is_named_with_its_row(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=rf"{name}.*{message}"):
        parts_of(tmp_path / name)


def test_a_list_in_another_encoding_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("path,label\n1.jpg,a\n2.jpg,é\n".encode("latin-1"))
    with pytest.raises(
        SourceError, match=r"after row 1: the line is not UTF-8 .*save the list as UTF-8"
    ):
        parts_of(tmp_path / "a.csv")


def test_a_line_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_room, "MAX_LINE_BYTES", 1000)
    (tmp_path / "a.jsonl").write_text('{"path": "1", "label": 1}\n' + " " * 2000)
    with pytest.raises(SourceError, match="has a line of over 1000 bytes: it is no list"):
        parts_of(tmp_path / "a.jsonl")


def test_paths_that_no_file_can_have_are_rows(tmp_path: Path) -> None:
    source = write_jsonl(
        tmp_path / "a.jsonl", *({"path": path, "label": 1} for path in ("a\0b", "\ud800.jpg", "x" * 300))
    )
    assert [(row.content, row.detail) for row in walk(source)] == [
        (Reason.UNREADABLE, "no file can have such a name"),
        (Reason.UNREADABLE, "no file can have such a name"),
        (Reason.UNREADABLE, "File name too long"),
    ]


def test_a_part_is_a_thousand_rows_found_again_by_its_place(tmp_path: Path) -> None:
    rows = [[f"é\n{number}.jpg", str(number)] for number in range(2500)]
    source = write_csv(tmp_path / "a.csv", ["path", "label"], *rows)
    parts = parts_of(source)
    assert [part.name for part in parts] == ["rows 1-1000", "rows 1001-2000", "rows 2001-2500"]
    for part, start in reversed(list(zip(parts, (0, 1000, 2000), strict=True))):
        assert [[row.key, *row.class_ids] for row in walk_part(part)] == rows[start : start + 1000]


CELLS = st.text(st.sampled_from('a1é",;| \n\r\t'), max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=12))
@settings(deadline=None, max_examples=200)
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    named = [(f"{number}-{path}".strip(), label) for number, (path, label) in enumerate(rows)]
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    source = write_csv(path, ["path", "label"], *map(list, named))
    meant = [
        (
            path,
            tuple(
                dict.fromkeys(
                    part.strip() for part in label.replace("|", ";").split(";") if part.strip()
                )
            ),
        )
        for path, label in named
    ]
    assert [(row.key, row.class_ids) for row in walk(source)] == meant


@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.tsv", "a.jsonl"]))
@settings(deadline=None, max_examples=200)
def test_any_bytes_as_a_list_end_in_rows_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    start = {"a.csv": b"path,label\n", "a.tsv": b"path\tlabel\n"}.get(
        name, b'{"path": "1", "label": 1}\n'
    )
    for whole in (content, start + content):
        path.write_bytes(whole)
        rows, message = walk_or_sentence(path)
        assert len(rows) < 300
        assert str(path) in message or not message


def test_a_list_in_a_store_names_files_beside_it_and_elsewhere(tmp_path: Path) -> None:
    from upath import UPath

    make_files(tmp_path, "here.jpg")
    store = UPath("memory://lists")
    (store / "in").mkdir(parents=True, exist_ok=True)
    (store / "in" / "1.jpg").write_bytes(b"1")
    text = (
        f"path,label\nin/1.jpg,a\nmemory://lists/in/1.jpg,b\nfile://{tmp_path}/here.jpg,c\nin/2.jpg,d\n"
    )
    (store / "a.csv").write_text(text)
    assert [row.content for row in walk("memory://lists/a.csv")] == [
        b"1",
        b"1",
        b"here.jpg",
        Reason.UNREADABLE,
    ]
