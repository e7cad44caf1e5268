"""Run folders as `evaluate` and `transfer` leave them, written by hand for the tests of `compare`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from hypernym.files import write_json
from hypernym.training.config import PretrainConfig
from hypernym.training.requests import flatten, overlay

if TYPE_CHECKING:
    from pathlib import Path

NUM_IMAGES = 400
DATASET_DIGEST = "d" * 64
TRAINED_ON = "a" * 64

DEPTHS = [
    {"depth": 0, "classes": 4, "images": 400, "accuracy": 0.8, "chance": 0.25},
    {"depth": 1, "classes": 10, "images": 300, "accuracy": 0.5, "chance": 0.1},
]


def pretraining_options(scheme: str, seed: int, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return all options of a pretraining, in groups."""
    usual = PretrainConfig().model_dump(mode="json")
    return overlay(usual, {"scheme": str(scheme), "seed": seed, "batch_size": 10, **changes})


def write_dataset(folder: Path, digest: str = DATASET_DIGEST) -> Path:
    """Write a dataset's card, which is all that a comparison reads of it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "dataset.json", "dataset", 2, digest=digest)
    return folder


def write_pretraining(
    folder: Path,
    scheme: str,
    seed: int,
    score: float = 0.5,
    *,
    dataset: Path | str = "nowhere",
    split: str = "val",
    has_report: bool = True,
    **changes: Any,  # noqa: ANN401
) -> Path:
    """Write a pretraining run of 100 steps at 50 images a second."""
    folder.mkdir(parents=True, exist_ok=True)
    options = pretraining_options(scheme, seed, **changes)
    (folder / "config.yaml").write_text(yaml.safe_dump(options))
    records = [
        {"step": 60, "images_per_second": 50.0},
        {"step": 100, "val/top1": 0.5},
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    best = folder / "checkpoints/best"
    best.mkdir(parents=True, exist_ok=True)
    (best / "config.json").write_text(json.dumps({"hypernym": {"dataset_digest": TRAINED_ON}}))
    if has_report:
        accuracy = {"semantic_top1": score, "semantic_top1_chance": 0.1, "by_depth": DEPTHS}
        write_json(
            folder / "report.json",
            "report",
            5,
            dataset=str(dataset),
            split=split,
            accuracy=accuracy,
            summed={**accuracy, "semantic_top1": score / 4},
            leaf_mistakes={"exact": score / 2},
            average_precision={"macro": score / 3},
        )
    return folder


def write_transfer(
    folder: Path,
    scheme: str,
    seed: int,
    correct_M: np.ndarray[Any, Any] | None = None,
    *,
    scores_MK: np.ndarray[Any, Any] | None = None,
    present_MK: np.ndarray[Any, Any] | None = None,
    transfer_seed: int | None = None,
    dataset: str = "data/cifar",
    digest: str = DATASET_DIGEST,
    method: str = "linear",
    options: dict[str, Any] | None = None,
    source_options: dict[str, Any] | None = None,
    by_depth: list[dict[str, Any]] | None = None,
    shots: list[dict[str, Any]] | None = None,
    score: float | None = None,
    name: str = "",
) -> Path:
    """Write a transfer run, right about some images; with a `name` it was pretrained elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    if scores_MK is None:
        correct_M = np.arange(NUM_IMAGES) % 2 if correct_M is None else correct_M
        labels_M = (np.arange(len(correct_M)) % 5).astype(np.int32)
        guesses_M = np.where(correct_M, labels_M, 9).astype(np.int32)
        np.savez(folder / "answers.npz", labels=labels_M, guesses=guesses_M)
        found = float(np.mean(correct_M))
    else:
        assert present_MK is not None
        np.savez(folder / "answers.npz", scores=scores_MK, present=present_MK)
        assert score is not None
        found = score
    known = flatten(pretraining_options(scheme, seed)) if source_options is None else source_options
    if name:
        known = {}
    given = {"method": str(method), "optim.lr": 0.01, **(options or {})}
    all_options = {"seed": seed if transfer_seed is None else transfer_seed, "device": "cpu", **given}
    (folder / "transfer.yaml").write_text(yaml.safe_dump(all_options))
    write_json(
        folder / "transfer.json",
        "transfer",
        1,
        source={
            "name": name or f"runs/{scheme}-{seed}",
            "model": "resnet50",
            "scheme": None if name else scheme,
            "seed": None if name else seed,
            "epochs": None if name else 80,
            "dataset_digest": None if name else TRAINED_ON,
            "options": known,
        },
        dataset=dataset,
        dataset_digest=digest,
        method=str(method),
        seed=all_options["seed"],
        options=all_options,
        several_labels=scores_MK is not None,
        metric="top1" if scores_MK is None else "map",
        score=found if score is None else score,
        figures={"top5": 0.9},
        chance=0.2,
        by_depth=by_depth or [],
        chosen={},
        chosen_score=None,
        images={"train": 1000, "held_out": 100, "test": NUM_IMAGES},
        shots=shots,
        seconds=12.0,
        device="cpu",
    )
    return folder


def right_about(share: float, seed: int, *, noise: float = 0.05) -> np.ndarray[Any, Any]:
    """Return for each image whether a model is right: easy images for all models alike, then chance."""
    hard_M = np.random.default_rng(0).random(NUM_IMAGES)
    return hard_M + noise * np.random.default_rng(seed + 1).standard_normal(NUM_IMAGES) < share
