"""Shards: plain WebDataset tars of deterministic bytes, and the index beside them.

A sample is two members: KEY.jpg and KEY.cls (the label index as ASCII digits) or, in a dataset where
images have several labels, KEY.jpg and KEY.json (`{"labels": [3, 17]}`). The index holds a row an image
with the place of its JPEG inside the shard: random access, hence a true shuffle, an exact position in
mid-epoch, and a checksum for each read. It knows the first label of an image; where images have several,
all of them stand in `SPLIT.labels.npy`.
"""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from hypernym.errors import DatasetError
from hypernym.files import open_whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

INDEX_ROW = np.dtype(
    [("shard", "<u4"), ("offset", "<u8"), ("size", "<u4"), ("label", "<i4"), ("crc32", "<u4")]
)
"""24 bytes an image: shard number, byte offset and size of the JPEG in it, label, CRC-32 of the JPEG."""


MAX_OPEN = 256
"""Shards that a reader holds open: a process may open 1,024 files; ImageNet-21K-P has 1,500 shards."""


LABEL_ROW = np.dtype([("row", "<u4"), ("label", "<i4")])
"""8 bytes a label: the row of the index, and one of its labels; in the order of the rows."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a shard stores of an image."""

    key: str
    jpeg: bytes
    labels: tuple[int, ...]
    """One or more; the first stands in the index."""


def sample_key(key: str) -> str:
    """Turn a source key into one that a WebDataset reader takes whole and that is safe as a path.

    Such a reader ends a key at the first dot of the file name, so the extension goes and other dots
    become underscores; steps to a parent folder go too. Two keys may meet: `layout` numbers them with a
    `~`, which therefore stands in no key of a source.
    """
    printable = "".join(sign if sign.isprintable() and sign != "~" else "_" for sign in key)
    pieces = [piece for piece in printable.split("/") if piece not in {"", ".", ".."}]
    *folders, name = pieces or ["unnamed"]
    stem = name.rpartition(".")[0] or name
    sample = "/".join([*folders, stem.replace(".", "_")])
    # Names that begin so are no samples to WebDataset.
    return f"x{sample}" if sample.startswith("__") else sample


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"{number:06d}.tar"


def write_shard(
    path: Path, number: int, samples: Iterable[Sample], *, several: bool
) -> NDArray[np.void]:
    """Write samples as a tar and return their index rows, in order.

    `several` says whether images of this dataset have several labels.
    """
    rows = []
    with open_whole(path) as stream:
        for sample in samples:
            offset = write_member(stream, f"{sample.key}.jpg", sample.jpeg)
            ending, text = describe_labels(sample.labels, several=several)
            write_member(stream, f"{sample.key}.{ending}", text.encode())
            crc32 = zlib.crc32(sample.jpeg)
            rows.append((number, offset, len(sample.jpeg), sample.labels[0], crc32))
        stream.write(bytes(2 * tarfile.BLOCKSIZE))
        stream.write(bytes(-stream.tell() % tarfile.RECORDSIZE))
    return np.array(rows, INDEX_ROW)


def describe_labels(labels: tuple[int, ...], *, several: bool) -> tuple[str, str]:
    """Return the ending and the text of the member that holds the labels of a sample."""
    return ("json", json.dumps({"labels": labels})) if several else ("cls", str(labels[0]))


def write_member(stream: IO[bytes], name: str, data: bytes) -> int:
    """Append a member with no owner, no time and mode 0644; return the offset of its data."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    stream.write(member.tobuf(tarfile.PAX_FORMAT, "utf-8"))
    offset = stream.tell()
    stream.write(data)
    stream.write(bytes(-len(data) % tarfile.BLOCKSIZE))
    return offset


def index_path(dataset: Path, split: str) -> Path:
    """Return the path of a split's index."""
    return dataset / f"{split}.index.npy"


def labels_path(dataset: Path, split: str) -> Path:
    """Return the path of a split's table of all labels."""
    return dataset / f"{split}.labels.npy"


def save_index(path: Path, rows: NDArray[np.void]) -> None:
    """Write rows as a NumPy file (format version 1.0), which can be mapped into memory."""
    with open_whole(path) as stream:
        np.lib.format.write_array(stream, rows, version=(1, 0), allow_pickle=False)


def open_index(path: Path, dtype: np.dtype[np.void] = INDEX_ROW) -> NDArray[np.void]:
    """Map an index into memory: it opens at once and its pages are shared by all processes.

    Args:
        path: The file.
        dtype: What its rows are: `INDEX_ROW`, or `LABEL_ROW`.

    Raises:
        DatasetError: the file is missing or is not an index.
    """
    try:
        rows: NDArray[np.void] = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as cause:
        raise DatasetError(f"{path} cannot be opened as an index ({cause}).") from cause
    if rows.dtype != dtype or rows.ndim != 1:
        raise DatasetError(f"{path} is not an index of version 1: its rows are {rows.dtype}.")
    return rows


class ShardReader:
    """Random reads of JPEGs of one split; made for use in many processes at once.

    Files are opened when first needed and read with `pread`, which shares no position: a reader that
    was opened before a fork serves both sides.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptors: dict[int, int] = {}

    def read(self, row: np.void) -> bytes:
        """Return the JPEG that an index row points at.

        Raises:
            DatasetError: the shard is missing, or its bytes are not those that were written.
        """
        path = self._folder / shard_name(int(row["shard"]))
        try:
            jpeg = os.pread(self._descriptor(path, int(row["shard"])), row["size"], row["offset"])
        except OSError as cause:
            raise DatasetError(f"{path} cannot be read ({cause.strerror}).") from cause
        if zlib.crc32(jpeg) != row["crc32"]:
            raise DatasetError(
                f"{path} is damaged at byte {row['offset']}: the image there is not the one that was "
                f"written. Copy the shard anew, or prepare the dataset again."
            )
        return jpeg

    def _descriptor(self, path: Path, shard: int) -> int:
        if shard not in self._descriptors:
            if len(self._descriptors) == MAX_OPEN:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            self._descriptors[shard] = os.open(path, os.O_RDONLY)
        return self._descriptors[shard]

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
