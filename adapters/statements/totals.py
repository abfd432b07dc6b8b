"""Totals the file prints, compared with what was read: counts as integers, sums in 1e-5 units.

Ignored rows take part: the vendor counts what it prints. A unit of several members may print totals
per member or for the whole; both are accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation

from adapters.statements.cells import name_key
from adapters.statements.lines import Entry
from adapters.statements.profiles import Profile, Total
from adapters.statements.refusals import Stop, shown
from adapters.statements.rows import Row
from adapters.statements.sections import Sections
from kmtool.domain import money
from kmtool.domain.statements import Code, DeclaredTotal, StatementRefusal

_Figures = tuple[int | None, int | None]


def declared_totals(
    parts: Sequence[Sections], found: Sequence[Entry], profile: Profile
) -> tuple[DeclaredTotal, ...]:
    """Return every total printed in the members beside what was read."""
    strict = profile.summary_policy == "strict"
    totals: list[DeclaredTotal] = []
    absent: list[DeclaredTotal] = []
    for total in profile.totals:
        printed = [figures for part in parts if (figures := _printed(total, part)) is not None]
        chosen = [entry for entry in found if _selected(entry, total.of)]
        count, sum_e5 = len(chosen), sum(_over(entry, total.over) for entry in chosen)
        if printed:
            totals.append(_compared(total, printed, count, sum_e5, strict=strict))
        elif total.expected and chosen:
            absent.append(DeclaredTotal(total.name, None, None, count, sum_e5, strict))
    return (*totals, *absent) if totals else ()


def mismatch(totals: Iterable[DeclaredTotal], currency: str) -> StatementRefusal | None:
    """Return the refusal of totals that do not agree, None when all do (or may differ)."""
    broken = [total for total in totals if total.strict and not total.agrees]
    if not broken:
        return None
    return StatementRefusal(
        Code.SUMMARY_MISMATCH,
        "the file's own totals are not what was read: "
        + "; ".join(mismatch_text(total) for total in broken),
        'download the file again; to take it as it is: --accept-summary-mismatch "reason"',
        {
            "currency": currency,
            "totals": [
                {
                    "name": total.name,
                    "declared_count": total.count,
                    "parsed_count": total.parsed_count,
                    "declared_sum_e5": total.sum_e5,
                    "parsed_sum_e5": total.parsed_sum_e5,
                }
                for total in broken
            ],
        },
    )


def mismatch_text(total: DeclaredTotal) -> str:
    """Return one total that does not agree: name, printed figure, read figure, difference."""
    if total.count is None and total.sum_e5 is None:
        return f"{total.name}: not printed, although {total.parsed_count} such rows were read"
    said: list[str] = []
    if total.count is not None and total.count != total.parsed_count:
        difference = (total.parsed_count or 0) - total.count
        said.append(f"declared {total.count} rows, read {total.parsed_count} ({difference:+d})")
    if total.sum_e5 is not None and total.sum_e5 != total.parsed_sum_e5:
        parsed = total.parsed_sum_e5 or 0
        said.append(
            f"declared {money.format_e5(total.sum_e5)}, read {money.format_e5(parsed)} "
            f"(difference {money.format_e5(parsed - total.sum_e5)})"
        )
    return f"{total.name}: {', '.join(said)}"


def cross_totals(
    summary: Profile, rows: Sequence[Row], found: Sequence[Entry]
) -> tuple[DeclaredTotal, ...]:
    """Return the figures of a summary member beside those of the detail, per type.

    Only types that stand in both are compared; the detail's own totals catch the rest.
    """
    cross = summary.cross
    if cross is None:
        return ()
    totals = []
    for row in rows:
        key = row.text(cross.key)
        named = [entry for entry in found if entry.row.text(cross.detail_key) == key]
        for of, count_role, sum_role in cross.figures if named else ():
            chosen = [entry for entry in named if _selected(entry, of)]
            sum_e5 = sum(entry.amounts.gross for entry in chosen)
            declared = row.e5(sum_role) or 0
            count = _count(row.text(count_role) or "0")
            name = f"汇总 {shown(key)} {of}"
            same_sign = abs(declared) if sum_e5 >= 0 else -abs(declared)
            totals.append(DeclaredTotal(name, count, same_sign, len(chosen), sum_e5))
    return tuple(totals)


def _printed(total: Total, part: Sections) -> _Figures | None:
    if total.where == "table":
        count = _first(part.table, total.count)
        sum_text = _first(part.table, total.total)
        if count is None and sum_text is None:
            return None
        return _figures(total, count, sum_text)
    assert total.pattern is not None
    found = total.pattern.search(part.footer if total.where == "footer" else part.preamble)
    if found is None:
        return None
    count = found[total.count[0]] if total.count else None
    return _figures(total, count, found[total.total[0]] if total.total else None)


def _first(table: dict[str, str], names: Iterable[str]) -> str | None:
    return next((table[key] for name in names if (key := name_key(name)) in table), None)


def _figures(total: Total, count: str | None, sum_text: str | None) -> _Figures:
    try:
        return (
            None if count is None else _count(count),
            None if sum_text is None else money.parse_e5(sum_text or "0"),
        )
    except ValueError:
        value = shown(sum_text if sum_text is not None else count)
        raise Stop(
            Code.BAD_AMOUNT,
            f"the total {total.name}: 「{value}」 is not a figure",
            "download the file again",
            column=total.name,
            value=value,
        ) from None


def _count(text: str) -> int:
    """Return a count; vendors print some as `20.0`."""
    try:
        number = Decimal(text.replace(",", "") or "0")
    except InvalidOperation:
        raise ValueError(text) from None
    if not number.is_finite() or number != int(number):
        raise ValueError(text)
    return int(number)


def _selected(entry: Entry, of: str) -> bool:
    what, _, value = of.partition("=")
    if what == "kind":
        return entry.amounts.kind.value == value
    if what == "direction":
        return entry.amounts.direction == value
    if what == "sign":
        return entry.amounts.gross > 0 if value == "+" else entry.amounts.gross < 0
    return True


def _over(entry: Entry, over: str) -> int:
    if over == "gross":
        return entry.amounts.gross
    if over == "net":
        return entry.amounts.net
    if over == "neutral":
        return entry.amounts.neutral
    return entry.row.e5(over) or 0


def _compared(
    total: Total, printed: Sequence[_Figures], count: int, sum_e5: int, *, strict: bool
) -> DeclaredTotal:
    candidates = [_added(printed)]
    if len(set(printed)) == 1:
        candidates.append(printed[0])
    compared = [
        DeclaredTotal(
            total.name,
            said_count,
            said_sum,
            None if said_count is None else count,
            None if said_sum is None else _like(said_sum, sum_e5, magnitude=total.magnitude),
            strict,
        )
        for said_count, said_sum in candidates
    ]
    return next((figures for figures in compared if figures.agrees), compared[0])


def _added(printed: Sequence[_Figures]) -> _Figures:
    counts = [count for count, _ in printed if count is not None]
    sums = [sum_e5 for _, sum_e5 in printed if sum_e5 is not None]
    return sum(counts) if counts else None, sum(sums) if sums else None


def _like(said: int, parsed: int, *, magnitude: bool) -> int:
    """Return the sum that was read, in the sign of the printed one where only size counts."""
    if not magnitude:
        return parsed
    return -abs(parsed) if said < 0 else abs(parsed)
