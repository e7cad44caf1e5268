"""Full fine-tuning: learning rates are tried on a part of train, the best learns from all of it.

    OUT/trials/RATE/    a run of a share of the epochs, for each rate; trial.json is written last
    OUT/                the run with the best of them, over all epochs

Nothing is held out of the last run, so that it is the last checkpoint that counts, whatever it scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

import torch

from hypernym.checkpoint import find_checkpoint, is_resumable, load_checkpoint
from hypernym.distributed import agree, gather
from hypernym.downstream.figures import judge, main_metric
from hypernym.downstream.labels import find_targets
from hypernym.errors import DivergenceError, RunError, UsageError
from hypernym.files import read_json, write_json
from hypernym.inference import run_model
from hypernym.losses.schemes import make_loss
from hypernym.progress import say
from hypernym.training.feeding import feed_measuring, feed_training
from hypernym.training.loop import Course, Measured, fit
from hypernym.training.task import LabelTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from hypernym.downstream.case import Case
    from hypernym.downstream.config import TransferConfig
    from hypernym.downstream.protocol import Part
    from hypernym.models import Classifier

TRIAL_VERSION = 1


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning came to."""

    logits_MC: torch.Tensor
    """Of the test images."""

    chosen: dict[str, float]
    score: float | None
    """Of what was chosen, on the held-out images; None where there was nothing to choose."""

    remark: str


def finetune(case: Case, out: Path, *, resume: bool) -> Tuned:
    """Choose a rate, learn with it from all images, and answer for the test images.

    Raises:
        HypernymError: as `training.loop.fit`.
    """
    config, roles = case.config, case.roles
    rates, score, remark = config.rates or (config.optim.lr,), None, ""
    best = rates[0]
    if len(rates) > 1:
        tried = {rate: _try_rate(case, rate, out, resume=resume) for rate in sorted(rates)}
        scores = {rate: found for rate, found in tried.items() if found is not None}
        if not scores:
            raise UsageError(
                f"training diverged with every learning rate tried ({_list(rates)}): give lower --rates."
            )
        best = max(scores, key=scores.__getitem__)
        score = scores[best]
        say(f"The learning rate {best:g} is the best of {_list(scores)}.")
        if best in (min(rates), max(rates)):
            remark = f"The {'smallest' if best == min(rates) else 'largest'} rate tried was the best."

    optim = config.optim.model_copy(update={"lr": best})
    chosen = config.model_copy(update={"optim": optim, "rates": ()})
    course = _plan(case, chosen, roles.everything, None)
    fit(
        course,
        out,
        case.device,
        case.world,
        resumes=_resumes(case, out, resume=resume),
    )
    model = load_checkpoint(find_checkpoint(out)).classifier.to(case.device)
    logits_MC = _answer(case, model, roles.test)
    return Tuned(logits_MC, {"lr": best}, score, remark)


def _list(rates: Iterable[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in sorted(rates))


def _resumes(case: Case, run: Path, *, resume: bool) -> bool:
    return agree(case.world, lambda: resume and is_resumable(run / "checkpoints" / "last"))


def _try_rate(case: Case, rate: float, out: Path, *, resume: bool) -> float | None:
    """Return the score of a rate on the held-out images, after a share of the epochs.

    None: training diverged.
    """
    folder = out / "trials" / f"{rate:g}"
    marker = folder / "trial.json"
    if agree(case.world, marker.exists):
        known: float | None = read_json(marker, "trial", TRIAL_VERSION, RunError)["score"]
        return known
    config, roles = case.config, case.roles
    trial = config.model_copy(
        update={
            "optim": config.optim.model_copy(update={"lr": rate}),
            "rates": (),
            "epochs": max(1, round(config.trial * config.epochs)),
            "track": (),
        }
    )
    scores: list[float] = []

    def measure_held_out(model: Classifier) -> Measured:
        logits_HC = _answer(case, model, roles.choose)
        targets = find_targets(roles.open(roles.choose))
        scores.append(judge(logits_HC, targets, case.levels.num_labels))
        return Measured(scores[-1], {f"val/{_metric(case)}": scores[-1]})

    course = _plan(case, trial, (roles.learn,), measure_held_out)
    resumes = _resumes(case, folder, resume=resume)
    say(f"Trying the learning rate {rate:g} for {trial.epochs} epochs.")
    score: float | None = None
    try:
        fit(course, folder, case.device, case.world, resumes=resumes)
    except DivergenceError:
        say(f"Training diverged with the learning rate {rate:g}.")
    else:
        if not scores:  # all was done but for the marker
            last = load_checkpoint(folder / "checkpoints" / "last").classifier
            measure_held_out(last.to(case.device))
        score = scores[-1]
    if case.world.is_first:
        write_json(marker, "trial", TRIAL_VERSION, lr=rate, epochs=trial.epochs, score=score)
    return score


def _plan(
    case: Case,
    config: TransferConfig,
    parts: tuple[Part, ...],
    measure: Callable[[Classifier], Measured] | None,
) -> Course:
    """Make model, loss and loader."""
    roles, options = case.roles, config.loss
    criterion = make_loss(
        case.card.scheme,
        case.levels,
        label_smoothing=options.label_smoothing,
        weights_L=[],
        gamma_neg=options.gamma_neg,
        gamma_pos=options.gamma_pos,
        clip=options.clip,
    )
    return Course(
        LabelTask(case.make_classifier(config), criterion.to(case.device)),
        feed_training(roles.open(*parts), case.view.size, config, case.device, case.world),
        config.model_copy(update={"model": case.source.provenance.model}),
        case.card,
        measure,
        lambda rows: roles.name(parts, rows),
    )


def _answer(case: Case, model: Classifier, part: Part) -> torch.Tensor:
    """Return the logits (M, C) of all images of a part, in their order, in every process."""
    rows = case.roles.open(part)
    world, device = case.world, case.device
    batches = feed_measuring(rows, case.view, case.config.workers, device, world)
    found = run_model(model, batches, device, world, len(rows))
    ours = [logits_BC.float().cpu() for logits_BC, _, _ in found]
    # whole batches were dealt out in turn
    turns: Iterable[tuple[torch.Tensor | None, ...]] = zip_longest(*gather(world, ours))
    return torch.cat([logits_BC for turn in turns for logits_BC in turn if logits_BC is not None])


def _metric(case: Case) -> str:
    return main_metric(case.several_labels).value
