"""The tree as people read it: classes from the top down, with names and counts, and parts of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypernym.errors import TreeError, nearest
from hypernym.hierarchy.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.data.classes import ClassTable
    from hypernym.hierarchy.tree import Tree


@dataclass(frozen=True)
class Entry:
    """A class in an outline. In a list of entries, those below a class follow it at once."""

    id: str
    name: str
    parent: str | None
    depth: int
    added: bool
    """An inner class that no image is labelled with."""

    train: int
    """Images labelled with the class itself; `val` likewise."""

    val: int
    all_train: int
    """Images of the class and of all below it; `all_val` likewise."""

    all_val: int
    num_below: int
    """Classes below it, at all depths."""


def make_outline(tree: Tree, classes: ClassTable) -> tuple[Entry, ...]:
    """Return an entry for each class of a tree; siblings in the order of their names."""
    names = tree.name_all(classes.names)
    nothing = (0,) * tree.num_added
    train, val = (*classes.train_counts, *nothing), (*classes.val_counts, *nothing)
    children: defaultdict[int, list[int]] = defaultdict(list)
    for index in sorted(range(len(names)), key=lambda index: (names[index].lower(), tree.ids[index])):
        children[tree.parents[index]].append(index)

    order: list[int] = []
    depth = dict.fromkeys(range(len(names)), 0)
    waiting = children[ROOT][::-1]
    while waiting:
        index = waiting.pop()
        order.append(index)
        for child in children[index]:
            depth[child] = depth[index] + 1
        waiting += children[index][::-1]

    all_train, all_val, num_below = list(train), list(val), [0] * len(names)
    for index in reversed(order):
        parent = tree.parents[index]
        if parent != ROOT:
            all_train[parent] += all_train[index]
            all_val[parent] += all_val[index]
            num_below[parent] += 1 + num_below[index]
    return tuple(
        Entry(
            tree.ids[index],
            names[index],
            tree.ids[tree.parents[index]] if tree.parents[index] != ROOT else None,
            depth[index],
            index >= tree.num_labels,
            train[index],
            val[index],
            all_train[index],
            all_val[index],
            num_below[index],
        )
        for index in order
    )


def take_under(entries: Sequence[Entry], wanted: str) -> tuple[Entry, ...]:
    """Return the entries with an id or name, and all below them.

    Raises:
        TreeError: there is none.
    """
    tops = [place for place, entry in enumerate(entries) if wanted in (entry.id, entry.name)]
    if not tops:
        known = [word for entry in entries for word in (entry.id, entry.name)]
        raise TreeError(f"no class of the tree has the id or name {wanted!r}{nearest(wanted, known)}.")
    places = {top + step for top in tops for step in range(entries[top].num_below + 1)}
    return tuple(entries[place] for place in sorted(places))


def take_matching(entries: Sequence[Entry], text: str) -> tuple[Entry, ...]:
    """Return the entries whose id or name contains a text in either case, and all above them.

    Raises:
        TreeError: there is none.
    """
    parent_of = {entry.id: entry.parent for entry in entries}
    kept: set[str | None] = set()
    for entry in entries:
        if text.lower() in entry.id.lower() or text.lower() in entry.name.lower():
            node: str | None = entry.id
            while node in parent_of and node not in kept:
                kept.add(node)
                node = parent_of[node]
    if not kept:
        words = (word for entry in entries for word in (entry.id, entry.name, *entry.name.split()))
        hint = nearest(text.lower(), {word.lower() for word in words})
        raise TreeError(f"no class shown has {text!r} in its id or name{hint}.")
    return tuple(entry for entry in entries if entry.id in kept)


def take_depths(entries: Sequence[Entry], num_depths: int) -> tuple[Entry, ...]:
    """Return the entries of the first depths, counted from the uppermost entry."""
    top = min((entry.depth for entry in entries), default=0)
    return tuple(entry for entry in entries if entry.depth < top + num_depths)
