"""What routes may still carry: limits in force, uses counted before anything is sent.

A use is on record with its intent. One whose outcome is unclear stays used; one that certainly did
not send is given back.
"""

from __future__ import annotations

from collections.abc import Iterable

from kmtool.domain.ids import EffectId
from kmtool.domain.packing import ROUTE, Limits, Quota, Room, limits, room
from kmtool.errors import KmError
from kmtool.operations import routes
from kmtool.shop import Shop
from kmtool.store import route_uses
from kmtool.store.db import Row

_UNBOUND = room((), (), (), 0)
"""Of a route without a quota."""


class Rooms:
    """What the quotas of routes leave for some orders: read once, counted on in memory.

    With `packing`, what is bound already and waits to leave by a route takes its room too. `hold`
    and `write` belong into the transaction of the intents: what was counted under the lock of a
    route is on record before anything is sent by it.
    """

    def __init__(self, shop: Shop, order_ids: Iterable[int], *, packing: bool = False) -> None:
        self.shop = shop
        self._packing = packing
        self._orders = sorted(set(order_ids))
        self._limits: dict[tuple[str, str], Limits] = {}
        self._quotas_of: dict[tuple[str, str], tuple[Quota, ...]] = {}
        self._of_route: dict[str, list[int]] = {}
        self._of_order: dict[str, dict[int, list[int]]] = {}
        self._new: list[Row] = []

    def limits(self, route: str, channel: str) -> Limits:
        """Return what a route bears; raises `KmError` when it cannot be built."""
        if (route, channel) not in self._limits:
            declared = routes.courier(self.shop, route, channel).features
            own = self.shop.config.couriers.get(route)
            self._limits[route, channel] = limits(
                declared.text_max,
                declared.quota,
                own_text_max=own.text_max if own else 0,
                per_order=own.per_order if own else 0,
                per_hour=own.per_hour if own else 0,
                per_day=own.per_day if own else 0,
            )
        return self._limits[route, channel]

    def hold(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Lock those of some (route, channel) that have a quota, and count them anew."""
        held = {route for route, channel in pairs if self._quotas(route, channel)}
        route_uses.lock(self.shop.db, sorted(held), self.shop.now_ms())
        for route in held:
            self._of_route.pop(route, None)
            self._of_order.pop(route, None)

    def left(self, route: str, channel: str, order_id: int, wanted: int = 1) -> Room:
        """Return how many messages of an order a route takes now."""
        quotas = self._quotas(route, channel)
        if not quotas:
            return _UNBOUND
        now, db = self.shop.now_ms(), self.shop.db
        if route not in self._of_route:
            of_route = [quota for quota in quotas if quota.scope == ROUTE]
            since = now - max((quota.period_ms for quota in of_route), default=0)
            most = max((quota.limit for quota in of_route), default=0)
            self._of_route[route] = route_uses.of_route(db, route, since, most) if of_route else []
            self._of_order[route] = route_uses.of_orders(db, route, self._orders)
            for row in route_uses.bound(db, route) if self._packing else ():
                self._of_route[route].insert(0, now)
                self._of_order[route].setdefault(row["order_id"], []).insert(0, now)
        mine = self._of_order[route].get(order_id, [])
        return room(quotas, mine, self._of_route[route], now, wanted)

    def use(self, route: str, channel: str, effect: Row, n: int) -> None:
        """Count one send of an effect, its try n."""
        if self._quotas(route, channel):
            self.plan(route, channel, effect["order_id"], 1)
            self._new.append(
                {
                    "route": route,
                    "order_id": effect["order_id"],
                    "effect_id": effect["id"],
                    "n": n,
                    "at_ms": self.shop.now_ms(),
                }
            )

    def plan(self, route: str, channel: str, order_id: int, messages: int) -> None:
        """Count messages that were packed for a route, for as long as this look lasts."""
        if self._quotas(route, channel):
            self.left(route, channel, order_id)  # what is on record comes first
            moments = [self.shop.now_ms()] * messages
            self._of_route[route][:0] = moments
            self._of_order[route].setdefault(order_id, [])[:0] = moments

    def write(self) -> None:
        """Put what was used on record."""
        route_uses.add(self.shop.db, self._new)
        self._new.clear()

    def _quotas(self, route: str, channel: str) -> tuple[Quota, ...]:
        if (route, channel) not in self._quotas_of:
            try:
                self._quotas_of[route, channel] = self.limits(route, channel).quotas
            except KmError:
                self._quotas_of[route, channel] = ()
        return self._quotas_of[route, channel]


def give_back(shop: Shop, effect: Row, n: int) -> None:
    """Give back the use of a try that certainly did not send (nothing when none was counted)."""
    route_uses.give_back(shop.db, EffectId(effect["id"]), n)
