"""Who may ask: no other site, under no other name; and what every answer tells the browser.

A page of another site can make a browser send requests to a server on this machine. It cannot read the
answers without leave (CORS), which is never given; but it could let its own name point here (DNS
rebinding), and then the browser takes both for one site. So the name that a request calls the server by
has to be one of its own. A request that states its origin has to come from the page that lies here.
"""

from __future__ import annotations

import ipaddress
import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d+)?")


class Guard:
    """An application behind a check of names and origins."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        """Guard an application.

        Args:
            app: What answers.
            names: Names of the server, beside localhost. Addresses in numbers are taken as they are:
                nobody can make one point elsewhere.
        """
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        sentence = self._refuse(Headers(scope=scope))
        if sentence:
            await _send_refusal(send_with_headers, sentence)
        else:
            await self._app(scope, receive, send_with_headers)

    def _refuse(self, headers: Headers) -> str:
        """Say why a request is not let in, or nothing."""
        host = headers.get("host", "")
        match = _HOST.fullmatch(host)
        if match is None or not (match["name"].lower() in self._names or _is_address(match["name"])):
            return (
                f"this server is not called {host[:80]!r}: ask it by its address, or start it with "
                f"--allow-host and that name."
            )
        origin = headers.get("origin")
        if origin is not None and _find_host(origin) != host.lower():
            return f"a page of {origin[:80]!r} may not use this server."
        return ""


def _find_host(origin: str) -> str:
    """Return the host and port of an origin; of one that is broken nothing."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


async def _send_refusal(send: Send, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": HTTPStatus.FORBIDDEN, "headers": headers})
    await send({"type": "http.response.body", "body": body})
