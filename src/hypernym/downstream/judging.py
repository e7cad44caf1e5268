"""A model judged by one method: chosen, learned, tested, written down.

Order of what is written: features or checkpoints, then answers.npz, and transfer.json last: it says that
the transfer is done.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypernym.checkpoint import save_checkpoint
from hypernym.distributed import wait_for_all
from hypernym.downstream.answers import describe, find_chance, save_answers
from hypernym.downstream.config import Method
from hypernym.downstream.features import Features
from hypernym.downstream.figures import main_metric
from hypernym.downstream.finetuning import finetune
from hypernym.downstream.labels import find_targets
from hypernym.downstream.probing import (
    probe_linear,
    probe_neighbors,
    probe_shots,
    put_head,
    set_up,
)
from hypernym.downstream.report import Shots, TransferReport, save_report
from hypernym.training.requests import flatten

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from hypernym.downstream.case import Case
    from hypernym.downstream.probing import Bench
    from hypernym.models import Classifier

NO_PLACE = "The model has no place for a linear head: it was not saved, the figures stand."


@dataclass(frozen=True)
class Outcome:
    """What a method came to."""

    logits_MC: torch.Tensor | None
    """Of the test images; None where there are several models to answer (few-shot)."""

    chosen: dict[str, float]
    score: float | None
    remark: str = ""
    shots: list[Shots] | None = None


def judge_model(case: Case, out: Path, *, resume: bool) -> TransferReport:
    """Judge a model by the method that its configuration names, and write the report.

    Raises:
        HypernymError: as `training.loop.fit`, or an image is not what was written.
    """
    began = time.monotonic()
    config, roles, levels = case.config, case.roles, case.levels
    if config.method == Method.FULL:
        tuned = finetune(case, out, resume=resume)
        outcome = Outcome(tuned.logits_MC, tuned.chosen, tuned.score, tuned.remark)
    else:
        outcome = _probe(case, out)
    targets = find_targets(roles.open(roles.test))
    metric = main_metric(case.several_labels).value
    by_depth: list[dict[str, Any]] = []
    if outcome.logits_MC is None:
        shots = outcome.shots or []
        figures = {f"{metric}_{each.shots}_shot": each.mean for each in shots}
        score = figures[f"{metric}_{max(each.shots for each in shots)}_shot"]
    else:
        figures, by_depth = describe(outcome.logits_MC, targets, levels)
        score = figures[metric]
    report = TransferReport(
        out=out,
        source=case.source.provenance,
        dataset=case.dataset.path,
        dataset_digest=case.dataset.card["digest"],
        method=config.method.value,
        seed=config.seed,
        options=flatten(config.model_dump(mode="json")),
        several_labels=case.several_labels,
        test_split=roles.test.split,
        metric=metric,
        score=score,
        chance=find_chance(targets, levels.num_labels),
        figures=figures,
        by_depth=by_depth,
        chosen=outcome.chosen,
        chosen_score=outcome.score,
        images={
            "train": len(roles.learn.rows_N),
            "held_out": len(roles.choose.rows_N),
            "test": len(roles.test.rows_N),
        },
        shots=outcome.shots,
        remark=outcome.remark,
        seconds=time.monotonic() - began,
        device=str(case.device),
    )
    if case.world.is_first:
        if outcome.logits_MC is not None:
            save_answers(out / "answers.npz", outcome.logits_MC, targets, levels.num_labels)
        save_report(report)
    wait_for_all(case.world)
    return report


def _probe(case: Case, out: Path) -> Outcome:
    """Let the model see every picture once, and judge it by what it saw."""
    config = case.config
    classifier = case.make_classifier(config)
    features = Features(
        config.features or out / "features",
        classifier,
        case.view,
        case.dataset,
        case.device,
        config.workers,
    )
    bench = set_up(features, case.roles, case.levels)
    match config.method:
        case Method.LINEAR:
            return _probe_linear(case, bench, classifier, out)
        case Method.KNN:
            probed = probe_neighbors(bench, config)
            return Outcome(probed.logits_MC, probed.chosen, probed.score)
        case _:
            shots = [Shots(each.shots, each.scores) for each in probe_shots(bench, config)]
            return Outcome(None, {}, None, shots=shots)


def _probe_linear(case: Case, bench: Bench, classifier: Classifier, out: Path) -> Outcome:
    """Train a linear head and save the model with it."""
    probed = probe_linear(bench, case.config)
    remark = probed.remark
    size = case.view.size
    if probed.head is not None and put_head(classifier, probed.head, case.levels, size):
        progress = {"epoch": 0, "step": 0, "figures": {}}
        save_checkpoint(out / "checkpoints" / "best", classifier.cpu(), case.card, progress)
    else:
        remark = f"{remark} {NO_PLACE}".strip()
    return Outcome(probed.logits_MC, probed.chosen, probed.score, remark)
