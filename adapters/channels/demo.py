"""The simulated shop on loopback (adapters/demo_shop), spoken to like any marketplace.

Paging goes from the last page to the first: an order that changes during the pull leaves the frozen
window, later ones move forward, and reading backwards then reads one twice instead of skipping it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from adapters.http import Call, Client, Reply, Site, get, percent, write_json
from kmtool.clock import Clock
from kmtool.domain.money import parse_minor
from kmtool.domain.secret import Secret
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import ConfigError, Rejected, told
from kmtool.ports import (
    AdapterSettings,
    AuthReport,
    Buyer,
    Features,
    Item,
    LineFact,
    Message,
    OrderFact,
    OrderRef,
    Page,
    Receipt,
    RefundFact,
    Repeat,
    StockPush,
    Verdict,
    Window,
)

T = TypeVar("T")
PAGE_SIZE = 50

FEATURES = Features(
    title="Simulated shop 模拟店铺",
    kind="demo",
    approval="none",
    automatic="orders, messages, shipping, stock",
    proved="every fault of the simulated shop, in the tests",
    pull=True,
    window_max_ms=86_400_000,
    lag_ms=2_000,
    overlap_ms=60_000,
    mark_shipped=True,
    shipped_repeat=Repeat.QUERYABLE,
    notes=True,
    push_stock=True,
    shelf=True,
    refund_reply=True,
    reread=True,
    repeat=Repeat.QUERYABLE,
    repeat_max=8,
    grace_ms=5_000,
    text_max=2_000,
    credentials=("token", "secret"),
    options={
        "url": "address of the running simulated shop",
        "read_seconds": "how long to wait for an answer, 5 if not given",
    },
)

STATUSES = {
    "WAIT_PAY": OrderStatus.UNPAID,
    "PAID": OrderStatus.PAID,
    "SHIPPED": OrderStatus.SHIPPED,
    "FINISHED": OrderStatus.DONE,
    "CLOSED": OrderStatus.CLOSED,
}
REFUSALS = frozenset(
    {"1001", "1002", "1003", "3001", "4001", *(str(code) for code in range(2001, 2009))}
)
"""The codes that the shop's documents name: nothing was done."""
REFUNDS = {"APPLIED": "open", "REFUNDED": "done", "WITHDRAWN": "ended", "REFUSED": "ended"}


class DemoChannel:
    """The channel port over the simulated shop's HTTP calls."""

    features = FEATURES

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def auth_check(self) -> AuthReport:
        """Ping the shop and compare the clocks."""
        name, time_ms = self._read(
            get("/api/ping"), lambda data: (str(data["shop"]), int(data["time_ms"]))
        )
        skew = time_ms - self._clock.now_ms()
        return AuthReport(ok=True, detail=told("shop {shop} answers", shop=name), skew_ms=skew)

    def list_changed(self, window: Window) -> Iterator[Page]:
        """Yield the pages of the window, last one first; the first call only tells how many."""
        pages, first = self._page(window, 1)
        for number in range(pages, 1, -1):
            yield self._page(window, number)[1]
        yield replace(self._page(window, 1)[1] if pages > 1 else first, last=True)

    def acknowledge(self, page: Page) -> None:
        """Do nothing: the cursor is ours."""

    def get_order(self, number: str) -> OrderFact | None:
        """Read one order with its refunds."""
        try:
            return self._read(get(f"/api/orders/{percent(number)}"), order_fact)
        except Rejected as error:
            if _is_gone(error):
                return None
            raise

    def mark_shipped(self, order: OrderRef) -> Receipt:
        """Ship; a refusal counts as success when the shop shows the order as shipped already."""
        path = f"/api/orders/{percent(order.number)}/ship"
        try:
            self._send(write_json("POST", path, {"request_id": order.effect_id}))
        except Rejected:
            if self.query_shipped(order) is not Verdict.DONE:
                raise
            return Receipt("shipped", "was shipped already")
        return Receipt("shipped")

    def query_shipped(self, order: OrderRef) -> Verdict:
        """Ask whether the order was shipped."""
        call = get(f"/api/orders/{percent(order.number)}")
        return self._asked(call, lambda data: data["shipped_ms"] is not None)

    def reply_refund(
        self, order: OrderRef, refund_number: str, *, agree: bool, text: str
    ) -> Receipt:
        """Answer a refund; a refusal counts as success when it was answered so already."""
        path = f"/api/orders/{percent(order.number)}/refunds/{percent(refund_number)}"
        body = {"request_id": order.effect_id, "agree": agree, "text": text}
        try:
            self._send(write_json("POST", path, body))
        except Rejected:
            now = self.get_order(order.number)
            wanted = "done" if agree else "ended"
            refunds = now.refunds if now else ()
            if not any(r.number == refund_number and r.state == wanted for r in refunds):
                raise
            return Receipt("refund", "was answered so already")
        return Receipt("refund", "agreed" if agree else "refused")

    def post_note(self, message: Message) -> Receipt:
        """Send a message to the buyer. Not idempotent there: ask `find_note` when in doubt."""
        path = f"/api/orders/{percent(message.order_number)}/messages"
        body = {"client_id": message.effect_id, "text": message.text.text()}
        self._send(write_json("POST", path, body))
        return Receipt(message.effect_id, "message accepted")

    def find_note(self, message: Message) -> Verdict:
        """Look for our id among the order's messages."""
        call = get(f"/api/orders/{percent(message.order_number)}/messages")
        return self._asked(
            call, lambda data: message.effect_id in [one["client_id"] for one in data["messages"]]
        )

    def ship_file(self, numbers: Sequence[str]) -> Path:
        """Refuse: this channel ships by its API."""
        raise Rejected(who=self._client.site.who, detail="orders are shipped one by one here")

    def list_items(self) -> Iterable[Item]:
        """Return what is on offer."""
        return self._read(get("/api/items"), lambda data: [_item(row) for row in data["items"]])

    def push_stock(self, items: Sequence[StockPush]) -> None:
        """Set absolute quantities, one call each."""
        for item in items:
            body = {"variant": item.variant_id, "quantity": item.quantity}
            self._send(write_json("PUT", f"/api/items/{percent(item.item_id)}/stock", body))

    def set_shelf(self, item_id: str, variant_id: str, *, on: bool) -> None:
        """Put an item on or off the shelf."""
        body = {"variant": variant_id, "on": on}
        self._send(write_json("PUT", f"/api/items/{percent(item_id)}/shelf", body))

    def _page(self, window: Window, number: int) -> tuple[int, Page]:
        """Return (pages in all, one page)."""
        query = {"from": window.from_ms, "to": window.to_ms, "page": number, "size": PAGE_SIZE}
        call = get("/api/orders", {key: str(value) for key, value in query.items()})
        return self._read(call, lambda data: (int(data["pages"]), _page(data)))

    def _asked(self, call: Call, found: Callable[[Any], bool]) -> Verdict:
        """Ask whether something happened; of an order that is gone nobody can tell."""
        try:
            return Verdict.DONE if self._read(call, found) else Verdict.NOT_DONE
        except Rejected as error:
            if _is_gone(error):
                return Verdict.UNCLEAR
            raise

    def _read(self, call: Call, found: Callable[[Any], T]) -> T:
        """Read, and take from the answer what is wanted; another shape is a broken reply."""
        data = self._send(call)
        try:
            return found(data)
        except (KeyError, ValueError, TypeError, AttributeError):
            problem = self._client.broken(call, told("the answer is not one the shop documents"))
        raise problem

    def _send(self, call: Call) -> Any:
        reply = self._client.send(call)
        answer = reply.data
        is_ours = isinstance(answer, dict) and answer.get("code") == 0
        if not is_ours or not isinstance(answer.get("data"), dict):
            raise self._client.broken(call, told("the answer is not one the shop documents"))
        return answer["data"]


def _is_gone(error: Rejected) -> bool:
    return str(error.facts["detail"]).endswith(" 2001")


def _page(data: Any) -> Page:
    """Return one page; an order that cannot be read is a reject and does not stop the others."""
    orders, rejects = [], []
    for raw in data["orders"]:
        try:
            orders.append(order_fact(raw))
        except (KeyError, ValueError, TypeError) as error:
            number = raw.get("number") if isinstance(raw, dict) else None
            rejects.append(f"order {number}: cannot be read ({error!r})")
    return Page(tuple(orders), False, tuple(rejects))


def _item(row: Mapping[str, Any]) -> Item:
    return Item(
        item_id=row["item"],
        variant_id=row["variant"],
        title=row["title"],
        sku_hint=row["code"],
        price_minor=parse_minor(row["price"]),
        quantity=int(row["quantity"]),
        on_shelf=bool(row["on"]),
    )


def order_fact(raw: Mapping[str, Any]) -> OrderFact:
    """Return one order of the platform as ours. An unknown status is for a person to look at."""
    status = STATUSES.get(raw["status"], OrderStatus.REVIEW)
    risk = str(raw["risk"])
    if status is OrderStatus.REVIEW:
        risk = f"unknown status “{raw['status']}”"
    total = parse_minor(raw["total"])
    refunds = tuple(_refund(refund) for refund in raw["refunds"])
    buyer = raw["buyer"]
    return OrderFact(
        number=str(raw["number"]),
        revision_ms=int(raw["modified_ms"]),
        status=status,
        refund=refund_state(refunds, total),
        currency=str(raw["currency"]),
        total_minor=total,
        lines=tuple(_line(line) for line in raw["lines"]),
        created_ms=int(raw["created_ms"]),
        paid_ms=None if raw["paid_ms"] is None else int(raw["paid_ms"]),
        refunds=refunds,
        buyer=Buyer(buyer["id"], buyer["nick"], buyer["email"], buyer["phone"]),
        expected_gross_minor=total,
        ext_txn_id=str(raw["pay_no"]),
        risk=risk,
        note=str(raw["note"]),
        stock_lowered=status is OrderStatus.UNPAID,
    )


def refund_state(refunds: Sequence[RefundFact], total_minor: int) -> RefundState:
    """Sum refunds up: an open one outweighs what was paid back."""
    if any(refund.state == "open" for refund in refunds):
        return RefundState.OPEN
    back = sum(refund.amount_minor for refund in refunds if refund.state == "done")
    if back <= 0:
        return RefundState.NONE
    return RefundState.FULL if back >= total_minor else RefundState.PARTIAL


def _refund(raw: Mapping[str, Any]) -> RefundFact:
    """Return a refund; a state that is not documented counts as open, which holds the order."""
    state = REFUNDS.get(raw["state"], "open")
    return RefundFact(raw["refund_no"], parse_minor(raw["amount"]), state, int(raw["time_ms"]))


def _line(raw: Mapping[str, Any]) -> LineFact:
    return LineFact(
        line_no=str(raw["line_no"]),
        item_id=str(raw["item"]),
        variant_id=str(raw["variant"]),
        title=str(raw["title"]),
        quantity=int(raw["quantity"]),
        amount_minor=parse_minor(raw["amount"]),
        account=str(raw["account"]),
    )


def signed(call: Call, token: Secret, secret: Secret, clock: Clock) -> Call:
    """Sign one attempt over the bytes that go out (rules: adapters/demo_shop)."""
    now = str(clock.now_ms() // 1000)
    query = "&".join(f"{percent(name)}={percent(value)}" for name, value in call.query)
    body = hashlib.sha256(call.body).hexdigest()
    text = "\n".join((call.method, urlsplit(call.url).path, query, now, body))
    sign = hmac.new(secret.reveal(), text.encode(), "sha256").hexdigest()
    headers = (("X-Demo-Token", token.text()), ("X-Demo-Time", now), ("X-Demo-Sign", sign))
    return replace(call, headers=(*call.headers, *headers))


def _code_of(reply: Reply) -> str:
    import json

    try:
        return str(json.loads(reply.body)["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def _seconds(settings: AdapterSettings) -> float:
    text = str(settings.options.get("read_seconds", 5))
    try:
        return float(text)
    except ValueError:
        raise ConfigError(
            detail="channels.{name}.options.read_seconds = {text} is no number",
            name=settings.name,
            text=text,
        ) from None


def build(settings: AdapterSettings) -> DemoChannel:
    """Build the channel from `url`, `token` and `secret`."""
    url = str(settings.options.get("url", ""))
    if urlsplit(url).hostname not in {"127.0.0.1", "localhost"}:
        raise ConfigError(
            detail="channels.{name}.options.url is no address on this machine",
            name=settings.name,
            mend="the simulated shop runs inside: kmtool demo",
        )
    for name in FEATURES.credentials:
        if name not in settings.credentials:
            raise ConfigError(
                detail="channels.{name}.credentials lacks {credential}",
                name=settings.name,
                credential=name,
            )
    token, secret = settings.credentials["token"], settings.credentials["secret"]
    site = Site(
        who=settings.name,
        base=url,
        clock=settings.clock,
        sign=lambda call: signed(call, token, secret, settings.clock),
        code_of=_code_of,
        documented=REFUSALS.__contains__,
        read_s=_seconds(settings),
    )
    return DemoChannel(Client(site), settings.clock)
