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
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hypernym.errors import TreeError
from hypernym.hierarchy.wordnet import LEXICON, ParentRule, imagenet_exceptions, load_wordnet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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


@dataclass(frozen=True, eq=False)
class Node:
    """A class at one of its places in a form that nests. Another place is another node."""

    id: str
    name: str
    above: Node | None

    @property
    def path(self) -> str:
        """Its ancestors and itself from the top down, as `birds/other`."""
        node, ids = self.above, [self.id]
        while node is not None:
            ids.append(node.id)
            node = node.above
        return "/".join(reversed(ids))


@dataclass(frozen=True)
class Duplicate:
    """An id that stands at two places of a form that nests, and is read as one class."""

    id: str
    places: tuple[str, str]
    differs: bool
    """Both places have classes below them, and not the same: so these are two classes."""

    def __str__(self) -> str:
        """Return what is wrong and what to do, without the id before it and the full stop."""
        there = " and at ".join(self.places)
        if not self.differs:
            return f"stands at {there} and is taken as one class: if there are two, rename one"
        if self.id.replace(".", "", 1).isdigit():
            return f"stands at {there}: rename one, or take it out if it is a support value (Newick)"
        return f"stands at {there}: these are two classes with one id, so rename one"


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
        return _collect_nested(_folder_nodes(source), source.resolve().name)
    match source.suffix.lower():
        case ".csv":
            return _collect(_csv_rows(source), source.name, "first row")
        case ".json":
            return _read_json(source)
        case ".nwk" | ".newick":
            return _collect_nested(_newick_nodes(source), source.name)
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


def _collect_nested(nodes: Iterable[Node], lexicon: str) -> Taxonomy:
    nodes_of: defaultdict[str, list[Node]] = defaultdict(list)
    below: defaultdict[Node, list[str]] = defaultdict(list)
    rows = []
    for node in nodes:
        rows.append((node.id, node.above.id if node.above else "", node.name))
        nodes_of[node.id].append(node)
        if node.above:
            below[node.above].append(node.id)
    found = (_find_duplicate(places, below) for places in nodes_of.values() if len(places) > 1)
    duplicates = tuple(duplicate for duplicate in found if duplicate)
    return replace(_collect(rows, lexicon, "first mention"), duplicates=duplicates)


def _find_duplicate(nodes: Sequence[Node], below: Mapping[Node, list[str]]) -> Duplicate | None:
    """Compare the nodes of one id; None if it is only repeated below one parent, as a leaf or whole."""
    inner = [node for node in nodes if node in below]
    for node in inner[1:]:
        if set(below[node]) != set(below[inner[0]]):
            first, second = (f"{at.path} (above {_some(below[at])})" for at in (inner[0], node))
            return Duplicate(node.id, (first, second), differs=True)
    first, *others = dict.fromkeys(node.path for node in nodes)
    return Duplicate(nodes[0].id, (first, others[0]), differs=False) if others else None


def _some(ids: list[str]) -> str:
    return ", ".join([*ids[:2], "..."] if len(ids) > 2 else ids)  # noqa: PLR2004


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
        if any(sign in cell for cell in (child, parent, name) for sign in "\r\n"):
            raise TreeError(
                f"{path}, row {number}: {cells[0][:40]!r} goes over several lines: close the quote "
                f"that opens there."
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
            return _collect_nested(_nested_nodes(classes, path), path.name)
        case _:
            return _collect_nested(_nested_nodes(document, path), path.name)
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


def _nested_nodes(document: object, path: Path) -> Iterator[Node]:
    """Walk nested objects, lists and records from the top, in the order of the file."""
    waiting: list[tuple[Node | None, object]] = [(None, document)]
    while waiting:
        above, value = waiting.pop()
        match value:
            case None:
                pass
            case str() if value:
                yield Node(value, "", above)
            case list():
                waiting += [(above, item) for item in reversed(value)]
            case {"id": str(node), **more} | {"name": str(node), **more} if node:
                name = more.get("name")
                found = Node(node, name if isinstance(name, str) else "", above)
                yield found
                waiting.append((found, more.get("children")))
            case dict() if "" not in value:
                records = [{"id": node, "children": below} for node, below in value.items()]
                waiting += [(above, record) for record in reversed(records)]
            case _:
                raise TreeError(
                    f"{path}: {json.dumps(value)[:60]} is no part of a taxonomy: nest objects whose "
                    f'keys are ids, as {{"animal": {{"cat": {{}}}}}}, lists of ids, or records with '
                    f"an id."
                )


_COMMENTS = r"\s*(?:\[[^\]]*\]\s*)*"
_NEWICK = re.compile(_COMMENTS + r"('(?:[^']|'')*'|[(),;:]|[^()\[\]',;:]+)")
_NEWICK_END = re.compile(_COMMENTS + r"\Z")
_NEWICK_FAULTS = ("label(", "labellabel", ")(", ":(")


def _newick_nodes(path: Path) -> Iterator[Node]:
    """Read the trees of a Newick file.

    What hangs below a node without a name belongs to the next one above. An underscore stays one: it
    is part of many ids. A number is an id as well: it may be one of NCBI's as well as a support value.
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
    return _nested_nodes(lists[0], path)


def _newick_marks(path: Path) -> Iterator[tuple[str, str]]:
    """Give each mark of a Newick file, behind what stood before it: a mark, or the word `label`."""
    text = _NEWICK_END.sub("", _read_text(path, "Newick"), count=1)
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


def _folder_nodes(path: Path) -> Iterator[Node]:
    nodes: dict[str, Node | None] = {str(path): None}
    for place, inside, _ in os.walk(path):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        for name in inside:
            node = Node(name, "", nodes[place])
            nodes[os.path.join(place, name)] = node  # noqa: PTH118 - as os.walk will name it
            yield node


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
