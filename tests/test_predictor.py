"""What `hypernym.load` gives, how answers become tables and drawings, and how a notebook shows them."""

from __future__ import annotations

import csv
import html
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

import hypernym as hn
from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError, UsageError
from hypernym.models import make_backbone
from hypernym.prediction import predictor
from hypernym.prediction.answers import Prediction, Predictions, Step
from hypernym.prediction.drawing import draw_prediction
from hypernym.prediction.pictures import MissingPicture, PictureFile, PicturePixels, take_pictures
from hypernym.prediction.places import Drawings
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
    step = Step("id", "owl\x1b[2J", 0.5)
    assert str(Prediction("a", (step,), (step,))) == "a: owl�[2J 0.50  (perhaps owl�[2J 0.50)"
    assert str(Prediction("a", (), (), "lost\r")) == "a: lost�"


@pytest.mark.parametrize("architecture", ["test_vit", "test_resnet"])
def test_no_image_gives_outputs_of_none_in_any_architecture(run: Path, architecture: str) -> None:
    model = hn.load(run, device="cpu")
    backbone = make_backbone(architecture, num_classes=len(model.tree.ids), image_size=32)
    model.classifier.backbone = backbone.eval()
    found = model.run(torch.empty((0, 3, 32, 32), dtype=torch.uint8), features=True)
    assert found.features is not None
    assert found.logits.shape == (0, len(model.tree.ids))
    assert found.features.shape == (0, model.num_features)
    assert model.embed(PIXELS).shape == (1, model.num_features)
    assert model.run(torch.empty((0, 3, 32, 32), dtype=torch.uint8)).features is None
    assert [of.error for of in model.predict([b"text"])] == [
        "not an image (no image format fits its first bytes)"
    ]


def test_the_number_of_features_is_found_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = hn.load(run)
    found = model.num_features
    monkeypatch.setattr(model, "run", None)
    assert model.num_features == found


def test_a_batch_of_no_image_is_refused(run: Path) -> None:
    model = hn.load(run)
    for ask in (model.predict, model.embed):
        with pytest.raises(UsageError, match="the batch size 0 is no number of images"):
            ask(PIXELS, batch_size=0)


# --- what a picture is ---------------------------------------------------------------------------


def pixels_of(image: object) -> np.ndarray[Any, Any]:
    (picture,) = take_pictures(image)
    return picture.decode(32)


def test_an_array_is_one_picture_with_any_number_of_channels() -> None:
    grey = PIXELS[:, :, :1]
    np.testing.assert_array_equal(pixels_of(PIXELS), PIXELS)
    np.testing.assert_array_equal(pixels_of(grey), np.repeat(grey, 3, axis=2))
    np.testing.assert_array_equal(pixels_of(grey[:, :, 0]), np.repeat(grey, 3, axis=2))
    np.testing.assert_array_equal(pixels_of(torch.from_numpy(PIXELS.transpose(2, 0, 1))), PIXELS)
    np.testing.assert_array_equal(
        pixels_of(torch.from_numpy(grey.transpose(2, 0, 1))), np.repeat(grey, 3, axis=2)
    )
    alpha = np.random.default_rng(1).integers(0, 256, (24, 40, 1))
    on_white = (PIXELS * (alpha / 255) + 255 * (1 - alpha / 255)).round()
    found = pixels_of(np.concatenate([PIXELS, alpha.astype(np.uint8)], axis=2))
    np.testing.assert_allclose(found, on_white, atol=1)
    assert len(take_pictures(np.stack([PIXELS, PIXELS]))) == 2
    assert len(take_pictures(torch.zeros(2, 3, 24, 40, dtype=torch.uint8))) == 2
    assert [of.name for of in take_pictures(np.array(["a.png", "b.png"]))] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    "image",
    [
        PIXELS.transpose(2, 0, 1),
        PIXELS[:, :, :2],
        PIXELS[0, 0],
        PIXELS.astype(np.float32),
        np.zeros((1, 2, 24, 40, 3), np.uint8),
        np.zeros((2, 3, 24, 40), np.uint8),
        torch.from_numpy(PIXELS),
        torch.zeros(4, 24, 40, dtype=torch.uint8),
        torch.zeros(24, 40, dtype=torch.uint8),
        torch.zeros(3, 24, 40),
        io.StringIO("a\nb"),
    ],
)
def test_what_may_be_no_picture_is_refused_and_never_taken_apart(image: object) -> None:
    for images in (image, [image]):
        with pytest.raises(SourceError, match="no picture: give a path"):
            take_pictures(images)


def test_an_open_file_is_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "owl.png"
    Image.fromarray(PIXELS).save(file)
    with file.open("rb") as stream:
        (picture,) = take_pictures(stream)
        assert picture.name == str(file)
        np.testing.assert_array_equal(picture.decode(32), PIXELS)
    assert [of.name for of in take_pictures([io.BytesIO(file.read_bytes())])] == ["picture 0"]
    np.testing.assert_array_equal(pixels_of(io.BytesIO(file.read_bytes())), PIXELS)
    with pytest.raises(RejectionError, match="closed file"):
        pixels_of(stream)


def test_pictures_of_no_pixels_and_damaged_ones_are_answers(run: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(PIXELS).save(whole, "JPEG")
    cut = Image.open(io.BytesIO(whole.getvalue()[:-200]))
    empty = [np.zeros((0, 40, 3), np.uint8), np.zeros((24, 0, 4), np.uint8), np.zeros((0, 0), np.uint8)]
    found = hn.load(run).predict([cut, *empty, torch.zeros(3, 0, 5, dtype=torch.uint8), PIXELS])
    assert found[0].error.startswith("truncated (")
    assert [of.error for of in found[1:]] == [
        "too small (40x0 pixels)",
        "too small (0x24 pixels)",
        "too small (0x0 pixels)",
        "too small (5x0 pixels)",
        "",
    ]
    assert len(hn.load(run).predict(np.zeros((0, 24, 40, 3), np.uint8))) == 0


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "not a regular file"),
        ("folder", "not a regular file"),
        ("device", "not a regular file"),
        ("circle", "unreadable (Too many levels of symbolic links)"),
        ("a\0b", "unreadable (embedded null byte)"),
    ],
)
def test_a_path_to_no_file_is_an_answer_at_once(
    run: Path, tmp_path: Path, kind: str, reason: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to("circle")
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    assert [of.error for of in hn.load(run).predict(tmp_path / kind)] == [reason]
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


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
        ("x" * 300, "x" * 180 + ".png"),
        ("鳥" * 300, "鳥" * 60 + ".png"),
        ("é" + "x鳥" * 300, "é" + "x鳥" * 44 + "x.png"),
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


def test_the_ending_of_a_drawing_counts_in_any_case(tmp_path: Path) -> None:
    assert Drawings(tmp_path / "a.PNG", resume=False).is_file
    prediction = make_prediction(["animal"], kept=1)
    draw_prediction(tmp_path / "a.SVG", PicturePixels(PIXELS, "x"), prediction, nested=True)
    assert (tmp_path / "a.SVG").read_bytes().startswith(b"<?xml")
    for name in ("a.jpg", "a.WebP", "a.tiff"):
        with pytest.raises(UsageError, match=r"a file ending in \.png, \.svg or \.pdf, or a folder"):
            Drawings(tmp_path / name, resume=False)
    (tmp_path / "b.jpg").mkdir()
    for name in ("b.jpg", "c.v2"):
        assert not Drawings(tmp_path / name, resume=False).is_file


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
