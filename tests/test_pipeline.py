import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count, starmap
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hypernym.commands.prepare import prepare
from hypernym.data.dataset import Dataset, open_dataset
from hypernym.data.images import ImagePolicy, Resize
from hypernym.data.shards import open_index
from hypernym.errors import DatasetError, OutputError, SourceError
from hypernym.files import open_whole
from hypernym.preparation import convert, pack, pipeline
from hypernym.preparation import plan as plans
from hypernym.preparation.duplicates import Conflicts, DuplicateRule, Duplicates
from hypernym.preparation.job import Preparation, Taxonomy, Workforce
from hypernym.preparation.pipeline import run_preparation
from hypernym.preparation.rules import PrepareRules
from hypernym.preparation.selection import SelectionRule
from hypernym.preparation.sources.opening import open_source

# The pictures of the world fit in 64 pixels: nothing is resized, and a worker starts without torch.
RULES = PrepareRules(
    ImagePolicy(64, Resize.SQUISH, 95, fingerprints=False),
    SelectionRule(3, 2, 0),
    DuplicateRule(Duplicates.IGNORE, Conflicts.DROP, 24),
    10_000,
)

server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(["hypernym.preparation.pipeline", "jinja2"])


def names_of(ids: Sequence[str]) -> list[str]:
    return [f"name of {class_id}" for class_id in ids]


NO_TAXONOMY = Taxonomy(names_of, lambda _: (), "none")


def run(
    source: Path,
    folder: Path,
    rules: PrepareRules = RULES,
    force: Workforce | None = None,
    taxonomy: Taxonomy = NO_TAXONOMY,
) -> Dataset:
    force = force or Workforce()
    job = Preparation(open_source(str(source)), folder, rules, taxonomy, workforce=force)
    made = run_preparation(job)
    assert isinstance(made, Dataset)
    return made


def convert_some(source: Path, folder: Path, num_parts: int) -> int:
    """Convert the first parts only, as a run that was killed then did; return how many there are."""
    job = Preparation(open_source(str(source)), folder, RULES, NO_TAXONOMY)
    plans.begin(job)
    parts = [*starmap(convert.NumberedPart, enumerate(job.source.find_parts()))]
    rule = convert.ConvertRule(RULES.images, RULES.selection.seed, None)
    for part in parts[:num_parts]:
        convert.convert_part(part, work=job.work, rule=rule)
    return len(parts)


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file, hidden ones included.

    The report tells of the run, with its times, and may differ.
    """
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "report.html"
    }


def is_leftover(name: str) -> bool:
    return name.endswith(".tmp")


def draw_class_folders(folder: Path, **num_images: int) -> Path:
    """Write pictures of 16 pixels of one colour each."""
    for class_id, number in num_images.items():
        (folder / class_id).mkdir(parents=True, exist_ok=True)
        for place in range(number):
            colour = (len(class_id) * 20, 40 * place % 256, ord(class_id[0]))
            Image.new("RGB", (16, 16), colour).save(folder / class_id / f"{place}.jpg")
    return folder


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The world, prepared without any interruption, in several shards."""
    made = run(world, tmp_path_factory.mktemp("whole") / "dataset")
    assert made.card["splits"]["train"]["shards"] > 3
    return made


# --- what is made -------------------------------------------------------------------------------


def test_the_folder_holds_what_is_written_down_and_nothing_else(whole: Dataset) -> None:
    shards = [f"train/{n:06d}.tar" for n in range(whole.card["splits"]["train"]["shards"])]
    shards += [f"val/{n:06d}.tar" for n in range(whole.card["splits"]["val"]["shards"])]
    tables = ["classes.csv", "images.parquet", "rejected.parquet", "_info.json", "dataset.json"]
    indexes = ["train.index.npy", "val.index.npy"]
    assert sorted(files_in(whole.path)) == sorted([*shards, *tables, *indexes])


def test_two_workers_give_the_same_bytes_as_one(whole: Dataset, world: Path, tmp_path: Path) -> None:
    made = run(world, tmp_path / "dataset", force=Workforce(workers=2))
    assert files_in(made.path) == files_in(whole.path)


def test_another_seed_gives_other_splits_and_another_order(
    whole: Dataset, world: Path, tmp_path: Path
) -> None:
    other = run(world, tmp_path / "dataset", replace(RULES, selection=SelectionRule(3, 2, 1)))
    tables = [pq.read_table(made.path / "images.parquet").to_pylist() for made in (whole, other)]
    sources = [[row["source"] for row in table] for table in tables]
    held_out = [{row["source"] for row in table if row["split"] == "val"} for table in tables]
    assert sorted(sources[0]) == sorted(sources[1])
    assert sources[0] != sources[1]
    assert held_out[0] != held_out[1]


def dirt_of(world: Path) -> dict[str, str]:
    """Return the reason for each bad file, from the bytes in the archive alone."""
    reasons = {}
    with tarfile.open(world) as outer:
        for class_tar in outer:
            with tarfile.open(fileobj=outer.extractfile(class_tar)) as inner:
                for member in inner:
                    stream = inner.extractfile(member)
                    assert stream is not None
                    data = stream.read()
                    key = f"{class_tar.name.removesuffix('.tar')}/{member.name}"
                    if not data:
                        reasons[key] = "empty"
                    elif data.startswith(b"<html>"):
                        reasons[key] = "not an image"
                    elif data.startswith(b"\xff\xd8") and not data.endswith(b"\xff\xd9"):
                        reasons[key] = "truncated"
    return reasons


def images_in(world: Path) -> Counter[str]:
    """Return the number of files of each class of the archive."""
    counts: Counter[str] = Counter()
    with tarfile.open(world) as outer:
        for class_tar in outer:
            with tarfile.open(fileobj=outer.extractfile(class_tar)) as inner:
                counts[class_tar.name.removesuffix(".tar")] += len(inner.getmembers())
    return counts


def test_the_rejected_are_exactly_the_dirt_and_the_rare_classes(world: Path, tmp_path: Path) -> None:
    dirt = dirt_of(world)
    assert sorted(dirt.values()) == ["empty", "not an image", "truncated"]
    usable = images_in(world) - Counter(key.partition("/")[0] for key in dirt)
    least = sorted(usable.values())[3]  # the three rarest classes go
    rare = {class_id: count for class_id, count in usable.items() if count < least}
    made = run(world, tmp_path / "dataset", replace(RULES, selection=SelectionRule(least, 2, 0)))
    rejected = pq.read_table(made.path / "rejected.parquet").to_pylist()
    found = {row["key"]: row["reason"] for row in rejected if row["key"]}
    assert found == dirt
    assert all(row["class_id"] == row["key"].partition("/")[0] for row in rejected if row["key"])
    dropped = [row for row in rejected if not row["key"]]
    assert {row["class_id"] for row in dropped} == set(rare) != set()
    assert {row["reason"] for row in dropped} == {"rare class"}
    assert made.card["classes_dropped"] == rare
    assert made.card["images_rejected"] == {"empty": 1, "not an image": 1, "truncated": 1}
    assert not set(rare) & set(made.classes.ids)


@pytest.mark.parametrize("least", [3, 8])
def test_every_image_seen_is_in_a_split_or_rejected_or_of_a_dropped_class(
    world: Path, tmp_path: Path, least: int
) -> None:
    card = run(world, tmp_path / "d", replace(RULES, selection=SelectionRule(least, 2, 0))).card
    in_splits = sum(split["images"] for split in card["splits"].values())
    rejected = sum(card["images_rejected"].values())
    dropped = sum(card["classes_dropped"].values())
    assert in_splits + rejected + dropped == card["images_seen"] == images_in(world).total()
    assert card["splits"]["val"]["images"] == 2 * card["num_classes"]


def test_tables_index_and_card_agree(whole: Dataset) -> None:
    images = pq.read_table(whole.path / "images.parquet")
    for split, counts in (("train", whole.classes.train_counts), ("val", whole.classes.val_counts)):
        rows = images.filter(pa.compute.equal(images["split"], split))
        index = open_index(whole.path / f"{split}.index.npy")
        for column in ("shard", "offset", "size", "label", "crc32"):
            assert rows[column].to_pylist() == index[column].tolist()
        labels = np.bincount(index["label"], minlength=len(whole.classes))
        assert labels.tolist() == list(counts)
        assert whole.card["splits"][split]["images"] == len(index)
        assert whole.card["splits"][split]["shards"] == len(set(index["shard"].tolist()))
        ids = [whole.classes.ids[label] for label in index["label"]]
        assert rows["class_id"].to_pylist() == ids
        reader = whole.reader(split)
        assert all(reader.read(row).startswith(b"\xff\xd8") for row in index)
    assert len(set(images["key"].to_pylist())) == len(set(images["source"].to_pylist())) == len(images)
    assert whole.classes.names == tuple(names_of(whole.classes.ids))
    assert whole.card["num_classes"] == len(whole.classes)


def test_every_image_has_the_size_and_digest_of_its_source(whole: Dataset, world: Path) -> None:
    import hashlib

    images = {row["source"]: row for row in pq.read_table(whole.path / "images.parquet").to_pylist()}
    with tarfile.open(world) as outer:
        class_tar = outer.getmembers()[-1]
        with tarfile.open(fileobj=outer.extractfile(class_tar)) as inner:
            member = inner.getmembers()[-1]
            stream = inner.extractfile(member)
            assert stream is not None
            data = stream.read()
            stream.seek(0)
            with Image.open(stream) as image:
                size, form = image.size, image.format
    row = images[f"{class_tar.name.removesuffix('.tar')}/{member.name}"]
    assert row["source_sha256"] == hashlib.sha256(data).digest()
    assert (row["width"], row["height"], row["form"]) == (*size, form)


def test_a_shard_is_closed_when_it_passes_its_size(whole: Dataset) -> None:
    index = whole.index("train")
    for shard in range(whole.card["splits"]["train"]["shards"]):
        sizes = index["size"][index["shard"] == shard]
        assert sizes.sum() < RULES.shard_bytes + sizes.max()


def test_two_files_of_one_name_in_a_class_tar_are_two_images(tmp_path: Path) -> None:
    folder = draw_class_folders(tmp_path / "folders", swan=2)
    with tarfile.open(tmp_path / "swan.tar", "w") as inner:
        for name in ("0.jpg", "1.jpg"):
            inner.add(folder / "swan" / name, arcname="same.jpg")
    with tarfile.open(tmp_path / "source.tar", "w") as outer:
        outer.add(tmp_path / "swan.tar", arcname="swan.tar")
    made = run(tmp_path / "source.tar", tmp_path / "d", replace(RULES, selection=SelectionRule(1, 0, 0)))
    images = pq.read_table(made.path / "images.parquet").to_pylist()
    assert len({row["source"] for row in images}) == len({row["crc32"] for row in images}) == 2


def test_without_validation_images_the_split_is_empty_and_says_so(tmp_path: Path) -> None:
    source = draw_class_folders(tmp_path / "folders", a=3, b=2)
    made = run(source, tmp_path / "d", replace(RULES, selection=SelectionRule(1, 0, 0)))
    assert made.card["splits"]["val"] == {"images": 0, "shards": 0}
    with pytest.raises(DatasetError, match="--val-per-class"):
        made.index("val")


def test_a_source_without_a_class_that_is_large_enough_is_refused(tmp_path: Path) -> None:
    source = draw_class_folders(tmp_path / "folders", a=2, b=2)
    with pytest.raises(SourceError, match="no class has 3 usable images"):
        run(source, tmp_path / "d")
    with pytest.raises(DatasetError, match=r"no dataset\.json"):
        open_dataset(tmp_path / "d")


# --- killed and resumed -------------------------------------------------------------------------


@pytest.mark.parametrize("num_parts", range(10))
def test_a_conversion_that_ended_after_any_part_is_gone_on_with(
    num_parts: int, whole: Dataset, world: Path, tmp_path: Path
) -> None:
    assert convert_some(world, tmp_path, num_parts) == 9
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert len(before) == min(num_parts, 9)
    kept: set[Path] = set()

    def name_and_look(ids: Sequence[str]) -> list[str]:
        kept.update(path for path, time_ns in before.items() if path.stat().st_mtime_ns == time_ns)
        return names_of(ids)

    run(world, tmp_path, taxonomy=replace(NO_TAXONOMY, name_classes=name_and_look))
    assert len(kept) == len(before)  # what was done is not done again
    assert files_in(tmp_path) == files_in(whole.path)


class StopError(Exception):
    """Stands for a bug."""


def test_an_error_in_any_step_leaves_what_can_be_gone_on_with(
    whole: Dataset, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seams = [(convert, "_convert_image"), (pipeline, "gather_seen"), (pipeline, "select")]
    seams += [(pipeline, "lay_out"), (pack, "write_shard"), (pipeline, "write_catalogue")]
    for module, seam in seams:
        with monkeypatch.context() as stopping:
            calls: list[object] = []
            original: Callable[..., object] = getattr(module, seam)

            def stop_in_the_middle(
                *args: object,
                original: Callable[..., object] = original,
                calls: list[object] = calls,
                once: bool = seam in {"_convert_image", "write_shard"},
                **kwargs: object,
            ) -> object:
                calls.append(args)
                if len(calls) > (3 if once else 0):
                    raise StopError
                return original(*args, **kwargs)

            stopping.setattr(module, seam, stop_in_the_middle)
            with pytest.raises(StopError):
                run(world, tmp_path)
        assert not (tmp_path / "dataset.json").exists()
    run(world, tmp_path)
    assert files_in(tmp_path) == files_in(whole.path)


def run_until_sync(number: int, source: Path, folder: Path) -> None:
    """Prepare, and be killed by SIGKILL when `fsync` is called for the time after `number`."""
    calls = 0

    def sync_or_be_killed(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > number:
            os.kill(os.getpid(), signal.SIGKILL)

    with patch.object(os, "fsync", sync_or_be_killed):
        run(source, folder)


def be_killed_at_every_sync(source: Path, root: Path) -> None:
    """Run the same preparation again and again, killed each time at a later call of `fsync`.

    Run number n works in the folder n of `root`; the last one reaches its end.
    """
    for number in count():
        child = os.fork()
        if not child:
            run_until_sync(number, source, root / f"{number:03d}")
            os._exit(0)
        if os.waitpid(child, 0)[1] != signal.SIGKILL:
            return


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A small source, and the folder of each run that was killed."""
    root = tmp_path_factory.mktemp("killed")
    source = draw_class_folders(root / "source", ant=7, bee=5, cow=2)
    (root / "runs").mkdir()
    process = server.Process(target=be_killed_at_every_sync, args=(source, root / "runs"))
    process.start()
    process.join()
    assert process.exitcode == 0
    *runs, complete = sorted((root / "runs").iterdir())
    assert (complete / "dataset.json").exists()
    assert len(runs) > 30
    return source, runs


@pytest.fixture(scope="module")
def resumed(
    killed: tuple[Path, list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, bytes]]:
    """The files of each killed run after it was gone on with."""
    source, runs = killed
    copies = tmp_path_factory.mktemp("resumed")
    with patch.object(os, "fsync"):  # no power will fail here, and waiting for the disk takes long
        return {
            folder.name: files_in(run(source, shutil.copytree(folder, copies / folder.name)).path)
            for folder in runs
        }


def test_a_run_killed_at_any_write_and_resumed_gives_the_bytes_of_one_never_killed(
    killed: tuple[Path, list[Path]], resumed: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    source, _ = killed
    expected = files_in(run(source, tmp_path / "dataset").path)
    for moment, files in resumed.items():
        found = {name: data for name, data in files.items() if not is_leftover(name)}
        assert found == expected, f"killed at write {moment}"


def test_a_resumed_run_clears_away_the_files_that_a_kill_left_half_written(
    killed: tuple[Path, list[Path]], resumed: dict[str, dict[str, bytes]]
) -> None:
    _, runs = killed
    assert any(is_leftover(name) for folder in runs for name in files_in(folder))
    for moment, files in resumed.items():
        assert [name for name in files if is_leftover(name)] == [], f"killed at write {moment}"


def test_containers_that_share_a_folder_and_have_equal_process_ids_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)
    with open_whole(tmp_path / "rows") as one:
        one.write(b"one")
        with open_whole(tmp_path / "rows") as other:
            assert len(files_in(tmp_path)) == 2
            assert all(map(is_leftover, files_in(tmp_path)))
            other.write(b"other")
        one.write(b" whole")
    assert files_in(tmp_path) == {"rows": b"one whole"}


def test_a_killed_run_is_never_taken_for_a_dataset(killed: tuple[Path, list[Path]]) -> None:
    _, runs = killed
    for folder in runs:
        if folder != runs[-1]:  # the last sync is that of the folder, after the card
            with pytest.raises(DatasetError):
                open_dataset(folder)


def test_the_command_killed_at_random_moments_and_resumed_gives_the_same_bytes(
    world: Path, tmp_path: Path
) -> None:
    options = ("--size", "64", "--min-images", "3", "--val-per-class", "2", "--shard-mb", "1")
    words = [sys.executable, "-m", "hypernym", "prepare", str(world)]
    chance = random.Random(5)  # noqa: S311 - no secret
    folder = tmp_path / "killed"
    num_killed = 0
    for attempt in range(3):
        resume = ("--resume",) if attempt else ()
        process = subprocess.Popen(
            [*words, str(folder), *options, "--workers", "1", *resume],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        enough = len(list(folder.rglob("*"))) + chance.randrange(1, 8)
        while process.poll() is None and len(list(folder.rglob("*"))) < enough:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.02)
        if process.poll() is None and attempt < 2:
            os.killpg(process.pid, signal.SIGKILL)
        _, said = process.communicate()
        assert process.returncode in {0, -signal.SIGKILL}, said.decode()
        num_killed += process.returncode == -signal.SIGKILL
    assert process.returncode == 0
    assert num_killed >= 1
    prepare(world, tmp_path / "whole", size=64, min_images=3, val_per_class=2, shard_mb=1, workers=1)
    found = {name: data for name, data in files_in(folder).items() if not is_leftover(name)}
    assert found == files_in(tmp_path / "whole")


def test_the_workers_of_a_killed_run_end_with_it(tmp_path: Path) -> None:
    source = draw_class_folders(tmp_path / "source", **dict.fromkeys("abcdefgh", 60))
    words = [sys.executable, "-m", "hypernym", "prepare", str(source), str(tmp_path / "dataset")]
    options = ["--size", "64", "--workers", "2"]
    process = subprocess.Popen(
        [*words, *options], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not any(tmp_path.glob("dataset/.work/converted/*.parquet")):
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    try:
        deadline = time.monotonic() + 60
        while is_group_alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_group_alive(process.pid)
    finally:
        if is_group_alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


def is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# --- what may be resumed ------------------------------------------------------------------------

OTHER_RULES = {
    "size": replace(RULES, images=replace(RULES.images, size=63)),
    "resize": replace(RULES, images=replace(RULES.images, resize=Resize.SHORT_EDGE)),
    "quality": replace(RULES, images=replace(RULES.images, quality=94)),
    "min_images": replace(RULES, selection=replace(RULES.selection, min_images=4)),
    "val_per_class": replace(RULES, selection=replace(RULES.selection, val_per_class=1)),
    "seed": replace(RULES, selection=replace(RULES.selection, seed=1)),
    "shard_bytes": replace(RULES, shard_bytes=10_001),
}


@pytest.mark.parametrize("option", OTHER_RULES)
@pytest.mark.parametrize("state", ["begun", "finished"])
def test_going_on_with_another_option_is_refused(option: str, state: str, tmp_path: Path) -> None:
    source = draw_class_folders(tmp_path / "source", ant=4, bee=3)
    begin(source, tmp_path / "dataset", state)
    before = files_in(tmp_path / "dataset")
    with pytest.raises(
        OutputError, match=f"{option}.*same source, options and packages.*or another folder"
    ):
        run(source, tmp_path / "dataset", OTHER_RULES[option])
    assert files_in(tmp_path / "dataset") == before


def begin(source: Path, folder: Path, state: str) -> None:
    """Prepare to the end, or convert all parts but one."""
    if state == "finished":
        run(source, folder)
    else:
        convert_some(source, folder, 1)


def write_tar_of_tars(folders: Path, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as outer:
        for folder in sorted(folders.iterdir()):
            class_tar = path.with_name(f"{folder.name}.tar")
            with tarfile.open(class_tar, "w") as inner:
                inner.add(folder, arcname=".")
            outer.add(class_tar, arcname=class_tar.name)
    return path


def test_going_on_with_another_archive_is_refused(tmp_path: Path) -> None:
    less = write_tar_of_tars(draw_class_folders(tmp_path / "1", ant=4, bee=3), tmp_path / "a/all.tar")
    more = write_tar_of_tars(
        draw_class_folders(tmp_path / "2", ant=4, bee=3, cow=9), tmp_path / "b/all.tar"
    )
    begin(less, tmp_path / "dataset", "begun")
    with pytest.raises(OutputError, match="source"):
        run(more, tmp_path / "dataset")
    with pytest.raises(OutputError, match="source"):
        run(less.rename(tmp_path / "renamed.tar"), tmp_path / "dataset")


def test_going_on_with_another_folder_of_the_same_name_is_refused(tmp_path: Path) -> None:
    food = draw_class_folders(tmp_path / "food" / "train", apple=4, pear=4)
    cars = draw_class_folders(tmp_path / "cars" / "train", bus=4, taxi=4)
    begin(food, tmp_path / "dataset", "begun")
    with pytest.raises(OutputError, match="source"):
        run(cars, tmp_path / "dataset")


def test_going_on_after_a_class_was_added_is_refused_or_gives_the_whole(tmp_path: Path) -> None:
    """The parts are numbered: a class that moves the numbers must not lose or double others."""
    source = draw_class_folders(tmp_path / "source", ant=4, cow=4, dog=4)
    begin(source, tmp_path / "dataset", "begun")
    draw_class_folders(source, bee=4)
    try:
        made = run(source, tmp_path / "dataset")
    except OutputError:
        return
    assert made.classes.ids == ("ant", "bee", "cow", "dog")
    assert made.classes.train_counts == (2, 2, 2, 2)


def test_a_source_that_moved_as_it_is_may_be_gone_on_with(tmp_path: Path) -> None:
    source = draw_class_folders(tmp_path / "here" / "train", ant=4, bee=3)
    begin(source, tmp_path / "dataset", "begun")
    (tmp_path / "there").mkdir()
    moved = source.rename(tmp_path / "there" / "train")
    assert run(moved, tmp_path / "dataset").classes.ids == ("ant", "bee")


def test_a_folder_that_is_taken_is_refused_without_resume(tmp_path: Path) -> None:
    source = draw_class_folders(tmp_path / "source", ant=4, bee=3)
    begin(source, tmp_path / "dataset", "begun")
    before = files_in(tmp_path / "dataset")
    with pytest.raises(OutputError, match=r"dataset exists and is not empty: .*--resume"):
        prepare(source, tmp_path / "dataset", min_images=3, val_per_class=2, size=64, workers=1)
    assert files_in(tmp_path / "dataset") == before


def test_a_folder_where_nothing_was_begun_is_never_resumed(tmp_path: Path) -> None:
    source = draw_class_folders(tmp_path / "source", ant=4, bee=3)
    (tmp_path / "documents" / "train").mkdir(parents=True)
    (tmp_path / "documents" / "train" / "000000.tar").write_bytes(b"a letter")
    with pytest.raises(OutputError):
        prepare(source, tmp_path / "documents", min_images=3, val_per_class=2, resume=True, workers=1)
    assert files_in(tmp_path / "documents") == {"train/000000.tar": b"a letter"}


def test_a_run_killed_while_it_removed_its_work_folder_is_ended(tmp_path: Path) -> None:
    source = draw_class_folders(tmp_path / "source", ant=4, bee=3)
    begin(source, tmp_path / "dataset", "finished")
    before = files_in(tmp_path / "dataset")
    (tmp_path / "dataset" / ".work" / "converted").mkdir(parents=True)
    (tmp_path / "dataset" / ".work" / "converted" / "000000.jpegs").write_bytes(b"left")
    run(source, tmp_path / "dataset")
    assert files_in(tmp_path / "dataset") == before
    assert not (tmp_path / "dataset" / ".work").exists()


def test_resuming_without_the_source_names_it(tmp_path: Path) -> None:
    source = draw_class_folders(tmp_path / "source", ant=4, bee=3)
    begin(source, tmp_path / "dataset", "begun")
    shutil.rmtree(source)
    with pytest.raises(SourceError, match="source does not exist"):
        run(source, tmp_path / "dataset")
