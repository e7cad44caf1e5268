"""`hypernym export`: a trained model made into a folder that others open without this package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import validate_call

from hypernym.data.dataset import open_dataset
from hypernym.errors import UsageError
from hypernym.files import check_vacant
from hypernym.hierarchy.scheme import Scheme

if TYPE_CHECKING:
    from hypernym.publication.agreement import Agreement
    from hypernym.publication.quantisation import Loss


@dataclass(frozen=True)
class ExportReport:
    """What was exported."""

    out: Path
    architecture: str
    classes: int
    depths: int
    scheme: str
    told_by: str
    """Of weights from elsewhere: how their classes are known; else empty."""

    onnx: Agreement | None
    program: Agreement | None
    int8: Loss | None
    address: str
    """On the hub; empty if it was not pushed."""

    def __str__(self) -> str:
        """Return the summary for a person."""
        told = f", told by {self.told_by}" if self.told_by else ""
        classes = f"{self.classes:,} classes in {self.depths} depths{told}"
        lines = [f"{self.out}: {self.architecture}, {classes}; {self.scheme}"]
        lines += [f"  {made}" for made in (self.onnx, self.program, self.int8) if made]
        if self.address:
            lines.append(f"  pushed to {self.address}")
        lines.append(f"Next: {self.out / 'README.md'} says how it is used")
        return "\n".join(lines)


@validate_call
def export(
    source: str,
    out: Path,
    *,
    onnx: bool = False,
    decode: bool = False,
    int8: bool = False,
    torch: bool = False,
    dataset: Path | None = None,
    licence: str = "",
    push: str | None = None,
    private: bool = False,
    model: str | None = None,
    classes: Path | None = None,
    taxonomy: Path | None = None,
    scheme: Scheme | None = None,
) -> ExportReport:
    """Make a trained model into a folder for timm, transformers and the Hugging Face hub.

    It holds weights, classes, tree, preprocessing and a model card with examples. Weights that were
    trained elsewhere gain names, a tree and paths.

    Args:
        source: A run (its best checkpoint is used) or a checkpoint folder. Or weights from elsewhere: a
            file, a folder in timm's hub form, or timm's name of a model.
        out: The folder to write; it must be new or empty.
        onnx: Also write model.onnx, from uint8 pixels to logits, and check it in onnxruntime.
        decode: Build the decoding of the path into model.onnx and model.pt2.
        int8: Also write model.int8.onnx (and model.onnx); ranges are from the training images of
            --dataset, and what it costs is measured on its validation images.
        torch: Also write model.pt2, for torch.export.load.
        dataset: A dataset with the classes of the model: its counts go into the card, and other formats
            are checked on its images.
        licence: Of the weights, as the hub names it (apache-2.0) or in words.
        push: USER/NAME on the Hugging Face hub, to put the folder there.
        private: Make that a private repository.
        model: Of a file of weights: timm's name of the model, with the tag of the weights.
        classes: Of weights from elsewhere: a file with a class id or a name a line, in the order of the
            outputs. Not needed for ImageNet's sets, which are known by their number.
        taxonomy: Of weights from elsewhere: a tree over their classes, as for tree build. Without it
            WordNet's, where the ids are WordNet's.
        scheme: Of weights from elsewhere: how they were trained. If not given, semantic for the classes
            of ImageNet-21K-P, and single-label for all others.
    """
    if int8 and dataset is None:
        raise UsageError(
            "--int8 reads off ranges on images: add --dataset with a dataset of these classes."
        )
    if decode and not (onnx or int8 or torch):
        raise UsageError("--decode builds the path into another format: add --onnx, --int8 or --torch.")
    if private and push is None:
        raise UsageError("--private speaks of a repository on the hub: add --push USER/NAME.")
    check_vacant(out, resume=None, what="export")
    opened = open_dataset(dataset) if dataset is not None else None

    from hypernym.hierarchy.levels import make_levels
    from hypernym.publication import hub
    from hypernym.publication.folder import Request, write_folder
    from hypernym.publication.graph import check_packages
    from hypernym.publication.origin import ForeignOptions, open_origin
    from hypernym.training.weights import config_of

    if onnx or int8:
        check_packages()
    if push is not None:
        hub.check_push(push)
    origin = open_origin(source, ForeignOptions(model, classes, taxonomy, scheme), opened)
    name = push.split("/")[1] if push else out.resolve().name
    request = Request(onnx or int8, decode, int8, torch, name, licence, push or "")
    contents = write_folder(out, origin, request)
    address = hub.push(out, push, private=private) if push else ""
    card = origin.model.card
    return ExportReport(
        out,
        config_of(origin.model.classifier.backbone)["architecture"],
        len(card.class_ids),
        make_levels(card.tree).num_depths,
        card.scheme.value,
        origin.told_by,
        contents.onnx,
        contents.program,
        contents.loss,
        address,
    )
