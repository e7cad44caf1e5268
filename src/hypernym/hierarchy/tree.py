"""The tree over the classes: for each class its parent class, by a named rule.

A taxonomy speaks of many things that are no classes of a dataset. The parent of a class is the
nearest of its ancestors that is a class; a class without such an ancestor is a root, so the tree may
be a forest. Ancestors that are no classes of the dataset can be added as classes without images of
their own (`Inner`). Which of several parents an ancestor walk takes is a choice: the rule is named,
and the edges not taken are kept on record.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from hypernym.data.classes import digest_classes
from hypernym.errors import MismatchError, TreeError, nearest
from hypernym.files import digest_text, read_json, write_json
from hypernym.hierarchy.taxonomies import load_wordnet_taxonomy
from hypernym.hierarchy.wordnet import LEXICON, ParentRule, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from hypernym.hierarchy.nesting import Duplicate
    from hypernym.hierarchy.taxonomies import Taxonomy

TREE_VERSION = 1
ROOT = -1


class Inner(StrEnum):
    """Which ancestors of the classes become classes without images of their own."""

    ALL = "all"
    """Every one that the rule meets on the way up."""

    BRANCHING = "branching"
    """Those with two or more children among all that the rule meets."""

    NONE = "none"
    """None: the tree holds the classes of the dataset alone, as that of ImageNet-21K-P does."""


@dataclass(frozen=True)
class Tree:
    """A forest over the classes of one class table and the inner classes added to them."""

    ids: tuple[str, ...]
    """Class ids: those of the class table in label order, then the added ones in byte order."""

    parents: tuple[int, ...]
    """The index of each class's parent; `ROOT` for a root."""

    rule: str
    lexicon: str
    edges_not_taken: tuple[tuple[str, str], ...] = ()
    """(child, parent) pairs of the taxonomy that the rule passed over on the way up."""

    num_added: int = 0
    """How many of the ids, at the end, are added inner classes, which no image is labelled with."""

    names: Mapping[str, str] = field(default_factory=dict)
    """By id: of each added class, and of each other class that the taxonomy names in its own way."""

    @property
    def num_labels(self) -> int:
        """How many of the ids, from the start, are labels of images: the class table."""
        return len(self.ids) - self.num_added

    @property
    def classes_digest(self) -> str:
        """The digest of the class table whose labels this tree speaks of."""
        return digest_classes(self.ids[: self.num_labels])

    @cached_property
    def parent_digest(self) -> str:
        """SHA-256 over the lines `child TAB parent`: equal exactly for equal trees."""
        parents = (self.ids[parent] if parent != ROOT else "" for parent in self.parents)
        rows = zip(self.ids, parents, strict=True)
        return digest_text("".join(f"{child}\t{parent}\n" for child, parent in rows))

    def name_all(self, table_names: Sequence[str]) -> tuple[str, ...]:
        """Return a name for each id; `table_names` are those of the class table, in label order."""
        names = (*table_names, *self.ids[self.num_labels :])
        return tuple(self.names.get(*pair) for pair in zip(self.ids, names, strict=True))


def make_flat_tree(ids: Sequence[str]) -> Tree:
    """Return the tree of classes that nothing is known of: each is a root."""
    return Tree(tuple(ids), (ROOT,) * len(ids), rule="none", lexicon="none")


def build_from_wordnet(
    ids: Sequence[str], rule: ParentRule = ParentRule.IMAGENET, inner: Inner = Inner.NONE
) -> Tree:
    """Build the tree of WordNet classes; by default the official one of ImageNet-21K-P.

    Raises:
        TreeError: an id is no WordNet 3.0 noun.
    """
    taxonomy = load_wordnet_taxonomy(rule)
    unknown = find_orphans(ids, taxonomy)
    if unknown:
        raise TreeError(
            f"{_some(unknown)} of the {len(ids)} classes {_are(unknown)} no {LEXICON} ids (such as "
            f"n02084071): give a taxonomy of your own with --taxonomy, for instance a CSV of "
            f"edges."
        )
    return build_tree(ids, taxonomy, inner)


def build_tree(ids: Sequence[str], taxonomy: Taxonomy, inner: Inner) -> Tree:
    """Build the tree of classes (given in label order) from a taxonomy.

    Raises:
        TreeError: the taxonomy does not mention a class, or has above one a cycle or an id that stands
            for two classes.
    """
    missing = find_orphans(ids, taxonomy)
    if missing:
        raise TreeError(
            f"{taxonomy.lexicon} does not mention {_some(missing)} of the {len(ids)} classes"
            f"{nearest(missing[0], taxonomy.parents)}: put each below its parent (in a CSV by a row "
            f"`{missing[0]},PARENT`, or `{missing[0]},` for a root)."
        )
    for clash in find_clashes(ids, taxonomy):
        raise TreeError(f"{taxonomy.lexicon}: {clash.id!r} {clash}.")
    _refuse_cycles(find_cycles(ids, taxonomy.parent_of))

    parent_of = _walk_up(ids, taxonomy)
    added = _choose_inner(parent_of, inner) - set(ids)
    kept = (*ids, *sorted(added))
    index_of = {class_id: index for index, class_id in enumerate(kept)}

    def nearest_kept(node: str | None) -> int:
        while node is not None and node not in index_of:
            node = parent_of[node]
        return ROOT if node is None else index_of[node]

    not_taken = {
        (child, parent): None
        for child, taken in parent_of.items()
        for parent in taxonomy.parents[child]
        if parent != taken
    }
    names = {node: taxonomy.names.get(node) or name_of(node) for node in kept}
    return Tree(
        kept,
        tuple(nearest_kept(parent_of[node]) for node in kept),
        taxonomy.rule,
        taxonomy.lexicon,
        tuple(not_taken),
        len(added),
        {node: name for node, name in names.items() if node in added or name != name_of(node)},
    )


def _choose_inner(parent_of: Mapping[str, str | None], inner: Inner) -> set[str]:
    match inner:
        case Inner.ALL:
            return set(parent_of)
        case Inner.BRANCHING:
            children = Counter(parent for parent in parent_of.values() if parent is not None)
            return {node for node, count in children.items() if count > 1}
        case Inner.NONE:
            return set()


def find_orphans(ids: Iterable[str], taxonomy: Taxonomy) -> list[str]:
    """Return the classes that a taxonomy does not mention."""
    return [class_id for class_id in ids if class_id not in taxonomy.parents]


def find_clashes(ids: Iterable[str], taxonomy: Taxonomy) -> list[Duplicate]:
    """Return the duplicate ids that stand for two classes and are among some classes or above them."""
    met = _walk_up(ids, taxonomy)
    return [found for found in taxonomy.duplicates if found.differs and found.id in met]


def _walk_up(ids: Iterable[str], taxonomy: Taxonomy) -> dict[str, str | None]:
    """Return the parent of each class and of all that the rule meets on the way up from them."""
    parent_of: dict[str, str | None] = {}
    for class_id in ids:
        node: str | None = class_id
        while node is not None and node not in parent_of:
            parent_of[node] = taxonomy.parent_of(node)
            node = parent_of[node]
    return parent_of


def find_cycles(ids: Iterable[str], parent_of: Callable[[str], str | None]) -> list[list[str]]:
    """Return each cycle that a walk up from the classes runs into, upwards, its first id again last."""
    cycles: list[list[str]] = []
    seen: set[str] = set()
    for class_id in ids:
        walked: list[str] = []
        node: str | None = class_id
        while node is not None and node not in seen:
            seen.add(node)
            walked.append(node)
            node = parent_of(node)
        if node in walked:
            cycles.append([*walked[walked.index(node) :], node])
    return cycles


def _refuse_cycles(cycles: list[list[str]]) -> None:
    if cycles:
        raise TreeError(f"the taxonomy has a cycle, {' > '.join(cycles[0])}: remove one of these edges.")


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
        num_labels=tree.num_labels,
        rule=tree.rule,
        lexicon=tree.lexicon,
        parents=parents,
        names=tree.names,
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
    match read_json(path, "tree", TREE_VERSION, TreeError):
        case {
            "classes_digest": str(digest),
            "num_labels": int(num_labels),
            "rule": str(rule),
            "lexicon": str(lexicon),
            "parents": dict(parents),
            "names": dict(names),
            "edges_not_taken": list(edges),
        } if 0 < num_labels <= len(parents):
            ids = tuple(parents)
        case _:
            raise TreeError(f"{path} is damaged: build it anew with `hypernym tree build`.")
    if digest != classes_digest:
        raise MismatchError(
            f"{path} is a tree over {num_labels} other classes (digest {digest[:8]}) than the class "
            f"table beside it (digest {classes_digest[:8]}): build it anew with "
            f"`hypernym tree build {path.parent}`."
        )
    index_of = {class_id: index for index, class_id in enumerate(ids)}
    unknown = [parent for parent in parents.values() if parent and parent not in index_of]
    if unknown or digest_classes(ids[:num_labels]) != classes_digest:
        raise TreeError(f"{path} is damaged: build it anew with `hypernym tree build`.")
    _refuse_cycles(find_cycles(ids, parents.get))
    return Tree(
        ids,
        tuple(index_of[parent] if parent else ROOT for parent in parents.values()),
        rule,
        lexicon,
        tuple((child, parent) for child, parent in edges),
        len(ids) - num_labels,
        names,
    )
