"""The simulation of ImageNet-21K's size, small: what memory each further image costs."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hypernym.data.shards import INDEX_ROW, open_index, save_index
from hypernym.preparation.layout import lay_out
from hypernym.preparation.rules import Recipe, make_rules
from hypernym.preparation.seen import open_seen
from hypernym.preparation.selection import select

if TYPE_CHECKING:
    from collections.abc import Callable

FEW, MANY = 10_000, 70_000
BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "scale.py"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Rows as the benchmark makes them up, by their number."""
    spec = spec_from_file_location("scale", BENCHMARK)
    assert spec
    assert spec.loader
    benchmark: Any = module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    folder = tmp_path_factory.mktemp("rows")
    paths = {num: folder / f"{num}.arrow" for num in (FEW, MANY)}
    for num, path in paths.items():
        benchmark.write_rows(path, num, 40)
    return paths


def peak_of(work: Callable[[], object]) -> int:
    """Return the most bytes that were held at any time, beside mapped files."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("recipe", Recipe)
def test_choosing_and_laying_out_takes_little_memory_for_each_further_image(
    recipe: Recipe, rows: dict[int, Path]
) -> None:
    rules = make_rules(recipe)
    rule = replace(rules.selection, min_images=100)

    def choose(num: int) -> None:
        seen = open_seen(rows[num])
        selection = select(seen, rule, rules.duplicates, ancestors_of=lambda _: ())
        assert sum(len(shard.rows) for shard in lay_out(seen, selection, rules.shard_bytes)) > num / 2

    choose(FEW)  # what is imported late is not counted
    slope = (peak_of(lambda: choose(MANY)) - peak_of(lambda: choose(FEW))) / (MANY - FEW)
    assert slope < 300  # 14.2 million images: 4 GB


def test_opening_an_index_takes_no_memory_for_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "index.npy"
    save_index(path, np.zeros(1_000_000, INDEX_ROW))
    assert peak_of(lambda: open_index(path)) < 1 << 20
