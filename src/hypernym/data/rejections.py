"""Why an image was left out: a closed list of reasons, each a row in `rejected.parquet`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The reasons for which an image, or a whole class, does not enter the dataset."""

    EMPTY = "empty"
    """The file has no bytes."""

    NOT_AN_IMAGE = "not an image"
    """The bytes begin like no image format that is read."""

    TRUNCATED = "truncated"
    """The image ends before its last line."""

    UNDECODABLE = "undecodable"
    """The image is damaged inside."""

    TOO_LARGE = "too large"
    """More pixels or bytes than a photo has: refused before it is decoded."""

    TOO_SMALL = "too small"
    """A side of fewer pixels than `MIN_SIDE` of `data.headers`."""

    NOT_A_FILE = "not a regular file"
    """A link, a device or another member of an archive that holds no bytes of its own."""

    UNREADABLE = "unreadable"
    """The system or the archive refused to hand out the bytes."""

    DAMAGED_ARCHIVE = "damaged archive"
    """The class archive cannot be read from here on: the row stands for all that is lost."""

    NO_LABEL = "no label"
    """The source names the image and no class for it."""

    DUPLICATE = "duplicate"
    """The same picture, or nearly, stays under another key, under the deeper label."""

    CONFLICT = "conflicting labels"
    """The same picture lies under classes of which none is the ancestor of another: all of them go."""

    SHARED = "shared with another dataset"
    """The picture is in the test data of a dataset given as `--against`."""

    FAILED_PART = "failed part"
    """The part could not be worked through, after retries: the row stands for all that is lost."""

    RARE_CLASS = "rare class"
    """The class has too few usable images; one row stands for the class."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An image that was left out."""

    reason: Reason
    detail: str = ""
    """What the decoder or the system said, for a person to read."""

    @property
    def sentence(self) -> str:
        """Reason and detail in one line."""
        return f"{self.reason} ({self.detail})" if self.detail else str(self.reason)


class RejectionError(Exception):
    """Raised where an image turns out to be unusable; it never leaves the data rooms."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.rejected = Rejected(reason, detail)
