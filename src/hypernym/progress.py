"""Progress: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN_LINE_SECONDS = 10.0
"""Where output is not a terminal, one line in this many seconds keeps a log readable."""


class Advance(Protocol):
    """What the worker calls."""

    def __call__(self, amount: int = 1, note: str = "") -> None:
        """Tell that `amount` more of the work is done; `note` is shown beside it."""


@contextmanager
def show_progress(title: str, total: int | None, unit: str, *, done: int = 0) -> Iterator[Advance]:
    """Show the progress of work of `total` units (None: nobody knows yet), on standard error.

    `done` units were done before, by a run that this one resumes: they count for the place, not for
    the rate.
    """
    shown = _show_bar if sys.stderr.isatty() else _show_lines
    if not is_first_process():
        shown = _show_nothing
    with shown(title, total, unit, done) as advance:
        yield advance


def is_first_process() -> bool:
    """Tell whether this process speaks to the person: of several, the first does."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def say(line: str) -> None:
    """Tell the person what was decided, on standard error."""
    if is_first_process():
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the display


@contextmanager
def _show_nothing(title: str, total: int | None, unit: str, done: int) -> Iterator[Advance]:  # noqa: ARG001
    def advance(amount: int = 1, note: str = "") -> None:
        """Other processes show the same."""

    yield advance


@contextmanager
def _show_bar(title: str, total: int | None, unit: str, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, completed=done, note="")

        def advance(amount: int = 1, note: str = "") -> None:
            bar.update(task, advance=amount)
            if note:
                bar.update(task, note=note)

        yield advance


@contextmanager
def _show_lines(title: str, total: int | None, unit: str, done: int) -> Iterator[Advance]:
    began = last = time.monotonic()
    count = done

    def advance(amount: int = 1, note: str = "") -> None:
        nonlocal count, last
        count += amount
        now = time.monotonic()
        if now - last >= PLAIN_LINE_SECONDS:
            last = now
            rate = (count - done) / (now - began)
            place, left = f"{count}", ""
            if total is not None:
                place, left = f"{count}/{total}", f", {(total - count) / max(rate, 1e-9):.0f} s left"
            line = f"{title}: {place} {unit}, {rate:.1f}/s{left} {note}"
            print(line.rstrip(), file=sys.stderr, flush=True)  # noqa: T201 - this is the display

    yield advance
