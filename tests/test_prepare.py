"""`prepare` as a whole: recipes, class lists, splits, several labels, duplicates, shares, failures."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from hypernym.cli import main
from hypernym.commands.prepare import PrepareReport, ShareReport, prepare
from hypernym.data.classes import load_classes
from hypernym.data.dataset import Dataset, open_dataset
from hypernym.data.rejections import RejectionError
from hypernym.errors import DatasetError, OutputError, SourceError, UsageError
from hypernym.preparation import convert
from hypernym.preparation.sources.places import reader_of_file

if TYPE_CHECKING:
    from hypernym.data.images import ImagePolicy
    from hypernym.preparation.sources.part import Part, SourceImage

SMALL = {"min_images": 3, "val_per_class": 1, "size": 32, "workers": 1}
"""Options for sources of few, small pictures."""


def picture(seed: int, side: int = 32, quality: int = 95) -> bytes:
    """Return a JPEG of clouds: coarse and fine, as in photos, with amplitudes that fall as 1 / f."""
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=(3, 128, 128)))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128))) + 1 / 128
    clouds = np.fft.ifft2(noise / frequency).real
    levels = (128 + 60 * clouds / clouds.std()).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    image = Image.fromarray(levels.transpose(1, 2, 0)).resize((side, side), Image.Resampling.LANCZOS)
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def write_classes(folder: Path, **files: dict[str, bytes]) -> Path:
    """Write class folders: of each class, the bytes of each name."""
    for class_id, named in files.items():
        (folder / class_id).mkdir(parents=True)
        for name, data in named.items():
            (folder / class_id / name).write_bytes(data)
    return folder


def pictures(first: int, num: int, stem: str = "p") -> dict[str, bytes]:
    """Return pictures of their own seeds, by name."""
    return {f"{stem}_{number}.JPEG": picture(1000 * first + number) for number in range(1, num + 1)}


def make(source: Path, dataset: Path, **options: object) -> Dataset:
    prepare(str(source), dataset, **{**SMALL, **options})  # type: ignore[arg-type]
    return open_dataset(dataset)


def sources_of(dataset: Dataset, split: str | None = None) -> set[str]:
    rows = pq.read_table(dataset.path / "images.parquet").to_pylist()
    return {row["source"] for row in rows if split in {None, row["split"]}}


def rejected(dataset: Dataset) -> dict[str, str]:
    rows = pq.read_table(dataset.path / "rejected.parquet").to_pylist()
    return {row["key"] or row["class_id"]: row["reason"] for row in rows}


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a dataset. The report tells of the run, with its times."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "report.html")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


# --- recipes ------------------------------------------------------------------------------------


def test_the_two_recipes_differ_as_they_say_on_one_small_input(tmp_path: Path) -> None:
    """What differs: which images count, which are held out, what happens to duplicates."""
    twice = picture(7)
    ants = {f"ant_{n}.JPEG": picture(n) for n in (1, 10, 100, 2, 3, 20)}
    source = write_classes(
        tmp_path / "source",
        ant={**ants, "ant_30.JPEG": twice},
        bee={**pictures(5, 6, "bee"), "bee_9.JPEG": twice},
        cow={**pictures(9, 6, "cow"), "cow_7.JPEG": b"", "cow_8.JPEG": b"no picture"},
    )
    options = {"min_images": 7, "val_per_class": 2}
    official = make(source, tmp_path / "official", recipe="imagenet21k-p", **options)
    assert official.classes.ids == ("ant", "bee", "cow")  # cow: 8 names, 6 of them pictures
    held_out = {key for key in sources_of(official, "val") if key.startswith("ant")}
    assert held_out == {"ant/ant_1.JPEG", "ant/ant_10.JPEG"}  # byte order, not that of numbers
    assert {"ant/ant_30.JPEG", "bee/bee_9.JPEG"} <= sources_of(official)
    assert rejected(official) == {"cow/cow_7.JPEG": "empty", "cow/cow_8.JPEG": "not an image"}

    better = make(source, tmp_path / "better", min_images=6, val_per_class=2)
    assert better.classes.ids == ("ant", "bee", "cow")
    assert {"ant/ant_30.JPEG", "bee/bee_9.JPEG"}.isdisjoint(sources_of(better))
    assert rejected(better) == {
        **rejected(official),
        "ant/ant_30.JPEG": "conflicting labels",
        "bee/bee_9.JPEG": "conflicting labels",
    }
    with pytest.raises(SourceError, match="no class has 7 usable images"):
        make(source, tmp_path / "none", min_images=7, val_per_class=2)


def test_the_recipe_of_imagenet21k_p_has_the_official_numbers(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "source", ant=pictures(1, 3))
    with pytest.raises(SourceError, match=r"no class has 501 .*has 3"):
        prepare(str(source), tmp_path / "dataset", recipe="imagenet21k-p", workers=1)  # type: ignore[arg-type]
    plan = json.loads((tmp_path / "dataset/.work/plan.json").read_text())
    assert plan["selection"] == {
        "min_images": 501, "val_per_class": 50, "seed": 0, "count": "names", "holdout": "first-names"
    }  # fmt: skip
    assert (plan["images"]["size"], plan["images"]["resize"]) == (224, "squish")
    assert plan["duplicates"]["duplicates"] == "ignore"


# --- class lists --------------------------------------------------------------------------------


def test_only_the_classes_of_a_list_are_opened_and_the_missing_are_counted(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "source", ant=pictures(1, 4), bee=pictures(2, 4))
    (source / "cow").mkdir()
    (tmp_path / "list.txt").write_text("ant Formica\ndog\n\n")
    report = prepare(
        str(source),
        tmp_path / "dataset",
        classes=str(tmp_path / "list.txt"),
        **SMALL,  # type: ignore[arg-type]
    )
    assert isinstance(report, PrepareReport)
    assert (report.classes, report.classes_missing, report.images_seen) == (1, 1, 4)
    assert "1 of the classes asked for" in str(report)
    assert open_dataset(tmp_path / "dataset").card["classes_missing"] == ["dog"]


def test_a_list_that_is_not_there_is_a_mistake_of_the_request(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "source", ant=pictures(1, 4))
    with pytest.raises(UsageError, match=r"imagenet21k cannot be read.*did you mean 'imagenet21k-p'"):
        make(source, tmp_path / "dataset", classes="imagenet21k")


# --- splits and labels --------------------------------------------------------------------------


def test_a_stated_test_split_stays_whole_and_val_is_held_out_of_train(tmp_path: Path) -> None:
    write_classes(tmp_path / "s" / "train", ant=pictures(1, 5), bee=pictures(2, 5))
    write_classes(tmp_path / "s" / "test", ant=pictures(3, 2), bee=pictures(4, 3))
    made = make(tmp_path / "s", tmp_path / "dataset")
    assert {name: split["images"] for name, split in made.card["splits"].items()} == {
        "train": 8, "val": 2, "test": 5,
    }  # fmt: skip
    assert {key.split("/")[0] for key in sources_of(made, "test")} == {"test"}
    assert len(made.index("test")) == 5
    assert all(made.reader("test").read(row).startswith(b"\xff\xd8") for row in made.index("test"))
    assert load_classes(made.path / "classes.csv").test_counts == (2, 3)


def test_a_source_with_a_val_split_of_its_own_keeps_it(tmp_path: Path) -> None:
    write_classes(tmp_path / "s" / "train", ant=pictures(1, 5))
    write_classes(tmp_path / "s" / "val", ant=pictures(3, 2))
    made = make(tmp_path / "s", tmp_path / "dataset", val_per_class=0)
    assert sources_of(made, "val") == {"val/ant/p_1.JPEG", "val/ant/p_2.JPEG"}


def write_list(folder: Path, rows: list[tuple[str, str]]) -> Path:
    """Write pictures and a CSV with the labels of each."""
    folder.mkdir()
    for number, (name, _) in enumerate(rows):
        (folder / name).write_bytes(picture(number))
    with (folder / "list.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "labels"), *rows])
    return folder / "list.csv"


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves them open
def test_several_labels_an_image_are_kept_beside_the_index(tmp_path: Path) -> None:
    rows = [(f"{n}.jpg", "cat;dog" if n % 3 == 0 else "dog" if n % 3 == 1 else "cat") for n in range(12)]
    source = write_list(tmp_path / "photos", [*rows, ("rare.jpg", "dog;newt"), ("bare.jpg", "")])
    made = make(source, tmp_path / "dataset", val_per_class=2)
    assert made.classes.ids == ("cat", "dog")
    assert made.card["several_labels"]
    truth = {f"{n}.jpg": label for n, (_, label) in enumerate(rows)} | {"rare.jpg": "dog"}
    for split in ("train", "val"):
        images = pq.read_table(made.path / "images.parquet").to_pylist()
        own = [row for row in images if row["split"] == split]
        pairs = made.labels(split)
        for place, (row, entry) in enumerate(zip(own, made.index(split), strict=True)):
            labels = pairs["label"][pairs["row"] == place].tolist()
            assert labels == row["labels"]
            assert labels[0] == entry["label"] == row["label"]
            assert [made.classes.ids[label] for label in labels] == truth[row["source"]].split(";")
    assert rejected(made) == {"bare.jpg": "no label", "newt": "rare class"}
    shards = [str(path) for path in sorted((made.path / "train").iterdir())]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert all("jpg" in sample and sample["json"]["labels"] for sample in samples)
    assert len(samples) == len(made.index("train"))


def test_one_label_an_image_needs_no_table_of_labels(tmp_path: Path) -> None:
    made = make(write_classes(tmp_path / "s", ant=pictures(1, 4)), tmp_path / "dataset")
    assert not (made.path / "train.labels.npy").exists()
    with pytest.raises(DatasetError, match="one label an image"):
        made.labels("train")


# --- duplicates ---------------------------------------------------------------------------------


@pytest.fixture
def with_duplicates(tmp_path: Path) -> Path:
    """Of WordNet's dog and animal, and two unrelated classes: equal and nearly equal pictures."""
    equal, near = picture(1, 96), picture(2, 96)
    return write_classes(
        tmp_path / "source",
        n00015388={**pictures(1, 5, "animal"), "equal.JPEG": equal, "near.JPEG": picture(2, 64, 70)},
        n02084071={**pictures(2, 5, "dog"), "equal.JPEG": equal, "near.JPEG": near},
        n02958343={**pictures(3, 5, "car"), "other.JPEG": picture(3, 96)},
        n07739125={**pictures(4, 5, "apple"), "other.JPEG": picture(3, 64, 60)},
    )


def test_of_a_picture_under_a_class_and_its_ancestor_the_deeper_label_stays(
    with_duplicates: Path, tmp_path: Path
) -> None:
    made = make(with_duplicates, tmp_path / "dataset")
    assert rejected(made) == {
        "n00015388/equal.JPEG": "duplicate",
        "n00015388/near.JPEG": "duplicate",
        "n02958343/other.JPEG": "conflicting labels",
        "n07739125/other.JPEG": "conflicting labels",
    }
    details = {
        row["key"]: row["detail"] for row in pq.read_table(made.path / "rejected.parquet").to_pylist()
    }
    assert details["n00015388/near.JPEG"] == "like n02084071/near.JPEG"
    assert details["n02958343/other.JPEG"] == "like n07739125/other.JPEG"
    assert made.card["images_rejected"] == {"conflicting labels": 2, "duplicate": 2}


def test_on_request_an_unrelated_pair_stays_once_with_both_labels(
    with_duplicates: Path, tmp_path: Path
) -> None:
    made = make(with_duplicates, tmp_path / "dataset", conflicts="keep-all-labels")
    row = next(
        row
        for row in pq.read_table(made.path / "images.parquet").to_pylist()
        if row["source"] == "n02958343/other.JPEG"
    )
    assert [made.classes.ids[label] for label in row["labels"]] == ["n02958343", "n07739125"]
    assert rejected(made)["n07739125/other.JPEG"] == "duplicate"


def test_exact_keeps_what_is_only_alike_and_ignore_keeps_everything(
    with_duplicates: Path, tmp_path: Path
) -> None:
    exact = make(with_duplicates, tmp_path / "exact", duplicates="exact", val_per_class=0)
    assert rejected(exact) == {"n00015388/equal.JPEG": "duplicate"}
    assert rejected(make(with_duplicates, tmp_path / "ignore", duplicates="ignore")) == {}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mode", ["near", "exact", "keep"])
def test_no_picture_is_on_both_sides_of_the_split(tmp_path: Path, mode: str, seed: int) -> None:
    copies = {f"c_{n}_{quality}.JPEG": picture(n, 64, quality) for n in range(6) for quality in (60, 95)}
    source = write_classes(tmp_path / "source", ant=copies)
    made = make(source, tmp_path / "dataset", duplicates=mode, val_per_class=2, seed=seed)
    sides = [{name.split("_")[1] for name in sources_of(made, split)} for split in ("train", "val")]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_pictures_of_another_dataset_s_held_out_splits_are_left_out(tmp_path: Path) -> None:
    shared, trained = picture(1, 96), picture(2, 96)
    write_classes(tmp_path / "down" / "train", cat={**pictures(8, 4), "t.JPEG": trained})
    write_classes(tmp_path / "down" / "test", cat={**pictures(9, 2), "s.JPEG": shared})
    make(tmp_path / "down", tmp_path / "downstream", val_per_class=0)
    source = write_classes(
        tmp_path / "source",
        ant={**pictures(1, 5), "shared.JPEG": picture(1, 64, 70), "trained.JPEG": trained},
    )
    official = {"recipe": "imagenet21k-p", "against": (tmp_path / "downstream",)}
    assert list(rejected(make(source, tmp_path / "official", **official))) == ["ant/shared.JPEG"]
    made = make(source, tmp_path / "dataset", against=(tmp_path / "downstream",))
    assert rejected(made) == {"ant/shared.JPEG": "shared with another dataset"}
    row = pq.read_table(made.path / "rejected.parquet").to_pylist()[0]
    assert row["detail"] == "like downstream/test/cat/s.JPEG"


# --- one source in several layouts --------------------------------------------------------------


def pack_tars(source: Path, path: Path, mode: str) -> Path:
    """Pack class folders into a tar of class tars, by GNU tar."""
    classes = sorted(folder.name for folder in source.iterdir())
    path.parent.mkdir(exist_ok=True)
    for class_id in classes:
        files = sorted(file.name for file in (source / class_id).iterdir())
        tar = path.parent / f"{class_id}.tar"
        subprocess.run(["tar", "cf", tar, "-C", source / class_id, *files], check=True)  # noqa: S607
    members = [f"{class_id}.tar" for class_id in classes]
    subprocess.run(["tar", mode, path, "-C", path.parent, *members], check=True)  # noqa: S607
    return path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    return write_classes(
        tmp_path / "folders",
        ant={**pictures(1, 6), "bad.JPEG": b"?"},
        bee=pictures(2, 5),
        cow=pictures(3, 4),
    )


def test_every_layout_of_the_same_pictures_gives_the_same_digest(folders: Path, tmp_path: Path) -> None:
    digests = {"folders": make(folders, tmp_path / "d0").card["digest"]}
    plain = pack_tars(folders, tmp_path / "a" / "whole.tar", "cf")
    zipped = pack_tars(folders, tmp_path / "b" / "whole.tar.gz", "czf")
    digests["tar of class tars"] = make(plain, tmp_path / "d1").card["digest"]
    digests["gzip'd tar of class tars"] = make(zipped, tmp_path / "d2").card["digest"]
    plain.unlink()
    digests["class tars"] = make(plain.parent, tmp_path / "d3").card["digest"]
    one_tar = tmp_path / "folders.tar"
    subprocess.run(["tar", "cf", one_tar, "-C", folders, "ant", "bee", "cow"], check=True)  # noqa: S607
    digests["folder tar"] = make(one_tar, tmp_path / "d4").card["digest"]
    assert len(set(digests.values())) == 1, digests


def test_a_stream_leaves_nothing_of_itself_behind_and_is_not_read_twice(
    folders: Path, tmp_path: Path
) -> None:
    source = pack_tars(folders, tmp_path / "b" / "whole.tar.gz", "czf")
    with pytest.raises(SourceError):  # converts everything, and ends there
        make(source, tmp_path / "dataset", min_images=100)
    assert not (tmp_path / "dataset/.work/spool").exists() or not any(
        (tmp_path / "dataset/.work/spool").iterdir()
    )
    converted = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "dataset/.work/converted").iterdir()
    }
    with pytest.raises(SourceError):
        make(source, tmp_path / "dataset", min_images=100, resume=True)
    assert converted == {path: path.stat().st_mtime_ns for path in converted}


# --- job arrays, failures, full disks -----------------------------------------------------------


def test_jobs_of_an_array_share_the_work_and_end_in_the_same_bytes(
    folders: Path, tmp_path: Path
) -> None:
    expected = files_in(make(folders, tmp_path / "whole").path)
    for place, done in ((1, 1), (0, 3)):
        report = prepare(
            str(folders),
            tmp_path / "dataset",
            shard=f"{place}/2",
            **SMALL,  # type: ignore[arg-type]
        )
        assert isinstance(report, ShareReport)
        assert (report.parts, report.parts_done) == (3, done)
    assert files_in(make(folders, tmp_path / "dataset", resume=True).path) == expected


@pytest.mark.parametrize("words", ["2/2", "0", "a/b", "-1/2", "1/0"])
def test_a_share_that_cannot_be_is_refused(folders: Path, tmp_path: Path, words: str) -> None:
    with pytest.raises(UsageError, match=f"--shard {words}: give i/n"):
        make(folders, tmp_path / "dataset", shard=words)


def test_a_part_that_fails_is_named_and_tried_again_at_the_next_start(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = files_in(make(folders, tmp_path / "whole").path)
    original = convert._convert_images

    def fail_for_bees(part: Part, rule: convert.ConvertRule) -> object:
        if part.name == "bee":
            raise OSError(5, "Input/output error", "bee")
        return original(part, rule)

    with monkeypatch.context() as failing:
        failing.setattr(convert, "_convert_images", fail_for_bees)
        with pytest.raises(
            SourceError, match=r"(?s)1 parts? .*bee.*Input/output.*--resume.*--max-failures"
        ):
            make(folders, tmp_path / "dataset")
    assert files_in(make(folders, tmp_path / "dataset", resume=True).path) == expected


def test_as_many_parts_as_allowed_may_fail_and_stand_in_the_report(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = convert._convert_images

    def fail_for_bees(part: Part, rule: convert.ConvertRule) -> object:
        if part.name == "bee":
            raise OSError(5, "Input/output error", "bee")
        return original(part, rule)

    monkeypatch.setattr(convert, "_convert_images", fail_for_bees)
    made = make(folders, tmp_path / "dataset", max_failures=1)
    assert made.classes.ids == ("ant", "cow")
    assert rejected(made)["bee"] in {"failed part", "rare class"}
    assert made.card["images_rejected"]["failed part"] == 1


def test_parts_that_failed_beyond_the_limit_are_all_tried_again_at_the_next_start(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of them must not stand there as done: its class would be lost for good."""
    expected = files_in(make(folders, tmp_path / "whole").path)
    fail_at(monkeypatch, "ant", "bee")
    for shard in (None, "0/2", "1/2"):
        if shard == "1/2":  # the part of bees: its share is within the limit of no failure at all
            monkeypatch.undo()
            fail_at(monkeypatch, "bee")
        with pytest.raises(SourceError, match=r"(?s)could not be worked through.*Input/output"):
            make(
                folders,
                tmp_path / "dataset",
                max_failures=0 if shard else 1,
                resume=True,
                **({"shard": shard} if shard else {}),
            )
        assert not set(tmp_path.glob("dataset/.work/parts.json"))
    monkeypatch.undo()
    assert files_in(make(folders, tmp_path / "dataset", resume=True).path) == expected


def fail_at(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the disk fail at the parts of some names."""
    original = convert._convert_images

    def convert_or_fail(part: Part, rule: convert.ConvertRule) -> object:
        if part.name in names:
            raise OSError(5, "Input/output error", part.name)
        return original(part, rule)

    monkeypatch.setattr(convert, "_convert_images", convert_or_fail)


# --- a source that goes away --------------------------------------------------------------------


def make_source(kind: str, folder: Path) -> tuple[str, Path]:
    """Write three classes in a layout; return what is given as the source, and the mount that has it."""
    mount = folder / "mount"
    of_classes = {name: pictures(number, 6, name) for number, name in enumerate(("ant", "bee", "cow"))}
    write_classes(mount / "photos", **of_classes)
    names = [f"photos/{class_id}/{name}" for class_id, named in of_classes.items() for name in named]
    match kind:
        case "folders":
            return str(mount / "photos"), mount
        case "mounted folders":
            return str(mount / "photos"), mount / "photos"
        case "list":
            lines = [f"{name},{name.split('/')[1]}\n" for name in names]
            (mount / "list.csv").write_text("path,label\n" + "".join(lines))
            return str(mount / "list.csv"), mount
        case "list elsewhere":
            lines = [f"{mount / name},{name.split('/')[1]}\n" for name in names]
            (folder / "list.csv").write_text("path,label\n" + "".join(lines))
            return str(folder / "list.csv"), mount
        case "table":
            images = [{"bytes": None, "path": name} for name in names]
            table = pa.table({"image": images, "label": [name.split("/")[1] for name in names]})
            pq.write_table(table, mount / "table.parquet", row_group_size=6)
            return str(mount / "table.parquet"), mount
        case _:
            categories = [{"id": number, "name": name} for number, name in enumerate(of_classes)]
            document = {
                "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
                "annotations": [{"image_id": n, "category_id": n // 6} for n in range(len(names))],
                "categories": categories,
            }
            (mount / "train2018.json").write_text(json.dumps(document))
            document |= {"images": [], "annotations": []}
            (mount / "val2018.json").write_text(json.dumps(document))
            return str(mount), mount


KINDS = ["folders", "mounted folders", "list", "list elsewhere", "table", "annotations"]


@pytest.mark.parametrize("leaves_empty_folder", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mount_that_goes_away_stops_the_run_which_then_goes_on_to_the_same_bytes(
    kind: str,
    leaves_empty_folder: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, mount = make_source(kind, tmp_path)
    expected = files_in(make(Path(source), tmp_path / "whole").path)
    original = convert._convert_image
    seen = 0

    def convert_until_it_goes(image: SourceImage, policy: ImagePolicy) -> object:
        nonlocal seen
        seen += 1
        if seen == 9:
            mount.rename(tmp_path / "away")
            if leaves_empty_folder:
                mount.mkdir()
        return original(image, policy)

    words = ["prepare", source, str(tmp_path / "made")]
    words += [
        word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    with monkeypatch.context() as going:
        going.setattr(convert, "_convert_image", convert_until_it_goes)
        assert main(words) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("converting")]
    assert len(said) == 1
    assert "could not be worked through, after retries" in said[0]
    assert "--resume" in said[0]
    if leaves_empty_folder:
        mount.rmdir()
    (tmp_path / "away").rename(mount)
    assert main([*words, "--resume"]) == 0
    assert files_in(tmp_path / "made") == expected


def test_a_file_that_alone_is_gone_is_a_row(tmp_path: Path) -> None:
    source, mount = make_source("list", tmp_path)
    (mount / "photos/bee/bee_2.JPEG").unlink()
    made = make(Path(source), tmp_path / "made")
    assert rejected(made) == {"photos/bee/bee_2.JPEG": "unreadable"}


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_a_disk_that_fails_is_an_error_and_a_file_that_refuses_is_a_row(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.jpg").write_bytes(picture(1))
    read = reader_of_file(tmp_path / "1.jpg", tmp_path)
    said: list[int] = []

    def fail(_: Path) -> bytes:
        raise OSError(said[0], os.strerror(said[0]))

    monkeypatch.setattr(type(tmp_path), "read_bytes", fail)
    said[:] = [number]
    with pytest.raises(SourceError, match=os.strerror(number)):
        read()
    said[:] = [errno.EACCES]
    with pytest.raises(RejectionError, match="unreadable"):
        read()


def test_a_source_of_one_class_is_told_of_with_the_way_to_give_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tarfile.open(tmp_path / "voc.tar", "w") as archive:
        add_member(archive, "labels.csv", b"path,label\n")
        for name, data in pictures(1, 4).items():
            add_member(archive, f"JPEGImages/{name}", data)
    make(tmp_path / "voc.tar", tmp_path / "made")
    said = capsys.readouterr().err
    assert "voc.tar are of one class, JPEGImages" in said
    assert "labels.csv" in said
    make(write_classes(tmp_path / "two", ant=pictures(1, 4), bee=pictures(2, 4)), tmp_path / "other")
    assert "of one class" not in capsys.readouterr().err


def test_a_full_disk_is_one_sentence_and_a_restart_goes_on(folders: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", disk],  # noqa: S607
        check=False, capture_output=True,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        options = ["--size", "32", "--min-images", "3", "--val-per-class", "1", "--workers", "2"]
        words = [sys.executable, "-m", "hypernym", "prepare", str(folders), str(disk / "d"), *options]
        ended = subprocess.run(words, check=False, capture_output=True, text=True)
        assert ended.returncode == 2, ended.stderr
        assert "No space left on device" in ended.stderr
        assert "Traceback" not in ended.stderr
        subprocess.run(["mount", "-o", "remount,size=32m", disk], check=True)  # noqa: S607
        subprocess.run([*words, "--resume"], check=True, capture_output=True)
        expected = make(folders, tmp_path / "whole").card["digest"]
        assert open_dataset(disk / "d").card["digest"] == expected
    finally:
        subprocess.run(["umount", disk], check=True)  # noqa: S607


def test_ctrl_c_stops_at_once_and_says_how_to_go_on(tmp_path: Path) -> None:
    source = write_classes(tmp_path / "source", **{f"c{n}": pictures(n, 60) for n in range(8)})
    options = ["--size", "64", "--workers", "2", "--min-images", "3", "--val-per-class", "1"]
    words = [sys.executable, "-m", "hypernym", "prepare", str(source), str(tmp_path / "d"), *options]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while process.poll() is None and not any(tmp_path.glob("d/.work/converted/.*.tmp")):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Stopped. Add --resume to go on."
    assert "Traceback" not in said
    subprocess.run([*words, "--resume"], check=True, capture_output=True)


def test_a_file_added_between_kill_and_restart_is_noticed(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        make(folders, tmp_path / "dataset", min_images=100)
    (folders / "ant" / "late.JPEG").write_bytes(picture(77))
    with pytest.raises(OutputError, match="files of the source are not those"):
        make(folders, tmp_path / "dataset", min_images=100, resume=True)


def test_other_package_versions_are_refused_on_restart(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        make(folders, tmp_path / "dataset", min_images=100)
    plan = tmp_path / "dataset/.work/plan.json"
    document = json.loads(plan.read_text())
    document["versions"]["pillow"] = "1.0"
    plan.write_text(json.dumps(document))
    with pytest.raises(OutputError, match=r"versions pillow 1\.0"):
        make(folders, tmp_path / "dataset", min_images=100, resume=True)


def test_the_work_files_lie_in_the_order_of_the_shards(folders: Path, tmp_path: Path) -> None:
    """So that packing reads each of them from its begin to its end, and a disk need not seek."""
    with pytest.raises(SourceError):
        make(folders, tmp_path / "dataset", min_images=100)
    for path in (tmp_path / "dataset/.work/converted").glob("*.parquet"):
        rows = [row for row in pq.read_table(path).to_pylist() if row["size"]]
        by_hash = sorted(rows, key=lambda row: row["order_hash"])
        assert [row["offset"] for row in by_hash] == sorted(row["offset"] for row in rows)


def test_a_tar_of_a_million_rows_is_worked_through_in_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "BATCH_ROWS", 2)
    folders = write_classes(tmp_path / "source", ant=pictures(1, 7))
    made = make(folders, tmp_path / "batches")
    monkeypatch.undo()
    assert files_in(made.path) == files_in(make(folders, tmp_path / "whole").path)


def test_hostile_names_write_nothing_outside_of_the_dataset(tmp_path: Path) -> None:
    names = ["../../evil.jpg", "/evil.jpg", "a/../../../evil2.jpg", "..", "~/evil.jpg", "evil\n.jpg"]
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        for number, name in enumerate(names):
            add_member(archive, name, picture(number))
    with tarfile.open(tmp_path / "whole.tar", "w") as archive:
        add_member(archive, "../../ant.tar", inner.getvalue())
    made = make(tmp_path / "whole.tar", tmp_path / "deep" / "er" / "dataset", duplicates="ignore")
    assert {path.name for path in tmp_path.iterdir()} == {"whole.tar", "deep"}
    assert {path.name for path in (tmp_path / "deep").rglob("*") if path.is_dir()} == {
        "er", "dataset", "train", "val",
    }  # fmt: skip
    for shard in made.path.glob("*/*.tar"):
        with tarfile.open(shard) as archive:
            pieces = [piece for name in archive.getnames() for piece in name.split("/")]
        assert not {"", ".", ".."} & set(pieces)
    assert sum(split["images"] for split in made.card["splits"].values()) == len(names)


def add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def test_real_archives_become_datasets(shared: Path, tmp_path: Path) -> None:
    """CIFAR-100's own splits, in a tar of class folders."""
    source = tmp_path / "cifar.tar"
    with tarfile.open(shared / "data/cifar100.tar") as archive, tarfile.open(source, "w") as part:
        for member in archive:
            if member.isreg() and member.name.split("/")[1] in {"apple", "aquarium_fish"}:
                part.addfile(member, archive.extractfile(member))
    made = make(source, tmp_path / "dataset")
    assert made.classes.ids == ("apple", "aquarium_fish")
    assert made.card["splits"]["test"]["images"] == 60
