"""Couriers under the test's control, several beside each other: a chain of routes.

`[couriers.NAME] adapter = "tests.operations.route_kit"` builds one; `route(NAME)` is the world
behind it, whose `features` decide how it repeats and what it bears. A send uses up one fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.errors import ConfigError, NeedsOperator, Rejected, Retriable, Unknown
from kmtool.ports import AdapterSettings, Features, Message, Receipt, Repeat, Verdict
from kmtool.shop import Shop

FEATURES = Features(title="route", kind="test", repeat=Repeat.QUERYABLE, repeat_max=3)
ADAPTER = "tests.operations.route_kit"
NO_BRAKES = """
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
"""


@dataclass
class Route:
    """The truth behind one route: what reached the buyers by it."""

    features: Features = FEATURES
    sent: list[Message] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    refuses: str = ""
    broken: str = ""
    verdict: Verdict | None = None
    away: bool = False
    asked: int = 0
    during_query: Callable[[], None] | None = None
    during_send: Callable[[Message], None] | None = None

    def declare(self, **features: Any) -> None:
        """Change what the route declares."""
        self.features = replace(self.features, **features)

    def texts(self) -> list[str]:
        """Return the texts that arrived."""
        return [message.text.text() for message in self.sent]

    def keys(self) -> list[str]:
        """Return the keys that arrived, as often as they did."""
        return re.findall(r"^KEY-\S+$", "\n".join(self.texts()), re.MULTILINE)


ROUTES: dict[str, Route] = {}


def route(name: str) -> Route:
    """Return (and make) the world behind a route."""
    return ROUTES.setdefault(name, Route())


class Kit:
    """The courier port over a route's world."""

    def __init__(self, name: str) -> None:
        self.route = route(name)
        if self.route.broken:
            raise ConfigError(detail="{problem}", problem=self.route.broken)

    @property
    def features(self) -> Features:
        return self.route.features

    def refusal(self, message: Message) -> str:
        return self.route.refuses

    def send(self, message: Message) -> Receipt:
        if self.route.during_send is not None:
            self.route.during_send(message)
        match self.route.faults.pop(0) if self.route.faults else "":
            case "down":
                raise Retriable(who="route", detail="connection refused", after_s=5)
            case "rejected":
                raise Rejected(who="route", detail="business refusal")
            case "login":
                raise NeedsOperator(who="route", detail="token expired")
            case "lost":
                self.route.sent.append(message)
                raise Unknown(who="route", detail="reply lost")
            case "unknown":
                raise Unknown(who="route", detail="time-out, nothing arrived")
            case "crash":
                self.route.sent.append(message)
                raise KeyboardInterrupt
            case "crash_before":
                raise KeyboardInterrupt
        self.route.sent.append(message)
        return Receipt("sent")

    def query(self, message: Message) -> Verdict:
        self.route.asked += 1
        if self.route.away:
            raise Retriable(who="route", detail="connection refused", after_s=5)
        if self.route.verdict is not None:
            return self.route.verdict
        there = any(one.marker == message.marker for one in self.route.sent)
        if self.route.during_query is not None:  # the answer is made up and on its way
            self.route.during_query()
        return Verdict.DONE if there else Verdict.NOT_DONE


def build(settings: AdapterSettings) -> Kit:
    """Build a courier."""
    return Kit(settings.name)


def chained(*names: str, settings: str = "", deliver: str = "") -> str:
    """Return the lines of kmtool.toml for some routes; `settings` are of the first."""
    lines = [NO_BRAKES, "[deliver]", deliver]
    if "reread_after" not in deliver:
        lines.append('reread_after = "100d"')
    for n, name in enumerate(names):
        if name != "by_hand":
            lines += [f"[couriers.{name}]", f'adapter = "{ADAPTER}"', "" if n else settings]
    return "\n".join(lines) + "\n"


def open_chain(
    make_config: Any, clock: ManualClock, *names: str, settings: str = "", deliver: str = ""
) -> Any:
    """Return an open shop (a context) whose channel shop1 has a chain of routes."""
    ROUTES.clear()
    config = make_config(
        chained(*names, settings=settings, deliver=deliver), courier='", "'.join(names)
    )
    create_shop(config, clock)
    return open_shop(config, clock=clock)


def parcels(shop: Shop) -> list[dict[str, Any]]:
    """Return the hand-overs with their parcels, in order."""
    return shop.db.all(
        "SELECT p.n, p.part, p.parts, p.courier, e.route, e.state, e.tries, e.due_ms, e.reason"
        " FROM parcels p JOIN effects e ON e.parcel_id = p.id AND e.kind = 'hand_over'"
        " ORDER BY p.id, e.generation"
    )


def tries(shop: Shop) -> list[tuple[str, str]]:
    """Return (route, state) of every try of a hand-over, oldest first."""
    rows = shop.db.all(
        "SELECT a.route, a.state FROM attempts a JOIN effects e ON e.id = a.effect_id"
        " WHERE e.kind = 'hand_over' ORDER BY a.id"
    )
    return [(row["route"], row["state"]) for row in rows]
