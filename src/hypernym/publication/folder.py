"""The folder of an export: weights and card as timm and the hub take them, other formats beside them."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernym.checkpoint import CONFIG, save_checkpoint
from hypernym.errors import OutputError
from hypernym.files import make_folder, replace_folder, write_text
from hypernym.hierarchy.wordnet import LEXICON
from hypernym.publication.graph import write_graph
from hypernym.publication.model_card import Contents, to_readme
from hypernym.publication.network import trace
from hypernym.publication.program import write_program
from hypernym.publication.quantisation import write_quantised
from hypernym.publication.samples import take_samples

if TYPE_CHECKING:
    from hypernym.publication.origin import Origin

LICENCE_FILE = "WORDNET_LICENSE.txt"


@dataclass(frozen=True)
class Request:
    """What is to lie in the folder."""

    onnx: bool
    decode: bool
    int8: bool
    program: bool
    name: str
    licence: str
    repo: str


def write_folder(out: Path, origin: Origin, request: Request) -> Contents:
    """Write an export; the folder appears whole.

    Raises:
        RunError: a format does not give what the model gives.
        OutputError: the folder cannot be written.
    """
    out = out.absolute()  # so that `.` too has a name
    make_folder(out.parent)
    try:
        return _write(out, origin, request)
    except OSError as cause:
        raise OutputError(
            f"{out} cannot be written ({cause.strerror}): make room, or give a place that you may write "
            f"to. Nothing was left there."
        ) from cause


def _write(out: Path, origin: Origin, request: Request) -> Contents:
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as made:
        folder = Path(made, out.name)
        save_checkpoint(folder, origin.model.classifier, origin.model.card, origin.model.progress)
        _adapt_config(folder / CONFIG, origin, request.licence)
        contents = _write_formats(folder, origin, request)
        text = to_readme(origin, contents, name=request.name, licence=request.licence, repo=request.repo)
        write_text(folder / "README.md", text)
        if origin.model.card.tree.lexicon == LEXICON:
            licence = files("hypernym.hierarchy") / LICENCE_FILE
            write_text(folder / LICENCE_FILE, licence.read_text(encoding="utf-8"))
        with replace_folder(out) as new:
            for path in folder.iterdir():
                path.rename(new / path.name)
    return contents


def _write_formats(folder: Path, origin: Origin, request: Request) -> Contents:
    graph = program = loss = None
    if request.onnx or request.program:
        card = origin.model.card
        traced = trace(origin.model, decode=request.decode)
        images = take_samples(origin.dataset, card.preprocessing)
        if request.onnx:
            graph = write_graph(folder, traced, images)
        if request.program:
            program = write_program(folder, traced, images)
        if request.int8:
            assert origin.dataset is not None  # noqa: S101 - the command asks for it
            loss = write_quantised(folder, traced.metadata, card, origin.dataset)
    return Contents(graph, program, loss, request.decode)


def _adapt_config(path: Path, origin: Origin, licence: str) -> None:
    """Leave out of timm's description what is not true of these weights, or stops others reading it.

    transformers gives the number of classes itself, and fails where it is stated again. And timm hands
    on the licence of an architecture's published weights, of which these need not be made.
    """
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    config["model_args"].pop("num_classes", None)
    stated = licence or origin.licence
    config["pretrained_cfg"].pop("license", None)
    config["pretrained_cfg"] |= {"license": stated} if stated else {}
    write_text(path, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
