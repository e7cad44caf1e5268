"""What a preparation writes down when it begins, and is held to when it goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from hypernym.errors import OutputError
from hypernym.files import digest_text, make_folder, read_json, write_json
from hypernym.preparation.job import WORK
from hypernym.preparation.selection import SPLITS

if TYPE_CHECKING:
    from pathlib import Path

    from hypernym.preparation.job import Preparation
    from hypernym.preparation.sources.part import Source

PLAN_VERSION = 2
DECISIVE_PACKAGES = ("hypernym", "numpy", "pillow", "pyarrow", "simplejpeg", "torch")
"""Their versions may decide bytes: a preparation is resumed with those that it began with."""


def begin(job: Preparation) -> None:
    """Write down what is to be done, or check that it is what a killed run wrote down."""
    path = job.work / "plan.json"
    _refuse_strangers(job.folder)
    plan = {**describe(job), "versions": find_versions(), "parts": _digest_parts(job.source)}
    if path.exists():
        check_plan(read_json(path, "plan", PLAN_VERSION, OutputError), plan, job.folder)
        return
    for name in ("converted", "packed"):
        make_folder(job.work / name)
    write_json(path, "plan", PLAN_VERSION, **plan)


def find_versions() -> dict[str, str]:
    """Return the versions of the packages that may decide bytes."""
    return {name: version(name) for name in DECISIVE_PACKAGES}


def _digest_parts(source: Source) -> str | None:
    """Return what tells the parts of a source from those of another look; None of a stream."""
    if source.is_stream:
        return None
    return digest_text("".join(f"{part.name}\t{part.state}\n" for part in source.find_parts()))


def clear_leftovers(folder: Path) -> None:
    """Remove the files that a kill left half written, and parts of a stream that were in flight."""
    for place in (folder, *(folder / split.folder for split in SPLITS), *folder.glob(f"{WORK}/*")):
        for leftover in place.glob(".*.tmp"):
            leftover.unlink()
    shutil.rmtree(folder / WORK / "spool", ignore_errors=True)


def _refuse_strangers(folder: Path) -> None:
    """Refuse a folder that holds anything but a preparation that was begun."""
    if (folder / WORK / "plan.json").exists() or not folder.exists():
        return
    if any(entry.name != WORK for entry in folder.iterdir()):
        raise OutputError(
            f"{folder} holds other things than a preparation that was begun: give another folder."
        )


def describe(job: Preparation) -> dict[str, Any]:
    """Tell what a preparation starts from: the same description, the same bytes."""
    wanted = "\n".join(sorted(job.wanted, key=str.encode)) if job.wanted is not None else None
    return {
        "source": job.source.state,
        **json.loads(json.dumps(asdict(job.rules))),
        "classes_wanted": wanted and digest_text(wanted),
        "taxonomy": job.taxonomy.digest,
        "against": list(job.foreign_digests),
    }


def check_plan(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with another source or other rules than those that were written down."""
    for field_name, value in wanted.items():
        before, now = (
            each if isinstance(each, dict) else {"": each} for each in (found[field_name], value)
        )
        for name in now:
            if before.get(name) == now[name]:
                continue
            if field_name == "parts":
                raise OutputError(
                    f"the files of the source are not those that the preparation in {folder} began "
                    f"with: give the source as it was to resume it, or another folder."
                )
            raise OutputError(
                f"{folder} was begun with {field_name} {name} {before.get(name)}, not {now[name]}: give "
                f"the same source, options and packages to resume it, or another folder."
            )
