"""`hypernym tree`: a taxonomy becomes the label tree of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import validate_call

from hypernym.data.dataset import open_dataset
from hypernym.hierarchy.levels import make_levels
from hypernym.hierarchy.tree import build_from_edges, build_from_wordnet, save_tree


@dataclass(frozen=True)
class TreeReport:
    """What `tree build` made."""

    tree: Path
    classes: int
    roots: int
    leaves: int
    classes_at_depth: list[int]
    edges_not_taken: int
    rule: str
    lexicon: str

    def __str__(self) -> str:
        """Return the summary for a person."""
        depths = "  ".join(f"{depth}:{count}" for depth, count in enumerate(self.classes_at_depth))
        return (
            f"{self.tree}: {self.classes} classes from {self.lexicon}, rule '{self.rule}'\n"
            f"  roots {self.roots}, leaves {self.leaves}; classes at depth {depths}\n"
            f"  {self.edges_not_taken} edges to further parents were not taken (they are listed there)\n"
            f"Next: hypernym pretrain {self.tree.parent} RUN"
        )


@validate_call
def build(dataset: Path, *, edges: Path | None = None) -> TreeReport:
    """Build the label tree of a dataset and write it as DATASET/tree.json.

    Args:
        dataset: A prepared dataset.
        edges: A CSV with the columns child,parent: your own taxonomy. Without it the class ids are
            WordNet 3.0 ids (n02084071), and the tree follows ImageNet's rule.
    """
    opened = open_dataset(dataset)
    ids = opened.classes.ids
    tree = build_from_edges(ids, edges) if edges else build_from_wordnet(ids)
    save_tree(dataset / "tree.json", tree)
    levels = make_levels(tree)
    return TreeReport(
        dataset / "tree.json",
        len(ids),
        int(levels.counts_L[0]),
        len(set(range(len(ids))) - set(tree.parents)),
        levels.counts_L.tolist(),
        len(tree.edges_not_taken),
        tree.rule,
        tree.lexicon,
    )
