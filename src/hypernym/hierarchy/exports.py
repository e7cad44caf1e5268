"""An outline written for others: spreadsheets, programs, Graphviz, phylogenetics, a browser.

CSV, JSON and Newick are read back by `hypernym tree build --taxonomy`. The page (HTML) is one file
that asks nothing of the network; its template is package data.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hypernym.errors import UsageError
from hypernym.files import write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hypernym.hierarchy.outline import Entry

TAXONOMY_VERSION = 1
ENDINGS = (".csv", ".json", ".dot", ".nwk", ".html")

_PLAIN_LABEL = re.compile(r"[\w.+-]+")


def check_ending(out: Path) -> None:
    """Check that the ending of a name is one that can be written.

    Raises:
        UsageError: it is not.
    """
    if out.suffix.lower() not in ENDINGS:
        raise UsageError(f"{out} names no form of a tree: let it end in {', '.join(ENDINGS)}.")


def export_outline(out: Path, entries: Sequence[Entry], title: str) -> None:
    """Write an outline in the form that the ending of `out` names.

    Raises:
        UsageError: it is too deep for JSON.
    """
    match out.suffix.lower():
        case ".csv":
            write_text(out, _to_csv(entries))
        case ".json":
            try:
                write_json(out, "taxonomy", TAXONOMY_VERSION, classes=_nest(entries))
            except RecursionError as cause:
                depths = 1 + max(entry.depth for entry in entries)
                raise UsageError(
                    f"{out} would have to nest {depths:,} depths, which is too deep for JSON: let the "
                    f"name end in .csv or .nwk."
                ) from cause
        case ".dot":
            write_text(out, _to_dot(entries, title))
        case ".nwk":
            write_text(out, _to_newick(entries))
        case ".html":
            write_text(out, _to_page(entries, title))


def _to_csv(entries: Sequence[Entry]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["child", "parent", "name", "depth", "train", "val"])
    for entry in entries:
        parent = entry.parent or ""
        writer.writerow([entry.id, parent, entry.name, entry.depth, entry.train, entry.val])
    return text.getvalue()


def _nest(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return a record for each root, with those of its children inside."""
    roots: list[dict[str, Any]] = []
    inside: dict[str | None, list[dict[str, Any]]] = {None: roots}
    for entry in entries:
        record = {"id": entry.id, "name": entry.name, "train": entry.train, "val": entry.val}
        inside[entry.parent].append(record)
        if entry.num_below:
            record["children"] = inside[entry.id] = []
    return roots


def _to_dot(entries: Sequence[Entry], title: str) -> str:
    lines = [f"digraph {_quote(title)} {{", '  rankdir="LR";', '  node [shape="plaintext"];']
    lines += [f"  {_quote(entry.id)} [label={_quote(entry.name)}];" for entry in entries]
    lines += [f"  {_quote(entry.parent)} -> {_quote(entry.id)};" for entry in entries if entry.parent]
    return "\n".join([*lines, "}", ""])


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _to_newick(entries: Sequence[Entry]) -> str:
    """Return one tree of ids; several roots hang below a node without a name."""
    below: dict[str | None, list[str]] = {}
    for entry in reversed(entries):
        inside = ",".join(reversed(below.pop(entry.id, [])))
        plain = _PLAIN_LABEL.fullmatch(entry.id)
        label = entry.id if plain else "'" + entry.id.replace("'", "''") + "'"
        below.setdefault(entry.parent, []).append(f"({inside}){label}" if inside else label)
    roots = below[None][::-1]
    return f"{roots[0]};\n" if len(roots) == 1 else f"({','.join(roots)});\n"


def _to_page(entries: Sequence[Entry], title: str) -> str:
    """Fill the template. Inside the script element a `<` is written as an escape of JSON."""
    place = {entry.id: number for number, entry in enumerate(entries)}
    data = {
        "title": title,
        "ids": [entry.id for entry in entries],
        "names": [entry.name for entry in entries],
        "parents": [place[entry.parent] if entry.parent else -1 for entry in entries],
        "added": [int(entry.added) for entry in entries],
        "train": [entry.train for entry in entries],
        "val": [entry.val for entry in entries],
    }
    packed = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    filling = {"title": html.escape(title), "data": packed}
    template = (files(__package__) / "tree_page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(title|data)\}\}", lambda found: filling[found[1]], template)
