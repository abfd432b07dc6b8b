"""The outside of the simulated week: three shops, their buyers, and what goes wrong with them.

Everything is drawn from one seed, per order and per call, at the shares written here.
"""

from __future__ import annotations

import os
import random
import re
from dataclasses import dataclass
from pathlib import Path

from adapters.demo_shop import DemoShop, Fault, FaultKind, Offer, Sold
from kmtool.clock import ManualClock, local_text
from tests.adapters.channel_world import Fault as WooFault
from tests.adapters.smtp_server import SmtpPeer
from tests.adapters.woo_server import WooServer

ZONE = "Asia/Shanghai"
START_MS = 1_795_305_600_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
KEY = re.compile(r"W\d-\d{6}-[A-Z]{5}")
RUSH = (2, 1, 1, 1, 1, 2, 3, 5, 7, 9, 10, 11, 12, 11, 10, 9, 9, 10, 12, 14, 15, 13, 9, 5)
"""How the orders of a day fall on its hours."""
HEAD = (
    "订单号,订单状态,商品ID,商品标题,数量,实付金额,退款状态,"
    "下单时间,付款时间,修改时间,买家昵称,邮箱"
)
WARES = (("W1", 2800, "19.50"), ("W2", 1250, "7.80"), ("W3", 16800, "120.00"))
CHANNELS = {"maple": 0.45, "woo": 0.30, "leaf": 0.25}
SHARES = {
    "asks the money back after delivery": 0.015,
    "asks the money back before": 0.010,
    "closed by the channel before": 0.005,
    "a coupon stacked below cost": 0.003,
    "a buyer of a dozen": 0.003,
    "flagged by the channel": 0.003,
    "no usable e-mail (files only)": 0.006,
    "an item nobody mapped": 0.003,
    "paid an hour later": 0.040,
    "two products": 0.060,
}
CALL_SHARES = ((0.030, "lost"), (0.010, "broken"), (0.010, "refused"))
"""Of the calls that write: the reply is lost after the deed, 5xx after it, cut off before it."""


@dataclass
class Placed:
    """An order as its buyer knows it."""

    channel: str
    number: str
    keys: int
    fate: str
    at_ms: int
    paid_ms: int | None
    lines: list[tuple[str, int, int]]
    email: str
    refunded: bool = False
    closed: bool = False


class World:
    """Everything beyond the border. The truth of the week is here."""

    def __init__(self, folder: Path, orders: int, seed: int) -> None:
        self.folder, self.orders = folder, orders
        self.chance = random.Random(seed)
        self.clock = ManualClock(START_MS)
        self.maple = DemoShop(self.clock, name="maple")
        self.woo = WooServer(self.clock)
        self.mail = SmtpPeer()
        self.placed: list[Placed] = []
        self.later: list[tuple[int, Placed]] = []
        self.woo_items: dict[str, int] = {}
        for sku, price, _cost in WARES:
            self.maple.add_item(Offer(sku, "", f"商品 {sku}", price, 10_000))
            self.woo_items[sku] = self.woo.add_product(
                name=f"商品 {sku}", price=f"{price / 100:.2f}", stock_quantity=10_000
            )
        self.maple.add_item(Offer("NEW", "", "新品", 990, 10_000))
        self.maple.faults.plan = self._fault

    def moments(self) -> list[int]:
        """Draw when orders come: more in the evening, few at night."""
        hours = range(7 * 24)
        drawn = self.chance.choices(hours, [RUSH[h % 24] for h in hours], k=self.orders)
        return sorted(START_MS + h * HOUR_MS + self.chance.randrange(HOUR_MS) for h in drawn)

    def calm(self) -> None:
        """Let nothing more go wrong."""
        self.maple.faults.clear()
        self.woo.faults.clear()

    def received(self, one: Placed) -> list[str]:
        """Return the texts a buyer got."""
        if one.channel == "maple":
            return self.maple.received(one.number)
        if one.channel == "woo":
            return self.woo.received(one.number) + self._mails(one)
        return self._mails(one)

    def shipped(self, one: Placed) -> bool:
        """Tell whether the order counts as shipped over there (files: when somebody uploads)."""
        if one.channel == "maple":
            return self.maple.shipped(one.number)
        return one.channel == "leaf" or self.woo.orders[int(one.number)]["status"] == "completed"

    def _mails(self, one: Placed) -> list[str]:
        return [text for to, text in self.mails() if to == one.email]

    def mails(self) -> list[tuple[str, str]]:
        """Return all mails taken by the server as (to, text)."""
        from email import message_from_bytes
        from email.policy import default

        found = []
        for raw in self.mail.taken:
            mail = message_from_bytes(raw, policy=default)
            body = mail.get_body(("plain",))
            found.append((str(mail["To"]), body.get_content() if body else ""))
        return found

    def place(self) -> None:
        """Let one buyer order, at a channel and with a fate that are drawn."""
        channel, fate = self._drawn()
        sku, price, cost = self.chance.choices(WARES, (10, 7, 3))[0]
        quantity = 12 if "dozen" in fate else self.chance.choices((1, 2, 3), (88, 9, 3))[0]
        amount = int(float(cost) * 90) * quantity if "coupon" in fate else price * quantity
        lines = [(sku, quantity, amount)]
        if fate == "an item nobody mapped":
            lines = [("NEW", 1, 990)]
        if fate == "two products" and channel == "maple":
            other = WARES[0] if sku != "W1" else WARES[1]
            lines.append((other[0], 1, other[1]))
        number = f"{local_text(self.clock.now_ms(), ZONE, '%Y%m%d')}{len(self.placed) + 1:06d}"
        buyer = f"demo_buyer_{len(self.placed) + 1}"
        email = "" if fate.startswith("no usable") else f"{buyer}@example.test"
        late = fate == "paid an hour later"
        one = Placed(channel, number, sum(q for _, q, _ in lines), fate, self.clock.now_ms(),
                     None if late else self.clock.now_ms(), lines, email)  # fmt: skip
        if channel == "maple":
            self._place_maple(one, buyer)
        elif channel == "woo":
            self._place_woo(one)
        self.placed.append(one)
        if "before" in fate:
            self._undo(one)
        if "after delivery" in fate or late:
            self.later.append((self.clock.now_ms() + HOUR_MS, one))

    def _drawn(self) -> tuple[str, str]:
        """Return (channel, fate) of the next order; some fates happen at one channel only."""
        roll, fate = self.chance.random(), "plain"
        channel = self.chance.choices(list(CHANNELS), list(CHANNELS.values()))[0]
        for name, share in SHARES.items():
            if roll < share:
                fate = name
                break
            roll -= share
        if fate.startswith("no usable"):
            channel = "leaf"
        only_maple = fate.startswith(("an item", "flagged", "two"))
        if only_maple or (fate.startswith(("closed", "paid an")) and channel == "leaf"):
            channel = "maple"
        return channel, fate

    def _place_maple(self, one: Placed, buyer: str) -> None:
        sold = [Sold(sku, quantity, amount_minor=amount) for sku, quantity, amount in one.lines]
        risk = "RISK_REVIEW" if one.fate.startswith("flagged") else ""
        self.maple.add_order(sold, number=one.number, buyer=buyer, email=one.email,
                             paid=one.paid_ms is not None, risk=risk)  # fmt: skip

    def _place_woo(self, one: Placed) -> None:
        sku, quantity, amount = one.lines[0]
        total = f"{amount / 100:.2f}"
        number = self.woo.add_order(total=total, quantity=quantity,
                                    status="processing" if one.paid_ms else "pending")  # fmt: skip
        raw = self.woo.orders[int(number)]
        raw["line_items"][0] |= {"product_id": self.woo_items[sku], "name": f"商品 {sku}"}
        raw["billing"]["email"] = one.email
        if not one.paid_ms:
            raw["date_paid_gmt"] = None
        one.number = number

    def _undo(self, one: Placed) -> None:
        """Before anything can have left: the money goes back, or the channel closes the order."""
        if "closed" in one.fate:
            one.closed = True
            if one.channel == "maple":
                self.maple.change(one.number, status="CLOSED")
            elif one.channel == "woo":
                self.woo.change(one.number, status="cancelled")
            return
        one.refunded = True
        if one.channel == "maple":
            self.maple.refund(one.number, state="REFUNDED")
        elif one.channel == "woo":
            self.woo.refund(one.number, f"{one.lines[0][2] / 100:.2f}", full=True)

    def pass_by(self) -> None:
        """Let happen what was drawn to happen later: payments, refunds."""
        now = self.clock.now_ms()
        due = [one for at, one in self.later if at <= now]
        self.later = [(at, one) for at, one in self.later if at > now]
        for one in due:
            if one.fate == "paid an hour later":
                one.paid_ms = now
                if one.channel == "maple":
                    self.maple.change(one.number, status="PAID", paid_ms=now)
                else:
                    self.woo.change(one.number, status="processing", date_paid_gmt=self.woo.now())
            else:
                one.refunded = True
                if one.channel == "maple":
                    self.maple.refund(one.number, state="APPLIED")
                elif one.channel == "woo":
                    self.woo.refund(one.number, f"{one.lines[0][2] / 100:.2f}", full=True)

    def export(self, step: int) -> None:
        """Drop the hour's order export of the third shop into the inbox."""
        now, rows = self.clock.now_ms(), [HEAD]
        for one in self.placed:
            if one.channel != "leaf" or now - one.at_ms > 2 * DAY_MS:
                continue
            sku, quantity, amount = one.lines[0]
            at = local_text(one.at_ms, ZONE, "%Y-%m-%d %H:%M:%S")
            state = "等待卖家发货"
            refund = "退款成功" if one.refunded else ""
            rows.append(
                f"{one.number},{state},{sku},商品 {sku},{quantity},{amount / 100:.2f},{refund},"
                f"{at},{at},{local_text(now, ZONE, '%Y-%m-%d %H:%M:%S')},demo_x,{one.email}"
            )
        inbox = self.folder / "inbox" / "orders" / "leaf"
        inbox.mkdir(parents=True, exist_ok=True)
        path = inbox / f"orders-{step:05d}.csv"
        path.write_text("\n".join(rows) + "\n", "utf-8")
        os.utime(path, (now / 1000 - 60, now / 1000 - 60))

    def _fault(self, call: str) -> Fault | None:
        """Draw what goes wrong with one call of the marketplace; on Tuesday it is down at noon."""
        at = self.clock.now_ms() - START_MS
        if DAY_MS + 4 * HOUR_MS < at < DAY_MS + 6 * HOUR_MS:
            return Fault(call, FaultKind.ERROR_BEFORE)
        if call not in {"message", "ship"}:
            return None
        kinds = {"lost": FaultKind.LOST_REPLY, "broken": FaultKind.ERROR_AFTER,
                 "refused": FaultKind.CLOSED_BEFORE}  # fmt: skip
        roll = self.chance.random()
        for share, kind in CALL_SHARES:
            if roll < share:
                return Fault(call, kinds[kind])
            roll -= share
        return None

    def woo_trouble(self) -> None:
        """Let one of the coming calls of the WooCommerce shop go wrong."""
        call = self.chance.choice(("note", "ship", "orders"))
        kind = self.chance.choice((WooFault.LOST, WooFault.ERROR_AFTER, WooFault.DROPPED))
        self.woo.fail(call, kind)
