"""The page of a comparison, opened in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from compared_runs import DEPTHS, right_about, write_pretraining, write_transfer
from playwright.sync_api import Page, expect

from hypernym.commands.compare import compare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser

HOSTILE = "<script>document.title='taken'</script>$\\frac$"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    runs = []
    for scheme, share in (("semantic", 0.9), ("single-label", 0.3)):
        for seed in (0, 1, 2):
            runs.append(write_pretraining(folder / f"a-{scheme}-{seed}", scheme, seed))
            for rate in (1e-3, 1e-2):
                place = folder / f"b-{scheme}-{seed}-{rate}"
                options = {"optim.lr": rate}
                runs.append(write_transfer(place, scheme, seed, method="full", options=options))
            runs.append(
                write_transfer(
                    folder / f"c-{scheme}-{seed}",
                    scheme,
                    seed,
                    right_about(share + seed / 200, seed),
                    by_depth=DEPTHS,
                )
            )
    shots = [{"shots": 1, "scores": [0.3]}, {"shots": 9, "scores": [0.5]}]
    runs.append(write_transfer(folder / "few", "semantic", 0, method="few-shot", shots=shots))
    runs += [write_transfer(folder / f"d-{seed}", "x", seed, name=HOSTILE) for seed in (0, 1)]
    compare(runs, out=folder / "out")
    return folder / "out/comparison.html"


@pytest.fixture
def page(open_page: Callable[[Path], Page], file: Path) -> Page:
    return open_page(file)


def test_the_page_shows_the_table_and_what_is_real(page: Page) -> None:
    table = page.locator("#table table")
    expect(table.locator("tbody tr")).to_have_count(3)
    expect(table.locator("b")).to_have_count(1)
    expect(table.locator("tbody tr").first).to_contain_text("semantic")
    expect(page.locator("#wins li").first).to_contain_text("1 of 1 transfers, really on 1")


def test_each_section_has_its_pictures(page: Page) -> None:
    for section, count in (("points", 6), ("depths", 3), ("shots", 1), ("sweeps", 1)):
        expect(page.locator(f"#{section} figure[aria-label] svg")).to_have_count(count)
    sizes = page.locator("svg").evaluate_all("(all) => all.map((svg) => svg.clientHeight)")
    assert min(sizes) > 80


def test_ids_in_the_pictures_are_their_own(page: Page) -> None:
    assert page.evaluate(
        "() => { const ids = [...document.querySelectorAll('[id]')].map((each) => each.id);"
        " return ids.length === new Set(ids).size }"
    )


def test_hostile_names_are_shown_and_not_run(page: Page) -> None:
    expect(page).to_have_title("Comparison out")
    expect(page.locator("#table tbody tr").last).to_contain_text("<script>")
    expect(page.locator("script")).to_have_count(0)
    expect(page.locator("#points")).to_contain_text("$\\frac$")


def test_a_phone_scrolls_tables_and_never_the_page(page: Page) -> None:
    page.set_viewport_size({"width": 380, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 380
    assert page.evaluate(
        "[...document.querySelectorAll('figure svg')].every((svg) => svg.clientWidth > 300)"
    )


def test_wide_tables_can_be_reached_by_keys(page: Page) -> None:
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert "Scores of each scheme" in reached
    assert "Tests of every two schemes" in reached


def test_pictures_take_the_colours_of_a_dark_page(browser: Browser, file: Path) -> None:
    colours = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(file.as_uri())
        colours.append(
            page.locator("#points svg text").first.evaluate("(text) => getComputedStyle(text).fill")
        )
        context.close()
    assert colours[0] != colours[1]
    assert "#fffffe" not in file.read_text()
