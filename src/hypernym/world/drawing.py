"""Draw a picture of a class."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from numpy.random import Generator
from PIL import Image, ImageDraw

from hypernym.world import animals, plants, scene, sky, vehicles
from hypernym.world.classes import leaves_below
from hypernym.world.pen import BLACK, Pen, darker, paint

_OVERSAMPLING = 3


@dataclass(frozen=True)
class _Subject:
    """A drawing, and how far a picture of it may be turned to either side, in degrees."""

    draw: Callable[[Pen, Generator], None]
    tilt: float


_UPRIGHT, _LEANING, _ANY_WAY = 15.0, 25.0, 180.0

_SUBJECTS: Mapping[str, _Subject] = {
    "n02274259": _Subject(animals.butterfly, _ANY_WAY),
    "n02165456": _Subject(animals.ladybug, _ANY_WAY),
    "n01772222": _Subject(animals.spider, _ANY_WAY),
    "n01944390": _Subject(animals.snail, _LEANING),
    "n02512053": _Subject(animals.fish, _LEANING),
    "n01621127": _Subject(animals.owl, _UPRIGHT),
    "n02055803": _Subject(animals.penguin, _UPRIGHT),
    "n07739125": _Subject(plants.apple, _LEANING),
    "n07767847": _Subject(plants.pear, _LEANING),
    "n07749582": _Subject(plants.lemon, _ANY_WAY),
    "n07747607": _Subject(plants.orange, _ANY_WAY),
    "n07753592": _Subject(plants.banana, _ANY_WAY),
    "n02691156": _Subject(vehicles.airplane, _ANY_WAY),
    "n03541923": _Subject(vehicles.hot_air_balloon, _UPRIGHT),
    "n04128499": _Subject(vehicles.sailboat, _UPRIGHT),
    "n02958343": _Subject(vehicles.car, _UPRIGHT),
    "n02834778": _Subject(vehicles.bicycle, _UPRIGHT),
    "n03684823": _Subject(vehicles.locomotive, _UPRIGHT),
    "n11939491": _Subject(plants.daisy, _LEANING),
    "n11978233": _Subject(plants.sunflower, _LEANING),
    "n09358226": _Subject(sky.moon, _ANY_WAY),
    "n09450163": _Subject(sky.sun, _ANY_WAY),
}


def draw(class_id: str, size: int, rng: Generator) -> Image.Image:
    """Draw an RGB picture of a class whose short side is `size` pixels.

    The aspect ratio lies between 3:4 and 4:3. A class with classes below it is drawn as a random
    leaf of them. The picture follows from the state of `rng` alone.
    """
    below = leaves_below(class_id)
    subject = _SUBJECTS[below[int(rng.integers(len(below)))].id]
    long_side = round(size * rng.uniform(1.0, 4 / 3))
    width, height = (long_side, size) if rng.random() < 0.5 else (size, long_side)
    picture = scene.background(width * _OVERSAMPLING, height * _OVERSAMPLING, rng)
    canvas = ImageDraw.Draw(picture, "RGBA")
    frame = _frame(canvas, *picture.size)
    scene.clutter(frame, rng)
    place = _placed(frame, subject.tilt, rng)
    subject.draw(place, rng)
    if rng.random() < 0.3:
        scene.occluder(place.bare(), rng)
    return scene.lit(picture.reduce(_OVERSAMPLING), rng)


def _frame(canvas: ImageDraw.ImageDraw, width: int, height: int) -> Pen:
    """Return a pen with the origin in the middle and the nearest edges at a distance of 1."""
    unit = min(width, height) / 2
    return Pen(canvas, (unit, 0.0, width / 2, 0.0, unit, height / 2))


def _placed(frame: Pen, tilt: float, rng: Generator) -> Pen:
    """Return the pen for the subject: moved, turned, stretched, mirrored and inked at random."""
    scale = rng.uniform(0.5, 0.98)
    unit, _, middle_x, _, _, middle_y = frame.matrix
    slack_x = middle_x / unit - 0.85 * scale
    slack_y = middle_y / unit - 0.85 * scale
    stretch = rng.uniform(0.92, 1.08)
    mirror = 1.0 if rng.random() < 0.5 else -1.0
    place = frame.moved(
        rng.uniform(-slack_x, slack_x),
        rng.uniform(-slack_y, slack_y),
        turn=rng.uniform(-tilt, tilt),
        scale=(mirror * scale * stretch, scale / stretch),
    )
    if rng.random() < 0.5:
        return place
    ink = BLACK if rng.random() < 0.6 else darker(paint(rng), 0.6)
    width = max(1, round(0.03 * scale * unit))
    return Pen(place.canvas, place.matrix, ink, width)
