"""Whole shops before platforms that go wrong: what becomes of an order when its send meets a fault.

A stand has one shop, one platform and one front. Orders come by the dozen, each meets its own fault
with its own effect, then the fault is over and the shop goes on by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters.demo_shop import DemoShop, Good, Offer, Sold
from kmtool.app import create_shop, open_shop
from kmtool.config import load
from kmtool.errors import TakenOver
from kmtool.operations import products, sender
from kmtool.operations.deliver import deliver_all
from kmtool.operations.order_refund import decide
from kmtool.operations.products import Fields, Mapping
from kmtool.operations.refund_records import Answer, Decision
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from kmtool.store import doctor
from tests.adapters.woo_server import WooServer
from tests.faults import mail_desks, matrix
from tests.faults.desks import (
    DEMO_BOOK,
    READ_S,
    REPLY_MAX,
    SHORT_S,
    SLOW,
    WOO_BOOK,
    FrontedWoo,
    Watch,
    client_of,
)
from tests.faults.front import Front
from tests.faults.mailer import Inbox, MailFront, mail_desk
from tests.faults.rules import Phase
from tests.operations.stock import shelf

PHONE = "13800138000"
KEY = re.compile(r"KEY-S1-\d+")
TOML = """schema = 1
[shop]
name = "测试小店"
[data]
private = ".private"
{database}
[deliver]
{deliver}
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
[channels.shop1]
adapter = "{adapter}"
mode = "auto"
couriers = ["{courier}"]
credentials = {{ {credentials} }}
options = {{ url = "{url}", read_seconds = {read_s} }}
{channel}
"""
MAIL = """[couriers.mail]
adapter = "email"
options = {{ host = "127.0.0.1", port = {port}, from = "shop@shop.example", tls = "none" }}
[alerts]
notify = ["owner"]
[notify.owner]
adapter = "email"
[notify.owner.options]
host = "127.0.0.1"
port = {port}
from = "shop@shop.example"
tls = "none"
to = "owner@shop.example"
"""
SUPPLIER = """[suppliers.toplab]
adapter = "demo"
spend_per_day = "100000.00"
spend_per_order = "100.00"
credentials = {{ token = "demo-token", secret = "demo-secret" }}
options = {{ url = "{url}", read_seconds = {read_s} }}
"""
GRACE_MS = 130_000


@dataclass
class Stand:
    """A shop, the platform it sells at, and the front that goes wrong."""

    route: str
    shop: Shop
    platform: Any
    front: Front
    mail: MailFront | None
    inbox: Inbox | None
    item: str
    placed: int = 0
    emails: dict[str, str] = field(default_factory=dict)
    sender: ExitStack | None = None
    mine: Any = None

    # ------------------------------------------------------------------------- outside

    def add(self, *, topup: bool = False) -> str:
        """Let a buyer order one piece; return the number."""
        self.placed += 1
        email = f"b{self.placed:05d}@example.test"
        if isinstance(self.platform, WooServer):
            number = self.platform.add_order()
        elif topup:
            number = self.platform.add_order([Sold("t1", account=PHONE)])
        else:
            number = self.platform.add_order([Sold("i1")], email=email, buyer=f"demo_{self.placed}")
        self.emails[number] = email
        return str(number)

    def received(self, number: str) -> list[str]:
        """Return what the buyer of an order got."""
        if self.inbox is None:
            return list(self.platform.received(number))
        pairs = zip(self.inbox.recipients, self.inbox.texts, strict=True)
        mails = [text.decode() for to, text in pairs if to == [self.emails[number]]]
        return [re.sub(r"(?m)^Date:.*", "", mail) for mail in mails]

    def shipped(self, number: str) -> bool:
        """Tell whether the platform counts an order as shipped."""
        if isinstance(self.platform, WooServer):
            return bool(self.platform.orders[int(number)]["status"] == "completed")
        return bool(self.platform.shipped(number))

    @contextmanager
    def failing(self, phase: Phase, skip: int = 0) -> Iterator[None]:
        """Let what the shop does now go wrong, after `skip` good calls."""
        if self.mail is not None:
            waits = phase.name in mail_desks.WAITS
            short: AbstractContextManager[None] = mail_desks.short_waits() if waits else ExitStack()
            with short, self.mail.failing(phase.name):
                yield
            return
        with self._limits(phase), self.front.failing(phase.name, skip):
            yield

    @contextmanager
    def _limits(self, phase: Phase) -> Iterator[None]:
        """Let the adapters be impatient, or take small replies only, while a phase wants it."""
        ports: list[Any] = [self.shop.adapters.channel("shop1")]
        if self.shop.config.suppliers:
            ports.append(self.shop.adapters.supplier("toplab"))
        before = {client: client.site for client in map(client_of, ports)}
        for client, site in before.items():
            if phase.name in SLOW:
                client.close()
                client.site = replace(site, read_s=SHORT_S, total_s=2 * SHORT_S)
            if phase.name == "too_large":
                client.site = replace(site, reply_max=REPLY_MAX)
        try:
            yield
        finally:
            for client, site in before.items():
                if phase.name in SLOW:
                    client.close()
                client.site = site

    # -------------------------------------------------------------------------- the shop

    def pull(self) -> None:
        """Let the shop see what was ordered."""
        self.tick(5_000)
        (found,) = sync(self.shop).channels
        assert not found.error, found.error

    def tick(self, ms: int) -> None:
        """Let time pass."""
        assert isinstance(self.shop.clock, Watch)
        self.shop.clock.advance(ms)

    def go(self, numbers: Sequence[str] = ()) -> None:
        """Deliver what is due, of some orders or of all."""
        rows = [self.row("SELECT * FROM orders WHERE number = :n", n=n) for n in numbers]
        if self.sender is None:
            self.sender = ExitStack()
            self.mine = self.sender.enter_context(sender.sending(self.shop, "deliver"))
        deliver_all(self.mine, rows)

    def leave(self) -> None:
        """End the session that sends."""
        if self.sender is not None:
            self.sender.close()
        self.sender = None

    def taken_over(self, number: str) -> None:
        """Send; somebody else takes over before the outcome is written."""
        rows = [self.row("SELECT * FROM orders WHERE number = :n", n=number)]
        self.leave()
        with sender.sending(self.shop, "deliver") as mine:
            courier = mine.adapters.courier

            class Late:
                """The courier; when it is back, this sender is none any more."""

                def __init__(self, inner: Any) -> None:
                    self.inner, self.features = inner, replace(inner.features, parallel=1)

                def __getattr__(self, name: str) -> Any:
                    return getattr(self.inner, name)

                def send(self, message: Any) -> Any:
                    try:
                        return self.inner.send(message)
                    finally:
                        sender.take_over(mine)

            late = replace(mine.adapters, courier=lambda *of: Late(courier(*of)))
            mine = replace(mine, adapters=late)
            try:
                deliver_all(mine, rows)
            except TakenOver:
                return
        raise AssertionError("it was not taken over")

    def row(self, sql: str, **values: Any) -> dict[str, Any]:
        """Return one row."""
        found = self.shop.db.one(sql, **values)
        assert found is not None, (sql, values)
        return found

    def effect(self, number: str, kind: str) -> tuple[str, str, str, dict[str, Any]]:
        """Return (line, effect, newest try, effect's row) of an order."""
        row = self.row(
            "SELECT e.*, l.state AS line, a.state AS attempt FROM effects e"
            " JOIN orders o ON o.id = e.order_id JOIN lines l ON l.order_id = o.id"
            " LEFT JOIN attempts a ON a.effect_id = e.id AND a.n = e.tries"
            " WHERE o.number = :n AND e.kind = :k ORDER BY e.id DESC LIMIT 1",
            n=number,
            k=kind,
        )
        return row["line"], row["state"], row["attempt"], row

    def broken(self) -> list[str]:
        """Return every broken promise of the ledger."""
        return [
            f"{rule.name}: {told}"
            for rule in doctor.INVARIANTS
            if rule.broken or rule.name in {"stock_counter", "refund_first"}
            for told in doctor.violations(self.shop.db, rule, self.shop.now_ms())
        ]

    def refuse_refund(self, number: str) -> None:
        """Let the buyer ask the money back and the owner refuse: the channel is to be told."""
        self.platform.refund(number)
        self.pull()
        decide(self.shop, number, Decision(Answer.REFUSE, reason="已发货"))


@contextmanager
def stand(
    route: str,
    folder: Path,
    database: str = "",
    n: int = 200,
    deliver: str = 'reread_after = "100d"',
    channel: str = "",
) -> Iterator[Stand]:
    """Yield a stand for a route: `woocommerce`, `demo`, or `email` (orders of the demo channel)."""
    clock = Watch()
    is_woo = route == "woocommerce"
    with ExitStack() as stack:
        platform: Any = stack.enter_context(FrontedWoo(clock) if is_woo else DemoShop(clock))
        backend = platform.port if is_woo else int(platform.url.rpartition(":")[2])
        front = Front(backend, WOO_BOOK if is_woo else DEMO_BOOK)
        stack.callback(front.close)
        mail: tuple[MailFront, Inbox] | None = None
        if is_woo:
            platform.front_url = front.url
            item = str(platform.add_product())
        else:
            item = "i1"
            platform.add_item(Offer("i1", "", "月卡", 1000, 10_000))
            platform.add_item(Offer("t1", "", "话费", 1000, 10_000))
            platform.supply.balance_minor = 10**9
            platform.supply.add_good(Good("TEL-10", "话费 10 元", 980, left=10**6))
        if route == "email":
            mail = stack.enter_context(mail_desk(folder))[:2]
        shop = stack.enter_context(
            _shop(route, folder, front, mail, (database, deliver, channel), clock)
        )
        shelf(shop, n=n, cost_e5=100, item=item)
        stack.enter_context(matrix.short_connects())
        found = Stand(route, shop, platform, front, *(mail or (None, None)), item)
        stack.callback(found.leave)
        yield found
        client_of(shop.adapters.channel("shop1")).close()
        assert platform.troubles == []
        assert front.troubles == []


@contextmanager
def _shop(
    route: str, folder: Path, front: Front, mail: Any, extra: tuple[str, str, str], clock: Watch
) -> Iterator[Shop]:
    is_woo = route == "woocommerce"
    database, deliver, channel = extra
    text = TOML.format(
        database=f'database = "{database}"' if database else "",
        adapter="woocommerce" if is_woo else "demo",
        courier={"woocommerce": "channel_note", "demo": "demo", "email": "mail"}[route],
        credentials='key = "ck_test", secret = "cs_test"'
        if is_woo
        else 'token = "demo-token", secret = "demo-secret"',
        url=front.url,
        read_s=READ_S,
        deliver=deliver,
        channel=channel,
    )
    if mail is not None:
        text += MAIL.format(port=mail[0].port)
    if route == "demo":
        text += SUPPLIER.format(url=front.url, read_s=READ_S)
    path = folder / "kmtool.toml"
    path.write_text(text, encoding="utf-8")
    config = load(path)
    create_shop(config, clock)
    with open_shop(config, clock=clock) as shop:
        if route == "demo":
            products.add(
                shop,
                "TEL",
                Fields(
                    title="话费 10 元", kind="topup", account_rule="phone-cn", supplier="toplab",
                    supplier_item="TEL-10", cap_minor=980,
                ),
            )  # fmt: skip
            products.map_listing(shop, Mapping("shop1", "t1", "", "TEL"))
        yield shop
