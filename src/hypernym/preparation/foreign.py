"""The held-out pictures of other datasets, which must not be trained on (`prepare --against`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hypernym.errors import DatasetError
from hypernym.preparation.duplicates import Prints
from hypernym.preparation.seen import words_of
from hypernym.preparation.selection import Foreign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.data.dataset import Dataset

COLUMNS = ["source", "split", "source_sha256", "fingerprint"]


def load_foreign(datasets: Sequence[Dataset]) -> Foreign:
    """Return what the pictures of the val and test splits of some datasets are known by.

    Raises:
        DatasetError: a dataset knows no perceptual hashes, or holds nothing out.
    """
    tables = [_held_out(dataset) for dataset in datasets]
    table = pa.concat_tables(tables).combine_chunks()
    digests, hashes = (table[name].combine_chunks() for name in COLUMNS[2:])
    has_hash = hashes.is_valid().to_numpy(zero_copy_only=False)
    names = [
        f"{dataset.path.name}/{key}"
        for dataset, own in zip(datasets, tables, strict=True)
        for key in own["source"].to_pylist()
    ]
    words = [words_of(column).astype(np.uint64) for column in (digests, hashes)]
    return Foreign(Prints(words[0][:, 0], words[1], has_hash), tuple(names))


def _held_out(dataset: Dataset) -> pa.Table:
    path = dataset.path / "images.parquet"
    try:
        table = pq.read_table(path, columns=COLUMNS)
    except (OSError, pa.ArrowException) as cause:
        told = str(cause).partition("\n")[0]
        raise DatasetError(f"{path} cannot be read ({told}): prepare the dataset anew.") from cause
    held_out = table.filter(pc.not_equal(table["split"], "train"))
    if not len(held_out):
        raise DatasetError(f"{dataset.path} holds no image out: there is nothing to keep apart from.")
    if held_out["fingerprint"].null_count == len(held_out):
        raise DatasetError(
            f"{dataset.path} was prepared without perceptual hashes (--duplicates ignore): prepare it "
            f"anew."
        )
    return held_out
