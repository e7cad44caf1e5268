"""The page that `prepare` writes for people: what it says, and how it looks in a real browser."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect
from seen_rows import Row, make_seen

from hypernym.data.classes import ClassTable
from hypernym.data.images import ImagePolicy, Resize
from hypernym.preparation.duplicates import Conflicts, DuplicateRule, Duplicates, Prints, Verdicts
from hypernym.preparation.job import Preparation, Taxonomy
from hypernym.preparation.pipeline import run_preparation
from hypernym.preparation.report import Step, Throughput, write_report
from hypernym.preparation.rules import PrepareRules
from hypernym.preparation.selection import (
    SPLITS,
    Count,
    Foreign,
    Holdout,
    Selection,
    SelectionRule,
    select,
)
from hypernym.preparation.sources.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from enum import StrEnum
    from pathlib import Path

    from playwright.sync_api import Browser

    from hypernym.preparation.seen import Seen

Card: TypeAlias = "dict[str, Any]"

HOSTILE = "<script>document.title='taken'</script>"
QUOTES = "\"><img src=x onerror=\"document.title='taken'\">'"
SPEED = Throughput((Step("convert", 12.5, 1000, "images"), Step("select", 0.5)), 2, "processes")
RULES = PrepareRules(
    ImagePolicy(64, Resize.SQUISH, 95),
    SelectionRule(8, 2, 0),
    DuplicateRule(Duplicates.NEAR, Conflicts.DROP, 24),
    10_000,
)


def names_of(ids: Sequence[str]) -> list[str]:
    return [f"name of {class_id}" for class_id in ids]


TAXONOMY = Taxonomy(names_of, lambda class_id: ("animal",) if class_id == "cat" else (), "by hand")


# --- making a report ----------------------------------------------------------------------------


def count_splits(selection: Selection, label: int | None = None) -> list[int]:
    codes = selection.labels.codes[
        selection.labels.starts[:-1].clip(max=len(selection.labels.codes) - 1)
    ]
    of_class = True if label is None else codes == label
    return [int(((selection.splits == split) & of_class).sum()) for split in SPLITS]


def card_of(seen: Seen, selection: Selection, changes: Card | None = None) -> Card:
    counts = count_splits(selection)
    return {
        "source": {"name": "photos.tar", "size": 3_000_000_000, "layout": "tar-of-class-tars"},
        "images": {"size": 64, "resize": "squish", "quality": 95},
        "selection": {
            "min_images": 8,
            "val_per_class": 2,
            "seed": 0,
            "count": "usable",
            "holdout": "hash",
        },
        "duplicates": {"duplicates": "near", "conflicts": "drop", "max_distance": 24},
        "shard_bytes": 128_000_000,
        "classes_wanted": None,
        "against": [],
        "num_classes": len(selection.kept),
        "classes_digest": "c" * 64,
        "classes_dropped": selection.dropped,
        "classes_missing": [],
        "splits": {split.folder: {"images": counts[split], "shards": 1} for split in SPLITS[:2]},
        "images_seen": len(seen),
        "digest": "d" * 64,
        "versions": {"hypernym": "0.1.0"},
        **(changes or {}),
    }


def report_of_rows(path: Path, rows: Sequence[Row], changes: Card | None = None) -> str:
    """Write a report of rows made by hand, without any picture."""
    seen = make_seen(rows)
    selection = select(seen, RULES.selection, RULES.duplicates, ancestors_of=lambda _: ())
    return write(path, seen, selection, None, card_of(seen, selection, changes))


def write(path: Path, seen: Seen, selection: Selection, foreign: Foreign | None, card: Card) -> str:
    kept = selection.kept
    counts = [count_splits(selection, label) for label in range(len(kept))]
    write_report(
        path,
        card=card,
        classes=ClassTable(kept, tuple(names_of(kept)), *zip(*counts, strict=True)),
        seen=seen,
        selection=selection,
        foreign=foreign,
        name_classes=names_of,
        read_jpeg=lambda _: None,
        throughput=SPEED,
    )
    return path.read_text()


def text_of(page: str) -> str:
    """Return what a reader sees, without entities and tags."""
    body = re.sub(r"<style>.*</style>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


# --- a source with known dirt -------------------------------------------------------------------


def draw(seed: int, side: int = 90) -> Image.Image:
    """Draw a picture that is like no other."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side + seed % 7), tuple(random.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, width, height = random.integers(0, side, 4).tolist()
        pen.ellipse((x, y, x + width // 2, y + height // 2), tuple(random.integers(0, 256, 3).tolist()))
    return image


def encode(image: Image.Image, form: str = "JPEG", **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders: cats, which are animals, dogs, and too few birds; with dirt of every kind."""
    folder = tmp_path_factory.mktemp("dirty") / "photos"
    files: dict[str, bytes] = {}
    for start, (class_id, number) in enumerate([("animal", 12), ("cat", 20), ("dog", 14), ("bird", 3)]):
        for place in range(number):
            files[f"{class_id}/{place}.jpg"] = encode(draw(100 * start + place))
    files |= {
        "cat/cut.jpg": encode(draw(901))[:-900],
        f"cat/{QUOTES}{'x' * 100}.jpg": encode(draw(902))[:-900],
        "dog/tiny.png": encode(draw(903, side=5), "PNG"),
        "dog/wrong.jpg": b"<html>",
        "dog/empty.jpg": b"",
        "dog/drawing.png": encode(draw(904), "PNG"),
        "cat/again.jpg": files["cat/3.jpg"],
        "cat/recompressed.jpg": encode(draw(105), quality=35),
        "animal/a cat.jpg": files["cat/7.jpg"],
        "dog/not a dog.jpg": files["animal/2.jpg"],
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def file(dirty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that source."""
    folder = tmp_path_factory.mktemp("report") / f"set {HOSTILE}".replace("/", "")
    run_preparation(Preparation(open_source(str(dirty)), folder, RULES, TAXONOMY))
    return folder / "report.html"


# --- what it says -------------------------------------------------------------------------------


def test_it_counts_what_was_kept_and_what_was_left_out(file: Path) -> None:
    text = text_of(file.read_text())
    assert "classes 3 train images 40 val images 6 images seen 59 left out 10 in rare classes 3" in text
    assert "name of cat cat 18 2 name of dog dog 13 2 name of animal animal 9 2" in text
    assert "Dropped for too few images: 1 class images name of bird bird 3" in text
    reasons = "duplicate 3 5.1 % truncated 2 3.4 % conflicting labels 2 3.4 %"
    assert reasons + " empty 1 1.7 % not an image 1 1.7 % too small 1 1.7 %" in text
    assert "JPEG 53 98.1 % PNG 1 1.9 %" in text
    assert "The largest has 18 training images, the median 13, the smallest 9." in text


def test_it_says_the_rules_in_words(file: Path) -> None:
    text = text_of(file.read_text())
    assert "Source photos, read as class-folders." in text
    assert "Squished to 64 x 64 pixels" in text
    assert "8 usable images or more" in text
    assert "2 images of each class: those whose keys hash lowest (seed 0)" in text
    assert "differ in at most 24 of 256 bits, one stays" in text


@pytest.mark.parametrize(
    ("part", "name", "rule"),
    [
        *(("images", "resize", rule) for rule in Resize),
        *(("selection", "count", rule) for rule in Count),
        *(("selection", "holdout", rule) for rule in Holdout),
        *(("duplicates", "duplicates", rule) for rule in Duplicates),
        *(("duplicates", "conflicts", rule) for rule in Conflicts),
    ],
)
def test_there_are_words_for_every_rule(tmp_path: Path, part: str, name: str, rule: StrEnum) -> None:
    rows = [Row(f"a/{number}") for number in range(8)]
    seen = make_seen(rows)
    card = card_of(seen, select(seen, RULES.selection, RULES.duplicates, ancestors_of=lambda _: ()))
    changed = {part: {**card[part], name: str(rule)}}
    usual, page = (report_of_rows(tmp_path / "report.html", rows, of) for of in ({}, changed))
    assert "{" not in text_of(page)
    assert (page == usual) == (card[part][name] == rule)


def test_it_says_how_large_the_source_is_and_how_fast_it_went(tmp_path: Path) -> None:
    rows = [Row(f"a/{number}") for number in range(8)]
    text = text_of(report_of_rows(tmp_path / "report.html", rows))
    assert "photos.tar (3.0 GB), read as tar-of-class-tars." in text
    assert "2 workers, engine processes." in text
    assert "convert 12.5 1,000 images 80.0 select 0.5" in text


def figures(page: str, section: str) -> list[str]:
    body = page[page.index(f'<section id="{section}">') :]
    return re.findall(r"<figure>.*?</figure>", body[: body.index("</section>")], re.DOTALL)


def pictures(markup: str) -> list[Image.Image]:
    """Return the thumbnails, decoded."""
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', markup)
    return [Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB") for each in found]


def test_a_rejected_image_is_shown_as_far_as_it_can_be(file: Path) -> None:
    shown = {text_of(figure): len(pictures(figure)) for figure in figures(file.read_text(), "left-out")}
    assert shown["cat/cut.jpg name of cat (cat) Premature end of JPEG file"] == 1
    assert shown["no picture dog/empty.jpg name of dog (dog)"] == 0
    assert shown["dog/tiny.png name of dog (dog) 5x5 pixels"] == 1
    assert len(shown) == 5


def test_a_duplicate_stands_beside_the_picture_that_stays(file: Path) -> None:
    shown = figures(file.read_text(), "duplicates")
    words = [text_of(figure) for figure in shown]
    assert any(
        "went cat/recompressed.jpg name of cat (cat) 90 x 90 pixels stays, in train cat/5.jpg" in text
        and text.endswith(" of 256 bits differ")
        for text in words
    )
    assert any("went animal/a cat.jpg" in text and "cat/7.jpg" in text for text in words)
    assert any("went animal/2.jpg" in text and "went too dog/not a dog.jpg" in text for text in words)
    assert len(words) == 4  # of the conflict, one pair
    for figure in shown:
        gone, other = (np.asarray(each, np.float32) for each in pictures(figure))
        assert max(gone.shape) <= 96
        assert np.abs(gone - other).mean() < 20


def test_the_least_alike_pair_comes_first(file: Path) -> None:
    assert "recompressed" in figures(file.read_text(), "duplicates")[0]


def test_only_some_examples_of_each_reason_are_shown(tmp_path: Path) -> None:
    rows = [Row(f"a/{number}") for number in range(20)]
    rows += [Row(f"a/bad {number}", reason="undecodable") for number in range(100)]
    rows += [Row(f"a/again {number}", content="a/3") for number in range(100)]
    rows[3] = replace(rows[3], content="a/3", width=500)
    page = report_of_rows(tmp_path / "report.html", rows)
    assert "undecodable: 8 of 100" in text_of(page)
    assert len(figures(page, "left-out")) == 8
    assert len(figures(page, "duplicates")) == 8
    assert page == report_of_rows(tmp_path / "report.html", rows)
    other = {text_of(each) for each in figures(report_of_rows(tmp_path / "b.html", rows), "left-out")}
    assert other == {text_of(each) for each in figures(page, "left-out")}


def test_pictures_of_other_datasets_are_named(tmp_path: Path) -> None:
    rows = [Row(f"a/{number}") for number in range(20)]
    held_out = make_seen([Row("x/y", content="a/4"), Row("x/z")])
    prints = Prints(
        held_out.words("source_sha256")[:, 0],
        held_out.words("fingerprint"),
        ~held_out.is_null("fingerprint"),
    )
    foreign = Foreign(prints, ("test set/y.jpg", "test set/z.jpg"))
    seen = make_seen([replace(row, content=row.key) for row in rows])
    selection = select(
        seen, RULES.selection, RULES.duplicates, ancestors_of=lambda _: (), foreign=foreign
    )
    card = card_of(seen, selection, {"against": ["digest"]})
    page = write(tmp_path / "report.html", seen, selection, foreign, card)
    assert "Pictures that 1 of them hold out were left out." in text_of(page)
    (shown,) = map(text_of, figures(page, "duplicates"))
    assert "went no picture a/4" in shown
    assert "held out there no picture test set/y.jpg" in shown
    assert shown.endswith("the same file")


def test_failed_parts_are_listed(tmp_path: Path) -> None:
    rows = [Row(f"a/{number}") for number in range(8)]
    rows += [Row(f"n0{number}.tar", reason="failed part") for number in range(120)]
    text = text_of(report_of_rows(tmp_path / "report.html", rows))
    assert "Parts of the source that failed: 120" in text
    assert "and 20 more, in rejected.parquet." in text


def test_a_source_without_dirt_says_so(tmp_path: Path) -> None:
    text = text_of(report_of_rows(tmp_path / "report.html", [Row(f"a/{n}") for n in range(8)]))
    assert "No image was left out." in text
    assert "No image was left out because of another one." in text
    assert "Parts of the source" not in text


def test_a_page_of_11221_classes_is_small_enough_to_mail(tmp_path: Path) -> None:
    rows = [Row(f"n{label:08d}/{n}", (f"n{label:08d}",)) for label in range(11_221) for n in range(2)]
    seen = make_seen(rows)
    selection = Selection(
        tuple(f"n{label:08d}" for label in range(11_221)),
        {f"n1{label:07d}": 3 for label in range(30_000)},
        np.zeros(len(rows), np.int8),
        seen.labels(),
        Verdicts(np.full(len(rows), None, object), np.full(len(rows), -1), {}),
    )
    path = tmp_path / "report.html"
    counts = np.random.default_rng(0).integers(450, 2000, 11_221).tolist()
    write_report(
        path,
        card=card_of(seen, selection),
        classes=ClassTable(
            selection.kept, tuple(names_of(selection.kept)), counts, (50,) * 11_221, (0,) * 11_221
        ),
        seen=seen,
        selection=selection,
        foreign=None,
        name_classes=names_of,
        read_jpeg=lambda _: None,
        throughput=SPEED,
    )
    assert path.stat().st_size < 2_500_000
    text = path.read_text()
    assert "All 11,221, the largest first" in text
    assert "and 18,000 more." in text


# --- in a browser -------------------------------------------------------------------------------


@pytest.fixture
def page(open_page: Callable[[Path], Page], file: Path) -> Page:
    return open_page(file)


def test_hostile_names_are_text(page: Page, file: Path) -> None:
    expect(page).to_have_title(f"Preparation of {file.parent.name}")
    assert page.locator("script").count() == 0
    expect(page.locator("figcaption b").get_by_text(QUOTES)).to_be_visible()
    assert page.locator("img:not([src^='data:image/jpeg'])").count() == 0


def test_every_picture_is_shown_and_has_words_for_those_who_do_not_see_it(page: Page) -> None:
    found = page.locator("img").evaluate_all("(all) => all.map((one) => [one.naturalWidth, one.alt])")
    assert len(found) == 11
    assert all(width > 0 and alt for width, alt in found)
    assert "on a logarithmic scale" in (page.locator("[role=img]").get_attribute("aria-label") or "")


def test_the_policy_forbids_scripts_and_requests(page: Page) -> None:
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.mark.parametrize("width", [320, 375, 1000])
def test_it_is_as_wide_as_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    assert page.evaluate("() => document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_it_is_dark_where_the_reader_wants_it(page: Page, scheme: str, is_dark: bool) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", str(colour))[:3])) < 3 * 64) == is_dark


def test_a_long_table_is_folded_and_opens_without_a_script(browser: Browser, tmp_path: Path) -> None:
    rows = [Row(f"c{label:02d}/{n}", (f"c{label:02d}",)) for label in range(50) for n in range(8)]
    report_of_rows(tmp_path / "report.html", rows)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    row = page.locator("details td").get_by_text("name of c25")
    expect(row).to_be_hidden()
    page.get_by_text("All 50, the largest first").click()
    expect(row).to_be_visible()
    context.close()
