"""Is the audit what was written? Recomputes its chains and compares them with the anchors outside.

- Changed, moved, added or missing rows show where the chain stops fitting; a cut tail shows at the
  head; a cut tail with a cut head shows at the anchors.
- `verify` walks everything. `quick` (doctor) goes on from where the last look ended and asks the
  database only for the rows that anchors name.
- `seq` is a row's place in the file and no part of its hash; it must grow along each chain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kmtool.errors import Broken, told
from kmtool.operations import anchors
from kmtool.shop import Shop
from kmtool.store import audit as store
from kmtool.store import house
from kmtool.store.audit import Mac
from kmtool.store.db import Row

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the audit is not what was written; `seq` when there is a row."""

    chain: int
    n: int
    seq: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at and the first places that do not fit."""

    chains: int
    rows: int
    old_rows: int
    anchors: int
    anchored_ms: int | None
    broken: int
    breaks: tuple[Break, ...]

    @property
    def ok(self) -> bool:
        """Tell whether all fits."""
        return not self.broken


@dataclass
class _Findings:
    found: list[Break] = field(default_factory=list)
    count: int = 0

    def add(self, chain: int, n: int, seq: int | None, what: str) -> None:
        self.count += 1
        if len(self.found) < SHOWN:
            self.found.append(Break(chain, n, seq, what))


@dataclass
class _End:
    """Where the walk along a chain is."""

    n: int = 0
    hash: bytes = b""
    seq: int = 0


def verify(shop: Shop) -> Verified:
    """Recompute every row of every chain; never writes but for how far it got."""
    findings = _Findings()
    wanted, count, newest = _anchored(shop, findings)
    heads = {int(row["chain"]): row for row in store.heads(shop.db)}
    chained, old = store.counts(shop.db)
    ends: dict[int, _End] = {chain: _End() for chain in heads}
    walked: Iterable[Row] = shop.progress(store.walk(shop.db), "rows", chained)
    for row in walked:
        _step(row, ends.setdefault(row["chain"], _End()), shop.vault.audit_mac, findings)
        for given in wanted.pop((row["chain"], row["n"]), ()):
            if given != _hash(row).hex():
                told_it = told("it is not what was anchored")
                findings.add(row["chain"], row["n"], row["seq"], told_it)
    _catch_up(shop, heads, ends, findings)
    _compare_heads(heads, ends, findings)
    for chain, n in sorted(wanted):
        if chain not in ends or n > ends[chain].n:
            findings.add(chain, n, None, told("the anchor knows {n} rows, there are fewer", n=n))
    _old_rows(shop, findings)
    if not findings.count:
        _remember(shop, {chain: end.n for chain, end in ends.items()}, heads)
    return Verified(
        chains=len(ends),
        rows=sum(end.n for end in ends.values()),
        old_rows=old,
        anchors=count,
        anchored_ms=newest,
        broken=findings.count,
        breaks=tuple(findings.found),
    )


def rows(shop: Shop) -> int:
    """Return how many rows the chains have, as their heads say."""
    return sum(int(row["count"]) for row in store.heads(shop.db))


def quick(shop: Shop) -> Verified:
    """Recompute what was written since the last look; compare counts, heads and anchors."""
    findings = _Findings()
    wanted, count, newest = _anchored(shop, findings)
    heads = {int(row["chain"]): row for row in store.heads(shop.db)}
    ends: dict[int, _End] = {}
    for chain in store.gaps(shop.db):
        findings.add(chain, 1, None, told("rows are missing; kmtool audit verify says which"))
    for chain, head in heads.items():
        start = head["verified"]
        ends[chain] = end = _End(start, store.hash_at(shop.db, chain, start) or b"")
        if start != head["count"]:
            for row in store.after(shop.db, chain, start):
                _step(row, end, shop.vault.audit_mac, findings)
    _catch_up(shop, heads, ends, findings)
    _compare_heads(heads, ends, findings)
    for (chain, n), given in sorted(wanted.items()):
        found = store.hash_at(shop.db, chain, n)
        if found is None:
            findings.add(chain, n, None, told("the anchor knows {n} rows, there are fewer", n=n))
        elif {found.hex()} != set(given):
            findings.add(chain, n, None, told("it is not what was anchored"))
    if not findings.count:
        _remember(shop, {chain: end.n for chain, end in ends.items()}, heads)
    rows = sum(end.n for end in ends.values())
    return Verified(len(heads), rows, 0, count, newest, findings.count, tuple(findings.found))


def _catch_up(
    shop: Shop, heads: dict[int, Row], ends: dict[int, _End], findings: _Findings
) -> None:
    """Chains that others wrote to meanwhile: read their last rows and heads while nobody writes."""
    late = [
        chain
        for chain, end in ends.items()
        if chain not in heads or (heads[chain]["count"], _hash(heads[chain])) != (end.n, end.hash)
    ]
    if not late:
        return
    with shop.db.tx():
        for chain in sorted(late):
            head = store.head(shop.db, chain)
            if head is not None:
                heads[chain] = head
            for row in store.after(shop.db, chain, ends[chain].n):
                _step(row, ends[chain], shop.vault.audit_mac, findings)


def _hash(row: Row) -> bytes:
    """Return the hash of a row or head; one that was emptied counts as none."""
    return bytes(row["hash"] or b"")


def _step(row: Row, end: _End, mac: Mac, findings: _Findings) -> None:
    """Recompute one row; go on from what it says, so that only broken rows are told."""
    chain, n, seq, prev = row["chain"], row["n"], row["seq"], bytes(row["prev"] or b"")
    given = _hash(row)
    if n != end.n + 1:
        findings.add(chain, end.n + 1, None, told("{count} rows are missing", count=n - end.n - 1))
    elif prev != end.hash:
        findings.add(chain, n, seq, told("it does not follow the row before it"))
    computed = mac(
        store.content(
            chain, n, row["at_ms"], row["session_id"], row["actor"], row["action"],
            row["object"], row["detail"], prev,
        )
    )  # fmt: skip
    if computed != given:
        findings.add(chain, n, seq, told("it was changed"))
    elif seq <= end.seq:
        findings.add(chain, n, seq, told("it stands in another place than it was written"))
    end.n, end.hash, end.seq = n, given, seq


def _compare_heads(heads: Mapping[int, Row], ends: Mapping[int, _End], findings: _Findings) -> None:
    for chain in sorted({*heads, *ends}):
        end = ends[chain] if chain in ends else _End()
        head = heads.get(chain)
        if head is None:
            findings.add(chain, end.n, None, told("the head of its chain is gone"))
        elif head["count"] != end.n:
            findings.add(
                chain,
                min(head["count"], end.n) + 1,
                None,
                told("the head counts {count} rows, there are {n}", count=head["count"], n=end.n),
            )
        elif _hash(head) != end.hash:
            findings.add(chain, end.n, None, told("the head is not the last row's hash"))


def _anchored(
    shop: Shop, findings: _Findings
) -> tuple[dict[tuple[int, int], tuple[str, ...]], int, int | None]:
    """Return the hashes that anchors want at (chain, n), how many anchors, the newest's time."""
    wanted: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
    count, newest, last = 0, None, None
    try:
        for anchor in anchors.read(shop):
            if anchor.kind == anchors.RESET:
                wanted.clear()
            for head in anchor.heads:
                if head.count:
                    wanted[head.chain, head.count].append(head.hash)
            count, newest, last = count + 1, anchor.at_ms, anchor
        for note in anchors.read_tail(shop, last):
            for head in note.heads:
                wanted[head.chain, head.count].append(head.hash)
    except Broken as error:
        findings.add(0, 0, None, str(error.message()))
        return {}, count, newest
    known = house.number(shop.db, anchors.META) or 0
    if known > count:
        what = told(
            "{known} anchors were written, the file holds {count}", known=known, count=count
        )
        findings.add(0, 0, None, what)
    return {place: tuple(set(hashes)) for place, hashes in wanted.items()}, count, newest


def _old_rows(shop: Shop, findings: _Findings) -> None:
    """Compare the rows from before the chains with the seal in the first row of chain 0."""
    count, digest = store.old_rows_digest(store.old_rows(shop.db), shop.vault.audit_mac)
    sealed = store.genesis(shop.db)
    if not sealed and (not count or not store.heads(shop.db)):
        return
    if sealed != f"{count} {digest.hex()}":
        what = told("the rows from before the chain are not those that were sealed")
        findings.add(0, 0, None, what)


def _remember(shop: Shop, reached: Mapping[int, int], heads: Mapping[int, Row]) -> None:
    """Note how far the chains were recomputed; the example and a rehearsal stay as they are."""
    moved = {c: n for c, n in reached.items() if c in heads and heads[c]["verified"] != n}
    if not moved or shop.config.example or shop.db.rehearsing:
        return
    with shop.db.tx():
        for chain, n in sorted(moved.items()):
            store.note_verified(shop.db, chain, n)


def named(breaks: Iterable[Break]) -> str:
    """Return the first break in a sentence."""
    for one in breaks:
        return told("chain {chain}, row {n}: {what}", chain=one.chain, n=one.n, what=one.what)
    return ""
