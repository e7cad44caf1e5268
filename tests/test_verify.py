"""Whatever happens to a dataset is told as a row: which file, which images, how many."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

import hypernym as hn
from hypernym.cli import main
from hypernym.data.dataset import open_dataset
from hypernym.data.images import ImagePolicy, Resize
from hypernym.data.shards import INDEX_ROW, LABEL_ROW, open_index, save_index
from hypernym.errors import DatasetError
from hypernym.files import digest_files
from hypernym.preparation.duplicates import Conflicts, DuplicateRule, Duplicates
from hypernym.preparation.inspection import Difference, Kind
from hypernym.preparation.job import Preparation, Taxonomy
from hypernym.preparation.pipeline import run_preparation
from hypernym.preparation.rules import PrepareRules
from hypernym.preparation.selection import SelectionRule
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.verification import Mode, Verification, verify_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RULES = PrepareRules(
    ImagePolicy(64, Resize.SQUISH, 95, fingerprints=False),
    SelectionRule(3, 2, 0),
    DuplicateRule(Duplicates.IGNORE, Conflicts.DROP, 24),
    12_000,
)
LONG = "picture of a thing with a name that no header of a tar can hold in one piece " * 2
TABLES = ["classes.csv", "images.parquet", "rejected.parquet", "_info.json", "train.index.npy"]


def names_of(ids: Sequence[str]) -> list[str]:
    return [f"name of {class_id}" for class_id in ids]


def prepare(source: Path, folder: Path, rules: PrepareRules = RULES) -> Path:
    taxonomy = Taxonomy(names_of, lambda _: (), "none")
    run_preparation(Preparation(open_source(str(source)), folder, rules, taxonomy))
    return folder


def draw(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=90)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders; some names need more than one tar header, and one file is no image."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    for place, (class_id, number) in enumerate(product("abc", range(15))):
        name = {3: f"{LONG}{number}", 7: f"Möwe {number}"}.get(number, f"{number}")
        draw(folder / class_id / f"{name}.jpg", place)
    (folder / "a" / "note.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="session")
def pristine(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos, prepared into several shards."""
    folder = prepare(photos, tmp_path_factory.mktemp("verify") / "dataset")
    assert open_dataset(folder).card["splits"]["train"]["shards"] > 2
    return folder


@pytest.fixture(scope="session")
def with_several_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with one to three labels."""
    folder = tmp_path_factory.mktemp("several")
    lines = []
    for number in range(30):
        draw(folder / "pictures" / f"{number}.jpg", number)
        labels = [label for label, step in (("a", 1), ("b", 2), ("c", 3)) if number % step == 0]
        lines.append(json.dumps({"path": f"pictures/{number}.jpg", "labels": labels}))
    (folder / "list.jsonl").write_text("\n".join(lines))
    return prepare(folder / "list.jsonl", folder / "dataset")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the dataset, to be damaged."""
    return shutil.copytree(pristine, tmp_path / "dataset")


def seal(folder: Path) -> None:
    """Write the digests of all tables into the card."""
    card = json.loads((folder / "dataset.json").read_text())
    card["files"] = {name: digest_files(folder / name) for name in card["files"]}
    (folder / "dataset.json").write_text(json.dumps(card))


def check(folder: Path, mode: Mode = Mode.FULL, workers: int = 1) -> Verification:
    return verify_dataset(folder, mode, workers=workers)


def only(found: Verification) -> Difference:
    assert len(found.differences) == 1, found.differences
    assert not found.is_whole
    return found.differences[0]


def rows_of(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    rows = pq.read_table(folder / "images.parquet").to_pylist()
    return [row for row in rows if row["split"] == split]


def change_byte(path: Path, position: int, change: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= change
    path.write_bytes(content)


# --- nothing is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_dataset_as_it_was_written_has_no_difference(
    pristine: Path, with_several_labels: Path, mode: Mode, workers: int
) -> None:
    for folder in (pristine, with_several_labels):
        found = check(folder, mode, workers)
        assert found.differences == ()
        assert found.is_whole
        assert found.images == len(pq.read_table(folder / "images.parquet"))


def test_digests_of_all_tables_are_used_where_the_card_has_them(folder: Path) -> None:
    seal(folder)
    assert check(folder).is_whole


def test_an_empty_split_is_whole(photos: Path, tmp_path: Path) -> None:
    rules = replace(RULES, selection=SelectionRule(3, 0, 0))
    assert check(prepare(photos, tmp_path / "dataset", rules)).is_whole


def test_the_files_that_others_add_belong_there(folder: Path) -> None:
    for name in ("tree.json", "report.html"):
        (folder / name).write_text("")
    assert check(folder).differences == ()


# --- shards -------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(position=st.integers(0, 1 << 20), change=st.integers(1, 255))
def test_any_changed_byte_of_a_shard_is_found_and_that_of_an_image_named(
    pristine: Path, tmp_path_factory: pytest.TempPathFactory, position: int, change: int
) -> None:
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("changed") / "dataset")
    shard = folder / "train/000001.tar"
    position %= shard.stat().st_size
    change_byte(shard, position, change)
    difference = only(check(folder))
    assert (difference.kind, difference.path) == (Kind.CHANGED, "train/000001.tar")
    hit = [
        row["key"]
        for row in rows_of(folder)
        if row["shard"] == 1 and row["offset"] <= position < row["offset"] + row["size"]
    ]
    if hit:
        assert difference.detail == "the image is not the one that was written"
        assert list(difference.keys) == hit
    assert difference.images == (0 if "end" in difference.detail else 1)
    assert check(folder, Mode.FAST).is_whole
    shutil.rmtree(folder)


def test_all_damaged_images_of_a_shard_are_counted(folder: Path) -> None:
    rows = [row for row in rows_of(folder) if row["shard"] == 0]
    for row in rows[1:4]:
        change_byte(folder / "train/000000.tar", row["offset"] + 30)
    difference = only(check(folder))
    assert difference.images == 3
    assert difference.keys == tuple(row["key"] for row in rows[1:4])


def test_labels_that_were_exchanged_in_a_shard_are_found(
    with_several_labels: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(with_several_labels, tmp_path / "dataset")
    shard = folder / "train/000000.tar"
    content = shard.read_bytes()
    assert b'{"labels": [0, 1]}' in content
    shard.write_bytes(content.replace(b'{"labels": [0, 1]}', b'{"labels": [0, 2]}', 1))
    difference = only(check(folder))
    assert difference.detail.startswith("the image is whole, but header, label")
    assert difference.images == 1


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_shard_that_is_cut_short_says_which_images_are_lost(
    folder: Path, share: float, mode: Mode
) -> None:
    shard = folder / "train/000001.tar"
    size = shard.stat().st_size
    kept = int(share * size)
    os.truncate(shard, kept)
    difference = only(check(folder, mode))
    assert difference.detail == f"{kept:,} bytes long instead of {size:,}"
    lost = [
        row["key"] for row in rows_of(folder) if row["shard"] == 1 and row["offset"] + row["size"] > kept
    ]
    assert list(difference.keys) == lost
    assert difference.images == len(lost)


@pytest.mark.parametrize("shard", ["train/000000.tar", "train/000002.tar", "val/000000.tar"])
def test_a_shard_that_grew_by_one_record_is_found_by_its_size(folder: Path, shard: str) -> None:
    with (folder / shard).open("ab") as stream:
        stream.write(bytes(10_240))
    assert "bytes long instead of" in only(check(folder, Mode.FAST)).detail


@pytest.mark.parametrize("mode", Mode)
def test_a_missing_shard_says_how_many_images_it_held(folder: Path, mode: Mode) -> None:
    (folder / "train/000001.tar").unlink()
    difference = only(check(folder, mode, workers=2))
    assert (difference.kind, difference.path) == (Kind.MISSING, "train/000001.tar")
    assert difference.images == sum(row["shard"] == 1 for row in rows_of(folder))


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["a folder", "a pipe"])
def test_something_else_in_the_place_of_a_shard_is_told(
    folder: Path, make: Callable[[Path], None]
) -> None:
    (folder / "train/000001.tar").unlink()
    make(folder / "train/000001.tar")
    assert only(check(folder)).detail == "is no file"


def test_a_missing_split_folder_misses_all_its_shards(folder: Path) -> None:
    shutil.rmtree(folder / "train")
    found = check(folder)
    assert {each.kind for each in found.differences} == {Kind.MISSING}
    assert len(found.differences) == open_dataset(folder).card["splits"]["train"]["shards"]


def test_a_shard_that_cannot_be_looked_at_is_told_of(folder: Path) -> None:
    gone = OSError("the mount is gone")
    with patch("hypernym.preparation.verification.inspect_shard", side_effect=gone):
        found = check(folder)
    assert {each.path for each in found.differences} == {
        f"{split}/{path.name}" for split in ("train", "val") for path in (folder / split).iterdir()
    }
    assert "the mount is gone" in found.differences[0].detail
    assert not found.is_whole


# --- tables -------------------------------------------------------------------------------------


def put_a_folder_there(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut short": lambda path: os.truncate(path, path.stat().st_size * 2 // 3),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "garbage": lambda path: path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size)),
    "other JSON": lambda path: path.write_text('[{"splits": 3}]'),
    "a folder": put_a_folder_there,
}


@pytest.mark.parametrize("sealed", [False, True], ids=["", "with digests"])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_told_and_the_shards_are_still_read(
    folder: Path, name: str, damage: str, *, sealed: bool
) -> None:
    if sealed:
        seal(folder)
    DAMAGES[damage](folder / name)
    image = open_index(folder / "val.index.npy")[0]
    key = f"byte {image['offset']}" if name == "images.parquet" else rows_of(folder, "val")[0]["key"]
    change_byte(folder / "val/000000.tar", int(image["offset"]) + 20)
    found = check(folder)
    assert not found.is_whole
    paths = Counter(each.path for each in found.differences)
    if not sealed:  # one digest of several tables
        del paths["dataset.json"]
    assert paths == {name: 1, "val/000000.tar": 1}
    shard = next(each for each in found.differences if each.path == "val/000000.tar")
    assert shard.keys == (key,)


def test_with_neither_table_nor_index_missing_shards_are_still_told(folder: Path) -> None:
    for name in ("images.parquet", "train.index.npy"):
        (folder / name).unlink()
    (folder / "train/000001.tar").unlink()
    found = {(each.path, each.kind) for each in check(folder).differences}
    assert found == {
        (name, Kind.MISSING) for name in ("images.parquet", "train.index.npy", "train/000001.tar")
    }


def test_a_changed_row_of_an_index_is_named_by_its_image(folder: Path) -> None:
    path = folder / "train.index.npy"
    rows = np.array(open_index(path))
    rows["label"][4] += 1
    rows["offset"][5] += 1
    save_index(path, rows)
    seal(folder)
    found = {each.path: each for each in check(folder).differences}
    assert set(found) == {"train.index.npy", "dataset.json"}
    keys = tuple(row["key"] for row in rows_of(folder)[4:6])
    assert found["train.index.npy"].keys == keys
    assert found["train.index.npy"].images == 2


def test_an_index_of_other_rows_or_of_too_few_is_told(folder: Path) -> None:
    for rows in (np.empty(3, INDEX_ROW), np.empty(3, LABEL_ROW)):
        save_index(folder / "val.index.npy", rows)
        found = {each.path for each in check(folder).differences}
        assert "val.index.npy" in found


def test_a_changed_row_of_the_labels_is_told_by_its_shard(
    with_several_labels: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(with_several_labels, tmp_path / "dataset")
    path = folder / "train.labels.npy"
    rows = np.array(open_index(path, LABEL_ROW))
    rows["label"][-1] = (rows["label"][-1] + 1) % 3
    save_index(path, rows)
    assert only(check(folder)).detail == "is not the file that was written"
    seal(folder)
    last = open_dataset(folder).card["splits"]["train"]["shards"] - 1
    assert f"labels of train/{last:06d}.tar" in only(check(folder)).detail


def test_a_class_table_with_other_classes_or_counts_is_told(folder: Path) -> None:
    seal_free = (folder / "classes.csv").read_text()
    for old, new in (("1,b,", "1,B,"), (",13,2,0", ",12,3,0")):
        assert old in seal_free
        (folder / "classes.csv").write_text(seal_free.replace(old, new, 1))
        assert {each.path for each in check(folder).differences} & {"classes.csv", "dataset.json"}


def test_tables_that_say_other_than_the_card_are_told(folder: Path) -> None:
    card = json.loads((folder / "dataset.json").read_text())
    card["images_rejected"]["not an image"] += 1
    (folder / "dataset.json").write_text(json.dumps(card))
    assert only(check(folder)).path == "rejected.parquet"


def test_a_list_for_timm_that_leaves_a_shard_out_is_told(folder: Path) -> None:
    info = json.loads((folder / "_info.json").read_text())
    info["splits"]["train"]["filenames"].pop()
    (folder / "_info.json").write_text(json.dumps(info))
    assert only(check(folder)).path == "_info.json"


@settings(max_examples=60)
@given(position=st.integers(0, 1 << 20), change=st.integers(1, 255), sealed=st.booleans())
@example(position=58, change=32, sealed=False)  # a key that is not UTF-8 any more
def test_no_changed_byte_of_the_table_of_images_ends_the_work(
    pristine: Path,
    tmp_path_factory: pytest.TempPathFactory,
    position: int,
    change: int,
    *,
    sealed: bool,
) -> None:
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("parquet") / "dataset")
    if sealed:
        seal(folder)
    path = folder / "images.parquet"
    change_byte(path, position % path.stat().st_size, change)
    found = check(folder)
    if sealed:
        assert only(found).path == "images.parquet"
    shutil.rmtree(folder)


# --- strangers ----------------------------------------------------------------------------------


def test_a_strange_file_between_the_shards_is_an_error_and_one_beside_them_is_not(folder: Path) -> None:
    (folder / "run").mkdir()
    found = check(folder)
    assert [(each.kind, each.path) for each in found.differences] == [(Kind.EXTRA, "run")]
    assert found.is_whole
    shutil.copy(folder / "train/000000.tar", folder / "train/000099.tar")
    found = check(folder)
    assert (Kind.EXTRA, "train/000099.tar") in {(each.kind, each.path) for each in found.differences}
    assert not found.is_whole


# --- the card -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "has no dataset.json"),
        ("", "cannot be read as JSON"),
        ("[]", "is not a hypernym dataset file"),
        ('{"format": "hypernym.dataset", "version": 2}', "is damaged (splits, several_labels"),
    ],
)
def test_without_a_card_nothing_can_be_said(folder: Path, content: str | None, sentence: str) -> None:
    (folder / "dataset.json").unlink()
    if content is not None:
        (folder / "dataset.json").write_text(content)
    with pytest.raises(DatasetError) as caught:
        check(folder)
    assert sentence in str(caught.value)


# --- two datasets -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same photos: another seed, some under other names, a class less and one more."""
    folder = tmp_path_factory.mktemp("other")
    source = shutil.copytree(photos, folder / "photos")
    shutil.rmtree(source / "c")
    for path in [*(source / "a").iterdir()][:6]:
        path.rename(path.with_name(f"renamed {path.name}"))
    for number in range(5):
        draw(source / "d" / f"{number}.jpg", 1000 + number)
    rules = replace(RULES, selection=SelectionRule(3, 4, 1))
    return prepare(source, folder / "dataset", rules)


@pytest.mark.parametrize(("column", "field"), [("source", "by_source"), ("source_sha256", "by_file")])
def test_two_datasets_are_compared_image_by_image(
    pristine: Path, other: Path, column: str, field: str
) -> None:
    here, there = (pq.read_table(folder / "images.parquet").to_pylist() for folder in (pristine, other))
    split_there = {row[column]: row["split"] for row in there}
    pairs = Counter(
        (row["split"], split_there[row[column]]) for row in here if row[column] in split_there
    )
    report = hn.verify(pristine, against=(other,))
    (overlap,) = report.overlaps
    found = getattr(overlap, field)
    told = {(a, b): count for a, row in found.by_split.items() for b, count in row.items() if count}
    assert told == pairs
    assert pairs["train", "val"]
    assert pairs["val", "train"]
    assert found.shared == pairs.total()
    assert found.only_here == len(here) - found.shared
    assert found.only_there == len(there) - len({row[column] for row in here} & set(split_there))
    assert found.leaked == pairs["train", "val"] + pairs["val", "train"]
    name_there = {row[column]: row["source"] for row in there}
    leaks = {
        (row["split"], row["source"], split_there[row[column]], name_there[row[column]])
        for row in here
        if row[column] in split_there and row["split"] != split_there[row[column]]
    }
    assert {
        (leak.split, leak.source, leak.other_split, leak.other_source) for leak in found.leaks
    } == leaks
    assert report.exit_code == 1


def test_a_file_under_another_name_is_found_by_its_digest(pristine: Path, other: Path) -> None:
    (overlap,) = hn.verify(pristine, against=(other,)).overlaps
    assert overlap.by_file.shared > overlap.by_source.shared


def test_classes_that_only_one_has_are_named(pristine: Path, other: Path) -> None:
    (overlap,) = hn.verify(pristine, against=(other,)).overlaps
    assert overlap.classes_shared == 2
    assert overlap.classes_only_here == ("c",)
    assert overlap.classes_only_there == ("d",)


def test_a_dataset_does_not_leak_into_itself(pristine: Path) -> None:
    report = hn.verify(pristine, against=(pristine,))
    assert report.exit_code == 0
    assert report.overlaps[0].by_file.shared == report.images


def test_a_damaged_dataset_is_told_of_and_not_compared(folder: Path, pristine: Path) -> None:
    os.truncate(folder / "images.parquet", 1000)
    report = hn.verify(folder, against=(pristine,))
    assert report.overlaps == ()
    assert "it was not compared" in str(report)
    assert report.exit_code == 1
    with pytest.raises(DatasetError, match=r"images\.parquet cannot be read"):
        hn.verify(pristine, against=(folder,))


# --- the command --------------------------------------------------------------------------------


def test_the_command_says_that_all_is_well_with_exit_code_0(
    pristine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(pristine), "--workers", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "is as it was written: 45 images in" in lines[0]
    assert "--mode full" in lines[-1]


def test_the_command_names_what_differs_with_exit_code_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "train/000000.tar").unlink()
    rows = [row for row in rows_of(folder) if row["shard"] == 1]
    for row in rows:
        change_byte(folder / "train/000001.tar", row["offset"] + 20)
    words = ["verify", str(folder), "--mode", "full", "--workers", "1"]
    assert main(words) == 1
    text = capsys.readouterr().out
    assert "1 missing, 1 changed" in text
    assert f"changed  train/000001.tar  {len(rows)} images  the image is not" in text
    assert rows[4]["key"] in text
    assert f"and {len(rows) - 5} more" in text
    assert main([*words, "--limit", "1"]) == 1
    text = capsys.readouterr().out
    assert "train/000001.tar" not in text
    assert "... and 1 more (--limit 0 shows all)" in text
    assert main([*words, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["is_whole"] is False
    assert [each["kind"] for each in document["differences"]] == ["missing", "changed"]


def test_the_command_shows_a_leak(
    pristine: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(pristine), "--against", str(other), "--workers", "1"]) == 1
    text = capsys.readouterr().out
    assert "LEAK: " in text
    assert "train here, val there" in text
    assert "classes only in dataset: 1 (c)" in text
