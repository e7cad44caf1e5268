"""Which checkpoints a run keeps.

    checkpoints/last              the newest: a run resumes from here
    checkpoints/last-00001200     earlier ones, where `--save.keep-last` is more than 1
    checkpoints/best              the best so far
    checkpoints/best-00000900     the best before that, where `--save.keep-best` is more than 1

The number is that of steps done. An older one is made of hard links before the newest is replaced, so
that at every moment each name stands for a whole checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING

from hypernym.checkpoint import CONFIG
from hypernym.files import recover_folder, replace_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hypernym.training.options import SaveOptions


class Calendar:
    """When the next checkpoint is due, beside after the last step."""

    def __init__(self, options: SaveOptions, steps_per_epoch: int) -> None:
        self._options = options
        self._steps_per_epoch = steps_per_epoch
        self._saved = time.monotonic()

    def is_due(self, steps_done: int) -> bool:
        """Tell whether this step is one to save after."""
        epochs, rest = divmod(steps_done, self._steps_per_epoch)
        every_epochs, every_steps = self._options.epochs, self._options.steps
        return bool(
            (every_epochs and rest == 0 and epochs % every_epochs == 0)
            or (every_steps and steps_done % every_steps == 0)
        )

    def is_late(self) -> bool:
        """Tell whether the minutes between two checkpoints have passed, by this process's clock."""
        minutes = self._options.minutes
        return bool(minutes) and time.monotonic() - self._saved > 60 * minutes

    def note_saved(self) -> None:
        """Start to count the minutes anew."""
        self._saved = time.monotonic()


def save_kept(folder: Path, step: int, keep: int, save: Callable[[Path], None]) -> None:
    """Save into `folder`; keep `keep` checkpoints in all, this one and those before it.

    Args:
        folder: `last` or `best`.
        step: Steps done.
        keep: 1 or more.
        save: Writes a checkpoint to the folder that it is given, whole or not at all.
    """
    recover_folder(folder)
    for leftover in folder.parent.glob(f".{folder.name}-*"):  # of a copy that was cut short
        shutil.rmtree(leftover)
    if keep > 1 and folder.exists():
        before = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["hypernym"]["step"]
        if before != step:  # a resumed run may save the same step again
            with replace_folder(folder.with_name(f"{folder.name}-{before:08d}")) as copy:
                for file in folder.iterdir():
                    _link(file, copy / file.name)
    save(folder)
    older = sorted(folder.parent.glob(f"{folder.name}-*"))
    for superfluous in older[: max(0, len(older) - (keep - 1))]:
        shutil.rmtree(superfluous)


def _link(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except OSError:  # not every file system has links
        shutil.copy2(file, copy)
