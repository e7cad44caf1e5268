"""Taxonomies as they come: whatever the form, a reader gives one plain value.

    X.csv                columns child,parent and, if there is one, name: a row an edge
    X.json               nested objects and lists; records with id, name, children; hypernym's own
                         tree.json and exports; the official file, by its key child_2_parent; the
                         categories of iNaturalist (kingdom to genus) and of COCO (supercategory)
    X.nwk, X.newick      Newick
    a folder             folders inside folders
    a networkx DiGraph   edges from parent to child (from Python)

Each is walked as rows (child, parent, name) in the order in which it states them. An empty parent
makes a root; an empty name is none. docs/trees.md shows the forms.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hypernym.errors import TreeError
from hypernym.hierarchy.wordnet import LEXICON, ParentRule, imagenet_exceptions, load_wordnet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FORMS = "a .csv, .json, .nwk or .newick file, or a folder of folders"

Row = tuple[str, str, str]
"""Child, parent (empty: the child is a root), name (empty: none given)."""


@runtime_checkable
class Graph(Protocol):
    """What is used of a networkx DiGraph, whose edges lead from parent to child."""

    nodes: Any
    edges: Any


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
        return _collect(_folder_rows(source), source.resolve().name, "first mention")
    match source.suffix.lower():
        case ".csv":
            return _collect(_csv_rows(source), source.name, "first row")
        case ".json":
            return _collect(_json_rows(source), source.name, "first mention")
        case ".nwk" | ".newick":
            return _collect(_newick_rows(source), source.name, "first mention")
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


def _read_text(path: Path, form: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise TreeError(f"{path} cannot be read as {form} ({cause}).") from cause


def _csv_rows(path: Path) -> Iterator[Row]:
    text = io.StringIO(_read_text(path, "CSV"), newline="")
    try:
        rows = list(csv.DictReader(text, skipinitialspace=True))
    except csv.Error as cause:
        raise TreeError(f"{path} cannot be read as CSV ({cause}).") from cause
    if not rows or not {"child", "parent"} <= rows[0].keys():
        raise TreeError(f"{path} needs a first line `child,parent` and a row for each edge below it.")
    for number, row in enumerate(rows, start=2):
        child, parent, name = ((row.get(key) or "").strip() for key in ("child", "parent", "name"))
        if not child:
            raise TreeError(f"{path}, row {number}: {parent!r} has no child: a row is `child,parent`.")
        yield child, parent, name


def _json_rows(path: Path) -> Iterator[Row]:
    try:
        document = json.loads(_read_text(path, "JSON"), object_pairs_hook=_refuse_repeated_keys)
    except (ValueError, RecursionError) as cause:
        raise TreeError(f"{path} cannot be read as JSON ({cause}).") from cause
    match document:
        case {"format": "hypernym.tree", "parents": dict(parents), "names": dict(names)}:
            return _parent_rows(parents, names)
        case {"child_2_parent": dict(parents)}:
            return _parent_rows(parents, document.get("class_description", {}))
        case {"format": "hypernym.taxonomy", "classes": classes}:
            return _nested_rows(classes, path)
        case {"categories": list(categories)} | list(categories) if _are_categories(categories):
            return _category_rows(categories, path)
        case _:
            return _nested_rows(document, path)


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


def _nested_rows(document: object, path: Path) -> Iterator[Row]:
    """Walk nested objects, lists and records from the top, in the order of the file."""
    waiting = [("", node) for node in reversed(list(_nodes(document, path)))]
    while waiting:
        parent, (child, name, below) = waiting.pop()
        yield child, parent, name
        waiting += [(child, node) for node in reversed(list(_nodes(below, path)))]


def _nodes(value: object, path: Path) -> Iterator[tuple[str, str, object]]:
    """Give id, name and content of each node that stands right in a value."""
    match value:
        case None:
            return
        case str() if value:
            yield value, "", None
        case list():
            for item in value:
                yield from _nodes(item, path)
        case {"id": str(node), **more} if node:
            name = more.get("name")
            yield node, name if isinstance(name, str) else "", more.get("children")
        case {"name": str(node), **more} if node:
            yield node, "", more.get("children")
        case dict() if "" not in value:
            for node, below in value.items():
                yield node, "", below
        case _:
            raise TreeError(
                f"{path}: {json.dumps(value)[:60]} is no part of a taxonomy: nest objects whose keys "
                f'are ids, as {{"animal": {{"cat": {{}}}}}}, lists of ids, or records with an id.'
            )


_NEWICK = re.compile(r"\s*(?:\[[^\]]*\]\s*)*('(?:[^']|'')*'|[(),;:]|[^()\[\]',;:]+)")
_NEWICK_FAULTS = ("label(", "labellabel", ")(", ":(")


def _newick_rows(path: Path) -> Iterator[Row]:
    """Read the trees of a Newick file.

    What hangs below a node without a name belongs to the next one above. An underscore stays one: it
    is part of many ids.
    """
    lists: list[list[Any]] = [[]]  # those that are open, outermost first
    for before, mark in _newick_marks(path):
        match before, mark:
            case _, "(":
                lists.append([])
            case _, ")":
                lists[-2].append(lists.pop())
            case (_, "," | ";" | ":") | (":", _):  # what follows a colon is the length of a branch
                pass
            case ")", label:
                lists[-1][-1] = {"id": _unquote(label), "children": lists[-1][-1]}
            case _, label:
                lists[-1].append(_unquote(label))
    return _nested_rows(lists[0], path)


def _newick_marks(path: Path) -> Iterator[tuple[str, str]]:
    """Give each mark of a Newick file, behind what stood before it: a mark, or the word `label`."""
    text = _read_text(path, "Newick").strip()
    position, depth, before = 0, 0, ";"
    while position < len(text) and (token := _NEWICK.match(text, position)):
        mark = token[1].strip()
        kind = mark if mark in "(),;:" else "label"
        depth += {"(": 1, ")": -1}.get(kind, 0)
        if depth < 0 or (kind == ";" and depth) or before + kind in _NEWICK_FAULTS:
            break
        yield before, mark
        position, before = token.end(), kind
    if position < len(text) or before != ";":
        raise TreeError(
            f"{path} cannot be read as Newick near {text[position : position + 20]!r} (character "
            f"{position + 1}): a tree looks like (cat,dog)animal; with a semicolon at its end."
        )


def _unquote(label: str) -> str:
    return label[1:-1].replace("''", "'") if label.startswith("'") else label


def _folder_rows(path: Path) -> Iterator[Row]:
    for place, inside, _ in os.walk(path):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        parent = "" if Path(place) == path else Path(place).name
        for name in inside:
            yield name, parent, ""


def _graph_rows(graph: Graph) -> Iterator[Row]:
    for node, given in graph.nodes(data=True):
        yield str(node), "", str(given.get("name", ""))
    for parent, child in graph.edges:
        yield str(child), str(parent), ""
