"""model.int8.onnx: the graph with 8-bit weights and activations, and what that costs in accuracy.

Static quantisation: the ranges of activations are read off on training images, chosen by a seed. Weights
have a scale for each output channel, and 7 of the 8 bits: older processors add two products in 16 bits,
which would overflow (onnxruntime's `reduce_range`).

Shapes: B images, C classes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hypernym.hierarchy.levels import make_levels
from hypernym.metrics.accuracy import AccuracyCounter
from hypernym.progress import show_progress
from hypernym.publication.graph import GRAPH, call_graph, feed, open_session
from hypernym.publication.samples import load_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from hypernym.checkpoint import Card
    from hypernym.data.dataset import Dataset
    from hypernym.data.loader import Batch

QUANTISED = "model.int8.onnx"
NUM_CALIBRATED = 512
SEED = 0
LAYERS = ["Conv", "Gemm", "MatMul"]
"""Operators that are worth it; the decoding of a path has none of them."""


@dataclass(frozen=True)
class Loss:
    """What 8 bits cost, on the validation images. All shares are 0..1."""

    file: str
    size: int
    """Bytes."""

    float_size: int
    calibrated: int
    """Training images that the ranges are from."""

    images: int
    top1: float
    int8_top1: float
    semantic_top1: float
    int8_semantic_top1: float
    agreement: float
    """Share of the images for which both have their largest logit at the same class."""

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"{self.file} ({self.size / 1e6:,.1f} MB, of {self.float_size / 1e6:,.1f}): semantic top-1 "
            f"{_percent(self.int8_semantic_top1)} (float {_percent(self.semantic_top1)}), top-1 "
            f"{_percent(self.int8_top1)} (float {_percent(self.top1)}), the same class for "
            f"{_percent(self.agreement)} % of {self.images:,} validation images"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


class _Calibration:
    """Gives onnxruntime's calibration its batches."""

    def __init__(self, session: InferenceSession, batches: Iterator[Batch]) -> None:
        self._session = session
        self._batches = batches

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else feed(self._session, batch.images.numpy())


def write_quantised(folder: Path, metadata: dict[str, str], card: Card, dataset: Dataset) -> Loss:
    """Write the 8-bit form of the graph that lies in a folder, and measure both.

    Args:
        folder: With `GRAPH` in it.
        metadata: That both files carry; this one also what it costs.
        card: Of the model.
        dataset: With images of its classes: ranges are read off on its training split, the loss is
            measured on its validation split.

    Raises:
        DatasetError: one of the splits is empty.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    number = len(dataset.index("train"))
    chosen = np.random.default_rng(SEED).permutation(number)[:NUM_CALIBRATED]
    batches = load_rows(dataset, "train", np.sort(chosen), card.preprocessing)
    large = (folder / f"{GRAPH}.data").exists()
    prepared = folder / f"prepared.{GRAPH}"
    path = folder / QUANTISED
    quant_pre_process(folder / GRAPH, prepared, skip_symbolic_shape=True, save_as_external_data=large)
    quantize_static(
        prepared,
        path,
        _Calibration(open_session(prepared), batches),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=LAYERS,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        use_external_data_format=large,
    )
    for leftover in folder.glob(f"{prepared.name}*"):
        leftover.unlink()
    loss = _measure(folder, card, dataset, len(chosen))
    graph = onnx.load(path, load_external_data=False)
    onnx.helper.set_model_props(graph, metadata | {"int8": json.dumps(asdict(loss))})
    onnx.save(graph, path)
    return loss


def _measure(folder: Path, card: Card, dataset: Dataset, calibrated: int) -> Loss:
    calls = [call_graph(open_session(folder / name)) for name in (GRAPH, QUANTISED)]
    levels = make_levels(card.tree)
    counters = [AccuracyCounter(levels, torch.device("cpu")) for _ in calls]
    rows = np.arange(len(dataset.index("val")))
    same = 0
    with show_progress("measuring int8", len(rows), "images") as advance:
        for batch in load_rows(dataset, "val", rows, card.preprocessing):
            logits_BC = [call(batch.images)[0] for call in calls]
            for counter, logits in zip(counters, logits_BC, strict=True):
                counter.update(logits, batch.labels)
            largest_B = [logits[:, : card.tree.num_labels].argmax(dim=1) for logits in logits_BC]
            same += int((largest_B[0] == largest_B[1]).sum())
            advance(len(batch.labels))
    plain, quantised = (counter.compute() for counter in counters)
    return Loss(
        QUANTISED,
        _size(folder, QUANTISED),
        _size(folder, GRAPH),
        calibrated,
        len(rows),
        plain.top1,
        quantised.top1,
        plain.semantic_top1,
        quantised.semantic_top1,
        same / len(rows),
    )


def _size(folder: Path, name: str) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.name.startswith(name))
