"""Class folders in one tar."""

import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_files import Row, found, gnu_tar, make_files, parts_of, tar_of, walk, walk_part

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources import folder_tars
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.sources.part import Layout


def write_tar(folder: Path, *names: str) -> Path:
    """Write a tar whose files hold their own names."""
    path = folder / "photos.tar"
    path.write_bytes(tar_of(*((name, name.encode()) for name in names)))
    return path


def labels_of(folder: Path, *names: str) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    """Return split and classes of each row of such a tar."""
    return {
        row.key: (row.split, row.class_ids) for row in walk(write_tar(folder, *names), Layout.FOLDER_TAR)
    }


@pytest.mark.parametrize(
    ("root", "words"), [("photos", ["photos"]), ("photos", ["-C", "photos", "."]), ("a/b", ["a"])]
)
@pytest.mark.parametrize("form", ["gnu", "posix", "ustar", "v7"])
def test_the_tars_of_gnu_tar_give_the_folder_of_a_file_as_its_class(
    root: str, words: list[str], form: str, tmp_path: Path
) -> None:
    make_files(tmp_path / root, "swan/1.jpg", "swan/deep/2.jpg", "duck/é.PNG", "README.md")
    gnu_tar("-C", tmp_path, f"--format={form}", "-cf", tmp_path / "some.tar", *words)
    source = tmp_path / "some.tar"
    assert open_source(str(source)).layout is Layout.FOLDER_TAR
    assert {(row.key.rpartition("/")[2], row.class_ids, row.split) for row in walk(source)} == {
        ("1.jpg", ("swan",), None),
        ("2.jpg", ("swan",), None),
        ("é.PNG", ("duck",), None),
    }
    with tarfile.open(source) as archive:
        assert {row.key for row in walk(source)} <= set(archive.getnames())


@pytest.mark.parametrize(
    ("name", "images", "classes", "splits"),
    [("photos", 120, 120, {None: 120}), ("cifar100", 9000, 100, {"train": 6000, "test": 3000})],
)
def test_real_tars_of_class_folders_are_read(
    name: str, images: int, classes: int, splits: dict[str | None, int], shared: Path
) -> None:
    source = shared / "data" / f"{name}.tar"
    if not source.exists():
        pytest.skip(f"{name}.tar is not in shared/data")
    rows = walk(source)
    assert len(rows) == images
    assert len({row.class_ids for row in rows}) == classes
    assert {split: sum(row.split == split for row in rows) for split in splits} == splits
    with tarfile.open(source) as archive:
        for row, member in zip(rows, archive, strict=True):
            stream = archive.extractfile(member)
            assert stream is not None
            assert (row.key, row.content) == (member.name, stream.read())
            assert row.class_ids == (member.name.split("/")[1],)


def test_folders_that_all_images_share_are_taken_off_but_not_a_split(tmp_path: Path) -> None:
    others = ["x/notes/3.txt", "x/about/deep/4.txt", "x/y/5.txt"]
    assert labels_of(tmp_path, "x/y/swan/1.jpg", "x/y/duck/2.jpg", *others) == {
        "x/y/swan/1.jpg": (None, ("swan",)),
        "x/y/duck/2.jpg": (None, ("duck",)),
    }
    assert labels_of(tmp_path, "x/train/swan/1.jpg", "x/train/duck/deep/2.jpg") == {
        "x/train/swan/1.jpg": ("train", ("swan",)),
        "x/train/duck/deep/2.jpg": ("train", ("duck",)),
    }


def test_folders_without_images_do_not_count_as_classes(tmp_path: Path) -> None:
    names = ["x/swan/a.txt", "x/swan/1.jpg", "x/duck/a.txt", "x/duck/1.jpg"]
    assert labels_of(tmp_path, *names, "docs/about/b.txt") == {
        name: (None, (name.split("/")[1],)) for name in names
    }


def test_a_single_class_keeps_its_folder(tmp_path: Path) -> None:
    assert labels_of(tmp_path, "photos/swan/1.jpg", "photos/swan/2.jpg") == {
        "photos/swan/1.jpg": (None, ("swan",)),
        "photos/swan/2.jpg": (None, ("swan",)),
    }


def test_a_class_may_have_the_name_of_a_split(tmp_path: Path) -> None:
    assert labels_of(tmp_path, "train/1.jpg", "car/2.jpg")["train/1.jpg"] == (None, ("train",))
    assert labels_of(tmp_path, "all/test/1.jpg", "all/bus/2.jpg")["all/test/1.jpg"] == (None, ("test",))
    assert labels_of(tmp_path, "test/1.jpg", "test/2.jpg")["test/1.jpg"] == (None, ("test",))


def test_an_image_outside_all_class_folders_is_a_row_without_class(tmp_path: Path) -> None:
    names = [
        "cover.jpg",
        "README.md",
        "train/loose.png",
        "train/list.csv",
        "train/swan/1.jpg",
        "val/swan/2.jpg",
    ]
    assert labels_of(tmp_path, *names) == {
        "cover.jpg": (None, ()),
        "train/loose.png": ("train", ()),
        "train/swan/1.jpg": ("train", ("swan",)),
        "val/swan/2.jpg": ("val", ("swan",)),
    }


def test_files_without_an_image_suffix_are_images_of_their_class(tmp_path: Path) -> None:
    names = ["swan/1", "swan/2.heic", "duck/3.jpg", "duck/Thumbs.db"]
    assert labels_of(tmp_path, *names) == {name: (None, (name.partition("/")[0],)) for name in names}
    assert labels_of(tmp_path, "x/swan/1", "x/duck/2") == {
        "x/swan/1": (None, ("swan",)),
        "x/duck/2": (None, ("duck",)),
    }


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    names = ["./a/1.jpg", "a/._2.jpg", ".git/3.jpg", "a/.cache/4.jpg", "__MACOSX/._a/5.jpg", "b/6.jpg"]
    assert set(labels_of(tmp_path, *names)) == {"./a/1.jpg", "b/6.jpg"}


def test_links_in_a_folder_tar_are_rows_with_a_reason(tmp_path: Path) -> None:
    make_files(tmp_path / "raw", "a/1.jpg", "b/2.jpg")
    (tmp_path / "raw/a/3.jpg").symlink_to("/etc/passwd")
    (tmp_path / "raw/a/4.jpg").hardlink_to(tmp_path / "raw/a/1.jpg")
    gnu_tar("-C", tmp_path / "raw", "--sort=name", "-cf", tmp_path / "links.tar", "a", "b")
    assert found(tmp_path / "links.tar") == [
        ("a/1.jpg", b"a/1.jpg"),
        ("a/3.jpg", Reason.NOT_A_FILE),
        ("a/4.jpg", Reason.NOT_A_FILE),
        ("b/2.jpg", b"b/2.jpg"),
    ]


def test_parts_are_runs_of_members_that_together_are_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_tars, "MAX_PART_MEMBERS", 4)

    names = [f"top/{'ab'[n > 5]}/{'long' * (40 * (n % 2))}{n}.jpg" for n in range(11)]
    parts = parts_of(write_tar(tmp_path, *names))
    assert [part.name for part in parts] == ["members 1-4", "members 5-8", "members 9-11"]
    assert [part.class_id for part in parts] == ["a", None, "b"]
    assert [row.key for part in parts for row in walk_part(part)] == names
    assert len({part.state for part in parts}) == 3
    assert [row.content for row in walk_part(parts[2])] == [name.encode() for name in names[8:]]


def test_a_part_is_closed_when_its_bytes_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_tars, "MAX_PART_BYTES", 5000)
    path = tmp_path / "photos.tar"
    path.write_bytes(tar_of(*((f"a/{n}.jpg", bytes(2000)) for n in range(7))))
    assert [part.name for part in parts_of(path)] == [
        "members 1-2",
        "members 3-4",
        "members 5-6",
        "members 7-7",
    ]


def test_an_archive_that_was_replaced_is_a_sentence(tmp_path: Path) -> None:
    (part,) = parts_of(write_tar(tmp_path, "a/1.jpg", "b/2.jpg"))
    (tmp_path / "photos.tar").write_bytes(b"\xaa" * 5000)
    with pytest.raises(SourceError, match=r"photos\.tar is not a whole, plain tar"):
        list(part.images())
    (tmp_path / "photos.tar").unlink()
    with pytest.raises(SourceError, match=r"photos\.tar cannot be read \(No such file or directory\)"):
        list(part.images())


def test_a_tar_of_loose_files_holds_no_classes(tmp_path: Path) -> None:
    source = write_tar(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(SourceError, match=r"photos\.tar holds no classes, but 1\.jpg, 2\.jpg"):
        parts_of(source)
    with pytest.raises(SourceError, match="the images of a class need a folder of their own in it"):
        parts_of(source, Layout.FOLDER_TAR)


FOLDERS = st.lists(st.sampled_from(["a", "b", "train", "val"]), max_size=4)


@given(st.lists(FOLDERS, min_size=1, max_size=8))
@settings(deadline=None, max_examples=300)
def test_the_class_of_a_file_is_what_the_rule_says_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, nested: list[list[str]]
) -> None:
    """The same rule again, written for reading, over all folders at once."""
    names = ["/".join([*folders, f"{number}.jpg"]) for number, folders in enumerate(nested)]
    folder = tmp_path_factory.mktemp("rule")
    within = [folders for folders in nested if folders]
    if not within:
        with pytest.raises(SourceError, match="holds no classes"):
            labels_of(folder, *names)
        return
    lead = 0
    while all(len(folders) > lead + 1 for folders in within):
        tops = {folders[lead] for folders in within}
        if len(tops) > 1 or tops & {"train", "val"}:
            break
        lead += 1
    tops = {folders[lead] for folders in within}
    is_split = tops == {"train", "val"} or (
        tops <= {"train", "val"} and all(len(folders) > lead + 1 for folders in within)
    )
    meant = {}
    for name, folders in zip(names, nested, strict=True):
        below = folders[lead:]
        split = below[0] if is_split and below else None
        rest = below[1:] if is_split else below
        meant[name] = (split, tuple(rest[:1]))
    assert labels_of(folder, *names) == meant


def test_a_folder_tar_in_a_store_is_read_like_one_on_a_disk(tmp_path: Path) -> None:
    from upath import UPath

    source = write_tar(tmp_path, "a/1.jpg", "b/2.jpg")
    UPath("memory://tars").mkdir(parents=True, exist_ok=True)
    (UPath("memory://tars") / "photos.tar").write_bytes(source.read_bytes())
    assert (
        walk("memory://tars/photos.tar")
        == walk(source)
        == [
            Row("a/1.jpg", ("a",), None, b"a/1.jpg"),
            Row("b/2.jpg", ("b",), None, b"b/2.jpg"),
        ]
    )
