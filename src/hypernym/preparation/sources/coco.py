"""MS-COCO as published: https://cocodataset.org, for 2014 and 2017.

    SOURCE/annotations/instances_train2017.json, instances_val2017.json
        or SOURCE/annotations_trainval2017.zip, which holds them
    SOURCE/train2017/000000000009.jpg ..., or SOURCE/train2017.zip; the same for val2017

An image has the label of every category that at least one annotation of it names. Annotations of crowds
count, as they do where figures of multi-label classification are published: those come from all
annotations of an image. The val images are the test split, for they are what such figures are of.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypernym.errors import SourceError
from hypernym.preparation.sources.annotated import Row, cut, find_holding, open_zip, read_from_zip
from hypernym.preparation.sources.annotations import MAX_BYTES, load_annotations, parse_annotations
from hypernym.preparation.sources.part import readable
from hypernym.preparation.sources.places import list_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hypernym.preparation.sources.annotated import AnnotatedPart
    from hypernym.preparation.sources.annotations import Annotations
    from hypernym.preparation.sources.part import Place

FOLDER = "annotations"
ZIPPED = re.compile(r"annotations_trainval(20\d\d)\.zip")
INSTANCES = re.compile(r"instances_(train|val)(20\d\d)\.json")
IMAGES = re.compile(r"(train|val)20\d\d(\.zip)?")
SPLITS = {"train": "train", "val": "test"}


def is_coco(names: Collection[str]) -> bool:
    """Tell whether a folder holds MS-COCO, by the names in it."""
    return any(map(ZIPPED.fullmatch, names)) or (FOLDER in names and any(map(IMAGES.fullmatch, names)))


def find_parts(source: Place) -> Iterator[AnnotatedPart]:
    """Give runs of images, train before val.

    Raises:
        SourceError: annotations or images are missing, of two years, or not as published.
    """
    for word, year, found in _annotations_in(source):
        folder = f"{word}{year}"
        holding = find_holding(source, folder, (".zip",))
        below = "" if holding.name == folder else f"{folder}/"
        rows = (
            Row(
                f"{folder}/{name}",
                f"{below}{name}",
                tuple(readable(found.categories[category]) for category in found.labels.get(image, ())),
                SPLITS[word],
            )
            for image, name in found.names.items()
        )
        yield from cut(rows, holding, folder)


def _annotations_in(source: Place) -> Iterator[tuple[str, str, Annotations]]:
    names = [entry.name for entry in list_folder(source)]
    zipped = [match for name in names if (match := ZIPPED.fullmatch(name))]
    inside = [entry.name for entry in list_folder(source / FOLDER)] if FOLDER in names else []
    found = [match for name in inside if (match := INSTANCES.fullmatch(name))]
    years = sorted({match[2] for match in found} or {match[1] for match in zipped})
    if not years:
        raise SourceError(
            f"{source} holds no annotations of COCO: put {FOLDER}/instances_train2017.json and "
            f"instances_val2017.json there, or annotations_trainval2017.zip."
        )
    if len(years) > 1:
        raise SourceError(
            f"{source} holds annotations of {' and '.join(years)}, which share their images: leave one "
            f"of them."
        )
    if found:
        for match in found:
            yield match[1], match[2], load_annotations(source / FOLDER / match[0])
        return
    bundle = source / zipped[0][0]
    with open_zip(bundle) as archive:
        members = set(archive.namelist())
        for word in SPLITS:
            name = f"{FOLDER}/instances_{word}{years[0]}.json"
            if name in members:
                data = read_from_zip(archive, name, MAX_BYTES)
                yield word, years[0], parse_annotations(data, f"{bundle}/{name}")
