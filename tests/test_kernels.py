"""The kernels of a GPU: run by triton's interpreter, and compiled for GPUs that need not be here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

triton = pytest.importorskip("triton", reason="triton comes with torch where a GPU can be")


def test_the_interpreted_kernels_equal_the_other_way() -> None:
    file = Path(__file__).with_name("interpreted_kernels.py")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize("capability", [80, 90])
def test_the_kernel_compiles_for_gpus(capability: int) -> None:
    from triton.backends.compiler import GPUTarget

    from hypernym.losses import kernels_gpu

    arrays = {
        "logits_BC": "*bf16",
        "gradient_BC": "*bf16",
        "loss_B": "*fp32",
        "labels_B": "*i64",
        "ancestors_CL": "*i64",
        "depth_C": "*i64",
        "weights_L": "*fp32",
    }
    numbers = {"smoothing": "fp32", "num_images": "i32", "num_classes": "i32", "num_depths": "i32"}
    fixed = {"BLOCK": kernels_gpu.BLOCK, "DEPTHS": 16}
    signature = {**arrays, **numbers, **dict.fromkeys(fixed, "constexpr")}
    source = triton.compiler.ASTSource(kernels_gpu._semantic_softmax, signature, fixed)
    target = GPUTarget("cuda", capability, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": kernels_gpu.WARPS})
    assert compiled.asm["cubin"]
