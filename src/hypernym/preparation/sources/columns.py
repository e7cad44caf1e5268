"""Columns: which column of a table holds the images, and which the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypernym.errors import SourceError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypernym.preparation.sources.part import Place


def first_known(names: Iterable[str], known: Sequence[str]) -> str | None:
    """Return the name that comes first in `known`, in whatever letters it is written."""
    written = {name.lower(): name for name in names}
    return next((written[name] for name in known if name in written), None)


def stated_column(path: Place, stated: str, names: Sequence[str]) -> str:
    """Return the column that was stated.

    Raises:
        SourceError: there is no such column.
    """
    if stated not in names:
        raise SourceError(
            f"{path} has no column {stated!r}{nearest(stated, names)}: its columns are "
            f"{', '.join(names)}."
        )
    return stated


def choose_column(
    path: Place, role: str, names: Sequence[str], candidates: Sequence[str], known: Sequence[str]
) -> str:
    """Return the only candidate, else the one with the best-known name.

    Raises:
        SourceError: there is none, or no reason to prefer one.
    """
    name = candidates[0] if len(candidates) == 1 else first_known(candidates, known)
    if name is None:
        found = f"several columns ({', '.join(candidates)})" if candidates else "no column"
        raise SourceError(
            f"{path} has {found} that may hold the {role}: state it by --{role}-column; its columns are "
            f"{', '.join(names)}."
        )
    return name
