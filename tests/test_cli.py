"""A mistake is answered by one sentence with the fix and exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hypernym.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from hypernym.data.dataset import Dataset

Capture = pytest.CaptureFixture[str]


def fails_with(words: list[object], capsys: Capture) -> str:
    """Run a command that must fail as a user's mistake; return the sentence."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    lines = [
        line for line in captured.err.splitlines() if not line.startswith(("converting", "packing"))
    ]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_an_unknown_option_names_the_nearest(capsys: Capture, tmp_path: Path) -> None:
    sentence = fails_with(["prepare", tmp_path, tmp_path / "out", "--min-imges", 3], capsys)
    assert "--min-imges. Did you mean --min-images?" in sentence


def test_an_unknown_nested_option_names_the_nearest(capsys: Capture, tmp_path: Path) -> None:
    sentence = fails_with(["pretrain", tmp_path, tmp_path / "run", "--optim.lrr", 3], capsys)
    assert "Did you mean --optim.lr?" in sentence


def test_an_unknown_command_names_the_nearest(capsys: Capture) -> None:
    assert 'Did you mean "prepare"?' in fails_with(["prepar"], capsys)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--min-images", 0], "--min-images 0: input should be greater than or equal to 1"),
        (["--size", "x"], "--size"),
        (["--resize", "stretch"], "squish"),
        (["--min-images", 5, "--val-per-class", 5], "--val-per-class 5 would hold out every image"),
    ],
)
def test_a_bad_value_is_named_with_its_option(
    capsys: Capture, world: Path, tmp_path: Path, words: list[object], sentence: str
) -> None:
    assert sentence in fails_with(["prepare", world, tmp_path / "out", *words], capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--epochs", "3.5"], "--epochs 3.5"),
        (["--optim.lr", -1], "--optim.lr -1: input should be greater than 0"),
        (
            ["--optim", "adamw"],
            "--optim adamw: --optim is a group of options; give one of them as --optim.NAME",
        ),
        (["--model", "resnet5"], "timm has no model 'resnet5' (did you mean 'resnet5"),
        (["--optim.name", "adamv"], "timm has no such optimizer (did you mean 'adam"),
        (["--batch-size", 100000], "--batch-size 100000 is more than the"),
        (["--device", "cuda:99"], "--device cuda:99 cannot be used here"),
    ],
)
def test_a_bad_training_option_is_named_and_leaves_no_folder(
    capsys: Capture, dataset: Dataset, tmp_path: Path, words: list[object], sentence: str
) -> None:
    start = ["pretrain", dataset.path, tmp_path / "run", "--recipe", "small"]
    assert sentence in fails_with([*start, *words], capsys)
    assert not (tmp_path / "run").exists()


def test_a_missing_source_is_named(capsys: Capture, tmp_path: Path) -> None:
    sentence = fails_with(["prepare", tmp_path / "nowhere", tmp_path / "out"], capsys)
    assert f"{tmp_path / 'nowhere'} does not exist" in sentence
    assert not (tmp_path / "out").exists()


def test_an_empty_source_says_what_a_source_is(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    sentence = fails_with(["prepare", tmp_path / "empty", tmp_path / "out"], capsys)
    assert "one folder of images, or one CLASS.tar, for each class" in sentence


def test_too_few_images_say_what_the_largest_class_has(
    capsys: Capture, world: Path, tmp_path: Path
) -> None:
    words: list[object] = ["prepare", world, tmp_path / "out", "--min-images", 1000, "--workers", 1]
    sentence = fails_with(words, capsys)
    assert "no class has 1000 usable images (the largest, n0" in sentence


def test_a_taken_output_folder_says_how_to_go_on(
    capsys: Capture, world: Path, dataset: Dataset, run: Path
) -> None:
    assert "add --resume" in fails_with(["prepare", world, dataset.path], capsys)
    assert "add --resume" in fails_with(["pretrain", dataset.path, run], capsys)


def test_a_demo_in_a_taken_folder_does_not_speak_of_an_option_that_it_has_not(
    capsys: Capture, dataset: Dataset
) -> None:
    sentence = fails_with(["demo", dataset.path], capsys)
    assert "remove this one" in sentence
    assert "--resume" not in sentence


def test_a_file_in_the_place_of_a_folder_is_named(capsys: Capture, world: Path) -> None:
    assert f"{world} is a file" in fails_with(["prepare", world, world, "--resume"], capsys)


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_a_dataset_inside_its_own_source_is_refused(
    capsys: Capture, tmp_path: Path, scheme: str
) -> None:
    (tmp_path / "cat").mkdir()
    words: list[object] = ["prepare", f"{scheme}{tmp_path}", tmp_path / "dataset"]
    assert "lies inside the source" in fails_with(words, capsys)


def test_the_help_lists_the_values_of_a_choice_as_they_are_written(capsys: Capture) -> None:
    assert main(["prepare", "--help"]) == 0
    said = capsys.readouterr().out.replace("│", " ").split()
    assert {"imagenet21k-p]", "imagenet-1k,", "tar-of-class-tars,", "gzip-tar-of-class-tars,"} <= {*said}


def test_a_place_that_cannot_be_written_is_named(capsys: Capture, dataset: Dataset) -> None:
    words: list[object] = ["tree", "export", dataset.path, dataset.path / "no/such/folder.csv"]
    assert "folder.csv cannot be written" in fails_with(words, capsys)


def test_a_model_tag_that_timm_does_not_have_is_named(
    capsys: Capture, dataset: Dataset, tmp_path: Path
) -> None:
    words: list[object] = ["pretrain", dataset.path, tmp_path / "run", "--model", "resnet50.no_such_tag"]
    assert "resnet50.no_such_tag" in fails_with(words, capsys)


def test_a_folder_that_is_no_dataset_says_so(capsys: Capture, tmp_path: Path) -> None:
    for words in (["tree", "build", tmp_path], ["pretrain", tmp_path, tmp_path / "run"]):
        assert "has no dataset.json" in fails_with(list(words), capsys)


def test_a_dataset_without_a_tree_says_how_to_build_it(
    capsys: Capture, world: Path, tmp_path: Path
) -> None:
    words = ["prepare", world, tmp_path / "ds", "--min-images", 3, "--val-per-class", 1, "--workers", 1]
    assert main([str(word) for word in words]) == 0
    capsys.readouterr()
    sentence = fails_with(["pretrain", tmp_path / "ds", tmp_path / "run"], capsys)
    assert f"hypernym tree build {tmp_path / 'ds'}" in sentence


def test_an_unreadable_picture_says_why_and_where_none_can_be_read_the_exit_code_does(
    capsys: Capture, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("not a picture")
    assert main(["predict", str(run), str(tmp_path / "note.txt")]) == 2
    assert "note.txt: not an image" in capsys.readouterr().out


def test_json_is_for_programs(capsys: Capture, run: Path, dataset: Dataset) -> None:
    assert main(["evaluate", str(run), str(dataset.path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert 0 < document["accuracy"]["semantic_top1"] <= 1


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_reader_who_has_seen_enough_ends_a_command_quietly(dataset: Dataset, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "hypernym", "tree", "show", str(dataset.path), *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
