"""The exported folder, used by someone who never saw this package: by the examples that it carries."""

from __future__ import annotations

import io
import json
import lzma
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_data_config

import hypernym as hn
from hypernym.checkpoint import find_checkpoint, load_card, load_checkpoint, save_checkpoint
from hypernym.commands.evaluate import evaluate
from hypernym.commands.export import ExportReport, export
from hypernym.data.classes import load_class_list
from hypernym.errors import HypernymError, MismatchError, OutputError, RunError, UsageError
from hypernym.hierarchy.levels import NONE, make_levels
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT, build_from_wordnet
from hypernym.prediction.pictures import take_pictures
from hypernym.world.classes import SMALL
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from hypernym.data.dataset import Dataset

OWL = "n01621127"
MIILS = "mobilenetv3_large_100.miil_in21k"
SURE = 0.1
"""The threshold of most comparisons: the model of the tests is sure of little."""

ROUNDING = 0.03
"""By which a probability may differ: Pillow and torch resize a picture by other rounding."""

DRIVER = """
import contextlib, io, json, os, sys, warnings
warnings.simplefilter("ignore")
answers = []
for code, folders in json.loads(sys.stdin.read()):
    found = []
    for folder in folders:
        os.chdir(folder)
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            exec(code, {"__name__": "__main__"})
        found.append(told.getvalue())
    answers.append(found)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Drawn pictures of several classes, sizes and formats."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for number, drawn in enumerate(SMALL):
        chance = np.random.default_rng(number)
        paths.append(folder / f"{number}.{('png', 'jpg', 'webp')[number % 3]}")
        draw(drawn.id, (32, 48, 100)[number % 3], chance).save(paths[-1])
    return paths


def change_scheme(run: Path, folder: Path, scheme: Scheme, **view: Any) -> Path:  # noqa: ANN401
    """Write the run's checkpoint as one of another scheme, or with another view."""
    model = load_checkpoint(find_checkpoint(run))
    seen = replace(model.card.preprocessing, **view)
    card = replace(model.card, scheme=scheme, preprocessing=seen)
    save_checkpoint(folder, model.classifier, card, model.progress)
    return folder


@pytest.fixture(scope="module")
def exports(run: Path, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[Scheme, Path]:
    """A folder for each scheme: one with ONNX that gives paths, one that gives logits, one without."""
    pytest.importorskip("onnxruntime")
    evaluate(run, dataset.path)
    made = tmp_path_factory.mktemp("exports")
    found = {scheme: made / scheme for scheme in Scheme}
    export(str(run), found[Scheme.SEMANTIC], onnx=True, decode=True, dataset=dataset.path)
    single = change_scheme(run, made / "s", Scheme.SINGLE_LABEL, crop_mode="center", crop_pct=0.85)
    export(str(single), found[Scheme.SINGLE_LABEL], onnx=True, torch=True)
    multi = change_scheme(run, made / "m", Scheme.MULTI_LABEL)
    export(str(multi), found[Scheme.MULTI_LABEL], licence="apache-2.0")
    return found


def read_example(folder: Path, package: str) -> str:
    """Return the block of Python in the card that imports a package (and is about it)."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if package in block]
    return block


def lay_out(export: Path, pictures: list[Path], made: Path) -> list[Path]:
    """Make a folder for each picture that holds the export and picture.jpg."""
    folders = []
    for number, picture in enumerate(pictures):
        folder = made / str(number)
        folder.mkdir()
        for path in export.iterdir():
            (folder / path.name).symlink_to(path)
        shutil.copy(picture, folder / "picture.jpg")
        folders.append(folder)
    return folders


def run_here(code: str, folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = []
    for folder in folders:
        monkeypatch.chdir(folder)
        with redirect_stdout(io.StringIO()) as told:
            exec(code, {"__name__": "__main__"})  # noqa: S102 - the example, as a user would run it
        found.append(told.getvalue())
    return found


def run_alone(python: Path, examples: list[tuple[str, list[Path]]]) -> list[list[str]]:
    given = json.dumps([[code, [str(folder) for folder in folders]] for code, folders in examples])
    done = subprocess.run(
        [python, "-I", "-c", DRIVER], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[str]] = json.loads(done.stdout)
    return answers


def check_paths(told: list[str], folder: Path, pictures: list[Path], threshold: float) -> None:
    """Check that printed paths are those of `hn.load`, but where a probability is at the threshold."""
    expected = hn.load(folder, device="cpu").predict(pictures, threshold=threshold)
    assert len(told) == len(pictures)
    lengths = []
    for text, prediction in zip(told, expected, strict=True):
        lines = re.findall(r"^(\S+) (.+) ([\d.]+)$", text, re.MULTILINE)
        assert len(lines) == len(text.splitlines())
        lengths.append(len(lines))
        for line, step in zip_longest(lines, prediction.path):
            if line is None or step is None:
                probability = step.probability if step else float(line[2])
                assert abs(probability - threshold) < ROUNDING, (text, prediction)
                break
            if line[0] != step.class_id:  # two children that are as probable
                assert abs(float(line[2]) - step.probability) < ROUNDING, (text, prediction)
                break
            assert line[1] == step.name
            assert float(line[2]) == pytest.approx(step.probability, abs=ROUNDING)
    assert max(lengths) > 1 or threshold > SURE


def lower(code: str) -> str:
    """Return an example with another threshold."""
    assert code.count("0.5") == 1
    return code.replace("0.5", str(SURE))


@pytest.mark.parametrize("scheme", list(Scheme))
def test_the_card_s_example_for_timm_gives_our_paths(
    exports: dict[Scheme, Path],
    pictures: list[Path],
    scheme: Scheme,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = lay_out(exports[scheme], pictures, tmp_path)
    code = lower(read_example(exports[scheme], "import timm"))
    check_paths(run_here(code, folders, monkeypatch), exports[scheme], pictures, SURE)


@pytest.mark.parametrize(
    ("scheme", "package"),
    [
        (Scheme.SEMANTIC, "import onnxruntime"),
        (Scheme.SINGLE_LABEL, "import onnxruntime"),
        (Scheme.SINGLE_LABEL, "torch.export.load"),
    ],
)
def test_the_card_s_examples_for_other_formats_give_our_paths(
    exports: dict[Scheme, Path],
    pictures: list[Path],
    scheme: Scheme,
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = lay_out(exports[scheme], pictures[:4], tmp_path)
    code = lower(read_example(exports[scheme], package))
    check_paths(run_here(code, folders, monkeypatch), exports[scheme], pictures[:4], SURE)


def test_the_card_s_example_for_hypernym_gives_the_run_s_paths(
    exports: dict[Scheme, Path],
    run: Path,
    pictures: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = exports[Scheme.SEMANTIC]
    told = run_here(
        read_example(folder, "import hypernym"), lay_out(folder, pictures, tmp_path), monkeypatch
    )
    for text, prediction in zip(told, hn.load(run, device="cpu").predict(pictures), strict=True):
        lines = [f"{step.class_id} {step.name} {step.probability:.4f}" for step in prediction.path]
        assert text.splitlines() == lines


def test_timm_alone_sees_and_answers_as_we_do(exports: dict[Scheme, Path], pictures: list[Path]) -> None:
    for folder in exports.values():
        ours = hn.load(folder, device="cpu")
        theirs: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        view = create_transform(**resolve_data_config(model=theirs))
        for batch in ours.load(take_pictures(pictures[:3]), batch_size=3):
            with torch.inference_mode():
                logits = theirs(
                    torch.stack([view(Image.open(path).convert("RGB")) for path in pictures[:3]])
                )
            assert (ours.run(batch.images).logits - logits).abs().max() < 0.2 * logits.std()


def test_transformers_opens_the_folder_with_equal_logits_and_the_right_ids(
    exports: dict[Scheme, Path],
    pictures: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    folder = exports[Scheme.SEMANTIC]
    card, _ = load_card(folder)
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    assert [model.config.id2label[label] for label in range(9)] == list(card.class_ids)
    assert model.config.label2id == {class_id: label for label, class_id in enumerate(card.class_ids)}
    ours = load_checkpoint(folder).classifier
    seen = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        logits = model(pixel_values=(seen - ours.mean) / ours.std).logits
        torch.testing.assert_close(logits, ours(seen), rtol=1e-5, atol=1e-5)
    told = run_here(
        read_example(folder, "import AutoImageProcessor"),
        lay_out(folder, pictures, tmp_path),
        monkeypatch,
    )
    predictor = hn.load(folder, device="cpu")
    right = 0
    for text, batch in zip(told, predictor.load(take_pictures(pictures), batch_size=1), strict=True):
        best = int(predictor.run(batch.images).logits[0].argmax())
        lines = text.splitlines()
        assert len(lines) == 3
        right += lines[0] == f"{card.class_ids[best]} {card.class_names[best]}"
    assert right >= len(pictures) - 1  # two logits may be as large


@pytest.mark.parametrize(
    ("packages", "package", "schemes"),
    [
        (["timm"], "import timm", list(Scheme)),
        (
            ["onnxruntime", "numpy", "pillow"],
            "import onnxruntime",
            [Scheme.SEMANTIC, Scheme.SINGLE_LABEL],
        ),
    ],
)
def test_the_examples_give_our_paths_in_an_environment_that_has_nothing_else(
    exports: dict[Scheme, Path],
    pictures: list[Path],
    packages: list[str],
    package: str,
    schemes: list[Scheme],
    tmp_path: Path,
) -> None:
    python = make_environment(tmp_path / "environment", packages)
    examples, expected = [], []
    for scheme in schemes:
        folder = exports[scheme]
        (tmp_path / scheme).mkdir()
        folders = lay_out(folder, pictures, tmp_path / scheme)
        code = read_example(folder, package)
        examples += [(code, folders), (lower(code), folders)]
        expected += [(folder, 0.5), (folder, SURE)]
    for told, (folder, threshold) in zip(run_alone(python, examples), expected, strict=True):
        check_paths(told, folder, pictures, threshold)


def make_environment(path: Path, packages: list[str]) -> Path:
    """Make a virtual environment with these packages and what they need; skip where that cannot be."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to make an environment with")
    python = path / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, path], check=True)
    done = subprocess.run(
        [uv, "pip", "install", "-q", "--python", python, *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"{', '.join(packages)} cannot be installed: {done.stderr.splitlines()[0]}")
    return python


def test_the_folder_is_the_checkpoint(exports: dict[Scheme, Path], run: Path) -> None:
    folder = exports[Scheme.SEMANTIC]
    ours = load_checkpoint(find_checkpoint(run))
    theirs = load_checkpoint(folder)
    assert theirs.card == ours.card
    for key, value in ours.classifier.backbone.state_dict().items():
        assert torch.equal(theirs.classifier.backbone.state_dict()[key], value)
    names = {path.name for path in folder.iterdir()}
    weights = {"model.safetensors", "config.json", "tree.json", "README.md", "model.onnx"}
    assert names == weights | {"WORDNET_LICENSE.txt"}
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_the_card_s_head_is_what_the_hub_reads(exports: dict[Scheme, Path], run: Path) -> None:
    found = ModelCard.load(exports[Scheme.SEMANTIC] / "README.md").data
    assert (found.library_name, found.pipeline_tag) == ("timm", "image-classification")
    assert found.license is None
    report = json.loads((run / "report.json").read_text())
    metrics = {result.metric_name: result.metric_value for result in found.eval_results or []}
    assert metrics == {
        "semantic top-1": round(100 * report["accuracy"]["semantic_top1"], 2),
        "top-1": round(100 * report["accuracy"]["top1"], 2),
    }
    bare = ModelCard.load(exports[Scheme.MULTI_LABEL] / "README.md").data
    assert bare.license == "apache-2.0"
    assert not bare.eval_results


def test_the_card_tells_data_tree_metrics_and_preprocessing(
    exports: dict[Scheme, Path], dataset: Dataset
) -> None:
    text = (exports[Scheme.SEMANTIC] / "README.md").read_text()
    accuracy = json.loads((exports[Scheme.SEMANTIC] / "config.json").read_text())["hypernym"]["figures"]
    assert f"| semantic top-1 | {100 * accuracy['val/semantic_top1']:.1f} |" in text
    assert dataset.card["digest"] in text
    assert f"made from {dataset.card['source']['name']}: 9 classes" in text
    assert (
        f"9 classes in {make_levels(hn.load(exports[Scheme.SEMANTIC]).tree).num_depths} depths" in text
    )
    assert "owl  n01621127" in text
    assert "subtract the mean [0.5, 0.5, 0.5]" in text
    assert "Resize it to 32 x 32 pixels, bicubic with anti-aliasing; the aspect ratio is not" in text
    assert "Princeton University" in text
    center = (exports[Scheme.SINGLE_LABEL] / "README.md").read_text()
    assert "Resize its shorter side to 37 pixels" in center
    assert "hypernym evaluate RUN DATASET` measures them" in center


def test_a_report_of_another_checkpoint_is_left_out(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    evaluate(copy, dataset.path)
    report = json.loads((copy / "report.json").read_text())
    (copy / "report.json").write_text(json.dumps(report | {"epoch": 99}))
    export(str(copy), tmp_path / "out")
    assert "None were measured" in (tmp_path / "out/README.md").read_text()


def test_the_licence_of_an_architecture_s_published_weights_is_not_claimed(
    exports: dict[Scheme, Path], run: Path
) -> None:
    def read(folder: Path) -> str | None:
        config = json.loads((folder / "config.json").read_text())
        licence: str | None = config["pretrained_cfg"].get("license")
        return licence

    assert read(find_checkpoint(run)) == "apache-2.0"  # timm's, of weights that were not used
    assert read(exports[Scheme.SEMANTIC]) is None
    assert read(exports[Scheme.MULTI_LABEL]) == "apache-2.0"


def test_what_was_exported_can_be_exported_and_measured_again(
    exports: dict[Scheme, Path], dataset: Dataset, tmp_path: Path
) -> None:
    export(str(exports[Scheme.SEMANTIC]), tmp_path / "again")
    first = (exports[Scheme.SEMANTIC] / "model.safetensors").read_bytes()
    assert (tmp_path / "again/model.safetensors").read_bytes() == first
    assert evaluate(tmp_path / "again", dataset.path).accuracy.images > 0


def test_weights_from_elsewhere_that_are_exported_again_stay_from_elsewhere(
    old: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"model": "test_resnet.r160_in1k", "classes": old / "names.txt"}
    export(str(old / "w.safetensors"), tmp_path / "out", **given)
    report = export(str(tmp_path / "out"), tmp_path / "again")
    assert report.told_by == "names.txt"
    text = (tmp_path / "again/README.md").read_text()
    assert "Weights: `w.safetensors`, trained elsewhere" in text
    assert "hypernym pretrain" not in text
    first, again = ((tmp_path / name / "README.md").read_text() for name in ("out", "again"))
    assert again == first.replace("# out", "# again")


def test_a_report_of_another_version_is_left_out(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    evaluate(copy, dataset.path)
    report = json.loads((copy / "report.json").read_text())
    (copy / "report.json").write_text(json.dumps(report | {"version": 3, "accuracy": {}}))
    export(str(copy), tmp_path / "out")
    assert "None were measured" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", b"1234567890", "holds weights that cannot be read"),
        ("tree.json", None, "has no tree.json: it is not whole"),
        ("config.json", b'{"hypernym": {"version": 1}, "label_names": []}', "is damaged"),
    ],
)
def test_a_folder_that_was_damaged_is_one_sentence(
    exports: dict[Scheme, Path], tmp_path: Path, file: str, content: bytes | None, message: str
) -> None:
    shutil.copytree(exports[Scheme.SEMANTIC], tmp_path / "copy")
    (tmp_path / "copy" / file).unlink()
    if content is not None:
        (tmp_path / "copy" / file).write_bytes(content)
    with pytest.raises(RunError, match=message):
        hn.load(tmp_path / "copy")


def test_a_place_that_nobody_may_write_to_is_one_sentence(run: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be (written|made)"):
        export(str(run), Path("/proc/out"))


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExportReport]:
    """Weights as the released ones, with an output for each class of winter21, and their export."""
    torch.manual_seed(0)
    backbone = timm.create_model(MIILS, num_classes=10_450)
    folder = tmp_path_factory.mktemp("released")
    save_file(backbone.state_dict(), folder / "weights.safetensors")
    report = export(str(folder / "weights.safetensors"), folder / "out", model=MIILS)
    return folder, report


def test_released_weights_gain_names_tree_and_preprocessing(released: tuple[Path, ExportReport]) -> None:
    folder, report = released
    assert (report.classes, report.depths, report.scheme) == (10_450, 12, "semantic")
    assert "imagenet21k-p-winter21" in report.told_by
    predictor = hn.load(folder / "out", device="cpu")
    card = predictor.card
    ids = sorted(load_class_list("imagenet21k-p-winter21"))
    assert card.class_ids == tuple(ids)
    assert card.tree == build_from_wordnet(ids)
    assert card.class_names[ids.index(OWL)] == "owl"
    view = card.preprocessing
    assert (view.mean, view.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert (view.size, view.crop_mode, view.crop_pct) == (224, "center", 0.875)
    assert view.interpolation == "bilinear"
    original: Any = timm.create_model(MIILS, num_classes=10_450).eval()
    original.load_state_dict(load_file(folder / "weights.safetensors"))
    seen = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    with torch.inference_mode():
        expected = original(seen / 255)
    torch.testing.assert_close(predictor.run(seen).logits, expected, rtol=1e-4, atol=1e-4)
    text = (folder / "out/README.md").read_text()
    assert "trained elsewhere" in text
    assert "timm states `apache-2.0`" in text


def test_the_tree_of_released_weights_is_the_official_one(
    released: tuple[Path, ExportReport], shared: Path
) -> None:
    card, _ = load_card(released[0] / "out")
    packed = (shared / "wordnet/official_winter21_tree.json.xz").read_bytes()
    official = json.loads(lzma.decompress(packed))
    assert list(card.class_ids) == sorted(official["class_description"])
    ancestors_CL = make_levels(card.tree).ancestors_CL.tolist()
    own_first = [[label for label in row if label != NONE][::-1] for row in ancestors_CL]
    assert own_first == official["class_tree_list"]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint from before, for four classes of its maker."""
    folder = tmp_path_factory.mktemp("old")
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=4).state_dict(), folder / "w.safetensors")
    (folder / "names.txt").write_text("golden retriever\nhouse cat\nstreet car\nbus\n")
    (folder / "taxonomy.csv").write_text(
        "child,parent\ngolden retriever,pet\nhouse cat,pet\nstreet car,vehicle\nbus,street car\n"
    )
    return folder


def test_an_old_checkpoint_with_a_list_of_names_becomes_a_model(old: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": "test_resnet.r160_in1k", "classes": old / "names.txt"}
    report = export(str(old / "w.safetensors"), tmp_path / "flat", **options)
    assert (report.classes, report.depths, report.scheme) == (4, 1, "single-label")
    card, _ = load_card(tmp_path / "flat")
    assert card.class_names == ("golden retriever", "house cat", "street car", "bus")
    options |= {"taxonomy": old / "taxonomy.csv", "scheme": Scheme.MULTI_LABEL}
    export(str(old / "w.safetensors"), tmp_path / "tree", **options)
    card, _ = load_card(tmp_path / "tree")
    assert card.tree.parents == (ROOT, ROOT, ROOT, 2)
    assert card.scheme == Scheme.MULTI_LABEL
    assert "hypernym evaluate FOLDER DATASET" in (tmp_path / "tree/README.md").read_text()


def test_a_line_that_begins_with_a_wordnet_id_has_a_name_after_it(old: Path, tmp_path: Path) -> None:
    lines = "n02099601 golden retriever\nn02121808\tmy cat\nn02958343\nn02924116\n"
    (tmp_path / "ids.txt").write_text(lines)
    given: dict[str, Any] = {"model": "test_resnet.r160_in1k", "classes": tmp_path / "ids.txt"}
    export(str(old / "w.safetensors"), tmp_path / "out", **given)
    card, _ = load_card(tmp_path / "out")
    assert card.class_ids == ("n02099601", "n02121808", "n02958343", "n02924116")
    assert card.class_names == ("golden retriever", "my cat", "car", "bus")


def test_a_folder_of_timm_is_opened_by_its_own_card(old: Path, tmp_path: Path) -> None:
    backbone: Any = timm.create_model("test_resnet", num_classes=4)
    labels = {"label_names": ["a", "b", "c", "d"], "label_descriptions": {"a": "an A"}}
    timm.models.save_for_hf(backbone, tmp_path / "theirs", labels, safe_serialization=True)
    report = export(str(tmp_path / "theirs"), tmp_path / "out")
    assert report.told_by == "its card"
    card, _ = load_card(tmp_path / "out")
    assert card.class_names == ("an A", "b", "c", "d")
    assert old.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, r"is a file of weights: say by --model"),
        ({"model": "test_resnett"}, r"timm has no model 'test_resnett' \(did you mean"),
        ({"model": "test_resnet"}, r"what the 4 outputs of .* stand for is not known: give --classes"),
        (
            {"model": "test_resnet.r160"},
            r"has no weights 'test_resnet.r160' \(did you mean",
        ),
        ({"model": "test_vit"}, r"has no head 'head', as test_vit has"),
        ({"model": "resnet18", "classes": "names.txt"}, r"cannot be read as those of 'resnet18'"),
        ({"model": "test_resnet", "classes": "taxonomy.csv"}, r"names 5 classes, and .* has 4 outputs"),
        ({"model": "test_resnet", "classes": "none.txt"}, r"--classes .*none.txt cannot be read"),
        ({"model": "test_resnet", "classes": "twice.txt"}, r"names 'a' twice"),
    ],
)
def test_weights_that_say_too_little_are_refused_with_what_to_give(
    old: Path, tmp_path: Path, words: dict[str, str], message: str
) -> None:
    (old / "twice.txt").write_text("a\na\nb\nc\n")
    given: dict[str, Any] = {**words}
    if "classes" in given:
        given["classes"] = old / given["classes"]
    with pytest.raises(UsageError, match=message):
        export(str(old / "w.safetensors"), tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_requests_that_cannot_be_meant_are_refused(
    run: Path, dataset: Dataset, several: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    out = tmp_path / "out"
    cases: list[tuple[Path, dict[str, Any], type[HypernymError], str]] = [
        (tmp_path / "full", {}, OutputError, "is not empty: give another folder for the export"),
        (out, {"int8": True}, UsageError, "--int8 reads off ranges on images: add --dataset"),
        (out, {"decode": True}, UsageError, "add --onnx, --int8 or --torch"),
        (out, {"private": True}, UsageError, "add --push USER/NAME"),
        (out, {"model": "resnet50"}, UsageError, "--model speaks of weights from elsewhere"),
        (out, {"scheme": Scheme.SEMANTIC}, UsageError, "--scheme speaks of weights from elsewhere"),
        (out, {"dataset": several.path}, MismatchError, "was trained on 9 classes"),
    ]
    for place, given, error, message in cases:
        with pytest.raises(error, match=message):
            export(str(run), place, **given)
    with pytest.raises(UsageError, match="neither a run, a folder, a file nor a model of timm"):
        export(str(tmp_path / "nothing"), out, dataset=dataset.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_a_push_makes_a_repository_and_puts_the_folder_there(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []

    def create_repo(_: object, repo: str, **options: Any) -> str:  # noqa: ANN401
        done.append((repo, options))
        return f"https://example.invalid/{repo}"

    def upload_folder(_: object, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        done.append((repo_id, sorted(path.name for path in folder_path.iterdir()), commit_message))

    monkeypatch.setenv("HF_TOKEN", "hf_none")
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    report = export(str(run), tmp_path / "out", push="someone/owls", private=True)
    files = ["README.md", "WORDNET_LICENSE.txt", "config.json", "model.safetensors", "tree.json"]
    assert done[0] == ("someone/owls", {"private": True, "exist_ok": True})
    assert done[1] == ("someone/owls", files, "Export by hypernym")
    assert report.address == "https://example.invalid/someone/owls"
    text = (tmp_path / "out/README.md").read_text()
    assert "# owls" in text
    assert "hf download someone/owls --local-dir ." in text


def test_a_hub_that_is_not_reached_leaves_the_folder_and_says_how_to_go_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        "hypernym.publication.hub.HfApi", lambda: huggingface_hub.HfApi("http://127.0.0.1:9")
    )
    with pytest.raises(OutputError, match=r"is whole, but someone/owls does not take it .*hf upload"):
        export(str(run), tmp_path / "out", push="someone/owls")
    assert (tmp_path / "out/README.md").exists()


@pytest.mark.parametrize(
    ("repo", "message"),
    [("owls", "names no user"), ("a/b/c", "is no name on the hub"), ("a/b", "run `hf auth login`")],
)
def test_a_push_that_must_fail_is_refused_before_anything_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo: str, message: str
) -> None:
    monkeypatch.setattr("hypernym.publication.hub.get_token", lambda: None)
    with pytest.raises(UsageError, match=message):
        export(str(run), tmp_path / "out", push=repo)
    assert list(tmp_path.iterdir()) == []
