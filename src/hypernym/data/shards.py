"""Shards: plain WebDataset tars of deterministic bytes, and the index beside them.

A sample is two members, KEY.jpg and KEY.cls (the label index as ASCII digits). The index holds a row
an image with the place of its JPEG inside the shard: random access, hence a true shuffle, an exact
position in mid-epoch, and a checksum for each read.
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Sample:
    """What a shard stores of an image."""

    key: str
    jpeg: bytes
    label: int


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"{number:06d}.tar"


def write_shard(path: Path, number: int, samples: Iterable[Sample]) -> NDArray[np.void]:
    """Write samples as a tar and return their index rows, in order."""
    rows = []
    with open_whole(path) as stream:
        for sample in samples:
            offset = _write_member(stream, f"{sample.key}.jpg", sample.jpeg)
            _write_member(stream, f"{sample.key}.cls", str(sample.label).encode())
            crc32 = zlib.crc32(sample.jpeg)
            rows.append((number, offset, len(sample.jpeg), sample.label, crc32))
        stream.write(bytes(2 * tarfile.BLOCKSIZE))
        stream.write(bytes(-stream.tell() % tarfile.RECORDSIZE))
    return np.array(rows, INDEX_ROW)


def _write_member(stream: IO[bytes], name: str, data: bytes) -> int:
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


def save_index(path: Path, rows: NDArray[np.void]) -> None:
    """Write index rows as a NumPy file (format version 1.0), which can be mapped into memory."""
    with open_whole(path) as stream:
        np.lib.format.write_array(stream, rows, version=(1, 0), allow_pickle=False)


def open_index(path: Path) -> NDArray[np.void]:
    """Map an index into memory: it opens at once and its pages are shared by all processes.

    Raises:
        DatasetError: the file is missing or is not an index.
    """
    try:
        rows: NDArray[np.void] = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as cause:
        raise DatasetError(f"{path} cannot be opened as an index ({cause}).") from cause
    if rows.dtype != INDEX_ROW or rows.ndim != 1:
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
            self._descriptors[shard] = os.open(path, os.O_RDONLY)
        return self._descriptors[shard]

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
