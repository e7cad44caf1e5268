"""`hypernym tree`: a taxonomy becomes the label tree of a dataset; the tree checked, shown, exported."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import ConfigDict, Field, validate_call

from hypernym.data.dataset import open_dataset
from hypernym.errors import UsageError
from hypernym.hierarchy.exports import check_ending, export_outline
from hypernym.hierarchy.findings import Finding, Severity, check_taxonomy, check_tree
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.outline import Entry, make_outline, take_depths, take_matching, take_under
from hypernym.hierarchy.taxonomies import Graph, read_taxonomy
from hypernym.hierarchy.tree import Inner, build_from_wordnet, build_tree, load_tree, save_tree
from hypernym.hierarchy.wordnet import ParentRule

if TYPE_CHECKING:
    from rich.tree import Tree as RichTree

    from hypernym.data.dataset import Dataset
    from hypernym.hierarchy.tree import Tree

_validated = validate_call(config=ConfigDict(arbitrary_types_allowed=True))  # for networkx graphs

Source = Annotated[Path | Graph, Parameter(name="--taxonomy")]


@dataclass(frozen=True)
class TreeReport:
    """What `tree build` made."""

    tree: Path
    classes: int
    added: int
    """Of the classes, inner ones that no image is labelled with."""

    roots: int
    leaves: int
    classes_at_depth: list[int]
    edges_not_taken: int
    rule: str
    lexicon: str

    def __str__(self) -> str:
        """Return the summary for a person."""
        depths = "  ".join(f"{depth}:{count}" for depth, count in enumerate(self.classes_at_depth))
        added = f" ({self.added} of them inner classes without images)" if self.added else ""
        return (
            f"{self.tree}: {self.classes} classes{added} from {self.lexicon}, rule '{self.rule}'\n"
            f"  roots {self.roots}, leaves {self.leaves}; classes at depth {depths}\n"
            f"  {self.edges_not_taken} edges to further parents were not taken (they are listed there)\n"
            f"Next: hypernym pretrain {self.tree.parent} RUN"
        )


@_validated
def build(
    dataset: Path,
    *,
    taxonomy: Source | None = None,
    rule: ParentRule | None = None,
    inner: Inner | None = None,
) -> TreeReport:
    """Build the label tree of a dataset and write it as DATASET/tree.json.

    Args:
        dataset: A prepared dataset.
        taxonomy: Your own taxonomy: a CSV with the columns child,parent, nested JSON, Newick, or a
            folder of folders. Without it the class ids are WordNet 3.0 ids (n02084071).
        rule: Which of several hypernyms counts in WordNet: imagenet (the default) is ImageNet's own
            choice, first-hypernym WordNet's.
        inner: Which ancestors become classes without images of their own: all (the default for a
            taxonomy of your own), branching (those with two or more children), or none (the default
            for WordNet, as in ImageNet-21K-P).
    """
    opened = open_dataset(dataset)
    tree = _build(opened, taxonomy, rule, inner)
    save_tree(dataset / "tree.json", tree)
    levels = make_levels(tree)
    return TreeReport(
        dataset / "tree.json",
        len(tree.ids),
        tree.num_added,
        int(levels.counts_L[0]),
        len(set(range(len(tree.ids))) - set(tree.parents)),
        levels.counts_L.tolist(),
        len(tree.edges_not_taken),
        tree.rule,
        tree.lexicon,
    )


def _build(
    dataset: Dataset, source: Path | Graph | None, rule: ParentRule | None, inner: Inner | None
) -> Tree:
    ids = dataset.classes.ids
    if source is None:
        return build_from_wordnet(ids, rule or ParentRule.IMAGENET, inner or Inner.NONE)
    if rule is not None:
        raise UsageError(
            f"--rule {rule} speaks of WordNet: leave it away, for the first parent counts in a "
            f"taxonomy of your own."
        )
    return build_tree(ids, read_taxonomy(source), inner or Inner.ALL)


@dataclass(frozen=True)
class CheckReport:
    """What `tree check` found."""

    checked: str
    classes: int
    findings: tuple[Finding, ...]
    limit: int

    @property
    def exit_code(self) -> int:
        """2 where no tree can be built, else 0."""
        return 2 if any(finding.severity is Severity.FATAL for finding in self.findings) else 0

    def __str__(self) -> str:
        """Return a line a finding, at most `limit` of a kind."""
        counts = Counter(finding.severity for finding in self.findings)
        told = ", ".join(f"{counts[severity]} {severity}" for severity in Severity)
        lines = [f"{self.checked}, {self.classes} classes: {told}"]
        kinds = Counter(finding.kind for finding in self.findings)
        for kind, count in kinds.items():
            of_kind = [finding for finding in self.findings if finding.kind == kind]
            lines += [f"  {finding}" for finding in of_kind[: self.limit or None]]
            if 0 < self.limit < count:
                lines.append(f"  ... and {count - self.limit} more of '{kind}' (--limit 0 shows all)")
        return "\n".join(lines)


@_validated
def check(
    dataset: Path,
    *,
    taxonomy: Source | None = None,
    inner: Inner | None = None,
    limit: Annotated[int, Field(ge=0)] = 10,
) -> CheckReport:
    """Tell what is odd about the tree of a dataset, or about a taxonomy before it is built.

    Exits with 2 if no tree can be built. Writes nothing.

    Args:
        dataset: A prepared dataset.
        taxonomy: Check this taxonomy over the dataset's classes instead of DATASET/tree.json.
        inner: As for tree build; for a taxonomy alone.
        limit: How many findings of a kind are printed; 0 for all.
    """
    if taxonomy is None and inner is not None:
        raise UsageError(
            f"--inner {inner} says how a taxonomy is built, and {dataset / 'tree.json'} is built: add "
            f"--taxonomy, or leave --inner away."
        )
    opened = open_dataset(dataset)
    findings: list[Finding] = []
    if taxonomy is None:
        tree = _load(opened)
        checked = str(dataset / "tree.json")
    else:
        read = read_taxonomy(taxonomy)
        checked = read.lexicon
        findings += check_taxonomy(opened.classes.ids, read)
        if any(finding.severity is Severity.FATAL for finding in findings):
            return CheckReport(checked, len(opened.classes), tuple(findings), limit)
        tree = _build(opened, taxonomy, None, inner)
    findings += check_tree(tree, opened.classes)
    return CheckReport(checked, len(tree.ids), tuple(findings), limit)


@dataclass(frozen=True)
class ShowReport:
    """A tree, or a part of it, from the top down."""

    title: str
    entries: tuple[Entry, ...]

    def __str__(self) -> str:
        """Return the tree as plain text."""
        from rich.console import Console

        text = io.StringIO()
        console = Console(
            file=text, width=1000, color_system=None, highlight=False, force_terminal=False
        )
        console.print(self.__rich__())
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def __rich__(self) -> RichTree:
        """Return the tree for a terminal."""
        from rich.text import Text
        from rich.tree import Tree as RichTree

        whole = RichTree(Text(self.title, style="bold"), guide_style="dim")
        drawn: dict[str | None, RichTree] = {}
        opened = {entry.parent for entry in self.entries}
        for entry in self.entries:
            line = Text(entry.name, style="bold" if entry.num_below else "")
            if entry.id != entry.name:
                line.append(f"  {entry.id}", style="dim")
            line.append(f"  {_count(entry)}", style="cyan")
            if entry.num_below and entry.id not in opened:
                line.append(f"  ... {entry.num_below:,} below", style="yellow")
            drawn[entry.id] = drawn.get(entry.parent, whole).add(line)
        return whole


def _count(entry: Entry) -> str:
    """Return the images at and below a class, and its own where it has some and is no leaf."""
    own = f" (own {entry.train:,} + {entry.val:,})" if entry.num_below and not entry.added else ""
    return f"{entry.all_train:,} train + {entry.all_val:,} val{own}"


@validate_call
def show(
    dataset: Path,
    *,
    under: str | None = None,
    depth: Annotated[int, Field(ge=1)] | None = None,
    match: str | None = None,
) -> ShowReport:
    """Print the tree of a dataset with the images at and below each class.

    Args:
        dataset: A dataset with a tree.
        under: Show this class, given by id or name, and what is below it.
        depth: Show so many depths of these; what is below them is counted.
        match: Show the classes whose id or name contains this text, and what is above them.
    """
    opened = open_dataset(dataset)
    tree = _load(opened)
    entries = make_outline(tree, opened.classes)
    if under is not None:
        entries = take_under(entries, under)
    if match is not None:
        entries = take_matching(entries, match)
    if depth is not None:
        entries = take_depths(entries, depth)
    title = f"{dataset / 'tree.json'}: {len(entries):,} of {len(tree.ids):,} classes, {tree.lexicon}"
    return ShowReport(title, entries)


@dataclass(frozen=True)
class ExportReport:
    """What `tree export` wrote."""

    out: Path
    classes: int

    def __str__(self) -> str:
        """Return the summary for a person."""
        return f"{self.out}: {self.classes:,} classes"


@validate_call
def export(dataset: Path, out: Path) -> ExportReport:
    """Write the tree of a dataset for other programs, or as a page to look at.

    Args:
        dataset: A dataset with a tree.
        out: The file to write; its ending says what: .csv, .json, .dot (Graphviz), .nwk (Newick) or
            .html, one page that needs no network.
    """
    check_ending(out)
    opened = open_dataset(dataset)
    entries = make_outline(_load(opened), opened.classes)
    export_outline(out, entries, dataset.resolve().name)
    return ExportReport(out, len(entries))


def _load(dataset: Dataset) -> Tree:
    return load_tree(dataset.path / "tree.json", classes_digest=dataset.classes.digest)
