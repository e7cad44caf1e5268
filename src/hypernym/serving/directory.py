"""The classes of a model, to be looked up and searched."""

from __future__ import annotations

from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING

from hypernym.errors import nearest
from hypernym.hierarchy.tree import ROOT
from hypernym.serving.refusals import RefusalError
from hypernym.serving.schema import ClassDetails, ClassMatch, ClassName, ClassTree

if TYPE_CHECKING:
    from hypernym.checkpoint import Card

MOST_SHOWN = 60
"""Characters of a mistaken word that a message repeats."""

MOST_COMPARED = 2_000
"""Ids that a mistaken one is compared with: more would hold up all other requests."""


class Directory:
    """The classes of one model, in the order of its outputs."""

    def __init__(self, card: Card) -> None:
        self.ids, self._names = card.class_ids, card.class_names
        self._parents = card.tree.parents
        self._num_labels = card.tree.num_labels
        self._label_of = {class_id: label for label, class_id in enumerate(self.ids)}
        self._words = [
            f"{name}\n{class_id}".casefold()
            for name, class_id in zip(self._names, self.ids, strict=True)
        ]
        self._children: defaultdict[int, list[int]] = defaultdict(list)
        for label in sorted(range(len(self.ids)), key=lambda label: self._names[label].casefold()):
            self._children[self._parents[label]].append(label)
        self._ancestors = [self._find_ancestors(label) for label in range(len(self.ids))]
        self._num_below = [0] * len(self.ids)
        for above in self._ancestors:
            for label in above:
                self._num_below[label] += 1
        self.num_depths = 1 + max(map(len, self._ancestors))
        self.num_roots = len(self._children[ROOT])

    def __len__(self) -> int:
        return len(self.ids)

    def _find_ancestors(self, label: int) -> tuple[int, ...]:
        """Return the labels above a class, the root first."""
        above: list[int] = []
        while (label := self._parents[label]) != ROOT:
            above.append(label)
        return tuple(above[::-1])

    def find(self, query: str, limit: int) -> list[ClassMatch]:
        """Return the classes whose name or id holds a text: equal names first, then how they begin."""
        text = query.casefold().strip()

        def rank(label: int) -> tuple[int, int]:
            name = self._names[label].casefold()
            return (0 if name == text else 1 if name.startswith(text) else 2), len(name)

        found = sorted((label for label, words in enumerate(self._words) if text in words), key=rank)
        return [
            ClassMatch(
                **self._name(label).model_dump(),
                above=[self._names[above] for above in self._ancestors[label]],
            )
            for label in found[:limit]
        ]

    def describe(self, class_id: str) -> ClassDetails:
        """Tell where in the tree a class stands.

        Raises:
            RefusalError: the model does not know it.
        """
        if class_id not in self._label_of:
            word = class_id[:MOST_SHOWN]
            hint = nearest(word, self.ids) if len(self) <= MOST_COMPARED else ""
            raise RefusalError(HTTPStatus.NOT_FOUND, f"the model has no class {word!r}{hint}.")
        label = self._label_of[class_id]
        return ClassDetails(
            **self._name(label).model_dump(),
            output=label,
            depth=len(self._ancestors[label]),
            is_label=label < self._num_labels,
            num_below=self._num_below[label],
            ancestors=[self._name(above) for above in self._ancestors[label]],
            children=[self._name(child) for child in self._children[label]],
        )

    def to_tree(self) -> ClassTree:
        """Return all classes in columns."""
        return ClassTree(ids=list(self.ids), names=list(self._names), parents=list(self._parents))

    def _name(self, label: int) -> ClassName:
        return ClassName(id=self.ids[label], name=self._names[label])
