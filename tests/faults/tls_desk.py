"""A platform that is spoken to over TLS, and does not come that far."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.channels import woocommerce
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.ports import AdapterSettings, Window
from tests.adapters.tls import server_context
from tests.faults.desks import client_of, message
from tests.faults.doors import RESET, Doors
from tests.faults.rules import Act, Nature


class TlsFront(Doors):
    """The server. `heard` is what it could read of requests: nothing may be there."""

    def __init__(self, stranger: ssl.SSLContext) -> None:
        self.stranger = stranger
        self.phase = ""
        self.heard: list[bytes] = []
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        """Break the handshake off as the phase wants it."""
        connection.settimeout(2)
        with contextlib.suppress(OSError):
            if self.phase == "tls_stranger":
                with self.stranger.wrap_socket(connection, server_side=True) as safe:
                    self.heard.append(safe.recv(65536))
                return
            connection.recv(65536)
            if self.phase == "tls_garbage":
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)
            elif self.phase == "tls_hang":
                while connection.recv(65536):  # until the other side gives up
                    pass
            elif self.phase == "tls_reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@dataclass
class TlsDesk:
    """The front and a channel that speaks to it."""

    front: TlsFront
    channel: Any

    def attempt(self, act: Act) -> Callable[[], object]:
        """Return how to do the act once."""
        if act.nature is Nature.WRITE:
            return lambda: self.channel.post_note(message("7", 7))
        return lambda: list(self.channel.list_changed(Window(0, 1_000)))


@contextmanager
def desk(folder: Path) -> Iterator[TlsDesk]:
    """Yield a WooCommerce channel whose shop has an https address."""
    stranger, _ = server_context(folder / "strange")
    front = TlsFront(stranger)
    settings = AdapterSettings(
        name="it",
        options={"url": f"https://127.0.0.1:{front.port}", "read_seconds": 5},
        credentials={"key": Secret("ck_test"), "secret": Secret("cs_test")},
        clock=ManualClock(),
        zone="Asia/Shanghai",
        currency="CNY",
        inbox=folder,
        exports=folder,
    )
    channel = woocommerce.build(settings)
    try:
        yield TlsDesk(front, channel)
    finally:
        client_of(channel).close()
        front.close()
    assert front.troubles == []
    assert not any(front.heard), "a request left over a connection that is not safe"
