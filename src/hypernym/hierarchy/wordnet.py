"""WordNet 3.0's nouns: the ids, hypernyms and names that ImageNet's classes are made of.

A class id is `n` and the eight-digit offset of a synset in WordNet 3.0's `data.noun`; offsets of
WordNet 3.1 are others. The table is package data, made by `scripts/make_wordnet_table.py`.
"""

from __future__ import annotations

import lzma
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LEXICON = "WordNet 3.0"
WORDNET_ID = re.compile(r"n\d{8}")


class ParentRule(StrEnum):
    """Which of a synset's hypernyms is its parent."""

    IMAGENET = "imagenet"
    """ImageNet's own choice, which the official tree of ImageNet-21K-P follows."""

    FIRST_HYPERNYM = "first-hypernym"
    """The hypernym that WordNet states first."""


@dataclass(frozen=True)
class WordNet:
    """All 82,115 noun synsets."""

    hypernyms: Mapping[str, tuple[str, ...]]
    """The hypernyms of each id, instances included, in WordNet's order; `entity` alone has none."""

    lemmas: Mapping[str, tuple[str, ...]]


@cache
def load_wordnet() -> WordNet:
    """Load the table (about 0.3 s, once a process)."""
    data = (files(__package__) / "wordnet_nouns.tsv.xz").read_bytes()
    hypernyms, lemmas = {}, {}
    for line in lzma.decompress(data).decode().splitlines():
        synset, parents, words = line.split("\t")
        hypernyms[synset] = tuple(parents.split(",")) if parents else ()
        lemmas[synset] = tuple(words.split(";"))
    return WordNet(hypernyms, lemmas)


def imagenet_exceptions() -> dict[str, str | None]:
    """Return the 170 synsets whose parent in ImageNet is not WordNet's first hypernym; None for a root.

    ImageNet's `wordnet.is_a.txt` names several parents for some synsets and its readers let the last
    line win.
    """
    exceptions = (files(__package__) / "imagenet_parents.tsv").read_text(encoding="utf-8")
    pairs = (line.split("\t") for line in exceptions.splitlines())
    return {child: parent or None for child, parent in pairs}


def name_of(class_id: str) -> str:
    """Return the first lemma of a WordNet id; any other id is its own name."""
    if not WORDNET_ID.fullmatch(class_id):
        return class_id
    return load_wordnet().lemmas.get(class_id, (class_id,))[0]
