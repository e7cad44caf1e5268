"""What `evaluate` reports and `predict --rule` prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from conftest import TINY
from torchmetrics.classification import MultilabelAveragePrecision

from hypernym.checkpoint import find_checkpoint, load_checkpoint
from hypernym.cli import main
from hypernym.commands import tree
from hypernym.commands.evaluate import evaluate
from hypernym.commands.predict import predict
from hypernym.commands.pretrain import pretrain
from hypernym.data.loader import make_eval_loader
from hypernym.data.rows import SplitRows
from hypernym.data.transforms import make_eval_transform
from hypernym.errors import UsageError
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.rule import Rule
from hypernym.training.config import PretrainConfig
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from pathlib import Path

    from hypernym.data.dataset import Dataset

OWL = "n01621127"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "owl.png"
    draw(OWL, 48, np.random.default_rng(0)).save(path)
    return path


def test_the_report_holds_every_figure(run: Path, dataset: Dataset) -> None:
    found = evaluate(run, dataset.path, batch_size=5)
    written = json.loads((run / "report.json").read_text())
    assert (written["format"], written["version"]) == ("hypernym.report", 5)
    images = dataset.card["splits"]["val"]["images"]
    for answer in ("path_mistakes", "leaf_mistakes"):
        assert written[answer]["images"] == images
        assert written[answer]["f1"] == getattr(found, answer).f1
    assert [at["threshold"] for at in written["coverage"]] == [step / 20 for step in range(21)]
    assert [at["depth"] for at in written["calibration"]] == list(range(len(written["calibration"])))
    assert 0 < written["average_precision"]["macro"] == found.average_precision.macro <= 1
    assert found.score_bytes == 5 * images * len(dataset.classes)


def test_a_class_may_be_read_with_all_beneath_it(dataset: Dataset, tmp_path: Path) -> None:
    options = TINY | {"scheme": "single-label", "epochs": 1}
    pretrain(
        dataset.path, tmp_path / "run", recipe="small", options=PretrainConfig.model_validate(options)
    )
    found = evaluate(tmp_path / "run", dataset.path)
    model = load_checkpoint(find_checkpoint(tmp_path / "run"))
    levels = make_levels(model.card.tree)
    rows = SplitRows(dataset, "val")
    view = make_eval_transform(model.card.preprocessing)
    right, pairs = 0, 0
    for batch in make_eval_loader(rows, view, batch_size=1, workers=0, pin=False):
        with torch.no_grad():
            shares = model.classifier(batch.images)[0].softmax(dim=0).tolist()
        up = levels.ancestors_CL.tolist()
        beneath = [[c for c, above in enumerate(up) if label in above] for label in range(len(up))]
        summed = [sum(shares[c] for c in classes) for classes in beneath]
        for depth, classes in enumerate(levels.classes_at):
            target = up[int(batch.labels)][depth]
            if target >= 0:
                pairs += 1
                right += max(classes.tolist(), key=summed.__getitem__) == target
    assert found.summed.semantic_top1 == pytest.approx(right / pairs)


def test_the_batch_size_changes_no_figure_but_by_rounding(run: Path, dataset: Dataset) -> None:
    small, large = (evaluate(run, dataset.path, batch_size=size) for size in (3, 64))
    assert small.accuracy == large.accuracy
    assert small.path_mistakes == large.path_mistakes
    assert small.average_precision.macro == pytest.approx(large.average_precision.macro, rel=1e-3)


def test_the_summary_fits_a_screen(run: Path, dataset: Dataset) -> None:
    lines = str(evaluate(run, dataset.path)).splitlines()
    assert len(lines) < 30
    assert max(map(len, lines[2:])) <= 100
    named = {line.split()[0] for line in lines if line.startswith("  ")}
    assert {"semantic", "mAP", "depth", "path", "leaf", "0.1", "0.9"} <= named


def test_scores_that_take_too_much_memory_are_counted_in_bins(run: Path, dataset: Dataset) -> None:
    kept = evaluate(run, dataset.path)
    assert "in bins" not in str(kept)
    exact = kept.average_precision
    found = evaluate(run, dataset.path, score_memory=0)
    assert (exact.bin_width, found.average_precision.bin_width) == (0.0, 1 / 64)
    assert found.average_precision.macro == pytest.approx(exact.macro, abs=0.02)
    told = "of scores in bins of 1/64 in log odds; exact with --score-memory 0.1"
    assert told in str(found)
    written = json.loads((run / "report.json").read_text())["average_precision"]
    assert written["bin_width"] == 1 / 64
    assert written["macro"] == found.average_precision.macro


def test_a_leaf_is_named_by_the_rule_leaf_however_unsure(run: Path, picture: Path) -> None:
    (path,) = predict(run, [picture], threshold=0.0).predictions
    (leaf,) = predict(run, [picture], rule=Rule.LEAF).predictions
    assert not path.beyond
    assert not leaf.beyond
    assert leaf.path[-1].probability >= path.path[-1].probability


def test_the_official_rule_speaks_of_every_depth(run: Path, dataset: Dataset, picture: Path) -> None:
    (found,) = predict(run, [picture], rule=Rule.OFFICIAL).predictions
    depths = len(evaluate(run, dataset.path).calibration)
    assert len(found.path) + len(found.beyond) == depths
    assert all(step.probability > 0.5 for step in found.path)


def test_a_rule_is_an_option_of_the_command_line(
    capsys: pytest.CaptureFixture[str], run: Path, picture: Path
) -> None:
    assert main(["predict", str(run), str(picture), "--rule", "leaf"]) == 0
    assert capsys.readouterr().out.startswith(f"{picture}: ")
    assert main(["predict", str(run), str(picture), "--rule", "leav"]) == 2
    assert "leav" in capsys.readouterr().err


def test_a_threshold_for_the_rule_leaf_is_refused(run: Path, picture: Path) -> None:
    with pytest.raises(UsageError, match="leave one out"):
        predict(run, [picture], rule=Rule.LEAF, threshold=0.7)


def test_average_precision_looks_at_all_labels_of_an_image(several: Dataset, tmp_path: Path) -> None:
    (tmp_path / "edges.csv").write_text("child,parent\na,\nb,\nc,\n")
    tree.build(several.path, taxonomy=tmp_path / "edges.csv")
    options = TINY | {"scheme": "multi-label", "epochs": 1, "batch_size": 8}
    config = PretrainConfig.model_validate(options)
    pretrain(several.path, tmp_path / "run", recipe="small", options=config)
    found = evaluate(tmp_path / "run", several.path, split="train", workers=0, batch_size=7)
    assert found.several_labels
    assert "mAP looks at all of them" in str(found)

    model = load_checkpoint(find_checkpoint(tmp_path / "run"))
    view = make_eval_transform(model.card.preprocessing)
    loader = make_eval_loader(SplitRows(several, "train"), view, batch_size=7, workers=0, pin=False)
    oracle = MultilabelAveragePrecision(3, average="macro", thresholds=None)
    with torch.no_grad():
        for batch in loader:
            assert batch.present is not None
            oracle.update(model.classifier(batch.images).sigmoid(), batch.present.int())
    assert found.average_precision.macro == pytest.approx(oracle.compute().item(), abs=1e-5)
