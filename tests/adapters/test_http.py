"""The HTTP client: what an error means, and what it never tells."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from adapters.buckets import Bucket
from adapters.http import Call, Client, Reply, Site, get, percent, write_json
from kmtool.clock import ManualClock, SystemClock
from kmtool.errors import NeedsOperator, OutsideError, Rejected, Retriable, Unknown
from tests.adapters.tls import server_context

Script = list[Any]


class Peer:
    """A server that answers by script: (status, body, headers), or "drop", "half", "hang"."""

    def __init__(self) -> None:
        self.script: Script = []
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.lock = threading.Lock()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return None

            def do_GET(self) -> None:
                peer.serve(self)

            do_POST = do_GET

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self.lock:
            heads = {name.lower(): value for name, value in handler.headers.items()}
            self.seen.append((handler.path, heads, body))
            step = self.script.pop(0) if self.script else (200, b"{}", {})
        if step == "drop":
            return handler.connection.shutdown(socket.SHUT_RDWR)
        if step == "hang":
            threading.Event().wait(1.0)
        status, data, heads = step if isinstance(step, tuple) else (200, b'{"a": 1}', {})
        handler.send_response_only(status)
        given = {"Connection": "close", "Content-Length": str(len(data))} | heads
        for name, value in given.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            handler.wfile.write(data[:3] if step == "half" else data)
        except OSError:
            return None  # it did not want to hear all of it
        return None

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(5)


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def client(peer: Peer, clock: ManualClock) -> Iterator[Client]:
    made = Client(site(peer, clock))
    yield made
    made.close()


def site(peer: Peer, clock: Any, **more: Any) -> Site:
    """Return a site whose documents know one refusal, called x."""
    usual = {"who": "shop", "base": peer.url, "clock": clock, "read_s": 3.0}
    codes = {"code_of": lambda reply: "x" if b'"x"' in reply.body else "", "documented": "x".__eq__}
    return Site(**(usual | codes | more))


READ = get("/orders", {"token": "QUERY-SECRET"})
WRITE = write_json("POST", "/notes", {"key": "BODY-SECRET"})


def reply(status: int, **heads: str) -> tuple[int, bytes, dict[str, str]]:
    return (
        status,
        b'{"code": "x", "m": "REPLY-SECRET"}',
        {k.replace("_", "-"): v for k, v in heads.items()},
    )


CASES: list[tuple[Any, type[OutsideError], type[OutsideError]]] = [
    ("drop", Unknown, Retriable),
    ("half", Unknown, Retriable),
    ((200, b"<html>", {}), Unknown, Retriable),
    ((200, b"[" * 100_000, {}), Unknown, Retriable),
    ((200, b"\x1f\x8bnot gzip", {"Content-Encoding": "gzip"}), Unknown, Retriable),
    ((200, gzip.compress(b"{}")[:-5], {"Content-Encoding": "gzip"}), Unknown, Retriable),
    ((200, b"{}", {"Content-Encoding": "br"}), Unknown, Retriable),
    (reply(500), Unknown, Retriable),
    (reply(503, Retry_After="120"), Unknown, Retriable),
    (reply(302, Location="http://127.0.0.1:1/"), Unknown, NeedsOperator),
    (reply(429), Retriable, Retriable),
    (reply(408), Unknown, Retriable),
    (reply(401), NeedsOperator, NeedsOperator),
    (reply(403), NeedsOperator, NeedsOperator),
    (reply(400), Rejected, Rejected),
    (reply(404), Rejected, Rejected),
    (reply(422), Rejected, Rejected),
    ((422, b'{"code": "odd"}', {}), Unknown, Rejected),
    ((404, b"<html>", {}), Unknown, Rejected),
]


@pytest.mark.parametrize(("step", "at_write", "at_read"), CASES)
def test_what_an_answer_means(
    step: Any,
    at_write: type,
    at_read: type,
    peer: Peer,
    client: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for call, kind in ((WRITE, at_write), (READ, at_read)):
        peer.script, peer.seen = [step] * 5, []
        with pytest.raises(OutsideError) as raised:
            client.send(call)
        error = raised.value
        assert type(error) is kind
        assert call is not WRITE or len(peer.seen) == 1, "a write is tried once"
        assert len(peer.seen) <= 3
        assert error.__cause__ is None
        assert error.__context__ is None
        assert "SECRET" not in f"{error} {error!r} {error.facts} {call!r}"
    assert "SECRET" not in caplog.text


def test_an_answer_that_does_not_come_in_time(peer: Peer, clock: ManualClock) -> None:
    client = Client(site(peer, clock, read_s=0.3, reads_max=1))
    for call, kind in ((WRITE, Unknown), (READ, Retriable)):
        peer.script = ["hang"]
        with pytest.raises(OutsideError) as raised:
            client.send(call)
        assert type(raised.value) is kind
    client.close()


def test_nobody_listening_is_surely_not_sent(peer: Peer, clock: ManualClock) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for base in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        client = Client(site(peer, clock, base=base))
        for call in (READ, WRITE):
            with pytest.raises(Retriable, match="no connection"):
                client.send(call)
        client.close()


def test_a_certificate_nobody_trusts_needs_the_operator(
    peer: Peer, clock: ManualClock, tmp_path: Path
) -> None:
    context, _ = server_context(tmp_path)
    peer.http.socket = context.wrap_socket(peer.http.socket, server_side=True)
    secure = Client(site(peer, clock, base=peer.url.replace("http:", "https:")))
    for call in (READ, WRITE):
        with pytest.raises(NeedsOperator, match="certificate"):
            secure.send(call)
    assert peer.seen == []
    secure.close()


def test_a_server_without_tls_is_surely_not_sent_to(peer: Peer, clock: ManualClock) -> None:
    secure = Client(site(peer, clock, base=peer.url.replace("http:", "https:")))
    with pytest.raises(Retriable):
        secure.send(WRITE)
    assert peer.seen == []
    secure.close()


def test_a_read_is_tried_again_and_waits_as_long_as_it_is_told(
    peer: Peer, client: Client, clock: ManualClock
) -> None:
    before = clock.now_ms()
    peer.script = ["drop", reply(429, Retry_After="7"), (200, b'{"ok": 1.10}', {})]
    assert client.send(READ).data == {"ok": Decimal("1.10")}
    assert clock.now_ms() - before == 9_000
    peer.script = [reply(429, Retry_After="600")]
    with pytest.raises(Retriable) as raised:
        client.send(READ)
    assert raised.value.after_s == 600


@pytest.mark.parametrize(
    ("text", "after_s"),
    [("30", 30), ("0", 1), ("99999", 3600), ("soon", 30), ("-5", 30), ("", 30),
     ("Sun, 22 Nov 2026 00:01:00 GMT", 60), ("Sat, 21 Nov 2026 00:00:00 GMT", 1)],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms(
    text: str, after_s: float, peer: Peer, client: Client
) -> None:
    peer.script = [reply(429, Retry_After=text)]
    with pytest.raises(Retriable) as raised:
        client.send(WRITE)
    assert raised.value.after_s == after_s


def test_every_attempt_is_signed_anew_over_what_is_sent(peer: Peer, clock: ManualClock) -> None:
    signed: list[Call] = []

    def sign(call: Call) -> Call:
        signed.append(Call(call.method, call.url, (*call.query, ("n", str(len(signed))))))
        return signed[-1]

    client = Client(site(peer, clock, sign=sign))
    peer.script = ["drop", "drop"]
    client.send(get("/a", {"x": "a b+c/ü%20&=~'()*"}))
    sent = "/a?x=a%20b%2Bc%2F%C3%BC%2520%26%3D~%27%28%29%2A&n="
    assert [path for path, _, _ in peer.seen] == [sent + n for n in "012"]
    client.close()


def test_only_hosts_on_the_list_are_called(peer: Peer, clock: ManualClock) -> None:
    client = Client(site(peer, clock, hosts=frozenset({"localhost"})))
    assert client.send(get(peer.url.replace("127.0.0.1", "localhost") + "/x")).status == 200
    for url in ("http://127.0.0.2/x", "ftp://127.0.0.1/x", "file:///x", "http://user@evil.example"):
        with pytest.raises(Rejected):
            client.send(get(url))
    client.close()


def test_no_cookie_and_no_redirect_is_followed(peer: Peer, client: Client) -> None:
    peer.script = [(200, b"{}", {"Set-Cookie": "session=1"})]
    client.send(READ)
    client.send(READ)
    assert all("cookie" not in heads for _, heads, _ in peer.seen)
    peer.script = [reply(302, Location=f"{peer.url}/else")]
    with pytest.raises(NeedsOperator):
        client.send(READ)
    assert all(path.startswith("/orders") for path, _, _ in peer.seen)


def test_the_environment_sets_no_proxy(
    peer: Peer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = Client(site(peer, clock))
    assert client.send(READ).status == 200
    client.close()


def test_a_reply_is_bounded_packed_or_not(peer: Peer, clock: ManualClock) -> None:
    client = Client(site(peer, clock, reply_max=10_000))
    packed = {"Content-Encoding": "gzip"}
    small = json.dumps({"a": "x" * 9_000}).encode()
    peer.script = [(200, small, {}), (200, gzip.compress(small), packed)]
    assert client.send(READ).data == client.send(READ).data
    bomb = gzip.compress(b" " * 50_000_000)
    for step in ((200, b" " * 10_001, {}), (200, bomb, packed)):
        for call, kind in ((READ, Rejected), (WRITE, Unknown)):
            peer.script = [step]
            with pytest.raises(kind):
                client.send(call)
    client.close()


def test_a_reply_that_trickles_is_given_up(peer: Peer) -> None:
    client = Client(site(peer, SystemClock(), total_s=-1.0, reads_max=1))
    with pytest.raises(Retriable, match="ReadTimeout"):
        client.send(READ)
    client.close()


def test_several_threads_share_a_client(peer: Peer, client: Client) -> None:
    found: list[Reply] = []

    def work() -> None:
        found.extend(client.send(READ) for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(peer.seen) == 80


def test_a_bucket_lets_so_many_through_and_no_more(clock: ManualClock) -> None:
    bucket = Bucket(5, 1.0, clock)
    start = clock.now_ms()
    for _ in range(5):
        bucket.take()
    assert clock.now_ms() == start
    for _ in range(20):
        bucket.take()
    assert 3_900 <= clock.now_ms() - start <= 4_100


def test_percent_encoding_leaves_only_what_rfc_3986_calls_unreserved() -> None:
    assert percent("aZ09-._~ +/%ü") == "aZ09-._~%20%2B%2F%25%C3%BC"
