"""What `hypernym.load` gives, how answers become tables and drawings, and how a notebook shows them."""

from __future__ import annotations

import csv
import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import hypernym as hn
from hypernym.data.rejections import Reason
from hypernym.prediction import predictor
from hypernym.prediction.answers import Prediction, Predictions, Step
from hypernym.prediction.drawing import Drawings, draw_prediction
from hypernym.prediction.pictures import MissingPicture, PictureFile, PicturePixels
from hypernym.prediction.summary import Tally
from hypernym.prediction.tables import make_schema, make_table, write_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    ["=1+1", "'=x", "a > b", "\\", ">", "\\>", "-", "@x", "'", "+", "a\nb", 'q"uote, comma']
)


def make_prediction(names: list[str], kept: int, image: str = "owl.png") -> Prediction:
    steps = [Step(f"id {name}", name, 1 - place / 20) for place, name in enumerate(names)]
    return Prediction(image, tuple(steps[:kept]), tuple(steps[kept:]))


# --- the model -----------------------------------------------------------------------------------


def test_a_large_batch_on_a_cpu_gives_what_single_images_give(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = hn.load(run, device="cpu")
    images = torch.randint(256, (7, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        logits, features = model.classifier.classify_and_embed(images)
    for size in (1, 3, 16):
        monkeypatch.setattr(predictor, "IN_CACHE", size)
        found = model.run(images, features=True)
        assert found.features is not None
        torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.features, features, rtol=1e-4, atol=1e-4)
        assert model.run(images).features is None
    assert model.run(images[:0], features=True).logits.shape == (0, len(model.tree.ids))


def test_a_picture_that_can_be_none_is_an_answer_with_its_reason(run: Path) -> None:
    missing = MissingPicture("pipe", Reason.NOT_A_FILE)
    found = hn.load(run).predict([missing, PicturePixels(PIXELS, "x")])
    assert [of.error for of in found] == ["not a regular file", ""]


def test_a_line_holds_no_sign_that_a_terminal_would_obey() -> None:
    assert str(Prediction("a\x1b[31m\nb", (), ())) == "a�[31m�b: unsure"


# --- tables ---------------------------------------------------------------------------------


def unguard(cell: str) -> str:
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


@given(st.lists(TEXTS, min_size=1, max_size=4), TEXTS)
@example(["\r"], "a\rb")
def test_csv_runs_no_formula_and_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], image: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "answers.csv"
    prediction = make_prediction(names, kept=len(names), image=image)
    schema = make_schema(answers=True, truth=False, num_features=0)
    table = make_table(schema, [PicturePixels(PIXELS, image)], [prediction], None)
    write_answers(path, schema, [table])
    with path.open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert not any(cell[:1] in set("=+-@\t\r") - {""} for cell in row.values() if cell)
    assert unguard(row["image"]) == image
    assert unguard(row["name"]) == names[-1]
    found = [
        re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL)
        for name in unguard(row["path_names"]).split(" > ")
    ]
    assert found == names


def test_features_are_null_where_there_are_none() -> None:
    schema = make_schema(answers=False, truth=False, num_features=2)
    pictures = [PicturePixels(PIXELS, "a"), PicturePixels(PIXELS, "b")]
    predictions = [Prediction("a", (), (), "empty"), Prediction("b", (), ())]
    features = np.array([[np.nan, np.nan], [1, 2]], np.float32)
    table = make_table(schema, pictures, predictions, features)
    assert table["features"].to_pylist() == [None, [1.0, 2.0]]
    assert table.schema.field("features").type == pa.list_(pa.float32(), 2)


def test_a_summary_counts_by_depth_and_by_reason() -> None:
    tally = Tally({"animal": 0, "owl": 1})
    for label, error in (("owl", None), ("owl", None), ("animal", None), (None, None), (None, "empty")):
        tally.add(label, error)
    tally.add(None, "truncated (gzip: the stream does not end)")
    found = tally.summarise()
    assert (found.pictures, found.named, found.unsure) == (6, {0: 1, 1: 2}, 1)
    assert found.unreadable == {"empty": 1, "truncated": 1}
    assert "depth 1 2   50.0 %" in str(found)


# --- drawings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("../../etc/passwd", "passwd.png"),
        ("..", "picture.png"),
        ("a/..", "picture.png"),
        ("-", "picture.png"),
        (".hidden.jpg", "hidden.png"),
        ("a\x00b\n:c?.jpeg", "a_b__c_.png"),
        ("日本/größe.v2.png", "größe.v2.png"),
        ("x" * 300, "x" * 100 + ".png"),
    ],
)
def test_a_drawing_lies_in_its_folder_whatever_the_picture_is_called(
    tmp_path: Path, name: str, file: str
) -> None:
    assert Drawings(tmp_path, resume=False).place(name) == tmp_path / file


@given(st.lists(st.sampled_from(["a", "A", "a-2", "A-2", "a-2-2", "b"]), max_size=12))
def test_no_two_drawings_share_a_file_even_where_case_does_not_count(names: list[str]) -> None:
    drawings = Drawings(Path("nowhere"), resume=False)
    places = [drawings.place(f"folder/{name}.jpg").name.casefold() for name in names]
    assert len(set(places)) == len(names)


def test_a_drawing_takes_any_path_and_any_name(tmp_path: Path) -> None:
    deep = [f"class {depth} " + "of a very long name " * (depth == 11) for depth in range(12)]
    cases = {
        "deep": make_prediction(deep, kept=8, image="a/long/path/" * 12),
        "foreign": make_prediction(["動物", "$x^2$", "<b>", "بومة", "a\nb"], kept=5),
        "unsure": make_prediction(deep[:3], kept=0),
        "nothing": Prediction("x", (), ()),
    }
    for name, prediction in cases.items():
        for pixels in (PIXELS, np.zeros((900, 9, 3), np.uint8)):
            file = tmp_path / f"{name}-{len(pixels)}.svg"
            draw_prediction(file, PicturePixels(pixels, "x"), prediction, nested=True)
            assert file.read_bytes().startswith(b"<?xml")
    error = Prediction("lost.png", (), (), "unreadable (No such file or directory)")
    draw_prediction(tmp_path / "lost.svg", PictureFile(tmp_path / "lost.png"), error, nested=True)
    assert "No such file" in (tmp_path / "lost.svg").read_text()


# --- notebooks ------------------------------------------------------------------------------


def test_a_notebook_shows_names_as_text_in_light_and_dark(
    open_page: Callable[[Path], Page], tmp_path: Path
) -> None:
    hostile = '<img src=x onerror="document.title=1"><b>owl</b>'
    answers = [
        make_prediction(["animal", hostile, "snowy owl"], kept=2, image="<i>a</i>.png"),
        make_prediction(["animal"], kept=0),
        Prediction("lost.png", (), (), "unreadable (<b>)"),
        Prediction("x", (), ()),
    ]
    pictures = [PicturePixels(PIXELS, of.image) for of in answers]
    found = Predictions(answers, pictures)._repr_html_()
    for scheme, paper in (("light", "#ffffff"), ("dark", "#111111")):
        ink = "#eeeeee" if scheme == "dark" else "#111111"
        page_html = (
            f'<!doctype html><meta charset="utf-8"><title>notebook</title>'
            f'<body style="background:{paper};color:{ink};font-family:sans-serif">{found}'
        )
        file = tmp_path / f"{scheme}.html"
        file.write_text(page_html, encoding="utf-8")
        page = open_page(file)
        assert page.title() == "notebook"
        body = page.locator("body").inner_text()
        assert hostile in body
        assert "<i>a</i>.png" in body
        assert "unreadable (<b>)" in body
        assert page.locator("img").count() == len(answers)
        assert page.locator("b, i").count() == 0
        page.screenshot(path=str(tmp_path / f"{scheme}.png"))
    assert html.escape(hostile) in found


def test_a_notebook_draws_the_first_pictures_of_many() -> None:
    answers = [make_prediction(["animal"], kept=1)] * 60
    found = Predictions(answers, [PicturePixels(PIXELS, "x")] * 60)
    assert found._repr_html_().count("<img") == 50
    assert "... and 10 more" in found._repr_html_()
    assert len(found[10:12]) == 2
