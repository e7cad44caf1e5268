"""comparison.html: a comparison on one page for people.

The page is one file that asks nothing of the network and runs no script. Names come from plans and from
other people's runs: jinja2 escapes all of them, and matplotlib those in the pictures.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from hypernym.comparison.figures import COLOURS, embed
from hypernym.comparison.words import (
    HOLE,
    PAIR_HEAD,
    TESTS,
    tell_cell,
    tell_pair,
    tell_wins,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hypernym.comparison.comparison import Comparison
    from hypernym.comparison.figures import Plot


def to_page(found: Comparison, title: str, plots: Mapping[str, Sequence[Plot]]) -> str:
    """Return the page.

    Args:
        found: What is shown.
        title: Of the page.
        plots: Pictures by section: points, depths, shots, sweeps.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    words = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    words.filters |= {"number": _number, "points": lambda share: f"{100 * share:.1f}"}
    numbered = enumerate(plot for section in plots.values() for plot in section)
    # What matplotlib draws is SVG of its own making, with every text escaped.
    pictures = {plot.name: Markup(embed(plot, number)) for number, plot in numbered}  # noqa: S704
    template = (files(__package__) / "comparison_page.html").read_text(encoding="utf-8")
    return words.from_string(template).render(
        title=title,
        found=found,
        cells={
            (scheme, column.name): tell_cell(found, scheme, column)
            for scheme in found.grid.schemes
            for column in found.grid.columns
        },
        tests=TESTS,
        wins=[tell_wins(wins) for wins in found.wins],
        pair_head=PAIR_HEAD,
        pairs=[tell_pair(pair) for pair in found.pairs],
        plots=plots,
        pictures=pictures,
        colours=COLOURS,
        hole=HOLE,
    )


def _number(value: float | None, form: str = "{:,.0f}") -> str:
    return HOLE if value is None else form.format(value)
