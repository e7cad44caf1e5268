"""Linear heads on features, those of all settings trained at once.

Shapes as in `hypernym.downstream`; H held-out images, B images of a step. Features are standardised, and
that is folded back: a head is a plain (K, D) weight and (K,) bias for the features as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import torch

from hypernym.downstream.figures import judge
from hypernym.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

MOMENTUM = 0.9

MIN_STEPS = 800
"""Steps that a schedule of 10 to 100 epochs has at least, if it can."""

MAX_FLOATS = 200_000_000
"""Weights (G, K, D), or logits (B, G, K), of the heads that are trained at once."""


@dataclass(frozen=True)
class Setting:
    """How a head is trained."""

    lr: float
    """The first learning rate, for features of length one; it falls to 0 along a cosine."""

    weight_decay: float
    """The factor w of the penalty w / 2 * ||weight||^2, on the same features."""

    dropout: float = 0.0
    """The share of features that are zero at a step (and the others larger), in [0, 1)."""


RATES = (0.3, 1.0, 3.0, 10.0, 30.0)
WEIGHT_DECAYS = (0.0, 1e-5, 1e-4)
DROPOUT = 0.5


def make_grid(
    rates: Collection[float] = RATES, weight_decays: Collection[float] = WEIGHT_DECAYS
) -> tuple[Setting, ...]:
    """Return every pair, and each rate with dropout in the place of weight decay; small ones first."""
    pairs = product(sorted(rates), sorted(weight_decays))
    return (
        *(Setting(rate, weight_decay) for rate, weight_decay in pairs),
        *(Setting(rate, 0.0, DROPOUT) for rate in sorted(rates)),
    )


GRID = make_grid()
"""Settings that are worth trying; benchmarks/probes.py compares them with logistic regression."""


@dataclass(frozen=True)
class Schedule:
    """How long heads are trained."""

    epochs: int
    batch_size: int


def plan_schedule(num_images: int) -> Schedule:
    """Return a schedule that suits so many images: short for many, and small batches for few."""
    batch_size = 2 ** min(10, max(4, round(math.log2(max(1, num_images) / 20))))
    steps_per_epoch = max(1, num_images // batch_size)
    return Schedule(min(100, max(10, math.ceil(MIN_STEPS / steps_per_epoch))), batch_size)


@dataclass(frozen=True)
class Heads:
    """Trained heads, on the device of the features."""

    settings: tuple[Setting, ...]
    weight_GKD: torch.Tensor
    """float32, for features as they are."""

    bias_GK: torch.Tensor

    def scores(self, features_MD: torch.Tensor, head: int = 0) -> torch.Tensor:
        """Return the scores (M, K) of one head."""
        features_MD = features_MD.to(self.weight_GKD.device)
        return torch.addmm(self.bias_GK[head], features_MD, self.weight_GKD[head].T)


def average(heads: Sequence[Heads]) -> Heads:
    """Return the mean of some heads as one: its scores are the mean of theirs."""
    weight_GKD = torch.cat([each.weight_GKD for each in heads])
    bias_GK = torch.cat([each.bias_GK for each in heads])
    settings = heads[0].settings[:1]
    return Heads(settings, weight_GKD.mean(dim=0, keepdim=True), bias_GK.mean(dim=0, keepdim=True))


@dataclass(frozen=True)
class Choice:
    """The settings that were tried, and the best of them."""

    settings: tuple[Setting, ...]
    scores: tuple[float, ...]
    """The main metric on the held-out images, of each setting."""

    best: Heads
    """The head of the best setting alone; the first of equally good ones."""

    @property
    def setting(self) -> Setting:
        """The best setting."""
        return self.best.settings[0]

    def rank(self, number: int) -> list[Setting]:
        """Return the best settings, the best first."""
        order = sorted(range(len(self.settings)), key=lambda place: -self.scores[place])
        return [self.settings[place] for place in order[:number]]

    @property
    def score(self) -> float:
        """Its score."""
        return max(self.scores)

    @property
    def edge(self) -> str:
        """`smallest` or `largest` if the best rate is that of all that were tried, else empty."""
        rates = sorted({setting.lr for setting in self.settings})
        if len(rates) == 1 or self.setting.lr not in (rates[0], rates[-1]):
            return ""
        return "smallest" if self.setting.lr == rates[0] else "largest"


def choose(
    features_ND: torch.Tensor,
    targets: torch.Tensor,
    held_out_HD: torch.Tensor,
    held_out_targets: torch.Tensor,
    settings: Sequence[Setting],
    *,
    num_labels: int,
    schedule: Schedule,
    seed: int,
) -> Choice:
    """Train a head with each setting and score it on held-out images; the best one is kept.

    As many heads as `MAX_FLOATS` allows are trained at once; the others follow. Held-out targets of
    several labels may be narrower than those that are learned: then the first labels are judged.

    Raises:
        UsageError: no head can be trained as asked.
    """
    num_judged = num_labels if held_out_targets.dim() == 1 else held_out_targets.shape[1]
    scores: list[float] = []
    best: Heads | None = None
    at_once = max(1, MAX_FLOATS // (num_labels * max(features_ND.shape[1], schedule.batch_size)))
    for first in range(0, len(settings), at_once):
        part = settings[first : first + at_once]
        heads = train_heads(
            features_ND, targets, part, num_labels=num_labels, schedule=schedule, seed=seed
        )
        for head, setting in enumerate(part):
            score = judge(heads.scores(held_out_HD, head), held_out_targets, num_judged)
            if best is None or score > max(scores):
                # `clone`: a view would keep the weights of all heads alive
                weight_1KD = heads.weight_GKD[head : head + 1].clone()
                best = Heads((setting,), weight_1KD, heads.bias_GK[head : head + 1].clone())
            scores.append(score)
    if best is None:
        raise UsageError("no setting was given to choose from: give a learning rate and a weight decay.")
    return Choice(tuple(settings), tuple(scores), best)


def train_heads(
    features_ND: torch.Tensor,
    targets: torch.Tensor,
    settings: Sequence[Setting],
    *,
    num_labels: int,
    schedule: Schedule,
    seed: int,
) -> Heads:
    """Train one head for each setting, all on the same batches, by SGD with Nesterov momentum.

    The loss is the softmax cross-entropy, or with several labels the binary cross-entropies summed over
    classes. Both have the gradient (probability - target), so that all heads of one dropout take two
    matrix products a step. On one kind of device the result is a function of the arguments alone.

    Args:
        features_ND: Features; they are not copied.
        targets: Labels, int64 (N,), or bool (N, K).
        settings: Of the heads.
        num_labels: K.
        schedule: Epochs, and images of a step; what fills no whole batch is left out of an epoch.
        seed: Decides the order of images, and dropout.

    Raises:
        UsageError: there is no image, or a feature is not a number.
    """
    if not len(features_ND):
        raise UsageError("there is no image to train a linear head on: give a split that has some.")
    targets = targets.to(features_ND.device)
    scale_D, mean_D = standardise(features_ND)
    weight_GKD = features_ND.new_empty(len(settings), num_labels, features_ND.shape[1])
    bias_GK = _prior(targets, num_labels).repeat(len(settings), 1)
    for dropout in sorted({setting.dropout for setting in settings}):
        alike = [head for head, setting in enumerate(settings) if setting.dropout == dropout]
        heads = _Descent([settings[head] for head in alike], bias_GK[alike], len(scale_D))
        noise = torch.Generator(features_ND.device).manual_seed(seed)
        for rate, order_B in _steps(len(features_ND), schedule, seed):
            rows_B = order_B.to(features_ND.device)
            features_BD = (features_ND[rows_B] - mean_D) * scale_D
            if dropout:
                kept_BD = torch.empty_like(features_BD).bernoulli_(1 - dropout, generator=noise)
                features_BD *= kept_BD / (1 - dropout)
            heads.step(features_BD, targets[rows_B], rate)
        weight_GKD[alike] = heads.weight_RD.mul_(scale_D).view(len(alike), num_labels, -1)
        bias_GK[alike] = heads.bias_GK
    return Heads(tuple(settings), weight_GKD, bias_GK - weight_GKD @ mean_D)


class _Descent:
    """The heads of some settings on their way down; R = G * K: all heads side by side."""

    def __init__(self, settings: Sequence[Setting], bias_GK: torch.Tensor, num_features: int) -> None:
        self.bias_GK = bias_GK
        self.weight_RD = bias_GK.new_zeros(bias_GK.numel(), num_features)
        self._rate_G1 = bias_GK.new_tensor([[setting.lr] for setting in settings])
        decay_G = bias_GK.new_tensor([setting.weight_decay for setting in settings])
        self._decay_R1 = decay_G.repeat_interleave(bias_GK.shape[1])[:, None]
        self._weight_velocity_RD = torch.zeros_like(self.weight_RD)
        self._bias_velocity_GK = torch.zeros_like(bias_GK)

    def step(self, features_BD: torch.Tensor, targets: torch.Tensor, rate: float) -> None:
        """Take a step with `rate` times the rates of the settings."""
        num_labels, num_features = self.bias_GK.shape[1], features_BD.shape[1]
        logits_BR = torch.addmm(self.bias_GK.flatten(), features_BD, self.weight_RD.T)
        slope_BGK = _slope(logits_BR.view(-1, *self.bias_GK.shape), targets)
        weight_slope_RD = slope_BGK.flatten(1).T @ features_BD
        weight_slope_RD.addcmul_(self._decay_R1, self.weight_RD)
        # the bias is the weight of one more standardised feature, which is always 1
        bias_slope_GK = slope_BGK.sum(dim=0) / num_features

        self._weight_velocity_RD.mul_(MOMENTUM).add_(weight_slope_RD)
        self._bias_velocity_GK.mul_(MOMENTUM).add_(bias_slope_GK)
        weight_slope_RD.add_(self._weight_velocity_RD, alpha=MOMENTUM)
        bias_slope_GK.add_(self._bias_velocity_GK, alpha=MOMENTUM)
        rate_R1 = self._rate_G1.repeat_interleave(num_labels, dim=0)
        self.weight_RD.addcmul_(rate_R1, weight_slope_RD, value=-rate)
        self.bias_GK.addcmul_(self._rate_G1, bias_slope_GK, value=-rate)


def standardise(features_ND: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scale (D,) and mean (D,): (feature - mean) * scale has a mean length of about one.

    Rates and weight decays then mean the same for any number of features.
    """
    variance_D, mean_D = torch.var_mean(features_ND, dim=0, correction=0)
    if not variance_D.isfinite().all():
        raise UsageError("some features are not finite numbers: check the model that made them.")
    # a feature that never changes, but for rounding, tells nothing
    is_constant_D = variance_D <= (torch.finfo(torch.float32).eps * mean_D.abs()) ** 2
    scale_D = (variance_D * features_ND.shape[1]).rsqrt().masked_fill(is_constant_D, 0.0)
    return scale_D, mean_D


def _prior(targets: torch.Tensor, num_labels: int) -> torch.Tensor:
    """Return the bias (K,) with which a head that knows nothing else is right most often."""
    if targets.dim() == 1:
        share_K = (targets.bincount(minlength=num_labels) + 0.5) / (len(targets) + 1)
        return share_K.log()
    return ((targets.sum(dim=0) + 0.5) / (len(targets) + 1)).logit()


def _slope(logits_BGK: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the mean loss of each head with respect to its logits."""
    if targets.dim() == 1:
        slope_BGK = logits_BGK.softmax(dim=2)
        index_BG1 = targets[:, None, None].expand(-1, slope_BGK.shape[1], 1)
        slope_BGK.scatter_add_(2, index_BG1, torch.full_like(slope_BGK[..., :1], -1.0))
    else:
        slope_BGK = logits_BGK.sigmoid().sub_(targets[:, None].to(logits_BGK.dtype))
    return slope_BGK.div_(len(targets))


def _steps(num_images: int, schedule: Schedule, seed: int) -> Iterator[tuple[float, torch.Tensor]]:
    """Give, for each step, the factor of the rate and the rows of the batch."""
    generator = torch.Generator().manual_seed(seed)
    batch_size = min(schedule.batch_size, num_images)
    ends = range(batch_size, num_images + 1, batch_size)
    total = schedule.epochs * len(ends)
    step = 0
    for _ in range(schedule.epochs):
        order_N = torch.randperm(num_images, generator=generator)
        for end in ends:
            yield (1 + math.cos(math.pi * step / total)) / 2, order_N[end - batch_size : end]
            step += 1
