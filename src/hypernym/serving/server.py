"""A socket and the loop behind it: opened, told of, and ended by a signal."""

from __future__ import annotations

import ipaddress
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from hypernym.errors import UsageError
from hypernym.serving.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from starlette.types import ASGIApp

MAX_CONNECTIONS = 512
"""Open at once; whoever comes then is told 503. Each may be slow, and costs a file descriptor."""

GRACE_SECONDS = 5
"""In which requests are ended after a signal."""


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens; of port 0 on any that is free.

    Raises:
        UsageError: the port is taken or not allowed, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
    except OSError as cause:
        raise UsageError(
            f"--host {host} --port {port} cannot be listened at ({cause.strerror}): give an address of "
            f"this machine and a port that is free, or 0 for any."
        ) from cause


def address_of(listening: socket.socket) -> str:
    """Return the address that a browser is given."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listening: socket.socket) -> bool:
    """Tell whether only this machine can reach a socket."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def make_server(app: ASGIApp, names: Sequence[str]) -> uvicorn.Server:
    """Return the server of an application, which answers to `names` and to addresses."""
    config = uvicorn.Config(
        Guard(app, [*names, socket.gethostname()]),
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return uvicorn.Server(config)


def run_server(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM comes; requests under way are ended first."""
    with _quiet_signals():
        server.run(sockets=[listening])


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """Take the two signals for an end: uvicorn raises them again when it has ended."""

    def ignore(_: int, __: FrameType | None) -> None:
        pass

    before = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
