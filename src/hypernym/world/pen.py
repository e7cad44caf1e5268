"""A pen that draws shapes given in a subject's own coordinates, and the paints it uses."""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

Colour = tuple[int, int, int]
Paint = Colour | tuple[int, int, int, int]
Point = tuple[float, float]
Range = tuple[float, float]

BLACK: Colour = (24, 22, 26)
WHITE: Colour = (250, 248, 242)

_STEPS = 7
_TIME = np.arange(_STEPS) / _STEPS
# Weights of the four neighbouring points in a Catmull-Rom curve, one row a step.
_CURVE = 0.5 * np.stack(
    [
        -_TIME + 2 * _TIME**2 - _TIME**3,
        2 - 5 * _TIME**2 + 3 * _TIME**3,
        _TIME + 4 * _TIME**2 - 3 * _TIME**3,
        -(_TIME**2) + _TIME**3,
    ],
    axis=1,
)
_ANGLES = np.linspace(0, 2 * math.pi, 32, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def paint(
    rng: np.random.Generator,
    hue: Range = (0.0, 1.0),
    saturation: Range = (0.55, 0.95),
    value: Range = (0.5, 0.97),
) -> Colour:
    """Pick a colour; hue in turns (0 red, 1/3 green, 2/3 blue; wraps), the rest in 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(
        rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """Return `colour` with `share` (0 to 1) of `other` mixed in."""
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def darker(colour: Colour, share: float = 0.35) -> Colour:
    """Return `colour` with `share` (0 to 1) of black mixed in."""
    return mixed(colour, BLACK, share)


def lighter(colour: Colour, share: float = 0.35) -> Colour:
    """Return `colour` with `share` (0 to 1) of white mixed in."""
    return mixed(colour, WHITE, share)


def sheer(colour: Colour, opacity: float) -> Paint:
    """Return `colour` with an opacity from 0 to 1."""
    return (*colour, round(255 * opacity))


@dataclass(frozen=True)
class Pen:
    """Draw in a plane of its own: x to the right, y down, a subject within -1 to 1 of the origin.

    `matrix` (a, b, c, d, e, f) maps a point to the pixel (ax + by + c, dx + ey + f). With `ink`,
    every shape is outlined, in a line of `ink_width` pixels.
    """

    canvas: ImageDraw.ImageDraw
    matrix: tuple[float, float, float, float, float, float]
    ink: Colour | None = None
    ink_width: int = 3

    def moved(
        self,
        x: float = 0.0,
        y: float = 0.0,
        *,
        turn: float = 0.0,
        scale: float | Point = 1.0,
    ) -> "Pen":
        """Return a pen whose origin is at (x, y), turned by degrees, then scaled (x, y factors)."""
        across, down = scale if isinstance(scale, tuple) else (scale, scale)
        cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        a, b, c, d, e, f = self.matrix
        matrix = (
            (a * cos + b * sin) * across,
            (b * cos - a * sin) * down,
            a * x + b * y + c,
            (d * cos + e * sin) * across,
            (e * cos - d * sin) * down,
            d * x + e * y + f,
        )
        return Pen(self.canvas, matrix, self.ink, self.ink_width)

    def sides(self) -> tuple["Pen", "Pen"]:
        """Return the pen and its mirror image in the y axis."""
        return self, self.moved(scale=(-1.0, 1.0))

    def bare(self) -> "Pen":
        """Return the pen without ink."""
        return Pen(self.canvas, self.matrix)

    def shape(self, points: Sequence[Point], fill: Paint, *, smooth: bool = False) -> None:
        """Fill a closed outline through the points, with straight or smooth sides."""
        outline = np.asarray(points, dtype=np.float64)
        self._fill(_closed_curve(outline) if smooth else outline, fill)

    def oval(
        self, x: float, y: float, across: float, down: float, fill: Paint, *, turn: float = 0.0
    ) -> None:
        """Fill an ellipse centred at (x, y) with the given radii, turned by degrees."""
        self.moved(x, y, turn=turn, scale=(across, down)).disc(fill)

    def disc(self, fill: Paint) -> None:
        """Fill the unit circle."""
        self._fill(_CIRCLE, fill)

    def stroke(
        self, points: Sequence[Point], width: float, fill: Paint, *, smooth: bool = False
    ) -> None:
        """Draw a line of the given width, round at its points, through the points."""
        corners = np.asarray(points, dtype=np.float64)
        path = self._pixels(_open_curve(corners) if smooth else corners)
        thick = max(1.0, width * self._unit())
        self.canvas.line(path, fill=fill, width=round(thick))
        if thick > 3:
            ends = self._pixels(corners)
            for x, y in zip(ends[::2], ends[1::2], strict=True):
                half = thick / 2
                self.canvas.ellipse((x - half, y - half, x + half, y + half), fill=fill)

    def _fill(self, outline: NDArray[np.float64], fill: Paint) -> None:
        pixels = self._pixels(outline)
        self.canvas.polygon(pixels, fill=fill)
        if self.ink is not None:
            self.canvas.line([*pixels, *pixels[:4]], fill=self.ink, width=self.ink_width)

    def _pixels(self, points: NDArray[np.float64]) -> list[float]:
        a, b, c, d, e, f = self.matrix
        pixels = np.empty_like(points)
        x, y = points.T
        pixels[:, 0] = a * x + b * y + c
        pixels[:, 1] = d * x + e * y + f
        flat: list[float] = pixels.ravel().tolist()
        return flat

    def _unit(self) -> float:
        a, b, _, d, e, _ = self.matrix
        return math.sqrt(abs(a * e - b * d))


def _closed_curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    ring = np.concatenate([points[-1:], points, points[:2]])
    return _curve(ring)


def _open_curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    line = np.concatenate([points[:1], points, points[-1:]])
    return np.concatenate([_curve(line), points[-1:]])


def _curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    neighbours = np.stack([points[:-3], points[1:-2], points[2:-1], points[3:]], axis=1)
    curve: NDArray[np.float64] = (_CURVE @ neighbours).reshape(-1, 2)
    return curve
