"""What a teacher says of each training picture, seen whole, kept on disk: it is asked once a picture.

Shapes: B images, C classes of the student, N images of a split.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from hypernym.data.classes import digest_classes
from hypernym.distributed import ALONE, add_up, agree, gather
from hypernym.errors import MismatchError, OutputError, RunError
from hypernym.files import make_folder, read_json, sync_folder, write_json
from hypernym.inference import autocast
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hypernym.data.loader import Batch
    from hypernym.distributed import World
    from hypernym.hierarchy.tree import Tree
    from hypernym.training.stopping import StopRequest
    from hypernym.training.teacher import Teacher

CACHE_VERSION = 1
CACHE_CARD, CACHE_LOGITS = "teacher.json", "logits.npy"

GIB = 2**30


class CachedTeacher(nn.Module):
    """What a teacher said of each picture of a split, by row; it looks at no image."""

    known_C: torch.Tensor | None

    def __init__(
        self, logits_NC: np.memmap[tuple[int, int], np.dtype[np.float16]], teacher: Teacher
    ) -> None:
        super().__init__()
        self._logits_NC = logits_NC
        self.register_buffer("known_C", teacher.known_C, persistent=False)

    def forward(self, images: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits (B, C), float32, on the device of the images."""
        if rows is None:
            raise ValueError("a cached teacher is asked by rows of the index")
        logits_BC = torch.from_numpy(self._logits_NC[rows.cpu().numpy()])
        return logits_BC.to(images.device, non_blocking=True).float()


class TeacherCache:
    """The folder of what a teacher says of each picture of a split, seen whole.

    logits.npy      float16 (N, C), rows in the order of the index, in NumPy's format
    teacher.json    what it belongs to; written last, so that it says that the logits are whole
    """

    def __init__(
        self, folder: Path, teacher: Teacher, tree: Tree, dataset_digest: str, num_images: int
    ) -> None:
        self.folder = folder
        self._teacher = teacher
        self._shape = (num_images, len(tree.ids))
        self._card: dict[str, object] = {
            "dataset_digest": dataset_digest,
            "teacher": teacher.report.name,
            "teacher_digest": teacher.digest(),
            "classes_digest": digest_classes(tree.ids),
            "images": num_images,
            "classes": len(tree.ids),
            "size": teacher.view.size,
        }

    @property
    def num_bytes(self) -> int:
        """How much room the logits take."""
        return 2 * self._shape[0] * self._shape[1]

    def __str__(self) -> str:
        """Return one sentence for the log."""
        images, classes = self._shape
        size = f"{self.num_bytes / GIB:.2f} GiB" if self.num_bytes > GIB / 100 else "under 0.01 GiB"
        return (
            f"{self.folder} keeps what {self._teacher.report.name} says of {images:,} pictures in "
            f"{classes:,} classes: {size}."
        )

    def is_filled(self) -> bool:
        """Tell whether the cache is there and whole.

        Raises:
            MismatchError: what is there belongs to something else.
            RunError: it is damaged.
        """
        path = self.folder / CACHE_CARD
        if not path.exists():
            return False
        found = read_json(path, "teacher", CACHE_VERSION, RunError)
        differs = [
            key for key, value in self._card.items() if key != "teacher" and found.get(key) != value
        ]
        if differs:
            key = differs[0]
            raise MismatchError(
                f"{self.folder} keeps what {found.get('teacher')} said for another run: its {key} is "
                f"{_short(found.get(key))}, and here it is {_short(self._card[key])}. Give another "
                f"folder to --distill.cache, or remove this one."
            )
        return True

    def check_room(self) -> None:
        """Check that the disk has room for the logits, whether its folder is there yet or not.

        Raises:
            OutputError: it has not.
        """
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free < self.num_bytes:
            raise OutputError(
                f"{self} There are {free / GIB:.2f} GiB left: make room, or give another folder to "
                f"--distill.cache."
            )

    def fill(
        self,
        batches: Iterable[Batch],
        device: torch.device,
        world: World = ALONE,
        precision: torch.dtype = torch.float32,
        asked: StopRequest | None = None,
    ) -> None:
        """Ask the teacher once of each picture, and write the card when all is written.

        Args:
            batches: This process's share of the split, in any order, by the teacher's `view`.
            device: Where the teacher is.
            world: The processes that share the work; each writes its own rows.
            precision: Of the teacher's forward pass.
            asked: Whether a signal asks to stop: looked at before each batch.

        Raises:
            StoppedError: a signal asked to stop; the next fill begins anew.
            OutputError: the disk has too little room.
            RunError: the batches do not hold each row once.
            MismatchError: what is there belongs to something else.
        """
        path = self.folder / CACHE_LOGITS
        agree(world, self._make_room)
        logits_NC = np.lib.format.open_memmap(path, mode="r+")
        times_N = torch.zeros(len(logits_NC), dtype=torch.int64, device=device)
        largest = torch.finfo(torch.float16).max
        with show_progress("asking the teacher", len(logits_NC), "images") as advance:
            for batch in batches:
                if asked is not None and asked.signal is not None:
                    break
                with autocast(device, precision):
                    logits_BC = self._teacher(batch.images.to(device, non_blocking=True))
                rows = batch.rows.numpy()
                logits_NC[rows] = logits_BC.float().clamp(-largest, largest).half().cpu().numpy()
                times_N.index_add_(0, batch.rows.to(device), torch.ones_like(batch.rows, device=device))
                advance(len(rows) * world.size)
        logits_NC.flush()
        times_N = add_up(world, times_N)
        was_cut = asked is not None and any(gather(world, asked.signal is not None))
        if asked is not None and was_cut and (times_N == 0).any():
            asked.leave(self.folder, "is not filled: give the same command again, which fills it anew")
        wrong = int((times_N != 1).sum())
        if wrong:
            raise RunError(
                f"{wrong} of {len(times_N)} pictures were not shown to the teacher once: the cache must "
                f"be filled from the whole training split."
            )
        agree(world, self._finish)

    def _make_room(self) -> None:
        if self.is_filled():
            (self.folder / CACHE_CARD).unlink()  # or a fill that is cut short would leave it behind
        make_folder(self.folder)
        path = self.folder / CACHE_LOGITS
        path.unlink(missing_ok=True)  # of a fill that was cut short
        self.check_room()
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=self._shape)

    def _finish(self) -> None:
        with (self.folder / CACHE_LOGITS).open("rb") as stream:
            os.fsync(stream.fileno())
        sync_folder(self.folder)
        write_json(self.folder / CACHE_CARD, "teacher", CACHE_VERSION, **self._card)

    def open(self) -> CachedTeacher:
        """Return the filled cache as a teacher.

        Raises:
            MismatchError: it belongs to something else.
            RunError: it is not filled, or damaged.
        """
        path = self.folder / CACHE_LOGITS
        if not self.is_filled():
            raise RunError(f"{self.folder} is not filled: its {CACHE_CARD} is missing.")
        try:
            logits_NC = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError) as cause:
            raise RunError(f"{path} cannot be read ({cause}): remove {self.folder}.") from cause
        if logits_NC.shape != self._shape or logits_NC.dtype != np.float16:
            raise RunError(
                f"{path} holds {logits_NC.dtype} {logits_NC.shape} instead of float16 {self._shape}: "
                f"remove {self.folder}."
            )
        return CachedTeacher(logits_NC, self._teacher)


def _short(value: object) -> str:
    return value[:8] if isinstance(value, str) else str(value)
