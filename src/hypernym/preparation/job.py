"""A preparation as it is asked for: what, where to, by which rules, and who does the work."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from hypernym.engine import Failed, run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from hypernym.preparation.rules import PrepareRules
    from hypernym.preparation.selection import Foreign
    from hypernym.preparation.sources.part import Source

Task = TypeVar("Task")
Result = TypeVar("Result")

WORK = ".work"


@dataclass(frozen=True)
class Taxonomy:
    """What the preparation must know of the tree, before there is one."""

    name_classes: Callable[[Sequence[str]], Sequence[str]]
    """Names for class ids."""

    ancestors_of: Callable[[str], Sequence[str]]
    """The class ids above one: they decide which of two labels of a picture is the deeper."""

    digest: str
    """Tells this taxonomy from another."""


@dataclass(frozen=True)
class Workforce:
    """Who does the work: nothing in here changes a byte."""

    workers: int = 1
    engine: str = "processes"
    max_failures: int = 0
    """So many parts may fail, after retries, and stand in the report as one row each."""

    share: tuple[int, int] | None = None
    """(i, n): convert every n-th part from the i-th on, counted from 0, and stop there."""

    def run(
        self,
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        name: Callable[[Task], str],
        imports: Sequence[str] = (),
    ) -> closing[Generator[tuple[Task, Result | Failed], None, None]]:
        """Return the results of some tasks as they end; leaving them stops the work at once."""
        return closing(
            run_tasks(
                function,
                tasks,
                engine=self.engine,
                workers=self.workers,
                name=name,
                imports=imports,
            )
        )


@dataclass(frozen=True)
class Preparation:
    """Everything that a preparation is given."""

    source: Source
    folder: Path
    rules: PrepareRules
    taxonomy: Taxonomy
    wanted: frozenset[str] | None = None
    """The classes to keep; None: all that are large enough."""

    foreign: Foreign | None = None
    """Held-out pictures of other datasets."""

    foreign_digests: tuple[str, ...] = ()
    """Of those datasets."""

    workforce: Workforce = field(default_factory=Workforce)

    @property
    def work(self) -> Path:
        """The work folder."""
        return self.folder / WORK
