from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hypernym.data.classes import load_class_list
from hypernym.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "num_classes"), [("imagenet21k-p", 11_221), ("imagenet21k-p-winter21", 10_450)]
)
def test_the_published_lists_are_known_by_name(name: str, num_classes: int) -> None:
    ids = load_class_list(name)
    assert len(ids) == num_classes
    assert all(len(class_id) == 9 and class_id.startswith("n") for class_id in ids)
    assert "n02084071" in ids


def test_the_winter_release_holds_no_class_that_the_fall_release_lacks() -> None:
    assert load_class_list("imagenet21k-p-winter21") < load_class_list("imagenet21k-p")


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_file_gives_the_first_word_of_each_line(tmp_path: Path, start: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(
        f"{start}n02084071 dog, domestic dog\r\n\n  n02121620\tcat\n\nn02084071\né", encoding="utf-8"
    )
    assert load_class_list(str(path)) == {"n02084071", "n02121620", "é"}


def test_a_list_that_is_nowhere_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'imagenet21k-p'.*imagenet21k-p-winter21"):
        load_class_list("imagenet21kp")


def test_a_file_that_is_no_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "classes"
    path.write_text("\n \n", encoding="utf-8")
    with pytest.raises(UsageError, match="holds no class id"):
        load_class_list(str(path))
    path.write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(UsageError, match="cannot be read"):
        load_class_list(str(path))
    with pytest.raises(UsageError, match="cannot be read"):
        load_class_list(str(tmp_path))
