"""Drawings of vehicles."""

import itertools
import math

from numpy.random import Generator

from hypernym.world.pen import (
    BLACK,
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

# Cabin outlines of a hatchback, a saloon, a van and a beetle, on a body whose top is y = 0.
_CABINS: tuple[tuple[Point, ...], ...] = (
    ((-0.82, 0.05), (-0.7, -0.4), (0.15, -0.42), (0.52, 0.05)),
    ((-0.6, 0.05), (-0.4, -0.38), (0.2, -0.38), (0.5, 0.05)),
    ((-0.92, 0.05), (-0.9, -0.55), (0.4, -0.55), (0.68, 0.05)),
    ((-0.75, 0.05), (-0.55, -0.32), (-0.05, -0.5), (0.35, -0.3), (0.5, 0.05)),
)


def airplane(pen: Pen, rng: Generator) -> None:
    """Draw an airplane from above, flying up, with one or two engines a wing or none."""
    body = paint(rng, saturation=(0.0, 0.35), value=(0.75, 1.0))
    if rng.random() < 0.35:
        body = paint(rng)
    wing = mixed(body, paint(rng), rng.uniform(0.0, 0.9))
    sweep = rng.uniform(0.0, 0.5)
    slim = rng.uniform(0.1, 0.16)
    engines = int(rng.integers(0, 3))
    for side in pen.sides():
        for engine in range(engines):
            x = 0.35 + 0.28 * engine
            side.oval(x, -0.22 + sweep * x, 0.06, 0.14, darker(wing, 0.5))
        side.shape([(0.05, -0.28), (0.96, -0.12 + sweep), (0.96, 0.06 + sweep), (0.05, 0.18)], wing)
        side.shape(
            [(0.03, 0.6), (0.4, 0.72 + 0.3 * sweep), (0.4, 0.84 + 0.3 * sweep), (0.03, 0.82)], wing
        )
    pen.shape(
        [
            (0.0, -1.0),
            (slim, -0.75),
            (slim, 0.2),
            (0.06, 0.9),
            (0.0, 0.95),
            (-0.06, 0.9),
            (-slim, 0.2),
            (-slim, -0.75),
        ],
        body,
        smooth=True,
    )
    plain = pen.bare()
    glass = paint(rng, hue=(0.5, 0.65), saturation=(0.2, 0.6), value=(0.2, 0.6))
    plain.shape([(-0.6 * slim, -0.72), (0.0, -0.84), (0.6 * slim, -0.72), (0.0, -0.64)], glass)
    plain.stroke([(0.0, 0.62), (0.0, 0.92)], 0.05, darker(wing, 0.4))
    if engines == 0:
        plain.stroke([(-0.28, -1.0), (0.28, -1.0)], 0.05, darker(body, 0.7))


def hot_air_balloon(pen: Pen, rng: Generator) -> None:
    """Draw a hot-air balloon with gores or bands in two or three colours."""
    colours = [paint(rng) for _ in range(int(rng.integers(2, 4)))]
    wide = rng.uniform(0.62, 0.78)
    wicker = paint(rng, hue=(0.05, 0.13), saturation=(0.3, 0.7), value=(0.3, 0.65))
    for x in (-0.2, 0.2):
        pen.stroke([(1.4 * x, 0.35), (0.7 * x, 0.78)], 0.03, darker(wicker))
    pen.shape([(-0.17, 0.74), (0.17, 0.74), (0.13, 0.98), (-0.13, 0.98)], wicker)
    envelope = pen.moved(0.0, -0.32, scale=(wide, 0.66))
    profile = [(0.0, -1.0), (0.6, -0.8), (1.0, -0.15), (0.82, 0.45), (0.4, 0.9), (0.28, 1.12)]
    gores = int(rng.integers(5, 9))
    if rng.random() < 0.7:
        for gore in range(gores):
            edge = math.cos(math.pi * gore / gores)
            outline = [(edge * x, y) for x, y in profile] + [(-x, y) for x, y in profile[::-1]]
            # The gores overlap: each next one starts further to the left and hides the rest.
            envelope.shape(outline, colours[gore % len(colours)])
    else:
        outline = profile + [(-x, y) for x, y in profile[::-1]]
        envelope.shape(outline, colours[0])
        for number, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(profile[1:])):
            envelope.bare().shape(
                [(-x0, y0), (x0, y0), (x1, y1), (-x1, y1)], colours[number % len(colours)]
            )
    envelope.bare().oval(-0.4, -0.35, 0.14, 0.35, sheer(WHITE, 0.3), turn=20)


def sailboat(pen: Pen, rng: Generator) -> None:
    """Draw a sailboat from the side, its sails before and behind the mast."""
    hull, sail = paint(rng), paint(rng, saturation=(0.0, 0.3), value=(0.85, 1.0))
    if rng.random() < 0.5:
        sail = paint(rng)
    jib = sail if rng.random() < 0.5 else paint(rng, saturation=(0.1, 0.9))
    wood = paint(rng, hue=(0.04, 0.12), saturation=(0.3, 0.7), value=(0.25, 0.6))
    top = rng.uniform(-1.0, -0.85)
    pen.stroke([(0.0, top), (0.0, 0.6)], 0.06, wood)
    pen.shape([(-0.06, top + 0.1), (-0.06, 0.4), (-rng.uniform(0.6, 0.85), 0.4)], sail)
    if rng.random() < 0.8:
        pen.shape([(0.07, top + 0.2), (0.07, 0.38), (rng.uniform(0.5, 0.8), 0.38)], jib)
    if rng.random() < 0.4:
        pen.shape([(0.0, top), (0.25, top + 0.08), (0.0, top + 0.16)], paint(rng))
    pen.shape([(-0.92, 0.5), (0.95, 0.5), (0.68, 0.85), (-0.7, 0.85)], hull)
    pen.bare().stroke([(-0.82, 0.6), (0.84, 0.6)], 0.05, lighter(hull, 0.6))
    if rng.random() < 0.6:
        sea: Paint = sheer(paint(rng, hue=(0.45, 0.65), value=(0.4, 0.9)), 0.85)
        waves = [(-1.2 + 0.2 * step, 0.86 + 0.06 * (step % 2)) for step in range(13)]
        pen.bare().stroke(waves, 0.1, sea)


def car(pen: Pen, rng: Generator) -> None:
    """Draw a car from the side, driving to the right."""
    body = paint(rng, saturation=(0.0, 0.95), value=(0.3, 1.0))
    glass = paint(rng, hue=(0.5, 0.62), saturation=(0.1, 0.4), value=(0.55, 0.95))
    cabin = _CABINS[int(rng.integers(len(_CABINS)))]
    pen.shape(cabin, body)
    middle = sum(x for x, _ in cabin) / len(cabin)
    window = pen.bare().moved(0.22 * middle, 0.0, scale=(0.78, 0.78))
    window.shape(cabin, glass)
    pen.bare().stroke([(middle, -0.4), (middle, 0.05)], 0.07, body)
    pen.shape(
        [
            (-0.95, 0.08),
            (-0.88, -0.02),
            (0.5, 0.0),
            (0.88, 0.12),
            (0.96, 0.3),
            (0.95, 0.45),
            (-0.95, 0.45),
        ],
        body,
    )
    plain = pen.bare()
    plain.stroke([(middle, 0.06), (middle, 0.38)], 0.025, darker(body, 0.5))
    plain.stroke([(middle - 0.18, 0.12), (middle - 0.08, 0.12)], 0.035, darker(body, 0.5))
    plain.oval(0.88, 0.24, 0.06, 0.07, (255, 240, 170))
    plain.oval(-0.91, 0.18, 0.04, 0.07, (200, 40, 40))
    tyre = rng.uniform(0.19, 0.25)
    rim = paint(rng, saturation=(0.0, 0.2), value=(0.6, 0.95))
    for x in (-0.55, 0.55):
        pen.oval(x, 0.45, tyre, tyre, BLACK)
        plain.oval(x, 0.45, 0.55 * tyre, 0.55 * tyre, rim)


def bicycle(pen: Pen, rng: Generator) -> None:
    """Draw a bicycle from the side, riding to the right."""
    frame = paint(rng, saturation=(0.4, 1.0), value=(0.3, 1.0))
    tyre = paint(rng, saturation=(0.0, 0.3), value=(0.08, 0.35))
    spoke = sheer(mixed(tyre, WHITE, 0.5), 0.8)
    radius = rng.uniform(0.36, 0.43)
    tube = rng.uniform(0.055, 0.085)
    back, front, crank = (-0.55, 0.35), (0.55, 0.35), (-0.08, 0.38)
    seat, head = (-0.22, -0.25), (0.36, -0.27)
    for x, y in (back, front):
        wheel = pen.moved(x, y, scale=radius)
        for turn in range(0, 180, 45):
            wheel.moved(turn=turn + 10).stroke([(-1.0, 0.0), (1.0, 0.0)], 0.05, spoke)
        rim = [(math.cos(math.pi * k / 14), math.sin(math.pi * k / 14)) for k in range(29)]
        wheel.stroke(rim, 0.17, tyre)
    pen.stroke([back, crank, seat, back], tube, frame)
    pen.stroke([crank, head], tube, frame)
    if rng.random() < 0.7:
        pen.stroke([seat, head], tube, frame)
    pen.stroke([front, head, (0.32, -0.48)], tube, frame)
    grip = (
        [(0.32, -0.48), (0.5, -0.55), (0.56, -0.42)]
        if rng.random() < 0.5
        else [(0.2, -0.52), (0.32, -0.48), (0.48, -0.5)]
    )
    pen.stroke(grip, 0.07, BLACK)
    pen.stroke([seat, (-0.25, -0.38)], tube, frame)
    pen.stroke([(-0.4, -0.42), (-0.12, -0.4)], 0.11, BLACK)
    pen.oval(*crank, 0.1, 0.1, darker(tyre, 0.3))


def locomotive(pen: Pen, rng: Generator) -> None:
    """Draw a steam locomotive from the side, running to the right."""
    boiler, cabin, wheel = paint(rng, value=(0.25, 0.9)), paint(rng), paint(rng)
    iron: Colour = paint(rng, saturation=(0.0, 0.3), value=(0.12, 0.3))
    if rng.random() < 0.6:
        smoke: Paint = sheer(paint(rng, saturation=(0.0, 0.1), value=(0.5, 1.0)), 0.75)
        for x, y, puff in ((0.45, -0.75, 0.14), (0.2, -0.86, 0.18), (-0.15, -0.92, 0.22)):
            pen.bare().oval(x, y, puff, puff, smoke)
    pen.shape(
        [(0.4, -0.2), (0.45, -0.42), (0.36, -0.62), (0.7, -0.62), (0.61, -0.42), (0.64, -0.2)], iron
    )
    pen.oval(0.05, -0.2, 0.13, 0.17, mixed(boiler, iron, 0.3))
    pen.shape(
        [(-0.4, -0.22), (0.8, -0.22), (0.86, -0.1), (0.86, 0.2), (0.8, 0.32), (-0.4, 0.32)], boiler
    )
    pen.shape([(-0.95, -0.45), (-0.32, -0.45), (-0.32, 0.4), (-0.95, 0.4)], cabin)
    pen.shape([(-1.0, -0.6), (-0.25, -0.6), (-0.28, -0.42), (-0.98, -0.42)], iron)
    plain = pen.bare()
    plain.shape([(-0.8, -0.3), (-0.48, -0.3), (-0.48, 0.0), (-0.8, 0.0)], (225, 235, 240))
    for x in (0.12, 0.48):
        plain.stroke([(x, -0.2), (x, 0.3)], 0.05, lighter(boiler, 0.5))
    pen.shape([(-0.98, 0.35), (0.9, 0.35), (1.0, 0.75), (0.72, 0.75), (0.72, 0.5), (-0.98, 0.5)], iron)
    plain.oval(0.86, -0.02, 0.06, 0.09, (255, 240, 170))
    for x, radius in ((-0.62, 0.26), (-0.05, 0.26), (0.48, 0.19)):
        y = 0.8 - radius
        pen.oval(x, y, radius, radius, wheel)
        plain.oval(x, y, 0.62 * radius, 0.62 * radius, darker(wheel, 0.5))
        plain.oval(x, y, 0.25 * radius, 0.25 * radius, lighter(wheel))
    plain.stroke([(-0.62, 0.58), (0.48, 0.6)], 0.06, lighter(iron, 0.5))
