"""A socket and the loop behind it: opened, told of, and ended by a signal."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hypernym.errors import UsageError
from hypernym.serving.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from starlette.types import ASGIApp

MAX_CONNECTIONS = 512
"""Open at once; whoever comes then is told 503. Each may be slow, and costs a file descriptor."""

HEAD_SECONDS = 10.0
"""In which the head of a request must have come whole; a connection without one is closed."""

FLUSH_SECONDS = 60.0
"""In which a client must have taken the rest of an answer, once its connection is to be closed."""

GRACE_SECONDS = 5
"""In which requests are ended after a signal."""


class Connection(H11Protocol):
    """Is closed where no request is under way and none comes: uvicorn itself waits for ever.

    The time begins with the connection and with the end of an answer. Bytes do not lengthen it, or a
    client could hold a connection by sending a letter of a head now and then, or a body that nobody
    reads any more.
    """

    _idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def handle_events(self) -> None:
        """Look at what has come; it may be a whole head."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._stop_waiting()

    def _watch(self) -> None:
        is_at_work = self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]
        if is_at_work:
            self._stop_waiting()
        elif self._idle is None:
            self._idle = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _give_up(self) -> None:
        self.timeout_keep_alive_handler()
        # To close waits until all that was written is taken, which may be never.
        self._idle = self.loop.call_later(FLUSH_SECONDS, self.transport.abort)


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
        http=Connection,
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


def check_thread() -> None:
    """Check that a server can be run here until a signal comes.

    Raises:
        UsageError: an event loop runs here already, or this is not the thread that gets signals.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if threading.current_thread() is threading.main_thread():
            return
    raise UsageError(
        "serve needs the main thread to itself until Ctrl-C, and here is an event loop (such as a "
        "notebook's) or another thread: run `hypernym serve` in a terminal."
    )


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
