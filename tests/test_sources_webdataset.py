"""WebDataset shards, as webdataset itself writes them."""

import json
from pathlib import Path

import pytest
import webdataset
from source_files import Row, gnu_tar, make_files, parts_of, photo, tar_of, walk

from hypernym.data.rejections import Reason
from hypernym.errors import SourceError
from hypernym.preparation.sources import webdataset as webdataset_room
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.sources.part import Layout

PHOTO = photo()


def labels_of(source: Path, **options: str) -> dict[str, tuple[str, ...]]:
    return {row.key.rpartition("/")[2]: row.class_ids for row in walk(source, **options)}


def write_shard(path: Path, *members: tuple[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_of(*members))
    return path


def test_the_shards_of_a_shard_writer_are_read_in_order(tmp_path: Path) -> None:
    pattern = str(tmp_path / "shards" / "photos-%06d.tar")
    (tmp_path / "shards").mkdir()
    with webdataset.ShardWriter(pattern, maxcount=4, verbose=0) as writer:
        for number in range(10):
            writer.write({"__key__": f"{number:04d}", "jpg": photo(number), "cls": number % 3})
    assert open_source(str(tmp_path / "shards")).layout is Layout.WEBDATASET
    parts = parts_of(tmp_path / "shards")
    assert [part.name for part in parts] == ["photos-000000", "photos-000001", "photos-000002"]
    assert walk(tmp_path / "shards") == [
        Row(f"photos-{n // 4:06d}/{n:04d}.jpg", (str(n % 3),), None, photo(n)) for n in range(10)
    ]


def test_one_shard_of_a_tar_writer_is_a_source(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "train.tar")) as writer:
        for number, label in enumerate(["swan", "duck"]):
            writer.write({"__key__": f"birds/{number}", "png": photo(number, "PNG"), "txt": label})
    assert walk(tmp_path / "train.tar") == [
        Row("train/birds/0.png", ("swan",), "train", photo(0, "PNG")),
        Row("train/birds/1.png", ("duck",), "train", photo(1, "PNG")),
    ]


LABELS: dict[str, list[tuple[bytes, tuple[str, ...]]]] = {
    "cls": [(b"7", ("7",)), (b" swan\n", ("swan",)), (b"", ()), (b"\xff", ()), ("é".encode(), ("é",))],
    "txt": [(b"mute swan", ("mute swan",))],
    "json": [
        (b'{"label": 7}', ("7",)),
        (b'{"Label": "swan", "width": 3}', ("swan",)),
        (b'{"labels": ["swan", "duck", "swan"]}', ("swan", "duck")),
        (b'{"labels": [1, 2]}', ("1", "2")),
        (b"7", ("7",)),
        (b'"swan"', ("swan",)),
        (b'["swan", 2]', ("swan", "2")),
        (b'{"label": null}', ()),
        (b'{"label": -1}', ()),
        (b'{"width": 3}', ()),
        (b'{"label": {"name": "swan"}}', ()),
        (b'{"label": 1.5}', ()),
        (b'{"label": true}', ()),
        (b"{", ()),
        (b"[" * 100_000, ()),
        (b"9" * 5000, ()),
        (b'"\\ud800"', (r"\ud800",)),
    ],
}


@pytest.mark.parametrize(
    ("kind", "text", "meant"),
    [(kind, text, meant) for kind, labels in LABELS.items() for text, meant in labels],
)
def test_a_label_is_text_or_json(kind: str, text: bytes, meant: tuple[str, ...], tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", ("1.jpg", PHOTO), (f"1.{kind}", text), ("2.jpg", PHOTO))
    first, second = walk(shard, Layout.WEBDATASET)
    assert (first.class_ids, second.class_ids) == (meant, ())
    "".join(first.class_ids).encode()
    assert first.content in {PHOTO, Reason.NO_LABEL}
    if first.content is Reason.NO_LABEL:
        assert first.detail
        assert not meant


def test_the_first_kind_of_label_that_says_something_counts(tmp_path: Path) -> None:
    shard = write_shard(
        tmp_path / "a.tar",
        *[("1.txt", b"a swan on a lake"), ("1.json", b'{"label": "swan"}'), ("1.jpg", PHOTO)],
        *[("2.json", b'{"label": "swan"}'), ("2.jpg", PHOTO), ("2.cls", b"duck")],
        *[("3.json", b'{"width": 3}'), ("3.jpg", PHOTO), ("3.txt", b"goose")],
    )
    assert labels_of(shard) == {"1.jpg": ("swan",), "2.jpg": ("duck",), "3.jpg": ("goose",)}


def test_a_stated_field_of_json_is_the_label(tmp_path: Path) -> None:
    shard = write_shard(
        tmp_path / "a.tar",
        *[("1.jpg", PHOTO), ("1.cls", b"7"), ("1.json", b'{"label": 7, "species": "mute swan"}')],
        *[("2.jpg", PHOTO), ("2.cls", b"7"), ("2.json", b'{"label": 7}')],
    )
    assert labels_of(shard, label_column="species") == {"1.jpg": ("mute swan",), "2.jpg": ()}


def test_members_of_a_sample_come_in_any_order_under_keys_of_any_kind(tmp_path: Path) -> None:
    shard = write_shard(
        tmp_path / "a.tar",
        *[("./x/1.cls", b"a"), ("./x/1.JPG", PHOTO)],
        *[("y/1.seg.png", b"mask"), ("y/1.Jpeg", PHOTO), ("y/1.CLS", b"b"), ("y/1.txt", b"caption")],
        *[("y.z/1.webp", PHOTO), ("y.z/1.cls", b"c")],
        *[("__info__.json", b"{}"), ("y.z/.jpg", PHOTO), ("_info.json", b"{}")],
    )
    assert {row.key: row.class_ids for row in walk(shard)} == {
        "a/./x/1.JPG": ("a",),
        "a/y/1.Jpeg": ("b",),
        "a/y.z/1.webp": ("c",),
        "a/_info": (),
    }


def test_a_sample_without_an_image_and_one_that_comes_twice_are_rows(tmp_path: Path) -> None:
    shard = write_shard(
        tmp_path / "a.tar",
        *[("1.cls", b"a"), ("1.jxl", b"?")],
        *[("2.jpg", PHOTO), ("2.cls", b"a"), ("2.jpg", b"again"), ("2.cls", b"b")],
    )
    assert [(row.key, row.class_ids, row.content) for row in walk(shard)] == [
        ("a/1", (), Reason.NOT_AN_IMAGE),
        ("a/2.jpg", ("a",), PHOTO),
        ("a/2.jpg", ("b",), b"again"),
    ]


@pytest.mark.parametrize("name", ["classes.csv", "classnames.txt", "classes.txt"])
def test_whole_numbers_are_places_in_a_class_list_beside_the_shards(name: str, tmp_path: Path) -> None:
    text = "label,id,name\n0,n01,duck\n1,n02,swan\n" if name == "classes.csv" else "n01\nn02\n"
    (tmp_path / name).write_text(text)
    for folder in ("", "train/"):
        write_shard(
            tmp_path / f"{folder}000000.tar",
            *[("0.jpg", PHOTO), ("0.cls", b"1")],
            *[("1.jpg", PHOTO), ("1.json", b'{"labels": [0, "1", "goose"]}')],
            *[("2.jpg", PHOTO), ("2.cls", b"2")],
            *[("3.jpg", PHOTO), ("3.cls", b"-1")],
        )
    meant = [(("n02",), PHOTO), (("n01", "n02", "goose"), PHOTO), ((), Reason.NO_LABEL), ((), PHOTO)]
    for source in (tmp_path, tmp_path / "train", tmp_path / "train/000000.tar"):
        rows = walk(source)
        assert [(row.class_ids, row.content) for row in rows] == meant * (len(rows) // 4)
    assert walk(tmp_path)[2].detail == "2 is not among 2 classes"


def test_another_class_list_is_another_state_and_is_read_anew(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", ("1.jpg", PHOTO), ("1.cls", b"1"))
    states, labels = set(), []
    for names in (None, "duck\nswan\n", "swan\ngoose\n"):
        if names:
            (tmp_path / "classes.txt").write_text(names)
        states.add(parts_of(tmp_path)[0].state)
        labels += [row.class_ids for row in walk(tmp_path)]
    assert labels == [("1",), ("swan",), ("goose",)]
    assert len(states) == 3


@pytest.mark.parametrize(
    "content",
    [
        b"name\nswan\n",
        b"label,id\n1,swan\n",
        b"label,id\n0,\n",
        b"\xff\xfe\xff",
        b"label,id\n0," + b"x" * 140_000,
    ],
)
def test_a_class_table_without_sense_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_bytes(content)
    write_shard(tmp_path / "0.tar", ("1.jpg", PHOTO), ("1.cls", b"0"))
    with pytest.raises(
        SourceError, match=r"classes\.csv (needs a column id|is not UTF-8|cannot be read as CSV)"
    ):
        walk(tmp_path)


def test_splits_are_told_by_folders_or_by_names_of_shards(tmp_path: Path) -> None:
    sample = [("1.jpg", PHOTO), ("1.cls", b"a")]
    for name in ("train/0.tar", "validation/0.tar", "test/0.tar"):
        write_shard(tmp_path / "folders" / name, *sample)
    names = {"photos-train-000.tar": "train", "val_000.tar": "val", "latest-000.tar": None}
    for name in names:
        write_shard(tmp_path / "names" / name, *sample)
    assert {row.key: row.split for row in walk(tmp_path / "folders")} == {
        "train/0/1.jpg": "train",
        "validation/0/1.jpg": "val",
        "test/0/1.jpg": "test",
    }
    assert {part.path.name: next(part.images()).split for part in parts_of(tmp_path / "names")} == names


def test_damage_keeps_the_samples_before_it_and_is_one_row(tmp_path: Path) -> None:
    whole = tar_of(("1.jpg", PHOTO), ("1.cls", b"a"), ("2.jpg", PHOTO), ("2.cls", b"b"), end=False)
    (tmp_path / "0.tar").write_bytes(whole[: -2 * 512])
    assert [(row.key, row.class_ids, row.content) for row in walk(tmp_path)] == [
        ("0/1.jpg", ("a",), PHOTO),
        ("0/2.jpg", (), PHOTO),  # its label lies behind the cut
        ("0.tar", (), Reason.DAMAGED_ARCHIVE),
    ]


def test_a_damaged_first_shard_does_not_hide_what_the_others_are(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(b"\xaa" * 2000)
    write_shard(tmp_path / "1.tar", ("1.jpg", PHOTO), ("1.cls", b"a"))
    assert [(row.key, row.content) for row in walk(tmp_path)] == [
        ("0.tar", Reason.DAMAGED_ARCHIVE),
        ("1/1.jpg", PHOTO),
    ]


def test_a_label_of_very_many_bytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset_room, "MAX_LABEL_BYTES", 10)
    shard = write_shard(tmp_path / "0.tar", ("1.jpg", PHOTO), ("1.cls", b"x" * 11))
    assert [(row.content, row.detail) for row in walk(shard)] == [
        (Reason.NO_LABEL, "1.cls has 11 bytes")
    ]


def test_class_tars_with_images_alone_are_no_shards(tmp_path: Path) -> None:
    make_files(tmp_path / "raw", "swan/1.jpg", "swan/2.jpg", "duck/1.jpg")
    (tmp_path / "tars").mkdir()
    for name in ("swan", "duck"):
        gnu_tar("-C", tmp_path / "raw" / name, "-cf", tmp_path / "tars" / f"{name}.tar", ".")
    assert open_source(str(tmp_path / "tars")).layout is Layout.CLASS_TARS
    assert {row.class_ids for row in walk(tmp_path / "tars")} == {("swan",), ("duck",)}


def test_a_dataset_of_our_own_is_a_source(tmp_path: Path) -> None:
    """Laid out as docs/formats.md says, without the files that a source does not read."""
    (tmp_path / "dataset.json").write_text("{}")
    (tmp_path / "_info.json").write_text("{}")
    (tmp_path / "classes.csv").write_text("label,id,name,train,val\n0,n01,duck,1,0\n1,n02,swan,0,1\n")
    write_shard(tmp_path / "train/000000.tar", ("n01/1.jpg", PHOTO), ("n01/1.cls", b"0"))
    write_shard(tmp_path / "val/000000.tar", ("n02/2.jpg", PHOTO), ("n02/2.json", b'{"labels": [1, 0]}'))
    assert [(row.key, row.class_ids, row.split) for row in walk(tmp_path)] == [
        ("train/000000/n01/1.jpg", ("n01",), "train"),
        ("val/000000/n02/2.jpg", ("n02", "n01"), "val"),
    ]


def test_shards_in_a_store_are_read_like_those_on_a_disk(tmp_path: Path) -> None:
    from upath import UPath

    (tmp_path / "classes.txt").write_text("duck\nswan\n")
    write_shard(tmp_path / "train/0.tar", ("1.jpg", PHOTO), ("1.cls", b"1"))
    store = UPath("memory://shards")
    for path in (tmp_path / "classes.txt", tmp_path / "train/0.tar"):
        place = store / path.relative_to(tmp_path).as_posix()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    assert walk("memory://shards") == walk(tmp_path) == [Row("train/0/1.jpg", ("swan",), "train", PHOTO)]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves files open
def test_webdataset_and_we_read_the_same_samples(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "0.tar")) as writer:
        for number in range(5):
            labels = {"labels": [number, number + 1]}
            writer.write({"__key__": f"a.b/{number}", "jpg": photo(number), "json": labels})
    read = webdataset.WebDataset(str(tmp_path / "0.tar"), shardshuffle=False, empty_check=False)
    theirs = [(sample["jpg"], json.loads(sample["json"])["labels"]) for sample in read]
    ours = [(row.content, [int(class_id) for class_id in row.class_ids]) for row in walk(tmp_path)]
    assert ours == theirs
