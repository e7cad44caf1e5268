"""`hypernym evaluate`: measure a run on a dataset."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, validate_call

from hypernym.data.dataset import open_dataset
from hypernym.files import write_json

if TYPE_CHECKING:
    from hypernym.metrics import Accuracy

REPORT_VERSION = 1


@dataclass(frozen=True)
class EvaluateReport:
    """How good a checkpoint is on a split."""

    checkpoint: Path
    dataset: Path
    split: str
    scheme: str
    epoch: int
    accuracy: Accuracy

    def __str__(self) -> str:
        """Return the summary for a person."""
        found = self.accuracy
        rows = [
            f"{self.checkpoint} (epoch {self.epoch}, {self.scheme})",
            f"on {self.dataset}, {self.split} split, {found.images:,} images; chance in brackets",
            f"  top-1          {_percent(found.top1, found.top1_chance)}",
            f"  top-5          {100 * found.top5:5.1f} %",
            f"  semantic top-1 {_percent(found.semantic_top1, found.semantic_top1_chance)}",
        ]
        rows += [
            f"  depth {depth.depth:<8} {_percent(depth.accuracy, depth.chance)}  "
            f"{depth.classes:,} classes, {depth.images:,} images"
            for depth in found.by_depth
        ]
        return "\n".join(rows)


def _percent(share: float, chance: float) -> str:
    return f"{100 * share:5.1f} % ({100 * chance:.1f})"


@validate_call
def evaluate(
    run: Path,
    dataset: Path,
    *,
    split: Literal["val", "train"] = "val",
    batch_size: Annotated[int, Field(ge=1)] = 128,
    device: str = "auto",
    workers: Annotated[int, Field(ge=0)] = 0,
) -> EvaluateReport:
    """Measure a trained model on a dataset; the report is also written into the run.

    Args:
        run: A run (its best checkpoint is measured) or a checkpoint folder.
        dataset: A dataset with the classes that the model was trained on.
        split: The split to measure on.
        batch_size: Images at a time.
        device: auto (a GPU if there is one), cpu, cuda ...
        workers: Processes that load images beside this one.
    """
    opened = open_dataset(dataset)
    num_images = len(opened.index(split))

    from hypernym.checkpoint import check_classes, find_checkpoint, load_checkpoint
    from hypernym.data.loader import make_eval_loader
    from hypernym.data.transforms import make_eval_transform
    from hypernym.hierarchy.levels import make_levels
    from hypernym.inference import choose_device, measure

    chosen = choose_device(device)
    folder = find_checkpoint(run)
    model = load_checkpoint(folder)
    check_classes(model.card, opened, folder)
    batches = make_eval_loader(
        opened,
        split,
        make_eval_transform(model.card.preprocessing),
        batch_size=batch_size,
        workers=workers,
        pin=chosen.type == "cuda",
    )
    levels = make_levels(model.card.tree)
    accuracy = measure(model.classifier.to(chosen), batches, levels, chosen, num_images)
    report = EvaluateReport(folder, dataset, split, model.card.scheme, model.progress["epoch"], accuracy)
    fields = {**asdict(report), "checkpoint": str(folder), "dataset": str(dataset)}
    write_json(run / "report.json", "report", REPORT_VERSION, **fields)
    return report
