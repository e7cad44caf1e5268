"""Answers and features as tables: what the columns are, and the files that they become.

Shapes: N pictures, D features.
"""

from __future__ import annotations

import csv
import io
import json
import re
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hypernym.errors import UsageError
from hypernym.files import open_whole
from hypernym.prediction.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from hypernym.prediction.answers import Prediction, Step
    from hypernym.prediction.pictures import Picture

STEP = pa.struct([("id", pa.string()), ("name", pa.string()), ("probability", pa.float32())])
ANSWERS = [
    ("label_id", pa.string()),
    ("name", pa.string()),
    ("probability", pa.float32()),
    ("path", pa.list_(STEP)),
    ("beyond", pa.list_(STEP)),
]
TRUTH = ("truth", pa.list_(pa.string()))
IMAGE, ERROR = ("image", pa.string()), ("error", pa.string())
FEATURES = "features"

DIGITS = 6
"""Decimals of a probability in a text."""

STEPS = " > "
"""Between the steps of a path in CSV; a `>` or a backslash of their own has a backslash before it."""

FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a text begins that a spreadsheet would run, or a text that is guarded against that already."""


class AnswerForm(StrEnum):
    """The forms of `--out`, by the ending of the file."""

    CSV = ".csv"
    JSON_LINES = ".jsonl"
    PARQUET = ".parquet"


class FeatureForm(StrEnum):
    """The forms of `--embed`, by the ending of the file."""

    NPY = ".npy"
    PARQUET = ".parquet"


def check_form(path: Path, forms: type[AnswerForm | FeatureForm], option: str) -> None:
    """Check that the ending of a file says its form.

    Raises:
        UsageError: there is no such form.
    """
    if path.suffix not in [form.value for form in forms]:
        raise UsageError(
            f"{option} {path}: the ending says the form, so give a file that ends in "
            f"{', '.join(form.value for form in forms)}."
        )


def make_schema(*, answers: bool, truth: bool, num_features: int) -> pa.Schema:
    """Return the columns of a table: `image` first, `error` last.

    Args:
        answers: Whether pictures are named.
        truth: Whether some of them come with their labels.
        num_features: D; 0 for none.
    """
    columns = [IMAGE, *(ANSWERS if answers else []), *([TRUTH] if truth else [])]
    if num_features:
        columns.append((FEATURES, pa.list_(pa.float32(), num_features)))
    return pa.schema([*columns, ERROR])


def make_table(
    schema: pa.Schema,
    pictures: Sequence[Picture],
    predictions: Sequence[Prediction],
    features_ND: NDArray[np.float32] | None,
) -> pa.Table:
    """Return a row a picture.

    Args:
        schema: By `make_schema`.
        pictures: N of them.
        predictions: Of each of them.
        features_ND: Of each of them, if the schema has them; NaN where it could not be read.
    """
    values: dict[str, Any] = {
        "image": [prediction.image for prediction in predictions],
        "label_id": [of.label and of.label.class_id for of in predictions],
        "name": [of.label and of.label.name for of in predictions],
        "probability": [of.label and of.label.probability for of in predictions],
        "path": [[_describe(step) for step in of.path] for of in predictions],
        "beyond": [[_describe(step) for step in of.beyond] for of in predictions],
        "truth": [picture.truth if isinstance(picture, Sample) else None for picture in pictures],
        "error": [prediction.error or None for prediction in predictions],
    }
    columns = [
        _as_lists(features_ND, [bool(of.error) for of in predictions])
        if field.name == FEATURES and features_ND is not None
        else pa.array(values[field.name], field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _describe(step: Step) -> dict[str, object]:
    return {"id": step.class_id, "name": step.name, "probability": step.probability}


def _as_lists(features_ND: NDArray[np.float32], missing: list[bool]) -> pa.FixedSizeListArray:
    """Return features as a column, null where there are none."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(features_ND.ravel()), features_ND.shape[1], mask=pa.array(missing)
    )


# --- files ------------------------------------------------------------------------------------------


def write_answers(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write tables as one file of answers, in the form that its ending says; whole or absent.

    Args:
        path: The file.
        schema: Of the tables; features are left out.
        tables: One after another, as they are read.
    """
    columns = [name for name in schema.names if name != FEATURES]
    chosen = (table.select(columns) for table in tables)
    with open_whole(path) as stream:
        match AnswerForm(path.suffix):
            case AnswerForm.PARQUET:
                _write_parquet(stream, pa.schema([schema.field(name) for name in columns]), chosen)
            case AnswerForm.JSON_LINES:
                for table in chosen:
                    stream.writelines(_json_lines(table))
            case AnswerForm.CSV:
                has_truth = TRUTH[0] in columns
                stream.write(_csv_lines([_csv_header(has_truth=has_truth)]))
                for table in chosen:
                    stream.write(_csv_lines(map(_csv_row, table.to_pylist())))


def write_features(path: Path, schema: pa.Schema, tables: Iterable[pa.Table], num_rows: int) -> None:
    """Write the features of tables as one file, in the form that its ending says; whole or absent.

    Args:
        path: The file.
        schema: Of the tables.
        tables: One after another, as they are read.
        num_rows: N, over all tables: a NumPy file says it first.
    """
    columns = [IMAGE[0], FEATURES, ERROR[0]]
    with open_whole(path) as stream:
        match FeatureForm(path.suffix):
            case FeatureForm.PARQUET:
                chosen = (table.select(columns) for table in tables)
                _write_parquet(stream, pa.schema([schema.field(name) for name in columns]), chosen)
            case FeatureForm.NPY:
                shape = (num_rows, schema.field(FEATURES).type.list_size)
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
                for table in tables:
                    stream.write(_as_array(table).tobytes())


def _as_array(table: pa.Table) -> NDArray[np.float32]:
    """Return the features of a table, (N, D), NaN where there are none."""
    column = table[FEATURES].combine_chunks()
    features_ND = np.full((len(column), column.type.list_size), np.nan, "<f4")
    # `flatten` leaves out what is null.
    features_ND[column.is_valid().to_numpy(zero_copy_only=False)] = (
        column.flatten().to_numpy().reshape(-1, column.type.list_size)
    )
    return features_ND


def _write_parquet(stream: IO[bytes], schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)


def _json_lines(table: pa.Table) -> Iterator[bytes]:
    for row in table.to_pylist():
        for step in [row, *row["path"], *row["beyond"]]:
            step["probability"] = _round(step["probability"])
        yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _csv_header(*, has_truth: bool) -> list[str]:
    columns = ["image", "label_id", "name", "probability"]
    for whole in ("path", "beyond"):
        columns += [whole, f"{whole}_names", f"{whole}_probabilities"]
    return [*columns, *(["truth"] if has_truth else []), "error"]


def _csv_row(row: dict[str, Any]) -> list[object]:
    cells = [row["image"], row["label_id"], row["name"], _round(row["probability"])]
    for whole in ("path", "beyond"):
        cells += [_join(step["id"] for step in row[whole]), _join(step["name"] for step in row[whole])]
        cells.append(_join(str(_round(step["probability"])) for step in row[whole]))
    cells += [_join(row["truth"] or [])] if "truth" in row else []
    return [_guard(cell) if isinstance(cell, str) else cell for cell in [*cells, row["error"]]]


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        # A return in a cell ends a line for readers; Python 3.11 and 3.12 do not quote it by themselves.
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (quoted if has_return else plain).writerow(row)
    return text.getvalue().encode()


def _join(texts: Iterable[str]) -> str:
    return STEPS.join(text.replace("\\", r"\\").replace(">", r"\>") for text in texts)


def _guard(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run; taken away, it gives the text again."""
    return f"'{text}" if FORMULA.match(text) else text


def _round(probability: float | None) -> float | None:
    return None if probability is None else round(probability, DIGITS)
