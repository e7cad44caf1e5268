"""A dataset folder, opened: what its card says, its classes, its images at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernym.data.classes import ClassTable, load_classes
from hypernym.data.shards import LABEL_ROW, ShardReader, index_path, labels_path, open_index
from hypernym.errors import DatasetError
from hypernym.files import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CARD = "dataset.json"
CARD_VERSION = 2


@dataclass(frozen=True)
class Dataset:
    """A finished dataset. `card` is the content of `dataset.json`."""

    path: Path
    card: dict[str, Any]
    classes: ClassTable

    @property
    def image_size(self) -> int:
        """The size, in pixels, that the images were prepared at."""
        return int(self.card["images"]["size"])

    def index(self, split: str) -> NDArray[np.void]:
        """Return the index of a split, mapped into memory.

        Raises:
            DatasetError: there is no such split, or it has no image.
        """
        if not self.card["splits"].get(split, {}).get("images"):
            ways = {"train": "more images", "val": "--val-per-class 1 or more"}
            has_test = split == "val" and self.card["splits"].get("test", {}).get("images")
            raise DatasetError(
                f"{self.path} has no image in its {split} split: prepare it "
                f"{f'with {ways[split]}' if split in ways else 'from a source that states one'}"
                f"{', or ask for its test split' if has_test else ''}."
            )
        return open_index(index_path(self.path, split))

    def labels(self, split: str) -> NDArray[np.void]:
        """Return a row for each label of each image of a split (`LABEL_ROW`), mapped into memory.

        Raises:
            DatasetError: the images of this dataset have one label each, which the index knows.
        """
        if not self.card["several_labels"]:
            raise DatasetError(f"{self.path} has one label an image: its index knows them.")
        return open_index(labels_path(self.path, split), LABEL_ROW)

    def images_before(self, split: str) -> int:
        """Return the row of `images.parquet` at which a split begins: the splits lie there in turn."""
        splits = list(self.card["splits"])
        return sum(self.card["splits"][name]["images"] for name in splits[: splits.index(split)])

    def keys(self, split: str, rows: Sequence[int]) -> list[str]:
        """Return the keys of rows of a split's index, from the one table that knows them."""
        import pyarrow.parquet as pq

        first = self.images_before(split)
        with pq.ParquetFile(self.path / "images.parquet") as table:
            groups = range(table.num_row_groups)
            starts = np.cumsum([0, *(table.metadata.row_group(group).num_rows for group in groups)])
            keys: dict[int, str] = {}
            places = {first + row for row in rows}
            for group in np.unique(np.searchsorted(starts, sorted(places), side="right") - 1).tolist():
                column = table.read_row_group(group, columns=["key"])["key"]
                for place in places & set(range(starts[group], starts[group + 1])):
                    keys[place - first] = column[place - int(starts[group])].as_py()
        return [keys[row] for row in rows]

    def reader(self, split: str) -> ShardReader:
        """Return a reader of a split's images."""
        return ShardReader(self.path / split)


def open_dataset(path: Path) -> Dataset:
    """Open a finished dataset.

    Raises:
        DatasetError: the folder is missing, unfinished, or its class table is not its own.
    """
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder: make a dataset with `hypernym prepare`.")
    if not (path / CARD).exists():
        raise DatasetError(
            f"{path} has no {CARD}: it is not a dataset, or its preparation has not ended. Run "
            f"`hypernym prepare SOURCE {path} --resume` with the options of the first run."
        )
    card = read_json(path / CARD, "dataset", CARD_VERSION, DatasetError)
    classes = load_classes(path / "classes.csv")
    if classes.digest != card["classes_digest"]:
        raise DatasetError(
            f"{path / 'classes.csv'} is not the class table that {path / CARD} was written with: "
            f"restore it, for a label index is a row of it."
        )
    return Dataset(path, card, classes)
