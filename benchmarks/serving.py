"""What a server of `hypernym serve` bears: rate, waiting, memory, and what slow clients cost the others.

    OMP_NUM_THREADS=1 python benchmarks/serving.py RUN --requests 10000

Starts the server as a process of its own and asks it from this one, over HTTP on the loopback address,
by connections that stay open.
Pictures are drawn, 256 px, 40 of them.

1. Rate and waiting, by the number of clients that ask at once, each as soon as it was answered.
2. Memory of the server after 1,000 requests and at the end, among them pictures of 12 megapixels, files
   that are no pictures, and clients that leave before they are answered.
3. More clients than may wait: how many are told 503, and how long the others wait.
4. Clients that send a byte a second: what the others wait meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import resource
import statistics
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
from PIL import Image

from hypernym.world.classes import CLASSES, leaves
from hypernym.world.drawing import draw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PICTURES = 40
SIDE = 256
LARGE = (4000, 3000)
CLIENTS = (1, 4, 16, 32)
SLOW = 50


@dataclass
class Load:
    """What was found of some requests."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    """Seconds, of those that were answered."""

    refused: int = 0

    def __str__(self) -> str:
        """Return rate, median and 99th percentile."""
        ordered = sorted(self.waits)
        p99 = ordered[int(0.99 * (len(ordered) - 1))]
        told = [
            f"{len(ordered) / self.seconds:7.1f} requests/s",
            f"p50 {1000 * statistics.median(ordered):6.1f} ms",
            f"p99 {1000 * p99:6.1f} ms",
            f"({len(ordered)} answered, {self.refused} told 503)",
        ]
        return "   ".join(told)


def draw_pictures() -> list[bytes]:
    """Return JPEG files of drawn pictures."""
    kinds = leaves(CLASSES)
    files = []
    for number in range(PICTURES):
        stream = io.BytesIO()
        rng = np.random.default_rng(number)
        draw(kinds[number % len(kinds)].id, SIDE, rng).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files


def draw_large() -> bytes:
    """Return a JPEG file of twelve megapixels."""
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize(LARGE).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@contextmanager
def start_server(run: Path, queue: int) -> Iterator[tuple[str, int]]:
    """Start a server; give its address and process id."""
    code = (
        "from pathlib import Path; from hypernym.commands.serve import serve; "
        f"serve([Path({str(run)!r})], port=0, device='cpu', queue={queue})"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603 - itself
        line = process.stderr.readline() if process.stderr else ""
        found = re.search(r"at (http://\S+)", line)
        if found is None:
            raise SystemExit(line)
        yield found[1], process.pid
        process.terminate()


def read_memory(process: int) -> float:
    """Return the resident memory of a process in MB."""
    fields = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * resource.getpagesize() / 1e6


def make_request(address: str, picture: bytes) -> bytes:
    """Return a request as it goes over the wire, made once."""
    url = httpx.URL(address)
    built = httpx.Request("POST", url.join("/api/predict"), files={"images": ("a.jpg", picture)})
    body = built.read()
    head = [f"{name}: {value}" for name, value in built.headers.items()]
    return "\r\n".join(["POST /api/predict HTTP/1.1", *head, "", ""]).encode() + body


async def ask(address: str, pictures: list[bytes], *, clients: int, requests: int) -> Load:
    """Ask by several clients, each as soon as it was answered."""
    load = Load()
    url = httpx.URL(address)
    built = [make_request(address, picture) for picture in pictures]
    numbers = iter(range(requests))

    async def go_on() -> None:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        for number in numbers:
            began = time.monotonic()
            writer.write(built[number % len(built)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            if head.split()[1] == b"503":
                load.refused += 1
                await asyncio.sleep(0.05)
            else:
                load.waits.append(time.monotonic() - began)
        writer.close()

    began = time.monotonic()
    await asyncio.gather(*(go_on() for _ in range(clients)))
    load.seconds = time.monotonic() - began
    return load


async def leave(address: str, picture: bytes) -> None:
    """Ask and leave at once."""
    url = httpx.URL(address)
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(make_request(address, picture))
    await writer.drain()
    writer.close()


@asynccontextmanager
async def slow_clients(address: str, count: int) -> AsyncIterator[None]:
    """Keep clients at work that send a byte a second."""
    url = httpx.URL(address)
    head = (
        f"POST /api/predict HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 100000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )

    async def send_slowly() -> None:
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(head.encode())
        try:
            while not writer.is_closing():
                await asyncio.sleep(1)
                writer.write(b"a")
        finally:
            writer.close()

    tasks = [asyncio.create_task(send_slowly()) for _ in range(count)]
    await asyncio.sleep(1)
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def measure_memory(address: str, process: int, pictures: list[bytes], requests: int) -> None:
    """Print the memory of a server under a mixed load."""
    mixed = [*pictures, draw_large(), b"no picture"]
    done = 0
    for goal in sorted({min(1000, requests), *range(1000, requests + 1, 3000), requests}):
        await ask(address, mixed, clients=16, requests=goal - done)
        for _ in range(10):
            await leave(address, pictures[0])
        done = goal
        print(f"  after {done:6d} requests   {read_memory(process):7.1f} MB")


def main() -> None:
    """Print the tables."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("run", type=Path)
    words.add_argument("--requests", type=int, default=10_000, help="of the run that watches memory")
    words.add_argument("--some", type=int, default=1500, help="of each other run")
    given = words.parse_args()
    pictures = draw_pictures()

    with start_server(given.run, 64) as (address, process):
        asyncio.run(ask(address, pictures, clients=8, requests=100))
        print("rate and waiting, by clients")
        for clients in CLIENTS:
            load = asyncio.run(ask(address, pictures, clients=clients, requests=given.some))
            print(f"  {clients:4d}  {load}")
        print(f"{SLOW} slow clients beside 4 others")
        for name, count in (("without", 0), ("with", SLOW), ("without", 0), ("with", SLOW)):

            async def beside(count: int = count) -> Load:
                async with slow_clients(address, count):
                    return await ask(address, pictures, clients=4, requests=given.some)

            print(f"  {name:8s} {asyncio.run(beside())}")
        print("memory of the server")
        asyncio.run(measure_memory(address, process, pictures, given.requests))
    with start_server(given.run, 16) as (address, process):
        asyncio.run(ask(address, pictures, clients=8, requests=100))
        print("64 clients where 16 pictures may wait")
        print(f"        {asyncio.run(ask(address, pictures, clients=64, requests=given.some))}")


if __name__ == "__main__":
    main()
