"""What the property tests draw."""

import random

from hypothesis import strategies as st

from hypernym.hierarchy.tree import ROOT, Tree


@st.composite
def forests(draw: st.DrawFn, max_classes: int = 40) -> Tree:
    """A forest of 1 to `max_classes` classes; a parent's label may be higher than its children's.

    Classes are grown one below another and then get their labels in a random order.
    """
    size = draw(st.integers(1, max_classes))
    grown = [draw(st.integers(ROOT, place - 1)) for place in range(size)]
    order = list(range(size))
    random.Random(draw(st.integers(0, 1000))).shuffle(order)  # noqa: S311 - no secret
    parents = [ROOT] * size
    for place, parent in enumerate(grown):
        parents[order[place]] = order[parent] if parent != ROOT else ROOT
    ids = tuple(f"class-{label:02d}" for label in range(size))
    return Tree(ids, tuple(parents), "drawn", "a test")
