"""A forward proxy on loopback that goes wrong: it drops replies after the server acted, and worse.

It speaks HTTP/1.1 in absolute form, one request per connection. `plan` decides per request; what
it did is counted in `done`. A signature covers the address of the server, so it passes unharmed.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import threading
import time
from collections import Counter
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

HOST = "127.0.0.1"
LATE_S = 14.0


class Trouble(StrEnum):
    """What happens to one request. Those named `*_after` happen when the server has acted."""

    DROPPED_BEFORE = "dropped_before"
    ERROR_BEFORE = "error_before"
    BUSY = "busy"
    DROPPED_AFTER = "dropped_after"
    HALF_AFTER = "half_after"
    ERROR_AFTER = "error_after"
    NONSENSE_AFTER = "nonsense_after"
    TWICE = "twice"
    """A middleman sends the same request again and passes on the second answer. Never a POST: that
    is forbidden to middlemen, and no client could tell the two apart."""
    LATE = "late"
    """The server gets the request only when the caller has long given up."""


WRITES = {
    Trouble.DROPPED_BEFORE: 10, Trouble.ERROR_BEFORE: 10, Trouble.BUSY: 5,
    Trouble.DROPPED_AFTER: 40, Trouble.HALF_AFTER: 10, Trouble.ERROR_AFTER: 20,
    Trouble.NONSENSE_AFTER: 5, Trouble.TWICE: 20, Trouble.LATE: 5,
}  # fmt: skip
"""Per thousand writes."""
READS = {
    Trouble.DROPPED_BEFORE: 8, Trouble.ERROR_BEFORE: 8, Trouble.HALF_AFTER: 4, Trouble.TWICE: 4,
}  # fmt: skip
_ANSWER = tuple[int, list[tuple[str, str]], bytes]


class FaultyProxy:
    """The proxy between `with` and its end.

    Without a seed only what `script` says goes wrong: one trouble per write.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._chance = None if seed is None else random.Random(seed)
        self.script: list[Trouble] = []
        self._lock = threading.Lock()
        self.done: Counter[str] = Counter()
        self._server = _Server((HOST, 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """The address a client is given."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def plan(self, method: str) -> Trouble | None:
        """Throw the dice for one request."""
        is_write = method != "GET"
        with self._lock:
            self.done["writes" if is_write else "reads"] += 1
            if self._chance is None:
                return self.script.pop(0) if self.script and is_write else None
            thrown = self._chance.randrange(1000)
            for trouble, share in (WRITES if is_write else READS).items():
                thrown -= share
                if thrown < 0:
                    if trouble is Trouble.TWICE and method == "POST":
                        trouble = Trouble.DROPPED_AFTER
                    self.done[f"{trouble} ({'write' if is_write else 'read'})"] += 1
                    return trouble
            return None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64
    proxy: FaultyProxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def log_message(self, *_: object) -> None:
        return None

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        trouble = self.server.proxy.plan(self.command)
        match trouble:
            case Trouble.DROPPED_BEFORE:
                self._hang_up()
            case Trouble.ERROR_BEFORE:
                self._say((502, [], b"<html>bad gateway"))
            case Trouble.BUSY:
                self._say((429, [("Retry-After", "2")], b"{}"))
            case _:
                self._act(trouble, body)

    def _act(self, trouble: Trouble | None, body: bytes) -> None:
        """Let the server act, then lose or spoil what it said."""
        if trouble is Trouble.LATE:
            time.sleep(LATE_S)
        if trouble is Trouble.TWICE:
            self._forward(body)
        answer = self._forward(body)
        match trouble:
            case Trouble.DROPPED_AFTER | Trouble.LATE:
                self._hang_up()
            case Trouble.ERROR_AFTER:
                self._say((504, [], b"<html>gateway time-out"))
            case Trouble.NONSENSE_AFTER:
                self._say((200, [], b"<br />Warning: something in plugin.php"))
            case Trouble.HALF_AFTER:
                self._say(answer, half=True)
            case _:
                self._say(answer)

    def _forward(self, body: bytes) -> _ANSWER:
        parts = urlsplit(self.path)
        assert parts.hostname in {HOST, "localhost"}, "nothing but this machine"
        there = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
        try:
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            heads = {k: v for k, v in self.headers.items() if k.lower() != "proxy-connection"}
            there.request(self.command, path, body or None, heads | {"Connection": "close"})
            reply = there.getresponse()
            skipped = {"transfer-encoding", "connection", "content-length"}
            kept = [(k, v) for k, v in reply.getheaders() if k.lower() not in skipped]
            return reply.status, kept, reply.read()
        finally:
            there.close()

    def _say(self, answer: _ANSWER, *, half: bool = False) -> None:
        status, heads, body = answer
        try:
            self.send_response_only(status)
            for name, value in heads:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if half else body)
        except OSError:
            pass  # the caller has given up

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
