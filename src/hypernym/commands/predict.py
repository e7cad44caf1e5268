"""`hypernym predict`: name pictures by paths of the tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, validate_call

from hypernym.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.inference import Prediction


@dataclass(frozen=True)
class PredictReport:
    """A prediction for each picture, in the order given."""

    predictions: tuple[Prediction, ...]

    def __str__(self) -> str:
        """Return a line a picture."""
        return "\n".join(str(prediction) for prediction in self.predictions)


@validate_call
def predict(
    run: Path,
    images: list[Path],
    *,
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5,
    batch_size: Annotated[int, Field(ge=1)] = 64,
    device: str = "auto",
) -> PredictReport:
    """Name each picture by one path of the tree, as deep as the model is sure.

    A picture that cannot be read gets a line that says why; the others are not held up.

    Args:
        run: A run (its best checkpoint is used) or a checkpoint folder.
        images: Image files, or folders of them.
        threshold: A step is printed if its probability is at least this.
        batch_size: Images at a time.
        device: auto (a GPU if there is one), cpu, cuda ...
    """
    pictures = _expand(images)

    from hypernym.checkpoint import find_checkpoint, load_checkpoint
    from hypernym.inference import choose_device, predict_images

    chosen = choose_device(device)
    model = load_checkpoint(find_checkpoint(run))
    predictions = predict_images(
        model, pictures, threshold=threshold, batch_size=batch_size, device=chosen
    )
    return PredictReport(tuple(predictions))


def _expand(images: Sequence[Path]) -> list[Path]:
    """Put the files of a folder in its place."""
    pictures: list[Path] = []
    for image in images:
        if not image.exists():
            raise SourceError(f"{image} does not exist: give image files or folders of them.")
        inside = sorted(path for path in image.rglob("*") if path.is_file())
        pictures += inside if image.is_dir() else [image]
    if not pictures:
        raise SourceError("there is no picture: give image files or folders that hold some.")
    return pictures
