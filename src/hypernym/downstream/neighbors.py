"""The k nearest neighbours of each image among those that are learned from.

Shapes as in `hypernym.downstream`; P neighbours found for each image, B images at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

KS = (1, 5, 10, 20, 50, 100)
"""Numbers of neighbours that are worth trying."""

TEMPERATURE = 0.07
"""A neighbour votes with the weight exp(cosine similarity / temperature) (Caron et al. 2021, "Emerging
Properties in Self-Supervised Vision Transformers", section 4.1, after Wu et al. 2018)."""

PRIOR_WEIGHT = 0.01
"""Neighbours that the labels' frequencies count as: they order the labels that no neighbour has."""

CHUNK_ENTRIES = 1 << 27
"""(image, image) similarities that are held at a time: half a gigabyte."""


@dataclass(frozen=True)
class Neighbors:
    """The nearest images, nearest first; of equally near ones the first in the order of the index."""

    similarity_MP: torch.Tensor
    """Cosines, float32."""

    place_MP: torch.Tensor
    """Rows of the images that are learned from, int64."""

    def vote(self, targets: torch.Tensor, k: int, *, num_labels: int) -> torch.Tensor:
        """Return the scores, float32 (M, K), of a vote among the `k` nearest.

        With p the weighted share of neighbours that have a label, and a little of its frequency among
        all images, the scores are log p for one label an image, else log (p / (1 - p)).

        Args:
            targets: Of the images that are learned from.
            k: How many neighbours vote, from 1 on; P if there are no more.
            num_labels: K.
        """
        similarity_Mk, place_Mk = self.similarity_MP[:, :k], self.place_MP[:, :k]
        weight_Mk = (similarity_Mk / TEMPERATURE).softmax(dim=1)
        targets = targets.to(place_Mk.device)
        prior_K = _frequencies(targets, num_labels)
        share_MK = torch.zeros(len(place_Mk), num_labels, device=place_Mk.device)
        for weight_M, place_M in zip(weight_Mk.T, place_Mk.T, strict=True):
            if targets.dim() == 1:
                share_MK.scatter_add_(1, targets[place_M][:, None], weight_M[:, None])
            else:
                share_MK += weight_M[:, None] * targets[place_M]
        k = place_Mk.shape[1]
        share_MK = (k * share_MK + PRIOR_WEIGHT * prior_K) / (k + PRIOR_WEIGHT)
        # shares are sums of rounded weights: 1 must not be passed
        return share_MK.log() if targets.dim() == 1 else share_MK.logit(eps=1e-6)


def find_neighbors(
    queries_MD: torch.Tensor, features_ND: torch.Tensor, num_neighbors: int = max(KS)
) -> Neighbors:
    """Find the neighbours of images by cosine similarity; at most N of them.

    Memory is bound, besides the features, by `CHUNK_ENTRIES` and by (M, P) results.
    """
    num_neighbors = min(num_neighbors, len(features_ND))
    # The length of a query changes no order, and a normalised copy of all features would be large.
    length_N = features_ND.norm(dim=1).clamp(min=torch.finfo(features_ND.dtype).tiny)
    chunk = max(1, CHUNK_ENTRIES // len(features_ND))
    similarities, places = [], []
    for queries_BD in torch.split(queries_MD, chunk):
        unit_BD = normalize(queries_BD.to(features_ND.device), dim=1)
        similarity_BP, place_BP = _nearest((unit_BD @ features_ND.T).div_(length_N), num_neighbors)
        similarities.append(similarity_BP)
        places.append(place_BP)
    return Neighbors(torch.cat(similarities), torch.cat(places))


def _nearest(similarity_BN: torch.Tensor, num_neighbors: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest similarities and their places; of equal ones those that come first.

    `topk` leaves open which of equal values it takes; where it had a choice, a stable sort decides.
    """
    similarity_BP, place_BP = similarity_BN.topk(num_neighbors, dim=1)
    least_B1 = similarity_BP[:, -1:]
    taken_B = (similarity_BP == least_B1).sum(dim=1)
    had_choice_B = (similarity_BN == least_B1).sum(dim=1) > taken_B
    if had_choice_B.any():
        sorted_BN = similarity_BN[had_choice_B].sort(dim=1, descending=True, stable=True)
        place_BP[had_choice_B] = sorted_BN.indices[:, :num_neighbors]
    place_BP = place_BP.sort(dim=1).values
    similarity_BP, order_BP = similarity_BN.gather(1, place_BP).sort(dim=1, descending=True, stable=True)
    return similarity_BP, place_BP.gather(1, order_BP)


def _frequencies(targets: torch.Tensor, num_labels: int) -> torch.Tensor:
    """Return the share of images that have each label, (K,), never quite 0 or 1."""
    if targets.dim() == 1:
        counts_K = targets.bincount(minlength=num_labels) + 0.5
        return counts_K / counts_K.sum()
    return (targets.sum(dim=0) + 0.5) / (len(targets) + 1)
