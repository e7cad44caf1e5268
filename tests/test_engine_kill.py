"""A preparation whose own process is killed while a cluster works for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from hypernym.commands.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPTIONS = ("--size", "64", "--min-images", "3", "--val-per-class", "2", "--workers", "2")
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "ignore", "RAY_USAGE_STATS_ENABLED": "0"}


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a dataset. The report tells of the run, with its times."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "report.html")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def wait_for(happened: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 240
    while not happened():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end, "waited for nothing"
        time.sleep(0.001)


@pytest.mark.parametrize(("engine", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_a_driver_killed_while_a_cluster_works_is_resumed_to_the_same_bytes(
    engine: str, package: str, world: Path, tmp_path: Path
) -> None:
    pytest.importorskip(package, reason=f"{engine} is not installed")
    killed = tmp_path / "killed"
    words = [sys.executable, "-m", "hypernym", "prepare", str(world), str(killed), *OPTIONS]
    process = subprocess.Popen(
        [*words, "--engine", engine],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: any(killed.glob(".work/converted/*.parquet")), process)
        process.kill()  # it alone: its cluster is left behind, perhaps at work
        assert process.wait() == -signal.SIGKILL
        assert not (killed / "dataset.json").exists()
        prepare(world, killed, size=64, min_images=3, val_per_class=2, workers=1, resume=True)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    whole = tmp_path / "whole"
    prepare(world, whole, size=64, min_images=3, val_per_class=2, workers=1)
    assert files_in(killed) == files_in(whole)
