"""Golden losses: the first forty steps of each recipe on the drawn world stay as they were.

`pytest tests/test_recipes.py --write-golden` writes them anew, after a change that is meant.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from hypernym.commands.pretrain import pretrain
from hypernym.data.classes import ClassTable
from hypernym.data.dataset import Dataset
from hypernym.errors import UsageError
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT, Tree
from hypernym.training import pretraining
from hypernym.training.config import PretrainConfig, RecipeName
from hypernym.training.log import read_records
from hypernym.training.options import LossOptions

GOLDEN = Path(__file__).with_name("golden_losses.json")
STEPS = 40
WINDOW = 10
"""Steps that are averaged: the last bits of a step differ between processors, and grow."""

OPTIONS = {"model": "test_resnet", "pretrained": False, "batch_size": 16, "epochs": 4, "workers": 0}
RUNS: dict[str, tuple[RecipeName, dict[str, Any]]] = {
    **{recipe: (recipe, {}) for recipe in get_args(RecipeName)},
    **{f"small, {scheme}": ("small", {"scheme": scheme}) for scheme in Scheme},
}


def curve(dataset: Dataset, run: Path, name: str) -> list[float]:
    recipe, options = RUNS[name]
    config = PretrainConfig.model_validate(OPTIONS | {"log_every": 1} | options)
    pretrain(dataset.path, run, recipe=recipe, options=config)
    records = read_records(run / "metrics.jsonl")
    return [record["train/loss"] for record in records if "train/loss" in record][:STEPS]


@pytest.mark.parametrize("name", RUNS)
def test_a_recipe_learns_as_it_did(
    name: str, dataset: Dataset, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    losses = curve(dataset, tmp_path / "run", name)
    assert len(losses) == STEPS
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if pytestconfig.getoption("--write-golden"):
        GOLDEN.write_text(json.dumps(golden | {name: losses}, indent=1) + "\n")
        pytest.skip(f"wrote {GOLDEN.name}")
    assert losses[:3] == pytest.approx(golden[name][:3], rel=1e-4)
    for start in range(0, STEPS, WINDOW):
        window = slice(start, start + WINDOW)
        mean, expected = sum(losses[window]) / WINDOW, sum(golden[name][window]) / WINDOW
        assert mean == pytest.approx(expected, rel=0.02), f"steps {start} to {start + WINDOW - 1}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 1, 1]),
        ({"weights": "classes"}, [1, 4 / 3, 4]),
        ({"weights": "classes", "max_weight": 3}, [1, 4 / 3, 3]),
        ({"weights": "images"}, [1, 1, 5]),  # no image is labelled with the root, which was added
        ({"weights": "images", "max_weight": 2}, [1, 1, 2]),
        ({"weights": "images", "use_deepest": False}, [1, 1, 0]),
    ],
)
def test_depths_weigh_what_the_options_say(options: dict[str, Any], expected: list[float]) -> None:
    ids = ("cat", "dog", "tabby")  # of 80, 0 and 20 images
    table = ClassTable(ids, ids, (80, 0, 20), (0, 0, 0), (0, 0, 0))
    tree = Tree((*ids, "animal"), (3, 3, 0, ROOT), "by hand", "none", num_added=1)
    weights = pretraining._weigh_depths(
        make_levels(tree), Dataset(Path(), {}, table), LossOptions.model_validate(options)
    )
    assert weights == pytest.approx(expected)


def test_a_tree_in_which_nothing_would_be_learned_is_refused() -> None:
    table = ClassTable(("a", "b"), ("a", "b"), (1, 1), (0, 0), (0, 0))
    levels = make_levels(Tree(("a", "b"), (ROOT, ROOT), "by hand", "none"))
    options = LossOptions(use_deepest=False)
    with pytest.raises(UsageError, match="leaves nothing to learn"):
        pretraining._weigh_depths(levels, Dataset(Path(), {}, table), options)
