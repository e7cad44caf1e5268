"""The graph that is exported: the same path as the decoder's, the same numbers in other runtimes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.onnx._internal.exporter._onnx_program as saving
from hypothesis import given
from hypothesis import strategies as st
from strategies import forests

import hypernym as hn
from hypernym.checkpoint import find_checkpoint, load_checkpoint
from hypernym.commands.evaluate import evaluate
from hypernym.commands.export import ExportReport, export
from hypernym.data.classes import load_class_list
from hypernym.decoding import Decoder
from hypernym.errors import RunError, UsageError
from hypernym.hierarchy.levels import NONE, make_levels
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import build_from_wordnet
from hypernym.publication import graph
from hypernym.publication.agreement import call_module
from hypernym.publication.network import Traced
from hypernym.publication.paths import PathFinder
from hypernym.publication.samples import take_samples
from hypernym.world.classes import SMALL
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from pathlib import Path

    from hypernym.checkpoint import TrainedModel
    from hypernym.data.dataset import Dataset
    from hypernym.hierarchy.tree import Tree

pytest.importorskip("onnxruntime")

CPU = torch.device("cpu")
SCHEMES = pytest.mark.parametrize("scheme", list(Scheme))


@pytest.fixture(scope="module")
def exported(
    run: Path, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ExportReport]:
    """The run with everything that can be exported."""
    out = tmp_path_factory.mktemp("exported") / "owls"
    return out, export(str(run), out, decode=True, int8=True, torch=True, dataset=dataset.path)


@pytest.fixture(scope="module")
def model(run: Path) -> TrainedModel:
    """The original."""
    return load_checkpoint(find_checkpoint(run))


@pytest.fixture(scope="module")
def images(dataset: Dataset, model: TrainedModel) -> torch.Tensor:
    """Views of validation images."""
    return take_samples(dataset, model.card.preprocessing)


def check_equal(tree: Tree, scheme: Scheme, logits: torch.Tensor, threshold: float) -> None:
    levels = make_levels(tree)
    decoder = Decoder(levels, scheme, CPU)
    expected = decoder.decode(logits, threshold)
    found = PathFinder(levels, scheme)(logits, torch.tensor([threshold]))
    probabilities = decoder.log_probabilities(logits).exp()
    torch.testing.assert_close(found.probabilities, probabilities, rtol=1e-5, atol=1e-7)
    # as far as rounding may reach; at 0 all is kept
    certain = ((expected.probabilities - threshold).abs() > 1e-6) | (threshold == 0)
    labels = expected.labels.where(expected.kept, NONE)
    assert torch.equal(found.labels[certain], labels[certain])
    shown = expected.probabilities.where(expected.kept, 0.0)
    torch.testing.assert_close(found.path_probabilities[certain], shown[certain], rtol=1e-5, atol=1e-7)


@SCHEMES
@given(tree=forests(), seed=st.integers(0, 2**31), threshold=st.floats(0, 1))
def test_the_exported_path_is_that_of_the_decoder(
    scheme: Scheme, tree: Tree, seed: int, threshold: float
) -> None:
    logits = 2 * torch.randn(7, len(tree.ids), generator=torch.Generator().manual_seed(seed))
    check_equal(tree, scheme, logits, threshold)


@SCHEMES
@given(tree=forests(max_classes=12), seed=st.integers(0, 2**31))
def test_extreme_and_masked_logits_give_the_same_path(scheme: Scheme, tree: Tree, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for scale in (1.0, 1e4, 1e38):
        logits = scale * torch.randn(3, len(tree.ids), generator=generator)
        logits[:, torch.rand(len(tree.ids), generator=generator) < 0.3] = -torch.inf
        if len(tree.ids) > 1 and logits.isfinite().any(dim=1).all():
            check_equal(tree, scheme, logits, 0.5)
            check_equal(tree, scheme, logits, 0.0)


@SCHEMES
def test_the_tree_of_imagenet_21k_needs_no_matrix_of_its_classes(scheme: Scheme) -> None:
    tree = build_from_wordnet(sorted(load_class_list("imagenet21k-p")))
    finder = PathFinder(make_levels(tree), scheme)
    assert sum(buffer.numel() for buffer in finder.buffers()) < 5 * len(tree.ids)
    logits = 3 * torch.randn(4, len(tree.ids), generator=torch.Generator().manual_seed(0))
    check_equal(tree, scheme, logits, 0.1)


@SCHEMES
def test_onnxruntime_finds_the_path_that_the_decoder_finds(
    scheme: Scheme, model: TrainedModel, tmp_path: Path
) -> None:
    levels = make_levels(model.card.tree)
    finder = PathFinder(levels, scheme).eval()
    logits = 3 * torch.randn(200, len(model.card.class_ids), generator=torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch", min=1, max=4096)
    torch.onnx.export(
        finder,
        (logits[:3], torch.tensor([0.5])),
        tmp_path / "path.onnx",
        dynamo=True,
        dynamic_shapes=({0: batch}, None),
        input_names=["logits", "threshold"],
        verbose=False,
    )
    session = graph.open_session(tmp_path / "path.onnx")
    given = {"logits": logits.numpy(), "threshold": np.array([0.3], np.float32)}
    probabilities, labels, _ = (np.asarray(found) for found in session.run(None, given))
    decoder = Decoder(levels, scheme, CPU)
    expected = decoder.decode(logits, 0.3)
    np.testing.assert_allclose(probabilities, decoder.log_probabilities(logits).exp(), atol=1e-5)
    certain = (expected.probabilities - 0.3).abs() > 1e-5
    assert np.array_equal(labels[certain], expected.labels.where(expected.kept, NONE)[certain])


@pytest.mark.parametrize("number", [1, 2, 7])
def test_onnxruntime_gives_what_the_model_gives_for_any_number_of_images(
    exported: tuple[Path, ExportReport], model: TrainedModel, images: torch.Tensor, number: int
) -> None:
    session = graph.open_session(exported[0] / "model.onnx")
    given = {"images": images[:number].numpy(), "threshold": np.array([0.1], np.float32)}
    found: list[Any] = session.run(None, given)
    with torch.inference_mode():
        logits = model.classifier(images[:number])
    torch.testing.assert_close(torch.from_numpy(found[0]), logits, rtol=1e-4, atol=1e-5)
    decoder = Decoder(make_levels(model.card.tree), model.card.scheme, CPU)
    decoded = decoder.decode(logits, 0.1)
    probabilities = decoder.log_probabilities(logits).exp()
    torch.testing.assert_close(torch.from_numpy(found[1]), probabilities, rtol=1e-4, atol=1e-5)
    assert found[2].tolist() == decoded.labels.where(decoded.kept, NONE).tolist()
    kept = decoded.probabilities.where(decoded.kept, 0.0)
    torch.testing.assert_close(torch.from_numpy(found[3]), kept, rtol=1e-4, atol=1e-5)
    assert (found[2] != NONE).any()


def test_the_threshold_is_an_input(exported: tuple[Path, ExportReport], images: torch.Tensor) -> None:
    session = graph.open_session(exported[0] / "model.onnx")

    def count(threshold: float) -> int:
        given = {"images": images.numpy(), "threshold": np.array([threshold], np.float32)}
        (path,) = session.run(["path"], given)
        return int((path != NONE).sum())

    assert count(0.0) > count(0.3) > count(1.0) == 0


def test_the_file_alone_says_what_its_outputs_and_pixels_are(
    exported: tuple[Path, ExportReport], model: TrainedModel
) -> None:
    card = model.card
    for file in ("model.onnx", "model.int8.onnx"):
        found = graph.open_session(exported[0] / file).get_modelmeta().custom_metadata_map
        told = {key: json.loads(value) for key, value in found.items()}
        assert tuple(told["class_ids"]) == card.class_ids
        assert tuple(told["class_names"]) == card.class_names
        place = {class_id: label for label, class_id in enumerate(card.class_ids)}
        assert [place.get(parent, -1) for parent in told["parents"]] == list(card.tree.parents)
        assert told["scheme"] == "semantic"
        assert told["threshold"] == 0.5
        assert told["preprocessing"]["size"] == 32
        assert told["preprocessing"]["crop_mode"] == "squash"
        assert told["preprocessing"]["interpolation"] == "bicubic"


def test_no_file_names_a_folder_of_this_machine(exported: tuple[Path, ExportReport]) -> None:
    for file in exported[0].iterdir():
        data = file.read_bytes()
        assert b"site-packages" not in data, file
        assert str(hn.__file__).removesuffix("__init__.py").encode() not in data, file


def test_the_program_of_torch_is_the_model(
    exported: tuple[Path, ExportReport], model: TrainedModel, images: torch.Tensor
) -> None:
    extra = {"class_ids": "", "class_names": "", "parents": "", "preprocessing": ""}
    read = torch.export.load(exported[0] / "model.pt2", extra_files=extra).module()
    assert tuple(json.loads(extra["class_ids"])) == model.card.class_ids
    with torch.inference_mode():
        for number in (1, 5):
            found = read(images[:number], torch.tensor([0.3]))
            logits = model.classifier(images[:number])
            torch.testing.assert_close(found[0], logits, rtol=1e-5, atol=1e-5)
            finder = PathFinder(make_levels(model.card.tree), model.card.scheme)
            assert torch.equal(found[2], finder(logits, torch.tensor([0.3])).labels)


def test_the_report_says_how_far_each_format_is_from_the_model(
    exported: tuple[Path, ExportReport],
) -> None:
    folder, report = exported
    assert report.onnx is not None
    assert report.program is not None
    assert report.onnx.difference < 1e-4 < report.onnx.spread
    assert report.program.difference < 1e-4
    assert report.onnx.size == (folder / "model.onnx").stat().st_size
    assert "model.onnx (" in str(report)


def test_the_loss_of_8_bits_is_measured_on_the_validation_images(
    exported: tuple[Path, ExportReport], run: Path, dataset: Dataset
) -> None:
    folder, report = exported
    loss = report.int8
    assert loss is not None
    measured = evaluate(run, dataset.path).accuracy
    assert loss.images == measured.images
    assert (loss.top1, loss.semantic_top1) == (measured.top1, measured.semantic_top1)
    assert abs(loss.int8_semantic_top1 - loss.semantic_top1) < 0.1
    assert loss.agreement > 0.7
    assert loss.size < 0.5 * loss.float_size
    session = graph.open_session(folder / "model.int8.onnx")
    told = json.loads(session.get_modelmeta().custom_metadata_map["int8"])
    assert told["int8_semantic_top1"] == loss.int8_semantic_top1
    assert f"{100 * loss.int8_semantic_top1:.1f} % (float" in (folder / "README.md").read_text()
    assert sorted(path.name for path in folder.glob("*.onnx*")) == ["model.int8.onnx", "model.onnx"]


def test_8_bits_name_pictures_as_the_model_does(
    exported: tuple[Path, ExportReport], images: torch.Tensor
) -> None:
    given = {"images": images.numpy(), "threshold": np.array([0.5], np.float32)}
    plain, quantised = (
        graph.open_session(exported[0] / file).run(["probabilities"], given)[0]
        for file in ("model.onnx", "model.int8.onnx")
    )
    assert 0 < np.abs(plain - quantised).mean() < 0.05


class Widened(torch.nn.Module):
    """A layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3 * 32 * 32, 50)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(images.float().flatten(1) / 255)
        return logits


def test_weights_too_large_for_one_file_lie_beside_it(
    images: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_LARGE_MODEL_THRESHOLD", 1000)
    network = Widened()
    batch = {0: torch.export.Dim("batch", min=1)}
    program = torch.export.export(network, (images[:2],), dynamic_shapes=(batch,))
    traced = Traced(network, program, ("images",), ("logits",), {})
    found = graph.write_graph(tmp_path, traced, images)
    assert (tmp_path / "model.onnx").stat().st_size < 0.1 * found.size
    assert found.size > 4 * sum(weight.numel() for weight in network.parameters())


def test_a_file_that_differs_from_the_model_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call_wrongly(*given: Any) -> Any:  # noqa: ANN401
        return lambda images: [output + 0.1 for output in call_module(*given)(images)]

    monkeypatch.setattr("hypernym.publication.program.call_module", call_wrongly)
    with pytest.raises(RunError, match=r"model\.pt2 does not give what the model gives"):
        export(str(run), tmp_path / "out", torch=True)
    assert list(tmp_path.iterdir()) == []


def test_without_the_packages_for_onnx_the_way_to_get_them_is_told(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UsageError, match=r"onnxscript.*pip install 'hypernym\[onnx\]'"):
        export(str(run), tmp_path / "out", onnx=True)


def test_drawn_pictures_stand_in_where_no_dataset_is_given(model: TrainedModel) -> None:
    view = replace(model.card.preprocessing, crop_mode="center", size=48)
    found = take_samples(None, view)
    assert found.shape == (16, 3, 48, 48)
    first = draw(SMALL[0].id, 48, np.random.default_rng(0))
    assert first.size != (48, 48)
    assert found.float().std() > 20
