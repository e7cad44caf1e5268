"""`hypernym demo`: the whole pipeline on a world that the package draws itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, validate_call
from rich.console import Console

import hypernym as hn
from hypernym.files import check_vacant, make_folder, open_whole
from hypernym.hierarchy.scheme import Scheme

if TYPE_CHECKING:
    from hypernym.metrics.accuracy import Accuracy, SummedAccuracy
    from hypernym.prediction.answers import Prediction

SHOWN = ("n02165456", "n02055803", "n07747607")
"""The classes of the three pictures that are named at the end: a ladybug, a penguin, an orange."""


@dataclass(frozen=True)
class DemoReport:
    """What the demo found, and where everything lies."""

    out: Path
    measured: dict[str, Accuracy]
    """By scheme, on the validation split, each depth by itself: the paper's figures."""

    summed: dict[str, SummedAccuracy]
    """The same by probabilities, those of a class with all beneath it."""

    predictions: tuple[Prediction, ...]
    seconds: float

    def __str__(self) -> str:
        """Return the table, the three paths and the list of places."""
        found = list(self.measured.values())
        table = [
            f"{'accuracy in %':<27}{''.join(f'{name:>14}' for name in self.measured)}{'chance':>10}"
        ]

        def add(label: str, shares: list[float], chance: float) -> None:
            cells = "".join(f"{100 * share:14.1f}" for share in shares)
            table.append(f"{label:<27}{cells}{100 * chance:10.1f}")

        semantic = [accuracy.semantic_top1 for accuracy in found]
        add("semantic top-1", semantic, found[0].semantic_top1_chance)
        found_summed = [accuracy.semantic_top1 for accuracy in self.summed.values()]
        add("  by summed probabilities", found_summed, found[0].semantic_top1_chance)
        for depths in zip(*(accuracy.by_depth for accuracy in found), strict=True):
            label = f"  depth {depths[0].depth} ({depths[0].classes} classes)"
            add(label, [depth.accuracy for depth in depths], depths[0].chance)
        paths = "\n".join(f"  {prediction}" for prediction in self.predictions)
        out = self.out
        return (
            "\n".join(table) + f"\n\nThree new pictures, named by {out / Scheme.SEMANTIC}:\n{paths}\n\n"
            f"Everything lies in {out} (made in {self.seconds:.0f} s):\n"
            f"  {out}/world.tar       the drawn pictures, a tar of class tars\n"
            f"  {out}/dataset         the dataset: shards, index, classes.csv, tree.json\n"
            f"  {out}/single-label    a run: config.yaml, metrics.jsonl, checkpoints\n"
            f"  {out}/semantic        the same, with semantic softmax\n"
            f"  {out}/pictures        the three new pictures\n"
            f"Next: hypernym predict {out}/semantic YOUR_PICTURE"
        )


@validate_call
def demo(
    out: Path = Path("hypernym-demo"),
    *,
    images_per_leaf: Annotated[int, Field(ge=20)] = 120,
    epochs: Annotated[int, Field(ge=1)] = 12,
    seed: Annotated[int, Field(ge=0)] = 0,
) -> DemoReport:
    """Draw a small world of pictures, then prepare, train, measure and predict on it.

    Needs no network and no data; takes a few minutes on two cores.

    Args:
        out: The folder to make.
        images_per_leaf: Pictures drawn of each of the 22 leaf classes.
        epochs: Times that each training picture is seen.
        seed: Decides what is drawn, and the training.
    """
    check_vacant(out, resume=None, what="demo")
    make_folder(out)
    began = time.monotonic()
    say = Console(stderr=True, highlight=False).print

    say("[bold]1/5 draw[/]      a world of pictures, some of them labelled with an ancestor")
    from hypernym.world.archive import draw_world

    draw_world(out / "world.tar", images_per_leaf, size=64, seed=seed)

    say("[bold]2/5 prepare[/]   world.tar into a dataset")
    say(f"{hn.prepare(out / 'world.tar', out / 'dataset', min_images=15, val_per_class=8, size=48)}")
    say(f"{hn.tree.build(out / 'dataset')}")

    reports = {}
    for number, scheme in enumerate((Scheme.SINGLE_LABEL, Scheme.SEMANTIC), start=3):
        say(f"[bold]{number}/5 pretrain[/]  with the {scheme} loss, then evaluate")
        options = hn.PretrainConfig(scheme=scheme, epochs=epochs, seed=seed)
        hn.pretrain(out / "dataset", out / scheme, recipe="small", options=options)
        reports[scheme.value] = hn.evaluate(out / scheme, out / "dataset")

    say("[bold]5/5 predict[/]   three pictures that no one has seen")
    pictures = _draw_pictures(out / "pictures", seed)
    predictions = hn.predict(out / Scheme.SEMANTIC, pictures).predictions
    measured = {name: report.accuracy for name, report in reports.items()}
    summed = {name: report.summed for name, report in reports.items()}
    return DemoReport(out, measured, summed, predictions, time.monotonic() - began)


def _draw_pictures(folder: Path, seed: int) -> list[Path]:
    """Draw the three new pictures, larger than the model's, named after what they show."""
    import numpy as np

    from hypernym.hierarchy.wordnet import name_of
    from hypernym.world.drawing import draw

    make_folder(folder)
    paths = []
    for class_id in SHOWN:
        path = folder / f"{name_of(class_id)}.png"
        with open_whole(path) as stream:
            draw(class_id, 128, np.random.default_rng([seed, 1])).save(stream, "PNG")
        paths.append(path)
    return paths
