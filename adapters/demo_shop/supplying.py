"""The simulated shop as a supplier: it sells top-ups to the shop that kmtool runs.

The supplier's rules, as its documents would state them
-------------------------------------------------------
- Signature and envelope as for the marketplace (adapters/demo_shop). Money is yuan text.
- `GET /supply/balance` → `{balance, currency}`
- `POST /supply/orders` `{our_no, good, quantity, account, max_amount}` → the order. A number that
  is known returns its order as it stands now, and nothing is bought (**replay**); with another
  good, quantity or account it is 409 5004. Refusals buy nothing: 404: 5001 no such good · 422: 5002
  account not accepted · 409: 5003 the amount is above max_amount, 5005 balance too low, 5006 sold
  out.
- `GET /supply/orders/OUR_NO` → the order, 404: 5007 when the number is not known.
- An order: `{our_no, order_no, good, quantity, account, state, amount, charged, time_ms, proof}`.
  `amount` is the price confirmed. State PROCESSING, then DONE (with `charged` and `proof`) or
  FAILED (the money is back in the balance).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from threading import RLock
from typing import Any

from adapters.demo_shop.truth import Refusal
from kmtool.clock import Clock
from kmtool.domain.money import format_plain, parse_minor

QUANTITY_MAX = 100


@dataclass
class Good:
    """Something this supplier charges accounts with. `takes` is the pattern of an account."""

    good: str
    title: str
    price_minor: int
    left: int = 1_000
    takes: str = r"[0-9A-Za-z@._-]{3,64}"


@dataclass
class Supplied:
    """An order as the supplier holds it; `surcharge_minor` is taken beside the agreed price."""

    our_no: str
    order_no: str
    good: str
    quantity: int
    account: str
    amount_minor: int
    placed_ms: int
    ready_ms: int
    surcharge_minor: int = 0
    failed: bool = False
    refunded: bool = False


class Supply:
    """What the supplier really did. `delay_ms` is how long a top-up takes by the shop's clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = RLock()
        self.balance_minor = 100_000
        self.delay_ms = 0
        self.surcharge_minor = 0
        self.fail_next = 0
        self.goods: dict[str, Good] = {}
        self.orders: dict[str, Supplied] = {}

    def add_good(self, good: Good) -> None:
        """Put something on offer."""
        with self.lock:
            self.goods[good.good] = good

    def charged(self, account: str) -> int:
        """Return how many units an account was charged with (the truth at the buyer's)."""
        with self.lock:
            return sum(
                order.quantity
                for order in self.orders.values()
                if order.account == account and self._state(order) == "DONE"
            )

    def balance(self) -> dict[str, str]:
        """Return what `GET /supply/balance` tells."""
        with self.lock:
            return {"balance": format_plain(self.balance_minor), "currency": "CNY"}

    def place(self, given: dict[str, Any]) -> dict[str, Any]:
        """Buy, or return the order that has this number already."""
        our_no, name, quantity, account, most = _asked(given)
        with self.lock:
            known = self.orders.get(our_no)
            if known is not None:
                if (known.good, known.quantity, known.account) != (name, quantity, account):
                    raise Refusal(409, 5004, "number in use for another order")
                return self._shown(known)
            good = self.goods.get(name)
            if good is None:
                raise Refusal(404, 5001, "no such good")
            if not re.fullmatch(good.takes, account):
                raise Refusal(422, 5002, "account not accepted")
            amount = good.price_minor * quantity
            if amount > most:
                raise Refusal(409, 5003, "the price is above max_amount")
            if good.left < quantity:
                raise Refusal(409, 5006, "sold out")
            if amount > self.balance_minor:
                raise Refusal(409, 5005, "balance too low")
            now = self.clock.now_ms()
            failed, self.fail_next = self.fail_next > 0, max(0, self.fail_next - 1)
            order = Supplied(
                our_no=our_no,
                order_no=f"SP{len(self.orders) + 1:08d}",
                good=name,
                quantity=quantity,
                account=account,
                amount_minor=amount,
                placed_ms=now,
                ready_ms=now + self.delay_ms,
                surcharge_minor=self.surcharge_minor,
                failed=failed,
            )
            good.left -= quantity
            self.balance_minor -= amount + order.surcharge_minor
            self.orders[our_no] = order
            return self._shown(order)

    def find(self, our_no: str) -> dict[str, Any]:
        """Return an order by the shop's number."""
        with self.lock:
            if our_no not in self.orders:
                raise Refusal(404, 5007, "number not known")
            return self._shown(self.orders[our_no])

    def _state(self, order: Supplied) -> str:
        if self.clock.now_ms() < order.ready_ms:
            return "PROCESSING"
        if order.failed and not order.refunded:
            order.refunded = True
            self.balance_minor += order.amount_minor + order.surcharge_minor
        return "FAILED" if order.failed else "DONE"

    def _shown(self, order: Supplied) -> dict[str, Any]:
        state = self._state(order)
        done = state == "DONE"
        charged = order.amount_minor + order.surcharge_minor
        return {
            "our_no": order.our_no,
            "order_no": order.order_no,
            "good": order.good,
            "quantity": order.quantity,
            "account": order.account,
            "state": state,
            "amount": format_plain(order.amount_minor),
            "charged": format_plain(charged) if done else None,
            "time_ms": order.ready_ms if done else order.placed_ms,
            "proof": f"{self.goods[order.good].title} × {order.quantity} 已到账" if done else "",
        }


def _asked(given: dict[str, Any]) -> tuple[str, str, int, str, int]:
    our_no, quantity = str(given.get("our_no", "")), given.get("quantity")
    if not re.fullmatch(r"[A-Za-z0-9-]{6,40}", our_no):
        raise Refusal(400, 3001, "our_no")
    if not isinstance(quantity, int) or not 1 <= quantity <= QUANTITY_MAX:
        raise Refusal(400, 3001, "quantity")
    try:
        most = parse_minor(str(given["max_amount"]))
    except (KeyError, ValueError):
        raise Refusal(400, 3001, "max_amount") from None
    return our_no, str(given.get("good", "")), quantity, str(given.get("account", "")), most
