"""The toy world that most tests work on, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hypernym.commands import tree
from hypernym.commands.prepare import prepare
from hypernym.data.dataset import Dataset, open_dataset
from hypernym.world.archive import draw_world
from hypernym.world.classes import SMALL

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of class tars: nine drawn classes in three depths, with some dirt."""
    path = tmp_path_factory.mktemp("world") / "world.tar"
    draw_world(path, images_per_leaf=24, size=32, seed=0, classes=SMALL)
    return path


@pytest.fixture(scope="session")
def dataset(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The world, prepared at 32 px, with its WordNet tree."""
    path = tmp_path_factory.mktemp("dataset") / "dataset"
    prepare(world, path, min_images=3, val_per_class=2, size=32, workers=1)
    tree.build(path)
    return open_dataset(path)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Research data and golden files that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ beside the repository is not there")
    return SHARED
