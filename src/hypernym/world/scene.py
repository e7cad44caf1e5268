"""What surrounds a subject: backgrounds, clutter and the light of the finished picture."""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hypernym.world.pen import Colour, Pen, mixed, paint, sheer

Floats = NDArray[np.float32]


def background(width: int, height: int, rng: Generator) -> Image.Image:
    """Paint a background in colours that do not depend on the subject."""
    kinds = (_gradient, _landscape, _blotches, _pattern, _grain)
    kind = kinds[int(rng.integers(len(kinds)))]
    return _enlarged(kind(rng), width, height)


def clutter(pen: Pen, rng: Generator) -> None:
    """Scatter up to five scraps over the picture, behind the subject."""
    for _ in range(int(rng.integers(0, 6))):
        x, y = rng.uniform(-1.6, 1.6), rng.uniform(-1.6, 1.6)
        _scrap(pen.moved(x, y, turn=rng.uniform(0, 360), scale=rng.uniform(0.1, 0.5)), rng)


def occluder(pen: Pen, rng: Generator) -> None:
    """Cover a part of the subject, from its edge outwards, with a scrap or a few stalks."""
    if rng.random() < 0.5:
        angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(0.75, 1.05)
        place = pen.moved(far * math.cos(angle), far * math.sin(angle), turn=rng.uniform(0, 360))
        _scrap(place.moved(scale=rng.uniform(0.2, 0.4)), rng)
        return
    colour = paint(rng)
    for _ in range(int(rng.integers(1, 4))):
        x, lean = rng.uniform(-1.2, 1.2), rng.uniform(-0.5, 0.5)
        stalk = [(x, 2.0), (x + 0.4 * lean, 0.9), (x + lean, rng.uniform(-0.4, 0.6))]
        pen.stroke(stalk, rng.uniform(0.05, 0.12), colour, smooth=True)


def lit(picture: Image.Image, rng: Generator) -> Image.Image:
    """Vary exposure, contrast, tint and the fall of light; at times add noise or blur."""
    if rng.random() < 0.25:
        soft = rng.uniform(0.3, 0.8) * min(picture.size) / 64
        picture = picture.filter(ImageFilter.GaussianBlur(soft))
    values = np.asarray(picture, dtype=np.float32)
    height, width, _ = values.shape
    mean = np.float32(rng.uniform(90, 150))
    contrast = rng.uniform(0.65, 1.15)
    gain = (contrast * rng.uniform(0.92, 1.08, size=3)).astype(np.float32)
    offset = np.float32(rng.uniform(-25, 25))
    values = (values - mean) * gain + (mean + offset)
    if rng.random() < 0.4:
        fall = rng.uniform(-0.3, 0.3, size=2).astype(np.float32)
        down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
        across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        values *= 1 + fall[0] * down + fall[1] * across
    if rng.random() < 0.35:
        noise = rng.standard_normal((height, width, 1), dtype=np.float32)
        values += np.float32(rng.uniform(2, 10)) * noise
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _scrap(pen: Pen, rng: Generator) -> None:
    """Draw a meaningless scrap within the unit circle: a disc, blob, ring, bar or splinter."""
    fill = sheer(paint(rng, saturation=(0.1, 0.9), value=(0.2, 1.0)), rng.uniform(0.5, 1.0))
    kind = rng.integers(5)
    if kind == 0:
        pen.oval(0.0, 0.0, 0.9, rng.uniform(0.4, 0.9), fill)
    elif kind == 1:
        far = rng.uniform(0.5, 1.0, size=7)
        pen.shape([_polar(step / 7, float(far[step])) for step in range(7)], fill, smooth=True)
    elif kind == 2:
        pen.stroke([_polar(step / 12, 0.8) for step in range(int(rng.integers(6, 13)))], 0.25, fill)
    elif kind == 3:
        pen.stroke([(-1.6, 0.0), (0.0, rng.uniform(-0.6, 0.6)), (1.6, 0.0)], 0.25, fill, smooth=True)
    else:
        corners = int(rng.integers(3, 6))
        pen.shape([_polar(step / corners, rng.uniform(0.6, 1.0)) for step in range(corners)], fill)


def _polar(turn: float, far: float) -> tuple[float, float]:
    return far * math.cos(2 * math.pi * turn), far * math.sin(2 * math.pi * turn)


def _backdrop(rng: Generator) -> Colour:
    return paint(rng, saturation=(0.05, 0.65), value=(0.25, 1.0))


def _enlarged(field: Floats, width: int, height: int) -> Image.Image:
    picture = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def _array(colour: Colour) -> Floats:
    return np.asarray(colour, dtype=np.float32)


def _gradient(rng: Generator) -> Floats:
    start = _backdrop(rng)
    end = mixed(start, _backdrop(rng), 0.7)
    angle = rng.uniform(0, 2 * math.pi)
    down, across = np.mgrid[-1:1:12j, -1:1:12j].astype(np.float32)
    share = 0.5 + 0.35 * (math.cos(angle) * across + math.sin(angle) * down)
    return _blend(share, start, end)


def _landscape(rng: Generator) -> Floats:
    side = 96
    sky = np.asarray(_enlarged(_gradient(rng), side, side), dtype=np.float32)
    ground = np.asarray(_enlarged(_blotches(rng), side, side), dtype=np.float32)
    across = np.arange(side)
    hills = np.sin(across / rng.uniform(10, 25) + rng.uniform(0, 6))
    horizon = side * (rng.uniform(0.45, 0.85) + rng.uniform(0.0, 0.08) * hills)
    landscape: Floats = np.where((across[:, None] > horizon)[:, :, None], ground, sky)
    return landscape


def _blotches(rng: Generator) -> Floats:
    share = rng.random((8, 8), dtype=np.float32)
    start = _backdrop(rng)
    return _blend(share, start, mixed(start, _backdrop(rng), 0.5))


def _pattern(rng: Generator) -> Floats:
    """Draw soft stripes, checks or dots."""
    down, across = np.mgrid[0:1:48j, 0:1:48j].astype(np.float32)
    angle, waves = rng.uniform(0, math.pi), 2 * math.pi * rng.uniform(2, 7)
    first = np.sin(waves * (math.cos(angle) * across + math.sin(angle) * down))
    second = np.sin(waves * (math.cos(angle) * down - math.sin(angle) * across))
    kind = rng.integers(3)
    wave = first if kind == 0 else first * second if kind == 1 else np.minimum(first, second)
    start = _backdrop(rng)
    return _blend(np.clip(0.5 + 2 * wave, 0, 1), start, mixed(start, _backdrop(rng), 0.4))


def _grain(rng: Generator) -> Floats:
    """Draw a coarse grain, such as sand or gravel has."""
    share = rng.random((40, 40), dtype=np.float32)
    start = _backdrop(rng)
    return _blend(share, start, mixed(start, _backdrop(rng), 0.35))


def _blend(share: Floats, start: Colour, end: Colour) -> Floats:
    blend: Floats = _array(start) + share[:, :, None] * (_array(end) - _array(start))
    return blend
