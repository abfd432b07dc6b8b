"""A limit on the whole of an answer, its first line and headers too.

Time-outs of a connection count from byte to byte: a server that drips would hold a sender for ever.
Here every wait ends when the time for the whole call is up.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from kmtool.clock import Clock


class Deadline(httpcore.NetworkBackend):
    """Opens connections whose waits end at `until`, in seconds of the clock it was given."""

    def __init__(self, inner: httpcore.NetworkBackend, clock: Clock) -> None:
        self.inner, self.clock = inner, clock
        self.until = float("inf")

    @contextmanager
    def until_in(self, seconds: float) -> Iterator[None]:
        """Let what is done meanwhile be over in so many seconds."""
        self.until = self.clock.monotonic() + seconds
        try:
            yield
        finally:
            self.until = float("inf")

    def left(self, timeout: float | None) -> float | None:
        """Return how long a wait may take; raises `ReadTimeout` when the time is up."""
        if self.until == float("inf"):
            return timeout
        left = self.until - self.clock.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time for the whole call is up")
        return left if timeout is None else min(timeout, left)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect."""
        stream = self.inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self.inner, self.deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, self.deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, self.deadline.left(timeout))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(self.inner.start_tls(ssl_context, server_hostname, timeout), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


def transport(
    clock: Clock, trust: ssl.SSLContext, limits: httpx.Limits, proxy: str
) -> tuple[httpx.HTTPTransport, Deadline]:
    """Return a transport of httpx and the deadline that its connections keep."""
    found = httpx.HTTPTransport(verify=trust, limits=limits, proxy=proxy or None, trust_env=False)
    pool: Any = found._pool  # httpx takes no network of ours at its own door
    deadline = Deadline(pool._network_backend, clock)
    pool._network_backend = deadline
    return found, deadline
