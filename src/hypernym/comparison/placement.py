"""Where each run belongs: to which scheme (a row), and to which column."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from hypernym.comparison.runs import Pretraining, Transfer
from hypernym.errors import UsageError
from hypernym.training.config import RUNTIME_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hypernym.comparison.runs import Source

WITHOUT_MEANING = RUNTIME_OPTIONS | {"recipe", "seed"}
"""Options that make no other scheme."""

PATHS = ("start", "teacher")
"""Options that name a run, of another seed under another name: that there is one makes the scheme."""

MODEL = "model"
CACHES = ("distill.cache", "features")
UNTRAINED = "untrained"
OF_THE_ROW = {MODEL, "pixels", UNTRAINED}
"""Options of a transfer that say what is transferred."""
"""The option of a transfer by which weights are random: that is a row, not a column."""

SWEPT = "optim."
"""Transfers to one dataset that differ in such options alone are a sweep."""

Options = dict[str, Any]


@dataclass(frozen=True)
class Placed:
    """A run in its place."""

    scheme: str
    run: Pretraining | Transfer
    column: str = ""
    """Of a transfer; the figures of a pretraining have columns of their own."""

    setting: tuple[tuple[str, Any], ...] = ()
    """Names and values of the swept options; empty outside a sweep."""


def place_runs(runs: Sequence[Pretraining | Transfer]) -> list[Placed]:
    """Place runs by what made them.

    Raises:
        UsageError: two runs answer one and the same question.
    """
    rows = _label_schemes(runs)
    transfers = [run for run in runs if isinstance(run, Transfer)]
    columns = dict(zip((run.folder for run in transfers), _label_columns(transfers), strict=True))
    placed = [
        Placed(row, run, *columns.get(run.folder, ())) for row, run in zip(rows, runs, strict=True)
    ]
    check_distinct(placed)
    return placed


def check_distinct(placed: Iterable[Placed]) -> None:
    """Check that no two runs share scheme, column, setting and seeds.

    Raises:
        UsageError: two do.
    """
    taken: dict[object, Placed] = {}
    for each in placed:
        seeds = [each.run.unit, each.run.report.seed if isinstance(each.run, Transfer) else None]
        other = taken.setdefault((each.scheme, each.column, repr(each.setting), *seeds), each)
        if other is not each:
            raise UsageError(
                f"{other.run.folder} and {each.run.folder} are both seed {each.run.unit} of "
                f"{each.scheme}, made with the same options: give one of them."
            )


def shorten(options: Options) -> Options:
    """Return the options that make a scheme or a method what it is."""
    kept = {
        name: value for name, value in options.items() if name.partition(".")[0] not in WITHOUT_MEANING
    }
    for name in CACHES:
        kept.pop(name, None)
    for name in PATHS:
        value = kept.get(name)
        if value is not None:
            kept[name] = "a run" if name == "start" or len(PurePath(str(value)).parts) > 1 else value
    return kept


def find_varying(groups: Iterable[Options]) -> list[str]:
    """Return the names of options that are not the same in all groups, in the order of mention."""
    groups = list(groups)
    names = dict.fromkeys(name for group in groups for name in group)
    return [name for name in names if len({_freeze(group.get(name)) for group in groups}) > 1]


def _freeze(options: object) -> str:
    return json.dumps(options, sort_keys=True, default=str)


def _label_schemes(runs: Sequence[Pretraining | Transfer]) -> list[str]:
    """Return a label for each run: its scheme, and the options in which runs of that scheme differ."""
    digests = [_trained_on(run) for run in runs if _options_of(run)]
    keys: list[Options] = []
    for run in runs:
        key = {} if _is_untrained(run) else shorten(_options_of(run))
        if key and all(digests):  # where one is not known, they cannot tell schemes apart
            key["dataset"] = str(_trained_on(run))[:8]
        keys.append(key)
    known = [key for key in keys if key]
    everywhere = find_varying(known)

    def label(run: Pretraining | Transfer, key: Options) -> str:
        if isinstance(run, Transfer) and not key:
            source = run.report.source
            return f"{source.model}, {UNTRAINED}" if _is_untrained(run) else source.name
        # An option in which whole schemes differ may mean nothing to some: provenance tells of it.
        varying = find_varying(other for other in known if other["scheme"] == key["scheme"])
        named = [name for name in everywhere if name in varying or name == MODEL]
        parts = [f"{name} {key[name]}" for name in named if key.get(name) not in {None, ""}]
        return ", ".join([str(key["scheme"]), *parts])

    return [label(run, key) for run, key in zip(runs, keys, strict=True)]


def _options_of(run: Pretraining | Transfer) -> Options:
    return run.options if isinstance(run, Pretraining) else run.report.source.options


def _is_untrained(run: Pretraining | Transfer) -> bool:
    return isinstance(run, Transfer) and bool(run.report.options.get(UNTRAINED))


def _trained_on(run: Pretraining | Transfer) -> str | None:
    if isinstance(run, Pretraining):
        return run.trained_on
    source: Source = run.report.source
    return source.dataset_digest


def _label_columns(transfers: Sequence[Transfer]) -> list[tuple[str, tuple[tuple[str, Any], ...]]]:
    """Return the column of each transfer, and its setting if that is a sweep."""
    names = _name_datasets(transfers)
    families: dict[tuple[str, str], list[Options]] = defaultdict(list)
    for run in transfers:
        key = (run.report.dataset_digest, run.report.method)
        families[key].append(_method_of(run))
    varying = {key: find_varying(options) for key, options in families.items()}
    labels = []
    for run in transfers:
        key = (run.report.dataset_digest, run.report.method)
        options = _method_of(run)
        base = f"{names[run.report.dataset_digest]} {run.report.method}"
        told = tuple((name, options.get(name)) for name in varying[key])
        if all(name.startswith(SWEPT) for name in varying[key]):
            labels.append((base, told))
        else:
            labels.append((", ".join([base, *(f"{name} {value}" for name, value in told)]), ()))
    return labels


def _method_of(run: Transfer) -> Options:
    """Return the options that make a column."""
    options = shorten(run.report.options)
    return {name: value for name, value in options.items() if name not in OF_THE_ROW}


def _name_datasets(transfers: Sequence[Transfer]) -> dict[str, str]:
    """Return the shortest end of each dataset's path that tells it from the others, by digest.

    Where a dataset changed in its place no end does; then both share a column, which is refused there.
    """
    paths: dict[str, str] = {}
    for run in transfers:
        paths.setdefault(run.report.dataset_digest, run.report.dataset)
    parts = {digest: PurePath(path).parts for digest, path in paths.items()}
    longest = max(map(len, parts.values()), default=0)
    for length in range(1, longest + 1):
        names = {digest: str(PurePath(*part[-length:])) for digest, part in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return paths
