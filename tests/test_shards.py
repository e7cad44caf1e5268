import io
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hypernym.data import shards
from hypernym.data.dataset import Dataset
from hypernym.data.shards import (
    INDEX_ROW,
    Sample,
    ShardReader,
    open_index,
    sample_key,
    save_index,
    shard_name,
    write_shard,
)
from hypernym.errors import DatasetError
from hypernym.preparation.job import Preparation, Taxonomy
from hypernym.preparation.pipeline import run_preparation
from hypernym.preparation.rules import Recipe, make_rules
from hypernym.preparation.selection import SelectionRule
from hypernym.preparation.sources.opening import open_source

webdataset_leaves_files_open = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

LONG = "n02084071/" + "long-name-" * 15

SAMPLES = [
    Sample("n1/swan_1", b"\xff\xd8 one", (0,)),
    Sample("n1/é", b"", (7,)),
    Sample("n2/deep/er", bytes(range(256)) * 5, (12_345,)),
    Sample(LONG, b"x" * 512, (1,)),
]


def write_samples(folder: Path, samples: list[Sample]) -> Path:
    path = folder / shard_name(3)
    save_index(folder / "train.index.npy", write_shard(path, 3, samples, several=False))
    return path


def read_with_webdataset(*shards: Path) -> list[Sample]:
    urls = [str(shard) for shard in shards]
    samples = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)
    return [Sample(found["__key__"], found["jpg"], (int(found["cls"]),)) for found in samples]


# --- one shard ----------------------------------------------------------------------------------


@webdataset_leaves_files_open
def test_webdataset_reads_back_the_samples_that_were_written(tmp_path: Path) -> None:
    assert read_with_webdataset(write_samples(tmp_path, SAMPLES)) == SAMPLES


def test_tar_programs_see_plain_files_without_owner_or_time(tmp_path: Path) -> None:
    with tarfile.open(write_samples(tmp_path, SAMPLES)) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == [
        f"{sample.key}.{extension}" for sample in SAMPLES for extension in ("jpg", "cls")
    ]
    for member in members:
        assert member.isreg()
        assert (member.mode, member.uid, member.gid, member.mtime) == (0o644, 0, 0, 0)
        assert (member.uname, member.gname) == ("", "")


def test_a_shard_is_as_long_as_a_tar_must_be(tmp_path: Path) -> None:
    content = write_samples(tmp_path, SAMPLES).read_bytes()
    assert len(content) % tarfile.RECORDSIZE == 0
    assert content.endswith(bytes(1024))


def test_index_rows_point_at_the_jpeg_bytes(tmp_path: Path) -> None:
    content = write_samples(tmp_path, SAMPLES).read_bytes()
    rows = open_index(tmp_path / "train.index.npy")
    assert rows.dtype.itemsize == 24
    for row, sample in zip(rows, SAMPLES, strict=True):
        assert content[row["offset"] : row["offset"] + row["size"]] == sample.jpeg
        assert (row["shard"], row["label"]) == (3, sample.labels[0])
        assert row["crc32"] == zlib.crc32(sample.jpeg)


def test_the_reader_gives_any_image_in_any_order(tmp_path: Path) -> None:
    write_samples(tmp_path, SAMPLES)
    rows, reader = open_index(tmp_path / "train.index.npy"), ShardReader(tmp_path)
    for place in (2, 0, 3, 1, 2):
        assert reader.read(rows[place]) == SAMPLES[place].jpeg


def test_a_reader_of_many_shards_holds_few_of_them_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MAX_OPEN", 2)
    rows = [
        write_shard(tmp_path / shard_name(number), number, SAMPLES[number : number + 1], several=False)[
            0
        ]
        for number in range(4)
    ]
    reader = ShardReader(tmp_path)
    for number in (0, 1, 2, 3, 0, 2, 1, 1, 3):
        assert reader.read(rows[number]) == SAMPLES[number].jpeg
        held = [link for link in Path("/proc/self/fd").iterdir() if opens(link, tmp_path)]
        assert len(held) <= 2


def opens(link: Path, folder: Path) -> bool:
    return link.is_symlink() and link.readlink().is_relative_to(folder)


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_samples(tmp_path, SAMPLES).read_bytes()
    assert write_samples(tmp_path, SAMPLES).read_bytes() == first


def test_an_empty_split_has_an_index_without_rows(tmp_path: Path) -> None:
    save_index(tmp_path / "val.index.npy", np.empty(0, INDEX_ROW))
    assert len(open_index(tmp_path / "val.index.npy")) == 0


# --- damage -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 2), st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_of_an_image_is_noticed_and_the_shard_named(
    tmp_path_factory: pytest.TempPathFactory, place: int, position: int, change: int
) -> None:
    samples = [sample for sample in SAMPLES if sample.jpeg]
    path = write_samples(tmp_path_factory.mktemp("shards"), samples)
    rows = open_index(path.parent / "train.index.npy")
    content = bytearray(path.read_bytes())
    content[int(rows[place]["offset"]) + position % int(rows[place]["size"])] ^= change
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{path} is damaged at byte {rows[place]['offset']}"):
        ShardReader(path.parent).read(rows[place])
    others = [number for number in range(len(samples)) if number != place]
    for number in others:
        assert ShardReader(path.parent).read(rows[number]) == samples[number].jpeg


def test_a_shard_that_is_cut_short_or_missing_is_named(tmp_path: Path) -> None:
    path = write_samples(tmp_path, SAMPLES)
    rows = open_index(tmp_path / "train.index.npy")
    path.write_bytes(path.read_bytes()[: int(rows[2]["offset"]) + 5])
    with pytest.raises(DatasetError, match=rf"{path} is damaged"):
        ShardReader(tmp_path).read(rows[2])
    path.unlink()
    with pytest.raises(DatasetError, match=rf"{path} cannot be read"):
        ShardReader(tmp_path).read(rows[2])


@pytest.mark.parametrize("content", [None, b"", b"no index", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_index_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "train.index.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"train\.index\.npy"):
        open_index(path)


def test_an_array_of_other_rows_is_no_index(tmp_path: Path) -> None:
    path = tmp_path / "train.index.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(DatasetError, match=r"train\.index\.npy is not an index of version 1"):
        open_index(path)


# --- keys ---------------------------------------------------------------------------------------


@webdataset_leaves_files_open
@pytest.mark.parametrize(
    "key",
    ["../..", "./.", "n1/", "a\nb/c.jpg", "a/b\nc.jpg", "a/b\0c.jpg", "a\0b/c.jpg", "__a__/b.jpg"],
    ids=repr,
)
def test_a_reader_takes_even_hostile_keys_whole(key: str, tmp_path: Path) -> None:
    samples = [Sample(sample_key(key), b"jpeg", (1,))]
    assert read_with_webdataset(write_samples(tmp_path, samples)) == samples


# --- a whole dataset ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many_shards(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The world, prepared in several shards a split."""
    rules = replace(
        make_rules(Recipe.IMAGENET21K_P), selection=SelectionRule(3, 2, 0), shard_bytes=5_000
    )
    folder = tmp_path_factory.mktemp("shards") / "dataset"
    taxonomy = Taxonomy(list, lambda _: (), "none")
    made = run_preparation(Preparation(open_source(str(world)), folder, rules, taxonomy))
    assert isinstance(made, Dataset)
    return made


@pytest.mark.parametrize("split", ["train", "val"])
@webdataset_leaves_files_open
def test_webdataset_reads_a_prepared_split_as_its_tables_say(many_shards: Dataset, split: str) -> None:
    shards = sorted((many_shards.path / split).glob("*.tar"))
    images = pq.read_table(many_shards.path / "images.parquet").to_pylist()
    rows, reader = many_shards.index(split), many_shards.reader(split)
    told = [
        Sample(image["key"], reader.read(row), (image["label"],))
        for image, row in zip((image for image in images if image["split"] == split), rows, strict=True)
    ]
    assert read_with_webdataset(*shards) == told
    assert [sample.labels[0] for sample in told] == rows["label"].tolist()
    assert len(told) == many_shards.card["splits"][split]["images"]
    assert len(shards) > 2


@webdataset_leaves_files_open
@pytest.mark.parametrize("split", ["train", "val"])
def test_timm_reads_a_prepared_split_as_it_is(many_shards: Dataset, split: str) -> None:
    from timm.data import create_dataset

    rows, reader = many_shards.index(split), many_shards.reader(split)
    found = create_dataset("wds/", root=str(many_shards.path), split=split, is_training=False)
    assert len(found) == len(rows)
    for (image, target), row in zip(found, rows, strict=True):
        with Image.open(io.BytesIO(reader.read(row))) as stored:
            np.testing.assert_array_equal(np.asarray(image), np.asarray(stored.convert("RGB")))
        assert target == row["label"]
