"""`hypernym prepare`: raw images become a dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BeforeValidator, Field, validate_call

from hypernym.data.classes import load_class_list
from hypernym.data.dataset import open_dataset
from hypernym.data.images import Resize
from hypernym.engine import check_engine, count_workers
from hypernym.errors import OutputError, UsageError
from hypernym.files import check_vacant, digest_text
from hypernym.hierarchy.taxonomies import load_wordnet_taxonomy, read_taxonomy
from hypernym.hierarchy.wordnet import WORDNET_ID, ParentRule, name_of
from hypernym.preparation.duplicates import Conflicts, Duplicates
from hypernym.preparation.foreign import load_foreign
from hypernym.preparation.job import Preparation, Taxonomy, Workforce
from hypernym.preparation.pipeline import Shared, run_preparation
from hypernym.preparation.rules import PrepareRules, Recipe, make_rules
from hypernym.preparation.selection import Count, Holdout
from hypernym.preparation.sources.opening import open_source
from hypernym.preparation.sources.part import Layout
from hypernym.preparation.sources.places import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypernym.data.dataset import Dataset

Value = TypeVar("Value")


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` made."""

    dataset: Path
    report: Path
    classes: int
    classes_dropped: int
    classes_missing: int
    """Of the classes that were asked for, those that are not in the dataset."""

    train_images: int
    val_images: int
    test_images: int
    images_seen: int
    images_rejected: dict[str, int]
    digest: str

    def __str__(self) -> str:
        """Return the summary for a person."""
        rejected = ", ".join(f"{count:,} {reason}" for reason, count in self.images_rejected.items())
        test = f", {self.test_images:,} test" if self.test_images else ""
        missing = f"  missing   {self.classes_missing:,} of the classes asked for\n"
        return (
            f"{self.dataset}: {self.classes:,} classes, {self.train_images:,} train, "
            f"{self.val_images:,} val{test} images\n"
            f"  seen      {self.images_seen:,} images\n"
            f"  rejected  {sum(self.images_rejected.values()):,} images"
            f"{f' ({rejected})' if rejected else ''}\n"
            f"  dropped   {self.classes_dropped:,} classes with too few images\n"
            f"{missing if self.classes_missing else ''}"
            f"  digest    {self.digest[:16]}\n"
            f"  report    {self.report}\n"
            f"Next: hypernym tree build {self.dataset}"
        )


@dataclass(frozen=True)
class ShareReport:
    """What `prepare --shard` did: a share of the first step."""

    dataset: Path
    parts: int
    parts_done: int

    def __str__(self) -> str:
        """Return the summary for a person."""
        return (
            f"{self.dataset}: {self.parts_done:,} of {self.parts:,} parts are converted.\n"
            f"Next, when all jobs have ended: the same command with --resume, without --shard"
        )


@validate_call
def prepare(
    source: Annotated[str | Path, BeforeValidator(str)],
    dataset: Path,
    *,
    recipe: Recipe = Recipe.DEFAULT,
    min_images: Annotated[int, Field(ge=1)] | None = None,
    val_per_class: Annotated[int, Field(ge=0)] | None = None,
    count: Count | None = None,
    holdout: Holdout | None = None,
    classes: Annotated[str | Path, BeforeValidator(str)] | None = None,
    taxonomy: Path | None = None,
    duplicates: Duplicates | None = None,
    conflicts: Conflicts | None = None,
    max_distance: Annotated[int, Field(ge=0, le=48)] | None = None,
    against: tuple[Path, ...] = (),
    size: Annotated[int, Field(ge=8, le=4096)] | None = None,
    resize: Resize | None = None,
    quality: Annotated[int, Field(ge=1, le=100)] | None = None,
    shard_mb: Annotated[int, Field(ge=1)] | None = None,
    seed: Annotated[int, Field(ge=0)] | None = None,
    layout: Layout | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    workers: Annotated[int, Field(ge=1)] | None = None,
    engine: str = "processes",
    shard: str | None = None,
    max_failures: Annotated[int, Field(ge=0)] = 0,
    resume: bool = False,
) -> PrepareReport | ShareReport:
    """Turn raw images into a checked, split, resized and sharded dataset.

    Args:
        source: A folder of class folders, a tar of them, class tars in a folder or in a tar (plain or
            gzip'd), WebDataset shards, Parquet files, a CSV or JSON-lines list; also an fsspec address
            (s3://bucket/photos). All are read in place.
        dataset: The folder to make. Nothing is written anywhere else.
        recipe: default, or imagenet21k-p: what the official scripts do. Options given beside it win.
        min_images: Classes with fewer images are dropped (default 50; imagenet21k-p 501).
        val_per_class: Images of each class held out for validation, where the source states no such
            split (default 10; imagenet21k-p 50).
        count: Which images count: usable (the default) or names (imagenet21k-p).
        holdout: Which are held out: hash (the default: lowest hash of the key) or first-names
            (imagenet21k-p).
        classes: Only these: a file with a class id a line, or imagenet21k-p, imagenet21k-p-winter21.
        taxonomy: Your own taxonomy, for duplicates under a class and its ancestor; without it WordNet's
            where class ids are WordNet ids.
        duplicates: near (the default: of equal and nearly equal pictures one stays), exact, keep (all
            stay, on one side of the split), or ignore (imagenet21k-p).
        conflicts: A picture under unrelated classes: drop (the default) or keep-all-labels.
        max_distance: Nearly equal: so many of 256 bits of the perceptual hash differ (default 24, up to
            48).
        against: Datasets whose val and test pictures must not be in this one.
        size: Pixels of a side of the stored images (default 224); an image that lies within stays as
            it is.
        resize: squish to a square (the default), or short-edge to keep the aspect ratio.
        quality: JPEG quality of the stored images (default 95).
        shard_mb: Megabytes of images in a shard (default 128).
        seed: Chooses the images held out and the order in the shards (default 0).
        layout: How the source is laid out, where that is not seen rightly.
        image_column: The column of the image or its path, in Parquet and lists.
        label_column: The column of the label or labels.
        split_column: The column of the split, in lists.
        workers: Processes; by default one for each core.
        engine: processes, ray, ray:ADDRESS, dask, dask:ADDRESS.
        shard: i/n: convert only every n-th part, from the i-th on (0 to n - 1), as one job of an array.
        max_failures: So many parts may fail, after retries, and stand in the report.
        resume: Go on with a preparation that was stopped.
    """
    rules = _make_rules(
        recipe,
        selection={
            "min_images": min_images,
            "val_per_class": val_per_class,
            "seed": seed,
            "count": count,
            "holdout": holdout,
        },
        images={"size": size, "resize": resize, "quality": quality},
        duplicates={"duplicates": duplicates, "conflicts": conflicts, "max_distance": max_distance},
        shard_bytes=shard_mb and shard_mb * 1_000_000,
        is_compared=bool(against),
    )
    check_engine(engine)
    share = _parse_share(shard) if shard else None
    check_vacant(dataset, resume=resume or share is not None, what="dataset")
    place = place_of(str(source))
    if isinstance(place, Path) and dataset.resolve().is_relative_to(place.resolve()):
        raise OutputError(f"{dataset} lies inside the source {source}: give a folder outside of it.")
    others = [open_dataset(path) for path in against]
    job = Preparation(
        open_source(
            str(source),
            layout=layout,
            image_column=image_column,
            label_column=label_column,
            split_column=split_column,
        ),
        dataset,
        rules,
        _look_up_taxonomy(taxonomy),
        wanted=load_class_list(str(classes)) if classes else None,
        foreign=load_foreign(others) if others else None,
        foreign_digests=tuple(str(other.card["digest"]) for other in others),
        workforce=Workforce(count_workers(workers), engine, max_failures, share),
    )
    made = run_preparation(job)
    if isinstance(made, Shared):
        return ShareReport(dataset, made.parts, made.parts_done)
    return _report(made)


def _make_rules(
    recipe: Recipe,
    *,
    shard_bytes: int | None,
    is_compared: bool,
    **changes: dict[str, object],
) -> PrepareRules:
    """Return the rules of a recipe with the options that were given.

    Perceptual hashes are taken unless nobody asks for them: `is_compared` says that other datasets do.
    """
    rules = make_rules(recipe)
    for part, options in changes.items():
        given = {name: value for name, value in options.items() if value is not None}
        rules = replace(rules, **{part: replace(getattr(rules, part), **given)})
    looks = rules.duplicates.duplicates is not Duplicates.IGNORE or is_compared
    images = replace(rules.images, fingerprints=looks)
    rules = replace(rules, images=images, shard_bytes=shard_bytes or rules.shard_bytes)
    selection = rules.selection
    if selection.val_per_class >= selection.min_images:
        raise UsageError(
            f"--val-per-class {selection.val_per_class} would hold out every image of a class of "
            f"--min-images {selection.min_images}: keep the first below the second."
        )
    return rules


def _parse_share(words: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", words)
    if not match or int(match[1]) >= int(match[2]):
        raise UsageError(f"--shard {words}: give i/n with i from 0 to n - 1, as 0/16 to 15/16.")
    return int(match[1]), int(match[2])


def _look_up_taxonomy(path: Path | None) -> Taxonomy:
    """Return what the preparation must know of a taxonomy; of WordNet's by default."""

    def name_all(ids: Sequence[str]) -> list[str]:
        return [name_of(class_id) for class_id in ids]

    if path is None:
        return Taxonomy(name_all, _ancestors_in_wordnet, str(ParentRule.IMAGENET))
    taxonomy = read_taxonomy(path)
    edges = "".join(f"{child}\t{taxonomy.parent_of(child)}\n" for child in sorted(taxonomy.parents))
    return Taxonomy(name_all, taxonomy.ancestors_of, digest_text(edges))


def _ancestors_in_wordnet(class_id: str) -> tuple[str, ...]:
    if not WORDNET_ID.fullmatch(class_id):
        return ()
    return load_wordnet_taxonomy(ParentRule.IMAGENET).ancestors_of(class_id)


def _report(made: Dataset) -> PrepareReport:
    card = made.card
    images = {name: split["images"] for name, split in card["splits"].items()}
    return PrepareReport(
        made.path,
        made.path / "report.html",
        len(made.classes),
        len(card["classes_dropped"]),
        len(card["classes_missing"]),
        images["train"],
        images["val"],
        images.get("test", 0),
        card["images_seen"],
        card["images_rejected"],
        card["digest"],
    )
