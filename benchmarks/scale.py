"""ImageNet-21K's size, without its images: selection, layout and index at 14.2 million rows.

    python benchmarks/scale.py --images 14197122 --classes 21841 --workers 8

Rows are made up: class sizes fall off as ImageNet-21K's do, one image in a hundred is a near duplicate,
under its class or another. Printed are seconds, those of the processor, and the peak of resident memory
after each step; of several processes that open one index, the memory of all together (each shared page
counted once).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from hypernym.data.shards import INDEX_ROW, open_index, save_index
from hypernym.preparation.convert import hash_text
from hypernym.preparation.layout import lay_out
from hypernym.preparation.rules import Recipe, make_rules
from hypernym.preparation.seen import GATHERED, ROWS_PER_BATCH, open_seen
from hypernym.preparation.selection import select

if TYPE_CHECKING:
    from collections.abc import Iterator

MEBI = 1 << 20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=14_197_122)
    parser.add_argument("--classes", type=int, default=21_841)
    parser.add_argument("--min-images", type=int, default=501)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--recipe", type=Recipe, choices=list(Recipe), default=Recipe.DEFAULT)
    parser.add_argument("--max-distance", type=int, default=24)
    options = parser.parse_args()
    rules = make_rules(options.recipe)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "seen.arrow")
        with step("make the rows (not part of a preparation)"):
            child = multiprocessing.get_context("spawn").Process(
                target=write_rows, args=(path, options.images, options.classes)
            )
            child.start()  # a process of its own, so that its memory is not counted
            child.join()
        with step("open the rows"):
            seen = open_seen(path)
        with step("select classes and splits, resolve duplicates"):
            selection = select(
                seen,
                replace(rules.selection, min_images=options.min_images, val_per_class=50),
                replace(rules.duplicates, max_distance=options.max_distance),
                ancestors_of=lambda _: (),
            )
        with step("lay out the shards"):
            shards = list(lay_out(seen, selection, 128_000_000))
        num_rows = sum(len(shard.rows) for shard in shards)
        print(f"{len(selection.kept):,} classes and {num_rows:,} images stay, in {len(shards):,} shards")
        print(f"{(selection.verdicts.of_N >= 0).sum():,} images go because of others")
        index = Path(folder, "train.index.npy")
        save_index(index, np.zeros(num_rows, INDEX_ROW))
        began = time.perf_counter()
        open_index(index)
        print(f"open the index of {num_rows:,} images: {1e3 * (time.perf_counter() - began):.1f} ms")
        measure_workers(index, options.workers)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print how long the block took, and the peak of this process so far."""
    began, worked = time.perf_counter(), time.process_time()
    yield
    took, worked = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own = int(status["RssAnon"].split()[0]) / 1024
    print(
        f"{title:50} {took:8.1f} s ({worked:.1f} of the processor)   peak {peak:8.0f} MiB, "
        f"now {own:8.0f} MiB of its own",
        flush=True,
    )


def write_rows(path: Path, num_images: int, num_classes: int) -> None:
    """Write made-up rows as `gather_seen` would."""
    random = np.random.default_rng(0)
    share = 1 / np.arange(1, num_classes + 1) ** 0.35
    sizes = np.maximum(1, (num_images * share / share.sum()).astype(int))
    class_of = np.repeat(np.arange(num_classes), sizes)[:num_images]
    with pa.OSFile(str(path), "wb") as stream, pa.ipc.new_file(stream, GATHERED) as writer:
        for start in range(0, len(class_of), ROWS_PER_BATCH):
            writer.write_batch(make_batch(class_of[start : start + ROWS_PER_BATCH], start, random))


def make_batch(classes: np.ndarray, start: int, random: np.random.Generator) -> pa.RecordBatch:
    """Make up the rows of some images of these classes."""
    num = len(classes)
    keys = [f"n{c:08d}/n{c:08d}_{start + place}.JPEG" for place, c in enumerate(classes.tolist())]
    hashes = random.integers(0, 256, (num, 32), np.uint8)
    twins = random.choice(num - 1, num // 100, replace=False)
    hashes[twins + 1] = hashes[twins]
    hashes[twins + 1, 0] ^= 7
    columns = {
        "key": keys,
        "class_ids": [[f"n{c:08d}"] for c in classes.tolist()],
        "stated_split": pa.nulls(num, pa.string()),
        "reason": pa.nulls(num, pa.string()),
        "detail": pa.nulls(num, pa.string()),
        "form": ["JPEG"] * num,
        "width": random.integers(200, 600, num, np.int32),
        "height": random.integers(200, 600, num, np.int32),
        "source_sha256": [row.tobytes() for row in random.integers(0, 256, (num, 32), np.uint8)],
        "fingerprint": [row.tobytes() for row in hashes],
        "sample_key": [key[:-5] for key in keys],
        "sample_hash": np.array([hash_text(key) for key in keys], np.uint64),
        "holdout_hash": random.integers(0, 1 << 64, num, np.uint64),
        "order_hash": random.integers(0, 1 << 64, num, np.uint64),
        "offset": np.zeros(num, np.int64),
        "size": random.integers(8_000, 30_000, num, np.int32),
        "part": classes.astype(np.int32),
    }
    arrays = [pa.array(columns[field.name], field.type) for field in GATHERED]
    return pa.RecordBatch.from_arrays(arrays, schema=GATHERED)


def measure_workers(index: Path, num_workers: int) -> None:
    """Let processes look at every row of one index, and print the memory of all together."""
    context = multiprocessing.get_context("fork")
    barrier, sizes = context.Barrier(num_workers), context.SimpleQueue()
    workers = [context.Process(target=touch, args=(index, barrier, sizes)) for _ in range(num_workers)]
    for worker in workers:
        worker.start()
    together = sum(sizes.get() for _ in workers)
    print(f"{num_workers} processes that read all of it take {together / MEBI:,.0f} MiB more together")


def touch(index: Path, barrier: object, sizes: object) -> None:
    """Read every row, and report by how much the proportional set size grew."""
    barrier.wait()  # type: ignore[attr-defined]
    before = proportional_bytes()
    barrier.wait()  # type: ignore[attr-defined]
    open_index(index)["label"].sum()
    rows = open_index(index)
    total = int(rows["label"].sum())
    barrier.wait()  # type: ignore[attr-defined]
    sizes.put(proportional_bytes() - before + 0 * total)  # type: ignore[attr-defined]
    barrier.wait()  # type: ignore[attr-defined]


def proportional_bytes() -> int:
    """Return the memory of this process in which a page of n processes counts as a n-th."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    return 0


if __name__ == "__main__":
    main()
