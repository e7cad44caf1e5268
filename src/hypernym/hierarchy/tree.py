"""The tree over the classes: for each class its parent class, by a named rule.

A taxonomy speaks of many things that are no classes of a dataset. The parent of a class is the
nearest of its ancestors that is a class; a class without such an ancestor is a root, so the tree may
be a forest. Which of several parents an ancestor walk takes is a choice: the rule is named, and the
edges not taken are kept on record.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from hypernym.data.classes import digest_classes
from hypernym.errors import MismatchError, TreeError, nearest
from hypernym.files import digest_text, read_json, write_json
from hypernym.hierarchy.wordnet import LEXICON, imagenet_parents, load_wordnet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

TREE_VERSION = 1
ROOT = -1


@dataclass(frozen=True)
class Tree:
    """A forest over the classes of one class table."""

    ids: tuple[str, ...]
    """Class ids in label order."""

    parents: tuple[int, ...]
    """The label of each class's parent; `ROOT` for a root."""

    rule: str
    lexicon: str
    edges_not_taken: tuple[tuple[str, str], ...] = ()
    """(child, parent) pairs of the taxonomy that the rule passed over on the way up."""

    @property
    def classes_digest(self) -> str:
        """The digest of the class table whose labels this tree speaks of."""
        return digest_classes(self.ids)

    @cached_property
    def parent_digest(self) -> str:
        """SHA-256 over the lines `child TAB parent`: equal exactly for equal trees."""
        parents = (self.ids[parent] if parent != ROOT else "" for parent in self.parents)
        rows = zip(self.ids, parents, strict=True)
        return digest_text("".join(f"{child}\t{parent}\n" for child, parent in rows))


def build_from_wordnet(ids: Sequence[str]) -> Tree:
    """Build the tree of WordNet classes by ImageNet's own rule (see `imagenet_parents`).

    Raises:
        TreeError: an id is no WordNet 3.0 noun.
    """
    hypernyms = load_wordnet().hypernyms
    unknown = [class_id for class_id in ids if class_id not in hypernyms]
    if unknown:
        raise TreeError(
            f"{_some(unknown)} of the {len(ids)} classes {_are(unknown)} no {LEXICON} ids (such as "
            f"n02084071): give a taxonomy of your own with --edges FILE.csv."
        )
    return _build(ids, imagenet_parents(), hypernyms, "imagenet", LEXICON)


def build_from_edges(ids: Sequence[str], path: Path) -> Tree:
    """Build the tree from a CSV with the columns `child` and `parent`, a row an edge.

    An empty parent makes a root. Names that are no classes may stand in between. Where a child has
    several parents, the first row counts.

    Raises:
        TreeError: the file cannot be read so, has a cycle, or does not mention a class.
    """
    edges = _read_edges(path)
    parents: dict[str, list[str]] = {}
    for child, parent in edges:
        parents.setdefault(child, [])
        if parent:
            parents[child].append(parent)
            parents.setdefault(parent, [])
    missing = [class_id for class_id in ids if class_id not in parents]
    if missing:
        hint = nearest(missing[0], parents)
        raise TreeError(
            f"{path} does not mention {_some(missing)} of the {len(ids)} classes{hint}: add a row "
            f"`{missing[0]},PARENT` (or `{missing[0]},` for a root) for each."
        )
    first = {child: ups[0] if ups else None for child, ups in parents.items()}
    return _build(ids, first, parents, "first row", path.name)


def _read_edges(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise TreeError(f"{path} cannot be read as CSV ({cause}).") from cause
    if not rows or not {"child", "parent"} <= rows[0].keys():
        raise TreeError(f"{path} needs a first line `child,parent` and a row for each edge below it.")
    return [((row["child"] or "").strip(), (row["parent"] or "").strip()) for row in rows]


def _build(
    ids: Sequence[str],
    parent_of: Mapping[str, str | None],
    all_parents: Mapping[str, Iterable[str]],
    rule: str,
    lexicon: str,
) -> Tree:
    label_of = {class_id: label for label, class_id in enumerate(ids)}
    parents = []
    on_the_way: dict[str, None] = {}
    for class_id in ids:
        walked = [class_id]
        while (parent := parent_of.get(walked[-1])) is not None and parent not in label_of:
            _refuse_cycle(walked, parent)
            walked.append(parent)
        parents.append(label_of[parent] if parent is not None else ROOT)
        on_the_way.update(dict.fromkeys(walked))
    _refuse_class_cycles(ids, parents)
    not_taken = tuple(
        (child, parent)
        for child in on_the_way
        for parent in all_parents.get(child, ())
        if parent != parent_of.get(child)
    )
    return Tree(tuple(ids), tuple(parents), rule, lexicon, not_taken)


def _refuse_cycle(walked: list[str], parent: str) -> None:
    if parent in walked:
        cycle = " > ".join([*walked[walked.index(parent) :], parent])
        raise TreeError(f"the taxonomy has a cycle, {cycle}: remove one of these edges.")


def _refuse_class_cycles(ids: Sequence[str], parents: list[int]) -> None:
    ends: set[int] = {ROOT}  # labels from which a root is reached
    for label in range(len(ids)):
        walked: list[int] = []
        while label not in ends:
            _refuse_cycle([ids[step] for step in walked], ids[label])
            walked.append(label)
            label = parents[label]  # noqa: PLW2901 - the walk goes up from here
        ends.update(walked)


def _some(ids: list[str]) -> str:
    shown = ", ".join(repr(class_id) for class_id in ids[:3])
    return shown if len(ids) <= 3 else f"{shown} and {len(ids) - 3} more"  # noqa: PLR2004


def _are(ids: list[str]) -> str:
    return "is" if len(ids) == 1 else "are"


def save_tree(path: Path, tree: Tree) -> None:
    """Write the tree as JSON, by class ids."""
    parents = {
        class_id: tree.ids[parent] if parent != ROOT else None
        for class_id, parent in zip(tree.ids, tree.parents, strict=True)
    }
    write_json(
        path,
        "tree",
        TREE_VERSION,
        classes_digest=tree.classes_digest,
        rule=tree.rule,
        lexicon=tree.lexicon,
        parents=parents,
        edges_not_taken=tree.edges_not_taken,
    )


def load_tree(path: Path, *, classes_digest: str) -> Tree:
    """Read a tree and check that it speaks of the class table with this digest.

    Raises:
        TreeError: there is no such file, or it is damaged.
        MismatchError: the tree was built for other classes.
    """
    if not path.exists():
        raise TreeError(f"{path} does not exist: run `hypernym tree build {path.parent}` first.")
    document = read_json(path, "tree", TREE_VERSION, TreeError)
    parents = document["parents"]
    if document["classes_digest"] != classes_digest:
        raise MismatchError(
            f"{path} is a tree over {len(parents)} other classes (digest "
            f"{document['classes_digest'][:8]}) than the class table beside it (digest "
            f"{classes_digest[:8]}): build it anew with `hypernym tree build {path.parent}`."
        )
    label_of = {class_id: label for label, class_id in enumerate(parents)}
    unknown = [parent for parent in parents.values() if parent and parent not in label_of]
    if unknown or digest_classes(tuple(parents)) != classes_digest:
        raise TreeError(f"{path} is damaged: build it anew with `hypernym tree build`.")
    labels = [label_of[parent] if parent else ROOT for parent in parents.values()]
    _refuse_class_cycles(tuple(parents), labels)
    edges = tuple((child, parent) for child, parent in document["edges_not_taken"])
    return Tree(tuple(parents), tuple(labels), document["rule"], document["lexicon"], edges)
