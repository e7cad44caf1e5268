"""Several processes that train or measure together: started by torchrun, one a GPU.

    torchrun --nproc-per-node 8 -m hypernym pretrain DATASET RUN

Every process runs the same command. What must happen once (files, words) is the first one's; what it
finds out there, `agree` gives to all. A process that fails ends, and torchrun ends the others.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import distributed

from hypernym.errors import HypernymError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, such as for a first one that writes to a slow disk. torchrun
tells of one that ended at once."""


@dataclass(frozen=True)
class World:
    """The processes that work together, as seen from one of them."""

    rank: int = 0
    """Which of them this is."""

    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and speaks to the person."""
        return self.rank == 0


ALONE = World()


@contextmanager
def join_world() -> Iterator[World]:
    """Meet the processes that torchrun started beside this one; alone, there is nothing to meet.

    A process group that the caller has made is used, and left as it is.

    Raises:
        UsageError: the processes do not find each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if "RANK" not in os.environ:
        raise UsageError(f"WORLD_SIZE is {size} and RANK is not set: start the processes by torchrun.")
    world = World(int(os.environ["RANK"]), size)
    if distributed.is_initialized():
        yield world
        return
    try:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as cause:
        raise UsageError(f"the {size} processes do not find each other ({cause}).") from cause
    yield world
    # Only after a clean end: NCCL takes a group apart together, so that a process that failed would wait
    # for others which wait for it. It ends instead, and torchrun ends them.
    distributed.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """Return this process's own GPU where `device` means any of them, and make it the current one.

    Raises:
        UsageError: the processes of this machine would share a GPU.
    """
    if device.type != "cuda":
        return device
    local = os.environ.get("LOCAL_RANK")
    if local is not None and device != torch.device("cuda"):
        raise UsageError(
            f"--device {device}: of several processes each has a GPU of its own; give cuda."
        )
    if local is not None and int(local) >= torch.cuda.device_count():
        raise UsageError(
            f"there are {torch.cuda.device_count()} GPUs for {os.environ.get('LOCAL_WORLD_SIZE')} "
            f"processes on this machine: start one for each GPU (--nproc-per-node)."
        )
    if device == torch.device("cuda"):  # which needs a number to be made the current one
        device = torch.device("cuda", torch.cuda.current_device() if local is None else int(local))
    torch.cuda.set_device(device)
    return device


def agree(world: World, find_out: Callable[[], T]) -> T:
    """Let the first process find something out; return it in all.

    A mistake of the user ends all processes, and the first one tells it.
    """
    if world.size == 1:
        return find_out()
    answer: list[T | HypernymError | None] = [None]
    if world.is_first:
        try:
            answer[0] = find_out()
        except HypernymError as mistake:
            answer[0] = mistake
    distributed.broadcast_object_list(answer)
    if isinstance(answer[0], HypernymError):
        raise answer[0] if world.is_first else SystemExit(answer[0].exit_code)
    return answer[0]  # type: ignore[return-value] # T may itself be None


def add_up(world: World, values: torch.Tensor) -> torch.Tensor:
    """Replace `values` by their sum over all processes, and return them."""
    if world.size > 1:
        distributed.all_reduce(values)
    return values


def gather(world: World, value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks."""
    if world.size == 1:
        return [value]
    values: list[T | None] = [None] * world.size
    distributed.all_gather_object(values, value)
    return values  # type: ignore[return-value] # all are filled now


def share_buffers(world: World, module: nn.Module) -> None:
    """Give all processes the buffers of the first: means and variances of batch normalisation."""
    if world.size > 1:
        for buffer in module.buffers():
            distributed.broadcast(buffer, src=0)


def wait_for_all(world: World) -> None:
    """Go on when every process has come here."""
    if world.size > 1:
        distributed.barrier()
