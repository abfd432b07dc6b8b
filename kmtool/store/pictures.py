"""SQL of keys that are pictures: those that a message still names, though they were replaced."""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import ParcelId
from kmtool.store.db import Db, Row, all_in


def replaced(db: Db, parcel_id: ParcelId, key_ids: Sequence[int]) -> list[Row]:
    """Return the pictures among some keys that a parcel brought and that were replaced since."""
    return all_in(
        db,
        "SELECT a.key_id, k.fingerprint, k.sealed, k.data_key_id FROM allocations a"
        " JOIN keys k ON k.id = a.key_id WHERE a.key_id IN {in} AND a.parcel_id = :parcel"
        " AND a.state = 'replaced' AND k.media <> ''",
        key_ids,
        parcel=parcel_id,
    )
