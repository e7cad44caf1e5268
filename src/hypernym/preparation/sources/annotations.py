"""Annotations in the form of COCO: a JSON object of images, annotations and categories.

    {"images": [{"id": 9, "file_name": "9.jpg"}], "categories": [{"id": 1, "name": "person"}],
     "annotations": [{"image_id": 9, "category_id": 1}]}

iNaturalist publishes its labels in the same form. Boxes, outlines, dates and places are dropped object
by object while the text is read, so that memory holds little more than the text itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypernym.errors import SourceError
from hypernym.preparation.sources.places import open_file, refused_reads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypernym.preparation.sources.part import Place

LISTS = ("images", "annotations", "categories")
KEPT = frozenset({*LISTS, "id", "file_name", "image_id", "category_id", "name"})
"""The fields that say which image shows what."""

MAX_BYTES = 2 << 30
"""More than the largest published file has: the text is held in memory once."""


@dataclass(frozen=True)
class Annotations:
    """Which images show what."""

    names: Mapping[int, str]
    """The file of each image, by the id of the image, in the order of the file."""

    labels: Mapping[int, tuple[int, ...]]
    """The categories in each image that has any, each once."""

    categories: Mapping[int, str]
    """Names by id."""


def load_annotations(path: Place) -> Annotations:
    """Read a file of annotations.

    Raises:
        SourceError: it cannot be read, or is not of this form.
    """
    with refused_reads(path), open_file(path) as stream:
        data = stream.read(MAX_BYTES + 1)
    return parse_annotations(data, str(path))


def parse_annotations(data: bytes, where: str) -> Annotations:
    """Read annotations; `where` is what messages call them.

    Raises:
        SourceError: they are not of this form.
    """
    if len(data) > MAX_BYTES:
        raise SourceError(f"{where} has over {MAX_BYTES} bytes: it is no file of annotations.")
    try:
        document = json.loads(data, object_hook=_slim)
    except (ValueError, RecursionError) as cause:
        raise SourceError(f"{where} cannot be read as JSON ({cause}): get it anew.") from cause
    if not isinstance(document, dict) or not all(isinstance(document.get(name), list) for name in LISTS):
        raise SourceError(
            f"{where} holds no annotations: it needs the lists {', '.join(LISTS)}, as COCO's files have."
        )
    categories = {
        _number(item, "id", where): _text(item, "name", where) for item in document["categories"]
    }
    names = {_number(item, "id", where): _text(item, "file_name", where) for item in document["images"]}
    labels: dict[int, tuple[int, ...]] = {}
    for item in document["annotations"]:
        image, category = _number(item, "image_id", where), _number(item, "category_id", where)
        if image not in names or category not in categories:
            raise SourceError(
                f"{where}: an annotation speaks of image {image} and category {category}, which are not "
                f"both in the file: get it anew."
            )
        before = labels.get(image, ())
        if category not in before:
            labels[image] = (*before, category)
    return Annotations(names, labels, categories)


def _slim(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name in KEPT}


def _number(item: object, field: str, where: str) -> int:
    value = item.get(field) if isinstance(item, dict) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _no_value(item, field, "number", where)
    return value


def _text(item: object, field: str, where: str) -> str:
    value = item.get(field) if isinstance(item, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise _no_value(item, field, "text", where)
    return value.strip()


def _no_value(item: object, field: str, kind: str, where: str) -> SourceError:
    return SourceError(f"{where}: {item!r:.60} has no {kind} {field!r}: get the file anew.")
