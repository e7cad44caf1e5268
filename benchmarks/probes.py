"""Compare the probes of `hypernym transfer` with scikit-learn's logistic regression, on cached features.

    python benchmarks/probes.py FEATURES.npz [--seeds 3] [--shots 1 2 5 10] [--draws 3] [--threads 1]

FEATURES.npz holds train_features, test_features (float32, an image a row) and train_targets,
test_targets (labels, or bool, an image a row and a label a column). For each seed a tenth of train is
held out: settings are chosen on it, and the chosen one learns from all of train. Logistic regression has
its C chosen in the same way, on features as they are and on standardised ones; both are shown.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from hypernym.downstream import neighbors, shots
from hypernym.downstream.figures import judge
from hypernym.downstream.linear import GRID, choose, plan_schedule, train_heads

HELD_OUT = 0.1
PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""C of logistic regression."""

MAX_ITERATIONS = 300


class Examples(NamedTuple):
    """Features of some images, and what is said of these."""

    features_ND: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Data:
    """Images that are learned from, chosen on, and tested on."""

    train: Examples
    held_out: Examples
    everything: Examples
    """Train and held out."""

    test: Examples
    num_labels: int


@dataclass(frozen=True)
class Row:
    """What a method gave."""

    method: str
    chosen: str
    held_out: float
    test: float
    seconds: float


def main() -> None:
    """Print a row for each seed and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 5, 10])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)  # C = 100 takes thousands of iterations

    for seed in range(given.seeds):
        data = _split(given.features, seed)
        if not seed:
            shape = tuple(data.everything.features_ND.shape)
            print(f"{given.features.name}: {shape}, {data.num_labels} labels")
        for probe in (
            partial(_linear, data, seed),
            partial(_logistic, data, standardised=False),
            partial(_logistic, data, standardised=True),
            partial(_nearest, data),
        ):
            found = probe()
            print(
                f"  seed {seed}  {found.method:<32} {found.chosen:<44} held out {found.held_out:.4f}"
                f"  test {found.test:.4f}  {found.seconds:6.1f} s",
                flush=True,
            )
    _few_shot(_split(given.features, 0), given.shots, given.draws)


def _split(path: Path, seed: int) -> Data:
    """Hold out a tenth of each class, by the first label."""
    with np.load(path, allow_pickle=False) as file:
        features, targets, test, test_targets = (
            torch.from_numpy(file[name])
            for name in ("train_features", "train_targets", "test_features", "test_targets")
        )
    first = (targets if targets.dim() == 1 else targets.int().argmax(dim=1)).numpy()
    num_labels = int(first.max()) + 1 if targets.dim() == 1 else targets.shape[1]
    chance = np.random.default_rng(seed)
    held = np.zeros(len(first), bool)
    for label in range(num_labels):
        rows = chance.permutation(np.flatnonzero(first == label))
        held[rows[: round(HELD_OUT * len(rows))]] = True
    out = torch.from_numpy(held)
    return Data(
        Examples(features[~out], targets[~out]),
        Examples(features[out], targets[out]),
        Examples(features, targets),
        Examples(test, test_targets),
        num_labels,
    )


def _linear(data: Data, seed: int) -> Row:
    began = time.perf_counter()
    schedule = plan_schedule(len(data.train.features_ND))
    choice = choose(
        data.train.features_ND,
        data.train.targets,
        data.held_out.features_ND,
        data.held_out.targets,
        GRID,
        num_labels=data.num_labels,
        schedule=schedule,
        seed=seed,
    )
    heads = train_heads(
        *data.everything, [choice.setting], num_labels=data.num_labels, schedule=schedule, seed=seed
    )
    seconds = time.perf_counter() - began
    best = choice.setting
    chosen = f"rate {best.lr:g}, decay {best.weight_decay:g}, dropout {best.dropout:g}"
    if choice.edge:
        chosen += f" ({choice.edge})"
    score = judge(heads.scores(data.test.features_ND), data.test.targets, data.num_labels)
    return Row("linear", chosen, choice.score, score, seconds)


def _logistic(data: Data, *, standardised: bool) -> Row:
    began = time.perf_counter()
    held_out = {
        penalty: _fit_logistic(data.train, data.held_out, penalty, standardised=standardised)
        for penalty in PENALTIES
    }
    best = max(held_out, key=lambda penalty: held_out[penalty])
    test = _fit_logistic(data.everything, data.test, best, standardised=standardised)
    method = f"scikit-learn, {'standardised' if standardised else 'as they are'}"
    return Row(method, f"C {best:g}", held_out[best], test, time.perf_counter() - began)


def _fit_logistic(
    train: Examples,
    test: Examples,
    penalty: float,
    *,
    standardised: bool,
) -> float:
    mean, std = torch.zeros(()), torch.ones(())
    if standardised:
        std, mean = torch.std_mean(train.features_ND, dim=0)
        std = std.clamp(min=1e-6)
    model = LogisticRegression(C=penalty, max_iter=MAX_ITERATIONS)
    several = train.targets.dim() > 1
    fitted = (OneVsRestClassifier(model) if several else model).fit(
        ((train.features_ND - mean) / std).numpy(), train.targets.numpy()
    )
    scores = torch.from_numpy(fitted.decision_function(((test.features_ND - mean) / std).numpy()))
    return judge(scores, test.targets, scores.shape[1])


def _nearest(data: Data) -> Row:
    began = time.perf_counter()
    found = neighbors.find_neighbors(data.held_out.features_ND, data.train.features_ND)
    held_out = {
        k: judge(
            found.vote(data.train.targets, k, num_labels=data.num_labels),
            data.held_out.targets,
            data.num_labels,
        )
        for k in neighbors.KS
    }
    best = max(held_out, key=lambda k: held_out[k])
    found = neighbors.find_neighbors(data.test.features_ND, data.everything.features_ND, best)
    scores = found.vote(data.everything.targets, best, num_labels=data.num_labels)
    seconds = time.perf_counter() - began
    return Row(
        "k-NN", f"k {best}", held_out[best], judge(scores, data.test.targets, data.num_labels), seconds
    )


def _few_shot(data: Data, numbers: list[int], draws: int) -> None:
    began = time.perf_counter()
    found = shots.measure_shots(
        data.train.features_ND,
        data.train.targets,
        data.held_out.features_ND,
        data.held_out.targets,
        data.test.features_ND,
        data.test.targets,
        shots=numbers,
        draws=draws,
        num_labels=data.num_labels,
        seed=0,
    )
    for row in found:
        scores = " ".join(f"{score:.4f}" for score in row.scores)
        print(f"  {row.shots:>3} shots, {row.images} images: test {scores}")
    print(f"  few-shot: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
