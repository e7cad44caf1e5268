"""Drawings of celestial bodies."""

import math

from numpy.random import Generator

from hypernym.world.pen import BLACK, Pen, darker, lighter, paint, sheer


def moon(pen: Pen, rng: Generator) -> None:
    """Draw the moon, full or as a crescent, with its craters."""
    stone = paint(rng, saturation=(0.0, 0.35), value=(0.65, 1.0))
    craters = [
        (-0.35, -0.3, 0.2), (0.25, 0.35, 0.24), (0.4, -0.35, 0.13), (-0.4, 0.4, 0.14),
        (0.0, -0.6, 0.1), (0.02, 0.02, 0.11), (-0.62, 0.02, 0.1), (-0.05, 0.68, 0.1),
    ]  # fmt: skip
    if rng.random() < 0.45:
        pen.shape(_crescent(rng.uniform(-0.35, 0.5)), stone)
        craters = [(-0.78, 0.1, 0.07), (-0.66, -0.36, 0.08), (-0.6, 0.5, 0.07)]
    else:
        pen.moved(scale=0.92).disc(stone)
    plain = pen.bare()
    for x, y, radius in craters:
        if rng.random() < 0.8:
            plain.oval(x, y, radius, radius, darker(stone, 0.25))
            plain.oval(
                x + 0.2 * radius,
                y + 0.2 * radius,
                0.75 * radius,
                0.75 * radius,
                darker(stone, 0.14),
            )


def sun(pen: Pen, rng: Generator) -> None:
    """Draw the sun as a disc with rays, sometimes with a face."""
    light = paint(rng, hue=(0.0, 0.17), saturation=(0.35, 1.0), value=(0.85, 1.0))
    ray = light if rng.random() < 0.5 else paint(rng, hue=(0.0, 0.17), value=(0.8, 1.0))
    count = int(rng.integers(8, 17))
    kind = rng.integers(3)
    radius = rng.uniform(0.45, 0.6)
    for number in range(count):
        turned = pen.moved(turn=360 * number / count)
        far = 0.98 if number % 2 else rng.uniform(0.8, 0.98)
        if kind == 0:
            turned.shape(
                [(-1.7 / count, -radius - 0.05), (0.0, -far), (1.7 / count, -radius - 0.05)], ray
            )
        elif kind == 1:
            turned.stroke([(0.0, -radius - 0.12), (0.0, -far)], 0.8 / count, ray)
        else:
            turned.stroke(
                [(0.0, -radius), (0.05, -0.72), (-0.03, -0.82), (0.03, -far)],
                0.6 / count,
                ray,
                smooth=True,
            )
    pen.oval(0.0, 0.0, radius, radius, light)
    plain = pen.bare()
    plain.oval(-0.3 * radius, -0.3 * radius, 0.4 * radius, 0.4 * radius, sheer(lighter(light, 0.7), 0.5))
    if rng.random() < 0.3:
        face = plain.moved(scale=radius)
        for side in face.sides():
            side.oval(0.35, -0.15, 0.1, 0.14, BLACK)
        face.stroke([(-0.4, 0.3), (0.0, 0.52), (0.4, 0.3)], 0.09, BLACK, smooth=True)


def _crescent(bulge: float) -> list[tuple[float, float]]:
    """Outline a moon lit from the left; the shadow's edge crosses at x = -bulge."""
    angles = [math.pi * (0.5 + step / 20) for step in range(21)]
    lit = [(math.cos(angle), math.sin(angle)) for angle in angles]
    return lit + [(bulge * x, y) for x, y in lit[::-1]]
