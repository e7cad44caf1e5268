"""Every error that a user can be shown.

    HypernymError              the request or its data is at fault; printed as one sentence, exit code 2
    ├── UsageError             the words of the request: a value, a combination, an engine, a device
    ├── SourceError            the images that were given: missing, empty, in no known layout
    ├── OutputError            the place to write to: taken already, or not to be written
    ├── DatasetError           a dataset folder: not one, not finished, damaged
    ├── TreeError              a taxonomy: cycles, unknown classes, a file that cannot be read
    ├── RunError               a run folder: not one, nothing saved yet, not resumable as asked
    ├── MismatchError          two things that do not belong together: their class tables differ
    ├── DivergenceError        training met a loss that is not finite
    └── StoppedError           a signal asked to stop: all is saved; exit code 75, "try again"

A message retells what was given, says what is wrong and what to do. Anything else that escapes is a
bug and stays a traceback. Bad images are no errors: they are rows in `rejected.parquet`.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class HypernymError(Exception):
    """A mistake that its maker can mend: one sentence, with the fix."""

    exit_code = 2


class UsageError(HypernymError):
    """The request cannot be meant as it stands."""


class SourceError(HypernymError):
    """The source of images is missing, empty or in no known layout."""


class OutputError(HypernymError):
    """The output place is taken, or cannot be written."""


class DatasetError(HypernymError):
    """The folder is not a finished, undamaged dataset."""


class TreeError(HypernymError):
    """The taxonomy cannot become a tree over the classes."""


class RunError(HypernymError):
    """The folder is not a run, or not one that can be used as asked."""


class MismatchError(HypernymError):
    """Two things with different class tables were given together."""


class DivergenceError(HypernymError):
    """Training met a loss that is not finite."""

    def __init__(self, message: str, step: int, rows: list[int]) -> None:
        """Say what happened, at which step, and which rows of the training data this process saw."""
        super().__init__(message)
        self.step, self.rows = step, rows


class StoppedError(HypernymError):
    """A signal asked to stop; nothing is lost, and the same command with --resume goes on."""

    exit_code = 75


def nearest(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'X'?)" for the known word most like `word`, or nothing."""
    matches = get_close_matches(word, list(known), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
