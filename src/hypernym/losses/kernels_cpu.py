"""The losses on a CPU, image by image, from the softmax over all classes: compiled by numba.

A softmax over all classes, divided by its sum over the classes of a depth, is the softmax within that
depth: one exponential a class serves all depths. A row of 11,221 of them stays in the nearest caches of
a core from its first sum to its gradient. The images of a batch are shared out among as many threads as
torch takes; an image's numbers do not depend on how many there are.

The exponential has lost digits at a depth so far below the largest logit that its sum is smaller than
`SMALLEST_SHARE`. The loss of such an image is given as NaN, and the batch is to be taken the other way.
"""

from __future__ import annotations

import os
import threading
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from numba import njit, prange

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypernym.losses.depths import Depths, Reached

SMALLEST_SHARE = 1e-30
"""Below this a share that a float32 softmax gives may have lost digits."""

REORDERED = {"reassoc", "nsz", "contract"}
"""Sums may be taken in any order, so several classes at a time; NaN and infinity mean what they mean."""


in_machine_code: Callable[..., Any] = partial(njit, error_model="numpy")
"""Compile a function at its first call in a process, for the arrays it is given, in a second or two.

Nothing is kept on the disk, where processes that compile at the same time could spoil it for each other.
"""

_one_at_a_time = threading.Lock()
"""numba's own threads, which it takes where it finds no OpenMP, cannot serve two callers."""


@in_machine_code(parallel=True)
def _semantic_softmax(
    p_BC,
    x_BC,
    loss_B,
    largest_B,
    log_sum_B,
    places_KL,
    shares_KL,
    shares_BL,
    offsets_B,
    weights_L,
    smoothing,
    by_depth_C,
    starts_L,
):
    for image in prange(len(p_BC)):
        p_C, x_C = p_BC[image], x_BC[image]
        weights_of_L = weights_L * shares_BL[image]
        largest, log_sum = largest_B[image], log_sum_B[image]
        given = (weights_of_L, smoothing, by_depth_C, starts_L)
        loss = _weigh_depths(p_C, x_C, largest, log_sum, *given)
        for k in range(offsets_B[image], offsets_B[image + 1]):
            for depth in range(len(weights_L)):
                hit = (1 - smoothing) * weights_L[depth] * shares_KL[k, depth]
                if hit:
                    loss -= hit * (x_C[places_KL[k, depth]] - largest)
                    p_C[places_KL[k, depth]] -= hit
        loss_B[image] = loss


@in_machine_code()
def _weigh_depths(p_C, x_C, largest, log_sum, weights_L, smoothing, by_depth_C, starts_L):
    """Turn the softmax into the gradient but for the labels' own classes, and return that loss.

    Logits are taken from the largest, and `log_sum` is of them: else digits would be lost with it.
    """
    zero = p_C.dtype.type(0)
    loss = zero * log_sum  # NaN where the logits are, whatever the weights
    for depth in range(len(weights_L)):
        classes_N = by_depth_C[starts_L[depth] : starts_L[depth + 1]]
        weight = weights_L[depth]
        if not weight:  # the image does not reach so deep
            for n in range(len(classes_N)):
                p_C[classes_N[n]] = 0
            continue
        p_sum = _sum_at(p_C, classes_N, zero)
        if not p_sum >= SMALLEST_SHARE:
            return loss + np.nan
        loss += weight * (log_sum + np.log(p_sum))
        factor = weight / p_sum
        even = smoothing * weight / p_C.dtype.type(len(classes_N))
        for n in range(len(classes_N)):
            p_C[classes_N[n]] = p_C[classes_N[n]] * factor - even
        if even:
            loss -= even * _sum_at(x_C, classes_N, largest)
    return loss


@in_machine_code(parallel=True)
def _distillation(
    s_BC, t_BC, loss_B, shares_BL, num_images, num_trusted_L, bits_like, by_depth_C, starts_L
):
    for image in prange(len(s_BC)):
        # Class by class in the order of the depths: each depth is then one piece.
        given_s_C, given_t_C = s_BC[image], t_BC[image]
        s_C, t_C = np.empty_like(given_s_C), np.empty_like(given_t_C)
        bound_1 = np.empty(1, s_C.dtype)
        bound_bits_1 = bound_1.view(bits_like.dtype)
        one = s_C.dtype.type(1)
        loss = one - one
        for depth in range(len(starts_L) - 1):
            start, end = starts_L[depth], starts_L[depth + 1]
            classes_N, s_N, t_N = by_depth_C[start:end], s_C[start:end], t_C[start:end]
            s_sum = _gather_into(s_N, given_s_C, classes_N)
            t_sum = _gather_into(t_N, given_t_C, classes_N)
            if not (s_sum >= SMALLEST_SHARE and t_sum >= SMALLEST_SHARE):
                loss = one * np.nan
                break
            trust = share = shares_BL[image, depth]
            if share < one:
                bound_1[0] = t_sum  # no class has more
                top = _sum_largest(t_N, num_trusted_L[depth], bound_1, bound_bits_1) / t_sum
                trust = share + (one - share) * top
            if not trust > 0:  # by which the sums of a depth are divided
                loss = one * np.nan
                break
            factor = np.sqrt(2 * trust / num_images)
            squares, inner = _subtract(s_N, t_N, factor / s_sum, factor / t_sum)
            loss += squares / 2
            inner /= factor
            for n in range(end - start):
                given_s_C[classes_N[n]] = s_N[n] * (t_N[n] - inner)
        loss_B[image] = loss


@in_machine_code()
def _sum_at(values_C, places_N, base):
    """Sum values at some places, less a base, in four sums that do not wait for one another."""
    a = b = c = d = values_C.dtype.type(0)
    whole = len(places_N) & ~3
    for n in range(0, whole, 4):
        a += values_C[places_N[n]] - base
        b += values_C[places_N[n + 1]] - base
        c += values_C[places_N[n + 2]] - base
        d += values_C[places_N[n + 3]] - base
    for n in range(whole, len(places_N)):
        a += values_C[places_N[n]] - base
    return (a + b) + (c + d)


@in_machine_code()
def _gather_into(out_N, values_C, places_N):
    """Write the values at some places one after another, and return their sum."""
    a = b = c = d = values_C.dtype.type(0)
    whole = len(places_N) & ~3
    for n in range(0, whole, 4):
        out_N[n] = values_C[places_N[n]]
        out_N[n + 1] = values_C[places_N[n + 1]]
        out_N[n + 2] = values_C[places_N[n + 2]]
        out_N[n + 3] = values_C[places_N[n + 3]]
        a += out_N[n]
        b += out_N[n + 1]
        c += out_N[n + 2]
        d += out_N[n + 3]
    for n in range(whole, len(places_N)):
        out_N[n] = values_C[places_N[n]]
        a += out_N[n]
    return (a + b) + (c + d)


@in_machine_code(fastmath=REORDERED)
def _sum_largest(values_N, count, bound_1, bound_bits_1):
    """Sum the `count` largest of values that are not negative.

    Such floats stand in the order of their bits: from `bound_1`, which no value is above, and whose
    bits `bound_bits_1` are, the bound that has just `count` values at or above it is searched by halves.
    A look at all values takes many at a time: a dozen of looks costs less than putting them in order.
    """
    one, zero = values_N.dtype.type(1), values_N.dtype.type(0)
    count = values_N.dtype.type(count)
    num = values_N.dtype.type(len(values_N))
    low, high = np.int64(0), np.int64(bound_bits_1[0]) + 1
    while num != count and high - low > 1:
        middle = (low + high) // 2
        bound_bits_1[0] = middle
        bound = bound_1[0]
        found = zero
        for n in range(len(values_N)):
            found += one if values_N[n] >= bound else zero
        if found >= count:
            low, num = middle, found
        else:
            high = middle
    bound_bits_1[0] = low
    bound = bound_1[0]
    total = zero
    for n in range(len(values_N)):
        total += values_N[n] if values_N[n] >= bound else zero
    return total - (num - count) * bound  # where several equal the bound, too many were taken


@in_machine_code(fastmath=REORDERED)
def _subtract(s_N, t_N, s_factor, t_factor):
    """Scale s and t, write s and r = s - t in their places, and return the sums of r r and s r."""
    squares = inner = s_N.dtype.type(0)
    for n in range(len(s_N)):
        s = s_N[n] * s_factor
        r = s - t_N[n] * t_factor
        s_N[n], t_N[n] = s, r
        squares += r * r
        inner += s * r
    return squares, inner


@cache
def _process_of_threads() -> int:
    return os.getpid()


def can_run_here() -> bool:
    """Say whether the loops can run: not in the fork of a process that has, whose threads it lacks."""
    return _process_of_threads() == os.getpid()


def semantic_softmax_into(
    p_BC: torch.Tensor,
    x_BC: torch.Tensor,
    loss_B: torch.Tensor,
    reached: Reached,
    weights_L: torch.Tensor,
    smoothing: float,
    depths: Depths,
) -> None:
    """Turn the softmax of some images into the gradient of semantic softmax, and write their losses.

    Args:
        p_BC: The softmax over all classes, of which the gradient takes the place.
        x_BC: The logits.
        loss_B: Where the losses are written; NaN of an image whose softmax has lost digits.
        reached: What the targets of these images reach.
        weights_L: Of each depth.
        smoothing: Share of a target that is spread over its depth.
        depths: The depths of the tree.
    """
    largest_B = x_BC.amax(dim=1)
    # Of the differences to it, the log of the sum of all exponentials is - log p there.
    log_sum_B = p_BC.amax(dim=1).log().neg()
    targets = (reached.places_KL, reached.shares_KL, reached.shares_BL, reached.offsets_B)
    given = (p_BC, x_BC, loss_B, largest_B, log_sum_B, *targets, weights_L)
    arrays = [array.numpy() for array in given]
    with _one_at_a_time:
        _use_threads_of_torch()
        _semantic_softmax(*arrays, arrays[0].dtype.type(smoothing), *_layout_of(depths))


def distillation_into(
    s_BC: torch.Tensor,
    t_BC: torch.Tensor,
    loss_B: torch.Tensor,
    shares_BL: torch.Tensor,
    num_images: int,
    num_trusted_L: list[int],
    depths: Depths,
) -> None:
    """Turn the softmax of some images into the gradient of distillation, and write their losses.

    Args:
        s_BC: The student's softmax over all classes, of which the gradient takes the place.
        t_BC: The teacher's.
        loss_B: Where the losses are written; NaN of an image whose softmax has lost digits.
        shares_BL: How far a target reaches each depth, 0 to 1.
        num_images: Of the batch, over which the mean is taken.
        num_trusted_L: How many classes of each depth are the teacher's top ones.
        depths: The depths of the tree.
    """
    s, t, loss, shares = (array.numpy() for array in (s_BC, t_BC, loss_B, shares_BL))
    bits_like = np.empty(0, f"i{s.itemsize}")
    given = (s.dtype.type(num_images), np.array(num_trusted_L), bits_like)
    with _one_at_a_time:
        _use_threads_of_torch()
        _distillation(s, t, loss, shares, *given, *_layout_of(depths))


def _layout_of(depths: Depths) -> tuple[np.ndarray, np.ndarray]:
    # Without a sign: a place that may be negative is looked at twice.
    return depths.by_depth_C.numpy().astype(np.uint32), np.array(depths.starts)


def _use_threads_of_torch() -> None:
    num_threads = torch.get_num_threads()
    numba.set_num_threads(min(num_threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    # Both may share one runtime, whose threads numba sets when it begins.
    if torch.get_num_threads() != num_threads:
        torch.set_num_threads(num_threads)
