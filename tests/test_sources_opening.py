"""The front door: which layout is seen, and what is said where none is."""

import gzip
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_files import make_files, parts_of, photo, tar_of

from hypernym.errors import SourceError, UsageError
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.sources.part import Layout

CLASS_TAR = tar_of(("1.JPEG", b"1"))
SHARD = tar_of(("1.jpg", photo()), ("1.cls", b"a"))


def write_parquet(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [photo()], "label": ["a"]}), path)


def make(folder: Path, *names: str) -> Path:
    """Make a source of files whose content their names ask for."""
    for name in names:
        path = folder / name
        if name.endswith(".parquet"):
            write_parquet(path)
            continue
        make_files(folder, name)
        if name.endswith(".tar"):
            path.write_bytes(SHARD if "shard" in name else CLASS_TAR)
    return folder


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["swan/1.jpg", "README.md", "labels.csv"], Layout.CLASS_FOLDERS),
        (["train/swan/1.jpg", "val/swan/1.jpg"], Layout.CLASS_FOLDERS),
        (["data/1.jpg", "train/2.jpg"], Layout.CLASS_FOLDERS),
        (["swan.tar", "duck.tar", "README.md"], Layout.CLASS_TARS),
        (["train/swan.tar", "val/swan.tar"], Layout.CLASS_TARS),
        (["shard-0.tar", "_info.json"], Layout.WEBDATASET),
        (["train/shard-0.tar", "val/shard-0.tar"], Layout.WEBDATASET),
        (["dataset.json", "train/0.tar", "swan/1.jpg"], Layout.WEBDATASET),
        (["train-00000-of-00001.parquet", "README.md"], Layout.PARQUET),
        (["data/train-00000-of-00001.parquet"], Layout.PARQUET),
        (["train/0.parquet", "test/0.parquet"], Layout.PARQUET),
    ],
)
def test_the_layout_of_a_folder_is_seen(names: list[str], layout: Layout, tmp_path: Path) -> None:
    assert open_source(str(make(tmp_path, *names))).layout is layout


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["swan/1.jpg", "backup.tar"], "tars and folders"),
        (["swan/1.jpg", "0.parquet"], "Parquet files and folders"),
        (["swan.tar", "0.parquet"], "tars and Parquet files"),
        (["train/swan.tar", "other/1.jpg"], "tars and folders"),
    ],
)
def test_a_folder_of_two_layouts_is_refused_until_one_is_stated(
    names: list[str], found: str, tmp_path: Path
) -> None:
    make(tmp_path, *names)
    with pytest.raises(SourceError, match=f"holds {found}: say which of them is meant by --layout"):
        open_source(str(tmp_path))
    if "folders" in found and names[0] == "swan/1.jpg":
        parts = parts_of(tmp_path, Layout.CLASS_FOLDERS)
        assert [part.name for part in parts] == ["swan"]


@pytest.mark.parametrize(
    "names",
    [
        ["plain_text/train-00000-of-00001.parquet", "README.md"],
        ["default/train/0000.parquet", "default/test/0000.parquet"],
        ["large/train/0.parquet", "small/train/0.parquet"],
    ],
)
def test_a_folder_of_configurations_of_the_hub_says_which_folder_to_give(
    names: list[str], tmp_path: Path
) -> None:
    make(tmp_path, *names)
    inner = tmp_path / names[0].split("/")[0]
    with pytest.raises(SourceError, match=f"give one of these folders, as {inner}"):
        open_source(str(tmp_path))
    assert open_source(str(inner)).layout is Layout.PARQUET


def test_tables_beside_the_images_of_classes_make_no_configurations_of_them(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.jpg", "cat/meta.parquet", "dog/1.jpg")
    assert open_source(str(tmp_path)).layout is Layout.CLASS_FOLDERS


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        (tar_of(("swan.tar", CLASS_TAR)), Layout.TAR_OF_CLASS_TARS),
        (tar_of(("README", b""), ("x/swan.tar", CLASS_TAR), ("x/1.jpg", b"")), Layout.TAR_OF_CLASS_TARS),
        (gzip.compress(tar_of(("swan.tar", CLASS_TAR)), mtime=0), Layout.GZIP_TAR_OF_CLASS_TARS),
        (tar_of(("README", b""), ("swan/1.jpg", b"1")), Layout.FOLDER_TAR),
        (tar_of(("swan/1.jpg", b"1"), ("swan/1.xml", b"box")), Layout.FOLDER_TAR),
        (SHARD, Layout.WEBDATASET),
        (tar_of(("x/1.json", b"{}"), ("x/1.jpg", b"1")), Layout.WEBDATASET),
    ],
)
def test_the_layout_of_a_file_is_seen_whatever_its_name(
    content: bytes, layout: Layout, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(content)
    assert open_source(str(tmp_path / "source")).layout is layout


@pytest.mark.parametrize("name", ["a.csv", "A.TSV", "a.jsonl"])
def test_a_list_is_seen_by_its_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert open_source(str(tmp_path / name)).layout is Layout.LIST


def make_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("swan/1.jpg", b"1")


def make_html(path: Path) -> None:
    path.write_text("<html>" * 200)


def make_loose(path: Path) -> None:
    path.write_bytes(tar_of(("1.jpg", b"1"), ("2.jpg", b"2"), ("3.jpg", b""), ("4.jpg", b"")))


def make_csv_alone(path: Path) -> None:
    make_files(path, "labels.csv", "photos.zip")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda _: None, r"does not exist: give a folder .*class-folders, folder-tar, .*, list"),
        (Path.touch, "is not a whole, plain tar archive .*get it anew"),
        (make_html, "is not a whole, plain tar archive .*get it anew"),
        (make_zip, "is packed by zip, which is not read: unpack it first"),
        (make_loose, r"holds no classes, but 1\.jpg, 2\.jpg, 3\.jpg \.\.\.\. A source is a folder or"),
        (make_csv_alone, r"holds no classes, but labels\.csv, photos\.zip\. A source"),
        (Path.mkdir, r"holds no classes, but nothing\. A source is"),
        (lambda path: path.write_bytes(tar_of()), r"holds no classes, but nothing\."),
    ],
)
def test_what_is_no_source_is_named_with_what_to_give(
    build: object, message: str, tmp_path: Path
) -> None:
    assert callable(build)
    build(tmp_path / "source")
    with pytest.raises(SourceError, match=f"{tmp_path}/source {message}"):
        open_source(str(tmp_path / "source"))


@pytest.mark.parametrize("name", ["pipe", "a.csv", "tars/swan.tar", "tables/0.parquet", "tables/0.tar"])
def test_a_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    source = (tmp_path / name).parent if "/" in name else tmp_path / name
    with pytest.raises(SourceError, match=rf"{name} is not a regular file"):
        parts_of(source)


@pytest.mark.skipif(os.getuid() == 0, reason="the administrator may read everything")
def test_a_folder_that_may_not_be_read_is_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0)
    with pytest.raises(SourceError, match=r"Permission denied"):
        open_source(str(tmp_path))


def test_a_stated_layout_wins_over_looking(tmp_path: Path) -> None:
    (tmp_path / "swan.tar").write_bytes(SHARD)
    assert open_source(str(tmp_path)).layout is Layout.WEBDATASET
    (part,) = parts_of(tmp_path, Layout.CLASS_TARS)
    assert (part.class_id, [image.key for image in part.images()]) == (
        "swan",
        ["swan/1.jpg", "swan/1.cls"],
    )


@pytest.mark.parametrize(
    ("layout", "address"),
    [(Layout.CLASS_FOLDERS, "a.csv"), (Layout.TAR_OF_CLASS_TARS, "folder"), (Layout.PARQUET, "a.csv")],
)
def test_a_stated_layout_that_is_not_there_is_a_sentence(
    layout: Layout, address: str, tmp_path: Path
) -> None:
    make_files(tmp_path, "a.csv", "folder/1.jpg")
    with pytest.raises(SourceError, match=address.replace(".", r"\.")):
        parts_of(tmp_path / address, layout)


def test_columns_are_refused_where_there_are_none(tmp_path: Path) -> None:
    make_files(tmp_path, "swan/1.jpg")
    for role in ("image", "label", "split"):
        with pytest.raises(UsageError, match=f"layout class-folders, which has no {role} column"):
            parts_of(tmp_path, **{f"{role}_column": "x"})
    (tmp_path / "0.tar").write_bytes(SHARD)
    with pytest.raises(UsageError, match="which has no image column"):
        parts_of(tmp_path / "0.tar", image_column="png")


def test_the_state_of_a_source_tells_it_from_another(tmp_path: Path) -> None:
    make_files(tmp_path, "folder/swan/1.jpg")
    (tmp_path / "a.csv").write_text("path,label\n")
    assert open_source(str(tmp_path / "folder")).state == {
        "name": "folder",
        "size": None,
        "layout": "class-folders",
    }
    opened = open_source(f"file://{tmp_path}/folder/../a.csv", label_column="label")
    assert opened.state == {"name": "a.csv", "size": 11, "layout": "list", "label column": "label"}
    assert not opened.is_stream


def test_the_parts_of_a_source_are_looked_for_once(tmp_path: Path) -> None:
    make_files(tmp_path, "swan/1.jpg")
    opened = open_source(str(tmp_path))
    first = list(opened.find_parts())
    make_files(tmp_path, "duck/1.jpg")
    assert list(opened.find_parts()) == first
    assert len(parts_of(tmp_path)) == 2


def test_an_address_of_an_unknown_kind_is_named() -> None:
    with pytest.raises(SourceError, match=r"nowhere://x cannot be opened .*install the package"):
        open_source("nowhere://x")
    with pytest.raises(SourceError, match=r"memory://nothing does not exist"):
        open_source("memory://nothing")


def test_local_sources_do_not_import_fsspec(tmp_path: Path) -> None:
    make_files(tmp_path, "swan/1.jpg")
    code = (
        "import sys; from hypernym.preparation.sources.opening import open_source\n"
        f"for address in ({str(tmp_path)!r}, 'file://' + {str(tmp_path)!r}):\n"
        "    parts = list(open_source(address).find_parts())\n"
        "    assert [image.read() for part in parts for image in part.images()]\n"
        "print(sorted({'fsspec', 'upath', 'torch', 'datasets'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout == "[]\n"
