"""What decided a dataset, in words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypernym.preparation.examples import SAME_FILE, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

GIGA = 10**9

RESIZED = {
    "squish": "Squished to {size} x {size} pixels; an image that lies within stays as it is.",
    "short-edge": "The shorter side becomes {size} pixels; a smaller image stays as it is.",
}
COUNTED = {
    "usable": "A class stays if it has {min_images:,} usable images or more.",
    "names": "A class stays if the source names {min_images:,} images of it or more, usable or not.",
}
HELD_OUT = {
    "hash": "Where the source states no validation split, {val_per_class:,} images of each class: those "
    "whose keys hash lowest (seed {seed}), so that images added later move few.",
    "first-names": "Where the source states no validation split, {val_per_class:,} images of each "
    "class: the first names in byte order.",
}
DUPLICATES = {
    "near": "Of equal files, and of pictures whose perceptual hashes differ in at most {max_distance} "
    "of 256 bits, one stays: that of the deeper label, then the largest.",
    "exact": "Of equal files one stays. Nearly equal pictures ({max_distance} of 256 bits) stay, but "
    "never on both sides of the split.",
    "keep": "All stay, but equal and nearly equal pictures ({max_distance} of 256 bits) never on both "
    "sides of the split.",
    "ignore": "Nothing was looked for.",
}
CONFLICTS = {
    "drop": "A picture under classes of which none stands above the others goes, in all its copies.",
    "keep-all-labels": "A picture under classes of which none stands above the others stays once, with "
    "all these labels.",
}


def describe_rules(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say in words what decided the bytes of the dataset."""
    source, images, selection = card["source"], card["images"], card["selection"]
    size = f" ({_tell_bytes(source['size'])})" if source.get("size") else ""
    wanted = " Only the classes of a list were asked for." if card["classes_wanted"] else ""
    return [
        ("Source", f"{source['name']}{size}, read as {source['layout']}.{wanted}"),
        ("Images", f"{RESIZED[images['resize']].format(**images)} JPEG of quality {images['quality']}."),
        ("Classes", COUNTED[selection["count"]].format(**selection)),
        ("Validation", HELD_OUT[selection["holdout"]].format(**selection)),
        ("Duplicates", DUPLICATES[card["duplicates"]["duplicates"]].format(**card["duplicates"])),
        ("Conflicts", CONFLICTS[card["duplicates"]["conflicts"]]),
        *(
            [("Other datasets", f"Pictures that {len(card['against'])} of them hold out were left out.")]
            if card["against"]
            else []
        ),
        ("Shards", f"A shard is closed when its images pass {card['shard_bytes'] / 1e6:,.0f} MB."),
    ]


def _tell_bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= GIGA else f"{count / 1e6:,.1f} MB"


def tell_distance(distance: int) -> str:
    """Say how far two pictures are from one another, in bits of their perceptual hashes."""
    words = {SAME_FILE: "the same file", UNKNOWN: "alike", 1: "1 of 256 bits differs"}
    return words.get(distance, f"{distance} of 256 bits differ")
