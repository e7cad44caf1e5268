"""The tables and the layout of a dataset, compared with what it says of itself.

A table that is as it was written is believed about the shards. Every difference is noted: no damage
ends the work.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hypernym.data.classes import load_classes
from hypernym.data.dataset import CARD
from hypernym.data.shards import LABEL_ROW, index_path, labels_path, open_index, shard_name
from hypernym.errors import DatasetError
from hypernym.files import digest_files
from hypernym.preparation.inspection import (
    UNREADABLE,
    Difference,
    Kind,
    Stretch,
    Witnesses,
    unreadable,
)
from hypernym.progress import show_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hypernym.data.classes import ClassTable
    from hypernym.preparation.statement import Statement

ROWS_PER_BATCH = 1 << 17

WITHOUT_DIGEST = {CARD, "tree.json", "report.html"}
"""Files of a dataset that its card does not know: itself, one that comes later, one for people."""

OTHER_FILE = "is not the file that was written"


class Audit:
    """Looks at everything but the shards' bytes; gathers what it finds."""

    def __init__(self, folder: Path, card: Statement) -> None:
        self.folder = folder
        self.card = card
        self.found: list[Difference] = []
        self._damaged: set[str] = set()
        """Tables that are missing or not as they were written."""

        self._readable: set[str] = set()
        """Splits whose index has as many rows as it should."""

    @property
    def witnesses(self) -> Witnesses:
        """What workers may ask about the images."""
        return Witnesses(
            "images.parquet" not in self._damaged,
            frozenset(self._readable),
            self.card.several_labels,
            frozenset(
                split
                for split in self.card.splits
                if self.card.several_labels and not self._is_damaged(labels_path(self.folder, split))
            ),
        )

    def _is_damaged(self, path: Path) -> bool:
        return path.name in self._damaged

    def _tell(self, name: str, detail: str, kind: Kind = Kind.CHANGED) -> None:
        """Note what is wrong with a table, once, and believe it no more."""
        self._damaged.add(name)
        if not any(each.path == name for each in self.found):
            self.found.append(Difference(kind, name, detail))

    @property
    def _digested(self) -> list[Path]:
        """The tables that decide the digest of the dataset."""
        return [
            self.folder / "classes.csv",
            *(index_path(self.folder, split) for split in self.card.splits),
        ]

    @property
    def _tables(self) -> list[Path]:
        others = [self.folder / name for name in ("images.parquet", "rejected.parquet", "_info.json")]
        if self.card.several_labels:
            others += [labels_path(self.folder, split) for split in self.card.splits]
        return [*self._digested, *others]

    def check_digests(self) -> None:
        """Find tables that are missing or not the files that were written."""
        for path in self._tables:
            known = self.card.files.get(path.name)
            if not path.is_file():
                self._tell(path.name, "", Kind.MISSING)
            elif known and _digest(path) != known:
                self._tell(path.name, OTHER_FILE)
        if any(map(self._is_damaged, self._digested)):
            return
        if _digest(*self._digested) != self.card.digest:
            names = [path.name for path in self._digested]
            self._damaged.update(names)
            self.found.append(
                Difference(Kind.CHANGED, CARD, f"its digest is not that of {', '.join(names)}")
            )

    def check_tables(self) -> None:
        """Find tables that cannot be read, or do not say what the card says."""
        for split, said in self.card.splits.items():
            path = index_path(self.folder, split)
            try:
                rows = open_index(path)
            except DatasetError as cause:
                self._tell(path.name, str(cause))
                continue
            if len(rows) == said.images:
                self._readable.add(split)
            else:
                self._tell(path.name, f"has {len(rows):,} rows instead of {said.images:,}")
        if self.card.several_labels:
            for split in self.card.splits:
                try:
                    open_index(labels_path(self.folder, split), LABEL_ROW)
                except DatasetError as cause:
                    self._tell(labels_path(self.folder, split).name, str(cause))
        self._check_rejected()

    def _check_rejected(self) -> None:
        """Compare the counts of `rejected.parquet` with those of the card."""
        name = "rejected.parquet"
        if name in self._damaged:
            return
        counts: Counter[str] = Counter()
        try:
            for batch in _read_batches(self.folder / name, ["key", "reason"]):
                of_images = batch.filter(pc.is_valid(batch["key"]))
                counts.update(of_images["reason"].to_pylist())
                counts[""] += len(batch) - len(of_images)
        except UNREADABLE as cause:
            self._tell(name, unreadable(cause))
            return
        classes = counts.pop("", 0)
        if dict(counts) != self.card.images_rejected or classes != len(self.card.classes_dropped):
            self._tell(name, f"has other rows than {CARD} says")

    # --- which image lies in which shard ---

    def check_layout(self) -> list[Stretch]:
        """Return what each shard holds, by the best table that is left; compare the others with it."""
        classes = self._load_classes()
        stretches: list[Stretch] = []
        if "images.parquet" not in self._damaged:
            stretches = self._read_images(classes)
        if "images.parquet" in self._damaged:
            stretches = [*self._read_indices()]
        of_split = {
            split: [one for one in stretches if one.split == split] for split in self.card.splits
        }
        for split, own in of_split.items():
            said = self.card.splits[split]
            if not own:
                self._find_missing(split, said.shards if said.images else 0)
            elif len(own) != said.shards:
                detail = f"says that {split} has {said.shards} shards; its tables say {len(own)}"
                self.found.append(Difference(Kind.CHANGED, CARD, detail))
        if all(len(own) == self.card.splits[split].shards for split, own in of_split.items()):
            self._check_timm_info(of_split)
        return stretches

    def _load_classes(self) -> ClassTable | None:
        try:
            classes = load_classes(self.folder / "classes.csv")
        except DatasetError as cause:
            self._tell("classes.csv", str(cause))
            return None
        if classes.digest != self.card.classes_digest:
            self._tell("classes.csv", f"is not the class table that {CARD} was written with")
        return None if "classes.csv" in self._damaged else classes

    def _read_images(self, classes: ClassTable | None) -> list[Stretch]:
        """Read which shard each image lies in, and check the counts and labels on the way."""
        name = "images.parquet"
        shards: Counter[tuple[str, int]] = Counter()
        labels: Counter[tuple[str, int]] = Counter()
        strange = 0
        columns = ["split", "shard", "label", "labels", "class_id"]
        try:
            for batch in self._read_with_progress(name, columns):
                shards.update(_count_pairs(batch["split"], batch["shard"]))
                split_of_label = pc.take(batch["split"], pc.list_parent_indices(batch["labels"]))
                labels.update(_count_pairs(split_of_label, pc.list_flatten(batch["labels"])))
                if classes:
                    told = pc.index_in(batch["class_id"], pa.array(classes.ids, pa.string()))
                    same = pc.fill_null(pc.equal(told, batch["label"]), fill_value=False)
                    strange += len(batch) - pc.sum(same).as_py()
        except UNREADABLE as cause:
            self._tell(name, unreadable(cause))
            return []
        images: Counter[str] = Counter()
        for (split, _), count in shards.items():
            images[split] += count
        said = {split: of.images for split, of in self.card.splits.items() if of.images}
        if dict(images) != said:
            self._tell(name, f"has {images.total():,} rows instead of {sum(said.values()):,}")
            return []
        if strange:
            self.found.append(Difference(Kind.CHANGED, name, "label and class_id do not agree", strange))
        if classes and not _agree(classes, labels):
            self._tell("classes.csv", "its counts are not those of images.parquet")
        return list(_cut_up(shards))

    def _read_with_progress(self, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        rows = sum(split.images for split in self.card.splits.values())
        with show_progress(f"reading {name}", rows, "rows") as advance:
            for batch in _read_batches(self.folder / name, columns):
                yield batch
                advance(len(batch))

    def _read_indices(self) -> Iterator[Stretch]:
        """Ask those indices which are as they were written."""
        place = 0
        for split, said in self.card.splits.items():
            path = index_path(self.folder, split)
            if not self._is_damaged(path):
                numbers, counts = np.unique(open_index(path)["shard"], return_counts=True)
                shards = zip(numbers.tolist(), counts.tolist(), strict=True)
                yield from _cut_up({(split, number): count for number, count in shards}, place)
            place += said.images

    def _find_missing(self, split: str, num_shards: int) -> None:
        """Look for the shards of a split of which no table can be believed."""
        for number in range(num_shards):
            name = f"{split}/{shard_name(number)}"
            if not (self.folder / name).exists():
                self.found.append(Difference(Kind.MISSING, name, ""))

    def _check_timm_info(self, of_split: dict[str, list[Stretch]]) -> None:
        if "_info.json" in self._damaged:
            return
        told = {
            split: {
                "name": split,
                "num_samples": sum(one.count for one in own),
                "filenames": [one.name for one in own],
                "shard_lengths": [one.count for one in own],
            }
            for split, own in of_split.items()
        }
        try:
            found = json.loads((self.folder / "_info.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as cause:
            self._tell("_info.json", unreadable(cause))
            return
        if found != {"splits": told}:
            self._tell("_info.json", "does not list the shards as the tables do")

    # --- what does not belong there ---

    def check_strangers(self) -> None:
        """Find files that the dataset does not know."""
        known = WITHOUT_DIGEST | set(self.card.splits) | {path.name for path in self._tables}
        for path in self.folder.iterdir():
            if path.name not in known:
                self.found.append(Difference(Kind.EXTRA, path.name, ""))
        for split, said in self.card.splits.items():
            own = {shard_name(number) for number in range(said.shards)}
            folder = self.folder / split
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.name not in own:
                    detail = "between the shards: readers may take it for one"
                    self.found.append(Difference(Kind.EXTRA, f"{split}/{path.name}", detail))


def _digest(*paths: Path) -> str | None:
    """Return the digest of some files; None where they cannot be read."""
    try:
        return digest_files(*paths)
    except OSError:
        return None


def _read_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=columns):
            yield pa.Table.from_batches([batch])


def _count_pairs(words: pa.ChunkedArray, numbers: pa.ChunkedArray) -> dict[tuple[str, int], int]:
    """Count pairs of a word and a number; they come in the order of the words."""
    coded = words.combine_chunks().dictionary_encode()
    pairs = coded.indices.to_numpy().astype(np.int64) << 32 | numbers.to_numpy()
    found, counts = np.unique(pairs, return_counts=True)
    known = coded.dictionary.to_pylist()
    return {
        (known[pair >> 32], pair & 0xFFFFFFFF): count
        for pair, count in zip(found.tolist(), counts.tolist(), strict=True)
    }


def _cut_up(counts: dict[tuple[str, int], int], place: int = 0) -> Iterator[Stretch]:
    """Give the shards in their order, which is that of the splits in the card."""
    split_before, first = "", 0
    for (split, number), count in counts.items():
        first = first if split == split_before else 0
        yield Stretch(split, number, first, place, count)
        split_before, first, place = split, first + count, place + count


def _agree(classes: ClassTable, labels: Counter[tuple[str, int]]) -> bool:
    """Tell whether a class table has the counts of the images."""
    table = {"train": classes.train_counts, "val": classes.val_counts, "test": classes.test_counts}
    counts = {
        (split, label): count for split, own in table.items() for label, count in enumerate(own) if count
    }
    return counts == dict(labels)
