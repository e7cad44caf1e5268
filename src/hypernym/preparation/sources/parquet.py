"""Parquet: tables with a column of image bytes and one of labels, as the Hugging Face hub serves them.

    SOURCE.parquet, SOURCE/train-00000-of-00042.parquet ..., also in SOURCE/data/, SOURCE/train/ ...

The image column is a struct {bytes, path} or binary. Labels are texts, numbers or lists of them; where
the file was written by `datasets`, its metadata names the class of each number. Columns are found by
that metadata, else by common names, or are stated. A row without bytes whose path names a file beside
the table is read from there.

A row group is a part: it is read page by page and given a few rows at a time, so that memory holds a
page, of which writers make one for up to 1,024 rows, and never more than the row group.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError
from hypernym.preparation.sources.columns import choose_column, stated_column
from hypernym.preparation.sources.labels import LABEL_NAMES, class_ids_of
from hypernym.preparation.sources.part import (
    MAX_FILE_BYTES,
    SourceImage,
    readable,
    refusal,
)
from hypernym.preparation.sources.places import (
    is_folder,
    is_inside,
    list_folder,
    open_file,
    reader_of_file,
    refused_reads,
    state_of,
)
from hypernym.preparation.sources.splits import split_in, split_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hypernym.preparation.sources.part import Place

SUFFIX = ".parquet"
DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What pyarrow raises over damaged files, beside what the system says of them."""

BUFFER_BYTES = 1 << 20
BATCH_ROWS = 16
"""Rows in memory at once: of full-size photos some MB."""

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "image_bytes", "bytes", "picture", "photo")
"""Names of image columns, the more telling first."""


@dataclass(frozen=True)
class RowGroupPart:
    """A row group of a file."""

    name: str
    state: str
    path: Place
    table: str
    """The file below the source, without its suffix: what keys begin with."""

    number: int
    first_row: int
    """The row of the file that is the first of the group, counted from 0."""

    image_column: str
    label_column: str
    split: str | None

    class_id: None = None

    def images(self) -> Iterator[SourceImage]:
        """Walk the rows; damage is a row for all that is lost.

        Raises:
            SourceError: the file cannot be read.
        """
        columns = [self.image_column, self.label_column]
        row = self.first_row
        with refused_reads(self.path), open_file(self.path) as stream:
            try:
                file = _open(stream)
                classes = _classes_of(_features_of(file.schema_arrow).get(self.label_column))
                batches = file.iter_batches(BATCH_ROWS, [self.number], columns, use_threads=False)
                for batch in batches:
                    for image, label in zip(*(batch.column(name) for name in columns), strict=True):
                        yield self._image(row, image, label, classes)
                        row += 1
            except DAMAGE as cause:
                if isinstance(cause, OSError) and cause.errno:
                    raise  # the system's word, not the table's
                read = refusal(Reason.DAMAGED_ARCHIVE, f"{cause}: what follows in it is lost")
                yield SourceImage(f"{self.table}/{row}", (), read, self.split)

    def staged(self, folder: Path) -> RowGroupPart:  # noqa: ARG002  # nothing is to be copied
        """Return the part itself."""
        return self

    def _image(
        self, row: int, image: pa.Scalar, label: pa.Scalar, classes: Sequence[str] | None
    ) -> SourceImage:
        try:
            (data, path), value = _open_cell(image.as_py()), label.as_py()
        except ValueError as cause:  # as where a text is no UTF-8
            read = refusal(Reason.UNREADABLE, f"the row is damaged: {cause}")
            return SourceImage(f"{self.table}/{row}", (), read, self.split)
        name = PurePosixPath(path or "").name
        key = readable(f"{self.table}/{row}/{name}" if name else f"{self.table}/{row}")
        read = _reader_of_cell(data, path, self.path)
        try:
            return SourceImage(key, class_ids_of(value, classes), read, self.split)
        except RejectionError as rejection:
            return SourceImage(key, (), refusal(Reason.NO_LABEL, rejection.rejected.detail), self.split)


def find_parts(
    source: Place, image_column: str | None = None, label_column: str | None = None
) -> Iterator[RowGroupPart]:
    """Give the row groups of all tables in byte order, from what the files say at their ends.

    Raises:
        SourceError: a file is no Parquet, or a column is not found in it; or there is no file.
    """
    with refused_reads(source):
        in_folder = is_folder(source)
    files = tables_in(source) if in_folder else [("", source)]
    if not files:
        raise SourceError(f"{source} holds no tables: it needs files NAME.parquet.")
    for folder, path in files:
        with refused_reads(path), open_file(path) as stream:
            try:
                file = _open(stream)
            except DAMAGE as cause:
                if isinstance(cause, OSError) and cause.errno:
                    raise  # the system's word, not the table's
                raise SourceError(
                    f"{path} is not a whole Parquet file ({cause}): get it anew."
                ) from cause
            schema, metadata = file.schema_arrow, file.metadata
        image = _find_image_column(path, schema, image_column)
        label = _find_label_column(path, schema, label_column)
        table = readable(f"{folder}/{path.stem}" if folder else path.stem)
        split = split_of(folder) or split_in(path.name)
        row = 0
        for number in range(metadata.num_row_groups):
            count = metadata.row_group(number).num_rows
            name = f"{table} rows {row}-{row + count - 1}"
            state = f"{state_of(path)}, row group {number}"
            if count > 0:
                yield RowGroupPart(name, state, path, table, number, row, image, label, split)
            row += count


def tables_in(folder: Place) -> list[tuple[str, Place]]:
    """Return the Parquet files of a folder, and of its data/ and train/, val/ and test/.

    Raises:
        SourceError: a folder cannot be listed.
    """
    entries = list_folder(folder)
    tables = [("", entry) for entry in entries if not entry.is_folder]
    for below in entries:
        if below.is_folder and (below.name == "data" or split_of(below.name)):
            tables += [(below.name, entry) for entry in list_folder(below.place)]
    return [(inside, entry.place) for inside, entry in tables if entry.name.endswith(SUFFIX)]


def _open(stream: IO[bytes]) -> pq.ParquetFile:
    # Without the buffer, a whole row group would be fetched at once.
    return pq.ParquetFile(stream, buffer_size=BUFFER_BYTES, pre_buffer=False)


def _open_cell(value: object) -> tuple[bytes | None, str | None]:
    """Return bytes and path of an image as the column holds it."""
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return value if isinstance(value, bytes) else None, None


def _reader_of_cell(data: bytes | None, path: str | None, table: Place) -> Callable[[], bytes]:
    if data is not None:
        too_large = refusal(Reason.TOO_LARGE, f"{len(data)} bytes")
        return too_large if len(data) > MAX_FILE_BYTES else lambda: data
    if not path:
        return refusal(Reason.EMPTY, "the row has no image")
    if not is_inside(table.parent, path):
        return refusal(Reason.UNREADABLE, f"the table points at {path}, which does not lie beside it")
    return reader_of_file(table.parent / path, table)


# --- columns ------------------------------------------------------------------------------------


def _find_image_column(path: Place, schema: pa.Schema, stated: str | None) -> str:
    typed = [name for name, feature in _features_of(schema).items() if _type_of(feature) == "Image"]
    fitting = [field.name for field in schema if _holds_bytes(field.type)]
    if stated is not None:
        name = stated_column(path, stated, schema.names)
    else:
        name = choose_column(path, "image", schema.names, typed or fitting, IMAGE_NAMES)
    if name not in fitting:
        raise SourceError(
            f"{path}: the column {name!r} holds {schema.field(name).type}, not images: those are bytes, "
            f"or a struct of bytes and path."
        )
    return name


def _find_label_column(path: Place, schema: pa.Schema, stated: str | None) -> str:
    if stated is not None:
        return stated_column(path, stated, schema.names)
    typed = [name for name, feature in _features_of(schema).items() if _classes_of(feature)]
    named = [name for name in schema.names if name.lower() in LABEL_NAMES]
    return choose_column(path, "label", schema.names, typed or named, LABEL_NAMES)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _features_of(schema: pa.Schema) -> dict[str, Any]:
    """Return what `datasets` says of each column, in its metadata; damaged metadata says nothing."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _type_of(feature: object) -> object:
    return feature.get("_type") if isinstance(feature, dict) else None


def _classes_of(feature: object) -> tuple[str, ...] | None:
    """Return the class names of a ClassLabel, or of a list of them, in any form of the metadata."""
    if isinstance(feature, list):
        return _classes_of(feature[0]) if feature else None
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list):
        return tuple(str(name) for name in feature["names"])
    return _classes_of(feature.get("feature"))
