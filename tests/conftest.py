"""The toy world that most tests work on, made once."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from hypernym.commands import tree
from hypernym.commands.prepare import prepare
from hypernym.commands.pretrain import pretrain
from hypernym.data.dataset import Dataset, open_dataset
from hypernym.training.config import PretrainConfig
from hypernym.training.trainer import Trainer
from hypernym.world.archive import draw_world
from hypernym.world.classes import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

# The first call of a torch kernel takes seconds: no deadline for a single example.
# The examples are the same in every run, so that a commit passes or does not; to look for others,
# HYPOTHESIS_PROFILE=explore.
settings.register_profile("hypernym", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "hypernym"))

# The models of the tests are tiny: a second thread is no help, and beside other work it has to wait.
torch.set_num_threads(1)

TINY = {"model": "test_resnet", "epochs": 3, "batch_size": 16, "workers": 0, "log_every": 1}
"""Options of a run that takes seconds, over the recipe `small`."""

SHARED = Path(__file__).parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="write the golden losses anew")


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
def several(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Images with one to three of three labels."""
    folder = tmp_path_factory.mktemp("several")
    lines = []
    for number in range(36):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)
        labels = [label for label, step in (("a", 1), ("b", 2), ("c", 3)) if number % step == 0]
        lines.append(json.dumps({"path": f"{number}.jpg", "labels": labels}))
    (folder / "list.jsonl").write_text("\n".join(lines))
    made = folder / "dataset"
    prepare(folder / "list.jsonl", made, min_images=3, val_per_class=2, size=32, workers=1)
    return open_dataset(made)


@pytest.fixture(scope="session")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, trained on the dataset for three epochs of semantic softmax."""
    path = tmp_path_factory.mktemp("run") / "run"
    pretrain(dataset.path, path, recipe="small", options=PretrainConfig.model_validate(TINY))
    return path


@pytest.fixture(scope="module")  # while it is open, no other event loop can run
def browser() -> Iterator[Browser]:
    """A real browser."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium to open the page with")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[Path], Page]]:
    """Opens a file; whatever it asks for, an error or a message on the console fails the test."""
    context = browser.new_context(viewport={"width": 1000, "height": 700})
    opened: list[str] = []
    asked: list[str] = []
    broken: list[str] = []

    def open_page(file: Path) -> Page:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("console", lambda message: broken.append(message.text))
        opened.append(file.as_uri())
        page.goto(file.as_uri())
        return page

    yield open_page
    assert [url for url in asked if not url.startswith("data:")] == opened
    assert broken == []
    context.close()


@contextmanager
def killed_before_step(step: int) -> Iterator[None]:
    """Make training stop before a step (from 1), as a kill would."""
    real = Trainer.take_step

    def take_step(self: Trainer, *arguments: Any, **flags: Any) -> Any:  # noqa: ANN401
        if self.steps_done + 1 == step:
            raise KeyboardInterrupt
        return real(self, *arguments, **flags)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "take_step", take_step)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Research data and golden files that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ beside the repository is not there")
    return SHARED
