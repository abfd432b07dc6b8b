"""The evidence sheet of an order: what was sent, when, by which way, and what answered.

It is for a dispute with a buyer or a platform, so notes of the shop stay out of it, keys are masked
(unless the whole key is the point, which is audited), and the same books give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmtool.clock import iso_text
from kmtool.domain.ids import OrderId
from kmtool.domain.secret import Secret
from kmtool.domain.states import EffectKind
from kmtool.errors import Broken, UsageError
from kmtool.operations import evidence_pages
from kmtool.operations.find_order import named
from kmtool.operations.refund_case import decisions
from kmtool.sheets_write import write_bytes
from kmtool.shop import Shop
from kmtool.store import deliveries, effects, house, orders
from kmtool.store import refunds as store
from kmtool.store.db import Row

SUFFIXES = (".html", ".json", ".txt")
OURS = {"note", "order_note", "hold", "release"}
"""Rows of the audit that are the shop's own affair."""
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EvidenceWritten:
    """An evidence sheet: where it lies and the hash by which it is recognised."""

    channel: str
    number: str
    file: str
    keys: int
    attempts: int
    sha256: str
    revealed: bool


def write(shop: Shop, number: str, target: Path, *, reveal: bool = False) -> EvidenceWritten:
    """Write the sheet as .html, .json or .txt. Raises `UsageError`, `NotFound`, `FileNotWritten`.

    With `reveal` it holds whole keys: that is on record before the file is there, and the file is
    for its owner alone.
    """
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            detail="the suffix of {name} says no format",
            name=target.name,
            mend="kmtool order evidence {number} -o evidence.html, .json or .txt",
            number=number,
        )
    if reveal:
        shop.must_be_writable()
    order = named(shop, number)
    found = gather(shop, order, reveal=reveal)
    if reveal:
        _put_on_record(shop, order, target)
    chinese = shop.config.shop.language.lower().startswith("zh")
    match suffix:
        case ".json":
            text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
        case ".txt":
            text = evidence_pages.text(found, chinese=chinese)
        case _:
            text = evidence_pages.html(found, chinese=chinese)
    data = text.encode("utf-8", "backslashreplace")
    path = write_bytes(target, data, private=reveal)
    return EvidenceWritten(
        channel=order["channel"],
        number=order["number"],
        file=str(path),
        keys=len(found["keys"]),
        attempts=sum(len(effect["attempts"]) for effect in found["effects"]),
        sha256=hashlib.sha256(data).hexdigest(),
        revealed=reveal,
    )


def gather(shop: Shop, order: Row, *, reveal: bool = False) -> Facts:
    """Return all facts of the sheet, in the order in which it shows them."""
    order_id, zone = OrderId(order["id"]), shop.config.shop.timezone
    bound = store.all_allocations(shop.db, order_id)
    keys = {row["id"]: _opened(shop, row) for row in bound}
    return {
        "shop": shop.config.shop.name,
        "channel": order["channel"],
        "order": order["number"],
        "buyer": order["buyer_name"],
        "contact": order["buyer_email"] or order["buyer_phone"],
        "status": order["status"],
        "refund": order["refund"],
        "total": order["total_minor"],
        "refunded": order["refunded_minor"],
        "currency": order["currency"],
        "times": {
            name: iso_text(order[f"{name}_ms"], zone)
            for name in ("created", "paid", "seen", "marked")
        },
        "lines": [_line(row, zone) for row in orders.lines(shop.db, order_id)],
        "keys": [_key(shop, row, keys[row["id"]], zone, reveal) for row in bound],
        "effects": _effects(shop, order, list(keys.values()), zone, reveal),
        "journal": _journal(shop, order, bound),
        "refunds": [
            {
                "number": row["number"],
                "amount": row["amount_minor"],
                "state": row["state"],
                "at": iso_text(row["at_ms"], zone),
                "seen": iso_text(row["seen_ms"], zone),
            }
            for row in orders.refunds(shop.db, order_id)
        ],
        "decisions": [
            {"at": iso_text(one.at_ms, zone), "answer": one.answer, "amount": one.amount_minor,
             "reason": one.reason, "reply": one.reply}
            for one in decisions(shop, order_id)
        ],
        "replacements": [
            {"line": row["line_no"], "bad_key": f"…{row['old_tail']}",
             "new_key": f"…{row['new_tail']}" if row["new_tail"] else "",
             "at": iso_text(row["at_ms"], zone), "reason": row["reason"]}
            for row in store.replacements(shop.db, order_id)
        ],
        "story": [
            {"at": iso_text(row["at_ms"], zone), "what": row["action"], "detail": row["detail"]}
            for row in house.audit_of(shop.db, _name(order), 10_000)
            if row["action"] not in OURS
        ],
    }  # fmt: skip


def _line(row: Row, zone: str) -> Facts:
    return {
        "line": row["line_no"],
        "title": row["title"],
        "sku": row["sku"] or "",
        "quantity": row["quantity"],
        "amount": row["amount_minor"],
        "state": row["state"],
        "times": {
            name: iso_text(row[f"{name}_ms"], zone)
            for name in ("reserved", "sent", "acknowledged", "opened")
        },
    }


def _opened(shop: Shop, row: Row) -> Secret | None:
    """Open a key, to find it in a text; one that does not open is shown by its ending only."""
    try:
        return shop.vault.open(row["sealed"], row["data_key_id"], bytes(row["fingerprint"]))
    except Broken:
        return None


def _key(shop: Shop, row: Row, opened: Secret | None, zone: str, reveal: bool) -> Facts:
    whole = opened.text() if reveal and opened is not None else f"…{row['tail']}"
    return {
        "line": row["line_no"],
        "key": whole,
        "digest": shop.vault.digest(bytes(row["fingerprint"])),
        "state": row["key_state"],
        "bond": row["state"],
        "reserved": iso_text(row["reserved_ms"], zone),
        "sent": iso_text(row["exposed_ms"], zone),
        "delivered": iso_text(row["delivered_ms"], zone),
    }


def _effects(
    shop: Shop, order: Row, keys: list[Secret | None], zone: str, reveal: bool
) -> list[Facts]:
    """Return what was to happen outside, each with its text and every try of it."""
    found = effects.effects_of(shop.db, OrderId(order["id"]))
    attempts = effects.attempts_of(shop.db, [effect["id"] for effect in found])
    return [
        {
            "what": effect["kind"],
            "parcel": effect["parcel_n"],
            "generation": effect["generation"],
            "route": effect["route"],
            "state": effect["state"],
            "ordered": iso_text(effect["created_ms"], zone),
            "done": iso_text(effect["done_ms"], zone),
            "text": _text(shop, order, effect, keys, reveal),
            "attempts": [
                {
                    "n": row["n"],
                    "began": iso_text(row["started_ms"], zone),
                    "ended": iso_text(row["ended_ms"], zone),
                    "outcome": row["state"],
                    "reference": row["reference"],
                    "answer": row["detail"],
                    "payload_hmac": row["digest"],
                }
                for row in attempts
                if row["effect_id"] == effect["id"]
            ],
        }
        for effect in found
    ]


def _text(shop: Shop, order: Row, effect: Row, keys: list[Secret | None], reveal: bool) -> str:
    """Return the text that was handed over, its keys masked; what was never tried has none."""
    if effect["kind"] == EffectKind.REFUND_REPLY:
        reply = store.reply(shop.db, effect["id"])
        return str(reply["message"]) if reply else ""
    known = [key for key in keys if key is not None]
    if effect["parcel_id"] is None or not effect["tries"] or len(known) < len(keys):
        return ""  # a key that does not open could not be masked
    parcel = deliveries.parcel(shop.db, effect["parcel_id"])
    label = f"parcel:{order['channel']}:{order['number']}:{parcel['n']}".encode()
    try:
        body = shop.vault.open(parcel["sealed"], parcel["data_key_id"], label)
    except Broken:
        return ""
    text = str(json.loads(body.text())["text"])
    for key in () if reveal else sorted(known, key=len, reverse=True):
        text = text.replace(key.text(), str(key))
    return text


def _journal(shop: Shop, order: Row, bound: list[Row]) -> list[Facts]:
    """Return the records of the send journal about an order, by their number in it."""
    tails = {bytes(row["fingerprint"]).hex(): row["tail"] for row in bound}
    return [
        {"record": n, "kind": entry.kind, "line": entry.line, "session": entry.session,
         "key": f"…{tails.get(entry.fingerprint, '')}"}
        for n, entry in enumerate(shop.journal.read(), 1)
        if entry.order == order["number"] and entry.channel == order["channel"]
    ]  # fmt: skip


def _put_on_record(shop: Shop, order: Row, target: Path) -> None:
    with shop.db.tx():
        for row in store.all_allocations(shop.db, OrderId(order["id"])):
            detail = f"evidence of order {order['number']} into {target.name}"
            shop.audit("key.reveal", f"key:{row['key_id']}", detail[:200])


def _name(order: Row) -> str:
    return f"order:{order['channel']}:{order['number']}"
