"""Files are whole or absent; each JSON file says its format and version.

A file is written under a temporary name beside its place, synced, and renamed. A folder is replaced
by two renames; `recover_folder` ends a replacement that was cut between them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import yaml

from hypernym.errors import HypernymError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


UNWRITABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
}
"""What the system says where a file cannot be made, or not be filled."""


@contextmanager
def open_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open `path` for writing so that it appears whole, or not at all.

    The temporary name is random: two processes that write the same file do not meet, on whatever
    machines and in whatever containers, and the last one wins. An error inside the block removes the
    temporary file; a kill leaves it behind, where nothing reads it.
    """
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as cause:
        with suppress(OSError):  # a name that cannot be made cannot be removed either
            temporary.unlink(missing_ok=True)
        if cause.errno not in UNWRITABLE:
            raise
        raise OutputError(
            f"{path} cannot be written ({cause.strerror}): make room, or give a place that you may "
            f"write to; what was written before is whole."
        ) from cause
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_beside(path: Path) -> Path:
    """Return a name beside `path` that nobody else takes: `.NAME.RANDOM.tmp`.

    A process id would not do: containers that share a folder have the same ones.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8; the file appears whole."""
    with open_whole(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, kind: str, version: int, **fields: Any) -> None:  # noqa: ANN401 - JSON is any
    """Write a JSON file that opens with its format name and version, for people as for programs."""
    document = {"format": f"hypernym.{kind}", "version": version, **fields}
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path, kind: str, version: int, error: type[HypernymError]) -> dict[str, Any]:
    """Read a JSON file written by `write_json`; a wrong or newer file raises `error`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise error(f"{path} cannot be read as JSON ({cause}).") from cause
    found = document.get("format") if isinstance(document, dict) else None
    if found != f"hypernym.{kind}":
        raise error(f"{path} is not a hypernym {kind} file (its format is {found!r}).")
    if document.get("version") != version:
        raise error(
            f"{path} has version {document.get('version')} of the {kind} format; this hypernym "
            f"reads version {version}: use the release that wrote it, or make the file anew."
        )
    return dict(document)


def read_yaml(path: Path, error: type[HypernymError]) -> Any:  # noqa: ANN401 - YAML is any
    """Read a YAML file; one that is missing, or is none, raises `error`."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise error(f"{path} cannot be read as YAML ({' '.join(str(cause).split())}).") from cause


def digest_text(text: str) -> str:
    """Return the SHA-256 of a text, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_files(*paths: Path) -> str:
    """Return the SHA-256 over the bytes of several files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def check_vacant(folder: Path, *, resume: bool | None, what: str) -> None:
    """Check that `folder` is new or empty, or that what was begun there is to be resumed.

    `resume` is None where the command has no such option.

    Raises:
        OutputError: it is a file, or holds something and is not to be resumed.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: give a folder for the {what}.")
    if not resume and folder.exists() and any(folder.iterdir()):
        way_out = (
            "remove this one" if resume is None else "add --resume to go on with the one begun there"
        )
        raise OutputError(
            f"{folder} exists and is not empty: give another folder for the {what}, or {way_out}."
        )


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        OutputError: the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise OutputError(
            f"{folder} cannot be made ({cause.strerror}): give a place that you may write to."
        ) from cause


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Give a new, empty folder to fill; at the end it takes the place of `folder`.

    A kill leaves the old folder, the new one, or both whole under names that `recover_folder` knows.
    """
    recover_folder(folder)
    new, old = _beside(folder)
    new.mkdir(parents=True)
    yield new
    for path in new.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(new)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """End or undo a `replace_folder` that was cut short.

    The old folder moves aside only when the new one is complete: so `new` is trusted exactly when
    `old` exists and `folder` does not.
    """
    new, old = _beside(folder)
    if old.exists() and not folder.exists() and new.exists():
        new.rename(folder)
    for leftover in (new, old):
        if leftover.exists():
            # A network disk keeps files that are being read elsewhere: then the name at least is free.
            shutil.rmtree(leftover.rename(temporary_beside(leftover)), ignore_errors=True)


def whole_folder(folder: Path) -> Path:
    """Return where the whole folder lies now: for readers, who leave a replacement to its writer."""
    new, old = _beside(folder)
    return new if not folder.exists() and old.exists() and new.exists() else folder


def _beside(folder: Path) -> tuple[Path, Path]:
    folder = folder.absolute()  # `.` has no name
    return folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
