"""runs/schemes.sh makes its datasets from archives in the forms that it names; its plans are plans."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from PIL import Image

from hypernym.comparison.plan import read_plan
from hypernym.data.dataset import open_dataset
from hypernym.downstream.config import RecipeName, TransferConfig
from hypernym.world.archive import draw_world
from hypernym.world.classes import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = Path(__file__).parents[1] / "runs"
PLAN = """
seeds: [0]
pretrain:
  dataset: tiny21k
  recipe: small
  options: {image_size: 32, epochs: 1, workers: 0, model: test_resnet}
schemes:
  single-label: {scheme: single-label}
transfer:
  VOC2007 linear: {dataset: voc2007, method: linear, options: {workers: 0}}
  CIFAR-100 k-NN: {dataset: cifar100, method: knn, options: {workers: 0}}
"""


def pictures(number: int) -> Iterator[Image.Image]:
    for seed in range(number):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        yield Image.fromarray(pixels)


def write_archives(folder: Path) -> None:
    """Write what the recipe names, in small."""
    draw_world(folder / "tiny21k.tar", images_per_leaf=60, size=32, seed=0, classes=SMALL)
    source = folder / "source"
    for split, number in (("train", 24), ("test", 4)):
        for name in ("apple", "aquarium_fish"):
            path = source / split / name
            path.mkdir(parents=True)
            for place, picture in enumerate(pictures(number)):
                picture.save(path / f"{name}-{place}.png")
    with tarfile.open(folder / "cifar100.tar", "w") as archive:
        for split in ("train", "test"):
            archive.add(source / split, split)
    (source / "JPEGImages").mkdir()
    lines = ["voc2007_id,split,source_file,cat,dog,sofa"]
    cells = ("1,-1,1", "-1,1,0", "1,1,-1", "-1,-1,0")
    for place, picture in enumerate(pictures(24)):
        picture.save(source / "JPEGImages" / f"{place:06}.jpg")
        split = "test" if place >= 16 else "trainval"
        lines.append(f"{place:06},{split},{place}.jpg,{cells[place % 4]}")
    (source / "labels.csv").write_text("\n".join(lines))
    with tarfile.open(folder / "voc2007.tar", "w") as archive:
        for name in ("labels.csv", "JPEGImages"):
            archive.add(source / name, name)


def test_the_recipe_makes_datasets_and_tables(tmp_path: Path) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    data.mkdir()
    write_archives(data)
    (tmp_path / "plan.yaml").write_text(PLAN)
    words = ["bash", str(RUNS / "schemes.sh"), str(data), str(work), str(tmp_path / "plan.yaml")]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    for _ in range(2):  # the second time there is nothing left to do
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "0 runs to make, 3 done" in done.stderr
    assert (work / "plan/comparison.html").exists()
    voc = open_dataset(work / "voc2007")
    splits = {split: about["images"] for split, about in voc.card["splits"].items()}
    # a picture that shows difficult objects alone has no label
    assert (splits["train"], splits["test"]) == (12, 6)
    assert voc.classes.ids == ("cat", "dog", "sofa")


@pytest.mark.parametrize("path", sorted(RUNS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_plan_is_one(path: Path) -> None:
    plan = read_plan(path, TransferConfig, get_args(RecipeName))
    assert plan.schemes
    assert plan.runs
