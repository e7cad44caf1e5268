"""The records of a run: metrics.jsonl is the truth, TensorBoard shows the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self

from torch.utils.tensorboard import SummaryWriter

from hypernym.files import write_text

if TYPE_CHECKING:
    from pathlib import Path


class MetricLog:
    """Appends records, one JSON object a line, each with the step that it was made after."""

    def __init__(self, run: Path, first_step: int) -> None:
        """Open the log of a run that goes on after `first_step`; later records are taken back."""
        self._path = run / "metrics.jsonl"
        records = read_records(self._path)
        kept = [record for record in records if record["step"] <= first_step]
        write_text(self._path, "".join(f"{json.dumps(record)}\n" for record in kept))
        self._stream = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(run, purge_step=first_step + 1)

    def write(self, step: int, **values: float) -> None:
        """Append a record; names with a slash are grouped by TensorBoard."""
        self._stream.write(json.dumps({"step": step, **values}) + "\n")
        self._stream.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._board.close()


def read_records(path: Path) -> list[dict[str, float]]:
    """Read the records of a run; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]
