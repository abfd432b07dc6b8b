"""The simulated shop's HTTP side: checks the signature, answers, and goes wrong when told to."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from adapters.demo_shop.faults import Fault, FaultKind, Faults
from adapters.demo_shop.refunds import answer_refund
from adapters.demo_shop.supplying import Supply
from adapters.demo_shop.truth import Refusal, Truth, order_json
from kmtool.clock import Clock

PAGE_MAX = 50
CLOCK_LIMIT_S = 300
BODY_MAX = 1_000_000
HOST = "127.0.0.1"

_CALLS: tuple[tuple[str, str, str], ...] = (
    ("GET", r"/api/ping", "ping"),
    ("GET", r"/api/orders", "orders"),
    ("GET", r"/api/orders/([^/]+)", "order"),
    ("POST", r"/api/orders/([^/]+)/ship", "ship"),
    ("GET", r"/api/orders/([^/]+)/messages", "messages"),
    ("POST", r"/api/orders/([^/]+)/messages", "message"),
    ("POST", r"/api/orders/([^/]+/refunds/[^/]+)", "refund"),
    ("GET", r"/api/items", "items"),
    ("PUT", r"/api/items/([^/]+)/stock", "stock"),
    ("PUT", r"/api/items/([^/]+)/shelf", "shelf"),
    ("GET", r"/supply/balance", "balance"),
    ("POST", r"/supply/orders", "place"),
    ("GET", r"/supply/orders/([^/]+)", "purchase"),
)


class DemoShop(Truth):
    """A shop with its truth, its faults and, between `start` and `stop`, its server.

    `calls` lists what was asked for, `troubles` what broke in the server itself. `before` is called
    with the name of every call before it is answered: there orders can change during a pull.
    """

    def __init__(
        self,
        clock: Clock,
        zone: str = "Asia/Shanghai",
        *,
        name: str = "maple",
        token: str = "demo-token",  # noqa: S107  (of a shop that exists on loopback only)
        secret: str = "demo-secret",  # noqa: S107
    ) -> None:
        super().__init__(clock, zone, name)
        self.token = token
        self.secret = secret
        self.faults = Faults()
        self.supply = Supply(clock)
        self.before: Callable[[str], None] | None = None
        self.calls: list[str] = []
        self.troubles: list[BaseException] = []
        self.stopping = Event()
        self._port = 0
        self._server: _Server | None = None
        self._thread: Thread | None = None

    @property
    def url(self) -> str:
        """The address of the running shop."""
        assert self._port, "the shop was never started"
        return f"http://{HOST}:{self._port}"

    def start(self) -> DemoShop:
        """Listen on loopback (a free port at first, the same one ever after)."""
        assert self._server is None, "the shop is open already"
        self.stopping.clear()
        self._server = _Server((HOST, self._port), self)
        self._port = self._server.server_address[1]
        self._thread = Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="demo-shop"
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the door and wait until every answer in progress has ended."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
        self._server = self._thread = None

    @contextmanager
    def offline(self) -> Iterator[None]:
        """Refuse connections for a while."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def fail(self, where: str, kind: FaultKind | str, **more: Any) -> None:
        """Arm a fault: `shop.fail("message", "lost_reply", times=2)`."""
        self.faults.arm(Fault(where, FaultKind(kind), **more))

    def __enter__(self) -> DemoShop:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], shop: DemoShop) -> None:
        self.shop = shop
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what broke here; a caller that hangs up is none of it."""
        import sys

        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.shop.troubles.append(error)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and closes: a reply can then be lost or cut without hurting the next."""

    protocol_version = "HTTP/1.1"
    timeout = 5
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: addresses carry order numbers."""

    def _serve(self) -> None:
        self.close_connection = True
        shop = self.server.shop
        target = urlsplit(self.path)
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), BODY_MAX))
        call, found = _route(self.command, target.path)
        shop.calls.append(call)
        if shop.before is not None:
            shop.before(call)
        fault = shop.faults.next(call)
        if fault is not None and not self._survives(fault):
            return
        try:
            self._check_signature(target.path, target.query, body)
            data = _answer(shop, call, found, target.query, body)
            status, reply = 200, {"code": 0, "data": data}
        except Refusal as refusal:
            status, reply = refusal.status, {"code": refusal.code, "message": refusal.message}
        raw = json.dumps(reply, ensure_ascii=False).encode()
        match fault.kind if fault else None:
            case FaultKind.LOST_REPLY:
                self._hang_up()
            case FaultKind.HALF_REPLY:
                self._send(status, raw[: len(raw) // 2], length=len(raw))
            case FaultKind.ERROR_AFTER:
                self._send(502, b"<html>bad gateway</html>")
            case FaultKind.NONSENSE:
                self._send(200, b"<html>we are renovating</html>")
            case _:
                self._send(status, raw)

    def _survives(self, fault: Fault) -> bool:
        """Go wrong before the deed; tell whether the request goes on."""
        match fault.kind:
            case FaultKind.CLOSED_BEFORE:
                self._hang_up()
            case FaultKind.ERROR_BEFORE:
                self._send(500, b"<html>internal error</html>")
            case FaultKind.NONSENSE_BEFORE:
                self._send(200, b"<html>we are renovating</html>")
            case FaultKind.UNDOCUMENTED:
                self._send(200, b'{"code": 9999, "message": "?"}')
            case FaultKind.BUSY:
                raw = b'{"code": 4001, "message": "too many calls"}'
                self._send(429, raw, retry_after=fault.seconds)
            case FaultKind.DENIED:
                self._send(401, b'{"code": 1002, "message": "unknown token"}')
            case FaultKind.SLOW:
                return not self.server.shop.stopping.wait(fault.seconds)
            case _:
                return True
        return False

    def _check_signature(self, path: str, query: str, body: bytes) -> None:
        shop = self.server.shop
        if not hmac.compare_digest(self.headers.get("X-Demo-Token", ""), shop.token):
            raise Refusal(401, 1002, "unknown token")
        sent = self.headers.get("X-Demo-Time", "")
        if not sent.isdigit() or abs(int(sent) - shop.clock.now_ms() // 1000) > CLOCK_LIMIT_S:
            raise Refusal(401, 1003, "clock differs by more than 300 seconds")
        text = "\n".join((self.command, path, query, sent, hashlib.sha256(body).hexdigest()))
        expected = hmac.new(shop.secret.encode(), text.encode(), "sha256").hexdigest()
        if not hmac.compare_digest(self.headers.get("X-Demo-Sign", "").lower(), expected):
            raise Refusal(401, 1001, "signature does not fit")

    def _send(
        self,
        status: int,
        raw: bytes,
        *,
        length: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.send_response(status)
        kind = "application/json" if raw.startswith(b"{") else "text/html"
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(raw) if length is None else length))
        self.send_header("Connection", "close")
        if retry_after is not None:
            self.send_header("Retry-After", f"{retry_after:g}")
        self.end_headers()
        self.wfile.write(raw)

    def _hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)


def _route(method: str, path: str) -> tuple[str, str]:
    for known, pattern, call in _CALLS:
        found = re.fullmatch(pattern, path)
        if known == method and found:
            return call, unquote(found[1]) if found.lastindex else ""
    return "unknown", path


def _answer(shop: DemoShop, call: str, name: str, query: str, body: bytes) -> Any:
    """Do what was asked and return the data of the reply."""
    if call in {"ping", "orders", "order", "messages", "items"}:
        return _read(shop, call, name, parse_qs(query))
    if call in {"balance", "purchase"}:
        return shop.supply.balance() if call == "balance" else shop.supply.find(name)
    try:
        given = json.loads(body)
        assert isinstance(given, dict)
    except (ValueError, AssertionError):
        raise Refusal(400, 3001, "the body is no JSON object") from None
    return shop.supply.place(given) if call == "place" else _write(shop, call, name, given)


def _write(shop: DemoShop, call: str, name: str, given: dict[str, Any]) -> Any:
    match call:
        case "ship":
            shop.ship(name)
        case "message":
            shop.say(name, str(given.get("client_id", "")), str(given.get("text", "")))
        case "refund":
            answer_refund(shop, name, agree=given.get("agree"), text=str(given.get("text", "")))
        case "stock":
            quantity = given.get("quantity")
            if not isinstance(quantity, int) or quantity < 0:
                raise Refusal(400, 3001, "quantity")
            shop.item(name, str(given.get("variant", ""))).quantity = quantity
        case "shelf":
            shop.item(name, str(given.get("variant", ""))).on = bool(given.get("on"))
        case _:
            raise Refusal(404, 3001, "no such call")
    return {}


def _read(shop: DemoShop, call: str, name: str, query: dict[str, list[str]]) -> Any:
    with shop.lock:
        match call:
            case "ping":
                return {"time_ms": shop.clock.now_ms(), "shop": shop.name}
            case "order":
                return order_json(shop.find(name))
            case "messages":
                return {"messages": [dict(message) for message in shop.find(name).messages]}
            case "items":
                return {"items": [_item_json(item) for item in shop.items.values()]}
        numbers = {key: _number(query, key) for key in ("from", "to", "page", "size")}
        size = min(max(1, numbers["size"]), PAGE_MAX)
        found = shop.listed(numbers["from"], numbers["to"])
        first = (max(1, numbers["page"]) - 1) * size
        return {
            "total": len(found),
            "pages": -(-len(found) // size),
            "orders": [order_json(order) for order in found[first : first + size]],
        }


def _item_json(item: Any) -> dict[str, Any]:
    from kmtool.domain.money import format_plain

    return {
        "item": item.item,
        "variant": item.variant,
        "title": item.title,
        "price": format_plain(item.price_minor),
        "quantity": item.quantity,
        "code": item.code,
        "on": item.on,
    }


def _number(query: dict[str, list[str]], name: str) -> int:
    try:
        return int(query[name][0])
    except (KeyError, ValueError):
        raise Refusal(400, 3001, name) from None
