"""SQL of what left per minute, by product and by buyer: what the burst brakes look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kmtool.store.db import Db, all_in

MINUTE_MS = 60_000
KEPT_MS = 86_400_000


def minute_of(at_ms: int) -> int:
    """Return the first millisecond of the minute of a moment."""
    return at_ms - at_ms % MINUTE_MS


def sku_figures(db: Db, skus: Iterable[str], since_ms: int) -> dict[str, tuple[int, int]]:
    """Return SKU → (pieces, money in minor units) reserved since a moment, in whole minutes."""
    rows = all_in(
        db,
        "SELECT sku, CAST(sum(pieces) AS BIGINT) AS pieces,"
        " CAST(sum(amount_minor) AS BIGINT) AS money FROM sku_minutes"
        " WHERE minute_ms >= :since AND sku IN {in} GROUP BY sku",
        list(skus),
        since=minute_of(since_ms),
    )
    return {row["sku"]: (row["pieces"], row["money"]) for row in rows}


def buyer_figures(
    db: Db, buyers: Iterable[tuple[str, str]], since_ms: int
) -> dict[tuple[str, str], int]:
    """Return (channel, buyer) → pieces reserved since a moment, in whole minutes."""
    by_channel: dict[str, list[str]] = {}
    for channel, buyer in buyers:
        by_channel.setdefault(channel, []).append(buyer)
    found: dict[tuple[str, str], int] = {}
    for channel, names in by_channel.items():
        rows = all_in(
            db,
            "SELECT buyer, CAST(sum(pieces) AS BIGINT) AS pieces FROM buyer_minutes"
            " WHERE channel = :channel AND minute_ms >= :since AND buyer IN {in} GROUP BY buyer",
            names,
            channel=channel,
            since=minute_of(since_ms),
        )
        found.update(((channel, row["buyer"]), row["pieces"]) for row in rows)
    return found


def count(
    db: Db,
    at_ms: int,
    skus: Mapping[str, tuple[int, int]],
    buyers: Mapping[tuple[str, str], int],
) -> None:
    """Add what leaves in this minute: SKU → (pieces, money), (channel, buyer) → pieces.

    Rows are written in one order, so that several workers wait for each other but never in a ring.
    """
    minute = minute_of(at_ms)
    if skus:
        db.many(
            "INSERT INTO sku_minutes (sku, minute_ms, pieces, amount_minor)"
            " VALUES (:sku, :minute, :pieces, :money) ON CONFLICT (sku, minute_ms) DO UPDATE SET"
            " pieces = sku_minutes.pieces + excluded.pieces,"
            " amount_minor = sku_minutes.amount_minor + excluded.amount_minor",
            [
                {"sku": sku, "minute": minute, "pieces": pieces, "money": money}
                for sku, (pieces, money) in sorted(skus.items())
            ],
        )
    if buyers:
        db.many(
            "INSERT INTO buyer_minutes (channel, buyer, minute_ms, pieces)"
            " VALUES (:channel, :buyer, :minute, :pieces)"
            " ON CONFLICT (channel, buyer, minute_ms) DO UPDATE SET"
            " pieces = buyer_minutes.pieces + excluded.pieces",
            [
                {"channel": channel, "buyer": buyer, "minute": minute, "pieces": pieces}
                for (channel, buyer), pieces in sorted(buyers.items())
            ],
        )


def prune(db: Db, now_ms: int) -> None:
    """Drop what is older than a day; call it first in a transaction."""
    db.run("DELETE FROM sku_minutes WHERE minute_ms < :t", t=now_ms - KEPT_MS)
    db.run("DELETE FROM buyer_minutes WHERE minute_ms < :t", t=now_ms - KEPT_MS)
