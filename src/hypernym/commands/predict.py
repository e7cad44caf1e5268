"""`hypernym predict`: name pictures by paths of the tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, validate_call

from hypernym.errors import SourceError
from hypernym.hierarchy.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.prediction.answers import Prediction


@dataclass(frozen=True)
class PredictReport:
    """A prediction for each picture, in the order given."""

    predictions: tuple[Prediction, ...]

    @property
    def exit_code(self) -> int:
        """2 where not one picture could be read, else 0."""
        return 2 if all(prediction.error for prediction in self.predictions) else 0

    def __str__(self) -> str:
        """Return a line a picture."""
        return "\n".join(str(prediction) for prediction in self.predictions)


@validate_call
def predict(
    run: Path,
    images: list[Path],
    *,
    rule: Rule = Rule.PATH,
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None,
    batch_size: Annotated[int, Field(ge=1)] = 64,
    device: str = "auto",
) -> PredictReport:
    """Name each picture by labels of the tree: by one path, as deep as the model is sure.

    A picture that cannot be read gets a line that says why; the others are not held up.

    Args:
        run: A run (its best checkpoint is used) or a checkpoint folder.
        images: Image files, or folders of them.
        rule: path (from the root to the most probable child at each step, while the model is sure),
            official (the most probable class of each depth by itself, where the model is sure: the rule
            of the official semantic softmax code) or leaf (the most probable leaf and its ancestors).
        threshold: How sure: the least probability of a label; 0.5 if not given.
        batch_size: Images at a time.
        device: auto (a GPU if there is one), cpu, cuda ...
    """
    pictures = _expand(images)

    from hypernym.prediction.predictor import check_rule, load

    check_rule(rule, threshold)
    model = load(run, device=device)
    found = model.predict(pictures, rule=rule, threshold=threshold, batch_size=batch_size)
    return PredictReport(tuple(found))


def _expand(images: Sequence[Path]) -> list[Path]:
    """Put the files of a folder in its place."""
    pictures: list[Path] = []
    for image in images:
        if not image.exists():
            raise SourceError(f"{image} does not exist: give image files or folders of them.")
        inside = sorted(
            path for path in image.rglob("*") if path.is_file() and not path.name.startswith(".")
        )
        pictures += inside if image.is_dir() else [image]
    if not pictures:
        raise SourceError("there is no picture: give image files or folders that hold some.")
    return pictures
