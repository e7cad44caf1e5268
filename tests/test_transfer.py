"""Transfer: what is chosen never sees the test images, and what is reported is what was saved."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from strategies import forests
from timm.models._hub import save_for_hf

import hypernym as hn
from hypernym.checkpoint import find_checkpoint, load_checkpoint
from hypernym.commands.evaluate import evaluate
from hypernym.commands.prepare import prepare
from hypernym.commands.transfer import transfer
from hypernym.data.dataset import open_dataset
from hypernym.distributed import ALONE, World
from hypernym.downstream import features, finetuning, protocol
from hypernym.downstream.answers import describe
from hypernym.downstream.case import set_up_case
from hypernym.downstream.config import RecipeName, TransferConfig
from hypernym.downstream.labels import find_targets, find_tree, rule_out_inner, with_ancestors
from hypernym.downstream.linear import Heads, Setting
from hypernym.downstream.probing import put_head
from hypernym.downstream.protocol import assign_roles
from hypernym.downstream.recipes import auto, resolve_config
from hypernym.downstream.report import load_report
from hypernym.downstream.source import open_source
from hypernym.errors import DatasetError, OutputError, RunError, UsageError
from hypernym.hierarchy.levels import make_levels
from hypernym.models import Classifier, make_backbone
from hypernym.training.config import read_config
from hypernym.training.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from hypernym.data.dataset import Dataset
    from hypernym.downstream.case import Case
    from hypernym.downstream.protocol import Part
    from hypernym.downstream.report import TransferReport
    from hypernym.hierarchy.tree import Tree

COLORS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
TAXONOMY = "child,parent\nblue,cold\ngreen,cold\nred,warm\ncold,\nwarm,\n"
SMALL: dict[str, Any] = {"workers": 0, "image_size": 32}
QUICK: dict[str, Any] = {"epochs": 3, "batch_size": 8, "rates": (1e-4, 3e-3), "track": (), **SMALL}


@pytest.fixture(scope="session")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three colours with noise, with a test split of the source's own and a tree of two depths."""
    folder = tmp_path_factory.mktemp("colors")
    chance = np.random.default_rng(0)
    for name, color in COLORS.items():
        for number in range(26):
            split = "train" if number < 20 else "test"
            path = folder / "source" / split / name / f"{name}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.array(color) + chance.integers(-40, 40, (32, 32, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    made = folder / "dataset"
    prepare(folder / "source", made, min_images=3, val_per_class=0, size=32, workers=1)
    (folder / "taxonomy.csv").write_text(TAXONOMY)
    hn.tree.build(made, taxonomy=folder / "taxonomy.csv")
    return open_dataset(made)


def options(**given: Any) -> TransferConfig:  # noqa: ANN401
    return TransferConfig.model_validate(given)


def judge(run: Path, dataset: Dataset, out: Path, **given: Any) -> TransferReport:  # noqa: ANN401
    return transfer(str(run), dataset.path, out, options=options(**given))


@pytest.fixture(scope="session")
def tuned(run: Path, colors: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was fine-tuned on the colours."""
    out = tmp_path_factory.mktemp("tuned") / "out"
    judge(run, colors, out, **QUICK)
    return out


# Which images play which part


@given(st.data(), st.floats(0.05, 0.9))
def test_each_class_gives_its_share_and_keeps_an_image(data: st.DataObject, share: float) -> None:
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    held_out = protocol._draw(labels.astype(np.int32), share, seed=1)
    for label, size in enumerate(sizes):
        taken = int(held_out[labels == label].sum())
        assert taken == min(round(share * size), size - 1)


def test_what_is_held_out_is_taken_from_train_where_the_source_states_a_test_split_alone(
    colors: Dataset,
) -> None:
    roles = assign_roles(colors, 0.2, seed=0)
    assert (roles.learn.split, roles.choose.split, roles.test.split) == ("train", "train", "test")
    assert sorted([*roles.learn.rows_N, *roles.choose.rows_N]) == list(range(60))
    assert len(roles.choose.rows_N) == 12
    assert len(roles.test.rows_N) == 18
    other = assign_roles(colors, 0.2, seed=1)
    assert roles.choose.rows_N.tolist() != other.choose.rows_N.tolist()


def test_val_is_the_test_where_there_is_no_other(dataset: Dataset) -> None:
    roles = assign_roles(dataset, 0.2, seed=0)
    assert (roles.choose.split, roles.test.split) == ("train", "val")


def test_val_is_chosen_on_where_there_is_a_test_split_too(colors: Dataset, tmp_path: Path) -> None:
    made = tmp_path / "dataset"
    source = colors.path.parent / "source"
    prepare(source, made, min_images=3, val_per_class=2, size=32, workers=1)
    roles = assign_roles(open_dataset(made), 0.2, seed=0)
    assert (roles.learn.split, roles.choose.split, roles.test.split) == ("train", "val", "test")
    assert len(roles.choose.rows_N) == 6


def test_a_dataset_with_nothing_to_test_on_is_refused(tmp_path: Path, colors: Dataset) -> None:
    source = colors.path.parent / "source" / "train"
    prepare(source, tmp_path / "dataset", min_images=3, val_per_class=0, size=32, workers=1)
    with pytest.raises(DatasetError, match="neither test nor val"):
        assign_roles(open_dataset(tmp_path / "dataset"), 0.2, seed=0)


def test_rows_of_several_parts_are_named_by_their_keys(colors: Dataset) -> None:
    roles = assign_roles(colors, 0.2, seed=0)
    names = roles.name(roles.everything, [0, 59])
    first, last = int(roles.learn.rows_N[0]), int(roles.choose.rows_N[-1])
    assert names == colors.keys("train", [first, last])


# Methods


@pytest.mark.parametrize("method", ["linear", "knn", "few-shot"])
def test_a_probe_learns_colors_and_writes_down_what_it_said(
    run: Path, colors: Dataset, tmp_path: Path, method: str
) -> None:
    report = judge(run, colors, tmp_path / "out", method=method, **SMALL)
    assert report.score > 0.7 > 2 * report.chance
    assert load_report(tmp_path / "out") == report
    assert report.images == {"train": 48, "held_out": 12, "test": 18}
    assert "top1" in str(report)
    if method == "few-shot":
        assert report.shots is not None
        assert [each.shots for each in report.shots] == [1, 2, 5, 10]
        return
    answers = np.load(tmp_path / "out/answers.npz")
    assert (answers["labels"] == answers["guesses"]).mean() == pytest.approx(report.score)
    assert answers["labels"].tolist() == colors.index("test")["label"].tolist()
    assert [depth["classes"] for depth in report.by_depth] == [2, 3]


def test_a_linear_probe_is_a_run_that_evaluates_to_its_own_figure(
    run: Path, colors: Dataset, tmp_path: Path
) -> None:
    report = judge(run, colors, tmp_path / "out", method="linear", **SMALL)
    found = evaluate(tmp_path / "out", colors.path, split="test", workers=0)
    assert found.accuracy.top1 == pytest.approx(report.score)
    before, after = (
        load_checkpoint(find_checkpoint(path)).classifier for path in (run, tmp_path / "out")
    )
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert torch.allclose(before.embed(images), after.embed(images), atol=1e-5)
    path = hn.predict(tmp_path / "out", [colors.path.parent / "source/test/red/red-20.png"])
    assert [step.class_id for step in path.predictions[0].path][:1] == ["warm"]


def test_several_labels_are_probed_over_the_tree(run: Path, several: Dataset, tmp_path: Path) -> None:
    made = tmp_path / "dataset"
    shutil.copytree(several.path, made)
    (tmp_path / "taxonomy.csv").write_text("child,parent\na,ab\nb,ab\nab,\nc,\n")
    hn.tree.build(made, taxonomy=tmp_path / "taxonomy.csv")
    report = judge(run, open_dataset(made), tmp_path / "out", method="linear", **SMALL)
    assert report.metric == "map"
    assert {"map_voc2007", "map_tree", "f1_macro"} <= set(report.figures)
    answers = np.load(tmp_path / "out/answers.npz")
    found = evaluate(tmp_path / "out", made, workers=0)
    assert answers["scores"].shape == answers["present"].shape == (found.accuracy.images, 3)
    model = load_checkpoint(find_checkpoint(tmp_path / "out"))
    assert model.card.class_ids == ("a", "b", "c", "ab")
    biases = load_file(find_checkpoint(tmp_path / "out") / "model.safetensors")["fc.bias"]
    assert biases[3] > -100  # it learned the inner class
    for method in ("knn", "few-shot"):
        assert judge(run, open_dataset(made), tmp_path / method, method=method, **SMALL).metric == "map"


def test_features_are_made_once_for_a_model_and_never_taken_for_those_of_another(
    run: Path, colors: Dataset, tmp_path: Path
) -> None:
    cache = tmp_path / "features"
    for method, seed in (("knn", 0), ("linear", 1)):
        judge(run, colors, tmp_path / method, method=method, features=cache, seed=seed, **SMALL)
    kept = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert {path.name.partition("-")[0] for path in kept} == {"train", "test"}
    assert len(kept) == 2
    judge(run, colors, tmp_path / "other", method="knn", features=cache, untrained=True, **SMALL)
    assert len(list(cache.iterdir())) == 4
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_equal_weights_in_another_architecture_are_another_model(run: Path) -> None:
    model = load_checkpoint(find_checkpoint(run))
    digests = []
    for name in ("one", "other"):
        model.classifier.backbone.pretrained_cfg = {  # type: ignore[assignment]
            "architecture": name,
            "classifier": "fc",
        }
        digests.append(features._digest(model.classifier, model.card.preprocessing, "dataset"))
    assert digests[0] != digests[1]


def test_fine_tuning_tries_rates_on_held_out_images_and_tests_once(
    run: Path, colors: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looked_at = finetuning._answer, []

    def answer(case: Case, model: Classifier, part: Part) -> torch.Tensor:
        looked_at.append((part.split, len(part.rows_N)))
        return real(case, model, part)

    monkeypatch.setattr(finetuning, "_answer", answer)
    report = judge(run, colors, tmp_path / "out", **QUICK)
    assert looked_at.count(("test", 18)) == 1
    assert looked_at[-1] == ("test", 18)
    scores = {
        rate: json.loads((tmp_path / f"out/trials/{rate:g}/trial.json").read_text())["score"]
        for rate in (1e-4, 3e-3)
    }
    assert report.chosen == {"lr": max(scores, key=scores.__getitem__)}
    assert report.chosen_score == max(scores.values())
    config = read_config(tmp_path / "out/config.yaml", TransferConfig)
    assert config["optim"]["lr"] == report.chosen["lr"]
    found = evaluate(tmp_path / "out", colors.path, split="test", workers=0)
    assert found.accuracy.top1 == pytest.approx(report.score)
    assert report.source.scheme == "semantic"
    assert report.source.options["model"] == "test_resnet"


@pytest.mark.parametrize("step", [8, 20])
def test_a_killed_and_resumed_transfer_says_the_same(
    run: Path,
    colors: Dataset,
    tuned: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """A trial has 6 steps, and there are two of them; the run that follows has 21."""
    given = {**QUICK, "save": {"steps": 1}}
    real, calls = Trainer.take_step, 0

    def take_step(self: Trainer, *arguments: Any, **flags: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls == step:
            raise KeyboardInterrupt
        return real(self, *arguments, **flags)

    monkeypatch.setattr(Trainer, "take_step", take_step)
    with pytest.raises(KeyboardInterrupt):
        judge(run, colors, tmp_path / "out", **given)
    resumed = transfer(
        str(run), colors.path, tmp_path / "out", options=options(save={"steps": 1}), resume=True
    )
    before = load_report(tuned)
    assert resumed.figures == before.figures
    assert resumed.chosen == before.chosen


def test_a_transfer_that_is_done_is_not_done_again(run: Path, colors: Dataset, tuned: Path) -> None:
    before = (tuned / "transfer.json").stat().st_mtime_ns
    again = transfer(str(run), colors.path, tuned, resume=True)
    assert again == load_report(tuned)
    assert (tuned / "transfer.json").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="begun with epochs 3, not 4"):
        transfer(str(run), colors.path, tuned, options=options(epochs=4), resume=True)
    with pytest.raises(OutputError, match="not empty"):
        transfer(str(run), colors.path, tuned)


def test_several_processes_answer_in_the_order_of_the_index(
    run: Path, colors: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hypernym.training.feeding.MEASURED_AT_A_TIME", 4)
    config = options(**QUICK)
    source = open_source(str(run), config)
    alone = set_up_case(source, colors, config, torch.device("cpu"), ALONE)
    model = load_checkpoint(find_checkpoint(run)).classifier
    whole = finetuning._answer(alone, model, alone.roles.test)
    said: list[list[torch.Tensor]] = []

    def keep(_: World, ours: list[torch.Tensor]) -> list[list[torch.Tensor]]:
        said.append(ours)
        return [ours]

    monkeypatch.setattr(finetuning, "gather", keep)
    for rank in range(2):
        finetuning._answer(replace(alone, world=World(rank, 2)), model, alone.roles.test)
    monkeypatch.setattr(finetuning, "gather", lambda _world, _ours: said)
    together = finetuning._answer(replace(alone, world=World(0, 2)), model, alone.roles.test)
    assert torch.equal(together, whole)


def test_a_rate_that_diverges_is_passed_over(run: Path, colors: Dataset, tmp_path: Path) -> None:
    given = {**QUICK, "epochs": 1, "optim": {"clip_norm": 0.0, "name": "sgd"}}
    report = judge(run, colors, tmp_path / "out", **{**given, "rates": (1e-2, 1e30)})
    assert report.chosen == {"lr": 1e-2}
    tried = json.loads((tmp_path / "out/trials/1e+30/trial.json").read_text())
    assert tried["score"] is None
    with pytest.raises(UsageError, match="diverged with every learning rate tried"):
        judge(run, colors, tmp_path / "all", **{**given, "rates": (1e29, 1e30)})


def test_a_trial_that_lost_its_marker_is_scored_as_before(
    run: Path, colors: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, measured = finetuning._answer, []

    def answer(case: Case, model: Classifier, part: Part) -> torch.Tensor:
        logits = real(case, model, part)
        measured.append(logits)
        return logits

    monkeypatch.setattr(finetuning, "_answer", answer)
    report = judge(run, colors, tmp_path / "out", ema=0.9, **QUICK)
    last_of_first_trial = measured[0]  # a trial has one epoch
    for name in ("trials/0.0001/trial.json", "transfer.json"):
        (tmp_path / "out" / name).unlink()
    measured.clear()
    again = transfer(str(run), colors.path, tmp_path / "out", resume=True)
    assert torch.allclose(measured[0], last_of_first_trial)
    assert again.figures == report.figures


def test_a_transfer_is_not_resumed_with_another_model_or_dataset(
    run: Path, colors: Dataset, dataset: Dataset, tuned: Path
) -> None:
    with pytest.raises(RunError, match="was begun with the model"):
        transfer("test_resnet", colors.path, tuned, resume=True)
    with pytest.raises(RunError, match="was begun on another dataset"):
        transfer(str(run), dataset.path, tuned, resume=True)


def test_a_transfer_is_not_resumed_with_another_recipe(run: Path, colors: Dataset, tuned: Path) -> None:
    with pytest.raises(RunError, match="was begun with --recipe auto, not cifar100"):
        transfer(str(run), colors.path, tuned, recipe="cifar100", resume=True)
    assert transfer(str(run), colors.path, tuned, resume=True).figures


def test_what_was_only_begun_may_be_begun_anew(run: Path, colors: Dataset, tmp_path: Path) -> None:
    given = {"epochs": 1, "batch_size": 100, "optim": {"lr": 1e-3}, **SMALL}
    with pytest.raises(UsageError, match="more than the 60 training images"):
        judge(run, colors, tmp_path / "out", **given)
    assert judge(run, colors, tmp_path / "out", **{**given, "batch_size": 10}).score > 0


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet", "levit_128s"])
def test_a_saved_probe_says_what_was_scored_or_is_not_saved(
    colors: Dataset, tmp_path: Path, name: str
) -> None:
    given = options(method="linear", untrained=True, workers=0)
    report = transfer(name, colors.path, tmp_path / "out", options=given)
    if name == "levit_128s":  # it has two heads
        assert "not saved" in report.remark
        assert not (tmp_path / "out/checkpoints").exists()
    else:
        found = evaluate(tmp_path / "out", colors.path, split="test", workers=0)
        assert found.accuracy.top1 == pytest.approx(report.score)


@pytest.mark.parametrize(("name", "has_place"), [("test_resnet", True), ("efficientvit_m0", False)])
def test_a_head_has_no_place_where_its_features_are_normalised_once_more(
    colors: Dataset, name: str, has_place: bool
) -> None:
    levels = make_levels(find_tree(colors))
    torch.manual_seed(0)
    backbone = make_backbone(name, num_classes=levels.num_classes, image_size=224)
    for module in backbone.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            module.running_mean.normal_()
    classifier = Classifier(backbone, (0.5,) * 3, (0.5,) * 3).eval()
    width = classifier.embed(torch.zeros(1, 3, 224, 224, dtype=torch.uint8)).shape[1]
    head = Heads((Setting(1.0, 0.0),), torch.randn(1, levels.num_labels, width), torch.randn(1, 3))
    assert put_head(classifier, head, levels, 224) == has_place


# What is transferred


def test_a_model_may_be_a_folder_of_timm_a_file_or_a_name(colors: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = timm.create_model("test_efficientnet", num_classes=7)
    folder = tmp_path / "folder"
    save_for_hf(model, str(folder), model_config={"num_classes": 7})
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    given = {"method": "knn", **SMALL}
    of_folder = judge(folder, colors, tmp_path / "1", **given)
    weights = tmp_path / "weights.safetensors"
    of_file = judge(weights, colors, tmp_path / "2", model="test_efficientnet", **given)
    assert of_folder.figures == of_file.figures
    assert of_folder.source.model == of_file.source.model == "test_efficientnet"
    untrained = transfer(
        "test_efficientnet", colors.path, tmp_path / "3", options=options(untrained=True, **given)
    )
    assert untrained.source.name == "test_efficientnet"


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("test_resnt", {}, "neither a run, a folder, a file nor a model of timm .*'test_resnet"),
        ("RUN", {"model": "resnet50"}, "says that itself"),
        ("FILE", {}, "say by --model"),
        ("EMPTY", {}, "holds no checkpoint"),
    ],
)
def test_what_cannot_be_transferred_is_told_and_leaves_nothing(
    run: Path, colors: Dataset, tmp_path: Path, name: str, given: dict[str, Any], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.pth").write_bytes(b"")
    places = {"RUN": run, "FILE": tmp_path / "weights.pth", "EMPTY": tmp_path / "empty"}
    with pytest.raises((UsageError, RunError), match=message):
        transfer(str(places.get(name, name)), colors.path, tmp_path / "out", options=options(**given))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "knn", "epochs": 3}, "--epochs 3 has a meaning only with --method full"),
        ({"method": "knn", "linear": {"rates": (1.0,)}}, "--linear.rates .* only with --method linear"),
        ({"features": "cache"}, "--features cache has a meaning only with --method linear"),
        ({"loss": {"gamma_neg": 4.0}}, "only with a dataset of several labels"),
        ({"loss": {"max_weight": 3.0}}, "pretrain --scheme semantic"),
        ({"optim": {"lr": 1e-3}, "rates": (1e-3, 1e-2)}, "give one of the two"),
        ({"optim": {"lr": 1e-3}, "trial": 0.5}, "--trial 0.5 has a meaning only with several --rates"),
        ({"pixels": "unit"}, "carries the mean and std"),
    ],
)
def test_options_without_effect_are_refused(
    run: Path, colors: Dataset, tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        judge(run, colors, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("recipe", "given", "message"),
    [
        ("cifar100", {"method": "knn"}, "is one of fine-tuning"),
        ("multi-label", {}, "does not suit a dataset of one label"),
    ],
)
def test_a_recipe_that_does_not_suit_is_refused(
    run: Path, colors: Dataset, tmp_path: Path, recipe: RecipeName, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        transfer(str(run), colors.path, tmp_path / "out", recipe=recipe, options=options(**given))


def test_a_rate_that_is_given_is_not_searched_for() -> None:
    assert resolve_config("auto", {}, 1000).rates
    assert resolve_config("auto", {"optim": {"lr": 1e-3}}, 1000).rates == ()
    assert resolve_config("multi-label", {}, 1000).loss.gamma_neg == 4
    assert resolve_config("cifar100-sgd", {}, 1000).optim.name == "sgd"


def test_fewer_images_are_seen_more_often() -> None:
    sizes = (300, 1_000, 6_000, 50_000, 1_281_167)
    assert [auto(size).epochs for size in sizes] == [60, 60, 42, 27, 14]
    assert [auto(size).batch_size for size in sizes] == [32, 32, 64, 128, 256]


# Labels and the tree


@given(forests(12), st.data())
def test_ancestors_join_the_labels_of_an_image(tree: Tree, data: st.DataObject) -> None:
    levels = make_levels(tree)
    cells = st.lists(st.booleans(), min_size=levels.num_labels, max_size=levels.num_labels)
    present = torch.tensor(data.draw(st.lists(cells, min_size=1, max_size=4)))
    found = with_ancestors(present, levels)
    for image, row in zip(present, found, strict=True):
        expected = set()
        for label in image.nonzero()[:, 0].tolist():
            while label >= 0:
                expected.add(label)
                label = tree.parents[label]  # noqa: PLW2901 - up the tree
        assert set(row.nonzero()[:, 0].tolist()) == expected


def test_a_model_of_leaves_is_right_at_every_depth_that_its_guess_leads_to(colors: Dataset) -> None:
    levels = make_levels(find_tree(colors))
    # one image each: blue right, green taken for blue (same parent), red taken for green
    scores = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 2.5, 0.0]])
    logits = rule_out_inner(scores, levels)
    assert logits.softmax(dim=1)[:, levels.num_labels :].max() < 1e-6  # inner classes are ruled out
    figures, by_depth = describe(logits, torch.tensor([0, 1, 2]), levels)
    assert figures["top1"] == pytest.approx(1 / 3)
    assert [depth["accuracy"] for depth in by_depth] == pytest.approx([2 / 3, 1 / 3])
    assert figures["semantic_top1"] == pytest.approx(3 / 6)


def test_a_dataset_without_a_tree_has_no_figures_of_one(
    run: Path, colors: Dataset, tmp_path: Path
) -> None:
    made = tmp_path / "dataset"
    shutil.copytree(colors.path, made)
    (made / "tree.json").unlink()
    report = judge(run, open_dataset(made), tmp_path / "out", method="linear", **SMALL)
    assert report.by_depth == []
    assert set(report.figures) == {"top1", "top5", "mean_per_class"}


def test_targets_are_those_of_the_index(several: Dataset, colors: Dataset) -> None:
    rows = assign_roles(several, 0.2, 0)
    assert find_targets(rows.open(rows.learn)).dtype == torch.bool
    roles = assign_roles(colors, 0.2, 0)
    expected = colors.index("train")["label"][roles.learn.rows_N].tolist()
    assert find_targets(roles.open(roles.learn)).tolist() == expected
