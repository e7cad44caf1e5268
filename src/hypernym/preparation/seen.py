"""What was seen: a row for every image of a source, whatever became of it.

`convert` writes a table a part. `gather_seen` joins them into one Arrow file, which is mapped into
memory: fourteen million rows are looked at column by column, and no process ever holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hypernym.data.fingerprint import FINGERPRINT_BYTES
from hypernym.files import open_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

DIGEST_BYTES = 32
ROWS_PER_BATCH = 1 << 17

SEEN = pa.schema(
    [
        ("key", pa.string()),  # where it lies in the source
        ("class_ids", pa.list_(pa.string())),  # as the source states them
        ("stated_split", pa.string()),  # train, val, test; null where the source says nothing
        ("reason", pa.string()),  # null where the image is usable
        ("detail", pa.string()),
        ("form", pa.string()),
        ("width", pa.int32()),  # pixels of the original, upright
        ("height", pa.int32()),
        ("source_sha256", pa.binary(DIGEST_BYTES)),
        ("fingerprint", pa.binary(FINGERPRINT_BYTES)),
        ("sample_key", pa.string()),  # what a WebDataset reader calls it
        ("sample_hash", pa.uint64()),  # of the sample key
        ("holdout_hash", pa.uint64()),  # the lowest of a class are held out
        ("order_hash", pa.uint64()),  # the order of the shards is that of these
        ("offset", pa.int64()),  # of the JPEG, or of the sketch of a rejected image, in the work file
        ("size", pa.int32()),
    ]
)
"""A row for every image seen by `convert`, in the order of the source."""

GATHERED = SEEN.append(pa.field("part", pa.int32()))
"""As above, with the number of the part."""


@dataclass(frozen=True)
class LabelsOfImages:
    """Any number of labels an image: those of row i are `codes[starts[i] : starts[i + 1]]`."""

    class_ids: tuple[str, ...]
    """In byte order; a code is a place in them."""

    codes: NDArray[np.int32]
    starts: NDArray[np.int64]

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.codes[self.starts[row] : self.starts[row + 1]]

    def take(self, rows: NDArray[np.int64]) -> LabelsOfImages:
        """Return the labels of some images, in the order given."""
        counts = self.starts[rows + 1] - self.starts[rows]
        starts = np.concatenate([[0], np.cumsum(counts)])
        places = np.repeat(self.starts[rows] - starts[:-1], counts) + np.arange(starts[-1])
        return LabelsOfImages(self.class_ids, self.codes[places], starts)

    @cached_property
    def row_of_code(self) -> NDArray[np.int64]:
        """The image of each code."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def gather_seen(tables: Mapping[int, Path], path: Path) -> None:
    """Join the tables of the parts, given by number, into one file that can be mapped into memory."""
    with open_whole(path) as stream, pa.ipc.new_file(stream, GATHERED) as writer:
        waiting: list[pa.Table] = []
        for number, table in tables.items():
            waiting.append(_numbered(pq.read_table(table, schema=SEEN), number))
            if sum(map(len, waiting)) >= ROWS_PER_BATCH:
                _write_batch(writer, waiting)
        _write_batch(writer, waiting)


def open_seen(path: Path) -> Seen:
    """Map a file of `gather_seen` into memory."""
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    return Seen([file.get_batch(number) for number in range(file.num_record_batches)])


def _numbered(table: pa.Table, number: int) -> pa.Table:
    return table.append_column("part", pa.array(np.full(len(table), number, np.int32)))


def _write_batch(writer: pa.ipc.RecordBatchFileWriter, waiting: list[pa.Table]) -> None:
    for batch in pa.concat_tables(waiting).combine_chunks().to_batches() if waiting else []:
        writer.write_batch(batch)
    waiting.clear()


class Seen:
    """The gathered rows, in batches of the schema `GATHERED`; a row is known by its number."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        self._batches = batches
        self._starts = np.cumsum([0, *map(len, self._batches)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Give the rows in order, some at a time: the number of the first row, and these columns."""
        for start, batch in zip(self._starts, self._batches, strict=False):
            yield int(start), pa.Table.from_batches([batch]).select(columns)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of numbers whole; null is 0."""
        pieces = [batch[name].fill_null(0).to_numpy() for batch in self._batches]
        return np.concatenate([np.empty(0, GATHERED.field(name).type.to_pandas_dtype()), *pieces])

    def is_null(self, name: str) -> NDArray[np.bool_]:
        """Tell where a column says nothing."""
        pieces = [batch[name].is_null().to_numpy(zero_copy_only=False) for batch in self._batches]
        return np.concatenate([np.empty(0, np.bool_), *pieces])

    def words(
        self, name: str, *, rows: NDArray[np.int64] | None = None, first: int | None = None
    ) -> NDArray[np.uint64]:
        """Return a column of fixed bytes as words (rows, words): of some rows, in order, or of all.

        A null gives any words. `first` asks for the first words alone.
        """
        rows = np.arange(len(self)) if rows is None else rows
        words = np.empty((len(rows), first or GATHERED.field(name).type.byte_width // 8), np.uint64)
        cuts = np.searchsorted(rows, self._starts)
        for start, batch, begin, end in zip(self._starts, self._batches, cuts, cuts[1:], strict=False):
            words[begin:end] = words_of(batch[name])[rows[begin:end] - start, :first]
        return words

    def labels(self) -> LabelsOfImages:
        """Return the classes that the source states for each image."""
        code_of: dict[str, int] = {}
        codes, counts = [np.empty(0, np.int32)], [np.zeros(1, np.int64)]
        for batch in self._batches:
            words = batch["class_ids"].flatten().dictionary_encode()
            known = [code_of.setdefault(word, len(code_of)) for word in words.dictionary.to_pylist()]
            codes.append(np.array(known, np.int32)[words.indices.to_numpy()])
            counts.append(pc.list_value_length(batch["class_ids"]).fill_null(0).to_numpy())
        ids = sorted(code_of, key=str.encode)
        place = np.empty(len(ids), np.int32)
        place[[code_of[word] for word in ids]] = np.arange(len(ids), dtype=np.int32)
        starts = np.cumsum(np.concatenate(counts), dtype=np.int64)
        return LabelsOfImages(tuple(ids), place[np.concatenate(codes)], starts)

    def take(self, rows: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Return some rows, in the order given."""
        schema = pa.schema([GATHERED.field(name) for name in columns])
        order = np.argsort(rows, kind="stable")
        cuts = np.searchsorted(rows[order], self._starts)
        pieces = [
            pa.Table.from_batches([batch]).select(columns).take(pa.array(rows[order[begin:end]] - start))
            for start, batch, begin, end in zip(
                self._starts, self._batches, cuts, cuts[1:], strict=False
            )
            if begin < end
        ]
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return pa.concat_tables([schema.empty_table(), *pieces]).combine_chunks().take(pa.array(back))


def words_of(column: pa.FixedSizeBinaryArray) -> NDArray[np.uint64]:
    """Return fixed bytes as big-endian words (rows, words); a null gives any."""
    width = column.type.byte_width
    data = column.buffers()[1]
    begin = column.offset * width
    words = np.frombuffer(data, ">u8", len(column) * width // 8, begin)
    return words.reshape(len(column), width // 8)
