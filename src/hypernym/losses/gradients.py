"""Losses that make their gradient together with their value.

Nothing of the size of the logits is then kept for the way back but the gradient itself, which goes back
without a copy: `GradientKept`, from which a loss derives, only scales it where it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS_AT_A_TIME = 64
"""Images taken at a time on the CPU: 64 rows of 11,221 float32 logits are 2.9 MB."""

CHUNKS_OF_A_BATCH = 8
"""A small batch is cut in so many, or the room for a few rows would be the room of the logits."""


def make_gradient(logits_BC: torch.Tensor) -> torch.Tensor:
    """Return room for the gradient, in the type of the logits unless that is float16.

    A gradient that is made in the forward pass is not yet scaled, and too small for float16.
    """
    dtype = torch.float32 if logits_BC.dtype == torch.float16 else logits_BC.dtype
    return torch.empty_like(logits_BC, dtype=dtype, memory_format=torch.contiguous_format)


def a_few_rows_at_a_time(
    gradient_BC: torch.Tensor, wide: torch.dtype
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Give rows of a gradient, and room in a wide type whose content they get."""
    num_rows = _rows_at_a_time(gradient_BC)
    for start in range(0, len(gradient_BC), num_rows):
        rows_BC = gradient_BC[start : start + num_rows]
        room_BC = rows_BC if rows_BC.dtype == wide else torch.empty_like(rows_BC, dtype=wide)
        yield slice(start, start + len(rows_BC)), room_BC
        if room_BC is not rows_BC:
            rows_BC.copy_(room_BC)


def a_few_rows_and_spare_ones(
    gradient_BC: torch.Tensor, wide: torch.dtype
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Give rows as `a_few_rows_at_a_time` does, and as many that may be written to until the next come.

    The spare ones are rows of the gradient whose turn is later, so that no other room is taken: towards
    the end there are ever fewer at a time, and the last row has a spare one of its own. A GPU has all
    rows at once.
    """
    at_once = gradient_BC.device.type != "cpu" or torch.compiler.is_compiling()
    end = 0
    while end < len(gradient_BC):
        start, end = end, len(gradient_BC)
        if not at_once:
            end = start + max(1, min(_rows_at_a_time(gradient_BC), (end - start) // 2))
        rows_BC, spare_BC = gradient_BC[start:end], gradient_BC[end : 2 * end - start]
        room_BC = rows_BC
        if rows_BC.dtype != wide:
            room_BC, spare_BC = rows_BC.new_empty(2, *rows_BC.shape, dtype=wide)
        elif len(spare_BC) < len(rows_BC):
            spare_BC = torch.empty_like(rows_BC)
        yield slice(start, end), room_BC, spare_BC
        if room_BC is not rows_BC:
            rows_BC.copy_(room_BC)


def _rows_at_a_time(gradient_BC: torch.Tensor) -> int:
    return max(1, min(ROWS_AT_A_TIME, len(gradient_BC) // CHUNKS_OF_A_BATCH))


class GradientKept(torch.autograd.Function):
    """A loss whose forward pass ends with `keep`; the kept gradient itself goes back, without a copy."""

    @staticmethod
    def keep(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        gradient_BC: torch.Tensor,
        dtype: torch.dtype,
        *,
        may_wait: bool = False,
    ) -> None:
        """Keep the gradient by the first input, which has `dtype`, for the way back.

        Where Python `may_wait` for the scale, which on a GPU it would, one of 1 costs nothing.
        """
        ctx.save_for_backward(gradient_BC)
        ctx.dtype, ctx.may_wait = dtype, may_wait

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        scale: torch.Tensor,
        *_: None,
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradient by the first input, and None for the others."""
        gradient_BC: torch.Tensor
        (gradient_BC,) = ctx.saved_tensors
        if torch.compiler.is_compiling() or _graph_is_kept():
            gradient_BC = gradient_BC * scale
        elif not (ctx.may_wait and scale == 1):
            gradient_BC.mul_(scale)
        return gradient_BC.to(ctx.dtype), *(None,) * (len(ctx.needs_input_grad) - 1)


def _graph_is_kept() -> bool:
    """Say whether another pass may follow the one that runs; torch's compiled graphs ask the same."""
    private = torch._C._autograd  # noqa: SLF001 - nothing public tells
    ask = getattr(private, "_get_current_graph_task_keep_graph", None)
    return ask is None or bool(ask())
