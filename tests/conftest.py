"""The toy world that most tests work on, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from hypernym.commands import tree
from hypernym.commands.prepare import prepare
from hypernym.commands.pretrain import pretrain
from hypernym.data.dataset import Dataset, open_dataset
from hypernym.training.config import PretrainConfig
from hypernym.world.archive import draw_world
from hypernym.world.classes import SMALL

# The first call of a torch kernel takes seconds: no deadline for a single example.
settings.register_profile("hypernym", deadline=None, max_examples=50)
settings.load_profile("hypernym")

TINY = {"model": "test_resnet", "epochs": 3, "batch_size": 16, "workers": 0, "log_every": 1}
"""Options of a run that takes seconds, over the recipe `small`."""

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of class tars: nine drawn classes in three depths, with some dirt."""
    path = tmp_path_factory.mktemp("world") / "world.tar"
    draw_world(path, images_per_leaf=40, size=32, seed=0, classes=SMALL)
    return path


@pytest.fixture(scope="session")
def dataset(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The world, prepared at 32 px, with its WordNet tree."""
    path = tmp_path_factory.mktemp("dataset") / "dataset"
    prepare(world, path, min_images=3, val_per_class=2, size=32, workers=1)
    tree.build(path)
    return open_dataset(path)


@pytest.fixture(scope="session")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, trained on the dataset for three epochs of semantic softmax."""
    path = tmp_path_factory.mktemp("run") / "run"
    pretrain(dataset.path, path, recipe="small", options=PretrainConfig.model_validate(TINY))
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """Research data and golden files that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ beside the repository is not there")
    return SHARED
