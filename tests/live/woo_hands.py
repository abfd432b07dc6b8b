"""The hands of buyers and administrators at a real WooCommerce shop, and what they see there."""

from __future__ import annotations

import html
import os
import random
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from adapters import signing
from adapters.http import Client, Site, get, write_json
from kmtool.clock import SystemClock
from kmtool.domain.secret import Secret
from kmtool.errors import OutsideError

NAMES = ("KMTOOL_LIVE_WOO_URL", "KMTOOL_LIVE_WOO_CK", "KMTOOL_LIVE_WOO_CS")
MISSING = [name for name in NAMES if not os.environ.get(name)]
KEY = re.compile(r"KEY-[A-Z0-9]+-\d+")
AT_ONCE = 50
DEEDS = (
    "note", "touch", "touch", "quantity", "cancel", "refund_part", "refund_full", "on_hold",
    "on_hold_and_back", "completed_by_hand",
)  # fmt: skip
CLOCK = SystemClock()


@dataclass(frozen=True, slots=True)
class Seen:
    """One order as the server shows it at the end. `texts` are its notes to the buyer."""

    number: str
    status: str
    refunded: bool
    quantities: dict[str, int]
    texts: tuple[str, ...]

    @property
    def with_keys(self) -> list[str]:
        """The notes that hold keys."""
        return [text for text in self.texts if KEY.search(text)]

    @property
    def keys(self) -> list[str]:
        """The keys of all notes, in order."""
        return [key for text in self.texts for key in KEY.findall(text)]


class Owner:
    """A client with the rights of the shop's owner, straight to the server."""

    def __init__(self) -> None:
        url, key, secret = (os.environ[name] for name in NAMES)
        sign = signing.oauth1(Secret(key), Secret(secret), CLOCK)
        base = f"{url}/wp-json/wc/v3"
        self._client = Client(Site("owner", base, CLOCK, sign, read_s=120.0, total_s=300.0))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, path: str, **query: object) -> Any:
        """Read something."""
        return self._client.send(get(path, {k: str(v) for k, v in query.items()})).data

    def do(self, method: str, path: str, data: object) -> Any:
        """Write something."""
        return self._client.send(write_json(method, path, data)).data

    def storage(self) -> str:
        """Tell how the server keeps its orders."""
        found = self.ask("/system_status", _fields="settings")["settings"]
        return "HPOS" if found["HPOS_enabled"] else "classic"

    def products(self) -> list[dict[str, Any]]:
        """Return the plain products on offer, by id."""
        found = self.ask("/products", per_page=100, type="simple", orderby="id", order="asc")
        return [p for p in found if p["price"]]

    def order(self, baskets: Sequence[dict[int, int]], *, paid: bool = True) -> list[str]:
        """Place orders, given as product → quantity; return their numbers."""
        numbers: list[str] = []
        for start in range(0, len(baskets), AT_ONCE):
            made = [_order(basket, paid) for basket in baskets[start : start + AT_ONCE]]
            answer = self.do("POST", "/orders/batch", {"create": made})["create"]
            numbers += [str(one["id"]) for one in answer]
        return numbers

    def pay(self, number: str) -> None:
        """Pay an order that waited for it."""
        self.do("PUT", f"/orders/{number}", {"status": "processing", "set_paid": True})

    def disturb(self, number: str, deed: str, chance: random.Random | None = None) -> str:
        """Do one thing to an order; return what was done (a refusal is said so)."""
        path, dice = f"/orders/{number}", chance or random.Random(1)
        try:
            match deed:
                case "note" | "touch":
                    self.do("PUT", path, {"customer_note": f"demo {deed} {dice.random():.6f}"})
                case "quantity":
                    line = self.ask(path)["line_items"][0]
                    changed = {"id": line["id"], "quantity": line["quantity"] % 3 + 1}
                    self.do("PUT", path, {"line_items": [changed]})
                case "cancel":
                    self.do("PUT", path, {"status": "cancelled"})
                case "refund_part" | "refund_full":
                    total = self.ask(path)["total"]
                    amount = total if deed == "refund_full" else "0.01"
                    refund = {"amount": amount, "api_refund": False}
                    self.do("POST", f"{path}/refunds", refund)
                case "on_hold":
                    self.do("PUT", path, {"status": "on-hold"})
                case "on_hold_and_back":
                    self.do("PUT", path, {"status": "on-hold"})
                    CLOCK.sleep(dice.random() * 2)
                    self.do("PUT", path, {"status": "processing"})
                case "completed_by_hand":
                    self.do("PUT", path, {"status": "completed"})
        except OutsideError as error:
            return f"{deed}: {error}"
        return deed

    def look(self, numbers: Iterable[str]) -> dict[str, Seen]:
        """Read orders and their notes to the buyer."""
        wanted = list(numbers)
        raws: list[dict[str, Any]] = []
        for start in range(0, len(wanted), 100):
            part = ",".join(wanted[start : start + 100])
            raws += self.ask("/orders", include=part, per_page=100, status="any")
        with ThreadPoolExecutor(4) as pool:
            return {seen.number: seen for seen in pool.map(self._seen, raws)}

    def _seen(self, raw: dict[str, Any]) -> Seen:
        notes = self.ask(f"/orders/{raw['id']}/notes", type="customer")
        return Seen(
            number=str(raw["id"]),
            status=raw["status"],
            refunded=bool(raw["refunds"]) or raw["status"] == "refunded",
            quantities={str(line["id"]): line["quantity"] for line in raw["line_items"]},
            texts=tuple(html.unescape(note["note"]) for note in notes),
        )


def _order(basket: dict[int, int], paid: bool) -> dict[str, Any]:
    return {
        "set_paid": paid, "currency": "CNY", "payment_method": "alipay",
        "line_items": [{"product_id": item, "quantity": n} for item, n in basket.items()],
        "billing": {"first_name": "demo", "email": "demo@example.com"},
    }  # fmt: skip


def basket(items: Sequence[int], chance: random.Random) -> dict[int, int]:
    """Return one to two products with one to three pieces each."""
    chosen = chance.sample(items, 1 if chance.random() < 0.8 else 2)
    return {item: chance.randint(1, 3) for item in chosen}
