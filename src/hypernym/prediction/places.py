"""Where drawings lie: one file, or a file a picture in a folder."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from hypernym.errors import OutputError, UsageError

ENDINGS = (".png", ".svg", ".pdf")
LONGEST = 180
"""Bytes of a drawing's name without its ending: of 255, with room for a number and a temporary name."""


class Drawings:
    """Places for drawings: one file, or one a picture in a folder."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        """Check a place.

        Args:
            path: A file that ends in one of `ENDINGS`, for one picture; else a folder.
            resume: Whether drawings of an earlier run may be there.

        Raises:
            OutputError: something is there already.
            UsageError: the ending is of images, and none of `ENDINGS`.
        """
        self._path = path
        ending = "" if path.is_dir() else path.suffix.lower()
        self.is_file = ending in ENDINGS
        if not self.is_file and ending in Image.registered_extensions():
            raise UsageError(
                f"--picture {path} would be an image of a kind that is not drawn: give a file ending in "
                f".png, .svg or .pdf, or a folder."
            )
        if not resume and path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise OutputError(
                f"{path} exists: give another place for what is drawn, or remove this one."
            )
        if path.is_file() and not self.is_file:
            raise OutputError(
                f"{path} is a file: give a folder, or a file ending in .png, .svg or .pdf."
            )
        self._taken: set[str] = set()

    def place(self, name: str) -> Path:
        """Return where the drawing of the next picture lies; pictures of one name are numbered.

        Raises:
            UsageError: it would be the second one in one file.
        """
        stem = _clean(name)
        if self.is_file:
            if self._taken:
                raise UsageError(
                    f"--picture {self._path} is a file for one picture, and there are several: give a "
                    f"folder."
                )
            self._taken.add(stem)
            return self._path
        number, unique = 1, stem
        while unique.casefold() in self._taken:
            number += 1
            unique = f"{stem}-{number}"
        self._taken.add(unique.casefold())
        return self._path / f"{unique}.png"


def _clean(name: str) -> str:
    """Return a name for a file: the last piece of the picture's, without ending and odd signs."""
    piece = name.rstrip("/").rpartition("/")[2]
    stem = Path(piece).stem if piece not in {"", ".", ".."} else ""
    safe = re.sub(r'[\\:*?"<>|]', "_", "".join(sign if sign.isprintable() else "_" for sign in stem))
    short = safe.lstrip(".-").encode()[:LONGEST].decode(errors="ignore")  # never half a sign
    return short.strip() or "picture"
