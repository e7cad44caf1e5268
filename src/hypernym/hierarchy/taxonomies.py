"""Taxonomies as they come: whatever the form, a reader gives one plain value.

    X.csv                columns child,parent and, if there is one, name: a row an edge; between the
                         columns a comma, a semicolon or a tab
    X.json               nested objects and lists; records with id, name, children; hypernym's own
                         tree.json and exports; the official file, by its key child_2_parent; the
                         categories of iNaturalist (kingdom to genus) and of COCO (supercategory)
    X.nwk, X.newick      Newick
    a folder             folders inside folders
    a networkx DiGraph   edges from parent to child (from Python)

Each is walked as rows (child, parent, name) in the order in which it states them. An empty parent
makes a root; an empty name is none. JSON, Newick and folders nest: there a class is meant to stand at
one place, and an id that is met at two is kept on record. docs/trees.md shows the forms.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hypernym.errors import TreeError
from hypernym.hierarchy.nesting import find_duplicates, folder_nodes, nested_nodes, newick_nodes
from hypernym.hierarchy.wordnet import LEXICON, ParentRule, imagenet_exceptions, load_wordnet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hypernym.hierarchy.nesting import Duplicate, Node

FORMS = "a .csv, .json, .nwk or .newick file, or a folder of folders"

Row = tuple[str, str, str]
"""Child, parent (empty: the child is a root), name (empty: none given)."""


@runtime_checkable
class Graph(Protocol):
    """What is used of a networkx DiGraph or MultiDiGraph, whose edges lead from parent to child."""

    nodes: Any
    edges: Any

    def is_directed(self) -> bool:
        """Tell whether edges have a direction."""


@dataclass(frozen=True)
class Taxonomy:
    """Which ids stand below which, of classes and of what is no class."""

    parents: Mapping[str, tuple[str, ...]]
    """The parents of each id as stated, repetitions included; empty for a root. The first counts."""

    names: Mapping[str, str]
    """By id, where a name is given."""

    lexicon: str
    """Where it comes from."""

    rule: str
    """How the parent that counts is chosen."""

    exceptions: Mapping[str, str | None] = field(default_factory=dict)
    """Ids for which another parent counts than the first, or none."""

    duplicates: tuple[Duplicate, ...] = ()
    """Ids that a form that nests states at several places."""

    def parent_of(self, node: str) -> str | None:
        """Return the parent that counts; None for a root."""
        if node in self.exceptions:
            return self.exceptions[node]
        return next(iter(self.parents[node]), None)

    def ancestors_of(self, node: str) -> tuple[str, ...]:
        """Return the ids above one, nearest first; none above an id that is not in here."""
        found = [node]
        while node in self.parents and (parent := self.parent_of(node)) and parent not in found:
            found.append(parent)
            node = parent
        return tuple(found[1:])


@cache
def load_wordnet_taxonomy(rule: ParentRule) -> Taxonomy:
    """Return WordNet 3.0's nouns under a named rule."""
    wordnet = load_wordnet()
    names = {synset: lemmas[0] for synset, lemmas in wordnet.lemmas.items()}
    exceptions = imagenet_exceptions() if rule is ParentRule.IMAGENET else {}
    return Taxonomy(wordnet.hypernyms, names, LEXICON, rule.value, exceptions)


def read_taxonomy(source: Path | Graph) -> Taxonomy:
    """Read a taxonomy, whose form is seen from what it is.

    Raises:
        TreeError: it cannot be read, is in no known form, or is empty.
    """
    if not isinstance(source, Path):
        return _collect(_graph_rows(source), "a networkx graph", "first mention")
    if source.is_dir():
        return _collect_nested(folder_nodes(source), source.resolve().name)
    match source.suffix.lower():
        case ".csv":
            return _collect(_csv_rows(source), source.name, "first row")
        case ".json":
            return _read_json(source)
        case ".nwk" | ".newick":
            return _collect_nested(newick_nodes(_read_text(source, "Newick"), source), source.name)
        case _ if not source.exists():
            raise TreeError(f"{source} does not exist: a taxonomy is {FORMS}.")
        case _:
            raise TreeError(f"{source} is no taxonomy that can be read: give {FORMS}.")


def _collect(rows: Iterable[Row], lexicon: str, rule: str) -> Taxonomy:
    parents: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for child, parent, name in rows:
        parents.setdefault(child, [])
        if parent:
            parents[child].append(parent)
            parents.setdefault(parent, [])
        if name:
            names.setdefault(child, name)
    if not parents:
        raise TreeError(f"{lexicon} holds no taxonomy: there is not one id in it.")
    return Taxonomy({child: tuple(ups) for child, ups in parents.items()}, names, lexicon, rule)


def _collect_nested(found: Iterable[Node], lexicon: str) -> Taxonomy:
    nodes = list(found)
    rows = ((node.id, node.above.id if node.above else "", node.name) for node in nodes)
    return replace(_collect(rows, lexicon, "first mention"), duplicates=find_duplicates(nodes))


def _read_text(path: Path, form: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise TreeError(f"{path} cannot be read as {form} ({cause}).") from cause


def _csv_rows(path: Path) -> Iterator[Row]:
    text = _read_text(path, "CSV")
    head = text.partition("\n")[0].strip()
    delimiter = max(",;\t", key=head.count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        titles, *rows = list(table) or [[]]
    except csv.Error as cause:
        raise TreeError(f"{path} cannot be read as CSV ({cause}).") from cause
    titles = [title.strip().lower() for title in titles]
    if not {"child", "parent"} <= set(titles):
        raise TreeError(
            f"{path} begins with {head[:60]!r}: its first line has to name the columns, "
            f"`child,parent` and perhaps `name`, with a comma, a semicolon or a tab between them."
        )
    for number, cells in enumerate(rows, start=2):
        row = dict(zip(titles, (cell.strip() for cell in cells), strict=False))
        child, parent, name = (row.get(title, "") for title in ("child", "parent", "name"))
        for cell in (child, parent, name):
            if "\n" in cell or "\r" in cell:
                raise TreeError(
                    f"{path}, row {number}: {cell[:40]!r} goes over several lines: close the quote that "
                    f"opens there, or write it on one."
                )
        if cells and not child:
            raise TreeError(f"{path}, row {number}: {parent!r} has no child: a row is `child,parent`.")
        if child:
            yield child, parent, name


def _read_json(path: Path) -> Taxonomy:
    try:
        document = json.loads(_read_text(path, "JSON"), object_pairs_hook=_refuse_repeated_keys)
    except (ValueError, RecursionError) as cause:
        raise TreeError(f"{path} cannot be read as JSON ({cause}).") from cause
    match document:
        case {"format": "hypernym.tree", "parents": dict(parents), "names": dict(names)}:
            rows = _parent_rows(parents, names)
        case {"child_2_parent": dict(parents)}:
            rows = _parent_rows(parents, document.get("class_description", {}))
        case {"categories": list(categories)} | list(categories) if _are_categories(categories):
            rows = _category_rows(categories, path)
        case {"format": "hypernym.taxonomy", "classes": classes}:
            return _collect_nested(nested_nodes(classes, path), path.name)
        case _:
            return _collect_nested(nested_nodes(document, path), path.name)
    return _collect(rows, path.name, "first mention")


RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
"""What iNaturalist's categories state above the species, from the top down."""


def _are_categories(items: list[Any]) -> bool:
    """Tell whether a list is one of categories as COCO and iNaturalist publish them."""
    return bool(items) and all(
        isinstance(item, dict)
        and isinstance(item.get("id"), int)
        and isinstance(item.get("name"), str)
        and "supercategory" in item
        for item in items
    )


def _category_rows(items: list[dict[str, Any]], path: Path) -> Iterator[Row]:
    """Walk categories.

    With ranks (iNaturalist): a category goes by its id in digits, and what is above it by the whole path
    from the kingdom down, for a plant and a bird may share the name of their genus. Without (COCO): a
    category goes by its name, below its supercategory, unless that has the name of a category.
    """
    names = {item["name"] for item in items}
    for item in items:
        if RANKS[0] not in item:
            above = item["supercategory"]
            if not isinstance(above, str):
                raise TreeError(f"{path}: {json.dumps(item)[:60]} has a supercategory that is no text.")
            yield item["name"], "" if above in names else above, ""
            continue
        parent = ""
        for rank in RANKS:
            name = item.get(rank)
            if not isinstance(name, str):
                raise TreeError(f"{path}: {json.dumps(item)[:60]} states no {rank}: get the file anew.")
            if name:
                node = f"{parent}/{name}" if parent else name
                yield node, parent, name
                parent = node
        yield str(item["id"]), parent, item["name"]


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def _parent_rows(parents: Mapping[str, str | None], names: Mapping[str, str]) -> Iterator[Row]:
    for child, parent in parents.items():
        yield child, parent or "", names.get(child, "")


def _graph_rows(graph: Graph) -> Iterator[Row]:
    if not graph.is_directed():
        raise TreeError(
            "the networkx graph has edges without a direction: give a DiGraph, whose edges lead from "
            "parent to child."
        )
    for node, given in graph.nodes(data=True):
        if not str(node):
            raise TreeError("the networkx graph has a node whose id is empty: give it an id.")
        yield str(node), "", str(given.get("name") or "")
    for parent, child, *_ in graph.edges:  # in a multigraph a key stands behind them
        yield str(child), str(parent), ""
