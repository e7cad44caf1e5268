"""`hypernym serve`: a page in the browser, and a JSON API, that name pictures by paths of the tree."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter
from pydantic import BeforeValidator, Field, validate_call

from hypernym.errors import UsageError
from hypernym.hierarchy.rule import Rule
from hypernym.progress import say

if TYPE_CHECKING:
    from hypernym.serving.models import ServedModel
    from hypernym.serving.schema import Limits, ModelDetails

PACKAGES = ("fastapi", "python_multipart", "uvicorn")
"""Of the extra `serve`."""


def _as_list(runs: Any) -> Any:  # noqa: ANN401 - pydantic judges what comes out
    """Take one path for a list of it."""
    return [runs] if isinstance(runs, (str, os.PathLike)) else runs


if TYPE_CHECKING:
    Runs = str | Path | Sequence[str | Path]
else:
    Runs = Annotated[list[Path], Field(min_length=1), BeforeValidator(_as_list), Parameter(negative="")]
    """What a command line gives, and what is made of the rest."""


@dataclass(frozen=True)
class ServeReport:
    """What was served, when it has ended."""

    address: str
    models: tuple[str, ...]
    pictures: int
    seconds: float

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.address} is closed: {self.pictures:,} pictures named in {self.seconds:,.0f} s."


@validate_call
def serve(
    runs: Runs,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Field(ge=0, le=65535)] = 7860,
    examples: Path | None = None,
    rule: Rule = Rule.PATH,
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None,
    device: str = "auto",
    max_mb: Annotated[float, Field(ge=0.1, le=4096, allow_inf_nan=False)] = 20,
    max_megapixels: Annotated[float, Field(ge=0.01, le=89, allow_inf_nan=False)] = 50,
    batch_size: Annotated[int, Field(ge=1)] = 32,
    queue: Annotated[int, Field(ge=1)] = 64,
    threads: Annotated[int, Field(ge=1)] = 2,
    allow_host: list[str] | None = None,
) -> ServeReport:
    """Serve a page on which pictures are named, and a JSON API under it, until Ctrl-C.

    Needs no network. Pictures are kept in memory while they are looked at, and nowhere else.

    Args:
        runs: Runs (their best checkpoints are used), checkpoint folders, or folders made by export. The
            page shows two of them side by side.
        host: The address to listen at. Any other than a loopback address lets others in: nobody is
            asked for a password.
        port: 0: any that is free.
        examples: A folder of pictures to try; without it, drawn ones of classes that the model knows.
        rule: How labels are found where a request does not say; see predict.
        threshold: The least probability of a label where a request does not say; 0.5 if not given.
        device: auto (a GPU if there is one), cpu, cuda ...
        max_mb: A larger request is refused; in MiB, from 0.1 to 4096.
        max_megapixels: A larger picture is refused before it is decoded; in millions, from 0.01 to 89.
        batch_size: Pictures that a model sees at a time.
        queue: Pictures that may wait, times the models asked; more are told to come again (503).
        threads: That decode pictures.
        allow_host: Names that the server answers to, beside this machine's own: those of a proxy.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise UsageError(
                f"serve needs the package {package}, which is not installed: "
                "pip install 'hypernym[serve]'."
            )
    from hypernym.prediction.predictor import check_rule
    from hypernym.serving.app import make_app
    from hypernym.serving.examples import make_examples
    from hypernym.serving.schema import Defaults, Limits
    from hypernym.serving.server import (
        address_of,
        check_thread,
        is_loopback,
        make_server,
        open_socket,
        run_server,
    )
    from hypernym.serving.service import Service

    paths = cast("list[Path]", runs)
    if queue < len(paths):
        raise UsageError(
            f"--queue {queue} has no place for a picture that {len(paths)} models are asked about: "
            f"give {len(paths)} or more."
        )
    rule, threshold = check_rule(rule, threshold)
    check_thread()
    limits = Limits(
        max_bytes=round(max_mb * 2**20),
        max_pixels=round(max_megapixels * 1e6),
        max_pictures=queue,
    )
    with open_socket(host, port) as listening:
        models = _load(paths, device, batch_size)
        service = Service(
            models,
            make_examples(examples, models[0][0].directory.ids, limits),
            defaults=Defaults(rule=rule, threshold=threshold),
            limits=limits,
            threads=threads,
        )
        server = make_server(make_app(service), [host, *(allow_host or [])])
        address = address_of(listening)
        _announce(address, service.details, limits, is_open=not is_loopback(listening))
        began = time.monotonic()
        run_server(server, listening)
    names = tuple(details.name for details in service.details)
    return ServeReport(address, names, service.num_pictures, time.monotonic() - began)


def _load(runs: Sequence[Path], device: str, batch_size: int) -> list[tuple[ServedModel, ModelDetails]]:
    from hypernym.checkpoint import find_checkpoint, read_architecture
    from hypernym.prediction.predictor import load
    from hypernym.serving.models import ServedModel

    models: dict[str, tuple[ServedModel, ModelDetails]] = {}
    for run in runs:
        name = _name(run, models)
        model = ServedModel(name, load(run, device=device), batch_size)
        models[name] = model, model.describe(read_architecture(find_checkpoint(run)))
    return list(models.values())


def _name(run: Path, taken: dict[str, tuple[ServedModel, ModelDetails]]) -> str:
    """Return the name of a run's folder, made unique."""
    folder = run.resolve()
    name = folder.parents[1].name if folder.parent.name == "checkpoints" else folder.name
    number = 2
    unique = name
    while unique in taken:
        unique = f"{name}-{number}"
        number += 1
    return unique


def _announce(address: str, models: Sequence[ModelDetails], limits: Limits, *, is_open: bool) -> None:
    told = ", ".join(f"{model.name} ({model.classes:,} classes)" for model in models)
    say(f"Serving {told} at {address} (Ctrl-C ends it)")
    if is_open:
        say(
            f"Note: whoever can reach {address} may use it, with requests of up to "
            f"{limits.max_bytes / 2**20:g} MiB: nobody is asked for a password."
        )
