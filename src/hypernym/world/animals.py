"""Drawings of animals."""

from numpy.random import Generator

from hypernym.world.pen import BLACK, WHITE, Pen, darker, lighter, mixed, paint, sheer


def butterfly(pen: Pen, rng: Generator) -> None:
    """Draw a butterfly from above, its wings more or less open."""
    wing, pattern = paint(rng), paint(rng, saturation=(0.1, 0.9))
    border = darker(wing, rng.uniform(0.2, 0.9))
    spots = int(rng.integers(1, 4))
    spread = rng.uniform(0.7, 1.05)
    tip = rng.uniform(0.65, 0.95)
    hind = rng.uniform(0.6, 0.95)
    fore_wing = [(0.04, -0.15), (0.4, -tip), (0.9, -tip), (0.93, -0.35), (0.55, 0.02), (0.04, 0.1)]
    hind_wing = [(0.04, 0.0), (0.5, 0.05), (0.78, 0.35), (0.6, hind), (0.3, 0.65), (0.04, 0.25)]
    for side in pen.sides():
        half = side.moved(scale=(spread, 1.0))
        half.shape(hind_wing, border, smooth=True)
        half.moved(0.1, 0.06, scale=0.78).bare().shape(hind_wing, mixed(wing, pattern, 0.3), smooth=True)
        half.shape(fore_wing, border, smooth=True)
        half.moved(0.08, -0.06, scale=0.78).bare().shape(fore_wing, wing, smooth=True)
        for spot in range(spots):
            half.bare().oval(0.65 - 0.2 * spot, -0.5 + 0.12 * spot, 0.11, 0.11, pattern)
        half.bare().oval(0.5, 0.42, 0.13, 0.13, pattern)
        side.stroke([(0.02, -0.5), (0.12, -0.75), (0.28, -0.92)], 0.035, BLACK, smooth=True)
    body = paint(rng, saturation=(0.1, 0.6), value=(0.1, 0.3))
    pen.oval(0.0, 0.05, 0.075, 0.5, body)
    pen.oval(0.0, -0.48, 0.1, 0.1, body)


def ladybug(pen: Pen, rng: Generator) -> None:
    """Draw a ladybug from above: red, orange, yellow or, with red spots, black."""
    shell, spot = paint(rng, hue=(-0.03, 0.15), saturation=(0.75, 1.0), value=(0.7, 1.0)), BLACK
    if rng.random() < 0.2:
        shell, spot = BLACK, shell
    long = rng.uniform(0.72, 0.85)
    places = [(0.28, -0.2), (0.36, 0.22), (0.2, 0.52), (0.48, -0.05), (0.12, 0.12)]
    places = places[: int(rng.integers(2, 6))]
    radius = rng.uniform(0.09, 0.15)
    for side in pen.sides():
        for y, reach in ((-0.25, -0.3), (0.12, 0.1), (0.45, 0.6)):
            side.stroke([(0.4, y), (0.82, y + 0.3 * reach), (0.93, y + reach)], 0.07, BLACK)
        side.stroke([(0.1, -0.75), (0.3, -1.0)], 0.04, BLACK)
    pen.oval(0.0, -0.68, 0.36, 0.26, BLACK)
    pen.oval(0.0, 0.1, 0.68, long, shell)
    for side in pen.sides():
        side.bare().oval(0.19, -0.76, 0.09, 0.09, WHITE)
        for x, y in places:
            side.bare().oval(x, y, radius, radius * 1.15, spot)
    pen.stroke([(0.0, 0.1 - long), (0.0, 0.1 + long)], 0.05, BLACK if spot == BLACK else spot)
    pen.bare().oval(-0.3, -0.32, 0.13, 0.07, sheer(WHITE, 0.5), turn=-35)


def spider(pen: Pen, rng: Generator) -> None:
    """Draw a spider from above."""
    body = paint(rng, saturation=(0.1, 0.7), value=(0.12, 0.6))
    mark = paint(rng)
    thick = rng.uniform(0.05, 0.1)
    plump = rng.uniform(0.3, 0.45)
    for side in pen.sides():
        for y, knee, foot in (
            (-0.3, -0.85, -0.95),
            (-0.2, -0.5, -0.25),
            (-0.1, 0.05, 0.4),
            (0.0, 0.45, 0.95),
        ):
            bend, reach = rng.uniform(0.48, 0.62), rng.uniform(0.72, 0.98)
            side.stroke([(0.1, y), (bend, knee), (reach, foot)], thick, darker(body, 0.5))
    pen.oval(0.0, 0.32, plump, plump * 1.2, body)
    pen.oval(0.0, -0.22, 0.22, 0.22, darker(body))
    plain = pen.bare()
    if rng.random() < 0.5:
        for y in (0.12, 0.32, 0.52):
            plain.stroke([(-0.16, y + 0.08), (0.0, y), (0.16, y + 0.08)], 0.06, mark)
    else:
        plain.oval(0.0, 0.3, 0.06, 0.28, mark)
        plain.oval(0.0, 0.3, 0.18, 0.07, mark)
    for side in plain.sides():
        side.oval(0.08, -0.32, 0.06, 0.06, WHITE)
        side.oval(0.08, -0.34, 0.03, 0.03, BLACK)


def snail(pen: Pen, rng: Generator) -> None:
    """Draw a snail from the side, creeping to the right."""
    skin = paint(rng, saturation=(0.15, 0.5), value=(0.55, 0.9))
    shell = paint(rng, saturation=(0.3, 0.9))
    whorl = darker(shell, 0.55) if rng.random() < 0.6 else lighter(shell, 0.6)
    raised = rng.uniform(-0.1, 0.12)
    for x in (0.72, 0.9):
        pen.stroke([(0.72, raised), (x, raised - 0.42)], 0.06, skin)
        pen.oval(x, raised - 0.46, 0.075, 0.075, BLACK)
    pen.shape(
        [
            (-0.98, 0.72),
            (-0.5, 0.45),
            (0.2, 0.42),
            (0.45, 0.1),
            (0.68, raised - 0.08),
            (0.92, raised + 0.1),
            (0.85, 0.42),
            (0.7, 0.72),
            (0.0, 0.74),
        ],
        skin,
        smooth=True,
    )
    round_shell = pen.moved(-0.15, -0.05, turn=rng.uniform(-25, 25), scale=rng.uniform(0.52, 0.66))
    round_shell.disc(shell)
    turns = (
        (1.0, 0.0),
        (0.6, 0.72),
        (-0.15, 0.84),
        (-0.7, 0.35),
        (-0.68, -0.3),
        (-0.15, -0.65),
        (0.4, -0.42),
        (0.5, 0.1),
        (0.15, 0.42),
        (-0.28, 0.28),
        (-0.3, -0.1),
        (0.05, -0.22),
        (0.14, 0.06),
    )
    round_shell.stroke(turns, 0.13, whorl, smooth=True)
    pen.bare().oval(-0.35, -0.35, 0.14, 0.07, sheer(WHITE, 0.45), turn=-35)


def fish(pen: Pen, rng: Generator) -> None:
    """Draw a fish from the side, swimming to the right."""
    scale, fin = paint(rng), paint(rng)
    mark = mixed(scale, paint(rng, saturation=(0.0, 1.0), value=(0.1, 1.0)), 0.7)
    tall = rng.uniform(0.34, 0.62)
    fork = rng.uniform(0.35, 0.6)
    pen.shape([(-0.45, 0.0), (-0.95, -fork), (-0.8, 0.0), (-0.95, fork)], fin)
    pen.shape([(-0.3, -0.6 * tall), (-0.1, -tall - 0.28), (0.35, -tall + 0.08)], fin, smooth=True)
    pen.shape([(-0.2, 0.6 * tall), (-0.15, tall + 0.22), (0.2, tall - 0.08)], fin, smooth=True)
    pen.shape(
        [
            (-0.62, 0.0),
            (-0.2, -0.82 * tall),
            (0.3, -tall),
            (0.75, -0.5 * tall),
            (0.92, 0.05),
            (0.7, 0.55 * tall),
            (0.25, tall),
            (-0.2, 0.8 * tall),
        ],
        scale,
        smooth=True,
    )
    plain = pen.bare()
    pattern = rng.integers(4)
    if pattern == 0:
        for x in (-0.25, 0.05, 0.35):
            plain.stroke([(x, -0.72 * tall), (x + 0.07, 0.0), (x, 0.72 * tall)], 0.1, mark, smooth=True)
    elif pattern == 1:
        for x, y in (
            (-0.3, 0.0),
            (-0.08, -0.4),
            (-0.05, 0.35),
            (0.18, 0.0),
            (0.3, -0.55),
            (0.32, 0.5),
        ):
            plain.oval(x, y * tall, 0.07, 0.07, mark)
    elif pattern == 2:
        plain.shape(
            [
                (-0.4, 0.25 * tall),
                (0.2, 0.15 * tall),
                (0.75, 0.4 * tall),
                (0.25, 0.88 * tall),
                (-0.1, 0.75 * tall),
            ],
            lighter(scale, 0.6),
            smooth=True,
        )
    plain.stroke(
        [(0.5, -0.6 * tall), (0.42, 0.0), (0.5, 0.6 * tall)], 0.04, darker(scale, 0.5), smooth=True
    )
    plain.shape([(0.15, 0.02), (-0.15, 0.18), (-0.12, -0.08)], darker(fin, 0.15))
    plain.oval(0.66, -0.25 * tall, 0.1, 0.1, WHITE)
    plain.oval(0.68, -0.25 * tall, 0.055, 0.055, BLACK)
    plain.stroke([(0.9, 0.1), (0.76, 0.15)], 0.035, darker(scale, 0.6))


def owl(pen: Pen, rng: Generator) -> None:
    """Draw an owl from the front."""
    feather = paint(rng, hue=(-0.02, 0.16), saturation=(0.05, 0.65), value=(0.3, 0.9))
    if rng.random() < 0.2:
        feather = paint(rng, saturation=(0.1, 0.4), value=(0.4, 0.85))
    belly = lighter(feather, rng.uniform(0.35, 0.75))
    iris = paint(rng, hue=(0.04, 0.18), saturation=(0.7, 1.0), value=(0.8, 1.0))
    beak = paint(rng, hue=(0.06, 0.14), value=(0.5, 0.95))
    for side in pen.sides():
        side.shape([(0.12, -0.72), (0.58, -0.98), (0.62, -0.45)], darker(feather))
        side.stroke([(0.2, 0.85), (0.2, 0.98)], 0.12, beak)
    pen.shape(
        [
            (0.0, -0.82),
            (0.48, -0.76),
            (0.62, -0.4),
            (0.66, 0.2),
            (0.45, 0.78),
            (0.0, 0.92),
            (-0.45, 0.78),
            (-0.66, 0.2),
            (-0.62, -0.4),
            (-0.48, -0.76),
        ],
        feather,
        smooth=True,
    )
    plain = pen.bare()
    plain.oval(0.0, 0.38, 0.42, 0.46, belly)
    speckle = darker(feather, 0.15)
    for x, y in ((0.0, 0.15), (-0.2, 0.3), (0.2, 0.3), (0.0, 0.45), (-0.2, 0.6), (0.2, 0.6)):
        plain.stroke([(x - 0.07, y - 0.05), (x, y + 0.03), (x + 0.07, y - 0.05)], 0.05, speckle)
    for side in pen.sides():
        side.shape([(0.55, -0.2), (0.76, 0.2), (0.62, 0.72), (0.46, 0.3)], darker(feather), smooth=True)
        side.oval(0.27, -0.4, 0.3, 0.3, belly)
        side.bare().oval(0.26, -0.4, 0.2, 0.2, iris)
        side.bare().oval(0.25, -0.4, 0.11, 0.11, BLACK)
        side.bare().oval(0.29, -0.45, 0.04, 0.04, WHITE)
    pen.shape([(-0.09, -0.28), (0.09, -0.28), (0.0, -0.05)], beak)


def penguin(pen: Pen, rng: Generator) -> None:
    """Draw a penguin from the front, its flippers raised or not."""
    coat = paint(rng, hue=(0.5, 0.75), saturation=(0.05, 0.55), value=(0.1, 0.5))
    front = paint(rng, hue=(0.08, 0.18), saturation=(0.0, 0.2), value=(0.88, 1.0))
    bill = paint(rng, hue=(0.0, 0.14), saturation=(0.7, 1.0), value=(0.7, 1.0))
    lift = rng.uniform(5, 65)
    for side in pen.sides():
        side.oval(0.24, 0.92, 0.22, 0.09, bill)
        side.moved(0.42, -0.2, turn=-lift).shape(
            [(-0.06, 0.0), (0.12, 0.05), (0.14, 0.5), (0.02, 0.68), (-0.1, 0.4)],
            darker(coat, 0.2),
            smooth=True,
        )
    pen.shape(
        [
            (0.0, -0.95),
            (0.3, -0.8),
            (0.36, -0.5),
            (0.52, 0.0),
            (0.52, 0.55),
            (0.3, 0.9),
            (-0.3, 0.9),
            (-0.52, 0.55),
            (-0.52, 0.0),
            (-0.36, -0.5),
            (-0.3, -0.8),
        ],
        coat,
        smooth=True,
    )
    plain = pen.bare()
    plain.oval(0.0, 0.32, 0.38, 0.52, front)
    for side in plain.sides():
        side.oval(0.13, -0.56, 0.17, 0.2, front)
        side.oval(0.13, -0.6, 0.06, 0.07, BLACK)
    if rng.random() < 0.4:
        plain.oval(0.0, -0.12, 0.3, 0.1, sheer(bill, 0.6))
    pen.shape([(-0.12, -0.5), (0.12, -0.5), (0.0, -0.32)], bill)
