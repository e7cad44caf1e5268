"""Images by rows: chosen from several splits, they are what each split says."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from hypernym.data.rows import ChosenRows, SplitRows

if TYPE_CHECKING:
    from hypernym.data.dataset import Dataset


@pytest.fixture(params=["one label", "several labels"])
def either(request: pytest.FixtureRequest, dataset: Dataset, several: Dataset) -> Dataset:
    return dataset if request.param == "one label" else several


def test_chosen_rows_are_those_of_their_splits_in_any_order(either: Dataset) -> None:
    train, val = SplitRows(either, "train"), SplitRows(either, "val")
    chosen = ChosenRows(either, [("val", np.array([1, 0])), ("train", np.array([7, 3, 5]))])
    expected = [(val, 1), (val, 0), (train, 7), (train, 3), (train, 5)]
    assert len(chosen) == 5
    rows = np.array([4, 0, 2, 0, 3])
    places = [expected[row] for row in rows]
    assert chosen.read(rows) == [split.read(np.array([row]))[0] for split, row in places]
    for pixels, (split, row) in zip(chosen.decode(rows), places, strict=True):
        assert (pixels == next(split.decode(np.array([row])))).all()
    labels = [int(split.first_labels(np.array([row]))) for split, row in places]
    assert chosen.first_labels(rows).tolist() == labels
    assert chosen.labels_N[rows].tolist() == labels
    present = [split.present(np.array([row])) for split, row in places]
    found = chosen.present(rows)
    if either.card["several_labels"]:
        assert found is not None
        assert torch.equal(found, torch.cat([one for one in present if one is not None]))
        assert found.any(dim=1).all()
    else:
        assert found is None


def test_chosen_rows_can_be_sent_to_a_loading_process(dataset: Dataset) -> None:
    chosen = ChosenRows(dataset, [("val", np.array([1])), ("train", np.array([2, 9]))])
    rows = np.array([2, 0])
    assert pickle.loads(pickle.dumps(chosen)).read(rows) == chosen.read(rows)  # noqa: S301
