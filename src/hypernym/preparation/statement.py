"""What a dataset says of itself, as far as a verification needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from hypernym.data.dataset import CARD, CARD_VERSION
from hypernym.errors import DatasetError
from hypernym.files import read_json

if TYPE_CHECKING:
    from pathlib import Path


class SplitStatement(BaseModel):
    """How much a split holds."""

    images: int
    shards: int


class Statement(BaseModel):
    """The fields of `dataset.json` that files are compared with."""

    splits: dict[str, SplitStatement]
    several_labels: bool
    classes_digest: str
    classes_dropped: dict[str, int]
    images_rejected: dict[str, int]
    digest: str
    files: dict[str, str]
    """The SHA-256 of each table."""


def load_statement(folder: Path) -> Statement:
    """Read `dataset.json`.

    Raises:
        DatasetError: there is none, or it says nothing.
    """
    if not (folder / CARD).exists():
        raise DatasetError(
            f"{folder} has no {CARD}: it is not a dataset, or its preparation has not ended. Nothing "
            f"says what should be there."
        )
    try:
        return Statement.model_validate(read_json(folder / CARD, "dataset", CARD_VERSION, DatasetError))
    except ValidationError as cause:
        fields = ", ".join(".".join(map(str, problem["loc"])) for problem in cause.errors())
        raise DatasetError(
            f"{folder / CARD} is damaged ({fields}), and nothing else says what should be there: "
            f"restore it, or prepare the dataset anew."
        ) from cause
