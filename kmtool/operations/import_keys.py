"""Brings key batches in: read, look for twins over all history, show, seal, book.

Every file is one batch and one transaction: all its accepted rows or none. The same code runs under
`db.rehearsal()` for a dry run. A twin is no error: it is counted and named with where it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kmtool import sheets
from kmtool.clock import NEVER_MS, business_day, day_end_ms, local_text
from kmtool.domain.money import e5_to_minor
from kmtool.domain.pictures import Picture
from kmtool.domain.secret import Secret, tail_of
from kmtool.domain.settlement import account
from kmtool.domain.states import KeyState, LineKind
from kmtool.errors import InputRefused, NotFound, StateMoved, UsageError, told
from kmtool.operations import key_sources, products, stock_back, suppliers, texts
from kmtool.operations.claims import claim
from kmtool.operations.import_records import (
    FilePreview,
    FileResult,
    Fresh,
    ImportResult,
    Preview,
    Terms,
    Twin,
    result_of,
)
from kmtool.operations.key_sources import KeyFile, Source
from kmtool.operations.product_terms import USES_MAX
from kmtool.shop import Shop
from kmtool.store import house, keys, ledger
from kmtool.store import products as product_store
from kmtool.store import suppliers as supplier_store
from kmtool.store.db import Row
from kmtool.vault import RECORDS_PER_DATA_KEY

WINDOW = 250_000
"""How many keys are sorted by fingerprint before they are inserted (small windows collapse)."""
COST_MAX_E5 = 10**12
SHOWN = 20
"""How many twins and refused rows a result names; the rejects file names all."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """A file with its keys told apart."""

    file: KeyFile
    fresh: list[Fresh]
    twins: list[Twin]


def run(
    shop: Shop,
    sources: Sequence[Source],
    terms: Terms,
    *,
    agree: Callable[[Preview], bool],
    create: Callable[[str, str], bool],
    whose: Callable[[Sequence[str]], str] = lambda _known: suppliers.OWN,
) -> ImportResult:
    """Import files as batches. `agree` sees the preview, `create` is asked for unknown names.

    `whose` is asked whom the keys are from when the terms do not say it; it sees who is known.

    Raises `InputRefused` for a file we will not take, `NotFound` when an unknown product or
    supplier may not be created, `StateMoved` when another import was faster with the same keys.
    """
    shop.must_be_writable()
    product = product_store.product(shop.db, terms.sku)
    if product is not None and product["kind"] == LineKind.TEXT:
        return texts.bring(shop, sources, terms, agree)
    if product is not None and product["kind"] != LineKind.KEY:
        raise UsageError(
            detail="{sku} is a {sort}: it holds no keys of its own",
            sku=terms.sku,
            sort=told(product["kind"]),
            mend="kmtool product show {sku}",
        )
    uses = _uses_of(product) if terms.uses is None else terms.uses
    terms = replace(terms, uses=1 if terms.history else uses)
    _check_terms(shop, terms)
    how = key_sources.reading(
        shop, terms.separator, terms.mapping, terms.preset, images=terms.images
    )
    files = [file for source in sources for file in key_sources.read(source, how)]
    plans = _tell_apart(shop, files)
    if any(plan.fresh for plan in plans):
        terms = _with_supplier(shop, terms, whose)
        _may_create(shop, terms, create)
        if not agree(_preview(shop, plans, terms)):
            return result_of([], agreed=False)
    return result_of([_take_in(shop, plan, terms) for plan in plans])


def _uses_of(product: Row | None) -> int:
    return int(product["uses"]) if product else 1


def _with_supplier(shop: Shop, terms: Terms, whose: Callable[[Sequence[str]], str]) -> Terms:
    """Nobody is named: ask, with those who are known; the shop itself is always a choice."""
    if not terms.supplier:
        known = [row["code"] for row in supplier_store.suppliers(shop.db)]
        terms = replace(terms, supplier=whose([one for one in known if one != suppliers.OWN]))
        _check_supplier(terms)
    return terms


def _check_supplier(terms: Terms) -> None:
    products.check_code(terms.supplier, "supplier code")
    suppliers.check_own(terms.supplier, terms.mode)


def _check_terms(shop: Shop, terms: Terms) -> None:
    products.check_code(terms.sku, "SKU")
    if terms.supplier:
        _check_supplier(terms)
    if not 0 <= terms.cost_e5 <= COST_MAX_E5:
        raise UsageError(detail="that is no cost of a key", mend="--cost 12.50")
    today = business_day(shop.now_ms(), shop.config.shop.timezone)
    if terms.expires and terms.expires < today and not terms.history:
        raise UsageError(
            detail="{expires} is past: such keys cannot be sold",
            expires=terms.expires,
            mend="--expires with a day to come, or --sold for history",
        )
    if terms.uses is not None and not 1 <= terms.uses <= USES_MAX:
        raise UsageError(detail="a key serves 1 to {n} buyers", n=f"{USES_MAX:,}", mend="--uses 5")
    if terms.mode and terms.mode not in suppliers.MODES:
        raise UsageError(
            detail="there is no mode {mode}", mode=terms.mode, mend="--mode consignment|buyout"
        )


def _tell_apart(shop: Shop, files: Iterable[KeyFile]) -> list[_Plan]:
    """Part the rows of all files into fresh keys and twins (of history, or within this import)."""
    here: dict[bytes, tuple[str, int]] = {}
    plans: list[_Plan] = []
    fingerprint = shop.vault.fingerprint
    for file in files:
        printed: list[tuple[bytes, int, str | Picture]] = [
            (fingerprint(text.encode()), n, text) for n, text in file.parsed.keys
        ]
        printed += [(fingerprint(one.data), n, one) for n, one in file.parsed.pictures]
        known = keys.fingerprints_known(shop.db, [row[0] for row in printed])
        plan = _Plan(file, [], [])
        for row in printed:
            mark, line_no, found = row
            if mark in known:
                old = known[mark]
                plan.twins.append(
                    Twin(line_no, _tail(found), old["batch"], old["line_no"], old["state"],
                         old["sku"])
                )  # fmt: skip
            elif mark in here:
                other, other_line = here[mark]
                plan.twins.append(Twin(line_no, _tail(found), "", other_line, "", "", other))
            else:
                here[mark] = (file.name, line_no)
                plan.fresh.append(row)
        plans.append(plan)
    return plans


def _tail(found: str | Picture) -> str:
    return found.tail if isinstance(found, Picture) else tail_of(found)


def _may_create(shop: Shop, terms: Terms, create: Callable[[str, str], bool]) -> None:
    for kind, name, found in (
        ("product", terms.sku, product_store.product(shop.db, terms.sku)),
        ("supplier", terms.supplier, supplier_store.supplier(shop.db, terms.supplier)),
    ):
        is_own = kind == "supplier" and name == suppliers.OWN
        if found is None and not is_own and not create(kind, name):
            raise NotFound(kind=kind, name=name, mend="kmtool {kind} add {name}, or add --new")


def _preview(shop: Shop, plans: list[_Plan], terms: Terms) -> Preview:
    accepted = sum(len(plan.fresh) for plan in plans)
    mode, currency = _mode_and_currency(shop, terms)
    return Preview(
        files=tuple(_file_preview(plan) for plan in plans),
        sku=terms.sku,
        supplier=terms.supplier,
        mode=mode,
        cost_e5=terms.cost_e5,
        currency=currency,
        amount_minor=e5_to_minor(accepted * terms.cost_e5, currency),
        accepted=accepted,
        history=terms.history,
        uses=terms.uses or 1,
    )


def _file_preview(plan: _Plan) -> FilePreview:
    parsed = plan.file.parsed
    return FilePreview(
        file=plan.file.name,
        form=parsed.form,
        encoding=plan.file.encoding,
        separator=parsed.separator,
        columns=parsed.columns.names if parsed.columns else (),
        first=tuple(f"…{_tail(found)}" for _, _, found in plan.fresh[:3]),
        rows=parsed.rows,
        accepted=len(plan.fresh),
        duplicates=len(plan.twins),
        rejected=len(parsed.refused),
        warnings=_warnings(plan),
    )


def _warnings(plan: _Plan) -> dict[str, tuple[int, ...]]:
    return {name: tuple(rows[:SHOWN]) for name, rows in sorted(plan.file.parsed.warnings.items())}


def _mode_and_currency(shop: Shop, terms: Terms) -> tuple[str, str]:
    found = supplier_store.supplier(shop.db, terms.supplier)
    if found is None:
        return suppliers.mode_of(terms.supplier, terms.mode), shop.config.shop.currency
    return suppliers.mode_of(terms.supplier, terms.mode or found["mode"]), found["currency"]


def _take_in(shop: Shop, plan: _Plan, terms: Terms) -> FileResult:
    refused = plan.file.parsed.refused
    if refused and not plan.fresh and not plan.twins:
        first = refused[0]
        raise InputRefused(
            where=f"{plan.file.name}:{first.line_no}",
            detail="none of {refused} rows can be taken; the first: {reason}",
            refused=len(refused),
            reason=first.reason,
        )
    earlier = keys.batch_of_file(shop.db, plan.file.sha256)
    same = earlier is not None and not plan.fresh
    number = _accept(shop, plan, terms) if plan.fresh else None
    return FileResult(
        file=plan.file.name,
        batch=number,
        rows=plan.file.parsed.rows,
        accepted=len(plan.fresh),
        duplicates=len(plan.twins),
        rejected=len(refused),
        rejects_file=None if same else _write_rejects(shop, plan),
        same_file_ms=earlier["imported_ms"] if earlier and same else None,
        twins=tuple(
            told("{row}: {why}", row=twin.line_no, why=twin.reason()) for twin in plan.twins[:SHOWN]
        ),
        refused=tuple(
            told("{row}: {why}", row=row.line_no, why=row.reason) for row in refused[:SHOWN]
        ),
        warnings=_warnings(plan),
        out_of_sale=stock_back.out_of_sale(shop, batch=number) if number else 0,
    )


def _accept(shop: Shop, plan: _Plan, terms: Terms) -> str:
    """Write one batch in one transaction and return its number."""
    db, now = shop.db, shop.now_ms()
    count, uses, zone = len(plan.fresh), terms.uses or 1, shop.config.shop.timezone
    _room_in_data_key(shop, count)
    with db.tx():
        keys.lock_imports(db)
        products.ensure(shop, terms.sku, terms.title)
        suppliers.ensure(shop, terms.supplier, terms.mode)
        mode, currency = _mode_and_currency(shop, terms)
        number = keys.next_batch_number(db, business_day(now, zone).strftime("%Y%m%d"))
        expires_ms = day_end_ms(terms.expires, zone) if terms.expires else NEVER_MS
        batch_id = keys.add_batch(
            db,
            number=number,
            sku=terms.sku,
            supplier=terms.supplier,
            mode=mode,
            kind="history" if terms.history else "stock",
            cost_e5=terms.cost_e5,
            currency=currency,
            file_name=plan.file.name,
            file_sha256=plan.file.sha256,
            rows=plan.file.parsed.rows,
            accepted=count,
            duplicates=len(plan.twins),
            rejected=len(plan.file.parsed.refused),
            expires_ms=expires_ms,
            imported_ms=now,
        )
        state = KeyState.DELIVERED if terms.history else KeyState.FREE
        common: dict[str, object] = {
            "sku": terms.sku,
            "batch_id": batch_id,
            "state": state.value,
            "uses_left": 0 if terms.history else uses,
            "expires_ms": expires_ms,
            "state_ms": now,
        }
        for start in range(0, count, WINDOW):
            part = list(enumerate(plan.fresh[start : start + WINDOW]))
            if (first_id := keys.next_id(db)) is not None:
                part.sort(key=lambda placed: placed[1][0])  # by fingerprint
            if uses == 1 and not plan.file.parsed.pictures:
                keys.insert_keys(db, _sealed(shop, part, common), first_id=first_id)
            else:
                keys.insert_special(db, _sealed(shop, part, {**common, "uses": uses, "media": ""}))
        if keys.count_of_batch(db, batch_id) != count:
            raise StateMoved(
                what=told("the stock of keys"), state="holding some of these keys already"
            )
        house.count_sealed(db, shop.vault.current, count)
        if not terms.history:
            keys.add_stock(db, terms.sku, count * uses)
            if uses > 1:
                product_store.set_shared(db, terms.sku)
            _book(shop, number, mode, terms, currency, count)
            claim(shop, batch_id)
            stock_back.keep_out(shop, batch_id)
        shop.audit(
            "key.import",
            f"batch:{number}",
            f"{count} keys of {terms.sku} from {terms.supplier}, {plan.file.name}",
        )
    return number


def _sealed(
    shop: Shop, rows: Iterable[tuple[int, Fresh]], common: dict[str, object]
) -> Iterator[dict[str, object]]:
    seal = shop.vault.seal
    for place, (fingerprint, line_no, found) in rows:
        more: dict[str, object] = {}
        if isinstance(found, Picture):
            sealed, number = seal(Secret(found.data), fingerprint)
            more = {"media": found.media}
        else:
            sealed, number = seal(Secret(found), fingerprint)
        yield {
            **common,
            "fingerprint": fingerprint,
            "sealed": sealed,
            "data_key_id": number,
            "tail": _tail(found),
            "line_no": line_no,
            "place": place,
            **more,
        }


def _book(shop: Shop, number: str, mode: str, terms: Terms, currency: str, count: int) -> None:
    """Bought keys are an asset and a debt at once; keys on consignment are neither.

    Against keys the shop had already stands what its owner brought in.
    """
    amount = e5_to_minor(count * terms.cost_e5, currency)
    if mode == "buyout" and amount:
        ledger.post(
            shop.db,
            shop.now_ms(),
            "batch_accepted",
            number,
            f"{count} × {terms.sku}",
            [
                ("asset:stock", currency, amount),
                (account(terms.supplier), currency, -amount),
            ],
        )


def _room_in_data_key(shop: Shop, count: int) -> None:
    """Change to a new data key before too many records were sealed under the present one."""
    used = {row["id"]: row["records"] for row in house.data_keys(shop.db)}
    if used[shop.vault.current] + count <= RECORDS_PER_DATA_KEY or shop.db.rehearsing:
        return
    wrapped = shop.vault.new_data_key()
    with shop.db.tx():
        number = house.add_data_key(shop.db, wrapped, shop.now_ms())
        shop.audit("vault.data_key", f"data_key:{number}")
    shop.vault.load(number, wrapped)


def _write_rejects(shop: Shop, plan: _Plan) -> str | None:
    """Write refused rows and twins for people; keys masked. A dry run writes nothing."""
    rows = [(row.line_no, "", row.reason) for row in plan.file.parsed.refused]
    rows += [(twin.line_no, f"…{twin.key}", twin.reason()) for twin in plan.twins]
    if not rows or shop.db.rehearsing:
        return None
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in plan.file.name)[:80]
    at = local_text(shop.now_ms(), shop.config.shop.timezone, "%Y%m%d-%H%M%S")
    path = shop.config.folder("exports") / f"{stem}-rejects-{at}.csv"
    return str(sheets.write_csv_for_people(path, ("row", "key", "reason"), sorted(rows)))
