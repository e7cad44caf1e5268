"""Losses that make their gradient together with their value.

Nothing of the size of the logits is then kept for the way back but the gradient itself. A loss derives
from one of the two classes here, whose way back only scales what the forward pass has left in `ctx`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS_AT_A_TIME = 64
"""Images taken at a time on the CPU: 64 rows of 11,221 float32 logits are 2.9 MB."""

CHUNKS_OF_A_BATCH = 4
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
    """Give rows of a gradient, and room in a wide type whose content they get; a GPU has all at once."""
    num_rows = min(ROWS_AT_A_TIME, len(gradient_BC) // CHUNKS_OF_A_BATCH)
    if gradient_BC.device.type != "cpu" or torch.compiler.is_compiling():
        num_rows = len(gradient_BC)
    num_rows = max(1, num_rows)
    for start in range(0, len(gradient_BC), num_rows):
        chunk = slice(start, min(start + num_rows, len(gradient_BC)))
        rows_BC = gradient_BC[chunk]
        if rows_BC.dtype == wide:
            yield chunk, rows_BC
        else:
            room_BC = torch.empty_like(rows_BC, dtype=wide)
            yield chunk, room_BC
            rows_BC.copy_(room_BC)


class GradientKept(torch.autograd.Function):
    """A loss whose forward pass ends with `keep`. For any device: nothing waits for the scale."""

    @staticmethod
    def keep(ctx: Any, gradient_BC: torch.Tensor, dtype: torch.dtype) -> None:  # noqa: ANN401 - torch's
        """Keep the gradient by the first input, which has `dtype`, for the way back."""
        ctx.save_for_backward(gradient_BC)
        ctx.dtype = dtype

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        """Return the gradient by the first input, and None for the others."""
        gradient_BC: torch.Tensor
        (gradient_BC,) = ctx.saved_tensors
        return (gradient_BC * scale).to(ctx.dtype), *_none_for_others(ctx)


class GradientGivenAway(torch.autograd.Function):
    """A loss on the CPU, of value and a flag, whose gradient goes back without a copy, so only once."""

    @staticmethod
    def keep(ctx: Any, gradient_BC: torch.Tensor, dtype: torch.dtype) -> None:  # noqa: ANN401 - torch's
        """Keep the gradient by the first input, which has `dtype`, until it is given away."""
        ctx.gradient_BC, ctx.dtype = gradient_BC, dtype

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context has no type
        scale: torch.Tensor,
        _: None,
    ) -> tuple[torch.Tensor | None, ...]:
        """Return the gradient by the first input, and None for the others.

        Raises:
            RuntimeError: it was given away before; keep the loss of a batch to one backward pass.
        """
        gradient_BC: torch.Tensor | None = ctx.gradient_BC
        if gradient_BC is None:
            raise RuntimeError(
                "backward through this loss a second time: its gradient was made in the forward pass "
                "and given away. Call the loss again, or add the losses up and go backward once."
            )
        ctx.gradient_BC = None
        gradient_BC = gradient_BC if scale == 1 else gradient_BC.mul_(scale)
        return gradient_BC.to(ctx.dtype), *_none_for_others(ctx)


def _none_for_others(ctx: Any) -> tuple[None, ...]:  # noqa: ANN401 - torch's context has no type
    return (None,) * (len(ctx.needs_input_grad) - 1)
