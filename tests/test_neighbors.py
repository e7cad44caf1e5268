"""k-NN against scikit-learn and a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from hypernym.downstream import neighbors
from hypernym.downstream.neighbors import PRIOR_WEIGHT, TEMPERATURE, find_neighbors

SEEDS = st.integers(0, 2**31)
LABELS = 4


def make_features(seed: int, images: int, features: int = 6) -> torch.Tensor:
    return torch.randn(images, features, generator=torch.Generator().manual_seed(seed))


def make_labels(images: int) -> torch.Tensor:
    """As many of each label, so that the prior decides nothing."""
    return torch.arange(images) % LABELS


@given(SEEDS, st.sampled_from([1, 3, 10]))
def test_the_vote_elects_whom_scikit_learn_elects(seed: int, k: int) -> None:
    learned, queries, labels = make_features(seed, 40), make_features(seed + 1, 10), make_labels(40)
    found = find_neighbors(queries, learned, 10).vote(labels, k, num_labels=LABELS)
    unit = [rows / rows.norm(dim=1, keepdim=True) for rows in (learned, queries)]
    theirs = KNeighborsClassifier(
        k,
        # of vectors of length one: distance^2 = 2 - 2 cosine
        weights=lambda distances: np.exp((1 - distances**2 / 2) / TEMPERATURE),
        algorithm="brute",
    ).fit(unit[0].double().numpy(), labels.numpy())
    shares = theirs.predict_proba(unit[1].double().numpy())
    expected = (k * shares + PRIOR_WEIGHT / LABELS) / (k + PRIOR_WEIGHT)
    torch.testing.assert_close(found.softmax(dim=1), torch.from_numpy(expected).float())


@given(SEEDS)
def test_the_log_odds_of_several_labels_equal_a_loop(seed: int) -> None:
    learned, queries = make_features(seed, 20), make_features(seed + 1, 5)
    present = torch.rand(20, LABELS, generator=torch.Generator().manual_seed(seed)) < 0.4
    k = 3
    found = find_neighbors(queries, learned, 7).vote(present, k, num_labels=LABELS)
    for image, query in enumerate(queries):
        cosine = [float(query @ row / query.norm() / row.norm()) for row in learned]
        nearest = sorted(range(20), key=lambda place: -cosine[place])[:k]
        weights = [math.exp(cosine[place] / TEMPERATURE) for place in nearest]
        for label in range(LABELS):
            having = [w for w, place in zip(weights, nearest, strict=True) if present[place, label]]
            prior = (int(present[:, label].sum()) + 0.5) / 21
            share = (k * sum(having) / sum(weights) + PRIOR_WEIGHT * prior) / (k + PRIOR_WEIGHT)
            assert float(found[image, label].sigmoid()) == pytest.approx(share, abs=1e-5)


def test_of_equally_near_images_the_first_are_taken() -> None:
    learned = make_features(0, 6)[[0, 1, 0, 0, 2, 0, 0]]
    found = find_neighbors(learned[:1], learned, 3)
    assert found.place_MP.tolist() == [[0, 2, 3]]
    everything = find_neighbors(learned[:1], learned, 100).place_MP[0].tolist()
    assert everything[:5] == [0, 2, 3, 5, 6]
    assert len(everything) == 7


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    learned, queries = make_features(0, 30), make_features(1, 11)
    whole = find_neighbors(queries, learned, 5)
    monkeypatch.setattr(neighbors, "CHUNK_ENTRIES", 4 * len(learned))
    parts = find_neighbors(queries, learned, 5)
    assert torch.equal(parts.place_MP, whole.place_MP)
    torch.testing.assert_close(parts.similarity_MP, whole.similarity_MP)


def test_lengths_of_features_mean_nothing_and_an_empty_one_is_near_to_none() -> None:
    learned, queries = make_features(0, 30), make_features(1, 11)
    longer = learned * torch.linspace(0.1, 100, 30)[:, None]
    expected = find_neighbors(queries, learned, 5)
    found = find_neighbors(7 * queries, longer, 5)
    assert torch.equal(found.place_MP, expected.place_MP)
    learned[3] = 0
    assert find_neighbors(queries, learned, 30).similarity_MP.isfinite().all()


@pytest.mark.parametrize("several", [False, True])
def test_every_score_is_finite(several: bool) -> None:
    labels = torch.zeros(30, dtype=torch.int64)
    targets = torch.nn.functional.one_hot(labels, LABELS).bool() if several else labels
    found = find_neighbors(make_features(1, 11), make_features(0, 30), 5)
    for k in (1, 5):
        scores = found.vote(targets, k, num_labels=LABELS)
        assert scores.isfinite().all()
        assert (scores.argmax(dim=1) == 0).all()
