"""WooCommerce through its REST API v3: orders, 「completed」, customer notes, stock and shelf.

https uses HTTP Basic; plain http (a shop on this machine) needs OAuth 1.0a. Facts of the protocol
that the code rests on, seen on servers of version 11.0.1:

- `modified_after` and `modified_before` are both strict and count whole seconds.
- A list that is sorted by a time is not stable within one second; it is sorted by id here.
- `status=any` leaves out the trash, so the trash is asked for by itself.
- A page past the end is an empty list that says it has a total of 0.
- 「completed」 is accepted from every status, also from cancelled and from the trash.
- With classic storage a change of a line's quantity alone leaves the order's modified date: no pull
  tells of it, only reading the order does (which is done right before its keys leave).
- An order on hold lowers the stock figure; a pending one is kept apart from it, for a while.
- A used OAuth nonce is refused, but only the last one of every second is remembered.
- Notes lose one level of backslashes and everything that looks like a tag.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from adapters.http import write_json
from adapters.woo import shapes
from adapters.woo.server import PER_PAGE, Raw, Server
from kmtool.domain.states import RefundState
from kmtool.errors import ConfigError, NeedsOperator, Rejected, Retriable, joined, told
from kmtool.ports import (
    AdapterSettings,
    AuthReport,
    Channel,
    Features,
    Item,
    Message,
    OrderFact,
    OrderRef,
    Page,
    Receipt,
    Repeat,
    StockPush,
    Verdict,
    Window,
)

FEATURES = Features(
    title="WooCommerce",
    kind="channel",
    approval="none: the shop's own keys (WooCommerce > Settings > Advanced > REST API)",
    automatic="orders, customer notes, completed, stock",
    proved="WooCommerce 11.0.1",
    pull=True,
    window_max_ms=30 * 86_400_000,
    lag_ms=2_000,
    overlap_ms=60_000,
    mark_shipped=True,
    shipped_repeat=Repeat.IDEMPOTENT,
    notes=True,
    push_stock=True,
    shelf=True,
    reread=True,
    repeat=Repeat.QUERYABLE,
    text_max=15_000,
    parallel=4,
    credentials=("key", "secret"),
    options={
        "url": "the shop's address, such as https://shop.example",
        "completed": "what 「completed」 without our mark means: shipped (default) or paid",
        "account_field": "the order field that holds the account of a top-up",
        "read_seconds": "how long to wait for an answer, by default 30",
        "proxy": "a proxy, such as http://127.0.0.1:3128",
    },
)

PULL_TRIES = 4
SKEW_MAX_MS = 900_000


def build(settings: AdapterSettings) -> Channel:
    """Return the channel; raises `ConfigError` when its settings cannot work."""
    return WooCommerce(settings)


class WooCommerce:
    """One WooCommerce shop."""

    def __init__(self, settings: AdapterSettings) -> None:
        self._server = Server(settings)
        self._currency = settings.currency
        self._completed_is_paid = _completed(settings) == "paid"
        self._account_field = str(settings.options.get("account_field", ""))

    @property
    def features(self) -> Features:
        """Return what this channel can do."""
        return FEATURES

    def auth_check(self) -> AuthReport:
        """Read one order; raises `NeedsOperator` when the keys or the clock do not fit."""
        server = self._server
        try:
            raws, reply = server.objects("/orders", {"per_page": "1", "_fields": "id,currency"})
        except NeedsOperator:
            server.read(f"{server.url}/wp-json/", {"_fields": "name"})
            if abs(server.skew_ms) <= SKEW_MAX_MS:
                raise
            raise NeedsOperator(
                who=server.name,
                detail="its clock and ours differ by {skew} s",
                skew=abs(server.skew_ms) // 1000,
                mend="set the clock of this computer, then: kmtool channel test {who}",
            ) from None
        words: list[str] = [told("{n} orders", n=reply.headers.get("x-wp-total", "?"))]
        currencies = {str(raw.get("currency")) for raw in raws}
        if currencies - {self._currency}:
            names = ", ".join(sorted(currencies))
            words.append(told("its orders are in {currencies}", currencies=names))
        if server.url.startswith("http://"):
            words.append(told("plain http: keys in notes can be read on the way"))
        return AuthReport(ok=True, detail=joined(words), skew_ms=server.skew_ms)

    def list_changed(self, window: Window) -> Iterator[Page]:
        """Yield the orders changed in the window, last page first.

        An order that changes during the run leaves the window and moves the ones behind it forward:
        read backwards, one is read twice and none skipped. When orders come in instead, the reading
        starts again.
        """
        yield from self._pull(window, "trash", final=False)
        yield from self._pull(window, "any", final=True)

    def acknowledge(self, page: Page) -> None:
        """Do nothing: the shop needs no word that a page is stored."""

    def get_order(self, number: str) -> OrderFact | None:
        """Read one order, and its refunds when it has any."""
        raw = self._server.order(number)
        if raw is None:
            return None
        try:
            fact = self._fact(raw)
            if fact.refund is RefundState.NONE:
                return fact
            refunds, _ = self._server.objects(f"/orders/{number}/refunds", {"per_page": "100"})
            return shapes.with_refunds(fact, refunds)
        except ValueError as error:
            raise self._server.rejected(
                told("order {number}: {problem}", number=number, problem=error)
            ) from None

    def mark_shipped(self, order: OrderRef) -> Receipt:
        """Set the order to 「completed」 and leave our effect's id in it."""
        before = self._server.order(order.number)
        if before is None:
            raise self._server.rejected(told("order {number} is not there", number=order.number))
        status = str(before.get("status"))
        if status in shapes.NEVER_SHIPPED:
            raise self._server.rejected(
                told("order {number} is {status}", number=order.number, status=status)
            )
        if status == "completed" and shapes.delivery_id(before):
            return Receipt(reference=order.number, detail="it was completed already")
        meta = [{"key": shapes.DELIVERY_META, "value": order.effect_id}]
        data = {"status": "completed", "meta_data": meta}
        call = write_json("PUT", f"/orders/{order.number}", data)
        after = self._server.write(call)
        if after.get("status") != "completed":
            raise self._server.unclear(call, told("the order did not become completed"))
        return Receipt(reference=order.number, detail=str(after.get("date_completed_gmt") or ""))

    def query_shipped(self, order: OrderRef) -> Verdict:
        """Ask whether the order is completed, by us or by anyone."""
        raw = self._server.order(order.number)
        if raw is None:
            return Verdict.UNCLEAR
        ours = shapes.delivery_id(raw) == order.effect_id
        return Verdict.DONE if ours or raw.get("status") == "completed" else Verdict.NOT_DONE

    def post_note(self, message: Message) -> Receipt:
        """Write a customer note; the shop mails it to the buyer. Every call writes another one."""
        text = message.text.text()
        if not shapes.has_marker(text, message.marker):
            raise self._server.rejected(told("the text does not hold its marker"))
        refusal = shapes.note_refusal(text)
        if refusal:
            raise self._server.rejected(refusal)
        path = f"/orders/{self._server.id(message.order_number)}/notes"
        data = {"note": shapes.note_text(text), "customer_note": True}
        call = write_json("POST", path, data)
        made = self._server.write(call)
        if not made.get("id"):
            raise self._server.unclear(call, told("the reply names no note"))
        return Receipt(reference=str(made["id"]))

    def find_note(self, message: Message) -> Verdict:
        """Look for the marker in the order's customer notes."""
        path = f"/orders/{self._server.id(message.order_number)}/notes"
        try:
            notes, _ = self._server.objects(path, {"type": "customer"})
        except Rejected:
            return Verdict.UNCLEAR
        if not all(isinstance(note.get("note"), str) for note in notes):
            return Verdict.UNCLEAR
        found = any(shapes.has_marker(note["note"], message.marker) for note in notes)
        return Verdict.DONE if found else Verdict.NOT_DONE

    def ship_file(self, numbers: Sequence[str]) -> Path:
        """Refuse: this channel ships by its API."""
        raise self._server.rejected(told("orders are completed one by one here"))

    def list_items(self) -> Iterable[Item]:
        """Yield products, and the variations of variable ones."""
        for raw in self._server.every("/products"):
            number = self._server.id(str(raw.get("id")))
            if raw.get("type") != "variable":
                yield self._item(raw, number, "")
                continue
            for part in self._server.every(f"/products/{number}/variations"):
                yield self._item(part, number, str(part.get("id")), str(raw.get("name")))

    def push_stock(self, items: Sequence[StockPush]) -> None:
        """Set absolute quantities, 100 per call; raises `Rejected` naming what was refused."""
        groups: dict[str, list[dict[str, object]]] = {}
        for item in items:
            where = f"/products/{self._server.id(item.item_id)}/variations"
            number = int(self._server.id(item.variant_id or item.item_id))
            groups.setdefault(where if item.variant_id else "/products", []).append(
                {"id": number, "manage_stock": True, "stock_quantity": item.quantity}
            )
        refused: list[str] = []
        for where, updates in groups.items():
            for start in range(0, len(updates), PER_PAGE):
                part = updates[start : start + PER_PAGE]
                call = write_json("POST", f"{where}/batch", {"update": part})
                answer = self._server.write(call)
                if not {str(one["id"]) for one in part} <= _named(answer):
                    raise self._server.unclear(call, told("the reply does not name every listing"))
                refused += _refused(answer)
        if refused:
            names = ", ".join(refused[:5])
            raise self._server.rejected(
                told(
                    "stock of {refused} listings was refused: {names}",
                    refused=len(refused),
                    names=names,
                )
            )

    def set_shelf(self, item_id: str, variant_id: str, *, on: bool) -> None:
        """Publish a product, or make it a draft; a variation is shown or hidden."""
        path = f"/products/{self._server.id(item_id)}"
        if variant_id:
            path += f"/variations/{self._server.id(variant_id)}"
        wanted = "publish" if on else "private" if variant_id else "draft"
        call = write_json("PUT", path, {"status": wanted})
        if self._server.write(call).get("status") != wanted:
            raise self._server.unclear(call, told("the listing did not change"))

    def _pull(self, window: Window, status: str, *, final: bool) -> Iterator[Page]:
        query = {"status": status, "dates_are_gmt": "true", "orderby": "id", "order": "desc"}
        for _ in range(PULL_TRIES):
            query |= self._bounds(window)
            newest, total, pages = self._orders(query, 1)
            seen: set[str] = set()
            grown = False
            for number in range(pages, 1, -1):
                raws, now_total, _ = self._orders(query, number)
                if not raws:
                    continue  # past the end by now; such a page says that the total is 0
                grown, total = now_total > total, now_total
                if grown:
                    break
                seen |= {str(raw.get("id")) for raw in raws}
                yield self._page(raws, last=False)
            if not grown and pages > 1:
                newest, now_total, _ = self._orders(query, 1)
                grown, total = now_total > total, now_total
            seen |= {str(raw.get("id")) for raw in newest}
            if not grown and len(seen) >= total:
                yield self._page(newest, last=final)
                return
        raise Retriable(who=self._server.name, detail="the list of orders changes too fast")

    def _bounds(self, window: Window) -> dict[str, str]:
        """Return the strict whole seconds that hold the window, by the shop's clock.

        A shop whose clock is behind would stamp orders into a window already read: its end comes
        earlier then. The start is never moved later.
        """
        skew_ms = self._server.skew_ms
        start_ms, end_ms = window.from_ms + min(skew_ms, 0), window.to_ms + skew_ms
        return {
            "modified_after": shapes.gmt_text(start_ms // 1000 * 1000 - 1000),
            "modified_before": shapes.gmt_text(-(-end_ms // 1000) * 1000),
        }

    def _orders(self, query: Mapping[str, str], number: int) -> tuple[list[Raw], int, int]:
        """Return (orders, total, pages) of one page."""
        page = {"per_page": str(PER_PAGE), "page": str(number)}
        raws, reply = self._server.objects("/orders", {**query, **page})
        try:
            total, pages = (int(reply.headers[f"x-wp-{name}"]) for name in ("total", "totalpages"))
        except (KeyError, ValueError):
            raise NeedsOperator(
                who=self._server.name,
                detail="its replies lack X-WP-Total (a proxy in front of the shop removes it?)",
            ) from None
        return raws, total, pages

    def _page(self, raws: list[Raw], *, last: bool) -> Page:
        facts: list[OrderFact] = []
        rejects: list[str] = []
        for raw in raws:
            try:
                facts.append(self._fact(raw))
            except ValueError as error:
                rejects.append(f"order {raw.get('id')}: {error}")
        return Page(orders=tuple(facts), last=last, rejects=tuple(rejects))

    def _fact(self, raw: Raw) -> OrderFact:
        return shapes.order_fact(
            raw, completed_is_paid=self._completed_is_paid, account_field=self._account_field
        )

    def _item(self, raw: Raw, item_id: str, variant_id: str, of: str = "") -> Item:
        quantity = raw.get("stock_quantity")
        return Item(
            item_id=item_id,
            variant_id=variant_id,
            title=" · ".join(part for part in (of, str(raw.get("name") or "")) if part),
            sku_hint=str(raw.get("sku") or ""),
            price_minor=shapes.price_minor(raw.get("price"), self._currency),
            quantity=quantity if isinstance(quantity, int) else None,
            on_shelf=raw.get("status") == "publish",
        )


def _completed(settings: AdapterSettings) -> str:
    value = str(settings.options.get("completed", "shipped"))
    if value not in ("shipped", "paid"):
        raise ConfigError(
            detail="channel {name}: completed is 「shipped」 or 「paid」", name=settings.name
        )
    return value


def _updated(answer: Raw) -> list[Raw]:
    parts = answer.get("update")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _named(answer: Raw) -> set[str]:
    return {str(part.get("id")) for part in _updated(answer)}


def _refused(answer: Raw) -> list[str]:
    return [
        f"{part.get('id')} ({part['error'].get('code', '')})"
        for part in _updated(answer)
        if isinstance(part.get("error"), dict)
    ]
