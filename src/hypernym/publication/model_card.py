"""README.md: what a stranger needs to use the model, with examples that run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCardData

from hypernym import __version__
from hypernym.data.transforms import short_side_of
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.scheme import Scheme
from hypernym.hierarchy.tree import ROOT
from hypernym.hierarchy.wordnet import LEXICON
from hypernym.inference import THRESHOLD
from hypernym.training.weights import config_of

if TYPE_CHECKING:
    from hypernym.checkpoint import Card
    from hypernym.publication.agreement import Agreement
    from hypernym.publication.origin import Origin
    from hypernym.publication.quantisation import Loss

EXCERPT = 24
"""Lines of the tree that are shown."""

MOST_CHILDREN = 4
"""Of a class in the excerpt."""

SCHEMES = {
    Scheme.SEMANTIC: "one softmax for each depth of the tree",
    Scheme.SINGLE_LABEL: "one softmax over all classes",
    Scheme.MULTI_LABEL: "a sigmoid for each class",
}

LICENCE_ID = re.compile(r"[a-z0-9][a-z0-9.+-]*")
"""What the hub takes for the name of a licence: lower case, without blanks."""


@dataclass(frozen=True)
class Contents:
    """What lies beside the weights."""

    onnx: Agreement | None
    program: Agreement | None
    loss: Loss | None
    decode: bool


def to_readme(origin: Origin, contents: Contents, *, name: str, licence: str, repo: str) -> str:
    """Return the text of README.md.

    Args:
        origin: The model and what is known of it.
        contents: What lies beside the weights.
        name: Of the model.
        licence: Of the weights; empty if none was stated.
        repo: USER/NAME on the hub; empty if it is not there.
    """
    from jinja2 import Environment, StrictUndefined

    card = origin.model.card
    levels = make_levels(card.tree)
    backbone = origin.model.classifier.backbone
    # Markdown, not HTML: what comes from users stands in code or in YAML that a library writes.
    words = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    words.filters["percent"] = lambda share: f"{100 * share:.1f}"
    template = (files(__package__) / "model_card.md.jinja").read_text(encoding="utf-8")
    checks = [check for check in (contents.onnx, contents.program) if check]
    made = [check.file for check in checks] + ([contents.loss.file] if contents.loss else [])
    text = words.from_string(template).render(
        origin=origin,
        source=Path(origin.source).name,
        name=name,
        repo=repo,
        licence=licence,
        version=__version__,
        front_matter=_describe(origin, name, licence),
        architecture=config_of(backbone)["architecture"],
        num_weights=sum(weight.numel() for weight in backbone.parameters()),
        scheme=card.scheme.value,
        scheme_told=SCHEMES[card.scheme],
        view=card.preprocessing,
        short_side=short_side_of(card.preprocessing),
        ids=card.class_ids,
        tree=card.tree,
        is_wordnet=card.tree.lexicon == LEXICON,
        num_depths=levels.num_depths,
        num_roots=int(levels.counts_L[0]),
        num_leaves=int((levels.height_C == 0).sum()),
        num_added=card.tree.num_added,
        excerpt=draw_excerpt(card),
        digest=card.dataset_digest,
        dataset=origin.dataset.card if origin.dataset else None,
        report=origin.report,
        report_dataset=_name_dataset(origin.report),
        threshold=THRESHOLD,
        onnx=contents.onnx,
        program=contents.program,
        loss=contents.loss,
        decode=contents.decode,
        checks=checks,
        files=", ".join(f"`{file}`" for file in made),
    )
    return text.strip() + "\n"


def _name_dataset(report: dict[str, Any] | None) -> str:
    return Path(report["dataset"]).name if report else ""


def _describe(origin: Origin, name: str, licence: str) -> str:
    """Return the front matter that the hub reads."""
    is_known = LICENCE_ID.fullmatch(licence) is not None
    results = None
    if origin.report:
        accuracy = origin.report["accuracy"]
        dataset = _name_dataset(origin.report)
        shown = (("semantic top-1", "semantic_top1"), ("top-1", "top1"))
        results = [
            EvalResult(
                task_type="image-classification",
                dataset_type=dataset,
                dataset_name=dataset,
                dataset_split=origin.report["split"],
                metric_type="accuracy",
                metric_name=told,
                metric_value=round(100 * accuracy[key], 2),
            )
            for told, key in shown
        ]
    described = ModelCardData(
        library_name="timm",
        pipeline_tag="image-classification",
        tags=["timm", "hypernym", "image-classification", "hierarchical-classification"],
        license=(licence if is_known else "other") if licence else None,
        license_name=licence if licence and not is_known else None,
        model_name=name if results else None,
        eval_results=results,
    )
    return described.to_yaml()


def draw_excerpt(card: Card) -> str:
    """Return some lines of the tree, from the root with most classes beneath it down."""
    children: dict[int, list[int]] = {}
    for label, parent in enumerate(card.tree.parents):
        children.setdefault(parent, []).append(label)

    def count(label: int) -> int:
        return 1 + sum(count(child) for child in children.get(label, []))

    lines: list[str] = []

    def draw(labels: list[int], depth: int) -> None:
        ranked = sorted(labels, key=count, reverse=True)
        for label in ranked[:MOST_CHILDREN]:
            if len(lines) >= EXCERPT:
                return
            told = " ".join(card.class_names[label].replace("`", "'").split())
            lines.append(f"{'  ' * depth}{told}  {card.class_ids[label]}")
            draw(children.get(label, []), depth + 1)
        if ranked[MOST_CHILDREN:] and len(lines) < EXCERPT:
            lines.append(f"{'  ' * depth}... and {len(ranked) - MOST_CHILDREN:,} more")

    draw(children[ROOT], 0)
    return "\n".join(lines)
