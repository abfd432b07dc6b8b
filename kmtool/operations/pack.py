"""Makes a parcel: the buyer's text with the keys of some lines, sealed, its hand-over on record.

Nothing is bound for a text that does not render or that its route would refuse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from kmtool.domain.ids import ParcelId
from kmtool.domain.secret import Secret
from kmtool.domain.states import COUNTER, EffectKind
from kmtool.errors import KmError, Rejected
from kmtool.operations import routes
from kmtool.operations.facts import Facts
from kmtool.operations.messages import MessageLine, Templates
from kmtool.ports import Buyer, Message
from kmtool.shop import Shop
from kmtool.store import deliveries, effects
from kmtool.store.db import Row

_encode = json.JSONEncoder(ensure_ascii=False).encode
SCREEN = "screen"
"""The route of a sale by hand: the keys stand on the screen."""


def courier_name(shop: Shop, channel: str) -> str:
    """Return the first route of a channel; the counter hands over on the screen."""
    found = shop.config.channels.get(channel)
    if found is None:
        return SCREEN
    if found.couriers:
        return found.couriers[0]
    return "by_hand"


def route_refusal(shop: Shop, order: Row) -> tuple[str, bool]:
    """Return (why the route cannot reach this buyer, whether it is broken for every buyer)."""
    if order["channel"] == COUNTER:
        return "", False
    if order["channel"] not in shop.config.channels:
        return f"there is no [channels.{order['channel']}] in kmtool.toml", True
    marker = f"{order['code']}-0"
    return refusal(shop, order, message_of(order, marker, "", "", ()))


def refusal(shop: Shop, order: Row, message: Message) -> tuple[str, bool]:
    """Ask the route whether it would take a message; trouble of the route itself is told apart."""
    try:
        name = courier_name(shop, order["channel"])
        return routes.courier(shop, name, order["channel"]).refusal(message), False
    except KmError as error:
        return str(error), True


def message_of(
    order: Row, marker: str, subject: str, text: str, keys: tuple[Secret, ...]
) -> Message:
    """Return a message as couriers see it, ending in the mark by which it is found again."""
    return Message(
        effect_id=marker,
        channel=order["channel"],
        order_number=order["number"],
        subject=subject,
        text=Secret(f"{text}发货编号：{marker}\n"),
        marker=marker,
        buyer=buyer_of(order),
        keys=keys,
    )


def buyer_of(order: Row) -> Buyer:
    """Return the buyer of an order as adapters see it."""
    return Buyer(
        ref=order["buyer_ref"],
        name=order["buyer_name"],
        email=order["buyer_email"],
        phone=order["buyer_phone"],
    )


def address_digest(shop: Shop, order: Row) -> str:
    """Return a digest of where the keys go, to notice a contact that changed between attempts."""
    return shop.vault.digest(f"{order['buyer_email']}|{order['buyer_phone']}".encode())[:32]


def pack(
    shop: Shop,
    facts: Facts,
    bound: Sequence[tuple[Row, Sequence[tuple[Row, Sequence[Row]]]]],
    numbers: Mapping[int, int] | None = None,
) -> list[ParcelId]:
    """Write a parcel for each order with the lines that go and their keys; return the parcels.

    `numbers` (order → n) is for parcels that had a number before. Raises `KmError` when a text must
    not be sent: then nothing of the chunk may stay.
    """
    db, now = shop.db, facts.now_ms
    numbers = numbers or deliveries.next_parcels(db, [order["id"] for order, _ in bound])
    known = Templates(shop)
    rows = [
        _parcel(shop, facts, known, order, numbers[order["id"]], lines) for order, lines in bound
    ]
    found = deliveries.add_parcels(db, rows, [[line["id"] for line, _ in ls] for _, ls in bound])
    parcels = [found[row["order_id"], row["n"]] for row in rows]
    effects.add_effects(
        db,
        [
            {
                "order_id": order["id"],
                "parcel_id": parcel,
                "parcel_n": row["n"],
                "kind": EffectKind.HAND_OVER,
                "generation": 1,
                "channel": order["channel"],
                "route": row["courier"],
                "due_ms": now,
                "created_ms": now,
            }
            for (order, _), row, parcel in zip(bound, rows, parcels, strict=True)
        ],
    )
    shop.audit_many(
        [
            (
                "reserved",
                f"order:{order['channel']}:{order['number']}",
                f"{sum(len(keys) for _, keys in lines)} keys, parcel {row['n']}",
            )
            for (order, lines), row in zip(bound, rows, strict=True)
        ]
    )
    return parcels


def _parcel(
    shop: Shop,
    facts: Facts,
    known: Templates,
    order: Row,
    n: int,
    lines: Sequence[tuple[Row, Sequence[Row]]],
) -> Row:
    """Return the row of a parcel: its text rendered, asked of its route, and sealed."""
    shown = []
    for line, keys in lines:
        product = facts.products[line["sku"]]
        opened = tuple(open_key(shop, key) for key in keys)
        shown.append(
            MessageLine(line["title"] or product["title"], line["sku"], product["guide"], opened)
        )
    written = known.write(order["channel"], order["number"], order["code"], shown)
    if order["channel"] != COUNTER:
        marker = f"{order['code']}-{n}"
        message = message_of(order, marker, written.subject, written.text.text(), ())
        refused, _ = refusal(shop, order, message)
        if refused:
            raise Rejected(
                who=courier_name(shop, order["channel"]), detail="{reason}", reason=refused
            )
    body = _encode({"subject": written.subject, "text": written.text.text()})
    sealed, data_key = shop.vault.seal(Secret(body), parcel_label(order, n))
    return {
        "order_id": order["id"],
        "n": n,
        "courier": courier_name(shop, order["channel"]),
        "address_digest": address_digest(shop, order),
        "sealed": sealed,
        "data_key_id": data_key,
        "created_ms": facts.now_ms,
    }


def open_key(shop: Shop, key: Row) -> Secret:
    """Open the key of a row of `keys` (or an allocation joined with it)."""
    return shop.vault.open(key["sealed"], key["data_key_id"], bytes(key["fingerprint"]))


def parcel_label(order: Row, n: int) -> bytes:
    """Return the label a parcel's text is sealed under."""
    return f"parcel:{order['channel']}:{order['number']}:{n}".encode()
