"""A port on loopback that serves each caller in a thread, and can be shut or blocked."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

HOST = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)
"""The option of a socket that makes its end a reset."""
DOORS = ("refused", "connect_timeout")
"""Phases in which nobody opens."""


class Doors:
    """A listening port that can be open, shut, or blocked so that nobody is let in.

    Whoever comes in is served by `serve` in a thread of its own.
    """

    def __init__(self) -> None:
        self.troubles: list[str] = []
        self._threads: list[threading.Thread] = []
        self._waiting: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._blocked: socket.socket | None = None
        self._open(0)

    def serve(self, connection: socket.socket) -> None:
        """Serve one caller."""
        raise NotImplementedError

    def settle(self) -> None:
        """Wait until everybody who came has been dealt with, late ones too."""
        for thread in self._threads:
            thread.join(20)
        self._threads = []

    def close(self) -> None:
        """Stop listening."""
        self._shut()
        self.settle()

    def move_door(self, wanted: str) -> None:
        """Shut the door (`refused`), block it (`connect_timeout`), or have it open."""
        if wanted == "refused":
            self._shut()
        elif wanted == "connect_timeout":
            self._block()
        elif self._listener is None:
            self._shut()
            self._open(self.port)

    def _open(self, port: int) -> None:
        listener = _socket()
        listener.bind((HOST, port))
        listener.listen(64)
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _shut(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        if self._blocked is not None:
            for waiting in self._waiting:
                waiting.close()
            self._blocked.close()
            self._blocked, self._waiting = None, []

    def _block(self) -> None:
        """Listen without accepting, with a full queue: the network then drops what knocks."""
        self._shut()
        self._blocked = _socket()
        self._blocked.bind((HOST, self.port))
        self._blocked.listen(0)
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((HOST, self.port))
            self._waiting.append(one)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._guarded, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _guarded(self, connection: socket.socket) -> None:
        try:
            self.serve(connection)
        except Exception as trouble:
            self.troubles.append(repr(trouble))
            raise
        finally:
            connection.close()


def _socket() -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return found
