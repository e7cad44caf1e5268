"""model.onnx: the model as an ONNX graph, checked in onnxruntime."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hypernym.errors import UsageError
from hypernym.inference import THRESHOLD
from hypernym.publication.agreement import Agreement, check_agreement
from hypernym.publication.network import CUT, IMAGES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from hypernym.publication.agreement import Call
    from hypernym.publication.network import Traced

GRAPH = "model.onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_packages() -> None:
    """Check that what writes and runs ONNX is there.

    Raises:
        UsageError: a package is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--onnx and --int8 need {', '.join(missing)}, not installed here: "
            "pip install 'hypernym[onnx]'."
        )


def write_graph(folder: Path, traced: Traced, images: torch.Tensor) -> Agreement:
    """Write a traced model as ONNX; weights beyond 2 GB lie in a file beside it.

    Raises:
        RunError: onnxruntime does not give what the model gives.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    made = torch.onnx.export(
        traced.program,
        dynamo=True,
        input_names=traced.inputs,
        output_names=traced.outputs,
        verbose=False,
    )
    assert made is not None  # noqa: S101 - of a program it returns one
    ClearMetadataAndDocStringPass()(made.model)  # they name folders of this machine
    made.model.metadata_props.update(traced.metadata)
    made.model.producer_name, made.model.producer_version = "hypernym", None
    path = folder / GRAPH
    made.save(path)
    return check_agreement(path, traced, call_graph(open_session(path)), images)


def open_session(path: Path) -> InferenceSession:
    """Open an ONNX file on the CPU, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors: it warns of its own optimisations
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def call_graph(session: InferenceSession) -> Call:
    """Return what runs a session on tensors."""

    def call(images: torch.Tensor) -> list[torch.Tensor]:
        found: list[Any] = session.run(None, feed(session, images.numpy()))
        return [torch.from_numpy(array) for array in found]

    return call


def feed(session: InferenceSession, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Return the inputs of a session for images (N, 3, S, S); a path is cut where it is by default."""
    threshold = np.array([THRESHOLD], np.float32)
    given: dict[str, NDArray[Any]] = {IMAGES: images, CUT: threshold}
    return {value.name: given[value.name] for value in session.get_inputs()}
