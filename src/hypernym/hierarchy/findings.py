"""What is to be known of a tree before training on it: findings, each about one class.

A finding is fatal where no tree can be built, a warning where something is probably not as it was
meant, and a note where it is worth knowing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from hypernym.errors import nearest
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.tree import ROOT, find_clashes, find_cycles, find_orphans
from hypernym.hierarchy.wordnet import LEXICON, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypernym.data.classes import ClassTable
    from hypernym.hierarchy.taxonomies import Taxonomy
    from hypernym.hierarchy.tree import Tree


class Severity(StrEnum):
    """How much a finding matters."""

    FATAL = "fatal"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing to know about one class."""

    severity: Severity
    kind: str
    class_id: str
    sentence: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.severity:<8} {self.kind:<16} {self.class_id}: {self.sentence}"


def check_taxonomy(ids: Sequence[str], taxonomy: Taxonomy) -> Iterator[Finding]:
    """Give what can be said of a taxonomy before a tree over these classes is built from it."""
    orphans = find_orphans(ids, taxonomy)
    for class_id in orphans:
        hint = nearest(class_id, taxonomy.parents)
        sentence = f"{taxonomy.lexicon} does not mention this class{hint}"
        yield Finding(Severity.FATAL, "orphan", class_id, sentence)
    known = [class_id for class_id in ids if class_id in taxonomy.parents]
    clashes = find_clashes(known, taxonomy)
    for duplicate in taxonomy.duplicates:
        severity = Severity.FATAL if duplicate in clashes else Severity.WARNING
        yield Finding(severity, "duplicate id", duplicate.id, str(duplicate))
    for cycle in find_cycles(known, taxonomy.parent_of):
        yield Finding(Severity.FATAL, "cycle", cycle[0], f"stands above itself, {' > '.join(cycle)}")
    for node, ups in taxonomy.parents.items():
        for parent, times in Counter(ups).items():
            if times > 1:
                sentence = f"is put below {parent} {times} times: once is enough"
                yield Finding(Severity.WARNING, "stated twice", node, sentence)
    if taxonomy.lexicon != LEXICON:
        above = {parent for ups in taxonomy.parents.values() for parent in ups}
        for node in taxonomy.parents.keys() - above - set(ids):
            sentence = f"no class of the dataset has this id{nearest(node, orphans)}; it is left out"
            yield Finding(Severity.NOTE, "unknown id", node, sentence)


def check_tree(tree: Tree, classes: ClassTable) -> Iterator[Finding]:
    """Give what can be said of a tree over a class table."""
    names = tree.name_all(classes.names)
    children: defaultdict[int, list[int]] = defaultdict(list)
    for child, parent in enumerate(tree.parents):
        if parent != ROOT:
            children[parent].append(child)

    for index, count in enumerate(classes.train_counts):
        if not count:
            sentence = f"{names[index]} has no training image"
            yield Finding(Severity.WARNING, "no images", tree.ids[index], sentence)
    for index in range(tree.num_labels, len(tree.ids)):
        sentence = f"{names[index]} has no images of its own: it is learned from those of its children"
        yield Finding(Severity.NOTE, "added", tree.ids[index], sentence)
    for index, (child, *others) in sorted(children.items()):
        if not others:
            yield _tell_only_child(tree, names, index, child)
    levels = make_levels(tree)
    for depth, at_depth in enumerate(levels.classes_at):
        if len(at_depth) == 1:
            index = int(at_depth[0])
            sentence = f"{names[index]} is the only class at depth {depth}: nothing is learned there"
            yield Finding(Severity.NOTE, "lone at depth", tree.ids[index], sentence)
    yield from _tell_further_parents(tree, names)
    yield from _tell_shared_names(tree, names)


def _tell_only_child(tree: Tree, names: Sequence[str], index: int, child: int) -> Finding:
    only = f"{names[index]} has one child, {names[child]} ({tree.ids[child]})"
    if index < tree.num_labels:
        return Finding(Severity.NOTE, "one child", tree.ids[index], only)
    sentence = f"{only}, and no images of its own: --inner branching leaves it out"
    return Finding(Severity.WARNING, "one child", tree.ids[index], sentence)


def _tell_further_parents(tree: Tree, names: Sequence[str]) -> Iterator[Finding]:
    name = dict(zip(tree.ids, names, strict=True))
    further: defaultdict[str, list[str]] = defaultdict(list)
    for child, parent in tree.edges_not_taken:
        further[child].append(f"{name.get(parent) or name_of(parent)} ({parent})")
    for child, parents in further.items():
        sentence = (
            f"{name.get(child) or name_of(child)} also stands below {', '.join(parents)}, which the "
            f"rule '{tree.rule}' did not take"
        )
        yield Finding(Severity.NOTE, "several parents", child, sentence)


def _tell_shared_names(tree: Tree, names: Sequence[str]) -> Iterator[Finding]:
    ids_of: defaultdict[str, list[str]] = defaultdict(list)
    for class_id, name in zip(tree.ids, names, strict=True):
        ids_of[name].append(class_id)
    for name, (first, *others) in ids_of.items():
        if others:
            sentence = f"shares the name {name!r} with {', '.join(others)}"
            yield Finding(Severity.NOTE, "shared name", first, sentence)
