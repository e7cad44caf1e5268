"""Forms that nest: JSON, Newick and folders, read as nodes.

In these a class is meant to stand at one place. An id that is met at two is found here.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypernym.errors import TreeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


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


def find_duplicates(nodes: Iterable[Node]) -> tuple[Duplicate, ...]:
    """Return the ids that stand at several places, in the order in which they are first met."""
    nodes_of: defaultdict[str, list[Node]] = defaultdict(list)
    below: defaultdict[Node, list[str]] = defaultdict(list)
    for node in nodes:
        nodes_of[node.id].append(node)
        if node.above:
            below[node.above].append(node.id)
    found = (_find_duplicate(places, below) for places in nodes_of.values() if len(places) > 1)
    return tuple(duplicate for duplicate in found if duplicate)


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


def nested_nodes(document: object, path: Path) -> Iterator[Node]:
    """Walk nested objects, lists and records from the top, in the order of the file.

    Raises (as the next one):
        TreeError: something in it is no part of a taxonomy.
    """
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
            case {"id": str(node), **more} if node:
                name = more.get("name")
                found = Node(node, name if isinstance(name, str) else "", above)
                yield found
                waiting.append((found, more.get("children")))
            case {"name": str(node), **more} if node:
                found = Node(node, "", above)
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


def newick_nodes(text: str, path: Path) -> Iterator[Node]:
    """Read the trees of a Newick file, given its text.

    What hangs below a node without a name belongs to the next one above. An underscore stays one: it
    is part of many ids. A number is an id as well: it may be one of NCBI's as well as a support value.
    """
    lists: list[list[Any]] = [[]]  # those that are open, outermost first
    for before, mark in _newick_marks(text, path):
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
    return nested_nodes(lists[0], path)


def _newick_marks(text: str, path: Path) -> Iterator[tuple[str, str]]:
    """Give each mark of a Newick file, behind what stood before it: a mark, or the word `label`."""
    text = _NEWICK_END.sub("", text, count=1)
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


def folder_nodes(path: Path) -> Iterator[Node]:
    """Walk folders inside folders, of each the names in order."""
    nodes: dict[str, Node | None] = {str(path): None}
    for place, inside, _ in os.walk(path):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        for name in inside:
            node = Node(name, "", nodes[place])
            nodes[os.path.join(place, name)] = node  # noqa: PTH118 - as os.walk will name it
            yield node
