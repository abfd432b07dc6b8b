"""Each act of `rules.ACTS` as something to do: the adapter as it is built, and the truth behind it.

A desk is a platform, the front before it, and adapters that speak through the front. `attempt(act)`
prepares one fresh subject (an order, a purchase) and returns how to do the act once, how many calls
of it go before the one that is meant, and how to look up over there whether it was done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from adapters.channels import demo as demo_channel
from adapters.channels import woocommerce
from adapters.couriers import channel_note
from adapters.couriers import demo as demo_courier
from adapters.demo_shop import DemoShop, Good, Offer, Sold
from adapters.http import Client
from adapters.suppliers import demo as demo_supplier
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.domain.states import EffectKind
from kmtool.operations.routes import Parcel, RefundReply, probe
from kmtool.ports import (
    AdapterSettings,
    Buyer,
    Message,
    OrderRef,
    PurchaseOrder,
    StockPush,
    Verdict,
    Window,
)
from tests.adapters.woo_server import WooServer
from tests.faults.front import Front
from tests.faults.rules import Act, Nature

READ_S = 5.0
SHORT_S = 0.15
"""What slow phases have to outlast; only they are met by an adapter this impatient."""
SLOW = frozenset({"slow_before_act", "slow_after_act", "late_act", "dripping_head", "dripping"})
REPLY_MAX = 60_000
DEMO_BOOK = (400, b'{"code": 3001, "message": "a parameter"}')
WOO_BOOK = (400, b'{"code": "rest_invalid_param", "message": "a parameter", "data": {}}')


class Watch(ManualClock):
    """Wall time that moves when told to; the other clock moves with it, and as seconds pass."""

    def monotonic(self) -> float:
        return time.monotonic() + self.now_ms() / 1000


@dataclass(frozen=True, slots=True)
class Attempt:
    """One act on a subject of its own. `skip` calls go before the one that is meant."""

    do: Callable[[], object]
    done: Callable[[], bool]
    skip: int = 0


class FrontedWoo(WooServer):
    """The WooCommerce server as it is known by the address of the front before it."""

    front_url = ""

    @property
    def url(self) -> str:
        return self.front_url


@dataclass
class Desk:
    """Platform, front and adapters by read time-out (`patient`, `short`)."""

    shop: Any
    front: Front
    patient: Any
    short: Any
    count: int = 0

    def attempt(self, act: Act, there: bool, *, short: bool) -> Attempt:
        """Prepare a subject for the act; `there` says of a question whether it did happen."""
        self.count += 1
        port = self.short if short else self.patient
        made: Attempt = MAKERS[act.adapter, act.name](self, port, act, there)
        return made


@contextmanager
def desk(adapter: str, folder: Path) -> Iterator[Desk]:
    """Yield the desk of an adapter (`kind/name`)."""
    clock = Watch()
    is_woo = adapter in ("channel/woocommerce", "courier/channel_note")
    with FrontedWoo(clock) if is_woo else DemoShop(clock) as shop:
        backend = shop.port if is_woo else int(shop.url.rpartition(":")[2])
        front = Front(backend, WOO_BOOK if is_woo else DEMO_BOOK)
        if is_woo:
            shop.front_url = front.url
            shop.add_product()
        else:
            shop.add_item(Offer("8801", "", "星海通行证", 2800, 9))
            shop.supply.balance_minor = 10**9
            shop.supply.add_good(Good("TEL-10", "话费 10 元", 980, left=10**6))
        ports = [_build(adapter, clock, front, folder, read_s) for read_s in (READ_S, SHORT_S)]
        try:
            yield Desk(shop, front, *ports)
        finally:
            front.close()
            for port in ports:
                client_of(port).close()
        assert shop.troubles == []
        assert front.troubles == []


def _build(adapter: str, clock: Watch, front: Front, folder: Path, read_s: float) -> Any:
    names = ("key", "secret") if shop_is_woo(adapter) else ("token", "secret")
    values = ("ck_test", "cs_test") if shop_is_woo(adapter) else ("demo-token", "demo-secret")
    settings = AdapterSettings(
        name="it",
        options={"url": front.url, "read_seconds": read_s},
        credentials={n: Secret(v) for n, v in zip(names, values, strict=True)},
        clock=clock,
        zone="Asia/Shanghai",
        currency="CNY",
        inbox=folder,
        exports=folder,
    )
    match adapter:
        case "channel/woocommerce":
            port: Any = woocommerce.build(settings)
        case "courier/channel_note":
            port = channel_note.build(replace(settings, channel=woocommerce.build(settings)))
        case "channel/demo":
            port = demo_channel.build(settings)
        case "courier/demo":
            port = demo_courier.build(replace(settings, channel=demo_channel.build(settings)))
        case "supplier/demo":
            port = demo_supplier.build(settings)
    client = client_of(port)
    client.site = replace(
        client.site,
        total_s=READ_S if read_s == READ_S else 2 * SHORT_S,
        reply_max=REPLY_MAX,
        reads_max=1,  # trying again inside is held elsewhere
    )
    return port


def shop_is_woo(adapter: str) -> bool:
    """Tell which of the two platforms an adapter speaks to."""
    return adapter in ("channel/woocommerce", "courier/channel_note")


def client_of(port: Any) -> Client:
    """Return the HTTP client inside an adapter."""
    port = getattr(port, "_channel", port)
    port = getattr(port, "_server", port)
    client = port._client
    assert isinstance(client, Client)
    return client


# ------------------------------------------------------------------------- how each act is done


def _order(desk: Desk, **more: Any) -> str:
    if isinstance(desk.shop, WooServer):
        return desk.shop.add_order()
    return desk.shop.add_order([Sold("8801")], **more)


def _never() -> bool:
    return False


def _login(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    return Attempt(port.auth_check, _never)


def _pull(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    wanted = 51 if act.leg and not isinstance(desk.shop, WooServer) else 1
    while len(desk.shop.orders) < wanted:
        _order(desk)

    def pull() -> object:
        """Read all pages; a pull that breaks must not have said that it was at the end."""
        now_ms = desk.shop.clock.now_ms()
        pages = []
        try:
            for page in port.list_changed(Window(now_ms - 3_600_000, now_ms + 1_000)):
                pages.append(page)
        except Exception:
            assert not any(page.last for page in pages), "the cursor would pass what was not read"
            raise
        return pages

    return Attempt(pull, _never, skip=1 if act.leg else 0)


def _read(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    number = _order(desk)
    if act.leg:
        desk.shop.refund(number, "3.00")
    return Attempt(lambda: port.get_order(number), _never, skip=1 if act.leg else 0)


def _items(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    return Attempt(lambda: list(port.list_items()), _never)


def message(number: str, n: int) -> Message:
    """Return a message with a key in it, long enough to be cut in the middle."""
    marker = f"km:e-{n}"
    text = f"您的卡密:\nSECRET-KEY-{n:05d}\n{'请尽快使用。' * 40}\n{marker}"
    buyer = Buyer(email="buyer@example.test")
    return Message(f"e-{n}", "it", number, "您的卡密", Secret(text), marker, buyer)


def _write(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    one = message(_order(desk), desk.count)
    send = port.post_note if act.adapter.startswith("channel/") else port.send
    return Attempt(lambda: send(one), lambda: bool(desk.shop.received(one.order_number)))


def _find(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    one = message(_order(desk), desk.count)
    is_channel = act.adapter.startswith("channel/")
    if there:
        (port.post_note if is_channel else port.send)(one)
    ask = port.find_note if is_channel else port.query
    return Attempt(lambda: ask(one), lambda: there)


def _shipped(desk: Desk, number: str) -> bool:
    if isinstance(desk.shop, WooServer):
        return bool(desk.shop.orders[int(number)]["status"] == "completed")
    return bool(desk.shop.shipped(number))


def _ship(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    ref = OrderRef(_order(desk), f"e-{desk.count}")
    looks_first = isinstance(desk.shop, WooServer) and act.nature is Nature.WRITE
    return Attempt(
        lambda: port.mark_shipped(ref), lambda: _shipped(desk, ref.number), int(looks_first)
    )


def _ask_shipped(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    ref = OrderRef(_order(desk), f"e-{desk.count}")
    if there:
        port.mark_shipped(ref)
    return Attempt(lambda: port.query_shipped(ref), lambda: there)


def _item(desk: Desk) -> str:
    if isinstance(desk.shop, WooServer):
        return str(next(iter(desk.shop.products)))
    return "8801"


def _stock(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    item, figure = _item(desk), 1000 + desk.count

    def done() -> bool:
        if isinstance(desk.shop, WooServer):
            return bool(desk.shop.products[int(item)]["stock_quantity"] == figure)
        return bool(desk.shop.stock(item) == figure)

    return Attempt(lambda: port.push_stock([StockPush(item, "", figure)]), done)


def _shelf(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    item = _item(desk)

    def is_on() -> bool:
        if isinstance(desk.shop, WooServer):
            return bool(desk.shop.products[int(item)]["status"] == "publish")
        return bool(desk.shop.items[item, ""].on)

    wanted = not is_on()
    return Attempt(lambda: port.set_shelf(item, "", on=wanted), lambda: is_on() is wanted)


def _refund(desk: Desk) -> tuple[str, str]:
    number = _order(desk)
    return number, desk.shop.refund(number)


def _answer(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    number, refund = _refund(desk)
    ref = OrderRef(number, f"e-{desk.count}")

    def done() -> bool:
        return bool(desk.shop.orders[number].refunds[refund]["state"] != "APPLIED")

    return Attempt(lambda: port.reply_refund(ref, refund, agree=False, text="已发货"), done)


def _ask_answer(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    number, refund = _refund(desk)
    ref, reply = OrderRef(number, "e-1"), RefundReply(refund, False, "已发货")
    if there:
        port.reply_refund(ref, refund, agree=False, text="已发货")
    parcel = Parcel(1, EffectKind.REFUND_REPLY, "it", "it", None, ref, reply)
    around: Any = SimpleNamespace(adapters=SimpleNamespace(channel=lambda name: port))
    return Attempt(lambda: probe(around, parcel) or Verdict.UNCLEAR, lambda: there)


def _wish(desk: Desk) -> PurchaseOrder:
    return PurchaseOrder(f"KMTEST-{desk.count}-1", "TEL-10", 1, "13800138000", 980, "CNY")


def _buy(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    wish = _wish(desk)
    return Attempt(lambda: port.place(wish), lambda: wish.our_no in desk.shop.supply.orders)


def _ask_bought(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    wish = _wish(desk)
    if there:
        port.place(wish)
    return Attempt(lambda: port.query(wish.our_no), lambda: there)


def _balance(desk: Desk, port: Any, act: Act, there: bool) -> Attempt:
    return Attempt(port.balance, _never)


_SHOP = {
    "test the login": _login,
    "pull orders": _pull,
    "read an order": _read,
    "write a message": _write,
    "find a message": _find,
    "mark shipped": _ship,
    "ask whether shipped": _ask_shipped,
    "list the items": _items,
    "push stock": _stock,
    "move a listing on the shelf": _shelf,
    "answer a refund": _answer,
    "ask about the answer": _ask_answer,
}
MAKERS: dict[tuple[str, str], Callable[[Desk, Any, Act, bool], Attempt]] = {
    **{("channel/woocommerce", act): how for act, how in _SHOP.items()},
    **{("channel/demo", act): how for act, how in _SHOP.items()},
    **{(f"courier/{name}", "hand over"): _write for name in ("channel_note", "demo")},
    **{(f"courier/{name}", "ask"): _find for name in ("channel_note", "demo")},
    ("supplier/demo", "test the login"): _login,
    ("supplier/demo", "read the balance"): _balance,
    ("supplier/demo", "buy"): _buy,
    ("supplier/demo", "ask about a purchase"): _ask_bought,
}  # fmt: skip
