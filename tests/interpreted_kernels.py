"""The kernels of a GPU by triton's interpreter, in Python on the CPU; `test_kernels.py` runs this file.

A process interprets what it imports of triton, or does not: hence a process of its own.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import forests

from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.tree import ROOT, Tree
from hypernym.losses import kernels_gpu, semantic
from hypernym.losses.semantic import SemanticSoftmaxLoss


def compare(loss: SemanticSoftmaxLoss, logits: torch.Tensor, labels: torch.Tensor) -> None:
    given = (labels, loss.depths, loss.weights_L, loss.label_smoothing)
    ours, others = (logits.detach().requires_grad_() for _ in range(2))
    value = semantic._InOneKernel.apply(ours, *given)
    expected = semantic._DepthByDepth.apply(others, *given, None)
    torch.autograd.backward([3 * value, 3 * expected])
    assert ours.grad is not None
    assert ours.grad.dtype == logits.dtype
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    rtol, atol = (1e-4, 1e-6) if logits.dtype == torch.float32 else (1e-2, 1e-4)
    torch.testing.assert_close(ours.grad, others.grad, rtol=rtol, atol=atol, equal_nan=True)


def draw_batch(num_images: int, num_classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(num_images, num_classes, generator=generator)
    return logits, torch.randint(num_classes, (num_images,), generator=generator)


@settings(max_examples=8)
@given(forests(), st.integers(0, 2**31), st.sampled_from([0.0, 0.2]), st.sampled_from([20.0, 1.0]))
def test_the_kernel_equals_the_depths_one_by_one(
    tree: Tree, seed: int, smoothing: float, max_weight: float
) -> None:
    levels = make_levels(tree)
    weights = levels.weights_L(max_weight, use_deepest=levels.num_depths == 1).tolist()
    compare(SemanticSoftmaxLoss(levels, weights, smoothing), *draw_batch(3, levels.num_classes, seed))


MANY = Tree(
    tuple(f"c{n:03}" for n in range(600)),
    (*(ROOT,) * 10, *(n % 10 for n in range(290)), *range(10, 300), *(ROOT,) * 10),
    "drawn",
    "none",
)
"""More classes than a program takes at a time."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_kernel_takes_many_classes_of_any_precision(dtype: torch.dtype) -> None:
    levels = make_levels(MANY)
    loss = SemanticSoftmaxLoss(levels, levels.weights_L().tolist(), 0.1)
    logits, labels = draw_batch(4, levels.num_classes, 1)
    compare(loss, logits.to(dtype), labels)
    compare(loss, logits.to(dtype).T.contiguous().T, labels)


@pytest.mark.parametrize("odd", [-torch.inf, torch.nan, 1e4, -1e4, 3e38])
def test_the_kernel_treats_odd_logits_as_the_other_way_does(odd: float) -> None:
    levels = make_levels(MANY)
    loss = SemanticSoftmaxLoss(levels, levels.weights_L().tolist(), 0.1)
    logits, _ = draw_batch(4, levels.num_classes, 2)
    labels = torch.tensor([300, 301, 5, 599])
    logits[:, [11, 595]] = odd  # 11 is an ancestor of 301
    compare(loss, logits, labels)


def test_a_machine_that_makes_no_kernels_is_told_so_and_goes_the_other_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernels_gpu.can_run_on.cache_clear()
    assert kernels_gpu.can_run_on(torch.device("cpu"))

    def fail(*_: object) -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(kernels_gpu, "_launch", fail)
    kernels_gpu.can_run_on.cache_clear()
    assert not kernels_gpu.can_run_on(torch.device("cpu"))
    assert "goes without its kernel, slower: triton cannot make it here (Failed to" in (
        capsys.readouterr().err
    )
