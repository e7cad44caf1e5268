"""What a checkpoint is good for: timm, evaluation and prediction, by someone without the dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from hypernym.checkpoint import find_checkpoint, load_checkpoint
from hypernym.commands import tree
from hypernym.commands.evaluate import evaluate
from hypernym.commands.predict import predict
from hypernym.commands.prepare import prepare
from hypernym.data.transforms import Preprocessing, make_eval_transform, to_tensor
from hypernym.errors import MismatchError, OutputError, RunError, SourceError
from hypernym.files import replace_folder, write_text
from hypernym.world.archive import draw_world
from hypernym.world.classes import SMALL
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from hypernym.data.dataset import Dataset

OWL = "n01621127"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three pictures of owls, of several sizes and formats."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / name for name in ("a.png", "b.jpg", "c.webp")]
    for size, path in zip((32, 48, 100), paths, strict=True):
        draw(OWL, size, np.random.default_rng(size)).save(path)
    return paths


def test_timm_alone_opens_a_checkpoint_and_gives_the_same_logits(
    run: Path, pictures: list[Path]
) -> None:
    folder = run / "checkpoints" / "best"
    ours = load_checkpoint(folder)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    their_view = create_transform(**resolve_data_config(model=theirs), is_training=False)
    our_view = make_eval_transform(ours.card.preprocessing)
    with torch.inference_mode():
        for path in pictures[:2]:
            image = Image.open(path).convert("RGB")
            ours_seen = our_view(to_tensor(np.array(image)))
            normalised = (ours_seen[None].float() - ours.classifier.mean) / ours.classifier.std
            torch.testing.assert_close(
                ours.classifier(ours_seen[None]), theirs(normalised), rtol=1e-5, atol=1e-5
            )
            # timm resizes with Pillow: the pixels differ a little, the view must be the same.
            assert (normalised[0] - their_view(image)).abs().mean() < 0.05
    assert theirs.pretrained_cfg["label_names"] == list(ours.card.class_ids)


def test_a_checkpoint_says_what_a_person_needs(run: Path, dataset: Dataset) -> None:
    config = json.loads((run / "checkpoints/best/config.json").read_text())
    assert config["label_names"] == list(dataset.classes.ids)
    assert config["label_descriptions"][OWL] == "owl"
    assert config["pretrained_cfg"]["crop_mode"] == "squash"
    assert config["pretrained_cfg"]["input_size"] == [3, 32, 32]
    assert config["hypernym"]["scheme"] == "semantic"


def test_evaluation_gives_the_figure_that_training_saw(run: Path, dataset: Dataset) -> None:
    found = evaluate(run, dataset.path, batch_size=7)
    figures = load_checkpoint(find_checkpoint(run)).progress["figures"]
    assert found.accuracy.semantic_top1 == figures["val/semantic_top1"]
    assert found.accuracy.images == dataset.card["splits"]["val"]["images"]
    written = json.loads((run / "report.json").read_text())
    assert written["accuracy"]["semantic_top1"] == found.accuracy.semantic_top1


def test_a_trained_model_is_better_than_chance(run: Path, dataset: Dataset) -> None:
    found = evaluate(run, dataset.path, split="train").accuracy
    assert found.semantic_top1 > 1.5 * found.semantic_top1_chance


def test_a_dataset_of_other_classes_is_refused(run: Path, tmp_path: Path) -> None:
    draw_world(tmp_path / "world.tar", images_per_leaf=12, size=32, seed=0, classes=SMALL[-4:])
    prepare(
        tmp_path / "world.tar", tmp_path / "other", min_images=2, val_per_class=1, size=32, workers=1
    )
    tree.build(tmp_path / "other")
    with pytest.raises(MismatchError, match=r"9 classes .* has \d \(digest .*\); \d are in both"):
        evaluate(run, tmp_path / "other")


@pytest.mark.parametrize("crop_pct", [0.85, 0.875, 1.0])
def test_a_view_that_is_cropped_is_timm_s(crop_pct: float) -> None:
    pixels = torch.randint(0, 256, (3, 90, 130), generator=torch.Generator().manual_seed(0))
    view = make_eval_transform(Preprocessing(28, (0,) * 3, (1,) * 3, "center", crop_pct=crop_pct))
    theirs = create_transform((3, 28, 28), crop_pct=crop_pct, interpolation="bicubic")
    theirs.transforms = theirs.transforms[:-2]  # not to 0..1
    pillow = Image.fromarray(pixels.permute(1, 2, 0).to(torch.uint8).numpy())
    apart = view(pixels.to(torch.uint8)).int() - torch.from_numpy(np.array(theirs(pillow))).permute(
        2, 0, 1
    )
    assert apart.abs().max() <= 1


def test_a_checkpoint_is_loaded_from_the_folder_that_one_stands_in(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run / "checkpoints/best")
    assert find_checkpoint(Path()).resolve() == (run / "checkpoints/best").resolve()


def test_a_tree_of_other_classes_is_refused(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(run / "checkpoints/best", folder)
    document = json.loads((folder / "tree.json").read_text())
    document["classes_digest"] = "0" * 64
    (folder / "tree.json").write_text(json.dumps(document))
    with pytest.raises(MismatchError, match="is a tree over 9 other classes"):
        evaluate(folder, dataset.path)


def test_predictions_are_paths_of_the_tree_in_the_order_asked(run: Path, pictures: list[Path]) -> None:
    card = load_checkpoint(find_checkpoint(run)).card
    parent_of = {
        card.class_ids[child]: card.class_ids[parent]
        for child, parent in enumerate(card.tree.parents)
        if parent >= 0
    }
    found = predict(run, pictures[::-1], threshold=0.4).predictions
    assert [prediction.image for prediction in found] == list(map(str, pictures[::-1]))
    for prediction in found:
        whole = [*prediction.path, *prediction.beyond]
        assert [parent_of.get(step.class_id) for step in whole] == [
            None,
            *(step.class_id for step in whole[:-1]),
        ]
        assert all(step.probability >= 0.4 for step in prediction.path)
        assert all(step.probability < 0.4 for step in prediction.beyond)


def test_an_unreadable_picture_gets_a_line_and_holds_up_no_other(
    run: Path, pictures: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(pictures[1].read_bytes()[:200])
    found = predict(run, [broken, pictures[0]]).predictions
    assert found[0].error.startswith(("truncated", "undecodable"))
    assert not found[1].error
    assert str(found[0]).startswith(f"{broken}: ")


def test_the_same_picture_twice_is_named_twice(run: Path, pictures: list[Path]) -> None:
    first, second = predict(run, [pictures[0], pictures[0]]).predictions
    assert first == second


def test_a_folder_of_pictures_is_expanded(run: Path, pictures: list[Path]) -> None:
    found = predict(run, [pictures[0].parent]).predictions
    assert [prediction.image for prediction in found] == list(map(str, pictures))


def test_missing_pictures_and_runs_are_named(run: Path, tmp_path: Path, pictures: list[Path]) -> None:
    with pytest.raises(SourceError, match=r"nothing\.jpg does not exist"):
        predict(run, [tmp_path / "nothing.jpg"])
    with pytest.raises(RunError, match="does not exist"):
        predict(tmp_path / "no-run", pictures)
    with pytest.raises(RunError, match="holds no checkpoint"):
        predict(tmp_path, pictures)


# --- replacing a folder -------------------------------------------------------------------------


def write_version(folder: Path, version: str) -> None:
    with replace_folder(folder) as new:
        (new / "file").write_text(version)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for version in ("one", "two"):
        write_version(tmp_path / "last", version)
        assert [path.name for path in tmp_path.iterdir()] == ["last"]
        assert (tmp_path / "last/file").read_text() == version


def test_a_name_that_is_too_long_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_text(tmp_path / ("n" * 250), "text")


@pytest.mark.parametrize("renames", [0, 1])
def test_a_replacement_cut_at_any_rename_leaves_a_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    write_version(tmp_path / "last", "one")
    real, done = type(tmp_path).rename, 0

    def rename(self: Path, target: Path) -> Path:
        nonlocal done
        if done == renames:
            raise KeyboardInterrupt
        done += 1
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(tmp_path), "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            write_version(tmp_path / "last", "two")
    from hypernym.files import recover_folder

    recover_folder(tmp_path / "last")
    assert (tmp_path / "last/file").read_text() == ("one", "two")[renames]
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
