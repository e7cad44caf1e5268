"""The methods that leave a model as it is: linear probe, k-NN, few-shot.

Each is chosen on held-out features and then made anew of all that may be learned from.

Shapes as in `hypernym.downstream`; C classes: labels, then inner classes of the tree.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import pad

from hypernym.downstream.figures import judge
from hypernym.downstream.labels import RULED_OUT, find_targets, rule_out_inner, with_ancestors
from hypernym.downstream.linear import (
    RATES,
    WEIGHT_DECAYS,
    average,
    choose,
    make_grid,
    plan_schedule,
    train_heads,
)
from hypernym.downstream.neighbors import find_neighbors
from hypernym.downstream.shots import measure_shots

if TYPE_CHECKING:
    from hypernym.downstream.config import TransferConfig
    from hypernym.downstream.features import Features
    from hypernym.downstream.linear import Heads
    from hypernym.downstream.protocol import Part, Roles
    from hypernym.downstream.shots import FewShot
    from hypernym.hierarchy.levels import Levels
    from hypernym.models import Classifier


AVERAGED = 4
"""Heads that make up a linear probe. On features of EfficientNet-Lite0 a single one was up to 1.4 points
worse on CIFAR-100, and never 0.2 better (docs/log.md)."""


class Examples(NamedTuple):
    """Images to learn from, to choose on, or to be tested on."""

    features_ND: torch.Tensor
    targets: torch.Tensor
    """Labels, int64 (N,), or bool (N, K)."""


@dataclass(frozen=True)
class Bench:
    """A model's features of all images of a dataset, by the part that they play."""

    learn: Examples
    choose: Examples
    both: Examples
    test: Examples
    levels: Levels


@dataclass(frozen=True)
class Probed:
    """What a probe says of the test images, and how it was chosen."""

    logits_MC: torch.Tensor
    chosen: dict[str, float]
    score: float
    """Of what was chosen, on the held-out images."""

    remark: str = ""
    """What a reader of the figures should know."""

    head: Heads | None = None
    """A linear head with outputs for labels (K) or, where images have several, for all classes (C)."""


def set_up(features: Features, roles: Roles, levels: Levels) -> Bench:
    """Show every image to the model, unless that was done before."""

    def see(*parts: Part) -> Examples:
        return Examples(features.of(*parts), find_targets(roles.open(*parts)))

    both, cut = see(*roles.everything), len(roles.learn.rows_N)
    # views: a copy of the features of ImageNet-1K would take ten gigabytes more
    learn = Examples(both.features_ND[:cut], both.targets[:cut])
    choose = Examples(both.features_ND[cut:], both.targets[cut:])
    return Bench(learn, choose, both, see(roles.test), levels)


def probe_linear(bench: Bench, config: TransferConfig) -> Probed:
    """Train a linear head: settings are chosen, then it learns from all images.

    It is the mean of the heads of the best few settings, for the first of them owes its place to chance
    too.
    """
    levels, options = bench.levels, config.linear
    learn, both = _with_ancestors(bench.learn, levels), _with_ancestors(bench.both, levels)
    num_outputs = levels.num_labels if learn.targets.ndim == 1 else levels.num_classes
    choice = choose(
        *learn,
        *bench.choose,
        make_grid(options.rates or RATES, options.weight_decays or WEIGHT_DECAYS),
        num_labels=num_outputs,
        schedule=plan_schedule(len(learn.targets)),
        seed=config.seed,
    )
    heads = average(
        [
            train_heads(
                *both,
                [setting],
                num_labels=num_outputs,
                schedule=plan_schedule(len(both.targets)),
                seed=config.seed,
            )
            for setting in choice.rank(AVERAGED)
        ]
    )
    remark = f"The {choice.edge} learning rate of the grid was the best." if choice.edge else ""
    logits_MC = rule_out_inner(heads.scores(bench.test.features_ND), levels)
    return Probed(logits_MC, asdict(choice.setting), choice.score, remark, heads)


def probe_neighbors(bench: Bench, config: TransferConfig) -> Probed:
    """Let the nearest images vote: how many of them is chosen."""
    levels = bench.levels
    ks = config.knn.neighbors
    learn, both = _with_ancestors(bench.learn, levels), _with_ancestors(bench.both, levels)
    num_outputs = levels.num_labels if learn.targets.ndim == 1 else levels.num_classes
    found = find_neighbors(bench.choose.features_ND, learn.features_ND, max(ks))
    scores = {}
    for k in ks:
        votes = found.vote(learn.targets, k, num_labels=num_outputs)
        scores[k] = judge(votes, bench.choose.targets, levels.num_labels)
    best = max(scores, key=scores.__getitem__)
    found = find_neighbors(bench.test.features_ND, both.features_ND, best)
    votes = found.vote(both.targets, best, num_labels=num_outputs)
    return Probed(rule_out_inner(votes, levels), {"neighbors": best}, scores[best])


def probe_shots(bench: Bench, config: TransferConfig) -> tuple[FewShot, ...]:
    """Learn from a few images of each class, drawn several times; only labels are learned."""
    return measure_shots(
        *bench.learn,
        *bench.choose,
        *bench.test,
        shots=config.few_shot.shots,
        draws=config.few_shot.draws,
        num_labels=bench.levels.num_labels,
        seed=config.seed,
    )


def _with_ancestors(examples: Examples, levels: Levels) -> Examples:
    return Examples(examples.features_ND, with_ancestors(examples.targets, levels))


@torch.no_grad()
def put_head(classifier: Classifier, head: Heads, levels: Levels, size: int) -> bool:
    """Make a linear head the last layer of its model; tell whether the model has a place for it.

    The model, on the device of the head, sees pictures of `size` pixels of a side.

    A class that it has no output for is ruled out by its bias.
    """
    layer = classifier.backbone.get_classifier()  # type: ignore[operator]
    weight_KD, bias_K = head.weight_GKD[0], head.bias_GK[0]
    shape = (levels.num_classes, weight_KD.shape[1])
    weight = getattr(layer, "weight", None)
    if weight is None or weight.flatten(1).shape != shape or layer.bias is None:
        return False
    anew = levels.num_classes - len(bias_K)
    weight.copy_(pad(weight_KD, (0, 0, 0, anew)).reshape(weight.shape))
    layer.bias.copy_(pad(bias_K, (0, anew), value=RULED_OUT))
    return _says_the_same(classifier, head, size)


def _says_the_same(classifier: Classifier, head: Heads, size: int) -> bool:
    """Tell whether a model with a head in it answers as the head does on its features.

    Some models normalise between the two, or add what a second head says.
    """
    noise = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8, generator=noise)
    images = images.to(head.bias_GK.device)
    expected_MK = head.scores(classifier.embed(images))
    found_MK = classifier(images)[:, : expected_MK.shape[1]]
    return bool(torch.allclose(found_MK, expected_MK, rtol=1e-3, atol=1e-3))
