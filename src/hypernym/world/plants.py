"""Drawings of fruit and flowers."""

import math

from numpy.random import Generator

from hypernym.world.pen import (
    WHITE,
    Colour,
    Paint,
    Pen,
    Point,
    darker,
    lighter,
    mixed,
    paint,
    sheer,
)

_APPLE: tuple[Point, ...] = (
    (0.0, -0.52), (0.35, -0.68), (0.75, -0.45), (0.82, 0.05), (0.62, 0.6), (0.28, 0.86),
    (0.0, 0.76), (-0.28, 0.86), (-0.62, 0.6), (-0.82, 0.05), (-0.75, -0.45), (-0.35, -0.68),
)  # fmt: skip
_PEAR: tuple[Point, ...] = (
    (0.0, -0.72), (0.22, -0.62), (0.28, -0.28), (0.5, 0.05), (0.66, 0.45), (0.48, 0.84),
    (0.0, 0.94), (-0.48, 0.84), (-0.66, 0.45), (-0.5, 0.05), (-0.28, -0.28), (-0.22, -0.62),
)  # fmt: skip
_LEMON: tuple[Point, ...] = (
    (0.98, 0.0), (0.78, 0.16), (0.52, 0.46), (0.0, 0.6), (-0.52, 0.46), (-0.78, 0.14),
    (-0.92, 0.0), (-0.78, -0.14), (-0.52, -0.46), (0.0, -0.6), (0.52, -0.46), (0.78, -0.16),
)  # fmt: skip
_BANANA: tuple[Point, ...] = (
    (-0.95, -0.42), (-0.84, -0.5), (-0.62, -0.08), (-0.2, 0.14), (0.3, 0.1), (0.68, -0.2),
    (0.9, -0.52), (0.98, -0.44), (0.9, 0.0), (0.5, 0.44), (0.0, 0.56), (-0.5, 0.4), (-0.82, 0.04),
)  # fmt: skip


def apple(pen: Pen, rng: Generator) -> None:
    """Draw an apple: red, yellow or green, or blushed."""
    skin = _pome_skin(rng)
    blush = mixed(skin, _pome_skin(rng), 0.7)
    _stem(pen, (0.0, -0.5), (rng.uniform(-0.2, 0.2), -0.95), rng)
    if rng.random() < 0.6:
        _leaf(pen.moved(0.03, -0.72, turn=rng.uniform(-40, 10)), rng)
    pen.shape(_APPLE, skin, smooth=True)
    plain = pen.bare()
    _blush(plain.moved(0.33, 0.12, scale=(0.4, 0.55)), blush)
    plain.oval(0.0, -0.52, 0.2, 0.06, darker(skin, 0.4))
    _gleam(plain, -0.42, -0.22, rng)


def pear(pen: Pen, rng: Generator) -> None:
    """Draw a pear in the colours of apples."""
    skin = _pome_skin(rng)
    _stem(pen, (0.0, -0.68), (rng.uniform(-0.2, 0.2), -1.0), rng)
    if rng.random() < 0.5:
        _leaf(pen.moved(0.03, -0.8, turn=rng.uniform(-40, 10)), rng)
    pen.moved(scale=(rng.uniform(0.9, 1.1), 1.0)).shape(_PEAR, skin, smooth=True)
    plain = pen.bare()
    _blush(plain.moved(0.2, 0.42, scale=(0.36, 0.42)), mixed(skin, _pome_skin(rng), 0.7))
    for x, y in ((-0.1, 0.2), (0.2, 0.1), (-0.3, 0.6), (0.05, 0.7), (0.4, 0.5), (-0.45, 0.35)):
        plain.oval(x, y, 0.03, 0.03, darker(skin))
    _gleam(plain, -0.3, 0.25, rng)


def lemon(pen: Pen, rng: Generator) -> None:
    """Draw a lemon, whole or cut lengthwise, ripe or green."""
    skin = paint(rng, hue=(0.12, 0.2), saturation=(0.6, 0.95), value=(0.8, 1.0))
    if rng.random() < 0.2:
        skin = paint(rng, hue=(0.2, 0.27), value=(0.6, 0.85))
    fruit = pen.moved(scale=(0.95, rng.uniform(0.9, 1.1)))
    if rng.random() < 0.45:
        _leaf(fruit.moved(-0.82, 0.0, turn=rng.uniform(-120, -60)), rng)
    fruit.shape(_LEMON, skin, smooth=True)
    plain = fruit.bare()
    if rng.random() < 0.3:
        plain.oval(0.0, 0.0, 0.72, 0.5, WHITE)
        _segments(plain.moved(scale=(0.66, 0.45)), lighter(skin, 0.2), 8)
        return
    plain.shape(
        [
            (-0.7, 0.1),
            (-0.3, 0.3),
            (0.3, 0.3),
            (0.75, 0.05),
            (0.5, 0.42),
            (0.0, 0.56),
            (-0.5, 0.42),
        ],
        sheer(darker(skin, 0.4), 0.35),
        smooth=True,
    )
    plain.oval(0.9, 0.0, 0.05, 0.05, darker(skin))
    _gleam(plain, -0.25, -0.28, rng)


def orange(pen: Pen, rng: Generator) -> None:
    """Draw an orange, whole or cut across; orange, yellowish or greenish."""
    skin = paint(rng, hue=(0.04, 0.12), saturation=(0.75, 1.0), value=(0.8, 1.0))
    if rng.random() < 0.2:
        skin = paint(rng, hue=(0.12, 0.24), value=(0.65, 0.9))
    fruit = pen.moved(scale=(0.82, rng.uniform(0.76, 0.84)))
    fruit.disc(skin)
    plain = fruit.bare()
    if rng.random() < 0.3:
        plain.oval(0.0, 0.0, 0.87, 0.87, WHITE)
        flesh = lighter(skin, 0.1) if rng.random() < 0.8 else paint(rng, hue=(-0.03, 0.03))
        _segments(plain.moved(scale=0.8), flesh, int(rng.integers(8, 12)))
        return
    plain.oval(0.12, 0.16, 0.84, 0.82, sheer(darker(skin, 0.3), 0.3))
    plain.oval(-0.08, -0.1, 0.78, 0.76, sheer(skin, 0.9))
    for _ in range(12):
        angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.85)
        plain.oval(far * math.cos(angle), far * math.sin(angle), 0.035, 0.035, darker(skin, 0.25))
    calyx = paint(rng, hue=(0.24, 0.38), value=(0.3, 0.6))
    x, y = rng.uniform(-0.3, 0.3), rng.uniform(-0.7, -0.3)
    for turn in range(0, 360, 72):
        plain.moved(x, y, turn=turn).oval(0.0, -0.1, 0.05, 0.12, calyx)
    if rng.random() < 0.5:
        _leaf(fruit.moved(x, y, turn=rng.uniform(-60, 60)), rng)
    _gleam(plain, -0.45, -0.35, rng)


def banana(pen: Pen, rng: Generator) -> None:
    """Draw one to three bananas: yellow, green or spotted with age."""
    skin = paint(rng, hue=(0.11, 0.17), saturation=(0.6, 0.95), value=(0.75, 1.0))
    if rng.random() < 0.25:
        skin = paint(rng, hue=(0.18, 0.27), value=(0.55, 0.85))
    tip = darker(skin, 0.75)
    count = int(rng.choice([1, 1, 2, 3]))
    aged = rng.random() < 0.3
    for number in range(count):
        turn = 17 * (number - (count - 1) / 2)
        one = pen.moved(0.0, 0.17 * number - 0.2, turn=turn, scale=(1.0, rng.uniform(0.85, 1.1)))
        one.shape(_BANANA, mixed(skin, tip, 0.09 * number), smooth=True)
        plain = one.bare()
        plain.stroke(
            [(-0.76, -0.15), (-0.42, 0.22), (0.05, 0.34), (0.5, 0.2), (0.85, -0.22)],
            0.045,
            darker(skin, 0.25),
            smooth=True,
        )
        plain.stroke([(-0.93, -0.48), (-0.85, -0.38)], 0.13, tip)
        plain.oval(0.95, -0.48, 0.07, 0.06, tip)
        for _ in range(7 if aged else 0):
            x = rng.uniform(-0.6, 0.7)
            plain.oval(x, 0.36 - 0.5 * x * x, 0.06, 0.03, darker(skin, 0.6))


def daisy(pen: Pen, rng: Generator) -> None:
    """Draw a daisy: narrow round petals about a small yellow disc."""
    petal = paint(rng, saturation=(0.0, 0.15), value=(0.88, 1.0))
    if rng.random() < 0.4:
        petal = paint(rng, hue=(0.68, 0.98), saturation=(0.25, 0.6), value=(0.7, 1.0))
    centre = paint(rng, hue=(0.1, 0.16), saturation=(0.75, 1.0), value=(0.75, 1.0))
    count = int(rng.integers(9, 17))
    head = _stemmed(pen, rng) if rng.random() < 0.5 else pen
    for number in range(count):
        turned = head.moved(turn=360 * number / count + rng.uniform(-5, 5))
        turned.oval(0.0, -0.6, 1.25 / count + 0.03, rng.uniform(0.34, 0.39), petal)
    head.oval(0.0, 0.0, 0.28, 0.28, centre)
    head.bare().oval(0.05, 0.06, 0.2, 0.19, darker(centre, 0.2))


def sunflower(pen: Pen, rng: Generator) -> None:
    """Draw a sunflower: pointed petals about a wide dark disc of seeds."""
    petal = paint(rng, hue=(0.1, 0.16), saturation=(0.75, 1.0), value=(0.8, 1.0))
    if rng.random() < 0.25:
        petal = paint(rng, hue=(-0.02, 0.08), saturation=(0.7, 0.95), value=(0.45, 0.85))
    centre = paint(rng, hue=(0.02, 0.1), saturation=(0.4, 0.8), value=(0.18, 0.4))
    count = int(rng.integers(11, 17))
    wide = 2.2 / count
    head = _stemmed(pen, rng) if rng.random() < 0.65 else pen
    petal_outline = [
        (-0.5 * wide, -0.4), (-wide, -0.68), (0.0, -0.98), (wide, -0.68), (0.5 * wide, -0.4),
    ]  # fmt: skip
    head.oval(0.0, 0.0, 0.82, 0.82, darker(petal, 0.25))
    for number in range(count):
        head.moved(turn=360 * number / count).shape(petal_outline, petal)
    head.oval(0.0, 0.0, 0.5, 0.5, centre)
    plain = head.bare()
    plain.oval(0.0, 0.0, 0.3, 0.3, lighter(centre, 0.12))
    for number in range(22):
        angle, far = 2.4 * number, 0.092 * math.sqrt(number)
        plain.oval(far * math.cos(angle), far * math.sin(angle), 0.028, 0.028, darker(centre, 0.5))


def _pome_skin(rng: Generator) -> Colour:
    hue = (-0.04, 0.03) if rng.random() < 0.4 else (0.09, 0.3)
    return paint(rng, hue=hue, saturation=(0.55, 0.95), value=(0.6, 0.95))


def _green(rng: Generator) -> Colour:
    return paint(rng, hue=(0.22, 0.4), saturation=(0.4, 0.9), value=(0.3, 0.75))


def _blush(pen: Pen, colour: Colour) -> None:
    for radius in (1.0, 0.8, 0.55):
        pen.oval(0.0, 0.0, radius, radius, sheer(colour, 0.3))


def _gleam(pen: Pen, x: float, y: float, rng: Generator) -> None:
    gleam: Paint = sheer(WHITE, rng.uniform(0.15, 0.6))
    pen.oval(x, y, 0.12, 0.22, gleam, turn=25)


def _stem(pen: Pen, foot: Point, top: Point, rng: Generator) -> None:
    wood = paint(rng, hue=(0.05, 0.25), saturation=(0.3, 0.7), value=(0.2, 0.45))
    pen.stroke([foot, top], 0.09, wood)


def _leaf(pen: Pen, rng: Generator) -> None:
    """Draw a leaf from the origin to the right, about 0.6 long."""
    green = _green(rng)
    pen.shape([(0.0, 0.0), (0.22, -0.17), (0.62, -0.06), (0.3, 0.14)], green, smooth=True)
    pen.bare().stroke([(0.04, 0.0), (0.5, -0.04)], 0.03, darker(green))


def _stemmed(pen: Pen, rng: Generator) -> Pen:
    """Draw a stem with leaves and return the pen for the flower head on it."""
    green, sway = _green(rng), rng.uniform(-0.25, 0.25)
    pen.stroke([(0.0, -0.3), (0.5 * sway, 0.3), (sway, 1.0)], 0.09, green, smooth=True)
    for side in pen.sides():
        if rng.random() < 0.75:
            _leaf(side.moved(0.02, 0.75, turn=rng.uniform(-50, -10), scale=0.9), rng)
    return pen.moved(0.0, -0.3, scale=0.68)


def _segments(pen: Pen, flesh: Colour, count: int) -> None:
    """Draw the segments of a cut citrus fruit in the unit circle."""
    wide = 2.4 / count
    for number in range(count):
        pen.moved(turn=360 * number / count).shape(
            [(0.0, -0.12), (wide, -0.8), (0.6 * wide, -0.98), (-0.6 * wide, -0.98), (-wide, -0.8)],
            flesh,
        )
