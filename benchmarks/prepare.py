"""What preparing photos costs, beside the official scripts and img2dataset's resizer.

    OMP_NUM_THREADS=1 python benchmarks/prepare.py photos.tar --repeats 7

Needs OpenCV (`opencv-python-headless`). `photos.tar` holds photos of ordinary size, under any names.

1. One core, squish to 224: images a second, and the PSNR against Pillow's Lanczos, of the pixels before
   and after they are stored. Each is timed as it is used: the official loop reads a file and writes
   one (`cv2.imread` from a warm cache, bilinear `resize`, `imwrite`; the same loop without its files
   has a line of its own); img2dataset's resizer (AREA) and `prepare` take bytes in memory, which both
   have from an archive, and return bytes, which both append to another.
2. The whole way from a tar of class tars to a dataset, on one process and on two, against the official
   steps: untar, count, move, resize. Bytes are those that the system calls of one process move. Ours
   checks, digests, shards and indexes; the perceptual hash, which the official steps have nothing like,
   is in or out as the name of the line says. What two processes can gain at most on this machine is
   seen by letting two prepare images and do nothing else, beside one that does.

Each figure is a median over the repeats, which take turns; ratios are of the same turn.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import shutil
import statistics
import tarfile
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hypernym.data.headers import read_header
from hypernym.data.images import ImagePolicy, Prepared, prepare_image
from hypernym.data.pixels import decode_image, decode_jpeg, resize
from hypernym.preparation.job import Preparation, Taxonomy, Workforce
from hypernym.preparation.pipeline import run_preparation
from hypernym.preparation.rules import Recipe, make_rules
from hypernym.preparation.sources.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Pixels = NDArray[np.uint8]

SIDE = 224
COPIES = 192
"""Each photo stands in the archive so many times, under other names."""

RULES = make_rules(Recipe.IMAGENET21K_P)
POLICY = replace(RULES.images, fingerprints=False)
WITH_FINGERPRINT = replace(POLICY, fingerprints=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--end-to-end-repeats", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    photos = read_photos(options.photos)
    with tempfile.TemporaryDirectory() as folder:
        compare_images(photos, Path(folder), options.repeats)
        compare_whole(photos, Path(folder), options.end_to_end_repeats)


def read_photos(path: Path) -> list[bytes]:
    """Return the bytes of every file of a tar that is larger than what is made of it."""
    with tarfile.open(path) as archive:
        streams = (archive.extractfile(member) for member in archive if member.isreg())
        photos = [stream.read() for stream in streams if stream]
    return [photo for photo in photos if min(Image.open(io.BytesIO(photo)).size) > SIDE]


# --- one image ----------------------------------------------------------------------------------


def squish_officially(data: bytes) -> Pixels:
    """Do what the official resizing script does to an image."""
    return as_pixels(cv2.resize(decode_with_cv2(data), (SIDE, SIDE)))


def squish_like_img2dataset(data: bytes) -> Pixels:
    """Do what img2dataset's resizer does where it does not keep the ratio."""
    return as_pixels(cv2.resize(decode_with_cv2(data), (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def decode_with_cv2(data: bytes) -> Pixels:
    """Decode to BGR."""
    return as_pixels(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def as_pixels(array: object) -> Pixels:
    """Narrow what OpenCV returns, which is None where a file is no image."""
    assert isinstance(array, np.ndarray)  # noqa: S101 - all of them are photos
    return array


def encode_with_cv2(pixels: Pixels) -> bytes:
    """Encode at quality 95, which is OpenCV's default and ours."""
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def squish_officially_to_jpeg(data: bytes) -> bytes:
    """As the official loop, without its files."""
    return encode_with_cv2(squish_officially(data))


def squish_like_img2dataset_to_jpeg(data: bytes) -> bytes:
    """As img2dataset's resizer."""
    return encode_with_cv2(squish_like_img2dataset(data))


def prepare_to_jpeg(data: bytes, policy: ImagePolicy = POLICY) -> bytes:
    """Prepare an image."""
    prepared = prepare_image(data, policy)
    assert isinstance(prepared, Prepared)  # noqa: S101 - all of them are photos
    return prepared.jpeg


OFFICIAL = "official (cv2, bilinear)"
IMG2DATASET = "img2dataset (cv2, AREA)"
WAYS: dict[str, Callable[[bytes], bytes]] = {
    "the same without its files": squish_officially_to_jpeg,
    IMG2DATASET: squish_like_img2dataset_to_jpeg,
    "hypernym": prepare_to_jpeg,
    "hypernym, with perceptual hash": partial(prepare_to_jpeg, policy=WITH_FINGERPRINT),
}


def compare_images(photos: Sequence[bytes], folder: Path, repeats: int) -> None:
    """Time and judge each way of making one image small."""
    references = [lanczos(photo) for photo in photos]
    stored, made = folder / "stored", folder / "made"
    stored.mkdir()
    for number, photo in enumerate(photos):
        (stored / f"{number}.JPEG").write_bytes(photo)
    os.sync()
    seconds = {name: np.zeros(repeats + 1) for name in (OFFICIAL, *WAYS)}
    for turn in range(repeats + 1):  # the first turn warms up
        made.mkdir()
        began = time.perf_counter()
        for path in sorted(stored.iterdir()):
            resize_officially(path, made / path.name)
        seconds[OFFICIAL][turn] = time.perf_counter() - began
        shutil.rmtree(made)
        for name, way in WAYS.items():
            began = time.perf_counter()
            for photo in photos:
                way(photo)
            seconds[name][turn] = time.perf_counter() - began
    print(f"{len(photos)} photos of {sum(map(len, photos)) / len(photos) / 1000:.0f} kB, one core")
    print(f"{'':32}{'images/s':>10}{'x official':>12}{'x img2dataset':>15}{'stored, dB':>12}")
    for name, own in seconds.items():
        against = [np.median((seconds[peer] / own)[1:]) for peer in (OFFICIAL, IMG2DATASET)]
        way = WAYS.get(name, squish_officially_to_jpeg)
        psnr = mean_psnr([decode_image(way(photo)) for photo in photos], references)
        rate = len(photos) / np.median(own[1:])
        print(f"{name:32}{rate:10.0f}{against[0]:12.2f}{against[1]:15.2f}{psnr:12.1f}")
    pixels = {
        "official": [squish_officially(photo)[:, :, ::-1] for photo in photos],
        "img2dataset": [squish_like_img2dataset(photo)[:, :, ::-1] for photo in photos],
        "hypernym": [squish_without_storing(photo) for photo in photos],
    }
    told = ", ".join(f"{name} {mean_psnr(found, references):.1f}" for name, found in pixels.items())
    print(f"PSNR of the pixels against Lanczos, before they are stored: {told} dB")


def squish_without_storing(data: bytes) -> Pixels:
    """Do what `prepare_image` does to the pixels of a large photo."""
    pixels = decode_jpeg(data, read_header(data), "RGBX", (SIDE, SIDE))
    return resize(as_pixels(pixels), SIDE, SIDE)[:, :, :3]


def lanczos(data: bytes) -> Pixels:
    """Return the pixels that are nearest to the truth: a full decode, and Pillow's Lanczos."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def mean_psnr(pixels: Sequence[Pixels], references: Sequence[Pixels]) -> float:
    """Return the mean peak signal-to-noise ratio, in dB."""
    errors = [
        ((own.astype(np.float64) - reference) ** 2).mean()
        for own, reference in zip(pixels, references, strict=True)
    ]
    return float(10 * np.log10(255**2 / np.array(errors)).mean())


# --- the whole way ------------------------------------------------------------------------------


def compare_whole(photos: Sequence[bytes], folder: Path, repeats: int) -> None:
    """Time the way from a tar of class tars to what can be trained on."""
    source = write_archive(photos, folder)
    num_images = len(photos) * COPIES
    runs: dict[str, Callable[..., None]] = {
        "official steps": run_officially,
        "hypernym": partial(run_ours, policy=POLICY),
        "hypernym, with perceptual hash": partial(run_ours, policy=WITH_FINGERPRINT),
    }
    ways = {
        (name, workers): partial(run, source, workers=workers)
        for workers in (1, 2)
        for name, run in runs.items()
    }
    seconds: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    gains: list[float] = []
    target = folder / "made"
    for _ in range(repeats):
        for way, run in ways.items():
            os.sync()  # else the fsyncs of one way wait for what another has left to the kernel
            began = time.perf_counter()
            run(target)
            seconds[way].append(time.perf_counter() - began)
            shutil.rmtree(target)
        gains.append(measure_gain(photos))
    print(f"\n{num_images} photos from a tar of class tars of {source.stat().st_size / 1e6:.0f} MB")
    columns = f"{'images/s':>10}{'x official':>12}{'x one process':>15}"
    print(f"{'':45}{columns}{'read MB':>10}{'written MB':>12}{'files':>8}")
    for (name, workers), own in seconds.items():
        processes = f"{workers} process{'es' if workers > 1 else ''}"
        to_official = median_ratio(seconds["official steps", workers], own)
        to_one = median_ratio(seconds[name, 1], own)
        rate = num_images / statistics.median(own)
        line = f"{f'{name}, {processes}':45}{rate:10.0f}{to_official:12.2f}{to_one:15.2f}"
        if workers == 1:
            read, written = count_bytes(partial(ways[name, workers], target))
            files = sum(path.is_file() for path in target.rglob("*"))
            line += f"{read / 1e6:10.0f}{written / 1e6:12.0f}{files:8}"
            shutil.rmtree(target)
        print(line)
    told = ", ".join(f"{gain:.2f}" for gain in gains)
    print(f"two processes that only prepare images, against one, turn by turn: {told}")


def median_ratio(seconds: Sequence[float], own: Sequence[float]) -> float:
    """Return how many times the rate of others a way has."""
    return statistics.median(other / mine for other, mine in zip(seconds, own, strict=True))


def measure_gain(photos: Sequence[bytes]) -> float:
    """Return how much more two processes do than one where nothing but the machine hinders them."""
    context = multiprocessing.get_context("fork")
    rates = []
    for workers in (1, 2):
        with context.Pool(workers) as pool:
            pool.map(prepare_for_seconds, [photos] * workers, chunksize=1)  # until all are awake
            rates.append(sum(pool.map(prepare_for_seconds, [photos] * workers, chunksize=1)))
    return rates[1] / rates[0]


def prepare_for_seconds(photos: Sequence[bytes], seconds: float = 3.0) -> float:
    """Prepare images for a while, and return how many a second."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        prepare_to_jpeg(photos[done % len(photos)])
        done += 1
    return done / (time.perf_counter() - began)


def write_archive(photos: Sequence[bytes], folder: Path) -> Path:
    """Write a tar of class tars of twelve classes."""
    path = folder / "whole.tar"
    with tarfile.open(path, "w") as outer:
        for number in range(12):
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode="w") as inner:
                for place, photo in enumerate([*photos[number::12]] * COPIES):
                    add(inner, f"c{number:02d}_{place}.JPEG", photo)
            add(outer, f"c{number:02d}.tar", stream.getvalue())
    return path


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Append a file to a tar."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def run_officially(source: Path, target: Path, workers: int) -> None:
    """Untar the archive and each class, count, move 10 of each class to val, resize all in place."""
    train, val = target / "train", target / "val"
    with tarfile.open(source) as archive:
        archive.extractall(train, filter="data")
    for tar in sorted(train.glob("*.tar")):
        with tarfile.open(tar) as archive:
            archive.extractall(train / tar.stem, filter="data")
        tar.unlink()
        names = sorted((train / tar.stem).iterdir())
        (val / tar.stem).mkdir(parents=True)
        for name in names[:10]:
            name.rename(val / tar.stem / name.name)
    paths = sorted(target.rglob("*.JPEG"))
    if workers == 1:
        for path in paths:
            resize_in_place(path)
        return
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        pool.map(resize_in_place, paths, chunksize=32)


def resize_in_place(path: Path) -> None:
    """Do to a file what the official script does."""
    resize_officially(path, path)


def resize_officially(path: Path, target: Path) -> None:
    """Make one file of another as the official script does."""
    cv2.imwrite(str(target), cv2.resize(as_pixels(cv2.imread(str(path))), (SIDE, SIDE)))


def run_ours(source: Path, target: Path, workers: int, policy: ImagePolicy) -> None:
    """Prepare the archive: with checks, digests, shards and index."""
    selection = replace(RULES.selection, min_images=1, val_per_class=10)
    rules = replace(RULES, images=policy, selection=selection)
    taxonomy = Taxonomy(lambda ids: ids, lambda _: (), "")
    force = Workforce(workers)
    run_preparation(Preparation(open_source(str(source)), target, rules, taxonomy, workforce=force))


def count_bytes(work: Callable[[], None]) -> tuple[int, int]:
    """Return the bytes that some work of this process reads and writes."""

    def counters() -> tuple[int, int]:
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(lines[0].split()[1]), int(lines[1].split()[1])

    before = counters()
    work()
    return tuple(now - then for now, then in zip(counters(), before, strict=True))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
