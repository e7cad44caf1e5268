"""model.pt2: the model as torch.export writes it; torch alone runs it, without timm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from hypernym.publication.agreement import Agreement, call_module, check_agreement

if TYPE_CHECKING:
    from pathlib import Path

    from hypernym.publication.network import Traced

PROGRAM = "model.pt2"


def write_program(folder: Path, traced: Traced, images: torch.Tensor) -> Agreement:
    """Write a traced model and read it back.

    Raises:
        RunError: what was written does not give what the model gives.
    """
    path = folder / PROGRAM
    torch.export.save(traced.program, path, extra_files=dict(traced.metadata))
    read = torch.export.load(path).module()
    return check_agreement(path, traced, call_module(read, traced), images)
