"""What made each row of a comparison, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernym.comparison.placement import find_varying, shorten
from hypernym.comparison.runs import Pretraining, Transfer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hypernym.comparison.placement import Placed


@dataclass(frozen=True)
class Provenance:
    """What made the runs of a scheme."""

    scheme: str
    options: dict[str, Any]
    """Options of the pretraining in which the schemes differ; several values are joined by a slash."""

    source: str
    """Model, or where it comes from."""

    seeds: tuple[int, ...]
    trained_on: tuple[str, ...]
    """Digests of the datasets that it was pretrained on."""

    folders: tuple[Path, ...]


@dataclass(frozen=True)
class SchemeCost:
    """What the runs of a scheme took; means over runs. None where no run tells."""

    scheme: str
    pretrainings: int
    steps: float | None
    images: float | None
    hours: float | None
    transfers: int
    transfer_seconds: float | None
    total_hours: float
    """Of all its runs together."""


def trace(placed: Sequence[Placed], schemes: Sequence[str]) -> tuple[Provenance, ...]:
    """Return what made each scheme."""
    options = {scheme: _merge(placed, scheme) for scheme in schemes}
    varying = find_varying(group for group in options.values() if group)
    found = []
    for scheme in schemes:
        runs = [each.run for each in placed if each.scheme == scheme]
        digests = {
            run.trained_on if isinstance(run, Pretraining) else run.report.source.dataset_digest
            for run in runs
        }
        sources = {
            str(run.options.get("model")) if isinstance(run, Pretraining) else run.report.source.model
            for run in runs
        }
        found.append(
            Provenance(
                scheme,
                {name: options[scheme][name] for name in varying if name in options[scheme]},
                ", ".join(sorted(sources)),
                tuple(sorted({run.unit for run in runs})),
                tuple(sorted(digest for digest in digests if digest)),
                tuple(run.folder for run in runs),
            )
        )
    return tuple(found)


def add_up(placed: Sequence[Placed], schemes: Sequence[str]) -> tuple[SchemeCost, ...]:
    """Return what each scheme cost."""
    found = []
    for scheme in schemes:
        runs = [each.run for each in placed if each.scheme == scheme]
        costs = [run.cost for run in runs if isinstance(run, Pretraining)]
        seconds = [run.report.seconds for run in runs if isinstance(run, Transfer)]
        found.append(
            SchemeCost(
                scheme,
                len(costs),
                _mean([cost.steps for cost in costs]),
                _mean([cost.images for cost in costs]),
                _mean([cost.hours for cost in costs]),
                len(seconds),
                _mean(seconds),
                sum(cost.hours for cost in costs) + sum(seconds) / 3600,
            )
        )
    return tuple(found)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _merge(placed: Sequence[Placed], scheme: str) -> dict[str, Any]:
    """Return the options of a scheme's pretrainings; where they differ, all values."""
    groups = []
    for each in placed:
        run = each.run
        known = run.options if isinstance(run, Pretraining) else run.report.source.options
        if each.scheme == scheme and known:
            groups.append(shorten(known))
    merged: dict[str, Any] = dict(groups[0]) if groups else {}
    for name in find_varying(groups):
        merged[name] = " / ".join(dict.fromkeys(str(group.get(name)) for group in groups))
    return merged
