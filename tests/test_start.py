"""Start weights: the body must fit, the head is matched by class id, releases are not mixed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import PretrainedCfg

from hypernym.checkpoint import Card, save_checkpoint
from hypernym.data.classes import load_class_list
from hypernym.data.transforms import Preprocessing
from hypernym.errors import HypernymError, MismatchError, RunError, UsageError
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT, Tree, build_from_wordnet
from hypernym.models import Classifier, make_backbone
from hypernym.training import releases, start
from hypernym.training.releases import find_release, name_outputs
from hypernym.training.start import load_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

FALL11 = tuple(sorted(load_class_list("imagenet21k-p")))
WINTER21 = tuple(sorted(load_class_list("imagenet21k-p-winter21")))


def make_tree(ids: tuple[str, ...], num_added: int = 0) -> Tree:
    return Tree(ids, (ROOT,) * len(ids), "by hand", "none", num_added=num_added)


def make_model(num_outputs: int, seed: int, name: str = "test_resnet", **options: object) -> nn.Module:
    torch.manual_seed(seed)
    model: nn.Module = timm.create_model(name, num_classes=num_outputs, **options)
    return model


def head_of(model: nn.Module) -> nn.Linear:
    return cast("nn.Linear", model.get_classifier())  # type: ignore[operator]


def rows(model: nn.Module) -> torch.Tensor:
    """The rows of a head with their biases, (C, features + 1)."""
    head = head_of(model)
    return torch.cat([head.weight, head.bias[:, None]], dim=1).detach().clone()


def save_weights(path: Path, model: nn.Module, wrapped_in: str = "", prefix: str = "") -> Path:
    tensors = {prefix + name: value for name, value in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({wrapped_in: tensors, "epoch": 3} if wrapped_in else tensors, path)
    return path


def save_folder(folder: Path, model: nn.Module, **card: object) -> Path:
    """Write a folder in timm's hub form, as other people's models come."""
    folder.mkdir()
    save_weights(folder / "model.safetensors", model)
    config = {
        "architecture": "test_resnet",
        "num_classes": head_of(model).out_features,
        "pretrained_cfg": {"input_size": [3, 32, 32], "classifier": "fc"},
        **card,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def save_own(folder: Path, model: nn.Module, tree: Tree) -> Path:
    """Write a checkpoint of our own."""
    view = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "squash")
    card = Card(tree.ids, tree.ids, tree, view, Scheme.SEMANTIC, "0" * 64)
    save_checkpoint(folder, Classifier(model, view.mean, view.std), card, {"epoch": 1})
    return folder


def put(
    model: nn.Module, ids: tuple[str, ...], path: Path | None, head: str = "match"
) -> start.StartReport:
    return load_start(
        model,
        tree=make_tree(ids),
        start=path,
        pretrained_name=None,
        head=cast("Any", head),
    )


def assert_same_body(model: nn.Module, other: nn.Module, but: str = "fc.") -> None:
    expected = other.state_dict()
    compared = 0
    for name, value in model.state_dict().items():
        if not name.startswith(but):
            torch.testing.assert_close(value, expected[name])
            compared += 1
    assert compared > 10


# --- matching the head --------------------------------------------------------------------------


def test_outputs_of_a_run_are_taken_over_by_class_id_and_the_others_stay_new(tmp_path: Path) -> None:
    source = make_model(4, seed=1)
    folder = save_own(tmp_path / "checkpoint", source, make_tree(("ant", "bee", "cow", "dog")))
    model = make_model(5, seed=2)
    before = rows(model)
    report = put(model, ("dog", "elk", "bee", "fox", "ant"), folder)
    assert_same_body(model, source)
    theirs = rows(source)
    expected = torch.stack([theirs[3], before[1], theirs[1], before[3], theirs[0]])
    torch.testing.assert_close(rows(model), expected)
    assert (report.taken, report.outputs) == (3, 5)
    assert str(report).startswith("3 of 5 outputs of the head taken over by class id from ")
    assert "2 made anew" in str(report)


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path: Path) -> None:
    source = make_model(3, seed=1)
    save_own(tmp_path / "run" / "checkpoints" / "best", source, make_tree(("ant", "bee", "cow")))
    model = make_model(3, seed=2)
    assert put(model, ("ant", "bee", "cow"), tmp_path / "run").taken == 3
    torch.testing.assert_close(rows(model), rows(source))


def test_a_new_head_keeps_its_first_values_and_takes_the_body(tmp_path: Path) -> None:
    source = make_model(3, seed=1)
    folder = save_own(tmp_path / "checkpoint", source, make_tree(("ant", "bee", "cow")))
    model = make_model(3, seed=2)
    before = rows(model)
    report = put(model, ("ant", "bee", "cow"), folder, head="new")
    torch.testing.assert_close(rows(model), before)
    assert_same_body(model, source)
    assert "All 3 outputs of the head made anew (--head new)" in str(report)


@pytest.mark.parametrize(
    ("name", "wrapped_in", "prefix"),
    [
        ("a.safetensors", "", ""),
        ("a.pth", "", ""),
        ("a.pth", "state_dict", "module."),
        ("a.pt", "model", "_orig_mod."),
        ("a.pth", "model_ema", ""),
    ],
)
def test_every_form_of_weight_file_is_read(
    name: str, wrapped_in: str, prefix: str, tmp_path: Path
) -> None:
    source = make_model(1000, seed=1)
    path = save_weights(tmp_path / name, source, wrapped_in, prefix)
    ids = tuple(name_outputs(1000, None).ids)
    model = make_model(3, seed=2)
    report = put(model, (ids[7], "no-such", ids[900]), path)
    assert_same_body(model, source)
    torch.testing.assert_close(rows(model)[[0, 2]], rows(source)[[7, 900]])
    assert report.taken == 2
    assert "1,000 classes, told by their number, that of imagenet-1k" in str(report)


def test_the_released_weights_of_21k_p_are_matched_in_the_order_of_sorted_ids(tmp_path: Path) -> None:
    source = make_model(11221, seed=1)
    path = save_weights(tmp_path / "test_resnet_miil.pth", source, "state_dict")
    model = make_model(3, seed=2)
    assert put(model, (FALL11[11000], FALL11[0], FALL11[5]), path).taken == 3
    torch.testing.assert_close(rows(model), rows(source)[[11000, 0, 5]])


@pytest.mark.parametrize("num_outputs", [1000, 10450, 11221, 11821, 21841, 21842, 21843])
def test_the_class_ids_of_every_published_number_of_outputs_are_known(num_outputs: int) -> None:
    outputs = name_outputs(num_outputs, None)
    assert len(outputs.ids) == num_outputs
    assert all(class_id[0] == "n" for class_id in outputs.ids)


def test_a_card_is_believed_before_a_number(tmp_path: Path) -> None:
    ids = [f"my-{number}" for number in range(1000)]
    source = make_model(1000, seed=1)
    folder = save_folder(tmp_path / "folder", source, label_names=ids)
    model = make_model(2, seed=2)
    report = put(model, ("my-999", "my-4"), folder)
    torch.testing.assert_close(rows(model), rows(source)[[999, 4]])
    assert "told by its card" in str(report)


def test_a_head_whose_classes_nobody_knows_is_made_anew_and_the_log_says_so(tmp_path: Path) -> None:
    source = make_model(7, seed=1)
    path = save_weights(tmp_path / "a.safetensors", source)
    model = make_model(7, seed=2)
    before = rows(model)
    report = put(model, tuple("abcdefg"), path)
    torch.testing.assert_close(rows(model), before)
    assert_same_body(model, source)
    assert "the classes of the 7 outputs of the source are not known" in str(report)


def test_a_source_without_a_head_gives_its_body(tmp_path: Path) -> None:
    source = make_model(0, seed=1)
    model = make_model(2, seed=2)
    report = put(model, ("a", "b"), save_weights(tmp_path / "a.pth", source))
    assert_same_body(model, source)
    assert "the source has no head" in str(report)


def test_a_head_that_is_a_convolution_is_matched_too(tmp_path: Path) -> None:
    source = make_model(1000, seed=1, name="tf_mobilenetv3_small_minimal_100")
    convolved = {name: value.clone() for name, value in source.state_dict().items()}
    convolved["classifier.weight"] = convolved["classifier.weight"][:, :, None, None]
    torch.save(convolved, tmp_path / "a.pth")
    ids = name_outputs(1000, None).ids
    model = make_model(2, seed=2, name="tf_mobilenetv3_small_minimal_100")
    assert put(model, (ids[3], ids[1]), tmp_path / "a.pth").taken == 2
    torch.testing.assert_close(rows(model), rows(source)[[3, 1]])


def test_a_model_with_two_heads_has_both_matched(tmp_path: Path) -> None:
    name, sizes = "deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 1}
    source = make_model(1000, seed=1, name=name, **sizes)
    model = make_model(2, seed=2, name=name, **sizes)
    ids = name_outputs(1000, None).ids
    assert put(model, (ids[3], ids[1]), save_weights(tmp_path / "a.pth", source)).taken == 2
    for head in ("head", "head_dist"):
        mine, theirs = (cast("nn.Linear", each.get_submodule(head)) for each in (model, source))
        torch.testing.assert_close(mine.weight, theirs.weight[[3, 1]])


def test_position_embeddings_of_another_size_are_resampled(tmp_path: Path) -> None:
    source = make_model(1000, seed=1, name="test_vit", img_size=64)
    model = make_backbone("test_vit", num_classes=2, image_size=32)
    ids = name_outputs(1000, None).ids
    report = put(model, (ids[0], ids[1]), save_weights(tmp_path / "a.pth", source))
    assert report.taken == 2
    embedded = cast("torch.Tensor", model.pos_embed)
    assert embedded.shape[1] < cast("torch.Tensor", source.pos_embed).shape[1]
    torch.testing.assert_close(embedded[:, 0], cast("torch.Tensor", source.pos_embed)[:, 0])


def test_timms_own_weights_are_matched_by_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_model(1000, seed=1)
    path = save_weights(tmp_path / "a.pth", source)
    published = PretrainedCfg(**timm.get_pretrained_cfg("test_resnet.r160_in1k").to_dict())
    published = PretrainedCfg(**{**published.to_dict(), "file": str(path), "hf_hub_id": None})
    monkeypatch.setitem(timm.models._registry._model_pretrained_cfgs, "test_resnet.r160_in1k", published)
    ids = name_outputs(1000, None).ids
    model = make_model(2, seed=2)
    report = load_start(
        model,
        tree=make_tree((ids[9], "new")),
        start=None,
        pretrained_name="test_resnet.r160_in1k",
        head="match",
    )
    assert_same_body(model, source)
    torch.testing.assert_close(rows(model)[0], rows(source)[9])
    assert "1 of 2 outputs of the head taken over by class id from timm's test_resnet" in str(report)


def test_without_start_weights_nothing_is_changed() -> None:
    model = make_model(2, seed=2)
    report = put(model, ("a", "b"), None)
    fresh = make_model(2, seed=2)
    assert_same_body(model, fresh, but="nothing")
    assert str(report) == "All weights are drawn at random."


def test_reading_weights_draws_no_random_number(tmp_path: Path) -> None:
    folder = save_own(tmp_path / "checkpoint", make_model(2, seed=1), make_tree(("ant", "bee")))
    model = make_model(2, seed=2)
    expected = torch.get_rng_state()
    put(model, ("ant", "bee"), folder)
    assert torch.equal(torch.get_rng_state(), expected)


# --- what is refused ----------------------------------------------------------------------------


def test_weights_of_another_architecture_are_refused_by_name(tmp_path: Path) -> None:
    source = make_model(3, seed=1, name="test_efficientnet")
    folder = save_own(tmp_path / "checkpoint", source, make_tree(("ant", "bee", "cow")))
    model = make_model(3, seed=2)
    before = make_model(3, seed=2)
    with pytest.raises(UsageError, match=r"do not fit 'test_resnet' .*missing.*'test_efficientnet'"):
        put(model, ("ant", "bee", "cow"), folder)
    assert_same_body(model, before, but="nothing")


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    source = make_model(3, seed=1, name="resnet18")
    path = save_weights(tmp_path / "resnet18-abc.pth", source)
    with pytest.raises(UsageError, match=r"bn1\.weight of 64 for 32.*--model resnet18"):
        put(make_model(3, seed=2), ("ant", "bee", "cow"), path)


def test_weights_of_a_deeper_model_are_not_cut_short(tmp_path: Path) -> None:
    source = make_model(3, seed=1, name="test_vit", depth=3)
    model = make_model(3, seed=2, name="test_vit", depth=2)
    path = save_weights(tmp_path / "a.pth", source)
    with pytest.raises(UsageError, match=r"unknown to the model, such as blocks\.2\."):
        put(model, ("ant", "bee", "cow"), path)


@pytest.mark.parametrize(("theirs", "ours"), [(FALL11, WINTER21), (WINTER21, FALL11)])
def test_a_head_of_one_release_is_refused_on_the_other(
    theirs: tuple[str, ...], ours: tuple[str, ...], tmp_path: Path
) -> None:
    source = make_model(len(theirs), seed=1, name="test_mambaout")
    path = save_weights(tmp_path / "a.safetensors", source)
    model = make_model(len(ours) - 3, seed=2, name="test_mambaout")
    with pytest.raises(MismatchError, match="two releases of one set") as refusal:
        put(model, ours[3:], path)
    assert "--head new" in str(refusal.value)
    assert "--classes imagenet21k-p" in str(refusal.value)
    assert put(model, ours[3:], path, head="new").taken == 0


def test_a_release_is_recognised_though_a_dataset_lacks_a_few_and_adds_inner_classes() -> None:
    assert find_release(FALL11) == find_release(FALL11[100:]) == "imagenet21k-p"
    assert find_release(WINTER21) == find_release(WINTER21[100:]) == "imagenet21k-p-winter21"
    assert find_release(WINTER21[:5000]) is None
    assert find_release((*WINTER21, "my-own")) is None
    outputs = name_outputs(11221, None)
    grown = make_tree((*WINTER21, "n00001740"), num_added=1)
    with pytest.raises(MismatchError, match="winter21"):
        releases.refuse_mixing(grown, outputs, "--start a", "do something else")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda folder: folder / "none.pth", UsageError, "does not exist"),
        (lambda folder: folder, RunError, "holds no checkpoint"),
        (lambda folder: touch(folder / "a.onnx"), UsageError, r"ends in none of \.safetensors"),
        (lambda folder: touch(folder / "a.pth"), UsageError, "cannot be read as weights"),
        (lambda folder: touch(folder / "a.safetensors"), UsageError, "cannot be read as weights"),
        (lambda folder: store(folder / "a.pth", {"a": 1}), UsageError, "holds no weights"),
        (lambda folder: store(folder / "a.pth", [1]), UsageError, "holds no weights|cannot be read"),
        (lambda folder: store(folder / "a.pth", {"a": make_tree(("a",))}), UsageError, "cannot be read"),
    ],
    ids=["missing", "empty", "ending", "no-pth", "no-safetensors", "no-tensor", "list", "pickled"],
)
def test_what_holds_no_weights_is_refused_with_a_sentence(
    make: Callable[[Path], Path], error: type[HypernymError], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        put(make_model(1, seed=0), ("a",), make(tmp_path))


def touch(path: Path) -> Path:
    path.write_bytes(b"no weights")
    return path


def store(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


def test_two_sources_of_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        load_start(
            make_model(1, seed=0),
            tree=make_tree(("a",)),
            start=tmp_path,
            pretrained_name="test_resnet",
            head="match",
        )


def test_a_timm_model_without_published_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="timm cannot give the weights of 'test_maxvit'"):
        load_start(
            make_model(1, seed=0),
            tree=make_tree(("a",)),
            start=None,
            pretrained_name="test_maxvit",
            head="match",
        )


def test_a_tree_of_wordnet_knows_its_release() -> None:
    tree = build_from_wordnet(WINTER21)
    assert find_release(tree.ids[: tree.num_labels]) == "imagenet21k-p-winter21"


# --- making a model -----------------------------------------------------------------------------


def test_drop_rates_reach_the_model() -> None:
    model = make_backbone("test_resnet", num_classes=2, image_size=32, drop=0.25, drop_path=0.5)
    assert model.drop_rate == 0.25
    rates = [each.drop_prob for each in model.modules() if type(each).__name__ == "DropPath"]
    assert max(cast("list[float]", rates)) == 0.5


def test_a_model_that_takes_no_drop_path_says_so() -> None:
    with pytest.raises(UsageError, match="'vgg11' does not take --drop-path"):
        make_backbone("vgg11", num_classes=2, image_size=32, drop_path=0.1)
