"""What became of many pictures, counted."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Counts over all pictures; by an output file also over those of a run that was resumed."""

    pictures: int
    named: dict[int, int]
    """How many labels end at each depth of the tree; roots stand at depth 0. Empty if none were asked
    for."""

    unsure: int
    """Pictures without a label."""

    unreadable: dict[str, int]
    """How many pictures there are of each reason."""

    seconds: float
    """From the first batch on, of this process."""

    pictures_per_second: float
    """Of this process."""

    @property
    def num_unreadable(self) -> int:
        """Pictures that could not be read."""
        return sum(self.unreadable.values())

    def __str__(self) -> str:
        """Return a line a count."""
        lines = [f"{self.pictures:,} pictures, {self.pictures_per_second:,.1f} a second"]
        if self.named or self.unsure:
            width = len(f"{max([*self.named.values(), self.unsure]):,}")
            total = sum(self.named.values()) + self.unsure
            rows = [(f"depth {depth}", number) for depth, number in sorted(self.named.items())]
            lines.append("  named by a label at")
            lines += [f"    {what:<8}{_bar(number, total, width)}" for what, number in rows]
            lines.append(f"    {'unsure':<8}{_bar(self.unsure, total, width)}")
        if self.unreadable:
            lines.append(f"  unreadable: {self.num_unreadable:,}")
            lines += [
                f"    {number:,} {reason}"
                for reason, number in sorted(self.unreadable.items(), key=lambda of: (-of[1], of[0]))
            ]
        return "\n".join(lines)


def _bar(number: int, total: int, width: int) -> str:
    share = number / total
    return f"{number:>{width},}  {100 * share:5.1f} %  {'#' * round(40 * share)}".rstrip()


class Tally:
    """Counts as answers come."""

    def __init__(self, depth_of: dict[str, int] | None) -> None:
        """Begin.

        Args:
            depth_of: The depth of each class id; None where pictures are not named.
        """
        self._depth_of = depth_of
        self._named: Counter[int] = Counter()
        self._unreadable: Counter[str] = Counter()
        self._pictures = self._unsure = self._done = 0
        self._began = time.monotonic()

    def count_done(self, number: int) -> None:
        """Note that this process has answered a number of pictures."""
        self._done += number

    def add(self, label_id: str | None, error: str | None) -> None:
        """Count the answer to a picture.

        Args:
            label_id: What it was named, if it was.
            error: Why it could not be read; what follows the reason in brackets is left out.
        """
        self._pictures += 1
        if error:
            self._unreadable[error.partition(" (")[0]] += 1
        elif self._depth_of is None:
            return
        elif label_id is None:
            self._unsure += 1
        else:
            self._named[self._depth_of[label_id]] += 1

    def summarise(self) -> Summary:
        """Return the counts so far."""
        seconds = time.monotonic() - self._began
        return Summary(
            self._pictures,
            dict(sorted(self._named.items())),
            self._unsure,
            dict(sorted(self._unreadable.items())),
            seconds,
            self._done / max(seconds, 1e-9),
        )
