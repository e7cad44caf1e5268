"""How much the server takes on at once: a count that is taken from and given back."""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from hypernym.serving.refusals import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Allowance:
    """So much of something, such as places in a queue; used by one event loop."""

    def __init__(self, limit: int, sentence: str) -> None:
        """Allow `limit`; who asks for more is refused with `sentence`."""
        self.limit = limit
        self.taken = 0
        self._sentence = sentence

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Give what one request may take from; it comes back when the request ends, however it does."""
        share = Share(self)
        try:
            yield share
        finally:
            self.taken -= share.taken

    def take(self, amount: int) -> None:
        """Take so much.

        Raises:
            RefusalError: there is not so much left; nothing was taken.
        """
        if self.taken + amount > self.limit:
            raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, self._sentence)
        self.taken += amount


class Share:
    """What one request took of an allowance."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self.taken = 0

    def take(self, amount: int) -> None:
        """Take so much more.

        Raises:
            RefusalError: there is not so much left.
        """
        self._allowance.take(amount)
        self.taken += amount
