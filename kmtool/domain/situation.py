"""What the gates look at for one line, and what they say of it: records without rules."""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.domain.states import Gate, Mode, OrderStatus, RefundState


@dataclass(frozen=True, slots=True)
class Limits:
    """The brakes of the shop; 0 switches one off."""

    below_cost: bool
    sku_pieces: int
    sku_value_minor: int
    buyer_pieces: int


@dataclass(slots=True)  # one for each line: a frozen one takes three times as long to make
class Situation:
    """All that the gates look at for one line. `cost_e5` is the dearest key that would leave,
    `route_broken` tells a route that cannot be used at all from one that refuses this buyer. Of a
    bundle, `sku_pieces_hour`, `burst_sku` and `burst_keys` are those of its busiest part."""

    channel: str
    number: str
    status: OrderStatus
    refund: RefundState
    currency: str
    shop_currency: str
    history: bool
    hold_reason: str
    released: bool
    risk: str
    mode: Mode
    title: str
    kind: str
    sku: str | None
    product_on: bool
    listing_on: bool
    quantity: int
    needed: int
    amount_minor: int
    listing_price_minor: int | None
    floor_minor: int | None
    cost_e5: int
    free: int
    sku_pieces_hour: int
    sku_value_hour_minor: int
    buyer_pieces_hour: int
    paused: str
    route_refusal: str
    limits: Limits
    route_broken: bool = False
    burst_sku: str = ""
    burst_keys: int = 0
    line_no: str = ""
    terms_refusal: str = ""
    account_refusal: str = ""
    spend_refusal: str = ""
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Shut:
    """A gate that is shut: why, and the command that opens it."""

    gate: Gate
    reason: str
    command: str
