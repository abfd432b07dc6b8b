"""The platform behind a channel under a test: what it is asked to do, and what goes wrong there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import Protocol

import pytest

from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret
from kmtool.errors import NeedsOperator, OutsideError, Retriable, Unknown
from kmtool.ports import Buyer, Channel, Message, OrderFact, Window

KEY = "SECRET-KEY-7Q7Q"


class Fault(Enum):
    """What goes wrong with one call: (did it happen over there, what a write must raise)."""

    DROPPED = (0, False, Unknown)
    LOST = (1, True, Unknown)
    HALF = (2, True, Unknown)
    ERROR = (3, False, Unknown)
    ERROR_AFTER = (4, True, Unknown)
    NONSENSE = (5, True, Unknown)
    SLOW = (6, True, Unknown)
    BUSY = (7, False, Retriable)
    DENIED = (8, False, NeedsOperator)

    @property
    def acts(self) -> bool:
        """Whether the platform does it all the same."""
        return self.value[1]

    @property
    def error(self) -> type[OutsideError]:
        """What the channel must raise when it meets this fault at a write."""
        return self.value[2]


class World(Protocol):
    """The platform behind a channel. Order numbers are the platform's own."""

    channel: Channel
    clock: ManualClock
    page_size: int
    missing: str
    resolution_ms: int
    faults: frozenset[Fault]

    def add_order(self, *, quantity: int = 1, amount_minor: int = 1000, paid: bool = True) -> str:
        """Add an order of one line, modified now."""

    def touch(self, number: str) -> None:
        """Change something of the order that does not matter: it counts as modified now."""

    def cancel(self, number: str) -> None:
        """Cancel the order."""

    def refund(self, number: str, amount_minor: int | None = None) -> None:
        """Give money back: a part, or all of it."""

    def shipped(self, number: str) -> bool:
        """Return whether the platform counts the order as shipped."""

    def received(self, number: str) -> list[str]:
        """Return the texts the buyer got, as the buyer reads them."""

    def stock(self, item_id: str, variant_id: str) -> int:
        """Return the quantity listed."""

    def fail(self, call: str, fault: Fault) -> None:
        """Let the next `ship`, `note` or `orders` call go wrong."""

    def before_call(self, hook: Callable[[str], None] | None) -> None:
        """Call `hook(name)` before every call is answered."""

    def offline(self) -> AbstractContextManager[None]:
        """Be away: nobody listens."""

    def stranger(self) -> Channel:
        """Return a channel with credentials that do not work."""


def needs(world: World, feature: str) -> None:
    if not getattr(world.channel.features, feature):
        pytest.skip(f"this channel has no {feature}")


def arm(world: World, call: str, fault: Fault) -> None:
    if fault not in world.faults:
        pytest.skip(f"this world cannot do {fault.name}")
    world.fail(call, fault)


def pull(world: World, window: Window | None = None) -> list[OrderFact]:
    now_ms = world.clock.now_ms()
    chosen = window or Window(now_ms - 3_600_000, now_ms + world.resolution_ms)
    pages = list(world.channel.list_changed(chosen))
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert all(page.rejects == () for page in pages)
    return [order for page in pages for order in page.orders]


def note(number: str, effect_id: str = "e-1", text: str = "") -> Message:
    marker = f"km:{effect_id}"
    whole = text or f"卡密 {KEY}"
    return Message(effect_id, "it", number, "", Secret(f"{whole}\n{marker}"), marker, Buyer())


def quiet(error: BaseException, *secrets: str) -> None:
    """Check that neither an error nor what hangs on it tells a secret."""
    seen: BaseException | None = error
    while seen is not None:
        for secret in secrets:
            assert secret not in f"{seen!r} {seen} {vars(seen)}"
        seen = seen.__cause__ or seen.__context__


def wait_for(true: Callable[[], bool], tries: int = 100) -> None:
    """Wait until something over there has happened; a call that broke may still be at work."""
    from threading import Event

    for _ in range(tries):
        if true():
            return
        Event().wait(0.02)
    assert true()
