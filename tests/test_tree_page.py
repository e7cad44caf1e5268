"""The page that `tree export` writes, opened in a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from hypernym.data.classes import ClassTable
from hypernym.hierarchy.exports import export_outline
from hypernym.hierarchy.outline import make_outline
from hypernym.hierarchy.tree import ROOT, Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOSTILE = "<script>document.title='taken'</script>"
TITLE = f"a </title>{HOSTILE}"
NAMES = ["animal", "bird", "great horned owl", HOSTILE, "</script><img src=x>", "plant"]
PARENTS = [ROOT, 0, 1, 1, 0, ROOT]
NUM_MORE = 200
"""Further classes below `plant`: a tree too large to be opened whole at first."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ids = tuple(f"class-{label:03d}" for label in range(len(NAMES) + NUM_MORE))
    names = tuple(NAMES + [f"herb {number}" for number in range(NUM_MORE)])
    parents = tuple(PARENTS + [NAMES.index("plant")] * NUM_MORE)
    counts = tuple(range(len(ids)))
    tree = Tree(ids, parents, "by hand", "none")
    path = tmp_path_factory.mktemp("page") / "tree.html"
    export_outline(path, make_outline(tree, ClassTable(ids, names, counts, counts, counts)), TITLE)
    return path


@pytest.fixture
def page(open_page: Callable[[Path], Page], file: Path) -> Page:
    """The page, opened and drawn."""
    page = open_page(file)
    page.wait_for_selector("[role=treeitem]")
    return page


def shown(page: Page) -> list[str]:
    """Return the names of the classes in sight, once the picture is drawn."""
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    labels = page.locator("[role=treeitem]").evaluate_all(
        "(nodes) => nodes.map((node) => node.getAttribute('aria-label'))"
    )
    return [str(label) for label in labels]


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_a_large_tree_is_opened_to_its_roots(page: Page) -> None:
    assert shown(page) == [TITLE, "plant", "animal"]


def test_hostile_names_and_titles_are_text(page: Page) -> None:
    expect(page).to_have_title(TITLE)
    expect(page.locator("h1")).to_have_text(TITLE)
    page.fill("#query", "taken")
    expect(page.locator("#matches li").first).to_contain_text(HOSTILE)
    page.keyboard.press("Enter")
    assert {HOSTILE, "</script><img src=x>"} <= set(shown(page))
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2


def test_a_search_finds_opens_and_tells_of_a_class(page: Page) -> None:
    page.fill("#query", "horned")
    expect(page.locator("#matches li")).to_have_count(1)
    expect(page.locator("#matches small")).to_have_text("animal \u203a bird")
    assert "great horned owl" not in shown(page)
    page.keyboard.press("Enter")
    assert "great horned owl" in shown(page)
    expect(page.locator("#where")).to_contain_text(
        "animal \u203a bird \u203a great horned owl class-002"
    )
    expect(page.locator("#where")).to_contain_text("2 train + 2 val images")


def test_a_search_without_a_match_says_so(page: Page) -> None:
    page.fill("#query", "unicorn")
    expect(page.locator("#matches li")).to_have_text(["no class has this in name or id"])
    page.keyboard.press("Enter")
    assert len(shown(page)) == 3


def test_the_keyboard_opens_moves_and_closes(page: Page) -> None:
    page.focus("#picture")
    press(page, "ArrowDown", "ArrowDown", "ArrowRight")
    assert {"animal", "bird"} <= set(shown(page))
    expect(page.get_by_role("treeitem", name="animal")).to_have_attribute("aria-expanded", "true")
    press(page, "ArrowRight", "Enter")
    assert "great horned owl" in shown(page)
    press(page, "ArrowLeft", "ArrowLeft", " ")
    assert shown(page) == [TITLE, "plant", "animal"]
    expect(page.get_by_role("treeitem", name="animal")).to_have_attribute("aria-selected", "true")
    press(page, "/")
    expect(page.locator("#query")).to_be_focused()


def test_a_click_opens_and_closes_and_a_drag_does_not(page: Page) -> None:
    plant = page.get_by_role("treeitem", name="plant").locator("text")
    plant.click()
    assert "herb 0" in shown(page)
    box = plant.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 90, steps=4)
    page.mouse.up()
    assert "herb 0" in shown(page)
    moved = plant.bounding_box()
    assert moved is not None
    assert moved["y"] - box["y"] == pytest.approx(85, abs=2)
    plant.click()
    assert "herb 0" not in shown(page)


def test_only_what_is_in_sight_is_drawn_and_the_way_to_it_stays(page: Page) -> None:
    page.get_by_role("treeitem", name="plant").locator("text").click()
    page.mouse.move(500, 400)
    page.mouse.wheel(0, 2400)
    seen = shown(page)
    assert "herb 0" not in seen
    assert "plant" in seen
    assert 20 < len(seen) < 40


def test_the_picture_is_zoomed(page: Page) -> None:
    def scale() -> float:
        shown(page)
        found = re.search(r"scale\((.+)\)", page.locator("#drawing").get_attribute("transform") or "")
        assert found is not None
        return float(found[1])

    before = scale()
    page.get_by_role("button", name="Larger").click()
    assert scale() == pytest.approx(1.25 * before)
    page.focus("#picture")
    press(page, "-", "-")
    assert scale() == pytest.approx(0.8 * before)
    press(page, "0")
    assert scale() == 1


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_page_is_dark_where_the_reader_wants_it(page: Page, scheme: str, is_dark: bool) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    brightness = sum(int(part) for part in re.findall(r"\d+", str(colour))[:3])
    assert (brightness < 3 * 64) == is_dark
