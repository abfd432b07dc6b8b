"""A WooCommerce REST v3 server on loopback that keeps the rules of version 11.0.1, and goes wrong.

It knows nothing of the adapter: signatures are checked the way the server does it (decode every
parameter, encode it again), notes pass through its filters, and `received` is what the buyer reads
after WordPress has made the note pretty.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from kmtool.clock import ManualClock
from tests.adapters.channel_world import Fault
from tests.adapters.woo_notes import buyer_reads, filtered

API = "/wp-json/wc/v3"
SITE_ZONE_H = 8
Answer = tuple[int, Any, dict[str, str]]


def error(status: int, code: str) -> Answer:
    return status, {"code": code, "message": "…", "data": {"status": status}}, {}


@dataclass
class WooServer:
    """The shop. `calls` lists what was asked for; `troubles` what broke in here (none expected)."""

    clock: ManualClock
    key: str = "ck_test"
    secret: str = "cs_test"
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    notes: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    refunds: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    products: dict[int, dict[str, Any]] = field(default_factory=dict)
    hidden_totals: bool = False
    skew_ms: int = 0
    before: Callable[[str], None] | None = None
    slow_s: float = 2.0
    calls: list[str] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.faults: dict[str, list[Fault | Answer]] = {}
        self.nonces: set[str] = set()
        self.http: ThreadingHTTPServer | None = None
        self.port = 0
        self.last_id = 100

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> WooServer:
        server = self

        class Handler(_Handler):
            shop = server

        self.http = _Http(("127.0.0.1", self.port), Handler)
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.http is not None
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(5)

    @contextmanager
    def offline(self) -> Iterator[None]:
        self.__exit__()
        yield
        self.__enter__()

    # -------------------------------------------------------------- what the owner does

    def now_ms(self) -> int:
        return self.clock.now_ms() + self.skew_ms

    def now(self) -> str:
        return datetime.fromtimestamp(self.now_ms() // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def add_product(self, **more: Any) -> int:
        number = self.new_id()
        raw = {
            "id": number,
            "name": f"Key &amp; card {number}",
            "type": "simple",
            "sku": f"S{number}",
        }
        raw |= {"status": "publish", "price": "10.00", "variations": {}, "stock_quantity": 5}
        self.products[number] = raw | more
        return number

    def add_order(self, total: str = "10.00", quantity: Any = 1, **more: Any) -> str:
        with self.lock:
            number, line = self.new_id(), self.new_id()
            product = next(iter(self.products), 0)
            now = self.now()
            raw: dict[str, Any] = {
                "id": number, "status": "processing", "currency": "CNY", "total": total,
                "total_tax": "0.00", "customer_id": 0, "transaction_id": f"t-{number}",
                "payment_method": "alipay", "customer_note": "", "meta_data": [], "refunds": [],
                "billing": {"first_name": "三", "last_name": "张", "email": "b@example.test",
                            "phone": "13800000000"},
                "date_created_gmt": now, "date_modified_gmt": now, "date_paid_gmt": now,
                "date_completed_gmt": None,
                "line_items": [{"id": line, "name": "Key &amp; card", "product_id": product,
                                "variation_id": 0, "quantity": quantity, "total": total,
                                "total_tax": "0.00", "meta_data": [], "price": 10.5}],
            }  # fmt: skip
            self.orders[number] = raw | more
            self.notes[number], self.refunds[number] = [], []
            return str(number)

    def change(self, number: str, **values: Any) -> None:
        with self.lock:
            self.orders[int(number)] |= {"date_modified_gmt": self.now()} | values

    def refund(self, number: str, amount: str, quantity: int = 0, *, full: bool = False) -> None:
        with self.lock:
            order, refund = self.orders[int(number)], self.new_id()
            line = order["line_items"][0]
            meta = [{"key": "_refunded_item_id", "value": str(line["id"])}]
            part = {"id": self.new_id(), "quantity": -quantity, "total": f"-{amount}",
                    "total_tax": "0.00", "meta_data": meta}  # fmt: skip
            order["refunds"].append({"id": refund, "reason": "", "total": f"-{amount}"})
            self.refunds[int(number)].append(
                {"id": refund, "amount": amount, "date_created_gmt": self.now(),
                 "line_items": [part] if quantity else []}
            )  # fmt: skip
            self.change(number, **({"status": "refunded"} if full else {}))

    def fail(self, call: str, fault: Fault | Answer) -> None:
        self.faults.setdefault(call, []).append(fault)

    def received(self, number: str) -> list[str]:
        with self.lock:
            notes = self.notes[int(number)]
            return [buyer_reads(note["note"]) for note in notes if note["customer_note"]]

    # -------------------------------------------------------------- what the API does

    def answer(self, call: str, path: str, query: dict[str, str], data: Any) -> Answer:
        parts = path.removeprefix(API + "/").split("/")
        match call:
            case "orders":
                return self._orders(query)
            case "order" | "ship":
                return self._order(int(parts[1]), call, data)
            case "refunds":
                return 200, self.refunds.get(int(parts[1]), []), {}
            case "notes" | "note":
                return self._notes(int(parts[1]), call, query, data)
            case "items" | "stock" | "shelf":
                return self._products(call, parts, query, data)
            case "index":
                return 200, {"name": "shop"}, {}
        return error(404, "rest_no_route")

    def _products(self, call: str, parts: list[str], query: dict[str, str], data: Any) -> Answer:
        pool = self.products
        if "variations" in parts:
            pool = self.products[int(parts[1])]["variations"]
        if call == "items":
            return self._paged(list(pool.values()), query)
        if call == "stock":
            return 200, {"update": [_stocked(pool, part) for part in data["update"]]}, {}
        raw = pool.get(int(parts[-1]))
        if raw is None:
            return error(400, "woocommerce_rest_product_invalid_id")
        raw |= data
        return 200, raw, {}

    def _orders(self, query: dict[str, str]) -> Answer:
        raws = list(self.orders.values())
        wanted = query.get("status", "any")
        if wanted == "any":
            raws = [raw for raw in raws if raw["status"] not in ("trash", "auto-draft")]
        else:
            raws = [raw for raw in raws if raw["status"] == wanted]
        if "modified_after" in query:
            after = _bound(query["modified_after"])
            raws = [raw for raw in raws if raw["date_modified_gmt"] > after]
        if "modified_before" in query:
            before = _bound(query["modified_before"])
            raws = [raw for raw in raws if raw["date_modified_gmt"] < before]
        return self._paged(raws, query)

    def _paged(self, raws: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        size, page = int(query.get("per_page", "10")), int(query.get("page", "1"))
        if not 1 <= size <= 100:
            return error(400, "rest_invalid_param")
        # Times are no stable order: equal ones come out as it happens.
        name = {"id": "id", "modified": "date_modified_gmt"}[query.get("orderby", "id")]
        raws = sorted(raws, key=lambda raw: (raw[name],), reverse=query.get("order") != "asc")
        shown = raws[(page - 1) * size : page * size]
        total = len(raws) if shown or page == 1 else 0
        heads = {"X-WP-Total": str(total), "X-WP-TotalPages": str(-(-total // size))}
        return 200, shown, {} if self.hidden_totals else heads

    def _order(self, number: int, call: str, data: Any) -> Answer:
        raw = self.orders.get(number)
        if raw is None:
            return error(404 if call == "order" else 400, "woocommerce_rest_shop_order_invalid_id")
        if call == "ship":
            metas = {meta["key"]: meta for meta in raw["meta_data"]}
            for meta in data.pop("meta_data", []):
                metas[meta["key"]] = {"id": self.new_id(), **meta}
            raw["meta_data"] = list(metas.values())
            raw |= data
            raw["date_completed_gmt"] = raw["date_completed_gmt"] or self.now()
            raw["date_modified_gmt"] = self.now()
        return 200, raw, {}

    def _notes(self, number: int, call: str, query: dict[str, str], data: Any) -> Answer:
        if number not in self.orders:
            middle = "shop_order" if call == "notes" else "order"
            return error(404, f"woocommerce_rest_{middle}_invalid_id")
        if call == "note":
            text = filtered(data["note"])
            if len(text.encode()) > 65_535:
                return error(500, "woocommerce_rest_note_failed")
            made = {"id": self.new_id(), "note": text, "customer_note": data["customer_note"]}
            self.notes[number].append(made)
            return 201, made, {}
        notes = self.notes[number]
        if query.get("type") == "customer":
            notes = [note for note in notes if note["customer_note"]]
        return 200, notes, {}

    def signed_by_us(self, method: str, url: str, pairs: list[tuple[str, str]]) -> bool:
        given = dict(pairs)
        enc = lambda text: quote(text, safe="-._~")  # noqa: E731
        signature = given.pop("oauth_signature", "")
        joined = enc(
            "&".join(f"{k}={v}" for k, v in sorted((enc(k), enc(v)) for k, v in given.items()))
        )
        base = f"{method}&{enc(url)}&{joined}"
        digest = hmac.new(f"{self.secret}&".encode(), base.encode(), hashlib.sha256).digest()
        age_s = self.now_ms() / 1000 - int(given.get("oauth_timestamp") or 0)
        nonce = given.get("oauth_nonce", "")
        fresh = abs(age_s) <= 900 and nonce not in self.nonces and nonce != ""
        self.nonces.add(nonce)
        right = base64.b64encode(digest).decode() == signature
        return right and fresh and given.get("oauth_consumer_key") == self.key


class _Http(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    allow_reuse_address = True
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shop: WooServer

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
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._reply(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the other side has hung up
        except Exception as trouble:
            self.shop.troubles.append(repr(trouble))
            raise

    def _reply(self, body: bytes) -> None:
        shop, parts = self.shop, urlsplit(self.path)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        call = name_of(self.command, parts.path)
        if shop.before is not None:
            shop.before(call)
        whole = error(401, "woocommerce_rest_cannot_view")
        with shop.lock:
            shop.calls.append(call)
            shop.queries.append(dict(pairs))
            fault = shop.faults[call].pop(0) if shop.faults.get(call) else None
            if isinstance(fault, tuple):
                return self._send(*fault)
            signed = shop.signed_by_us(self.command, shop.url + parts.path, pairs)
            if call != "index" and not signed:
                return self._send(*whole)
            if fault is None or fault.acts:
                data = json.loads(body) if body else None
                answer = shop.answer(call, parts.path, dict(pairs), data)
                whole = (answer[0], json.dumps(answer[1]).encode(), answer[2])
        return self._go_wrong(fault, whole) if fault else self._send(*whole)

    def _go_wrong(self, fault: Fault, whole: Answer) -> None:
        if fault is Fault.SLOW:
            threading.Event().wait(self.shop.slow_s)
        if fault in (Fault.DROPPED, Fault.LOST):
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault in (Fault.ERROR, Fault.ERROR_AFTER):
            self._send(502, {"code": "bad_gateway"}, {})
        elif fault is Fault.BUSY:
            self._send(429, {"code": "too_many"}, {"Retry-After": "7"})
        elif fault is Fault.NONSENSE:
            self._send(200, b"<br />Warning: something in plugin.php", {})
        else:
            self._send(*whole, half=fault is Fault.HALF)

    def _send(self, status: int, data: Any, heads: dict[str, str], *, half: bool = False) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response_only(status)
        moment = datetime.fromtimestamp(self.shop.now_ms() // 1000, UTC)
        self.send_header("Date", format_datetime(moment, usegmt=True))
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        for name, value in heads.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)


def name_of(method: str, path: str) -> str:
    parts = path.removeprefix(API + "/").split("/")
    if path == "/wp-json/":
        return "index"
    if parts[0] == "orders":
        if len(parts) == 3:
            return {"GET": parts[2], "POST": "note"}[method]
        return "orders" if len(parts) == 1 else "order" if method == "GET" else "ship"
    if parts[-1] == "batch":
        return "stock"
    return "items" if method == "GET" else "shelf"


def _bound(text: str) -> str:
    """Return a date filter as the server understands it: a zone in it shifts it once more."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None) + timedelta(hours=SITE_ZONE_H)
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _stocked(pool: dict[int, dict[str, Any]], part: dict[str, Any]) -> dict[str, Any]:
    raw = pool.get(part["id"])
    if raw is None:
        data = {"code": "woocommerce_rest_product_invalid_id", "data": {"status": 400}}
        return {"id": part["id"], "error": data}
    raw |= part
    return raw
