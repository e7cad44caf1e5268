"""Compare the formats that `hypernym export` writes: what they answer, and how fast.

    python benchmarks/export.py EXPORTED [--batches 1 32] [--repeats 9] [--threads 1]

EXPORTED is a folder made by `hypernym export RUN EXPORTED --onnx --int8 --torch --dataset DATASET`, or
with some of these options. All formats are given the same random pixels, in turns; the ratios are to
`Predictor.run` of the same weights, medians over the turns.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch

from hypernym.prediction.predictor import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hypernym.prediction.predictor import Predictor

    Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

LEAST_SECONDS = 0.2
"""A turn calls a format for at least so long."""


def run_here(model: Predictor, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run the weights themselves."""
    logits: NDArray[np.float32] = model.run(torch.from_numpy(images)).logits.numpy()
    return logits


def run_graph(session: onnxruntime.InferenceSession, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run an ONNX file."""
    given: dict[str, NDArray[np.generic]] = {"images": images}
    if len(session.get_inputs()) > 1:
        given["threshold"] = np.array([0.5], np.float32)
    logits: NDArray[np.float32] = session.run(["logits"], given)[0]
    return logits


def run_program(
    program: torch.nn.Module, images: NDArray[np.uint8], *, takes_threshold: bool
) -> NDArray[np.float32]:
    """Run a program of torch.export."""
    with torch.inference_mode():
        given = torch.from_numpy(images)
        found = program(given, torch.tensor([0.5])) if takes_threshold else program(given)
    logits: NDArray[np.float32] = (found[0] if isinstance(found, tuple) else found).numpy()
    return logits


def open_formats(folder: Path, threads: int) -> dict[str, Run]:
    """Return all that lies in a folder, by the names of its files."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    formats: dict[str, Run] = {"model.safetensors": partial(run_here, load(folder))}
    for name in ("model.onnx", "model.int8.onnx"):
        if (folder / name).exists():
            session = onnxruntime.InferenceSession(folder / name, options)
            formats[name] = partial(run_graph, session)
    if (folder / "model.pt2").exists():
        exported = torch.export.load(folder / "model.pt2")
        takes_threshold = len(exported.graph_signature.user_inputs) > 1
        formats["model.pt2"] = partial(run_program, exported.module(), takes_threshold=takes_threshold)
    return formats


def time_once(run: Run, images: NDArray[np.uint8]) -> float:
    """Return the seconds of one call."""
    calls, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < LEAST_SECONDS:
        run(images)
        calls += 1
    return passed / calls


def main() -> None:
    """Print a row for each format and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    formats = open_formats(options.folder, options.threads)
    size = load(options.folder).card.preprocessing.size
    print("| format | images at a time | times as fast | apart (standard deviations of a logit) |")
    print("|---|---|---|---|")
    for batch in options.batches:
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (batch, 3, size, size), np.uint8)
        expected = formats["model.safetensors"](images)
        spent: dict[str, list[float]] = {name: [] for name in formats}
        for _ in range(options.repeats):
            for name, run in formats.items():
                spent[name].append(time_once(run, images))
        for name, run in formats.items():
            ratios = np.divide(spent["model.safetensors"], spent[name])
            apart = np.abs(run(images) - expected).max() / expected.std()
            print(f"| `{name}` | {batch} | {median(ratios):.2f} | {apart:.1e} |")


if __name__ == "__main__":
    main()
