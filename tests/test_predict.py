"""`hypernym predict`: what it takes, what it writes, and that nothing is lost when it is stopped."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import hypernym as hn
from hypernym.cli import main
from hypernym.commands.evaluate import evaluate
from hypernym.commands.predict import predict
from hypernym.data.shards import open_index
from hypernym.errors import DatasetError, OutputError, SourceError, UsageError
from hypernym.hierarchy.rule import Rule
from hypernym.prediction import drawing, gathering, job, parts, predictor
from hypernym.prediction.pictures import PictureFile
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypernym.data.dataset import Dataset

OWL = "n01621127"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven pictures in two folders, one text, and what is hidden."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(11):
        path = folder / ("owls", "größe 日本")[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        draw(OWL, 32 + number, np.random.default_rng(number)).save(path)
    (folder / "note.txt").write_text("not a picture")
    (folder / ".hidden").mkdir()
    shutil.copy(folder / "owls/00.png", folder / ".hidden/x.png")
    shutil.copy(folder / "owls/00.png", folder / "owls/.x.png")
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "PART", 4)
    monkeypatch.setattr(parts, "PART", 4)


def names_of(folder: Path) -> list[str]:
    """Return what a folder stands for, by the slow way."""
    inside = [path for path in folder.rglob("*") if path.is_file()]
    shown = [p for p in inside if not any(x.startswith(".") for x in p.relative_to(folder).parts)]
    return [str(path) for path in sorted(shown)]


def images_of(run: Path, *words: object, **options: Any) -> list[str]:  # noqa: ANN401
    return [of.image for of in hn.predict(run, [str(word) for word in words], **options).predictions]


# --- what may be given --------------------------------------------------------------------------


def test_a_folder_is_walked_in_order_without_what_is_hidden(run: Path, photos: Path) -> None:
    assert images_of(run, photos) == names_of(photos)
    assert images_of(run, f"{photos}/") == names_of(photos)


def test_one_path_need_not_be_a_list(run: Path, photos: Path) -> None:
    for image in (photos / "owls", str(photos / "owls")):
        assert len(hn.predict(run, image).predictions) == 6


@pytest.mark.parametrize(
    ("pattern", "number"), [("**/*.png", 11), ("*/0?.png", 10), ("owl*", 6), ("**", 12), ("o*/00.*", 1)]
)
def test_a_pattern_stands_for_what_a_shell_would_take(
    run: Path, photos: Path, pattern: str, number: int
) -> None:
    found = images_of(run, photos / pattern)
    assert len(found) == number
    assert found == sorted(found, key=Path)
    assert set(found) <= set(names_of(photos))


def test_a_pattern_for_nothing_is_named(run: Path, photos: Path) -> None:
    with pytest.raises(SourceError, match=r"'.*/\*\.tiff' stands for no file"):
        hn.predict(run, photos / "*.tiff")
    with pytest.raises(SourceError, match=r"is no pattern: \*\* must stand between slashes"):
        hn.predict(run, photos / "a**/x")


def test_a_file_that_bears_the_signs_of_a_pattern_wins_over_it(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    for name in ("a[1].png", "a1.png", "*.png"):
        shutil.copy(photos / "owls/00.png", tmp_path / name)
    assert images_of(run, tmp_path / "a[1].png") == [str(tmp_path / "a[1].png")]
    assert images_of(run, tmp_path / "*.png") == [str(tmp_path / "*.png")]


def test_an_empty_folder_has_no_picture_and_fills_no_file(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for out in (None, tmp_path / "answers.csv"):
        with pytest.raises(SourceError, match="there is no picture"):
            hn.predict(run, tmp_path / "empty", out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert len(images_of(run, tmp_path / "empty", photos / "owls/00.png")) == 1


def test_links_are_followed_to_files_and_told_of_folders(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "file.png").symlink_to(photos / "owls/00.png")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to("self")
    os.mkfifo(tmp_path / "pipe")
    found = hn.predict(run, tmp_path).predictions
    told = {Path(of.image).name: of.error for of in found}
    assert told == {
        "circle": "not a regular file (a link to a folder is not followed)",
        "file.png": "",
        "lost": "not a regular file",
        "pipe": "not a regular file",
        "self": "unreadable (Too many levels of symbolic links)",
    }
    alone = hn.predict(run, [tmp_path / "self", tmp_path / "pipe"]).predictions
    assert [of.error for of in alone] == [told["self"], told["pipe"]]


def test_a_folder_that_cannot_be_listed_is_a_row_inside_and_a_mistake_by_itself(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: Path) -> Any:  # noqa: ANN401 - what the system gives
        if Path(path).name == "owls":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = {of.image: of.error for of in hn.predict(run, photos).predictions}
    assert found[str(photos / "owls")] == "unreadable (the folder: Permission denied)"
    assert len(found) == 7
    with pytest.raises(SourceError, match=r"owls cannot be listed \(Permission denied\)"):
        hn.predict(run, photos / "owls")


def test_a_path_that_is_no_unicode_has_a_name(run: Path, photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "owls/00.png", tmp_path / os.fsdecode(b"\xff.png"))
    hn.predict(run, tmp_path, out=tmp_path / "answers.csv")
    assert "\\xff.png," in (tmp_path / "answers.csv").read_text()


def test_a_picture_of_too_many_pixels_is_a_row(run: Path, tmp_path: Path) -> None:
    Image.new("1", (9_500, 9_500)).save(tmp_path / "huge.png")
    (found,) = hn.predict(run, tmp_path).predictions
    assert found.error == "too large (9500x9500 pixels)"


def piped(run: Path, data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "hypernym", "predict", str(run), "-", *words]
    return subprocess.run(command, input=data, capture_output=True, check=False)


def test_standard_input_is_a_list_of_paths(run: Path, photos: Path) -> None:
    names = [*names_of(photos), str(photos / "no such file")]
    done = piped(run, "\n".join(names).encode(), "--threshold", "0")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.partition(": ")[0] for line in lines] == names
    assert lines[-1].endswith("unreadable (No such file or directory)")


class Piped:
    """Stands for sys.stdin."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_standard_input_is_names_with_nul_or_one_image(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = names_of(photos)
    image = (photos / "owls/00.png").read_bytes()
    given = {
        "\0".join(names): names,
        "\0".join([*names, ""]): names,
        "\n".join([*names, "", ""]): names,
        "\r\n".join([*names, "", ""]): names,
        "\r\n".join(names): names,
        "a\r\0b\r": ["a\r", "b\r"],
        "BMW.jpg\n": ["BMW.jpg"],
    }
    for text, expected in given.items():
        monkeypatch.setattr(sys, "stdin", Piped(text.encode()))
        assert images_of(run, "-") == expected
    monkeypatch.setattr(sys, "stdin", Piped(image))
    (found,) = hn.predict(run, "-").predictions
    assert (found.image, found.error) == ("-", "")
    for ending in ("JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        stream = io.BytesIO()
        Image.open(io.BytesIO(image)).save(stream, ending)
        assert gathering.IMAGE_BEGINNING.match(stream.getvalue()), ending
    with pytest.raises(UsageError, match="was given twice"):
        hn.predict(run, ["-", "-"])


def test_a_word_that_is_no_option_and_no_file_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run), "x.jpg", "--rulle", "leaf"]) == 2
    assert "x.jpg does not exist" in capsys.readouterr().err
    assert main(["predict", str(run), "--rulle"]) == 2
    assert "--rulle is no option" in capsys.readouterr().err


# --- datasets -------------------------------------------------------------------------------------


def test_a_dataset_gives_keys_truths_and_the_figure_of_evaluate(
    run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "answers.parquet"
    summary = hn.predict(run, dataset.path, out=out, rule=Rule.LEAF, batch_size=7).summary
    rows = pq.read_table(out).to_pylist()
    assert [row["image"] for row in rows] == dataset.keys("val", range(len(rows)))
    labels = dataset.index("val")["label"].tolist()
    assert [row["truth"] for row in rows] == [[dataset.classes.ids[label]] for label in labels]
    exact = sum(row["label_id"] in row["truth"] for row in rows) / len(rows)
    measured = evaluate(run, dataset.path)
    assert exact == measured.leaf_mistakes.exact
    assert summary.pictures == len(rows) == measured.accuracy.images


def test_a_split_is_chosen_and_without_val_it_is_train(
    run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    train = len(dataset.index("train"))
    assert len(images_of(run, dataset.path, split="train")) == train
    with pytest.raises(DatasetError, match="no image in its test split"):
        images_of(run, dataset.path, split="test")
    with pytest.raises(UsageError, match="--split val is of datasets"):
        images_of(run, tmp_path, split="val")
    copy = tmp_path / "copy"
    shutil.copytree(dataset.path, copy)
    card = json.loads((copy / "dataset.json").read_text())
    card["splits"]["val"]["images"] = 0
    (copy / "dataset.json").write_text(json.dumps(card))
    assert len(images_of(run, copy)) == train


def test_several_labels_of_an_image_are_all_its_truth(
    run: Path, several: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "answers.jsonl"
    hn.predict(run, several.path, split="train", out=out)
    for line in out.read_text().splitlines():
        row = json.loads(line)
        number = int(row["image"])
        steps = {"a": 1, "b": 2, "c": 3}
        assert sorted(row["truth"]) == [label for label, step in steps.items() if number % step == 0]


def test_a_damaged_image_of_a_dataset_is_a_row(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset.path, copy)
    entry = open_index(copy / "val.index.npy")[3]
    with (copy / "val/000000.tar").open("r+b") as shard:
        shard.seek(int(entry["offset"]) + 40)
        shard.write(b"XXXX")
    found = hn.predict(run, copy)
    assert [bool(of.error) for of in found.predictions].index(True) == 3
    assert found.summary.unreadable == {"unreadable": 1}
    assert "is damaged at byte" in found.predictions[3].error


# --- what is written ------------------------------------------------------------------------------


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_every_form_tells_the_same(run: Path, photos: Path, tmp_path: Path) -> None:
    expected = hn.predict(run, photos, threshold=0.4).predictions
    for ending in ("csv", "jsonl", "parquet"):
        hn.predict(run, photos, threshold=0.4, out=tmp_path / f"answers.{ending}")
    wide = pq.read_table(tmp_path / "answers.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    flat = read_csv(tmp_path / "answers.csv")
    assert len(wide) == len(lines) == len(flat) == len(expected) == 12
    for row, line, cells, prediction in zip(wide, lines, flat, expected, strict=True):
        label = prediction.label
        told = (prediction.image, label and label.class_id, label and label.name)
        for form in (row, line):
            assert (form["image"], form["label_id"], form["name"]) == told
            assert form["error"] == (prediction.error or None)
            for steps, whole in ((prediction.path, "path"), (prediction.beyond, "beyond")):
                assert [step["id"] for step in form[whole]] == [step.class_id for step in steps]
                assert [step["probability"] for step in form[whole]] == pytest.approx(
                    [step.probability for step in steps], abs=1e-6
                )
        assert cells["error"] == prediction.error
        assert cells["path"] == " > ".join(step.class_id for step in prediction.path)
        assert cells["beyond_names"] == " > ".join(step.name for step in prediction.beyond)
        assert cells["probability"] == (str(round(label.probability, 6)) if label else "")
    assert "truth" not in flat[0]


def test_threshold_edges_keep_all_and_next_to_nothing(run: Path, photos: Path) -> None:
    readable = [of for of in hn.predict(run, photos, threshold=0).predictions if not of.error]
    assert all(of.path and not of.beyond for of in readable)
    strict = [of for of in hn.predict(run, photos, threshold=1).predictions if not of.error]
    assert all(step.probability == 1 for of in strict for step in of.path)
    for whole, cut in zip(readable, strict, strict=True):
        assert whole.path == cut.path + cut.beyond


def test_features_are_those_of_the_model_and_of_an_unreadable_picture_none(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    report = hn.predict(run, photos, embed=tmp_path / "f.npy", batch_size=5)
    hn.predict(run, photos, embed=tmp_path / "f.parquet", out=tmp_path / "answers.csv")
    found = np.load(tmp_path / "f.npy", allow_pickle=False)
    table = pq.read_table(tmp_path / "f.parquet")
    names = names_of(photos)
    assert table["image"].to_pylist() == names
    model = hn.load(run)
    for name, row, cell, error in zip(
        names, found, table["features"].to_pylist(), table["error"].to_pylist(), strict=True
    ):
        if error:
            assert name.endswith("note.txt")
            assert np.isnan(row).all()
            assert cell is None
            continue
        with torch.inference_mode():
            (batch,) = model.load([PictureFile(Path(name))], batch_size=1)
            (expected,) = model.classifier.embed(batch.images).numpy()
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(cell, expected, rtol=1e-4, atol=1e-5)
    assert found.dtype == np.float32
    assert report.predictions == ()
    assert report.summary.named == {}
    assert report.summary.unsure == 0
    assert report.summary.unreadable == {"not an image": 1}


def test_features_are_of_the_right_picture_whatever_the_batch(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    for size in (1, 5, 64):
        hn.predict(run, photos, embed=tmp_path / f"{size}.npy", batch_size=size)
    first, *others = (np.load(tmp_path / f"{size}.npy") for size in (1, 5, 64))
    for other in others:
        np.testing.assert_allclose(first, other, rtol=1e-4, atol=1e-5)


def test_several_loading_processes_keep_the_order(run: Path, photos: Path) -> None:
    alone = hn.predict(run, photos, batch_size=2, workers=0).predictions
    assert hn.predict(run, photos, batch_size=2, workers=2).predictions == alone


def test_the_summary_counts_depths_and_reasons(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "answers.csv"
    words = ["predict", str(run), str(photos), "--threshold", "0.4", "--out", str(out)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "12 pictures" in told
    assert "1 not an image" in told
    assert str(out) in told
    out.unlink()
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["predictions"] == []
    summary = document["summary"]
    card = hn.load(run).card
    depth_of: dict[int, int] = {}
    for label in range(len(card.tree.ids)):
        depth, at = 0, card.tree.parents[label]
        while at >= 0:
            depth, at = depth + 1, card.tree.parents[at]
        depth_of[label] = depth
    expected: dict[str, int] = {}
    for row in read_csv(out):
        if row["label_id"]:
            key = str(depth_of[card.class_ids.index(row["label_id"])])
            expected[key] = expected.get(key, 0) + 1
    assert summary["named"] == expected
    assert sum(expected.values()) + summary["unsure"] + 1 == 12


def test_where_nothing_can_be_read_the_exit_code_says_so(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    note = str(photos / "note.txt")
    assert main(["predict", str(run), note, "--out", str(tmp_path / "answers.csv")]) == 2
    assert main(["predict", str(run), note, "--embed", str(tmp_path / "f.npy")]) == 2
    assert np.isnan(np.load(tmp_path / "f.npy")).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"out": "answers.txt"}, r"--out .*answers\.txt: .* ends in \.csv, \.jsonl, \.parquet"),
        ({"embed": "f.csv"}, r"--embed .*f\.csv: .* ends in \.npy, \.parquet"),
        ({"out": "x.parquet", "embed": "x.parquet"}, "give two files"),
        ({"resume": True}, "add --out or --embed"),
        ({"rule": "leaf", "threshold": 0.3}, "leave one out"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_at_once(
    run: Path, photos: Path, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    options = {
        name: tmp_path / value if name in {"out", "embed"} else value for name, value in options.items()
    }
    with pytest.raises(UsageError, match=sentence):
        predict(run, [str(photos)], **options)
    assert list(tmp_path.iterdir()) == []


# --- stopped and resumed ------------------------------------------------------------------------------


def answer(run: Path, photos: Path, folder: Path, **options: Any) -> list[bytes]:  # noqa: ANN401
    """Write every form; return the bytes."""
    folder.mkdir(exist_ok=True)
    files = [folder / name for name in ("a.parquet", "f.npy")]
    hn.predict(run, photos, out=files[0], embed=files[1], batch_size=3, workers=0, **options)
    assert sorted(folder.iterdir()) == sorted(files)
    return [path.read_bytes() for path in files]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_request_that_was_stopped_after_any_part_ends_in_the_same_bytes(
    run: Path, photos: Path, tmp_path: Path, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answer(run, photos, tmp_path / "whole")
    real = parts.Parts.write
    seen: list[int] = []

    def write(self: parts.Parts, number: int, table: Any) -> None:  # noqa: ANN401
        if number == written:
            raise KeyboardInterrupt
        seen.append(number)
        real(self, number, table)

    def write_answers(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(parts.Parts, "write", write)
        patched.setattr(job, "write_features", write_answers)
        with pytest.raises(KeyboardInterrupt):
            answer(run, photos, tmp_path / "cut")
    assert seen == list(range(written))
    if written:
        with pytest.raises(OutputError, match=r"--resume|exists"):
            answer(run, photos, tmp_path / "cut")
    made: list[int] = []

    def note(self: parts.Parts, number: int, table: Any) -> None:  # noqa: ANN401
        made.append(number)
        real(self, number, table)

    monkeypatch.setattr(parts.Parts, "write", note)
    assert answer(run, photos, tmp_path / "cut", resume=True) == whole
    assert made == list(range(written, 3))


KILLED = """
import os, signal, sys
from hypernym.commands.predict import predict
from hypernym.prediction import job, parts
job.PART = parts.PART = 4
real = parts.Parts.write
def write(self, number, table):
    real(self, number, table)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
parts.Parts.write = write
predict(sys.argv[1], [sys.argv[2]], out=sys.argv[3], batch_size=3, workers=2)
"""


@pytest.mark.usefixtures("small_parts")
def test_a_request_that_was_killed_goes_on_and_ends_in_the_same_bytes(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "answers.csv", tmp_path / "whole.csv"
    words = [sys.executable, "-c", KILLED, str(run), str(photos), str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, check=False, env=environment)
    assert done.returncode == -9
    assert sorted(path.name for path in (tmp_path / ".answers.csv.parts").iterdir()) == [
        "000000.arrow",
        "000001.arrow",
        "request.json",
    ]
    for file, resume in ((out, True), (whole, False)):
        summary = hn.predict(run, photos, out=file, resume=resume, batch_size=3).summary
        assert summary.pictures == 12
    assert out.read_bytes() == whole.read_bytes()


def stop_after(run: Path, photos: Iterable[Path], out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer all parts, and be stopped before they become a file."""

    def write_answers(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(job, "write_answers", write_answers)
        with pytest.raises(KeyboardInterrupt):
            hn.predict(run, list(photos), out=out)


@pytest.mark.usefixtures("small_parts")
def test_another_request_is_not_resumed_and_the_sentence_says_what_differs(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "answers.csv"
    pictures = [photos / "owls", photos / "größe 日本"]
    stop_after(run, pictures, out, monkeypatch)
    with pytest.raises(UsageError, match=r"threshold was 0\.5 and is 0\.6"):
        hn.predict(run, pictures, out=out, resume=True, threshold=0.6)
    other = shutil.copytree(run / "checkpoints/best", tmp_path / "other")
    with (other / "config.json").open("a") as config:
        config.write(" ")
    with pytest.raises(UsageError, match=r"model was '.*' and is '.*'"):
        hn.predict(other, pictures, out=out, resume=True)
    with pytest.raises(UsageError, match=r"number 1 was .*00\.png and is .*01\.png"):
        hn.predict(run, pictures[::-1], out=out, resume=True)
    with pytest.raises(UsageError, match=r"number 7 was .*01\.png and is none"):
        hn.predict(run, pictures[0], out=out, resume=True)
    with pytest.raises(UsageError, match="more than the 4 pictures"):
        hn.predict(run, [pictures[0] / f"{n:02d}.png" for n in (0, 2, 4, 6)], out=out, resume=True)
    (out.parent / ".answers.csv.parts/000001.arrow").write_bytes(b"ARROW1 and no more")
    with pytest.raises(OutputError, match=r"000001\.arrow is damaged"):
        hn.predict(run, pictures, out=out, resume=True)


def test_a_dataset_added_to_what_was_begun_is_refused(
    run: Path, photos: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "answers.csv"
    stop_after(run, [photos], out, monkeypatch)
    with pytest.raises(UsageError, match="truth was False and is True"):
        hn.predict(run, [photos, dataset.path], out=out, resume=True)


@pytest.mark.parametrize(
    ("option", "name", "sentence"),
    [
        ("out", "file/a.csv", "file cannot be made"),
        ("embed", "file/f.npy", "file cannot be made"),
        ("picture", f"{'x' * 245}.png", r"cannot be written \(File name too long\)"),
        ("out", f"{'x' * 245}.csv", r"cannot be written \(File name too long\)"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_any_work(
    run: Path,
    photos: Path,
    tmp_path: Path,
    option: str,
    name: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(predictor, "load", None)
    files: dict[str, Any] = {"out": tmp_path / "a.csv", option: tmp_path / name}
    with pytest.raises(OutputError, match=sentence):
        hn.predict(run, photos / "owls/00.png", **files)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_folder_of_a_result_is_made(run: Path, photos: Path, tmp_path: Path) -> None:
    out, embed = tmp_path / "a/b/answers.csv", tmp_path / "c/f.npy"
    hn.predict(run, photos / "owls/00.png", out=out, embed=embed)
    assert out.exists()
    assert embed.exists()
    with pytest.raises(SourceError):
        hn.predict(run, photos / "nowhere", out=tmp_path / "d/answers.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_a_file_that_is_there_is_never_replaced(run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    out.write_text("mine")
    for options in ({"out": out}, {"out": out, "resume": True}):
        with pytest.raises(OutputError, match=r"answers\.csv exists"):
            hn.predict(run, photos, **options)
    assert out.read_text() == "mine"


# --- drawn ----------------------------------------------------------------------------------


def test_one_picture_is_drawn_into_one_file(run: Path, photos: Path, tmp_path: Path) -> None:
    picture = photos / "owls/00.png"
    for ending, beginning in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        for name in "ab":
            report = hn.predict(run, picture, picture=tmp_path / f"{name}{ending}")
        first, second = ((tmp_path / f"{name}{ending}").read_bytes() for name in "ab")
        assert first == second
        assert first.startswith(beginning)
        assert f"b{ending}" in str(report)
    with pytest.raises(OutputError, match=r"a\.png exists"):
        hn.predict(run, picture, picture=tmp_path / "a.png")
    with pytest.raises(UsageError, match="there are several: give a folder"):
        hn.predict(run, photos, picture=tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_pictures_of_one_name_are_drawn_side_by_side(run: Path, photos: Path, tmp_path: Path) -> None:
    inside = tmp_path / "in"
    for folder in ("a", "b", "c"):
        (inside / folder).mkdir(parents=True)
        shutil.copy(photos / "owls/00.png", inside / folder / "Owl.png")
    (inside / "c/owl-2.jpg").write_text("no picture")
    hn.predict(run, inside, picture=tmp_path / "drawn")
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "Owl-2.png",
        "Owl-3.png",
        "Owl.png",
        "owl-2-2.png",
    ]


@pytest.mark.usefixtures("small_parts")
def test_drawings_too_are_resumed(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw_prediction(file: Path, *_: object, **__: object) -> None:
        file.parent.mkdir(exist_ok=True)
        file.touch()

    monkeypatch.setattr(drawing, "draw_prediction", draw_prediction)
    out, drawn = tmp_path / "answers.csv", tmp_path / "drawn"
    real = parts.Parts.write

    def write(self: parts.Parts, number: int, table: Any) -> None:  # noqa: ANN401
        if number == 1:
            raise KeyboardInterrupt
        real(self, number, table)

    with monkeypatch.context() as patched:
        patched.setattr(parts.Parts, "write", write)
        with pytest.raises(KeyboardInterrupt):
            hn.predict(run, photos, out=out, picture=drawn)
    with pytest.raises(UsageError, match="picture was"):
        hn.predict(run, photos, out=out, resume=True)
    hn.predict(run, photos, out=out, picture=drawn, resume=True)
    assert sorted(path.stem for path in drawn.iterdir()) == sorted(
        Path(n).stem for n in names_of(photos)
    )


def test_pictures_that_are_not_drawn_do_not_wait_for_matplotlib(run: Path, photos: Path) -> None:
    code = (
        "import sys; from hypernym.cli import main; assert main(['predict', *sys.argv[1:]]) == 0; "
        "print('matplotlib' in sys.modules)"
    )
    words = [sys.executable, "-c", code, str(run), str(photos / "owls/00.png")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
