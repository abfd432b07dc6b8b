"""An HTTP server on loopback that stands before a platform and goes wrong at every byte it can.

Requests pass to the platform behind it and its replies pass back, one per connection, until a phase
of `rules.HTTP` is armed: then the next connections go wrong so. What is counted are connections, so
a fault may lie before the first byte.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.faults.doors import DOORS, HOST, RESET, Doors
from tests.faults.replies import JSON, headed, length, parted, whole_reply

HTML = b"<html><body><h1>We are renovating</h1></body></html>"
DROP_S = 0.03
ODD = b'{"code": "9999_odd", "message": "?"}'

Spoil = Callable[["Visit"], None]


@dataclass
class _Armed:
    phase: str
    skip: int


class Front(Doors):
    """The server. `book` is (status, body) of a refusal that the platform documents; `slow_s` is
    how long a slow reply takes."""

    def __init__(self, backend: int, book: tuple[int, bytes], slow_s: float = 0.3) -> None:
        self.backend, self.book, self.slow_s = backend, book, slow_s
        self._armed: _Armed | None = None
        self._lock = threading.Lock()
        super().__init__()

    @property
    def url(self) -> str:
        """The address that callers are given."""
        return f"http://{HOST}:{self.port}"

    @contextmanager
    def failing(self, phase: str, skip: int = 0) -> Iterator[None]:
        """Let all connections go wrong, after `skip` good ones."""
        with self._lock:
            self._armed = _Armed(phase, skip)
        self.look_at_door()
        try:
            yield
        finally:
            with self._lock:
                self._armed = None
            self.settle()
            self.look_at_door()

    def look_at_door(self) -> None:
        """Open, shut or block the door, as the phase that hits the next connection wants it."""
        armed = self._armed
        is_shut = armed is not None and armed.phase in DOORS and armed.skip <= 0
        self.move_door(armed.phase if armed is not None and is_shut else "")

    def serve(self, connection: socket.socket) -> None:
        """Pass a request on and its reply back, or let it go wrong."""
        connection.settimeout(10)
        phase = self._take()
        # The caller may have hung up.
        with contextlib.suppress(OSError):
            PHASES[phase](Visit(self, connection))

    def _take(self) -> str:
        with self._lock:
            armed = self._armed
            if armed is None:
                return ""
            armed.skip -= 1
            return "" if armed.skip >= 0 or armed.phase in DOORS else armed.phase


class Visit:
    """One connection: what came in, what the platform says, what goes back."""

    def __init__(self, front: Front, connection: socket.socket) -> None:
        self.front, self.connection = front, connection
        self.head = b""
        self.body = b""

    def read_head(self) -> bytes:
        """Read up to the end of the request's headers; return what came beyond them."""
        came = b""
        while b"\r\n\r\n" not in came:
            piece = self.connection.recv(65536)
            if not piece:
                raise OSError("the caller hung up")
            came += piece
        self.head, _, rest = came.partition(b"\r\n\r\n")
        return rest

    @property
    def length(self) -> int:
        """The length of the request's body."""
        for line in self.head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                return int(value)
        return 0

    def read(self) -> None:
        """Read the whole request."""
        self.body = self.read_head()
        while len(self.body) < self.length:
            piece = self.connection.recv(65536)
            if not piece:
                raise OSError("the caller hung up")
            self.body += piece

    @property
    def is_get(self) -> bool:
        """Tell whether the request only reads."""
        return self.head.startswith(b"GET ")

    def act(self) -> bytes:
        """Let the platform act; return its whole reply."""
        with socket.create_connection((HOST, self.front.backend), 10) as there:
            there.sendall(self.head + b"\r\n\r\n" + self.body)
            found = b"".join(iter(lambda: there.recv(65536), b""))
        self.front.look_at_door()
        return found

    def say(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(raw)

    def reset(self) -> None:
        """Break the connection hard."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.connection.close()

    def wait(self, seconds: float) -> None:
        """Wait."""
        threading.Event().wait(seconds)


# ---------------------------------------------------------------------------------- the phases


def _pass(visit: Visit) -> None:
    visit.read()
    visit.say(visit.act())


def _closed_at_once(visit: Visit) -> None:
    visit.wait(DROP_S)


def _reset_at_once(visit: Visit) -> None:
    visit.wait(DROP_S)
    visit.reset()


def _closed_after_head(visit: Visit) -> None:
    visit.read_head()


def _closed_in_request(visit: Visit) -> None:
    """Read the head and, where there is one, half of the body."""
    rest = visit.read_head()
    while len(rest) < visit.length // 2:
        rest += visit.connection.recv(visit.length // 2 - len(rest))


def _before(then: Spoil) -> Spoil:
    def play(visit: Visit) -> None:
        visit.read()
        then(visit)

    return play


def _after(then: Callable[[Visit, bytes], None]) -> Spoil:
    def play(visit: Visit) -> None:
        visit.read()
        then(visit, visit.act())

    return play


def _says(status: int, body: bytes, *heads: str, after: bool = False, kind: str = JSON) -> Spoil:
    def play(visit: Visit) -> None:
        visit.read()
        if after:
            visit.act()
        visit.say(whole_reply(status, body, *heads, kind=kind))

    return play


def _page(status: int, *heads: str, after: bool = False) -> Spoil:
    return _says(status, HTML, *heads, after=after, kind="text/html")


def _shape(written: bytes, read: bytes = b"") -> Spoil:
    """Say something else in place of the answer; a read keeps the headers of the true one."""

    def play(visit: Visit) -> None:
        visit.read()
        if visit.is_get:
            body = read or written
            visit.say(
                headed(
                    visit.act(),
                    body,
                    length(body),
                    b"Content-Type: " + JSON.encode(),
                )
            )
        else:
            visit.say(whole_reply(200, written))

    return play


def _by_book(visit: Visit) -> None:
    visit.read()
    visit.say(whole_reply(*visit.front.book))


def _cut(share: float) -> Callable[[Visit, bytes], None]:
    def then(visit: Visit, reply: bytes) -> None:
        head, _ = parted(reply)
        visit.say(reply[: int(len(head) * share)])

    return then


def _cut_body(visit: Visit, reply: bytes) -> None:
    head, body = parted(reply)
    visit.say(head + b"\r\n\r\n" + body[: len(body) // 2])


def _cut_chunks(visit: Visit, reply: bytes) -> None:
    body = parted(reply)[1]
    piece = body[: len(body) // 2]
    chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
    visit.say(headed(reply, chunk, b"Transfer-Encoding: chunked"))


def _reset_in_body(visit: Visit, reply: bytes) -> None:
    _cut_body(visit, reply)
    visit.wait(DROP_S)
    visit.reset()


def _drops(visit: Visit) -> None:
    for _ in range(100):
        visit.say(b" ")
        visit.wait(visit.front.slow_s / 10)


def _drip(visit: Visit, reply: bytes) -> None:
    """Say all of it in the end, when nobody should be there any more."""
    body = parted(reply)[1]
    visit.say(headed(reply, b"", b"Content-Length: %d" % (len(body) + 100)))
    _drops(visit)
    visit.say(body)


def _drip_head(visit: Visit, reply: bytes) -> None:
    first, _, rest = reply.partition(b"\r\n")
    visit.say(first + b"\r\nX-Slow: 1")
    _drops(visit)
    visit.say(b"\r\n" + rest)


def _lengths(*heads: str, more: bytes = b"") -> Callable[[Visit, bytes], None]:
    def then(visit: Visit, reply: bytes) -> None:
        body = parted(reply)[1]
        told = [head.format(n=len(body)).encode() for head in heads]
        visit.say(headed(reply, body + more, *told))

    return then


def _shorter(visit: Visit, reply: bytes) -> None:
    body = parted(reply)[1]
    visit.say(headed(reply, body, length(body[: len(body) // 2])))


def _packed(kind: str, pack: Callable[[bytes], bytes]) -> Callable[[Visit, bytes], None]:
    def then(visit: Visit, reply: bytes) -> None:
        body = pack(parted(reply)[1])
        visit.say(headed(reply, body, f"Content-Encoding: {kind}".encode(), length(body)))

    return then


def _endless(visit: Visit, reply: bytes) -> None:
    body = parted(reply)[1] + b" " * 100_000
    visit.say(headed(reply, body, length(body)))


def _half(visit: Visit, reply: bytes) -> None:
    """Half of the JSON as a whole reply; never a half that is JSON by itself."""
    body = parted(reply)[1]
    short = body[: len(body) // 2]
    visit.say(headed(reply, short, length(short), b"Content-Type: " + JSON.encode()))


def _slow(visit: Visit) -> None:
    visit.wait(visit.front.slow_s)


def _late(visit: Visit) -> None:
    visit.wait(visit.front.slow_s)
    visit.act()


PHASES: dict[str, Spoil] = {
    "": _pass,
    "closed_at_once": _closed_at_once,
    "reset_at_once": _reset_at_once,
    "closed_after_head": _closed_after_head,
    "closed_in_request": _closed_in_request,
    "closed_before_act": _before(lambda visit: None),
    "reset_before_act": _before(Visit.reset),
    "closed_after_act": _after(lambda visit, reply: None),
    "reset_after_act": _after(lambda visit, reply: visit.reset()),
    "slow_before_act": _before(_slow),
    "slow_after_act": _after(lambda visit, reply: _slow(visit)),
    "late_act": _before(_late),
    "cut_status_line": _after(lambda visit, reply: visit.say(reply[:10])),
    "cut_head": _after(_cut(0.6)),
    "cut_body": _after(_cut_body),
    "cut_chunks": _after(_cut_chunks),
    "reset_in_body": _after(_reset_in_body),
    "dripping_head": _after(_drip_head),
    "dripping": _after(_drip),
    "no_http": _before(lambda visit: visit.say(b"220 mail.example.test ready\r\n")),
    "no_http_after": _after(lambda visit, reply: visit.say(b"220 mail.example.test ready\r\n")),
    "length_long": _after(_lengths("Content-Length: 9{n}")),
    "length_short": _after(_shorter),
    "length_no_number": _after(_lengths("Content-Length: {n}x")),
    "length_twice": _after(_lengths("Content-Length: {n}", "Content-Length: 1{n}")),
    "gzip_garbage": _after(_packed("gzip", lambda body: body)),
    "gzip_cut": _after(_packed("gzip", lambda body: gzip.compress(body)[:-6])),
    "packed_otherwise": _after(_packed("br", lambda body: body)),
    "too_large": _after(_endless),
    "s500": _page(500),
    "s500_after": _page(500, after=True),
    "s502": _page(502),
    "s502_after": _page(502, after=True),
    "s503": _page(503, "Retry-After: 7"),
    "s503_after": _page(503, after=True),
    "s504": _page(504),
    "s504_after": _page(504, after=True),
    "s429_wait": _page(429, "Retry-After: 7"),
    "s429": _page(429),
    "s301": _page(301, "Location: http://127.0.0.1:9/elsewhere"),
    "s302_after": _page(302, "Location: /elsewhere", after=True),
    "s307": _page(307, "Location: /elsewhere"),
    "s401": _page(401),
    "s403": _page(403),
    "s407": _page(407),
    "refused_by_book": _by_book,
    "s404": _page(404),
    "s404_after": _page(404, after=True),
    "s408": _page(408),
    "s408_after": _page(408, after=True),
    "s409_odd": _says(409, ODD),
    "s409_odd_after": _says(409, ODD, after=True),
    "html": _page(200),
    "html_after": _page(200, after=True),
    "empty": _says(200, b""),
    "empty_after": _says(200, b"", after=True),
    "no_content_after": _says(204, b"", after=True),
    "half_json": _after(_half),
    "odd_code": _says(200, ODD),
    "odd_code_after": _says(200, ODD, after=True),
    "other_object": _shape(b'{"other": 1}'),
    "other_rows": _shape(b'[{"other": 1}]'),
    "other_list": _shape(b"[1, 2]"),
    "other_text": _shape(b'"fine"'),
    "null": _shape(b"null"),
    "hollow": _shape(b'{"code": 0, "data": null}', b'{"code": 0, "data": {}}'),
}
