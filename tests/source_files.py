"""What the tests of sources share: archives made byte by byte, and a walk over a whole source."""

from __future__ import annotations

import io
import pickle
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError
from hypernym.preparation.sources.opening import open_source

if TYPE_CHECKING:
    from hypernym.preparation.sources.part import Layout, Part, SourceImage

MANY = 100_000
"""Far more rows than any source here has in a part: a walk without an end is cut there."""


@dataclass(frozen=True)
class Row:
    """What a source said of an image, and what reading it gave."""

    key: str
    class_ids: tuple[str, ...]
    split: str | None
    content: bytes | Reason
    detail: str = ""


def parts_of(source: Path | str, layout: Layout | None = None, /, **columns: str) -> list[Any]:
    """Return the parts of a source; the layouts have more to say of theirs than a Part."""
    return list(open_source(str(source), layout=layout, **columns).find_parts())


def walk(source: Path | str, layout: Layout | None = None, /, **columns: str) -> list[Row]:
    """Walk a whole source as the pipeline does: staged, in another process, image by image."""
    rows = []
    with tempfile.TemporaryDirectory() as spool:
        for part in open_source(str(source), layout=layout, **columns).find_parts():
            rows += walk_part(part.staged(Path(spool)))
    return rows


def walk_or_sentence(source: Path, layout: Layout | None = None) -> tuple[list[Row], str]:
    """Walk a source; return its rows, or none and the message that refused it."""
    try:
        return walk(source, layout), ""
    except SourceError as error:
        return [], str(error)


def walk_part(part: Part) -> list[Row]:
    copy: Part = part if "memory" in repr(part) else pickle.loads(pickle.dumps(part))  # noqa: S301
    rows = [read(image) for image in islice(copy.images(), MANY)]
    if part.class_id is not None:
        assert {row.class_ids for row in rows} <= {(part.class_id,)}
    return rows


def read(image: SourceImage) -> Row:
    try:
        return Row(image.key, image.class_ids, image.split, image.read())
    except RejectionError as rejection:
        refused = rejection.rejected
        return Row(image.key, image.class_ids, image.split, refused.reason, refused.detail)


def found(source: Path | str, layout: Layout | None = None) -> list[tuple[str, bytes | Reason]]:
    """Return of each image its key and what reading it gave."""
    return [(row.key, row.content) for row in walk(source, layout)]


def tar_of(
    *members: tuple[str | tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT, end: bool = True
) -> bytes:
    """Return a tar; with `end` off, it stops where the blocks that close it would begin."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = member.size or len(content)
            archive.addfile(member, io.BytesIO(content))
        length = archive.offset
    return packed.getvalue() if end else packed.getvalue()[:length]


def write_class_tar(folder: Path, class_tar: bytes) -> Path:
    """Write a source of a single class, `swan`."""
    path = folder / "source.tar"
    path.write_bytes(tar_of(("swan.tar", class_tar)))
    return path


def gnu_tar(*words: Path | str) -> None:
    """Run GNU tar, as users do."""
    subprocess.run(["tar", *map(str, words)], check=True)  # noqa: S607


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def make_files(folder: Path, *names: str) -> None:
    """Write files that hold their own names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def photo(number: int = 0, form: str = "JPEG") -> bytes:
    """Return a small picture, another for each number."""
    packed = io.BytesIO()
    Image.new("RGB", (16, 12), (number % 256, 80, 40)).save(packed, form)
    return packed.getvalue()
