"""An exported file against the model that it was made from, on the same images.

Shapes: N images, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hypernym.errors import RunError
from hypernym.publication.network import default_threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import nn

    from hypernym.publication.network import Traced

    Call = Callable[[torch.Tensor], Sequence[torch.Tensor]]

TOLERANCE = 1e-3
"""Of the logits, as a share of their standard deviation; other kernels round in another order, which
gives some 1e-6 of a small network and 1e-4 of a deep one."""


@dataclass(frozen=True)
class Agreement:
    """How far a file is from the model."""

    file: str
    size: int
    """Bytes, with what lies beside it."""

    images: int
    difference: float
    """The largest of a logit."""

    spread: float
    """The standard deviation of the model's logits, to compare with."""

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"{self.file} ({self.size / 1e6:,.1f} MB): largest difference of a logit "
            f"{self.difference:.1e}, where they spread by {self.spread:.1e} ({self.images} images)"
        )


def check_agreement(file: Path, traced: Traced, call: Call, images: torch.Tensor) -> Agreement:
    """Compare a file with the model, on one image and on all of them.

    Args:
        file: What was written.
        traced: What it was made from.
        call: Runs the file on images, uint8 (N, 3, S, S), and returns its outputs.
        images: Some.

    Raises:
        RunError: they differ by more than rounding.
    """
    original = call_module(traced.network, traced)
    difference, spread = 0.0, 0.0
    for tried in (images, images[:1]):
        expected, found = original(tried), call(tried)
        spread = max(spread, expected[0].std().item())
        difference = max(difference, (expected[0] - found[0]).abs().max().item())
        distant = [difference / max(spread, TOLERANCE)]
        if traced.decodes:  # a path may differ where two classes are equally probable
            distant.append((expected[1] - found[1]).abs().max().item())
        if not max(distant) <= TOLERANCE:  # nor if it is not a number
            raise RunError(
                f"{file.name} does not give what the model gives: on {len(tried)} images the logits "
                f"differ by up to {difference:.2g}, and spread by {spread:.2g}. Export without it, or "
                f"with other versions of torch and onnxruntime."
            )
    beside = [path for path in file.parent.iterdir() if path.name.startswith(file.name)]
    size = sum(path.stat().st_size for path in beside)
    return Agreement(file.name, size, len(images), difference, spread)


def call_module(module: nn.Module, traced: Traced) -> Call:
    """Return what runs a module that takes and gives what a traced one does."""
    inputs = (default_threshold(),) if traced.decodes else ()

    def call(images: torch.Tensor) -> Sequence[torch.Tensor]:
        with torch.no_grad():
            outputs = module(images, *inputs)
        return outputs if traced.decodes else (outputs,)

    return call
