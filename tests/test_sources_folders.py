"""Class folders, on this machine and behind fsspec."""

import os
import subprocess
from pathlib import Path

import pytest
from source_files import MANY, Row, found, make_files, parts_of, walk

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources import part as part_room
from hypernym.preparation.sources.part import Layout


def test_a_class_folder_gives_its_files_also_those_further_down_in_byte_order(tmp_path: Path) -> None:
    names = ["b/2.jpg", "b/10.jpg", "b/B.jpg", "b/a.jpg", "b/deep/er/1.jpg", "a/é.jpg", "a/z.jpg"]
    make_files(tmp_path, *names)
    in_order = ["a/z.jpg", "a/é.jpg", "b/10.jpg", "b/2.jpg", "b/B.jpg", "b/a.jpg", "b/deep/er/1.jpg"]
    assert [part.name for part in parts_of(tmp_path)] == ["a", "b"]
    assert found(tmp_path) == [(name, name.encode()) for name in in_order]


def test_subfolders_are_walked_in_byte_order(tmp_path: Path) -> None:
    make_files(tmp_path, *(f"a/{name}/1.jpg" for name in ("é", "z", "a", "B", "10", "9")))
    assert [key for key, _ in found(tmp_path)] == [
        f"a/{name}/1.jpg" for name in ("10", "9", "B", "a", "z", "é")
    ]


def test_hidden_files_and_hidden_class_folders_are_skipped(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg", "a/.DS_Store", "a/deep/.hidden.jpg", ".git/1.jpg", "loose.jpg")
    assert found(tmp_path) == [("a/1.jpg", b"a/1.jpg")]


def test_hidden_folders_within_a_class_are_skipped(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg", "a/.thumbnails/1.jpg", "a/deep/.cache/er/1.jpg")
    assert found(tmp_path) == [("a/1.jpg", b"a/1.jpg")]


def test_what_is_no_file_in_a_class_folder_is_a_row_with_a_reason(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg")
    os.mkfifo(tmp_path / "a/2-pipe.jpg")
    (tmp_path / "a/3-nowhere.jpg").symlink_to(tmp_path / "absent")
    (tmp_path / "a/4-itself.jpg").symlink_to(tmp_path / "a/4-itself.jpg")
    assert found(tmp_path)[1:] == [
        ("a/2-pipe.jpg", Reason.NOT_A_FILE),
        ("a/3-nowhere.jpg", Reason.NOT_A_FILE),
        ("a/4-itself.jpg", Reason.NOT_A_FILE),
    ]


def test_a_link_to_a_file_is_read_and_one_to_a_folder_is_a_row(tmp_path: Path) -> None:
    make_files(tmp_path, "elsewhere/x.jpg", "source/a/1.jpg")
    (tmp_path / "source/a/2.jpg").symlink_to(tmp_path / "elsewhere/x.jpg")
    (tmp_path / "source/a/3").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "source/a/4").symlink_to(tmp_path / "source")  # round in circles
    assert found(tmp_path / "source") == [
        ("a/1.jpg", b"source/a/1.jpg"),
        ("a/2.jpg", b"elsewhere/x.jpg"),
        ("a/3", Reason.NOT_A_FILE),
        ("a/4", Reason.NOT_A_FILE),
    ]


def test_a_class_folder_may_be_a_link(tmp_path: Path) -> None:
    make_files(tmp_path, "all/swan/1.jpg", "all/duck/1.jpg")
    (tmp_path / "subset").mkdir()
    (tmp_path / "subset/swan").symlink_to(tmp_path / "all/swan")
    assert found(tmp_path / "subset") == [("swan/1.jpg", b"all/swan/1.jpg")]


def test_a_file_name_that_is_not_utf8_becomes_a_key_that_is(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg")
    (tmp_path / "a" / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(b"latin")
    (tmp_path / os.fsdecode(b"\xe9t\xe9")).mkdir()
    (tmp_path / os.fsdecode(b"\xe9t\xe9") / "2.jpg").write_bytes(b"summer")
    assert sorted(found(tmp_path)) == [
        (r"\xe9t\xe9/2.jpg", b"summer"),
        ("a/1.jpg", b"a/1.jpg"),
        (r"a/\xff\xfe.jpg", b"latin"),
    ]


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg")
    os.truncate(tmp_path / "a/1.jpg", part_room.MAX_FILE_BYTES + 1)
    assert found(tmp_path) == [("a/1.jpg", Reason.TOO_LARGE)]


def test_a_folder_of_very_many_levels_is_walked_to_its_end(tmp_path: Path) -> None:
    deep = tmp_path / "source"
    for _ in range(1200):  # deeper than Python's own calls may go
        deep.mkdir()
        deep /= "a"
    (deep.parent / "1.jpg").write_bytes(b"deep")
    try:
        assert [content for _, content in found(tmp_path / "source")] == [b"deep"]
    finally:  # pytest would not get to the bottom of it
        subprocess.run(["rm", "-r", tmp_path / "source"], check=True)  # noqa: S607


@pytest.mark.parametrize("splits", [("train", "val"), ("Train", "test", "validation"), ("train",)])
def test_class_folders_within_splits_state_the_split(splits: tuple[str, ...], tmp_path: Path) -> None:
    make_files(tmp_path, *(f"{split}/{name}/1.jpg" for split in splits for name in ("swan", "duck")))
    meant = {"Train": "train", "validation": "val"}
    assert walk(tmp_path) == [
        Row(f"{split}/{name}/1.jpg", (name,), meant.get(split, split), f"{split}/{name}/1.jpg".encode())
        for split in splits
        for name in ("duck", "swan")
    ]


def test_train_and_val_are_splits_even_if_files_lie_between_the_class_folders(tmp_path: Path) -> None:
    make_files(tmp_path, "train/swan/1.jpg", "train/list.txt", "val/swan/2.jpg")
    assert [(row.class_ids, row.split) for row in walk(tmp_path)] == [
        (("swan",), "train"),
        (("swan",), "val"),
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("train/1.jpg", "car/1.jpg"),
        ("test/1.jpg",),
        ("train/1.jpg", "train/sub/2.jpg"),
        ("test/sub/1.jpg", "test/2.jpg"),
        ("val/1.jpg", "bus/a/1.jpg"),
    ],
)
def test_a_class_may_have_the_name_of_a_split(names: tuple[str, ...], tmp_path: Path) -> None:
    make_files(tmp_path, *names)
    assert {(row.class_ids, row.split) for row in walk(tmp_path)} == {
        ((name.partition("/")[0],), None) for name in names
    }


def test_the_state_of_a_part_tells_what_was_added_or_renamed_or_taken_away(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg", "a/deep/2.jpg", "b/1.jpg")

    def states() -> dict[str, str]:
        return {part.name: part.state for part in parts_of(tmp_path)}

    first = states()
    assert states() == first
    make_files(tmp_path, "a/deep/3.jpg")
    added = states()
    (tmp_path / "a/deep/3.jpg").rename(tmp_path / "a/deep/4.jpg")
    renamed = states()
    (tmp_path / "a/deep/4.jpg").unlink()
    assert len({first["a"], added["a"], renamed["a"], states()["a"]}) == 4
    assert first["b"] == states()["b"]


def test_a_class_folder_that_vanishes_is_a_sentence(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg")
    (part,) = parts_of(tmp_path)
    (tmp_path / "a/1.jpg").unlink()
    (tmp_path / "a").rmdir()
    with pytest.raises(SourceError, match=r"/a cannot be listed \(No such file or directory\)"):
        list(part.images())


@pytest.mark.parametrize("names", [(), ("1.jpg", "2.jpg"), (".hidden/1.jpg",)])
def test_a_folder_without_class_folders_holds_no_classes(names: tuple[str, ...], tmp_path: Path) -> None:
    make_files(tmp_path, *names)
    with pytest.raises(SourceError, match="holds no classes"):
        parts_of(tmp_path)
    with pytest.raises(SourceError, match="holds no classes: a folder needs one folder of images for"):
        parts_of(tmp_path, Layout.CLASS_FOLDERS)


def test_splits_without_class_folders_hold_no_classes(tmp_path: Path) -> None:
    make_files(tmp_path, "train/1.jpg", "test/2.jpg")
    with pytest.raises(SourceError, match="holds no classes"):
        parts_of(tmp_path)


def test_a_folder_that_a_store_lists_within_itself_is_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    from upath import UPath

    store = UPath("memory://marked/swan")
    store.mkdir(parents=True, exist_ok=True)
    (store / "1.jpg").write_bytes(b"1")
    list_as_before = store.fs.ls

    def list_with_marker(path: str, **options: bool) -> list[dict[str, object]]:
        return [{"name": f"{path}/", "type": "directory", "size": 0}, *list_as_before(path, **options)]

    monkeypatch.setattr(type(store.fs), "ls", staticmethod(list_with_marker))
    assert found("memory://marked") == [("swan/1.jpg", b"1")]


def test_class_folders_in_a_store_are_walked_like_those_on_a_disk(tmp_path: Path) -> None:
    from upath import UPath

    names = ["train/swan/1.jpg", "train/swan/deep/2.jpg", "train/duck/#1 %20?.jpg", "val/swan/3.jpg"]
    make_files(tmp_path, *names, "train/swan/.hidden")
    store = UPath("memory://folders")
    for name in (*names, "train/swan/.hidden"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(name.encode())
    assert walk("memory://folders") == walk(tmp_path) == walk(f"file://{tmp_path}")
    assert len(walk(tmp_path)) == 4 < MANY
    first = [part.state for part in parts_of("memory://folders")]
    (store / "val/swan/4.jpg").write_bytes(b"4")
    assert [part.state for part in parts_of("memory://folders")] != first
