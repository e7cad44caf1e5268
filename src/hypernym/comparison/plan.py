"""A plan file: which schemes to pretrain, with which seeds, and what to transfer them to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path  # noqa: TC003 - pydantic reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from hypernym.errors import UsageError, nearest
from hypernym.files import read_yaml
from hypernym.training.config import PretrainConfig, RecipeName
from hypernym.training.options import Options
from hypernym.training.requests import overlay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SOURCE = "source"
"""The key of a scheme that is not pretrained here; beside it stand options of its transfers."""

MAX_SLUG = 60
"""Letters of a folder's name."""


class PretrainPlan(Options):
    """What all schemes that are pretrained share."""

    dataset: Path
    recipe: RecipeName = "default"
    options: dict[str, Any] = Field(default_factory=dict)


class TransferPlan(Options):
    """A column: where to, and how."""

    dataset: Path
    method: str
    recipe: str = "auto"
    options: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Values of options, by their names on the command line; every combination is made."""


class PlanFile(Options):
    """The keys of a plan."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1, 2)
    pretrain: PretrainPlan | None = None
    schemes: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    transfer: dict[str, TransferPlan] = Field(default_factory=dict)


@dataclass(frozen=True)
class PlannedPretraining:
    """A pretraining to be made."""

    scheme: str
    seed: int
    place: str
    """The folder, seen from that of the comparison."""

    dataset: Path
    recipe: RecipeName
    options: dict[str, Any]
    """As they are given to `pretrain`, in groups."""


@dataclass(frozen=True)
class PlannedTransfer:
    """A transfer to be made."""

    scheme: str
    column: str
    seed: int
    setting: tuple[tuple[str, Any], ...]
    place: str
    """The folder, seen from that of the comparison."""

    pretraining: PlannedPretraining | None
    source: str
    """Where there is no pretraining: a path or the name of a timm model."""

    dataset: Path
    recipe: str
    options: dict[str, Any]
    """As they are given to `transfer`, in groups."""


Planned = PlannedPretraining | PlannedTransfer
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True)
class Plan:
    """A plan, worked out."""

    schemes: tuple[str, ...]
    columns: tuple[str, ...]
    runs: tuple[Planned, ...]
    """In the order in which they are made: all of one seed, then of the next."""


def read_plan(path: Path, transfer_options: type[BaseModel], recipes: Sequence[str]) -> Plan:
    """Read a plan file and work out the runs.

    Args:
        path: YAML; the paths in it are relative to its folder.
        transfer_options: The options of `transfer`.
        recipes: The recipes of `transfer`.

    Raises:
        UsageError: the file is missing, is no YAML, or has a key or a value that means nothing.
    """
    content = read_yaml(path, UsageError)
    if not isinstance(content, dict):
        raise UsageError(f"{path} must be a mapping with the keys {', '.join(PlanFile.model_fields)}.")
    path = path.resolve()  # what a run was made with must not depend on where the command was given
    stated = _check(f"{path}:", PlanFile, content)
    if len(set(stated.seeds)) < len(stated.seeds):
        raise UsageError(f"{path}: seeds {list(stated.seeds)} names one twice: leave it away.")
    slugs = _make_slugs(path, "schemes", stated.schemes)
    columns = _make_slugs(path, "transfer", stated.transfer)
    schemes = {
        name: _check_scheme(path, stated, name, options, transfer_options)
        for name, options in stated.schemes.items()
    }
    for name, transfer in stated.transfer.items():
        if transfer.recipe not in recipes:
            raise UsageError(
                f"{path}: transfer.{name}: there is no recipe {transfer.recipe}"
                f"{nearest(transfer.recipe, recipes)}: give one of {', '.join(recipes)}."
            )
    transfers = {
        name: list(_work_out_settings(path, name, transfer, transfer_options))
        for name, transfer in stated.transfer.items()
    }
    runs: list[Planned] = []
    for seed in stated.seeds:
        made = {
            name: PlannedPretraining(
                name,
                seed,
                f"runs/{slugs[name]}-{seed}",
                path.parent / stated.pretrain.dataset,
                stated.pretrain.recipe,
                {**scheme.options, "seed": seed},
            )
            for name, scheme in schemes.items()
            if not scheme.source and stated.pretrain is not None
        }
        runs += made.values()
        for column, settings in transfers.items():
            for name, scheme in schemes.items():
                runs += [
                    PlannedTransfer(
                        name,
                        column,
                        seed,
                        setting,
                        f"transfers/{columns[column]}/{slugs[name]}-{seed}{_slug_of(setting)}",
                        made.get(name),
                        scheme.source,
                        path.parent / stated.transfer[column].dataset,
                        stated.transfer[column].recipe,
                        {**(overlay(scheme.options, given) if scheme.source else given), "seed": seed},
                    )
                    for setting, given in settings
                ]
    _check_places(path, runs)
    return Plan(tuple(schemes), tuple(transfers), tuple(runs))


@dataclass(frozen=True)
class _Scheme:
    """A scheme of a plan."""

    source: str
    """Where its weights come from, or empty if it is pretrained here."""

    options: dict[str, Any]
    """Of its pretraining; of one pretrained elsewhere, those of all its transfers."""


def _check_scheme(
    path: Path, stated: PlanFile, name: str, options: dict[str, Any], transfer: type[BaseModel]
) -> _Scheme:
    place = f"{path}: schemes.{name}"
    if SOURCE in options:
        source = options[SOURCE]
        if not isinstance(source, str) or not source:
            raise UsageError(f"{place}: `{SOURCE}` must be a path or the name of a timm model.")
        given = {key: value for key, value in options.items() if key != SOURCE}
        beside = _check(place, transfer, given)
        return _Scheme(_find(path, source), beside.model_dump(mode="json", exclude_unset=True))
    if stated.pretrain is None:
        raise UsageError(
            f"{place} is to be pretrained, but the plan has no `pretrain`: add it, with a dataset."
        )
    config = _check(place, PretrainConfig, overlay(stated.pretrain.options, options))
    return _Scheme("", _set_paths(path, config.model_dump(mode="json", exclude_unset=True)))


def _work_out_settings(
    path: Path, name: str, transfer: TransferPlan, model: type[BaseModel]
) -> Iterator[tuple[tuple[tuple[str, Any], ...], dict[str, Any]]]:
    """Give each setting of a column (one, without a sweep) with the options of its transfers."""
    place = f"{path}: transfer.{name}"
    for values in product(*transfer.sweep.values()):
        swept = dict(zip(transfer.sweep, values, strict=True))
        given: dict[str, Any] = overlay(transfer.options, {"method": transfer.method})
        for option, value in swept.items():
            given = overlay(given, _nest(option, value))
        config = _check(place, model, given)
        options = config.model_dump(mode="json", exclude_unset=True)
        if options.get("features"):
            options["features"] = str(path.parent / options["features"])
        # YAML reads 1e-4 as a word: the number is what the options made of it
        yield tuple((option, _value_of(options, option)) for option in swept), options


def _nest(option: str, value: object) -> dict[str, Any]:
    """Return {"optim": {"lr": value}} for optim.lr."""
    nested: Any = value
    for key in reversed(option.split(".")):
        nested = {key: nested}
    return dict(nested)


def _value_of(options: Mapping[str, Any], option: str) -> object:
    found: Any = options
    for key in option.split("."):
        found = found[key]
    return found


def _set_paths(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Make the paths among the options of a pretraining relative to the plan."""
    for name in ("start", "teacher"):
        if options.get(name):
            options = {**options, name: _find(path, options[name])}
    cache = options.get("distill", {}).get("cache")
    return overlay(options, {"distill": {"cache": str(path.parent / cache)}}) if cache else options


def _find(path: Path, name: str) -> str:
    """Return the path of what lies beside the plan, or the name itself (a timm model)."""
    beside = path.parent / name
    return str(beside) if beside.exists() else name


def _make_slugs(path: Path, key: str, names: Iterable[str]) -> dict[str, str]:
    slugs: dict[str, str] = {}
    for name in names:
        slug = _slug(name)
        other = next((taken for taken, of in slugs.items() if of == slug), None)
        if other is not None or not slug:
            why = f"and {other!r} would share the folder name {slug!r}" if slug else "has no letter"
            raise UsageError(f"{path}: {key}: {name!r} {why}: give it another name.")
        slugs[name] = slug
    return slugs


def _slug(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name.lower()).strip("-.")[:MAX_SLUG]


def _slug_of(setting: tuple[tuple[str, Any], ...]) -> str:
    return "".join(
        f"-{_slug(option.rpartition('.')[2])}-{_slug(str(value))}" for option, value in setting
    )


def _check_places(path: Path, runs: Sequence[Planned]) -> None:
    taken: set[str] = set()
    for run in runs:
        if run.place in taken:
            raise UsageError(
                f"{path}: two runs would share the folder {run.place}: give schemes other names, or "
                f"each value of a sweep once."
            )
        taken.add(run.place)


def _check(place: str, model: type[_Model], content: dict[str, Any]) -> _Model:
    """Read values into a model; the first problem is told with its key and the nearest known one."""
    try:
        return model.model_validate(content)
    except ValidationError as cause:
        problem = cause.errors()[0]
        *groups, key = problem["loc"]
        name = ".".join(str(step) for step in problem["loc"])
        if problem["type"] == "extra_forbidden":
            hint = nearest(str(key), _fields_at(model, groups))
            raise UsageError(f"{place} there is no option {name}{hint}.") from cause
        raise UsageError(f"{place} {name}: {problem['msg'].lower()}.") from cause


def _fields_at(model: type[BaseModel], groups: Sequence[int | str]) -> Iterable[str]:
    """Return the fields of the model that stands within another."""
    found = model
    for group in groups:
        field = found.model_fields.get(str(group))
        inside = (field.annotation, *getattr(field.annotation, "__args__", ())) if field else ()
        models = [each for each in inside if isinstance(each, type) and issubclass(each, BaseModel)]
        found = models[0] if models else found
    return found.model_fields
