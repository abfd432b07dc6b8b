"""Keys come in exactly as they stand, once over all history, all or nothing per batch."""

from __future__ import annotations

from kmtool.operations import import_keys
from kmtool.operations.import_records import ImportResult, Terms
from kmtool.operations.key_sources import Source
from kmtool.shop import Shop


def bring(shop: Shop, data: bytes | str, name: str = "keys.txt", **terms: object) -> ImportResult:
    """Import one file of product S1 from supplier sup1 and agree to everything."""
    raw = data.encode() if isinstance(data, str) else data
    given = Terms(**{"sku": "S1", "supplier": "sup1", **terms})  # type: ignore[arg-type]
    return import_keys.run(
        shop, [Source(name, raw)], given, agree=lambda _: True, create=lambda *_: True
    )


def stored(shop: Shop) -> list[str]:
    """Open every key, in the order of its line."""
    rows = shop.db.all("SELECT * FROM keys ORDER BY batch_id, line_no")
    return [
        shop.vault.open(r["sealed"], r["data_key_id"], bytes(r["fingerprint"])).text() for r in rows
    ]


def test_three_lines_become_three_free_keys(shop: Shop) -> None:
    result = bring(shop, "AAAA-1\nBBBB-2\nCCCC-3\n")
    assert (result.accepted, result.duplicates, result.rejected) == (3, 0, 0)
    assert result.files[0].batch == "B20261122-01"
    assert stored(shop) == ["AAAA-1", "BBBB-2", "CCCC-3"]
    assert shop.db.value("SELECT free FROM stock WHERE sku = 'S1'") == 3
