"""Features: what the last layer of a model is given of each picture, kept on disk.

    FOLDER/SPLIT-DIGEST.npy    float32 (images, features), in the order of the split's index

The digest is of the model, its weights, the view and the dataset: features of another model are never
taken for these, and transfers of one model may share a folder. A file appears whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from hypernym.data.rows import SplitRows
from hypernym.distributed import ALONE
from hypernym.files import make_folder, open_whole
from hypernym.progress import show_progress
from hypernym.training.feeding import feed_measuring
from hypernym.training.weights import config_of, head_names

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from hypernym.data.dataset import Dataset
    from hypernym.data.transforms import Preprocessing
    from hypernym.downstream.protocol import Part
    from hypernym.models import Classifier

DIGITS = 16


class Features:
    """The features of a dataset by a model."""

    def __init__(
        self,
        folder: Path,
        classifier: Classifier,
        view: Preprocessing,
        dataset: Dataset,
        device: torch.device,
        workers: int | None,
    ) -> None:
        self._folder, self._dataset = folder, dataset
        # pixel by pixel: up to twice as fast, on a CPU too
        self._classifier = classifier.to(device).to(memory_format=torch.channels_last).eval()
        self._view, self._device, self._workers = view, device, workers
        self._digest = _digest(classifier, view, dataset.card["digest"])

    def of(self, *parts: Part) -> torch.Tensor:
        """Return the features of some parts, one after another, float32 (N, D) on the device.

        Raises:
            DatasetError: an image is not what was written.
        """
        pieces = [torch.from_numpy(self._split(part.split)[part.rows_N]) for part in parts]
        return (torch.cat(pieces) if len(pieces) > 1 else pieces[0]).to(self._device)

    def _split(self, split: str) -> NDArray[np.float32]:
        path = self._folder / f"{split}-{self._digest[:DIGITS]}.npy"
        if not path.exists():
            self._write(path, split)
        found: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        return found

    @torch.no_grad()
    def _write(self, path: Path, split: str) -> None:
        rows = SplitRows(self._dataset, split)
        make_folder(self._folder)
        batches = feed_measuring(rows, self._view, self._workers, self._device, ALONE)
        with (
            show_progress(f"features of {split}", len(rows), "images") as advance,
            open_whole(path) as stream,
        ):
            for number, batch in enumerate(batches):
                images = batch.images.to(self._device, non_blocking=True)
                images = images.contiguous(memory_format=torch.channels_last)
                features_BD = self._classifier.embed(images)
                if number == 0:
                    shape = (len(rows), features_BD.shape[1])
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_2_0(stream, header)
                stream.write(features_BD.float().cpu().numpy().tobytes())
                advance(len(batch.labels))


def _digest(classifier: Classifier, view: Preprocessing, dataset_digest: str) -> str:
    """Return the SHA-256 of all that decides a feature, but for the arithmetic of a device."""
    backbone = classifier.backbone
    architecture = config_of(backbone)["architecture"]  # weights alone do not tell how they are used
    digest = hashlib.sha256(f"{architecture} {asdict(view)} {dataset_digest}".encode())
    heads = tuple(head_names(backbone))
    for name, tensor in backbone.state_dict().items():
        if not name.startswith(heads):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).cpu().numpy().tobytes())
    return digest.hexdigest()
