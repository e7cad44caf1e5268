"""Optimizer and learning rate, from their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from torch.optim.lr_scheduler import OneCycleLR

from hypernym.errors import UsageError, nearest

if TYPE_CHECKING:
    import torch
    from timm.scheduler.scheduler import Scheduler
    from torch import nn

    from hypernym.training.options import OptimOptions, ScheduleOptions

FUSED = {"adam", "adamw", "sgd", "momentum"}
"""Optimizers of torch itself, which have one kernel for all parameters; it can leave an update out
without the host being asked."""

MOMENTUM = {"sgd", "momentum"}
NEEDS_SECOND_DERIVATIVES = {"adahessian"}

TIMM_SCHEDULES = ("constant", "cosine", "poly", "tanh", "step", "multistep", "wsd")
ONECYCLE = "onecycle"


class Schedule(Protocol):
    """The learning rate over the steps."""

    def step(self) -> None:
        """Go on by one step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Restore it."""


def make_optimizer(
    model: nn.Module, options: OptimOptions, device: torch.device, *, scaled: bool = False
) -> torch.optim.Optimizer:
    """Make a timm optimizer; biases and one-dimensional parameters get no weight decay.

    Args:
        model: The timm model itself: decay by layers asks it for its layers.
        options: Which, and how fast.
        device: Where the model lies.
        scaled: Whether a scaler of gradients may leave out updates (fp16).

    Raises:
        UsageError: timm has no such optimizer, or it cannot be used here.
    """
    known = [name for name in list_optimizers() if name not in NEEDS_SECOND_DERIVATIVES]
    if options.name not in known:
        hint = nearest(options.name, known)
        raise UsageError(f"--optim.name {options.name}: timm has no such optimizer{hint}.")
    extra: dict[str, Any] = {}
    if options.layer_decay < 1:
        extra["layer_decay"] = options.layer_decay
    # The fused kernel of SGD leaves its momentum uninitialised where the first update is left out.
    if device.type == "cuda" and options.name in FUSED and not (scaled and options.name in MOMENTUM):
        extra["fused"] = True
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            model, opt=options.name, lr=options.lr, weight_decay=options.weight_decay, **extra
        )
    except (AssertionError, ImportError, RuntimeError, TypeError, ValueError) as cause:
        raise UsageError(
            f"--optim.name {options.name} cannot be used here ({' '.join(str(cause).split())})."
        ) from cause
    return optimizer


def is_fused(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether one kernel updates all parameters, and leaves out an update when told."""
    return bool(optimizer.param_groups[0].get("fused"))


def make_schedule(
    optimizer: torch.optim.Optimizer, options: ScheduleOptions, lr: float, num_steps: int
) -> Schedule:
    """Make a schedule that is stepped a batch, and set the first learning rate.

    Args:
        optimizer: Its groups may have an `lr_scale` (decay by layers).
        options: Name and shape.
        lr: The highest learning rate.
        num_steps: Of the whole run.

    Raises:
        UsageError: there is no such schedule.
    """
    if options.name == ONECYCLE:
        return _make_onecycle(optimizer, options, lr, max(2, num_steps))
    if options.name not in TIMM_SCHEDULES:
        hint = nearest(options.name, (ONECYCLE, *TIMM_SCHEDULES))
        raise UsageError(f"--schedule.name {options.name}: there is no such schedule{hint}.")
    warmup = min(round(options.warmup * num_steps), num_steps - 1)
    rest = num_steps - warmup
    part = 5 if options.name == "wsd" else 3  # the last fifth falls; or a step each third
    # One step counts as one epoch: all lengths are given in steps.
    scheduler, _ = create_scheduler_v2(
        optimizer,
        options.name,
        num_epochs=rest,
        warmup_epochs=warmup,
        warmup_prefix=True,
        warmup_lr=options.first * lr,
        min_lr=options.last * lr,
        decay_epochs=max(1, rest // part),
        decay_milestones=[num_steps // 2, num_steps * 3 // 4],
        decay_rate=1.0 if options.name == "poly" else 0.1,
        step_on_epochs=False,
        updates_per_epoch=1,
    )
    return _TimmSchedule(scheduler)


def lr_of(optimizer: torch.optim.Optimizer) -> float:
    """Return the learning rate now, that of the head where layers differ."""
    return float(max(group["lr"] for group in optimizer.param_groups))


def _make_onecycle(
    optimizer: torch.optim.Optimizer, options: ScheduleOptions, lr: float, num_steps: int
) -> OneCycleLR:
    """Make the schedule of the official code: momentum left alone."""
    final_div_factor = options.first / options.last if options.last else 1e4
    return OneCycleLR(
        optimizer,
        max_lr=[lr * group.get("lr_scale", 1.0) for group in optimizer.param_groups],
        total_steps=num_steps,
        # OneCycle divides by the number of steps in which it rises, less one.
        pct_start=max(options.warmup, 1.5 / num_steps),
        div_factor=1 / options.first,
        final_div_factor=final_div_factor,
        cycle_momentum=False,
    )


class _TimmSchedule:
    """timm's schedules are functions of the number of steps done."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._steps_done = 0
        scheduler.step_update(0)

    def step(self) -> None:
        self._steps_done += 1
        self._scheduler.step_update(self._steps_done)

    def state_dict(self) -> dict[str, Any]:
        return {"steps_done": self._steps_done}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self._steps_done = state_dict["steps_done"]
        self._scheduler.step_update(self._steps_done)
