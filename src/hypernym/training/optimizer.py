"""Optimizer and learning rate, from their options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timm.optim import create_optimizer_v2, list_optimizers
from torch.optim.lr_scheduler import OneCycleLR

from hypernym.errors import UsageError, nearest

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hypernym.training.config import OptimOptions


def make_optimizer(model: nn.Module, options: OptimOptions) -> torch.optim.Optimizer:
    """Make a timm optimizer; biases and one-dimensional parameters get no weight decay.

    Raises:
        UsageError: timm has no such optimizer.
    """
    known = list_optimizers()
    if options.name not in known:
        hint = nearest(options.name, known)
        raise UsageError(f"--optim.name {options.name}: timm has no such optimizer{hint}.")
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        model, opt=options.name, lr=options.lr, weight_decay=options.weight_decay
    )
    return optimizer


def make_schedule(optimizer: torch.optim.Optimizer, options: OptimOptions, num_steps: int) -> OneCycleLR:
    """Make the OneCycle schedule of the official code: stepped a batch, momentum left alone."""
    total_steps = max(2, num_steps)
    return OneCycleLR(
        optimizer,
        max_lr=options.lr,
        total_steps=total_steps,
        # OneCycle divides by the number of steps in which it rises, less one.
        pct_start=max(options.pct_start, 1.5 / total_steps),
        div_factor=options.div_factor,
        cycle_momentum=False,
    )
