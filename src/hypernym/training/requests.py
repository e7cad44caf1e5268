"""Requests: files laid over a recipe, options over files; and what a resumed run was begun with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from hypernym.errors import RunError, UsageError
from hypernym.progress import say
from hypernym.training.config import CAVEATS, TrainConfig, may_change, read_config

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Config = TypeVar("Config", bound=TrainConfig)


def lay_over_files(
    files: Sequence[Path], given: dict[str, Any], kind: type[TrainConfig]
) -> dict[str, Any]:
    """Return the options of all files, those of later ones over earlier, and `given` over all.

    Raises:
        UsageError: a file cannot be read, or has a key that is no option.
    """
    for path in reversed(files):
        given = overlay(read_config(path, kind), given)
    return given


def go_on_with(begun: Path, given: dict[str, Any], kind: type[Config]) -> Config:
    """Return the options that a run was begun with; those given may change how it runs, no more.

    Args:
        begun: The file in the run's folder that holds its options.
        given: Options, as they were given now.
        kind: Of the options.

    Raises:
        RunError: another value is asked for than the run was begun with.
    """
    before = read_config(begun, kind)
    resolved = kind.model_validate(overlay(before, given))
    then, now = flatten(before), flatten(resolved.model_dump(mode="json"))
    for name, value in now.items():
        if then.get(name, value) == value:
            continue
        if not may_change(name, then[name], value):
            raise RunError(
                f"{begun.parent} was begun with {name} {then[name]}, not {value}: leave "
                f"--{name.replace('_', '-')} away to resume it, or give a new folder."
            )
        if caveat := CAVEATS.get(name):
            say(f"{begun.parent} was begun with {name} {then[name]} and goes on with {value}: {caveat}.")
    return resolved


def refuse_without_effect(
    kind: type[TrainConfig], given: dict[str, Any], needs: dict[str, tuple[bool, str]]
) -> None:
    """Refuse options that were given another value than the usual one, and that have no effect.

    Args:
        kind: Of the options.
        given: Options, as they were given.
        needs: By option whether it has an effect here, and what it would need for that.

    Raises:
        UsageError: one has none.
    """
    usual = flatten(kind().model_dump(mode="json"))
    for name, value in flatten(given).items():
        is_used, what = needs.get(name, (True, ""))
        if not is_used and value != usual[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} {value} has a meaning only with {what}: leave it away, or "
                f"add that."
            )


def flatten(options: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the options of all groups under their names on the command line (`optim.lr`)."""
    flat: dict[str, Any] = {}
    for key, value in options.items():
        within = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{key}.") if within else {f"{prefix}{key}": value}
    return flat


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return `below` with the values of `above`, group by group."""
    merged = dict(below)
    for key, value in above.items():
        is_group = isinstance(value, dict) and isinstance(below.get(key), dict)
        merged[key] = overlay(below[key], value) if is_group else value
    return merged
