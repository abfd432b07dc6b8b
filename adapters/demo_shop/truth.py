"""The truth of the simulated shop: items, orders, refunds, messages. Money is integer fen here."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

from kmtool.clock import Clock, local_text
from kmtool.domain.money import format_plain, parse_minor

MESSAGE_MAX = 2_000
REFUND_STATES = ("APPLIED", "REFUNDED", "WITHDRAWN", "REFUSED")


class Refusal(Exception):
    """A documented business error of the platform."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass
class Offer:
    """Something on offer."""

    item: str
    variant: str
    title: str
    price_minor: int
    quantity: int
    code: str = ""
    on: bool = True


@dataclass(frozen=True, slots=True)
class Sold:
    """One line of an order that is placed; without `amount_minor` the item's price counts."""

    item: str
    quantity: int = 1
    variant: str = ""
    amount_minor: int | None = None
    account: str = ""


@dataclass
class Placed:
    """An order as the platform holds it."""

    number: str
    status: str
    created_ms: int
    modified_ms: int
    lines: list[dict[str, Any]]
    total_minor: int
    buyer: dict[str, str]
    paid_ms: int | None = None
    shipped_ms: int | None = None
    pay_no: str = ""
    risk: str = ""
    note: str = ""
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)


class Truth:
    """What really happened. Every method is safe to call from several threads."""

    def __init__(self, clock: Clock, zone: str, name: str) -> None:
        self.clock = clock
        self.zone = zone
        self.name = name
        self.items: dict[tuple[str, str], Offer] = {}
        self.orders: dict[str, Placed] = {}
        self.lock = RLock()

    # ------------------------------------------------------------ what the owner of the test does

    def add_item(self, item: Offer) -> None:
        """Put something on offer."""
        with self.lock:
            self.items[item.item, item.variant] = item

    def add_order(  # noqa: PLR0913  (a buyer's whole order in one call)
        self,
        lines: Sequence[Sold],
        *,
        number: str = "",
        buyer: str = "demo_buyer",
        email: str = "",
        phone: str = "",
        paid: bool = True,
        at_ms: int | None = None,
        pay_no: str = "",
        risk: str = "",
        note: str = "",
    ) -> str:
        """Place an order as a buyer would; return its number. Stock goes down, never below zero."""
        with self.lock:
            now = self.clock.now_ms() if at_ms is None else at_ms
            number = number or f"{local_text(now, self.zone, '%Y%m%d')}{len(self.orders) + 1:06d}"
            assert number not in self.orders, f"there is an order {number} already"
            placed = [self._line(n, line) for n, line in enumerate(lines, 1)]
            self.orders[number] = Placed(
                number=number,
                status="PAID" if paid else "WAIT_PAY",
                created_ms=now,
                modified_ms=now,
                lines=placed,
                total_minor=sum(line["amount_minor"] for line in placed),
                buyer={"id": f"u-{buyer}", "nick": buyer, "email": email, "phone": phone},
                paid_ms=now if paid else None,
                pay_no=pay_no,
                risk=risk,
                note=note,
            )
            return number

    def change(self, number: str, *, at_ms: int | None = None, **facts: Any) -> None:
        """Set fields of an order (status, risk, note, buyer …); without any it is only touched."""
        with self.lock:
            order = self.orders[number]
            for name, value in facts.items():
                assert hasattr(order, name), f"an order has no {name}"
                setattr(order, name, value)
            self._touch(order, at_ms)

    def refund(
        self,
        number: str,
        amount_minor: int | None = None,
        *,
        state: str = "APPLIED",
        refund_no: str = "",
    ) -> str:
        """Open a refund (the whole sum by default), or move the one named; return its number."""
        assert state in REFUND_STATES
        with self.lock:
            order = self.orders[number]
            refund_no = refund_no or f"R{number}-{len(order.refunds) + 1}"
            known = order.refunds.get(refund_no)
            if amount_minor is None:
                amount_minor = known["amount_minor"] if known else order.total_minor
            order.refunds[refund_no] = {
                "refund_no": refund_no,
                "amount_minor": amount_minor,
                "state": state,
                "time_ms": self.clock.now_ms(),
            }
            paid_back = sum(
                r["amount_minor"] for r in order.refunds.values() if r["state"] == "REFUNDED"
            )
            if paid_back >= order.total_minor:
                order.status = "CLOSED"
            self._touch(order, None)
            return refund_no

    def received(self, number: str) -> list[str]:
        """Return the texts that the buyer of an order got, in order."""
        with self.lock:
            return [message["text"] for message in self.orders[number].messages]

    def shipped(self, number: str) -> bool:
        """Tell whether an order counts as shipped at the platform."""
        with self.lock:
            return self.orders[number].shipped_ms is not None

    def stock(self, item: str, variant: str = "") -> int:
        """Return what the platform shows as available."""
        with self.lock:
            return self.items[item, variant].quantity

    # ------------------------------------------------------------ what the platform does on a call

    def listed(self, from_ms: int, to_ms: int) -> list[Placed]:
        """Return the orders modified in [from, to), oldest first."""
        with self.lock:
            found = [o for o in self.orders.values() if from_ms <= o.modified_ms < to_ms]
            return sorted(found, key=lambda o: (o.modified_ms, o.number))

    def find(self, number: str) -> Placed:
        """Return an order or refuse with 2001."""
        with self.lock:
            if number not in self.orders:
                raise Refusal(404, 2001, "no such order")
            return self.orders[number]

    def ship(self, number: str) -> None:
        """Set an order to shipped; refuse an unpaid, a refunding or a shipped one."""
        with self.lock:
            order = self.find(number)
            if order.shipped_ms is not None:
                raise Refusal(409, 2004, "shipped already")
            if order.status != "PAID":
                raise Refusal(409, 2002, f"order is {order.status}")
            if any(refund["state"] == "APPLIED" for refund in order.refunds.values()):
                raise Refusal(409, 2003, "a refund is open")
            order.status = "SHIPPED"
            order.shipped_ms = self.clock.now_ms()
            self._touch(order, None)

    def say(self, number: str, client_id: str, text: str) -> None:
        """Send a message to the buyer. Every call sends."""
        with self.lock:
            order = self.find(number)
            if not text or len(text) > MESSAGE_MAX:
                raise Refusal(422, 2005, "message empty or too long")
            order.messages.append(
                {"client_id": client_id, "text": text, "time_ms": self.clock.now_ms()}
            )

    def item(self, item: str, variant: str) -> Offer:
        """Return an item or refuse with 2006."""
        with self.lock:
            if (item, variant) not in self.items:
                raise Refusal(404, 2006, "no such item")
            return self.items[item, variant]

    def _line(self, number: int, line: Sold) -> dict[str, Any]:
        sold = self.items[line.item, line.variant]
        sold.quantity = max(0, sold.quantity - line.quantity)
        amount = line.amount_minor
        return {
            "line_no": str(number),
            "item": line.item,
            "variant": line.variant,
            "title": sold.title,
            "quantity": line.quantity,
            "amount_minor": sold.price_minor * line.quantity if amount is None else amount,
            "account": line.account,
        }

    def _touch(self, order: Placed, at_ms: int | None) -> None:
        now = self.clock.now_ms() if at_ms is None else at_ms
        order.modified_ms = max(order.modified_ms, now)


def order_json(order: Placed) -> dict[str, Any]:
    """Return an order as the platform prints it."""
    return {
        "number": order.number,
        "status": order.status,
        "created_ms": order.created_ms,
        "modified_ms": order.modified_ms,
        "paid_ms": order.paid_ms,
        "shipped_ms": order.shipped_ms,
        "total": format_plain(order.total_minor),
        "currency": "CNY",
        "pay_no": order.pay_no,
        "risk": order.risk,
        "note": order.note,
        "buyer": dict(order.buyer),
        "lines": [_priced(line) for line in order.lines],
        "refunds": [_priced(refund) for refund in order.refunds.values()],
    }


def _priced(row: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in row.items() if key != "amount_minor"}
    return shown | {"amount": format_plain(row["amount_minor"])}


def catalogue(path: Path) -> list[Offer]:
    """Read what a demo shop sells from a TOML file with `[[items]]` (data/demo/)."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Offer(
            item=row["item"],
            variant=row.get("variant", ""),
            title=row["title"],
            price_minor=parse_minor(row["price"]),
            quantity=int(row.get("quantity", 0)),
            code=row.get("code", ""),
        )
        for row in tables["items"]
    ]
