"""Why a request is not answered: a status and one sentence, which the answer holds as JSON."""

from __future__ import annotations

from http import HTTPStatus

RETRY_SECONDS = 1
"""After which a client that was told of a full queue may ask again."""


class RefusalError(Exception):
    """Raised where a request cannot be answered; it never leaves the server."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(status, sentence)
        self.status, self.sentence = status, sentence

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says beside its sentence."""
        if self.status is HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": str(RETRY_SECONDS)}
        # What is left of a body that was not read to its end would be taken for the next request.
        if self.status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}:
            return {"Connection": "close"}
        return {}
