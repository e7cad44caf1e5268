"""What loading costs, beside the official loader, timm's and webdataset's.

    OMP_NUM_THREADS=1 python benchmarks/loader.py photos.tar --repeats 7
    OMP_NUM_THREADS=1 python benchmarks/loader.py photos.tar --repeats 0 --rows 12000000

Needs webdataset and the PyPI package `randaugment` (`pip install --no-deps randaugment`).
`photos.tar` holds photos of ordinary size, under any names. They are prepared at 224 px by `hypernym
prepare`, and the same JPEGs are unpacked into class folders for the loaders that read those.

1. One core, batches made in one process: images a second, by augmentation. The loaders take turns; a
   figure is a median over the turns, in processor time, and a ratio is of the same turn.
   `official` is squash, Cutout 0.5 and the package's RandAugment, as the official code has it.
2. With `--rows`: an index of so many rows, over the same shards. Seconds to the first batch, and the
   memory that a loading process has to itself.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import io
import multiprocessing
import random
import shutil
import statistics
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg
import torch
import webdataset
from PIL import Image, ImageDraw
from timm.data import create_dataset, create_loader
from timm.data.transforms import ToNumpy
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from hypernym.commands.prepare import prepare
from hypernym.data.dataset import Dataset, open_dataset
from hypernym.data.loader import make_train_loader
from hypernym.data.rows import SplitRows
from hypernym.data.shards import INDEX_ROW, index_path
from hypernym.data.transforms import Augmentation
from hypernym.preparation.duplicates import Duplicates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SIDE = 224
BATCH = 64
CLASSES = 12
COPIES = 4
"""Each photo stands in the archive so many times, under other names."""

CROP = Augmentation()
OFFICIAL = Augmentation(view="squash", flip=0.0, policy="randaugment", cutout=0.5)
TIMM = Augmentation(policy="rand-m9-mstd0.5-inc1")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--repeats", type=int, default=7, help="0 leaves the first table out")
    parser.add_argument("--rows", type=int, help="of an index to start with")
    parser.add_argument("--workers", type=int, default=2, help="to start with")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = prepare_photos(options.photos, folder)
        if options.repeats:
            compare(dataset, unpack(dataset, folder), options.repeats)
        if options.rows:
            for rows in (len(dataset.index("train")), options.rows):
                start(enlarge(dataset, folder / f"of_{rows}", rows), options.workers)


def prepare_photos(path: Path, folder: Path) -> Dataset:
    """Prepare photos, in twelve classes, several times each."""
    with tarfile.open(path) as archive:
        streams = (archive.extractfile(member) for member in archive if member.isreg())
        photos = [stream.read() for stream in streams if stream]
    photos = [photo for photo in photos if min(Image.open(io.BytesIO(photo)).size) > SIDE]
    for number in range(CLASSES):
        class_folder = folder / "photos" / f"n{number:08d}"
        class_folder.mkdir(parents=True)
        for place, photo in enumerate(photos[number::CLASSES] * COPIES):
            (class_folder / f"{place}.JPEG").write_bytes(photo)
    prepare(
        folder / "photos",
        folder / "dataset",
        min_images=1,
        val_per_class=0,
        size=SIDE,
        duplicates=Duplicates.KEEP,
        workers=1,
    )
    return open_dataset(folder / "dataset")


def unpack(dataset: Dataset, folder: Path) -> Path:
    """Write the stored JPEGs into class folders."""
    reader = dataset.reader("train")
    for row, entry in enumerate(dataset.index("train")):
        path = folder / "unpacked" / f"{entry['label']:08d}" / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(reader.read(entry))
    return folder / "unpacked"


# --- images a second ---------------------------------------------------------------------------


class CutoutPIL:
    """The official code's Cutout."""

    def __init__(self, cutout_factor: float) -> None:
        self.cutout_factor = cutout_factor

    def __call__(self, image: Image.Image) -> Image.Image:
        """Paint a rectangle over, in place."""
        draw = ImageDraw.Draw(image)
        height, width = image.size
        half_height, half_width = (int(self.cutout_factor * side + 0.5) // 2 for side in (height, width))
        y, x = np.random.randint(height), np.random.randint(width)  # noqa: NPY002 - as it is there
        top, bottom = (np.clip(y + step, 0, height) for step in (-half_height, half_height))
        left, right = (np.clip(x + step, 0, width) for step in (-half_width, half_width))
        color = tuple(random.randint(0, 255) for _ in range(3))  # noqa: S311 - the same
        draw.rectangle([left, top, right, bottom], fill=color)
        return image


def make_official_randaugment() -> Callable[[Image.Image], Image.Image]:
    """Return the package's RandAugment, which was written for a NumPy that still had `np.int`."""
    np.int = int  # type: ignore[attr-defined]  # noqa: NPY001 - that is what it asks for
    policy: Callable[[Image.Image], Image.Image] = importlib.import_module("randaugment").RandAugment()
    return policy


@functools.cache
def peers_transform(augmentation: Augmentation) -> Any:  # noqa: ANN401 - torchvision has no types
    """Return the same augmentation on Pillow's images, up to an image."""
    if augmentation == OFFICIAL:
        squash = transforms.Resize((SIDE, SIDE))
        return transforms.Compose([squash, CutoutPIL(0.5), make_official_randaugment()])
    crop = transforms.RandomResizedCrop(SIDE, (augmentation.min_scale, 1.0))
    return transforms.Compose([crop, transforms.RandomHorizontalFlip(augmentation.flip)])


def decode(data: bytes) -> object:
    """Decode and nothing else."""
    return simplejpeg.decode_jpeg(data, colorspace="RGB")


def decode_with_pillow(data: bytes) -> object:
    """Decode as ImageFolder does."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def load_with_image_folder(folder: Path, augmentation: Augmentation) -> Iterable[Any]:
    """Return the official loader."""
    transform = transforms.Compose([peers_transform(augmentation), transforms.ToTensor()])
    return DataLoader(ImageFolder(str(folder), transform), BATCH, shuffle=True, drop_last=True)


def load_with_timm(folder: Path, augmentation: Augmentation) -> Iterable[Any]:
    """Return timm's loader up to bytes (its `fast_collate`), before it moves them to a device."""
    loader = create_loader(
        create_dataset("", root=str(folder)),
        (3, SIDE, SIDE),
        BATCH,
        is_training=True,
        scale=(augmentation.min_scale, 1.0),
        hflip=augmentation.flip,
        color_jitter=None,
        auto_augment=augmentation.policy if augmentation == TIMM else None,
        interpolation="bicubic",
        num_workers=0,
        persistent_workers=False,
        device=torch.device("cpu"),
    )
    if augmentation == OFFICIAL:
        loader.dataset.transform = transforms.Compose([peers_transform(augmentation), ToNumpy()])
    return loader.loader  # type: ignore[no-any-return]


def load_with_webdataset(dataset: Dataset, augmentation: Augmentation) -> Iterable[Any]:
    """Return a pipeline of webdataset over our shards, with a buffer to shuffle in."""
    transform = transforms.Compose([peers_transform(augmentation), transforms.ToTensor()])
    shards = sorted(map(str, (dataset.path / "train").glob("*.tar")))
    pipeline = webdataset.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).decode("pilrgb")
    return pipeline.to_tuple("jpg", "cls").map_tuple(transform).batched(BATCH, partial=False)  # type: ignore[no-any-return]


def make_ways(dataset: Dataset, folder: Path) -> dict[str, Callable[[int], int]]:
    """Return each way to go through the images: it takes the turn and returns how many there were."""
    reader = dataset.reader("train")
    jpegs = [reader.read(entry) for entry in dataset.index("train")]
    timm_and_image_folder = {"ImageFolder": load_with_image_folder, "timm": load_with_timm}

    def go(each: Callable[[bytes], object]) -> Callable[[int], int]:
        return lambda _: len([each(jpeg) is None for jpeg in jpegs])

    def iterate(batches: Iterable[Any]) -> Callable[[int], int]:
        return lambda _: sum(len(batch[1]) for batch in batches)

    def ours(augmentation: Augmentation) -> Callable[[int], int]:
        loader = make_train_loader(
            SplitRows(dataset, "train"),
            augmentation,
            size=SIDE,
            batch_size=BATCH,
            seed=0,
            workers=0,
            pin=False,
        )
        return lambda turn: sum(len(batch.rows) for batch in loader.batches(turn, 0))

    ways: dict[str, Callable[[int], int]] = {
        "decode, Pillow": go(decode_with_pillow),
        "decode, simplejpeg": go(decode),
    }
    for name, augmentation in {"crop and flip": CROP, "official": OFFICIAL, "timm's rand": TIMM}.items():
        for peer, load in timm_and_image_folder.items():
            if augmentation != TIMM or peer == "timm":
                ways[f"{name}, {peer}"] = iterate(load(folder, augmentation))
        if augmentation != TIMM:
            ways[f"{name}, webdataset"] = iterate(load_with_webdataset(dataset, augmentation))
        ways[f"{name}, hypernym"] = ours(augmentation)
    return ways


def compare(dataset: Dataset, folder: Path, repeats: int) -> None:
    """Time each way, in turns."""
    ways = make_ways(dataset, folder)
    costs: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):  # the first turn warms up
        for name, way in ways.items():
            began = time.process_time()
            number = way(turn)
            if turn:
                costs[name].append((time.process_time() - began) / number)
    print(f"{len(dataset.index('train'))} images of {SIDE} px, batches of {BATCH}, one core")
    print(f"{'':32}{'images/s':>10}{'hypernym is':>14}{'range':>14}")
    for name, own in costs.items():
        ours = costs.get(f"{name.split(',')[0]}, hypernym", own)
        ratios = [theirs / mine for theirs, mine in zip(own, ours, strict=True)]
        line = f"{name:32}{1 / statistics.median(own):10.0f}"
        if own is not ours:
            line += f"{statistics.median(ratios):13.2f}x{min(ratios):8.2f}-{max(ratios):.2f}"
        print(line)


# --- the start ---------------------------------------------------------------------------------


def enlarge(dataset: Dataset, folder: Path, rows: int) -> Dataset:
    """Write an index of so many rows over the shards of a dataset."""
    folder.mkdir()
    shutil.copy(dataset.path / "dataset.json", folder)
    (folder / "train").symlink_to(dataset.path / "train")
    index = dataset.index("train")
    large = np.lib.format.open_memmap(
        index_path(folder, "train"), "w+", INDEX_ROW, (rows,), version=(1, 0)
    )
    for first in range(0, rows, len(index)):
        large[first : first + len(index)] = index[: rows - first]
    large.flush()
    return replace(dataset, path=folder)


def start(dataset: Dataset, workers: int) -> None:
    """Time the way to the first batch, and weigh the loading processes."""
    for balance in (0.0, 0.5):
        began = time.perf_counter()
        loader = make_train_loader(
            SplitRows(dataset, "train"),
            OFFICIAL,
            size=SIDE,
            batch_size=BATCH,
            seed=0,
            balance=balance,
            workers=workers,
            pin=False,
        )
        batches = loader.batches(0, 0)
        next(batches)
        first = time.perf_counter() - began
        own = [weigh(process.pid) for process in multiprocessing.active_children()]
        began = time.perf_counter()
        next(loader.batches(1, 0))
        second = time.perf_counter() - began
        print(
            f"{len(dataset.index('train')):,} rows, {workers} workers, balance {balance}: first batch "
            f"after {first:.1f} s, of the second epoch after {second:.1f} s; a worker's own memory: "
            f"{', '.join(f'{size:.0f}' for size in own)} MB"
        )
        del batches, loader


def weigh(process: int | None) -> float:
    """Return the megabytes that a process wrote and shares with no other."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1000


if __name__ == "__main__":
    main()
