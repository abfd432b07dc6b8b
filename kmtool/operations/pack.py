"""Makes a parcel: the buyer's text with the keys of some lines, sealed, its hand-over on record.

Nothing is bound for a text that does not render or that its route would refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from json.encoder import encode_basestring as _quoted

from kmtool.domain.ids import ParcelId
from kmtool.domain.secret import Secret
from kmtool.domain.states import COUNTER, EffectKind
from kmtool.operations import chain, pictured
from kmtool.operations.chain import SCREEN as SCREEN
from kmtool.operations.facts import Facts
from kmtool.operations.messages import MARK, Templates, Written
from kmtool.operations.quotas import Rooms
from kmtool.operations.split import TURN_MS, Line, Part
from kmtool.ports import Buyer, Message
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, route_uses
from kmtool.store.db import Row


def courier_name(shop: Shop, channel: str) -> str:
    """Return the first route of a channel; the counter hands over on the screen."""
    return chain.names(shop, channel)[0]


def route_refusal(shop: Shop, order: Row, rooms: Rooms | None = None) -> tuple[str, bool]:
    """Return (why no route reaches this buyer, whether all are broken for every buyer)."""
    if order["channel"] == COUNTER:
        return "", False
    if order["channel"] not in shop.config.channels:
        return f"there is no [channels.{order['channel']}] in kmtool.toml", True
    marker = f"{order['code']}-0"
    message = message_of(order, marker, "", "", ())
    return chain.refusal(
        shop, rooms or Rooms(shop, [order["id"]], packing=True), message, order["id"]
    )


def message_of(
    order: Row,
    marker: str,
    subject: str,
    text: str,
    keys: tuple[Secret, ...],
    mark: str = MARK,
) -> Message:
    """Return a message as couriers see it, ending in the mark by which it is found again."""
    return Message(
        effect_id=marker,
        channel=order["channel"],
        order_number=order["number"],
        subject=subject,
        text=Secret(f"{text}{mark.replace('{marker}', marker)}\n"),
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


@dataclass(slots=True)  # one for each parcel: a frozen one takes four times as long to make
class Packed:
    """A parcel before it is written: the lines it hands over, the keys that stand in it."""

    order: Row
    row: Row
    line_ids: tuple[int, ...]
    part: Part
    place: tuple[int, int]


def pack(
    shop: Shop,
    facts: Facts,
    bound: Sequence[tuple[Row, Sequence[tuple[Row, Sequence[Row]]]]],
    numbers: Mapping[int, int] | None = None,
) -> list[tuple[Row, Sequence[Row], ParcelId]]:
    """Write the parcels of orders with the lines that go and their keys: one each, or its parts.

    Returns (line, keys, parcel): which keys stand in which. `numbers` (order → n) is for parcels
    that had a number before; they are not parted. Raises `KmError` when a text must not be sent:
    then nothing of the chunk may stay.
    """
    db = shop.db
    first = numbers or deliveries.next_parcels(db, [order["id"] for order, _ in bound])
    known, rooms = Templates(shop), facts.rooms
    packed = [
        one
        for order, lines in bound
        for one in _parcels(_Work(shop, facts, known, rooms, not numbers), order, first, lines)
    ]
    found = deliveries.add_parcels(
        db, [one.row for one in packed], [list(one.line_ids) for one in packed]
    )
    for one in packed:
        if one.place[1] > 1:
            route_uses.set_parts(db, found[one.order["id"], one.row["n"]], *one.place)
    _hand_over(shop, packed, found)
    return [
        (line, keys, found[one.order["id"], one.row["n"]])
        for one in packed
        for line, keys in one.part.bound
    ]


def _hand_over(
    shop: Shop, packed: Sequence[Packed], found: Mapping[tuple[int, int], ParcelId]
) -> None:
    """Put the hand-overs of parcels on record; the later parts of a message wait for their turn."""
    effects.add_effects(
        shop.db,
        [
            {
                "order_id": one.order["id"],
                "parcel_id": found[one.order["id"], one.row["n"]],
                "parcel_n": one.row["n"],
                "kind": EffectKind.HAND_OVER,
                "generation": 1,
                "channel": one.order["channel"],
                "route": one.row["courier"],
                "due_ms": one.row["created_ms"] + (TURN_MS if one.place[0] > 1 else 0),
                "created_ms": one.row["created_ms"],
            }
            for one in packed
        ],
    )
    shop.audit_many(
        [
            (
                "reserved",
                f"order:{one.order['channel']}:{one.order['number']}",
                f"{sum(len(keys) for _, keys in one.part.bound)} keys, parcel {one.row['n']}",
            )
            for one in packed
        ]
    )


@dataclass(frozen=True, slots=True)
class _Work:
    shop: Shop
    facts: Facts
    known: Templates
    rooms: Rooms
    may_part: bool


def _parcels(
    work: _Work,
    order: Row,
    first: Mapping[int, int],
    lines: Sequence[tuple[Row, Sequence[Row]]],
) -> list[Packed]:
    """Return the parcels of an order: texts rendered, asked of their route, and sealed."""
    n = first[order["id"]]
    opened = {key["id"]: open_key(work.shop, key) for _, keys in lines for key in keys}

    def write(bound: Sequence[Line], part: tuple[int, int]) -> Written:
        products = work.facts.products
        shown = [
            one
            for line, keys in bound
            for one in pictured.message_lines(products, line, keys, opened)
        ]
        written = work.known.write(order["channel"], order["number"], order["code"], shown, part)
        ids = [key["id"] for _, keys in bound for key in keys]
        files = pictured.attachments((number, opened[number]) for number in ids)
        return replace(written, attachments=files) if files else written

    def message(written: Written, at: int) -> Message:
        marker, text = f"{order['code']}-{n + at}", written.text.text()
        found = message_of(order, marker, written.subject, text, (), written.mark)
        return replace(found, attachments=written.attachments) if written.attachments else found

    whole = [(line, list(keys)) for line, keys in lines]
    chosen = chain.choose(work.rooms, order, whole, write, message, may_part=work.may_part)
    return [
        Packed(
            order,
            _row(work, order, n + at, chosen.route, part.written),
            tuple(line["id"] for line, _ in lines),
            part,
            (at + 1, len(chosen.parts)),
        )
        for at, part in enumerate(chosen.parts)
    ]


def _row(work: _Work, order: Row, n: int, route: str, written: Written) -> Row:
    """Return the row of a parcel with its sealed text."""
    body = (
        f'{{"subject": {_quoted(written.subject)}, "text": {_quoted(written.text.text())},'
        f' "mark": {_quoted(written.mark)}}}'
    )
    text = Secret(body)
    sealed, data_key = work.shop.vault.seal(text, parcel_label(order, n))
    return {
        "order_id": order["id"],
        "n": n,
        "courier": route,
        "address_digest": address_digest(work.shop, order),
        "sealed": sealed,
        "data_key_id": data_key,
        "created_ms": work.facts.now_ms,
    }


def open_key(shop: Shop, key: Row) -> Secret:
    """Open the key of a row of `keys` (or an allocation joined with it)."""
    return shop.vault.open(key["sealed"], key["data_key_id"], bytes(key["fingerprint"]))


def parcel_label(order: Row, n: int) -> bytes:
    """Return the label a parcel's text is sealed under."""
    return f"parcel:{order['channel']}:{order['number']}:{n}".encode()
