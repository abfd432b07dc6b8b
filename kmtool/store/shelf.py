"""SQL of listings taken off a channel's shelf and brought back: one move is one write there."""

from __future__ import annotations

from kmtool.store.db import Db, Row

_LISTING = "SELECT i.id, i.channel, i.item_id, i.variant_id, i.title, i.sku, i.shelf, i.shelf_ms"


def open_moves(db: Db, channel: str) -> list[Row]:
    """Return moves of a channel whose outcome is not known, with their listing."""
    return db.all(
        "SELECT m.*, i.item_id, i.variant_id, i.shelf FROM shelf_moves m"
        " JOIN listings i ON i.id = m.listing_id"
        " WHERE i.channel = :c AND m.state IN ('intent', 'unknown') ORDER BY m.id",
        c=channel,
    )


def refused_since(db: Db, channel: str, since_ms: int) -> set[int]:
    """Return listings of a channel that lately refused to move."""
    rows = db.all(
        "SELECT m.listing_id FROM shelf_moves m JOIN listings i ON i.id = m.listing_id"
        " WHERE i.channel = :c AND m.state = 'rejected' AND m.ended_ms > :since",
        c=channel,
        since=since_ms,
    )
    return {int(row["listing_id"]) for row in rows}


def begin(db: Db, listing_id: int, wanted: str, figure: int, now_ms: int) -> int | None:
    """Write down that a listing is about to be moved; None while another move of it is open."""
    found = db.value(
        "INSERT INTO shelf_moves (listing_id, wanted, state, figure, detail, started_ms)"
        " VALUES (:id, :wanted, 'intent', :figure, '', :now)"
        " ON CONFLICT (listing_id) WHERE state IN ('intent', 'unknown') DO NOTHING RETURNING id",
        id=listing_id,
        wanted=wanted,
        figure=figure,
        now=now_ms,
    )
    return None if found is None else int(found)


def end(db: Db, move_id: int, state: str, detail: str, now_ms: int) -> bool:
    """Write how an open move ended (`unknown` leaves it open); False when that was known before."""
    return (
        db.run(
            "UPDATE shelf_moves SET state = :state, detail = :detail,"
            " ended_ms = CASE WHEN :state = 'unknown' THEN ended_ms ELSE :now END"
            " WHERE id = :id AND state IN ('intent', 'unknown')",
            id=move_id,
            state=state,
            detail=detail[:300],
            now=now_ms,
        )
        == 1
    )


def set_shelf(db: Db, listing_id: int, source: str, target: str, now_ms: int) -> bool:
    """Compare-and-set whose business the shelf of a listing is."""
    return (
        db.run(
            "UPDATE listings SET shelf = :target, shelf_ms = :now"
            " WHERE id = :id AND shelf = :source",
            id=listing_id,
            source=source,
            target=target,
            now=now_ms,
        )
        == 1
    )


def off(db: Db) -> list[Row]:
    """Return the listings that we took down, of all channels."""
    return db.all(f"{_LISTING} FROM listings i WHERE i.shelf = 'off' ORDER BY i.id")


def stuck(db: Db, before_ms: int) -> list[Row]:
    """Return moves that did not come through: the last word on a listing is a refusal, or none."""
    return db.all(
        f"{_LISTING}, m.wanted, m.state, m.detail FROM listings i JOIN shelf_moves m"
        " ON m.id = (SELECT max(x.id) FROM shelf_moves x WHERE x.listing_id = i.id)"
        " WHERE m.state = 'rejected' OR m.state = 'unknown' AND m.started_ms < :before"
        " ORDER BY i.id",
        before=before_ms,
    )


def mapped(db: Db, channel: str) -> dict[tuple[str, str], Row]:
    """Return (item, variant) → what a channel's listing is mapped to."""
    rows = db.all(
        "SELECT item_id, variant_id, sku, units, state, shelf, pushed FROM listings"
        " WHERE channel = :c",
        c=channel,
    )
    return {(row["item_id"], row["variant_id"]): row for row in rows}
