"""Notes how far the audit is, outside the shop folder, between two anchors.

Every command that wrote, and the daemon every few minutes, notes the heads of the chains that grew
since the last note (`anchors`, TAIL). Whoever then cuts rows off the end of the audit, together
with its heads, is seen without waiting for the daily anchor.
"""

from __future__ import annotations

from contextlib import suppress

from kmtool.errors import KmError
from kmtool.locks import FileLock
from kmtool.operations import anchors, home
from kmtool.operations.anchors import Anchor, Head
from kmtool.shop import Shop
from kmtool.store import audit as store

SLACK_MS = 120_000
"""How far a clock may have gone back since the last note; the daily anchor looks at every head."""


def note(shop: Shop, *, every_ms: int = 0) -> bool:
    """Note outside which heads grew since the last note, so that a cut tail is seen.

    Does nothing away from home, when the last note is younger than `every_ms`, and when another
    process is at it: the next note has it all. A file that cannot be written or was changed, and a
    database that cannot be read, are doctor's to tell of, not this command's.
    """
    if shop.config.example or shop.db.rehearsing:
        return False
    lock = FileLock(anchors.path_of(shop).with_suffix(".anchors.lock"))
    try:
        with suppress(KmError, OSError):
            return lock.acquire() and home.away(shop) is None and _note(shop, every_ms)
    finally:
        lock.release()
    return False


def _note(shop: Shop, every_ms: int) -> bool:
    last, notes = anchors.last_note(shop)
    since = last.at_ms if last else 0
    if last and 0 <= shop.now_ms() - since < every_ms:
        return False
    grown = tuple(
        Head(row["chain"], row["count"], bytes(row["hash"]).hex())
        for row in store.heads_since(shop.db, since - SLACK_MS)
    )
    if not grown or (last and set(grown) <= set(last.heads)):
        return False
    made = Anchor(
        seq=notes + 1, at_ms=shop.now_ms(), kind=anchors.TAIL, chains=len(grown),
        rows=sum(head.count for head in grown), all="", heads=grown, reason="", mac="",
    )  # fmt: skip
    anchors.note(shop, made, last)
    return True
