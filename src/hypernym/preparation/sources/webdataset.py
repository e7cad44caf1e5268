"""WebDataset shards: tars of samples, each of members of equal name that lie together.

    SOURCE.tar, SOURCE/000000.tar ..., SOURCE/train/000000.tar ..., SOURCE/name-train-000000.tar ...

A name up to the first dot of its last piece is the sample's key, the rest says what the member is: the
image by its format, the label as `cls` (the text is the class id), `json` ({"label": ...} or any other
known field; a number, a text, a list) or `txt`, looked for in this order. Where a class list lies
beside the shards, whole numbers are places in it: so a dataset of our own is a source again.

A sample without an image is a row with a reason, and so is one whose label cannot be read; members
that are neither image nor label are left out, and so are timm's `_info.json` and other files beside
the shards.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypernym.data.rejections import Reason, RejectionError
from hypernym.errors import SourceError
from hypernym.preparation.sources.archives import tars_in
from hypernym.preparation.sources.columns import first_known
from hypernym.preparation.sources.labels import (
    LABEL_NAMES,
    class_ids_of,
    find_class_list,
    load_class_list,
)
from hypernym.preparation.sources.part import IMAGE_SUFFIXES, SourceImage, readable, refusal
from hypernym.preparation.sources.places import FileSpan, is_folder, refused_reads, state_of
from hypernym.preparation.sources.splits import split_in, split_of
from hypernym.preparation.sources.tars import Member, reader_of_member, walk_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from hypernym.preparation.sources.part import Place
    from hypernym.preparation.sources.tars import Stream

LABELS = ("cls", "json", "txt")
"""The members that may hold a label; text comes last, since it is often a caption."""

MAX_LABEL_BYTES = 1 << 20


@dataclass(frozen=True)
class ShardPart:
    """A shard."""

    name: str
    state: str
    path: Place
    split: str | None
    class_list: Place | None
    label_field: str | None
    """The field of JSON that holds the label; None: a known one."""

    class_id: None = None

    def images(self) -> Iterator[SourceImage]:
        """Walk the samples in their order; damage is a row for all that is lost.

        Raises:
            SourceError: the shard or the class list cannot be read.
        """
        classes = load_class_list(self.class_list) if self.class_list else None
        with refused_reads(self.path), FileSpan(self.path) as stream:
            try:
                for sample in gather_samples(walk_members(stream)):
                    yield self._image(stream, sample, classes)
            except tarfile.ReadError as cause:
                read = refusal(Reason.DAMAGED_ARCHIVE, f"{cause}: what follows in it is lost")
                yield SourceImage(f"{self.name}.tar", (), read, self.split)

    def staged(self, folder: Path) -> ShardPart:  # noqa: ARG002  # nothing is to be copied
        """Return the part itself."""
        return self

    def _image(self, stream: Stream, sample: Sample, classes: Sequence[str] | None) -> SourceImage:
        if sample.image is None:
            read, name = refusal(Reason.NOT_AN_IMAGE, "the sample has no image"), sample.key
            return SourceImage(f"{self.name}/{name}", (), read, self.split)
        key = f"{self.name}/{sample.image.name}"
        try:
            class_ids = self._read_label(stream, sample, classes)
        except RejectionError as rejection:
            return SourceImage(key, (), refusal(Reason.NO_LABEL, rejection.rejected.detail), self.split)
        return SourceImage(key, class_ids, reader_of_member(stream, sample.image), self.split)

    def _read_label(
        self, stream: Stream, sample: Sample, classes: Sequence[str] | None
    ) -> tuple[str, ...]:
        for kind in LABELS:
            member = sample.labels.get(kind)
            if member and (kind == "json" or self.label_field is None):
                label = _read_text(stream, member)
                value = _parse_json(label, self.label_field) if kind == "json" else label
                if class_ids := class_ids_of(value, classes):
                    return class_ids
        return ()


def find_parts(source: Place, label_field: str | None = None) -> Iterator[ShardPart]:
    """Give the shards of a folder in byte order, split by split, or the one at `source`.

    Raises:
        SourceError: the folder cannot be listed, or holds no shard.
    """
    with refused_reads(source):
        in_folder = is_folder(source)
    if not in_folder:
        name, class_list = readable(source.stem), find_class_list(source.parent)
        state = _state_of(source, class_list)
        yield ShardPart(name, state, source, split_in(source.name), class_list, label_field)
        return
    class_list = find_class_list(source)
    shards = tars_in(source)
    if not shards:
        raise SourceError(f"{source} holds no shards: it needs files 000000.tar ... of samples.")
    for folder, shard in shards:
        name = readable("/".join([*([folder] if folder else []), shard.place.stem]))
        split = split_of(folder) or split_in(shard.name)
        state = _state_of(shard.place, class_list)
        yield ShardPart(name, state, shard.place, split, class_list, label_field)


def _state_of(shard: Place, class_list: Place | None) -> str:
    return ", ".join(state_of(file) for file in (shard, class_list) if file is not None)


@dataclass
class Sample:
    """Members with one key, as far as they matter here."""

    key: str
    image: Member | None = None
    labels: dict[str, Member] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)

    def takes(self, key: str, kind: str) -> bool:
        """Tell whether a member belongs to this sample; a kind that it has begins another."""
        return key == self.key and kind not in self.kinds

    def add(self, kind: str, member: Member) -> None:
        """Take in a member; of several images the first counts."""
        self.kinds.add(kind)
        if kind in LABELS:
            self.labels[kind] = member
        elif self.image is None:
            self.image = member


def gather_samples(members: Iterable[Member]) -> Iterator[Sample]:
    """Put neighbours of equal key together, holding one sample at a time.

    Raises:
        tarfile.ReadError: the archive is damaged; the samples before that were given.
    """
    sample = Sample("")
    try:
        for member in members:
            key, kind = _take_apart(member)
            if kind in LABELS or f".{kind}" in IMAGE_SUFFIXES:
                if not sample.takes(key, kind):
                    if sample.kinds:
                        yield sample
                    sample = Sample(key)
                sample.add(kind, member)
    except tarfile.ReadError:
        if sample.kinds:
            yield sample
        raise
    if sample.kinds:
        yield sample


def _take_apart(member: Member) -> tuple[str, str]:
    """Return key and kind of a member, in which the kind is empty where it is no part of a sample."""
    folder, slash, name = member.name.rpartition("/")
    stem, _, kind = name.partition(".")
    is_meta = stem.startswith("__") and stem.endswith("__")
    return f"{folder}{slash}{stem}", "" if member.is_folder or is_meta or not stem else kind.lower()


def _read_text(stream: Stream, member: Member) -> str:
    if member.size > MAX_LABEL_BYTES:
        raise RejectionError(Reason.NO_LABEL, f"{member.name} has {member.size} bytes")
    try:
        return reader_of_member(stream, member)().decode()
    except UnicodeDecodeError as cause:
        raise RejectionError(Reason.NO_LABEL, f"{member.name}: {cause}") from cause


def _parse_json(text: str, label_field: str | None) -> object:
    """Return the label in a JSON text: the whole of it, or a field of an object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise RejectionError(Reason.NO_LABEL, f"JSON: {cause}") from cause
    if not isinstance(value, dict):
        return value
    name = first_known(value, LABEL_NAMES) if label_field is None else label_field
    return value.get(name)
