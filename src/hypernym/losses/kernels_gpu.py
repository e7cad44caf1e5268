"""Semantic softmax on a GPU in one kernel: a program for each image, value and gradient together.

Of the memory of the GPU the logits are read once, and twice more from its cache, and the gradient is
written once: less than a cross-entropy and its backward pass take. No sum of a depth leaves the program.
"""

from __future__ import annotations

import subprocess
from functools import cache
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from triton.errors import TritonError

from hypernym.progress import say

if TYPE_CHECKING:
    from hypernym.losses.depths import Depths

BLOCK = 256
"""Classes that a program takes at a time, one to a thread."""

WARPS = BLOCK // 32

MOST_DEPTHS = 32
"""A program holds a place for each of its classes at each depth."""

LOWEST: tl.constexpr = tl.constexpr(-1e38)
"""Below every logit that a model gives, and finite: differences to it are."""


@triton.jit
def _semantic_softmax(
    logits_BC,
    gradient_BC,
    loss_B,
    labels_B,
    ancestors_CL,
    depth_C,
    weights_L,
    smoothing,
    num_images,
    num_classes,
    num_depths,
    BLOCK: tl.constexpr,
    DEPTHS: tl.constexpr,
) -> None:
    image = tl.program_id(0).to(tl.int64)
    logits_C = logits_BC + image * num_classes
    depths_L = tl.arange(0, DEPTHS)
    is_depth_L = depths_L < num_depths
    label = tl.load(labels_B + image)
    places_L = tl.load(ancestors_CL + label * num_depths + depths_L, mask=is_depth_L, other=-1)
    x_L = tl.load(logits_C + places_L, mask=places_L >= 0, other=-float("inf")).to(tl.float32)
    weights_of_L = tl.load(weights_L + depths_L, mask=is_depth_L, other=0.0).to(tl.float32)
    # 0 where there is no target
    weights_of_L = tl.where(x_L != -float("inf"), weights_of_L / num_images, 0.0)

    # The largest logit, and sums, of each depth; a class without a finite logit is in none of them.
    # What is gathered stays where it was made, class by class, and is put together once at the end.
    largest_NL = tl.full([BLOCK, DEPTHS], LOWEST, tl.float32)
    for start in range(0, num_classes, BLOCK):
        x_N, _, is_in_NL = _take(logits_C, depth_C, depths_L, start, num_classes, BLOCK)
        largest_NL = tl.maximum(largest_NL, tl.where(is_in_NL, x_N[:, None], LOWEST))
    largest_L = tl.max(largest_NL, axis=0)

    exp_NL = tl.zeros([BLOCK, DEPTHS], tl.float32)
    sum_NL = tl.zeros([BLOCK, DEPTHS], tl.float32)
    count_NL = tl.zeros([BLOCK, DEPTHS], tl.float32)
    for start in range(0, num_classes, BLOCK):
        x_N, _, is_in_NL = _take(logits_C, depth_C, depths_L, start, num_classes, BLOCK)
        largest_N = tl.sum(tl.where(is_in_NL, largest_L[None, :], 0.0), axis=1)
        e_N = tl.exp(x_N - largest_N)
        exp_NL += tl.where(is_in_NL, e_N[:, None], 0.0)
        sum_NL += tl.where(is_in_NL, x_N[:, None], 0.0)
        count_NL += is_in_NL.to(tl.float32)
    exp_L = tl.sum(exp_NL, axis=0)
    sum_L = tl.sum(sum_NL, axis=0)
    count_L = tl.sum(count_NL, axis=0)

    log_sum_L = largest_L + tl.log(tl.where(exp_L == 0.0, 1.0, exp_L))
    even_L = smoothing * weights_of_L / tl.maximum(count_L, 1.0)
    hits_L = (1 - smoothing) * weights_of_L
    target_L = tl.where(x_L == -float("inf"), 0.0, x_L)
    loss_L = weights_of_L * log_sum_L - hits_L * target_L - even_L * sum_L
    tl.store(loss_B + image, tl.sum(loss_L, axis=0))

    for start in range(0, num_classes, BLOCK):
        x_N, classes_N, is_in_NL = _take(logits_C, depth_C, depths_L, start, num_classes, BLOCK)
        is_hit_NL = is_in_NL & (classes_N[:, None] == places_L[None, :])
        log_sum_N = tl.sum(tl.where(is_in_NL, log_sum_L[None, :], 0.0), axis=1)
        weight_N = tl.sum(tl.where(is_in_NL, weights_of_L[None, :], 0.0), axis=1)
        share_N = tl.sum(tl.where(is_in_NL, even_L[None, :], 0.0), axis=1)
        share_N += tl.sum(tl.where(is_hit_NL, hits_L[None, :], 0.0), axis=1)
        gradient_N = weight_N * tl.exp(x_N - log_sum_N) - share_N
        into = gradient_BC + image * num_classes + classes_N
        tl.store(into, gradient_N.to(gradient_BC.dtype.element_ty), mask=classes_N < num_classes)


@triton.jit
def _take(
    logits_C,
    depth_C,
    depths_L,
    start,
    num_classes,
    BLOCK: tl.constexpr,
):
    """Return the logits of some classes, the classes, and which of them stand at which depth."""
    classes_N = start + tl.arange(0, BLOCK)
    is_class_N = classes_N < num_classes
    x_N = tl.load(logits_C + classes_N, mask=is_class_N, other=-float("inf")).to(tl.float32)
    depth_N = tl.load(depth_C + classes_N, mask=is_class_N, other=0)
    is_in_NL = (depth_N[:, None] == depths_L[None, :]) & (x_N != -float("inf"))[:, None]
    return x_N, classes_N, is_in_NL


@cache
def can_run_on(device: torch.device) -> bool:
    """Try the kernel once, and say so where it cannot be made.

    Beside a GPU that it knows, triton needs a C compiler, Python's headers and a folder to write to.
    """
    x_11 = torch.zeros(1, 1, device=device)
    none_11 = torch.zeros(1, 1, dtype=torch.int64, device=device)
    try:
        _launch(x_11, x_11.clone(), none_11[0], none_11, none_11[0], x_11[0], 0.0)
    except torch.OutOfMemoryError:
        raise
    except (TritonError, RuntimeError, OSError, subprocess.SubprocessError) as cause:
        say(f"Semantic softmax goes without its kernel, slower: triton cannot make it here ({cause}).")
        return False
    return True


def semantic_softmax_into(
    gradient_BC: torch.Tensor,
    logits_BC: torch.Tensor,
    labels_B: torch.Tensor,
    depths: Depths,
    weights_L: torch.Tensor,
    smoothing: float,
) -> torch.Tensor:
    """Write the gradient of semantic softmax, and return its value; all on one device.

    Logits and gradient are contiguous, of float32, bfloat16 or float16; all sums are float32.
    """
    arrays = (labels_B.contiguous(), depths.ancestors_CL, depths.depth_C, weights_L)
    return _launch(logits_BC, gradient_BC, *arrays, smoothing)


def _launch(
    logits_BC: torch.Tensor,
    gradient_BC: torch.Tensor,
    labels_B: torch.Tensor,
    ancestors_CL: torch.Tensor,
    depth_C: torch.Tensor,
    weights_L: torch.Tensor,
    smoothing: float,
) -> torch.Tensor:
    num_images, num_classes = logits_BC.shape
    num_depths = len(weights_L)
    loss_B = torch.empty(num_images, device=logits_BC.device)
    arrays = (logits_BC, gradient_BC, loss_B, labels_B, ancestors_CL, depth_C, weights_L)
    sizes = {"BLOCK": BLOCK, "DEPTHS": triton.next_power_of_2(num_depths), "num_warps": WARPS}
    with torch.cuda.device_of(logits_BC):  # type: ignore[no-untyped-call]
        _semantic_softmax[(num_images,)](
            *arrays, smoothing, num_images, num_classes, num_depths, **sizes
        )
    return loss_B.sum()
