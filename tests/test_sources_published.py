"""Datasets as their owners publish them: small files in exactly these forms, prepared end to end."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shlex
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from source_files import parts_of, tar_of, walk, walk_part

from hypernym.cli import app
from hypernym.commands.prepare import prepare
from hypernym.commands.tree import build
from hypernym.data.dataset import Dataset, open_dataset
from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import OutputError, SourceError, TreeError
from hypernym.hierarchy.taxonomies import read_taxonomy
from hypernym.hierarchy.tree import load_tree
from hypernym.preparation.sources import annotated, cifar, voc
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.sources.part import Layout
from hypernym.preparation.sources.places import is_inside, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from source_files import Row

WHOLE = {"min_images": 1, "val_per_class": 0, "size": 32, "workers": 1, "duplicates": "keep"}

Labels = dict[str, tuple[str, ...]]


def picture(seed: int, form: str = "JPEG") -> bytes:
    """Return a drawn picture that is like none of another seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks).resize((32, 24), Image.Resampling.NEAREST).save(stream, form)
    return stream.getvalue()


def write(folder: Path, files: Mapping[str, bytes | str | object]) -> Path:
    """Write files: bytes and text as they are, anything else as JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, bytes | str):
            path.write_text(json.dumps(content))
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def pack_tar(path: Path, folder: Path, *tops: str, mode: str = "w") -> Path:
    """Pack folders as their owners do: with the folders themselves as members."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for top in tops:
            archive.add(folder / top, top)
    return path


def pack_zip(path: Path, folder: Path, top: str, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted((folder / top).rglob("*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def made_of(source: Path, dataset: Path, **options: object) -> Dataset:
    prepare(str(source), dataset, **{**WHOLE, **options})  # type: ignore[arg-type]
    return open_dataset(dataset)


def told(dataset: Dataset, split: str) -> Labels:
    """Return the labels of each image of a split, by its key in the source."""
    ids = dataset.classes.ids
    rows = pq.read_table(dataset.path / "images.parquet").to_pylist()
    own = [row for row in rows if row["split"] == split]
    found = {row["source"]: tuple(sorted(ids[label] for label in row["labels"])) for row in own}
    assert len(found) == len(own), "an image stands twice"
    return found


def rejected(dataset: Dataset) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(dataset.path / "rejected.parquet").to_pylist()
    return {row["key"]: (row["reason"], row["detail"] or "") for row in rows}


def by_key(rows: Iterable[Row]) -> dict[str, Row]:
    return {row.key: row for row in rows}


# --- Pascal VOC ---------------------------------------------------------------------------------

PERSON = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"


def voc_xml(stem: str, *objects: tuple[str, int]) -> str:
    """Return an annotation as VOC2007 has them; persons have parts, which have names, too."""
    things = "".join(
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Left</pose>\n\t\t<truncated>1</truncated>\n"
        f"\t\t<difficult>{difficult}</difficult>\n\t\t<bndbox><xmin>4</xmin><ymin>2</ymin><xmax>9</xmax>"
        f"<ymax>8</ymax></bndbox>{PERSON if name == 'person' else ''}\n\t</object>\n"
        for name, difficult in objects
    )
    return (
        f"<annotation>\n\t<folder>VOC2007</folder>\n\t<filename>{stem}.jpg</filename>\n\t<source>\n"
        f"\t\t<database>The VOC2007 Database</database>\n\t</source>\n\t<size><width>32</width></size>\n"
        f"\t<segmented>0</segmented>\n{things}</annotation>\n"
    )


VOC: dict[str, list[tuple[str, int]]] = {
    "000005": [("chair", 0), ("chair", 1), ("person", 0)],
    "000007": [("car", 0), ("train", 0)],
    "000009": [("horse", 0), ("dog", 0), ("person", 1)],
    "000012": [("car", 1)],
    "000001": [("dog", 0), ("person", 0)],
    "000002": [("train", 0)],
}
TRAINVAL, TEST = ["000005", "000007", "000009", "000012"], ["000001", "000002"]


def voc_files(stems: list[str], sets: dict[str, list[str]]) -> dict[str, bytes | str]:
    files: dict[str, bytes | str] = {}
    for stem in stems:
        files[f"Annotations/{stem}.xml"] = voc_xml(stem, *VOC[stem])
        files[f"JPEGImages/{stem}.jpg"] = picture(int(stem))
    for name, own in sets.items():
        files[f"ImageSets/Main/{name}.txt"] = "".join(f"{stem}\n" for stem in own)
        files[f"ImageSets/Main/car_{name}.txt"] = "".join(f"{stem} -1\n" for stem in own)
    return {f"VOCdevkit/VOC2007/{name}": content for name, content in files.items()}


def write_voc(folder: Path) -> Path:
    sets = {"train": TRAINVAL[:2], "val": TRAINVAL[2:], "trainval": TRAINVAL}
    write(folder, voc_files(TRAINVAL, sets))
    return write(folder, voc_files(TEST, {"test": TEST}))


def write_voc_tars(folder: Path) -> Path:
    """Write the two archives, in which all lies below VOCdevkit."""
    sets = {"train": TRAINVAL[:2], "val": TRAINVAL[2:], "trainval": TRAINVAL}
    folder.mkdir()
    for name, stems, own in (
        ("VOCtrainval_06-Nov-2007.tar", TRAINVAL, sets),
        ("VOCtest_06-Nov-2007.tar", TEST, {"test": TEST}),
    ):
        write(folder / "unpacked", voc_files(stems, own))
        pack_tar(folder / name, folder / "unpacked", "VOCdevkit")
        shutil.rmtree(folder / "unpacked")
    return folder


def test_pascal_voc_is_the_same_in_folders_and_in_the_published_tars(tmp_path: Path) -> None:
    devkit = write_voc(tmp_path / "a")
    made = made_of(devkit, tmp_path / "made")
    assert told(made, "train") == {
        "VOC2007/JPEGImages/000005.jpg": ("chair", "person"),
        "VOC2007/JPEGImages/000007.jpg": ("car", "train"),
        "VOC2007/JPEGImages/000009.jpg": ("dog", "horse"),
    }
    assert told(made, "test") == {
        "VOC2007/JPEGImages/000001.jpg": ("dog", "person"),
        "VOC2007/JPEGImages/000002.jpg": ("train",),
    }
    assert rejected(made) == {"VOC2007/JPEGImages/000012.jpg": ("no label", "")}
    assert made.classes.ids == ("car", "chair", "dog", "horse", "person", "train")
    sources = (
        devkit / "VOCdevkit",
        devkit / "VOCdevkit" / "VOC2007",
        write_voc_tars(tmp_path / "tars"),
    )
    for number, source in enumerate(sources):
        assert open_source(str(source)).layout is Layout.VOC
        other = made_of(source, tmp_path / f"made{number}")
        assert other.card["digest"] == made.card["digest"]
        assert told(other, "test") == told(made, "test")


def test_one_archive_of_pascal_voc_is_a_source(tmp_path: Path) -> None:
    tars = write_voc_tars(tmp_path / "tars")
    (tmp_path / "renamed").write_bytes((tars / "VOCtest_06-Nov-2007.tar").read_bytes())
    assert open_source(str(tmp_path / "renamed")).layout is Layout.VOC
    assert {row.key: row.split for row in walk(tmp_path / "renamed")} == {
        f"VOC2007/JPEGImages/{stem}.jpg": "test" for stem in TEST
    }


def test_the_sets_train_and_val_count_where_trainval_is_missing(tmp_path: Path) -> None:
    write(tmp_path, voc_files(TRAINVAL, {"train": TRAINVAL[:1], "val": TRAINVAL[1:2]}))
    rows = walk(tmp_path / "VOCdevkit" / "VOC2007")
    assert [(row.split, row.class_ids) for row in rows] == [
        ("train", ("chair", "person")),
        ("train", ("car", "train")),
    ]


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "car"><!ENTITY y "'
    + "&x;" * 10
    + '">]><annotation><object><name>&y;</name></object></annotation>'
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'


@pytest.mark.parametrize(
    ("xml", "detail"),
    [
        (BOMB, r"XML with a document type \(a\) is not read"),
        (OUTSIDE, r"XML with a document type"),
        ("<!DOCTYPE annotation SYSTEM 'http://example.org/a.dtd'><annotation/>", "document type"),
        (voc_xml("1", ("car", 0))[:-20], r"damaged XML \("),
        ("", r"damaged XML \(no element found"),
        ("<annotation>&undefined;</annotation>", r"damaged XML \(undefined entity"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "damaged XML"),
        ("<annotation><object><pose/></object></annotation>", "an object has no name"),
        ("<annotation>" + " " * (1 << 20) + "</annotation>", "bytes are no annotation"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_or_damaged_xml_is_a_row(xml: str, detail: str, tmp_path: Path, *, packed: bool) -> None:
    write(tmp_path, voc_files(TEST, {"test": TEST}))
    write(tmp_path, {"VOCdevkit/VOC2007/Annotations/000001.xml": xml})
    source = pack_tar(tmp_path / "a.tar", tmp_path, "VOCdevkit") if packed else tmp_path / "VOCdevkit"
    bad, good = (row for _, row in sorted(by_key(walk(source)).items()))
    assert (bad.content, bad.class_ids) == (Reason.NO_LABEL, ())
    assert bad.detail.startswith("000001.xml: ")
    assert re.search(detail, bad.detail)
    assert good.class_ids == ("train",)


def test_deeply_nested_xml_ends_in_a_row() -> None:
    with pytest.raises(Exception, match="damaged XML"):
        voc.classes_shown(b"<a>" * 300_000)
    assert voc.classes_shown(b"<a>" * 80_000 + b"</a>" * 80_000) == ()


@pytest.mark.parametrize("packed", [False, True])
def test_names_in_image_sets_lead_nowhere_outside(tmp_path: Path, *, packed: bool) -> None:
    write(tmp_path / "a", voc_files(TEST, {"test": TEST}))
    write(tmp_path, {"x.jpg": picture(1), "x.xml": voc_xml("x", ("car", 0))})
    (tmp_path / "a/VOCdevkit/VOC2007/Annotations/000002.xml").unlink()
    (tmp_path / "a/VOCdevkit/VOC2007/JPEGImages/000001.jpg").unlink()
    stems = [*TEST, "../../../../x", str(tmp_path / "x"), "absent"]
    write(tmp_path / "a", {"VOCdevkit/VOC2007/ImageSets/Main/test.txt": "\n".join(stems)})
    packed_tar = tmp_path / "a.tar"
    source = pack_tar(packed_tar, tmp_path / "a", "VOCdevkit") if packed else tmp_path / "a"
    rows = walk(source)
    assert len(rows) == 5
    assert not any(isinstance(row.content, bytes) for row in rows)
    found = by_key(rows)
    assert found["VOC2007/JPEGImages/000001.jpg"].content is Reason.UNREADABLE
    assert found["VOC2007/JPEGImages/000001.jpg"].class_ids == ("dog", "person")
    others = [row for row in rows if "000001" not in row.key]
    assert {row.content for row in others} == {Reason.NO_LABEL}


@pytest.mark.parametrize("folder", ["here", "memory://bucket/here"])
def test_a_name_leads_inside_or_it_does_not(folder: str) -> None:
    names = ["a.jpg", "b/c.jpg", "../a.jpg", "b/../../a.jpg", "/etc/a.jpg", "s3://x/a.jpg", "a\0.jpg"]
    assert [is_inside(place_of(folder), name) for name in names] == [True, True, *[False] * 5]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "a", voc_files(TEST, {"test": TEST}))
    write(tmp_path, {"secret.jpg": picture(9)})
    image = tmp_path / "a/VOCdevkit/VOC2007/JPEGImages/000001.jpg"
    image.unlink()
    image.symlink_to(tmp_path / "secret.jpg")
    row = by_key(walk(tmp_path / "a"))["VOC2007/JPEGImages/000001.jpg"]
    assert (row.content, row.detail[:25]) == (Reason.UNREADABLE, "the annotations point at ")


def test_a_damaged_archive_of_pascal_voc_is_a_sentence(tmp_path: Path) -> None:
    tars = write_voc_tars(tmp_path / "tars")
    tar = tars / "VOCtest_06-Nov-2007.tar"
    tar.write_bytes(tar.read_bytes()[:-20_000])
    with pytest.raises(SourceError, match=r"VOCtest_06-Nov-2007\.tar is not a whole, plain tar archive"):
        parts_of(tars)


def test_real_photos_in_the_form_of_pascal_voc_keep_the_labels_of_their_table(
    shared: Path, tmp_path: Path
) -> None:
    packed = shared / "data" / "voc2007.tar"
    if not packed.exists():
        pytest.skip("voc2007.tar is not in shared/data")
    files: dict[str, bytes | str] = {}
    truth: Labels = {}
    with tarfile.open(packed) as archive:
        table = archive.extractfile("labels.csv")
        assert table
        rows = list(csv.DictReader(io.TextIOWrapper(table, "utf-8")))[::40]
        for row in rows:
            stem = row["voc2007_id"]
            photo = archive.extractfile(f"JPEGImages/{stem}.jpg")
            assert photo
            classes = list(row)[3:]
            objects = [(name, int(row[name] == "0")) for name in classes if row[name] in {"0", "1"}]
            files[f"VOCdevkit/VOC2007/JPEGImages/{stem}.jpg"] = photo.read()
            files[f"VOCdevkit/VOC2007/Annotations/{stem}.xml"] = voc_xml(stem, *objects)
            truth[stem] = tuple(sorted(name for name in classes if row[name] == "1"))
    for name in ("trainval", "test"):
        stems = [row["voc2007_id"] for row in rows if row["split"] == name]
        files[f"VOCdevkit/VOC2007/ImageSets/Main/{name}.txt"] = "\n".join(stems)
    write(tmp_path / "a", files)
    made = made_of(pack_tar(tmp_path / "voc.tar", tmp_path / "a", "VOCdevkit"), tmp_path / "made")
    # Of some eighty photos, a class or two is in the test photos alone, and is dropped.
    truth = {
        stem: tuple(each for each in own if each in made.classes.ids) for stem, own in truth.items()
    }
    for split, name in (("train", "trainval"), ("test", "test")):
        found = {key[-10:-4]: labels for key, labels in told(made, split).items()}
        stems = [row["voc2007_id"] for row in rows if row["split"] == name]
        assert found == {stem: truth[stem] for stem in stems if truth[stem]}
        assert len(found) > 15


# --- MS-COCO ------------------------------------------------------------------------------------

CATEGORIES = [
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "vehicle", "id": 10, "name": "traffic light"},
    {"supercategory": "animal", "id": 17, "name": "cat"},
    {"supercategory": "animal", "id": 18, "name": "dog"},
]


def coco_json(images: dict[str, list[int]], crowds: Iterable[str] = ()) -> dict[str, Any]:
    """Return annotations as COCO has them; a category may stand several times."""
    return {
        "info": {"description": "COCO 2017 Dataset", "year": 2017},
        "licenses": [{"id": 1, "name": "x", "url": "y"}],
        "images": [
            {"license": 4, "file_name": name, "height": 24, "width": 32, "id": 500 + number}
            for number, name in enumerate(images)
        ],
        "annotations": [
            {
                "segmentation": {"counts": [3, 4], "size": [24, 32]} if name in crowds else [[1.5, 2.0]],
                "area": 7.5,
                "iscrowd": int(name in crowds),
                "image_id": 500 + number,
                "bbox": [1, 2, 3, 4],
                "category_id": category,
                "id": 10_000 * number + place,
            }
            for number, name in enumerate(images)
            for place, category in enumerate(images[name])
        ],
        "categories": CATEGORIES,
    }


COCO_TRAIN = {"000000000009.jpg": [17, 18, 17], "000000000025.jpg": [1, 10], "000000000030.jpg": []}
COCO_VAL = {"000000000139.jpg": [10], "000000000285.jpg": [18, 1]}


def write_coco(folder: Path) -> Path:
    write(folder, {"annotations/instances_train2017.json": coco_json(COCO_TRAIN, ["000000000025.jpg"])})
    write(folder, {"annotations/instances_val2017.json": coco_json(COCO_VAL)})
    write(folder, {"annotations/captions_train2017.json": "[]"})
    write(folder, {f"train2017/{name}": picture(int(name[:-4])) for name in COCO_TRAIN})
    return write(folder, {f"val2017/{name}": picture(int(name[:-4])) for name in COCO_VAL})


def test_coco_is_the_same_unpacked_and_in_the_published_zips(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "coco")
    assert open_source(str(folder)).layout is Layout.COCO
    made = made_of(folder, tmp_path / "made")
    assert told(made, "train") == {
        "train2017/000000000009.jpg": ("cat", "dog"),
        "train2017/000000000025.jpg": ("person", "traffic light"),  # crowds
    }
    assert told(made, "test") == {
        "val2017/000000000139.jpg": ("traffic light",),
        "val2017/000000000285.jpg": ("dog", "person"),
    }
    assert rejected(made) == {"train2017/000000000030.jpg": ("no label", "")}
    zips = tmp_path / "zips"
    zips.mkdir()
    pack_zip(zips / "train2017.zip", folder, "train2017")
    pack_zip(zips / "val2017.zip", folder, "val2017", zipfile.ZIP_DEFLATED)
    pack_zip(zips / "annotations_trainval2017.zip", folder, "annotations", zipfile.ZIP_DEFLATED)
    assert open_source(str(zips)).layout is Layout.COCO
    assert made_of(zips, tmp_path / "made2").card["digest"] == made.card["digest"]
    shutil.copytree(folder / "annotations", zips / "annotations")
    (zips / "annotations_trainval2017.zip").unlink()
    assert made_of(zips, tmp_path / "made3").card["digest"] == made.card["digest"]


def test_the_supercategories_of_coco_are_a_tree(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "coco")
    made = made_of(folder, tmp_path / "made")
    build(made.path, taxonomy=folder / "annotations" / "instances_val2017.json")
    tree = load_tree(made.path / "tree.json", classes_digest=made.classes.digest)
    parents = {
        child: None if parent < 0 else tree.ids[parent]
        for child, parent in zip(tree.ids, tree.parents, strict=True)
    }
    assert parents == {
        "cat": "animal",
        "dog": "animal",
        "person": None,  # its supercategory has its own name
        "traffic light": "vehicle",
        "animal": None,
        "vehicle": None,
    }


def test_hostile_names_in_coco_s_json_are_rows(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "coco")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(picture(1))
    names = ["../../secret.jpg", "../annotations/instances_val2017.json", str(secret), "a\0b", "\ud800"]
    write(folder, {"annotations/instances_val2017.json": coco_json({name: [1] for name in names})})
    rows = [row for row in walk(folder) if row.split == "test"]
    assert [row.content for row in rows] == [Reason.UNREADABLE] * len(names)
    pack_zip(folder / "val2017.zip", folder, "val2017")
    shutil.rmtree(folder / "val2017")
    rows = [row for row in walk(folder) if row.split == "test"]
    assert [row.content for row in rows] == [Reason.UNREADABLE] * len(names)


def damage_json(folder: Path) -> None:
    path = folder / "annotations" / "instances_val2017.json"
    path.write_bytes(path.read_bytes()[:-10])


def edit_json(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        document = coco_json(COCO_VAL)
        change(document)
        write(folder, {"annotations/instances_val2017.json": document})

    return edit


def mix_years(folder: Path) -> None:
    write(folder, {"annotations/instances_val2014.json": coco_json(COCO_VAL)})


def forget_images(folder: Path) -> None:
    shutil.rmtree(folder / "val2017")


def cut_zip(folder: Path) -> None:
    pack_zip(folder / "val2017.zip", folder, "val2017")
    shutil.rmtree(folder / "val2017")
    (folder / "val2017.zip").write_bytes((folder / "val2017.zip").read_bytes()[:-30])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damage_json, r"instances_val2017\.json cannot be read as JSON"),
        (lambda folder: write(folder, {"annotations/instances_val2017.json": "[" * 100_000}), "as JSON"),
        (edit_json(lambda document: document.pop("images")), "holds no annotations: it needs the lists"),
        (edit_json(lambda document: document.update(categories={})), "holds no annotations"),
        (edit_json(lambda document: document["images"][0].pop("file_name")), "has no text 'file_name'"),
        (edit_json(lambda document: document["images"].append(7)), "7 has no number 'id'"),
        (
            edit_json(lambda document: document["annotations"][0].update(category_id="1")),
            "no number 'category_id'",
        ),
        (
            edit_json(lambda document: document["annotations"][0].update(category_id=99)),
            "speaks of image 500 and category 99, which are not both in the file",
        ),
        (mix_years, "holds annotations of 2014 and 2017, which share their images"),
        (forget_images, r"has annotations and no images: put val2017/ or val2017\.zip beside them"),
        (cut_zip, r"val2017\.zip is not a whole zip archive"),
    ],
)
def test_what_is_not_as_coco_publishes_it_is_a_sentence(
    change: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    folder = write_coco(tmp_path / "coco")
    change(folder)
    with pytest.raises(SourceError, match=message):
        walk(folder)


def test_damage_inside_a_zip_is_a_row(tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "coco")
    packed = pack_zip(folder / "val2017.zip", folder, "val2017")
    shutil.rmtree(folder / "val2017")
    data = bytearray(packed.read_bytes())
    data[data.index(b"\xff\xd8") + 40] ^= 255
    packed.write_bytes(data)
    bad, good = (row for row in walk(folder) if row.split == "test")
    assert (bad.content, bad.detail[:10]) == (Reason.UNREADABLE, "Bad CRC-32")
    assert isinstance(good.content, bytes)


def test_a_bomb_in_a_zip_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(5000))
    with annotated.open_zip(tmp_path / "a.zip") as opened:
        assert annotated.read_from_zip(opened, "a.jpg", 5000) == bytes(5000)
        with pytest.raises(RejectionError) as refused:
            annotated.read_from_zip(opened, "a.jpg", 1000)
    assert refused.value.rejected.reason is Reason.TOO_LARGE


# --- iNaturalist --------------------------------------------------------------------------------

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
SPECIES = {
    0: (
        "Animalia",
        "Chordata",
        "Aves",
        "Passeriformes",
        "Prunellidae",
        "Prunella",
        "Prunella modularis",
    ),
    1: ("Plantae", "Tracheophyta", "Magnoliopsida", "Lamiales", "Lamiaceae", "Prunella", "P. vulgaris"),
    2: ("Plantae", "Tracheophyta", "Magnoliopsida", "Lamiales", "Lamiaceae", "Mentha", "Mentha spicata"),
}


def species(number: int, *, plain: bool = True) -> dict[str, Any]:
    """Return a category; those of 2018 were disguised."""
    *above, name = SPECIES[number] if plain else [f"{word}_x" for word in SPECIES[number]]
    return {
        "id": number,
        "name": name,
        "supercategory": above[0],
        **dict(zip(RANKS, above, strict=True)),
    }


def inat_json(images: dict[str, int], *, plain: bool) -> dict[str, Any]:
    places = list(enumerate(images.items(), 700))
    return {
        "info": {"year": 2018},
        "images": [
            {"id": number, "width": 32, "height": 24, "file_name": name, "latitude": float("nan")}
            for number, (name, _) in places
        ],
        "categories": [species(number, plain=plain) for number in SPECIES],
        "annotations": [
            {"id": number, "image_id": number, "category_id": category}
            for number, (_, category) in places
        ],
        "licenses": [],
    }


INAT_TRAIN = {f"train_val2018/{SPECIES[n % 3][0]}/{n % 3}/t{n}.jpg": n % 3 for n in range(6)}
INAT_VAL = {f"train_val2018/{SPECIES[n][0]}/{n}/v{n}.jpg": n for n in range(3)}


def write_inat(folder: Path) -> Path:
    write(folder, {"train2018.json": inat_json(INAT_TRAIN, plain=False)})
    write(folder, {"val2018.json": inat_json(INAT_VAL, plain=False)})
    write(folder, {"categories.json": [species(number) for number in SPECIES]})
    names = [*INAT_TRAIN, *INAT_VAL]
    return write(folder, {name: picture(200 + number) for number, name in enumerate(names)})


def test_inaturalist_is_the_same_unpacked_and_in_a_tar(tmp_path: Path) -> None:
    folder = write_inat(tmp_path / "inat")
    assert open_source(str(folder)).layout is Layout.INATURALIST
    made = made_of(folder, tmp_path / "made")
    assert told(made, "train") == {name: (str(label),) for name, label in INAT_TRAIN.items()}
    assert told(made, "test") == {name: (str(label),) for name, label in INAT_VAL.items()}
    pack_tar(folder / "train_val2018.tar", folder, "train_val2018")
    shutil.rmtree(folder / "train_val2018")
    assert made_of(folder, tmp_path / "made2").card["digest"] == made.card["digest"]


def test_inaturalist_of_2021_has_a_folder_a_split_and_a_mini_train(tmp_path: Path) -> None:
    train, val = {"train_mini/00000_Animalia/1.jpg": 0}, {"val/00001_Plantae/2.jpg": 1}
    write(tmp_path, {"train_mini.json": inat_json(train, plain=True)})
    write(tmp_path, {"val.json": inat_json(val, plain=True)})
    write(tmp_path, {name: picture(number) for number, name in enumerate([*train, *val])})
    found = {row.key: (row.split, row.class_ids) for row in walk(tmp_path)}
    assert found == {
        "train_mini/00000_Animalia/1.jpg": ("train", ("0",)),
        "val/00001_Plantae/2.jpg": ("test", ("1",)),
    }


def test_the_categories_of_inaturalist_are_a_tree(tmp_path: Path) -> None:
    folder = write_inat(tmp_path / "inat")
    made = made_of(folder, tmp_path / "made")
    report = build(made.path, taxonomy=folder / "categories.json")
    assert (report.classes, report.added, report.roots) == (3 + 13, 13, 2)
    tree = load_tree(made.path / "tree.json", classes_digest=made.classes.digest)
    of = dict(zip(tree.ids, tree.parents, strict=True))
    genus = tree.ids[of["1"]]
    assert genus == "Plantae/Tracheophyta/Magnoliopsida/Lamiales/Lamiaceae/Prunella"
    assert tree.ids[of["0"]] != genus  # a bird of the same name
    assert (tree.names["1"], tree.names[genus]) == ("P. vulgaris", "Prunella")
    assert tree.ids[of["2"]].startswith("Plantae/")
    disguised = read_taxonomy(folder / "train2018.json")
    assert disguised.names["1"] == "P. vulgaris_x"


def test_categories_without_a_rank_are_a_sentence(tmp_path: Path) -> None:
    broken = species(0)
    del broken["order"]
    write(tmp_path, {"categories.json": [broken]})
    with pytest.raises(TreeError, match="states no order"):
        read_taxonomy(tmp_path / "categories.json")


def gzip_inat(folder: Path) -> Path:
    packed = pack_tar(folder / "train_val2018.tar.gz", folder, "train_val2018", mode="w:gz")
    shutil.rmtree(folder / "train_val2018")
    return packed


@pytest.mark.parametrize("rows", [1000, 2])
def test_inaturalist_under_gzip_gives_the_same_in_one_pass(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotated, "MAX_PART_ROWS", rows)
    folder = write_inat(tmp_path / "inat")
    write(folder, {"train_val2018/README": b"no image of the labels"})
    made = made_of(folder, tmp_path / "made")
    gzip_inat(folder)
    assert open_source(str(folder)).is_stream
    assert made_of(folder, tmp_path / "made2").card["digest"] == made.card["digest"]
    for share in ("1/3", "0/3"):
        prepare(str(folder), tmp_path / "made3", **{**WHOLE, "shard": share})  # type: ignore[arg-type]
    assert made_of(folder, tmp_path / "made3", resume=True).card["digest"] == made.card["digest"]
    assert {path.name for path in folder.iterdir()} == {
        *("train_val2018.tar.gz", "train2018.json", "val2018.json", "categories.json")
    }


def test_images_that_a_gzipped_archive_lacks_or_links_are_rows(tmp_path: Path) -> None:
    folder = write_inat(tmp_path / "inat")
    absent, linked = list(INAT_TRAIN)[1:3]
    (folder / absent).unlink()
    (folder / linked).unlink()
    (folder / linked).symlink_to(tmp_path / "elsewhere")
    gzip_inat(folder)
    found = by_key(row for row in walk(folder) if not isinstance(row.content, bytes))
    assert {key: row.content for key, row in found.items()} == {
        absent: Reason.UNREADABLE,
        linked: Reason.UNREADABLE,
    }
    assert len(walk(folder)) == len(INAT_TRAIN) + len(INAT_VAL)


def test_a_gzipped_archive_that_is_cut_short_or_changed_is_a_sentence(tmp_path: Path) -> None:
    folder = write_inat(tmp_path / "inat")
    packed = gzip_inat(folder)
    whole = packed.read_bytes()
    packed.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(
        SourceError, match=r"train_val2018\.tar\.gz is damaged or cut short at or behind"
    ):
        made_of(folder, tmp_path / "made")
    packed.write_bytes(whole)
    with pytest.raises(OutputError, match="was begun with source files"):
        made_of(folder, tmp_path / "made", resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: write(folder, {"val2019.json": "{}"}), "holds labels of several years"),
        (
            lambda folder: write(folder, {"val2018.json": inat_json({"a.jpg": 0}, plain=True)}),
            "names the image a",
        ),
        (
            lambda folder: write(folder, {"val2018.json": inat_json({"../a/b.jpg": 0}, plain=True)}),
            "names the image ../a/b.jpg",
        ),
        (
            lambda folder: write(folder, {"val2018.json": inat_json({"/etc/b.jpg": 0}, plain=True)}),
            "names the image /etc/b.jpg",
        ),
        (
            lambda folder: write(folder, {"val2018.json": inat_json({"x/b.jpg": 0}, plain=True)}),
            r"put x/ or x\.tar or x\.tar\.gz beside",
        ),
    ],
)
def test_what_is_not_as_inaturalist_publishes_it_is_a_sentence(
    change: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    folder = write_inat(tmp_path / "inat")
    change(folder)
    with pytest.raises(SourceError, match=message):
        walk(folder)


def test_a_name_that_climbs_out_of_its_folder_of_images_is_a_row(tmp_path: Path) -> None:
    folder = write_inat(tmp_path / "inat")
    write(tmp_path, {"x.jpg": picture(1)})
    write(folder, {"val2018.json": inat_json({"train_val2018/../../x.jpg": 0}, plain=True)})
    (row,) = (row for row in walk(folder) if row.split == "test")
    assert row.content is Reason.UNREADABLE


# --- CIFAR --------------------------------------------------------------------------------------


def pixels(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)


def record(*labels: int, seed: int) -> bytes:
    """Return a record: labels, then the rows of red, of green, of blue."""
    return bytes(labels) + pixels(seed).transpose(2, 0, 1).tobytes()


FINE, COARSE = ["apple", "aquarium_fish", "baby"], ["fish", "fruit_and_vegetables", "people"]
COARSE_OF = [1, 0, 2]


def cifar100_files() -> dict[str, bytes | str]:
    train = [record(COARSE_OF[n % 3], n % 3, seed=n) for n in range(7)]
    test = [record(COARSE_OF[n % 3], n % 3, seed=100 + n) for n in range(3)]
    return {
        "cifar-100-binary/coarse_label_names.txt": "\n".join(COARSE) + "\n",
        "cifar-100-binary/fine_label_names.txt": "\n".join(FINE) + "\n",
        "cifar-100-binary/test.bin": b"".join(test),
        "cifar-100-binary/train.bin": b"".join(train),
    }


@pytest.fixture
def cifar100(tmp_path: Path) -> Path:
    write(tmp_path / "unpacked", cifar100_files())
    path = tmp_path / "cifar-100-binary.tar.gz"
    return pack_tar(path, tmp_path / "unpacked", "cifar-100-binary", mode="w:gz")


def test_cifar_is_the_same_in_its_archive_and_in_the_folder(cifar100: Path, tmp_path: Path) -> None:
    assert open_source(str(cifar100)).layout is Layout.CIFAR
    made = made_of(cifar100, tmp_path / "made")
    assert told(made, "train") == {f"train/{n:05d}": (FINE[n % 3],) for n in range(7)}
    assert told(made, "test") == {f"test/{n:05d}": (FINE[n % 3],) for n in range(3)}
    folder = tmp_path / "unpacked" / "cifar-100-binary"
    assert open_source(str(folder)).layout is Layout.CIFAR
    assert made_of(folder, tmp_path / "made2").card["digest"] == made.card["digest"]


def test_the_pixels_of_cifar_are_those_of_the_records(
    cifar100: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar, "PART_RECORDS", 3)
    parts = parts_of(cifar100)
    assert [part.name for part in parts] == [
        "train.bin 0-2",
        "train.bin 3-5",
        "train.bin 6-6",
        "test.bin 0-2",
    ]
    rows = [row for part in parts for row in walk_part(part)]
    for row, seed in zip(rows, [*range(7), 100, 101, 102], strict=True):
        assert isinstance(row.content, bytes)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(row.content))), pixels(seed))


def test_the_superclasses_of_cifar_are_those_of_the_example() -> None:
    taxonomy = read_taxonomy(Path(__file__).parents[1] / "docs" / "examples" / "cifar100.csv")
    for name, coarse in zip(FINE, COARSE_OF, strict=True):
        assert taxonomy.parent_of(name) == COARSE[coarse]
    assert sum(parent != () for parent in taxonomy.parents.values()) == 100


def test_cifar_10_is_read_too(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"batches.meta.txt": "airplane\ncat\n\n"}
    for number in range(1, 6):
        files[f"data_batch_{number}.bin"] = record(number % 2, seed=number)
    files["test_batch.bin"] = record(1, seed=9)
    write(tmp_path / "cifar-10-batches-bin", files)
    packed = pack_tar(tmp_path / "x.gz", tmp_path, "cifar-10-batches-bin", mode="w:gz")
    for source in (packed, tmp_path / "cifar-10-batches-bin"):
        rows = [(row.key, row.class_ids, row.split) for row in walk(source)]
        assert rows[0] == ("data_batch_1/00000", ("cat",), "train")
        assert rows[-1] == ("test_batch/00000", ("cat",), "test")
        assert len(rows) == 6


def test_a_label_out_of_range_and_a_record_cut_short_are_rows(tmp_path: Path) -> None:
    write(tmp_path, cifar100_files())
    folder = tmp_path / "cifar-100-binary"
    (folder / "test.bin").write_bytes(record(0, 77, seed=1) + record(0, 1, seed=2) + b"\0" * 100)
    rows = [row for row in walk(folder) if row.split == "test"]
    assert [(row.key, row.content) for row in rows if not isinstance(row.content, bytes)] == [
        ("test/00000", Reason.NO_LABEL),
        ("test/00002", Reason.DAMAGED_ARCHIVE),
    ]
    assert rows[0].detail == "77 is not among 3 classes"


def test_an_archive_of_cifar_that_is_cut_short_is_a_sentence(cifar100: Path) -> None:
    cifar100.write_bytes(cifar100.read_bytes()[:20_000])
    with pytest.raises(SourceError, match="is damaged or cut short"):
        parts_of(cifar100)


@pytest.mark.parametrize(
    ("names", "binary"),
    [
        (["cifar-100-python/meta", "cifar-100-python/train", "cifar-100-python/test"], "100"),
        (["cifar-10-batches-py/batches.meta", "cifar-10-batches-py/data_batch_1"], "10"),
    ],
)
def test_the_pickled_version_is_refused_unread(names: list[str], binary: str, tmp_path: Path) -> None:
    bomb = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    write(tmp_path, dict.fromkeys(names, bomb))
    top = names[0].partition("/")[0]
    packed = pack_tar(tmp_path.with_suffix(".tar.gz"), tmp_path, top, mode="w:gz")
    for source in (packed, tmp_path / top, tmp_path):
        with pytest.raises(
            SourceError, match=f"pickled.*give the binary version, cifar-{binary}-binary"
        ):
            open_source(str(source))
        with pytest.raises(SourceError, match=r"pickled|is not CIFAR's binary version"):
            parts_of(source, Layout.CIFAR)
    assert not (tmp_path / "ran").exists()


# --- ImageNet-1K --------------------------------------------------------------------------------

CAT, DOG = "n02123045", "n02084071"
VAL_LABELS = {f"ILSVRC2012_val_0000000{n}": (CAT, DOG)[n % 2] for n in range(1, 5)}


def solution(labels: dict[str, str]) -> str:
    """Return Kaggle's table, in which boxes follow the class."""
    lines = [f"{name},{label} 85 1 499 272 {label} 1 2 3 4 " for name, label in labels.items()]
    return "\n".join(["ImageId,PredictionString", *lines, ""])


def write_imagenet(folder: Path) -> Path:
    classes = {
        f"{wnid}.tar": tar_of(*((f"{wnid}_{n}.JPEG", picture(300 + 10 * place + n)) for n in range(3)))
        for place, wnid in enumerate((CAT, DOG))
    }
    val = {f"{name}.JPEG": picture(400 + number) for number, name in enumerate(VAL_LABELS)}
    files = {
        "ILSVRC2012_img_train.tar": tar_of(*classes.items()),
        "ILSVRC2012_img_val.tar": tar_of(*val.items()),
        "LOC_val_solution.csv": solution(dict(reversed(VAL_LABELS.items()))),
    }
    return write(folder, files)


def test_imagenet_1k_is_read_from_its_archives(tmp_path: Path) -> None:
    folder = write_imagenet(tmp_path / "imagenet")
    assert open_source(str(folder)).layout is Layout.IMAGENET_1K
    made = made_of(folder, tmp_path / "made")
    assert told(made, "train") == {
        f"train/{wnid}/{wnid}_{n}.JPEG": (wnid,) for wnid in (CAT, DOG) for n in range(3)
    }
    assert told(made, "test") == {f"val/{name}.JPEG": (label,) for name, label in VAL_LABELS.items()}
    assert build(made.path).classes == 2
    parts = parts_of(folder)
    assert [part.name for part in parts] == [f"train/{DOG}", f"train/{CAT}", "val 1-4"]
    assert [{row.split for row in walk_part(part)} for part in parts] == [{"train"}, {"train"}, {"test"}]


def test_the_edition_of_kaggle_gives_the_same_dataset(tmp_path: Path) -> None:
    folder = write_imagenet(tmp_path / "imagenet")
    made = made_of(folder, tmp_path / "made")
    top = tmp_path / "kaggle" / "ILSVRC" / "Data" / "CLS-LOC"
    for wnid in (CAT, DOG):
        with tarfile.open(folder / "ILSVRC2012_img_train.tar") as archive:
            packed = archive.extractfile(f"{wnid}.tar")
            assert packed
            with tarfile.open(fileobj=packed) as inner:
                inner.extractall(top / "train" / wnid, filter="data")
    with tarfile.open(folder / "ILSVRC2012_img_val.tar") as archive:
        archive.extractall(top / "val", filter="data")
    shutil.copy(folder / "LOC_val_solution.csv", tmp_path / "kaggle")
    assert made_of(tmp_path / "kaggle", tmp_path / "made2").card["digest"] == made.card["digest"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "LOC_val_solution.csv").unlink(),
            r"no labels of them: put LOC_val_sol",
        ),
        (
            lambda folder: write(folder, {"LOC_val_solution.csv": solution({"a": "cat"})}),
            r"row 1: \['cat'\] is no WordNet id",
        ),
        (
            lambda folder: write(folder, {"LOC_val_solution.csv": "a,b\n1,2\n"}),
            "needs the columns ImageId",
        ),
        (
            lambda folder: [path.unlink() for path in folder.glob("*.tar")],
            "holds no images of ImageNet-1K",
        ),
    ],
)
def test_what_is_not_as_imagenet_publishes_it_is_a_sentence(
    change: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    folder = write_imagenet(tmp_path / "imagenet")
    change(folder)
    with pytest.raises(SourceError, match=message):
        parts_of(folder, Layout.IMAGENET_1K)


def test_a_val_image_that_the_archive_lacks_is_a_row(tmp_path: Path) -> None:
    folder = write_imagenet(tmp_path / "imagenet")
    labels = {**VAL_LABELS, "ILSVRC2012_val_00009999": CAT, "../x": DOG}
    write(folder, {"LOC_val_solution.csv": solution(labels)})
    found = by_key(row for row in walk(folder) if not isinstance(row.content, bytes))
    assert {key: row.content for key, row in found.items()} == {
        "val/ILSVRC2012_val_00009999.JPEG": Reason.UNREADABLE,
        "val/../x.JPEG": Reason.UNREADABLE,
    }


# --- Food-251 -----------------------------------------------------------------------------------

FOODS = "0 macaron\n1 beignet\n2 cup cake\n"


def write_food(folder: Path) -> Path:
    files: dict[str, bytes | str] = {
        "class_list.txt": FOODS,
        "train_info.csv": "".join(f"train_{n:06d}.jpg,{n % 3}\n" for n in range(6)),
        "val_info.csv": "".join(f"val_{n:06d}.jpg,{n}\n" for n in range(3)),
        "test_info.csv": "test_000000.jpg\n",
    }
    for word, count, start in (("train", 6, 500), ("val", 3, 600)):
        for number in range(count):
            files[f"{word}_set/{word}_{number:06d}.jpg"] = picture(start + number)
    return write(folder, files)


def test_food_251_is_the_same_in_folders_and_in_tars(tmp_path: Path) -> None:
    folder = write_food(tmp_path / "food")
    names = ["macaron", "beignet", "cup cake"]
    assert open_source(str(folder)).layout is Layout.FOOD_251
    made = made_of(folder, tmp_path / "made")
    assert told(made, "train") == {f"train/train_{n:06d}.jpg": (names[n % 3],) for n in range(6)}
    assert told(made, "test") == {f"val/val_{n:06d}.jpg": (names[n],) for n in range(3)}
    for word in ("train", "val"):
        pack_tar(folder / f"{word}.tar", folder, f"{word}_set")
        shutil.rmtree(folder / f"{word}_set")
    (folder / "annot").mkdir()
    for name in ("class_list.txt", "train_info.csv", "val_info.csv"):
        (folder / name).rename(folder / "annot" / name)
    assert open_source(str(folder)).layout is Layout.FOOD_251
    assert made_of(folder, tmp_path / "made2").card["digest"] == made.card["digest"]


def test_the_header_of_the_edition_of_kaggle_is_no_image(tmp_path: Path) -> None:
    folder = write_food(tmp_path / "food")
    (folder / "train_info.csv").unlink()
    write(folder, {"train_labels.csv": "img_name,label\ntrain_000000.jpg,2\n"})
    rows = [row for row in walk(folder) if row.split == "train"]
    assert [(row.key, row.class_ids) for row in rows] == [("train/train_000000.jpg", ("cup cake",))]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"val_info.csv": "a.jpg,0\nb.jpg,7\n"},
            r"val_info\.csv, row 2: 'b\.jpg,7' is no image and class",
        ),
        ({"val_info.csv": "a.jpg,0\nb.jpg\n"}, r"val_info\.csv, row 2: 'b\.jpg' is no image"),
        ({"class_list.txt": "macaron\n"}, r"class_list\.txt: 'macaron' is no number and name"),
        ({"class_list.txt": b"0 caf\xe9\n"}, r"class_list\.txt is not UTF-8 text"),
    ],
)
def test_what_is_not_as_food_251_publishes_it_is_a_sentence(
    files: dict[str, bytes | str], message: str, tmp_path: Path
) -> None:
    folder = write(write_food(tmp_path / "food"), files)
    with pytest.raises(SourceError, match=message):
        parts_of(folder)


# --- parts --------------------------------------------------------------------------------------


def test_jobs_of_an_array_share_a_published_dataset_and_a_resumed_run_has_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_inat(tmp_path / "inat")
    whole = made_of(folder, tmp_path / "whole")
    monkeypatch.setattr(annotated, "MAX_PART_ROWS", 2)
    assert [part.name for part in parts_of(folder)] == [
        "train2018/train_val2018 1-2",
        "train2018/train_val2018 3-4",
        "train2018/train_val2018 5-6",
        "val2018/train_val2018 1-2",
        "val2018/train_val2018 3-3",
    ]
    for share in ("0/2", "1/2"):
        prepare(str(folder), tmp_path / "made", **{**WHOLE, "shard": share})  # type: ignore[arg-type]
    made = made_of(folder, tmp_path / "made", resume=True)
    assert made.card["digest"] == whole.card["digest"]


def test_the_state_of_a_part_tells_other_labels_and_other_archives(tmp_path: Path) -> None:
    folder = write_inat(tmp_path / "inat")
    before = [part.state for part in parts_of(folder)]
    assert [part.state for part in parts_of(folder)] == before
    changed = {**INAT_VAL, "train_val2018/Plantae/2/v2.jpg": 0}
    write(folder, {"val2018.json": inat_json(changed, plain=False)})
    after = [part.state for part in parts_of(folder)]
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (Layout.VOC, "holds no image sets of Pascal VOC"),
        (Layout.COCO, "holds no annotations of COCO"),
        (Layout.INATURALIST, "holds no labels of iNaturalist"),
        (Layout.CIFAR, "is not CIFAR's binary version"),
        (Layout.IMAGENET_1K, "holds no images of ImageNet-1K"),
        (Layout.FOOD_251, r"class_list\.txt cannot be read"),
    ],
)
def test_a_published_layout_that_is_stated_and_not_there_is_a_sentence(
    layout: Layout, message: str, tmp_path: Path
) -> None:
    write(tmp_path, {"swan/1.jpg": picture(1)})
    assert open_source(str(tmp_path)).layout is Layout.CLASS_FOLDERS
    with pytest.raises(SourceError, match=message):
        parts_of(tmp_path, layout)


def test_files_where_folders_are_meant_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"no tar"))
    (tmp_path / "a.tar").write_bytes(tar_of(("swan/1.jpg", b"1")))
    with pytest.raises(SourceError, match="is damaged or cut short"):
        parts_of(tmp_path / "a.gz", Layout.CIFAR)
    with pytest.raises(SourceError, match="holds no image sets"):
        parts_of(tmp_path / "a.tar", Layout.VOC)
    for layout in (Layout.COCO, Layout.INATURALIST, Layout.IMAGENET_1K, Layout.FOOD_251):
        with pytest.raises(SourceError, match=r"a\.tar"):
            parts_of(tmp_path / "a.tar", layout)


# --- recipes ------------------------------------------------------------------------------------

RUNS = Path(__file__).parents[1] / "runs"


PUBLISHED = sorted(set(RUNS.glob("*.sh")) - {RUNS / "schemes.sh"})


@pytest.mark.parametrize("recipe", PUBLISHED, ids=lambda recipe: recipe.stem)
def test_a_recipe_says_what_it_must_and_its_commands_are_those_of_the_package(recipe: Path) -> None:
    head, _, body = recipe.read_text().partition("set -euo pipefail\n")
    for word in ("Files", "Terms", "Classes", "Metric", "Published"):
        assert re.search(rf"^# {word} {{2,}}\S", head, re.MULTILINE), word
    lines = [line.strip() for line in body.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("hypernym ")]
    assert commands[-1][:4] == ["transfer", "$3", "$2", "$4"]
    assert commands[0][:3] == ["prepare", "$1", "$2"]
    for words in commands:
        app.parse_args(words, print_error=False, exit_on_error=False)
    options = dict(zip(commands[0][3::2], commands[0][4::2], strict=True))
    assert int(options["--val-per-class"]) < int(options.get("--min-images", 50))


def test_the_classes_of_voc_stand_in_the_tree_of_its_recipe() -> None:
    taxonomy = read_taxonomy(RUNS / "voc.csv")
    below = set(taxonomy.parents) - {up for ups in taxonomy.parents.values() for up in ups}
    assert len(below) == 20
    assert {"aeroplane", "diningtable", "person", "pottedplant", "tvmonitor"} <= below
