"""What a transfer came to, for a person and for `compare`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hypernym.errors import RunError
from hypernym.files import read_json, write_json

REPORT, REPORT_VERSION = "transfer.json", 1


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from, for reports."""

    name: str
    """As it was given."""

    model: str
    """timm's name of the architecture."""

    scheme: str | None = None
    """That it was pretrained with, where it is a run; so with what follows."""

    seed: int | None = None
    epochs: int | None = None
    dataset_digest: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """Of the pretraining, under their names on the command line."""


@dataclass(frozen=True)
class Shots:
    """What a number of images a class gives."""

    shots: int
    scores: tuple[float, ...]
    """Of each draw, on the test images; 0..1."""

    @property
    def mean(self) -> float:
        """Over the draws."""
        return sum(self.scores) / len(self.scores)


@dataclass(frozen=True)
class TransferReport:
    """How good a model is on another dataset, by one method."""

    out: Path
    source: Provenance
    dataset: Path
    dataset_digest: str
    method: str
    seed: int
    options: dict[str, Any]
    """Of the transfer, under their names on the command line."""

    several_labels: bool
    test_split: str
    metric: str
    score: float
    """The metric on the test images; 0..1. Few-shot: mean over the draws of the most shots."""

    chance: float
    """What guessing gives."""

    figures: dict[str, float]
    by_depth: list[dict[str, Any]]
    """Accuracy at each depth of the dataset's tree; empty where it has only one."""

    chosen: dict[str, float]
    """What was chosen on the held-out images."""

    chosen_score: float | None
    """The metric on them; None where there was nothing to choose."""

    images: dict[str, int]
    """By part: train, held_out, test."""

    shots: list[Shots] | None
    remark: str
    """What a reader of the figures should know."""

    seconds: float
    device: str

    def __str__(self) -> str:
        """Return the summary for a person; figures in %, distances in edges."""
        chosen = ", ".join(f"{name} {value:g}" for name, value in self.chosen.items())
        counts = self.images
        learned = counts["train"] + counts["held_out"]
        amount = "a few images a class" if self.shots else f"{learned:,} images"
        lines = [
            f"{self.source.name} on {self.dataset}: {self.method}",
            f"  learned from {amount}, tested on {counts['test']:,} images of {self.test_split}",
        ]
        if self.chosen_score is not None:
            lines.append(
                f"  chosen on {counts['held_out']:,} held-out images: {chosen} "
                f"({100 * self.chosen_score:.1f} there)"
            )
        lines.append(f"  {self.metric:<26}{100 * self.score:.1f} % (chance {100 * self.chance:.1f})")
        if self.shots:
            lines += [
                f"  {each.shots:>2} shots, {len(each.scores)} draws         {100 * each.mean:.1f} "
                f"({100 * min(each.scores):.1f} to {100 * max(each.scores):.1f})"
                for each in self.shots
            ]
        else:
            lines += [
                f"  {name:<26}{_show(name, value)}"
                for name, value in self.figures.items()
                if name != self.metric
            ]
        if self.remark:
            lines.append(f"  {self.remark}")
        return "\n".join(lines)


def _show(name: str, value: float) -> str:
    """Return a distance in edges, and any other figure in %."""
    return f"{value:.2f}" if "distance" in name or "height" in name else f"{100 * value:.1f}"


def save_report(report: TransferReport) -> None:
    """Write a report into its folder; it says that the transfer is done."""
    fields = asdict(report)
    del fields["out"]
    fields["dataset"] = str(report.dataset)
    write_json(report.out / REPORT, "transfer", REPORT_VERSION, **fields)


def load_report(out: Path) -> TransferReport:
    """Read the report of a transfer that is done.

    Raises:
        RunError: it is damaged, or of another version.
    """
    fields = read_json(out / REPORT, "transfer", REPORT_VERSION, RunError)
    del fields["format"], fields["version"]
    shots = fields.pop("shots")
    return TransferReport(
        out=out,
        source=Provenance(**fields.pop("source")),
        dataset=Path(fields.pop("dataset")),
        shots=[Shots(each["shots"], tuple(each["scores"])) for each in shots] if shots else None,
        **fields,
    )
