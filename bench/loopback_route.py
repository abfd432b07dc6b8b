"""A channel and its courier over the loopback server, built as real adapters are (adapters.http).

It is named by its dotted path in kmtool.toml; every call goes through the one HTTP client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from adapters.http import Client, Site, percent, write_json
from kmtool.ports import (
    AdapterSettings,
    AuthReport,
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
    title="loopback",
    kind="bench",
    mark_shipped=True,
    shipped_repeat=Repeat.IDEMPOTENT,
    notes=True,
    repeat=Repeat.QUERYABLE,
    repeat_max=3,
    parallel=4,
    options={"url": "where it listens"},
)


class Loopback:
    """Both ports in one."""

    features = FEATURES

    def __init__(self, client: Client) -> None:
        self._client = client

    def mark_shipped(self, order: OrderRef) -> Receipt:
        """Ship."""
        path = f"/orders/{percent(order.number)}/ship"
        self._client.send(write_json("POST", path, {"id": order.effect_id}))
        return Receipt("shipped")

    def send(self, message: Message) -> Receipt:
        """Send the message."""
        path = f"/orders/{percent(message.order_number)}/messages"
        body = {"id": message.effect_id, "text": message.text.text()}
        self._client.send(write_json("POST", path, body))
        return Receipt(message.effect_id)

    def refusal(self, message: Message) -> str:
        """Refuse nothing."""
        return ""

    def query(self, message: Message) -> Verdict:
        """Not be asked: nothing is lost on the way here."""
        return Verdict.UNCLEAR

    def query_shipped(self, order: OrderRef) -> Verdict:
        """Not be asked."""
        return Verdict.UNCLEAR

    def auth_check(self) -> AuthReport:
        """Be there."""
        return AuthReport(ok=True, detail="loopback")

    def list_changed(self, window: Window) -> Iterator[Page]:
        """Have no orders of its own: the benchmark places them."""
        yield Page((), last=True)

    def acknowledge(self, page: Page) -> None:
        """Do nothing."""

    def get_order(self, number: str) -> OrderFact | None:
        """Know no order."""
        return None

    def post_note(self, message: Message) -> Receipt:
        """Send the message."""
        return self.send(message)

    def find_note(self, message: Message) -> Verdict:
        """Not be asked."""
        return Verdict.UNCLEAR

    def ship_file(self, numbers: Sequence[str]) -> Path:
        """Write none."""
        raise NotImplementedError

    def list_items(self) -> Iterable[Item]:
        """List nothing."""
        return ()

    def push_stock(self, items: Sequence[StockPush]) -> None:
        """Take no figures."""

    def set_shelf(self, item_id: str, variant_id: str, *, on: bool) -> None:
        """Have no shelf."""


def build(settings: AdapterSettings) -> Loopback:
    """Build the channel, or the courier over the same address."""
    of = settings.channel
    if isinstance(of, Loopback):
        return of
    base = str(settings.options["url"])
    return Loopback(Client(Site(who=settings.name, base=base, clock=settings.clock)))
