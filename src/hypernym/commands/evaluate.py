"""`hypernym evaluate`: measure a run on a dataset."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, validate_call

from hypernym.data.dataset import open_dataset
from hypernym.engine import count_loaders
from hypernym.errors import OutputError
from hypernym.files import write_json
from hypernym.metrics import REPORT_VERSION
from hypernym.progress import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.metrics.accuracy import Accuracy, SummedAccuracy
    from hypernym.metrics.calibration import DepthCalibration
    from hypernym.metrics.coverage import CoveragePoint
    from hypernym.metrics.mistakes import Mistakes
    from hypernym.metrics.precision import AveragePrecision

GIB = 1 << 30
SHOWN_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
DEPTHS = ["depth", "classes", "images", "accuracy", "summed", "chance", "calibration error"]
MISTAKES = [
    "answer",
    "exact",
    "precision",
    "recall",
    "F1",
    "distance (if wrong)",
    "LCA height (if wrong)",
]
COVERAGE = ["threshold", "images named", "mean depth", "right", "exact"]


@dataclass(frozen=True)
class EvaluateReport:
    """How good a checkpoint is on a split."""

    checkpoint: Path
    dataset: Path
    split: str
    scheme: str
    epoch: int
    accuracy: Accuracy
    """By logits, each depth by itself: the paper's figures."""

    summed: SummedAccuracy
    """By probabilities: that of a class holds, by the single-label scheme, those of all beneath it."""

    calibration: tuple[DepthCalibration, ...]
    """By depth."""

    path_mistakes: Mistakes
    """Of the end of the path at threshold 0.5; an empty path ends in the virtual root."""

    leaf_mistakes: Mistakes
    """Of the most probable leaf."""

    coverage: tuple[CoveragePoint, ...]
    """By threshold, of the path that `predict` gives."""

    average_precision: AveragePrecision
    """Over the label and its ancestors; classes beneath the label count as unknown. Of scores in bins if
    all of them would have taken more memory than allowed."""

    score_bytes: int
    """Memory that the scores for the exact average precision take."""

    several_labels: bool
    """Whether images have several labels: then average precision looks at all of them, and everything
    else at the first."""

    def __str__(self) -> str:
        """Return the summary for a person; all shares are in %."""
        found = self.accuracy
        chance, semantic_chance = _percent(found.top1_chance), _percent(found.semantic_top1_chance)
        shares = [
            (at.accuracy, summed.accuracy, at.chance, calibration.error)
            for at, summed, calibration in zip(
                found.by_depth, self.summed.by_depth, self.calibration, strict=True
            )
        ]
        depths = [
            [at.depth, f"{at.classes:,}", f"{at.images:,}", *found_there]
            for at, found_there in zip(found.by_depth, shares, strict=True)
        ]
        mistakes = [
            [
                name,
                *(of.exact, of.precision, of.recall, of.f1),
                f"{of.distance:.2f} ({of.distance_of_mistakes:.2f})",
                f"{of.lca_height:.2f} ({of.lca_height_of_mistakes:.2f})",
            ]
            for name, of in (("path", self.path_mistakes), ("leaf", self.leaf_mistakes))
        ]
        coverage = [
            [f"{at.threshold:.1f}", at.coverage, f"{at.depth:.2f}"]
            + ([at.precision, at.exact] if at.coverage else ["-", "-"])
            for at in self.coverage
            if at.threshold in SHOWN_THRESHOLDS
        ]
        summary = (
            f"{self.checkpoint} (epoch {self.epoch}, {self.scheme})\n"
            f"on {self.dataset}, {self.split} split, {found.images:,} images; shares in %\n"
            f"  top-1          {_percent(found.top1)} (chance {chance}), top-5 {_percent(found.top5)}\n"
            f"  semantic top-1 {_percent(found.semantic_top1)} (chance {semantic_chance}), by summed "
            f"probabilities {_percent(self.summed.semantic_top1)}\n"
            f"  mAP            {self._describe_precision()}\n"
        )
        if self.several_labels:
            summary += "  Images have several labels: mAP looks at all of them, all else at the first.\n"
        return (
            f"{summary}\n{_table(DEPTHS, depths)}\n"
            "From answer (end of the path at 0.5, or most probable leaf) to label; F1 with ancestors\n"
            f"{_table(MISTAKES, mistakes)}\n"
            f"Paths cut at a threshold\n{_table(COVERAGE, coverage)}"
        ).rstrip()

    def _describe_precision(self) -> str:
        found = self.average_precision
        figures = (
            f"{_percent(found.macro)}, micro {_percent(found.micro)}, "
            f"VOC 2007 {_percent(found.voc2007)}, VOC 2010 {_percent(found.voc2010)}"
        )
        if not found.bin_width:
            return figures
        bins = f"of scores in bins of 1/{1 / found.bin_width:g} in log odds"
        needed = f"exact with --score-memory {math.ceil(10 * self.score_bytes / GIB) / 10:g}"
        return f"{figures}\n{' ' * 17}{bins}; {needed}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _table(head: list[str], rows: Sequence[Sequence[object]]) -> str:
    """Draw a table with columns that end in line; a float is a share."""
    cells = [[_percent(cell) if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    lines = (zip(row, widths, strict=True) for row in [head, *cells])
    return "".join(f"  {'  '.join(cell.rjust(width) for cell, width in line)}\n" for line in lines)


@validate_call
def evaluate(
    run: Path,
    dataset: Path,
    *,
    split: Literal["val", "train", "test"] = "val",
    batch_size: Annotated[int, Field(ge=1)] = 128,
    device: str = "auto",
    workers: Annotated[int, Field(ge=0)] | None = None,
    score_memory: Annotated[float, Field(ge=0)] = 2.0,
) -> EvaluateReport:
    """Measure a trained model on a dataset; the report is also written into the run.

    Args:
        run: A run (its best checkpoint is measured) or a checkpoint folder.
        dataset: A dataset with the classes that the model was trained on.
        split: The split to measure on.
        batch_size: Images at a time.
        device: auto (a GPU if there is one), cpu, cuda ...
        workers: Processes that load images; by default one for each core but one, at most 8.
        score_memory: GiB of memory that the scores for mAP may take, at 5 bytes an image and class; if
            they take more, they are counted in bins, in 10 KiB a class.
    """
    opened = open_dataset(dataset)
    num_images = len(opened.index(split))

    from hypernym.checkpoint import check_classes, find_checkpoint, load_checkpoint
    from hypernym.data.loader import make_eval_loader
    from hypernym.data.rows import SplitRows
    from hypernym.data.transforms import make_eval_transform
    from hypernym.distributed import join_world, local_device
    from hypernym.inference import choose_device, measure_all
    from hypernym.metrics.precision import count_bytes

    chosen = local_device(choose_device(device))
    folder = find_checkpoint(run)
    model = load_checkpoint(folder)
    check_classes(model.card, opened, folder)
    score_bytes = count_bytes(num_images, len(model.card.tree.ids))
    with join_world() as world:
        batches = make_eval_loader(
            SplitRows(opened, split),
            make_eval_transform(model.card.preprocessing),
            batch_size=batch_size,
            workers=count_loaders(workers),
            pin=chosen.type == "cuda",
            rank=world.rank,
            world=world.size,
        )
        found = measure_all(
            model,
            batches,
            chosen,
            world,
            num_images,
            keep_scores=score_bytes <= score_memory * GIB,
        )
    report = EvaluateReport(
        folder,
        dataset,
        split,
        model.card.scheme,
        model.progress["epoch"],
        found.accuracy,
        found.summed,
        found.calibration,
        found.path_mistakes,
        found.leaf_mistakes,
        found.coverage,
        found.average_precision,
        score_bytes,
        opened.card["several_labels"],
    )
    fields = {**asdict(report), "checkpoint": str(folder), "dataset": str(dataset)}
    if world.is_first:
        try:
            write_json(run / "report.json", "report", REPORT_VERSION, **fields)
        except OutputError as mistake:  # what was measured is worth more than the file
            say(str(mistake))
    return report
