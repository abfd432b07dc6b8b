"""A text that is sold without limit: one sealed text per product, new orders get the newest.

Setting a text takes the one before out of sale; an order that has it bound still sends it. Setting
an earlier text again brings that one back: a text is there once, over all history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kmtool.clock import NEVER_MS, business_day
from kmtool.domain.keyfiles import Parsed
from kmtool.domain.secret import Secret, tail_of
from kmtool.domain.states import UNLIMITED_USES, KeyState, LineKind
from kmtool.errors import InputRefused, NotFound, Refused, UsageError
from kmtool.operations import suppliers
from kmtool.operations.claims import claim
from kmtool.operations.import_records import (
    FilePreview,
    FileResult,
    ImportResult,
    Preview,
    Terms,
)
from kmtool.operations.key_sources import KeyFile, Source, text_of
from kmtool.shop import Shop
from kmtool.store import house, keys
from kmtool.store import products as product_store


@dataclass(frozen=True, slots=True)
class TextSet:
    """What became of a text. `changed` is False when it was in sale already."""

    sku: str
    characters: int
    changed: bool
    batch: str = ""


def set_text(shop: Shop, sku: str, source: Source) -> TextSet:
    """Let new orders of a product get this text. Raises `NotFound`, `UsageError`, `Refused`."""
    shop.must_be_writable()
    product = product_store.product(shop.db, sku)
    if product is None:
        raise NotFound(kind="product", name=sku, mend="kmtool product add {name} --kind text")
    if product["kind"] != LineKind.TEXT:
        raise UsageError(
            detail="{sku} sells no text", sku=sku, mend="kmtool product add NEW_SKU --kind text"
        )
    return _set(shop, sku, _read(source))


def bring(
    shop: Shop, sources: Sequence[Source], terms: Terms, agree: Callable[[Preview], bool]
) -> ImportResult:
    """Take in a file for a product that sells a text, as `import` does for keys."""
    if len(sources) != 1 or terms.cost_e5 or terms.history or terms.images or terms.uses:
        raise UsageError(
            detail="{sku} sells one text without limit: one file, no cost, no uses",
            sku=terms.sku,
            mend="kmtool product set {sku} --text FILE",
        )
    file = _read(sources[0])
    if not agree(_preview(shop, file, terms)):
        return ImportResult((), 0, 0, 0, 0, agreed=False)
    done = _set(shop, terms.sku, file)
    fresh = int(done.changed)
    row = FileResult(file.name, done.batch or None, 1, fresh, 1 - fresh, 0)
    return ImportResult((row,), 1, fresh, 1 - fresh, 0)


def _read(source: Source) -> KeyFile:
    file = text_of(source)
    if file.parsed.refused:
        raise InputRefused(
            where=source.name, detail="{reason}", reason=file.parsed.refused[0].reason
        )
    return file


def _preview(shop: Shop, file: KeyFile, terms: Terms) -> Preview:
    parsed: Parsed = file.parsed
    shown = FilePreview(
        file=file.name,
        form=parsed.form,
        encoding=file.encoding,
        separator="",
        columns=(),
        first=(f"…{_tail(parsed.keys[0][1])}",),
        rows=1,
        accepted=1,
        duplicates=0,
        rejected=0,
        warnings={},
    )
    return Preview(
        files=(shown,),
        sku=terms.sku,
        supplier=suppliers.OWN,
        mode=suppliers.OWN_MODE,
        cost_e5=0,
        currency=shop.config.shop.currency,
        amount_minor=0,
        accepted=1,
        history=False,
        uses=UNLIMITED_USES,
    )


def _set(shop: Shop, sku: str, file: KeyFile) -> TextSet:
    text = file.parsed.keys[0][1]
    mark, size = shop.vault.fingerprint(text.encode()), len(text)
    db, now = shop.db, shop.now_ms()
    with db.tx():
        keys.lock_imports(db)
        current = keys.text_in_sale(db, sku)
        if current is not None and bytes(current["fingerprint"]) == mark:
            return TextSet(sku, size, changed=False)
        known = keys.fingerprints_known(db, [mark]).get(mark)
        if known is not None and (known["sku"] != sku or known["state"] != KeyState.EXPIRED):
            raise Refused(
                detail="this text is there already: {sku}, {state}",
                sku=known["sku"],
                state=known["state"],
                mend="kmtool product map the listing to {sku}, or change a word",
            )
        if current is not None:
            keys.move_text(db, current["id"], KeyState.FREE, KeyState.EXPIRED, now)
        if known is not None:
            keys.move_text(db, known["id"], KeyState.EXPIRED, KeyState.FREE, now)
            batch = str(known["batch"])
        else:
            batch = _insert(shop, sku, file, mark, text)
        product_store.set_shared(db, sku)
        shop.audit("product.text", f"product:{sku}", f"{size} characters, batch {batch}")
    return TextSet(sku, size, changed=True, batch=batch)


def _insert(shop: Shop, sku: str, file: KeyFile, mark: bytes, text: str) -> str:
    db, now = shop.db, shop.now_ms()
    suppliers.ensure(shop, suppliers.OWN)
    day = business_day(now, shop.config.shop.timezone)
    number = keys.next_batch_number(db, day.strftime("%Y%m%d"))
    batch_id = keys.add_batch(
        db,
        number=number,
        sku=sku,
        supplier=suppliers.OWN,
        mode=suppliers.OWN_MODE,
        kind="stock",
        cost_e5=0,
        currency=shop.config.shop.currency,
        file_name=file.name,
        file_sha256=file.sha256,
        rows=1,
        accepted=1,
        duplicates=0,
        rejected=0,
        expires_ms=NEVER_MS,
        imported_ms=now,
    )
    sealed, data_key = shop.vault.seal(Secret(text), mark)
    row: dict[str, object] = {
        "fingerprint": mark,
        "sealed": sealed,
        "data_key_id": data_key,
        "tail": _tail(text),
        "sku": sku,
        "batch_id": batch_id,
        "line_no": 1,
        "state": KeyState.FREE.value,
        "uses_left": UNLIMITED_USES,
        "expires_ms": NEVER_MS,
        "state_ms": now,
        "uses": UNLIMITED_USES,
        "media": "",
    }
    keys.insert_special(db, [row])
    house.count_sealed(db, data_key, 1)
    keys.add_stock(db, sku, UNLIMITED_USES)
    claim(shop, batch_id)
    return number


def _tail(text: str) -> str:
    return tail_of(" ".join(text.split()))
