"""The classes of the drawn world: WordNet 3.0 nouns and their tree."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class DrawnClass:
    """A class: WordNet 3.0 noun id, first lemma, and the id of the parent (None for a root)."""

    id: str
    name: str
    parent: str | None


# Each parent is the nearest class up the first hypernyms of WordNet 3.0, with the corrections
# published for ImageNet-21K applied. The corrections are why apples and pears are no edible
# fruit, wheeled vehicles no vehicles, and the sun no celestial body.
CLASSES: tuple[DrawnClass, ...] = (
    DrawnClass("n00015388", "animal", None),
    DrawnClass("n01905661", "invertebrate", "n00015388"),
    DrawnClass("n01767661", "arthropod", "n01905661"),
    DrawnClass("n02159955", "insect", "n01767661"),
    DrawnClass("n02274259", "butterfly", "n02159955"),
    DrawnClass("n02165456", "ladybug", "n02159955"),
    DrawnClass("n01772222", "spider", "n01767661"),
    DrawnClass("n01944390", "snail", "n01905661"),
    DrawnClass("n01471682", "vertebrate", "n00015388"),
    DrawnClass("n02512053", "fish", "n01471682"),
    DrawnClass("n01503061", "bird", "n01471682"),
    DrawnClass("n01621127", "owl", "n01503061"),
    DrawnClass("n02055803", "penguin", "n01503061"),
    DrawnClass("n13138842", "pome", None),
    DrawnClass("n07739125", "apple", "n13138842"),
    DrawnClass("n07767847", "pear", "n13138842"),
    DrawnClass("n07705931", "edible fruit", None),
    DrawnClass("n07747055", "citrus", "n07705931"),
    DrawnClass("n07749582", "lemon", "n07747055"),
    DrawnClass("n07747607", "orange", "n07747055"),
    DrawnClass("n07753592", "banana", "n07705931"),
    DrawnClass("n04524313", "vehicle", None),
    DrawnClass("n02686568", "aircraft", "n04524313"),
    DrawnClass("n02691156", "airplane", "n02686568"),
    DrawnClass("n03541923", "hot-air balloon", "n02686568"),
    DrawnClass("n04128499", "sailboat", "n04524313"),
    DrawnClass("n04576211", "wheeled vehicle", None),
    DrawnClass("n02958343", "car", "n04576211"),
    DrawnClass("n02834778", "bicycle", "n04576211"),
    DrawnClass("n03684823", "locomotive", "n04576211"),
    DrawnClass("n11669921", "flower", None),
    DrawnClass("n11939491", "daisy", "n11669921"),
    DrawnClass("n11978233", "sunflower", "n11669921"),
    DrawnClass("n09239740", "celestial body", None),
    DrawnClass("n09358226", "moon", "n09239740"),
    DrawnClass("n09450163", "sun", None),
)

_SMALL_NAMES = frozenset(
    {"animal", "vertebrate", "fish", "bird", "owl", "penguin", "flower", "daisy", "sun"}
)

SMALL: tuple[DrawnClass, ...] = tuple(drawn for drawn in CLASSES if drawn.name in _SMALL_NAMES)
"""Nine of the classes, closed under parents: three roots, four depths, a root that is a leaf."""

_PARENTS = {drawn.id: drawn.parent for drawn in CLASSES}


def ancestors(class_id: str) -> tuple[str, ...]:
    """Return the ids above a class, nearest first; empty for a root."""
    above: list[str] = []
    parent = _PARENTS[class_id]
    while parent is not None:
        above.append(parent)
        parent = _PARENTS[parent]
    return tuple(above)


def leaves(classes: Sequence[DrawnClass]) -> tuple[DrawnClass, ...]:
    """Return those of `classes` that are the parent of none of them, in their order."""
    parents = {drawn.parent for drawn in classes}
    return tuple(drawn for drawn in classes if drawn.id not in parents)


def leaves_below(class_id: str) -> tuple[DrawnClass, ...]:
    """Return the leaves of the whole world at or below a class, in the order of `CLASSES`."""
    return tuple(
        leaf for leaf in leaves(CLASSES) if class_id == leaf.id or class_id in ancestors(leaf.id)
    )
