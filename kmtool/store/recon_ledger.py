"""SQL that books a reconcile run: what should stand in the ledger against what does, in sets.

A subject is one fact that is booked: an order's payment, a recorded refund, a statement line, an
account's opening. `recon_posts` holds what was booked of it, as a signature. Where the signature
moved, the old entry is reversed (once: its reference is the entry itself) and a new one is posted;
nothing in the ledger is changed. Positive is debit.

What is wanted is materialised and joined from (never looked up row by row), so that one late line
in a large shop costs one pass over it. CROSS JOIN fixes that order on SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmtool.store.db import Db
from kmtool.store.recon import Scope


@dataclass(frozen=True, slots=True)
class Book:
    """One kind of subject: who is booked now, and the postings of a subject (both SQL).

    `wanted` yields subject, signature, at_ms, event, ref; `postings` yields subject, account,
    currency, amount_minor.
    """

    prefix: str
    wanted: str
    postings: str


# The cast gives the text an affinity, without which SQLite builds no index over what is wanted.
_LINE = "CAST('line:' || CAST(l.id AS TEXT) AS TEXT)"
_FROM_LINE = (
    "FROM statement_lines l JOIN line_versions v ON v.id = l.version_id"
    " LEFT JOIN order_buckets b ON b.order_id = l.order_id WHERE l.account = :account"
)
_WALLET = (
    "CASE WHEN l.posting LIKE '%|between' THEN 'wallet_transit:' ELSE 'wallet:' END || l.account"
)
_COUNTER = """CASE
    WHEN l.posting LIKE 'settle%' THEN 'clearing:' || l.account
    WHEN l.posting LIKE 'between%' THEN 'wallet_transit:' || l.account
    WHEN l.posting LIKE 'fee%' THEN 'expense:platform_fee'
    WHEN l.posting LIKE 'subsidy%' THEN 'income:subsidy'
    WHEN l.posting LIKE 'compensation%' THEN 'expense:compensation'
    WHEN l.posting LIKE 'payout%' THEN 'transit:' || l.account
    WHEN l.posting LIKE 'transfer%' THEN 'transfer:' || l.account
    WHEN l.posting LIKE 'write_off%' THEN 'expense:write_off'
    ELSE 'suspense:recon' END"""

LINES = Book(
    "line:",
    f"""SELECT {_LINE} AS subject, l.posting || ' ' || v.content AS signature,
        v.occurred_ms AS at_ms, 'statement_line' AS event,
        l.account || '/' || l.row_key || '#' || CAST(l.occ AS TEXT) AS ref
        {_FROM_LINE} AND l.posting <> ''""",
    f"""SELECT {_LINE} AS subject, {_WALLET} AS account, v.currency, v.net_minor AS amount_minor
        {_FROM_LINE} AND l.posting <> ''
    UNION ALL SELECT {_LINE}, {_COUNTER}, v.currency,
        CASE WHEN l.posting LIKE 'settle%' THEN -v.gross_minor ELSE -v.net_minor END
        {_FROM_LINE} AND l.posting <> ''
    UNION ALL SELECT {_LINE}, CASE WHEN v.adjust_minor < 0 OR v.kind <> 'SALE'
        THEN 'expense:discount' ELSE 'income:subsidy' END, v.currency, -v.adjust_minor
        {_FROM_LINE} AND l.posting LIKE 'settle%'
    UNION ALL SELECT {_LINE}, 'expense:payment_fee', v.currency, v.fee_minor
        {_FROM_LINE} AND l.posting LIKE 'settle%'""",
)

_SOLD = "CAST('order:' || o.channel || ':' || o.number AS TEXT)"
_CLEARING = "'clearing:' || CASE WHEN o.account = '' THEN o.channel ELSE o.account END"
_ORDER = "FROM order_buckets b JOIN orders o ON o.id = b.order_id WHERE b.account = :account"

ORDERS = Book(
    "order:",
    f"""SELECT {_SOLD} AS subject,
        CAST(b.charge_minor AS TEXT) || ' ' || o.currency AS signature,
        b.event_ms AS at_ms, 'order_paid' AS event, o.channel || ':' || o.number AS ref
        {_ORDER} AND b.charge_minor > 0""",
    f"""SELECT {_SOLD} AS subject, {_CLEARING} AS account,
        o.currency, b.charge_minor AS amount_minor {_ORDER} AND b.charge_minor > 0
    UNION ALL SELECT {_SOLD}, 'income:sales', o.currency,
        -b.charge_minor {_ORDER} AND b.charge_minor > 0""",
)

# A channel that tells only how much was refunded has no numbers: the order itself is the reference.
_REFUNDS = """FROM order_buckets b JOIN orders o ON o.id = b.order_id JOIN (
        SELECT order_id, '/' || number AS mark, amount_minor, coalesce(at_ms, seen_ms) AS at_ms
          FROM refunds WHERE state = 'done'
        UNION ALL SELECT id, '', refunded_minor, revision_ms FROM orders WHERE refunded_minor > 0
           AND NOT EXISTS (SELECT 1 FROM refunds x WHERE x.order_id = orders.id
                            AND x.state = 'done')) r ON r.order_id = o.id
     WHERE b.account = :account AND b.charge_minor > 0"""
_REFUND = "CAST('refund:' || o.channel || ':' || o.number || r.mark AS TEXT)"

REFUNDS = Book(
    "refund:",
    f"""SELECT {_REFUND} AS subject,
        CAST(r.amount_minor AS TEXT) || ' ' || o.currency AS signature,
        r.at_ms, 'order_refund' AS event, o.channel || ':' || o.number || r.mark AS ref
        {_REFUNDS}""",
    f"""SELECT {_REFUND} AS subject, 'income:sales' AS account, o.currency, r.amount_minor
        {_REFUNDS}
    UNION ALL SELECT {_REFUND}, {_CLEARING}, o.currency, -r.amount_minor {_REFUNDS}""",
)

BOOKS = (ORDERS, REFUNDS, LINES)


def book(db: Db, scope: Scope) -> int:
    """Bring the ledger to what the run found; return how many rows it touched."""
    return sum(_book(db, scope, kind) for kind in BOOKS)


def _book(db: Db, scope: Scope, kind: Book) -> int:
    given = {"account": scope.account, "prefix": kind.prefix + "%"}
    todo = f"""WITH wanted AS MATERIALIZED ({kind.wanted})
        SELECT (SELECT count(*) FROM wanted w LEFT JOIN recon_posts p ON p.subject = w.subject
                 WHERE p.subject IS NULL OR p.signature <> w.signature)
             + (SELECT count(*) FROM recon_posts p LEFT JOIN wanted w ON w.subject = p.subject
                 WHERE p.account = :account AND p.subject LIKE :prefix AND p.signature <> ''
                   AND w.subject IS NULL)"""
    if not db.value(todo, **given):
        return 0
    return _withdraw(db, scope, kind) + _post(db, scope, kind)


def _withdraw(db: Db, scope: Scope, kind: Book) -> int:
    """Reverse the entries whose subject moved or went, and note that nothing is booked of it."""
    cleared = db.run(
        f"""WITH wanted AS MATERIALIZED ({kind.wanted})
        UPDATE recon_posts SET signature = '' FROM (SELECT p.subject FROM recon_posts p
            LEFT JOIN wanted w ON w.subject = p.subject
             WHERE p.account = :account AND p.subject LIKE :prefix AND p.signature <> ''
               AND (w.subject IS NULL OR w.signature <> p.signature)) d
         WHERE d.subject = recon_posts.subject""",
        account=scope.account,
        prefix=kind.prefix + "%",
    )
    if not cleared:
        return 0
    stale = (
        "FROM recon_posts p JOIN ledger_entries e ON e.id = p.entry_id"
        " WHERE p.account = :account AND p.subject LIKE :prefix AND p.signature = ''"
    )
    db.run(
        "INSERT INTO ledger_entries (at_ms, event, ref, note)"
        " SELECT CAST(:now AS BIGINT), 'reversal', CAST(e.id AS TEXT), e.event || ' ' || e.ref"
        f" {stale} ON CONFLICT (event, ref) DO NOTHING",
        account=scope.account,
        prefix=kind.prefix + "%",
        now=scope.now_ms,
    )
    db.run(
        "INSERT INTO ledger_postings (entry_id, account, currency, amount_minor)"
        " SELECT x.id, g.account, g.currency, -g.amount_minor FROM recon_posts p"
        " JOIN ledger_entries e ON e.id = p.entry_id JOIN ledger_postings g ON g.entry_id = e.id"
        " JOIN ledger_entries x ON x.event = 'reversal' AND x.ref = CAST(e.id AS TEXT)"
        " WHERE p.account = :account AND p.subject LIKE :prefix AND p.signature = ''"
        " AND NOT EXISTS (SELECT 1 FROM ledger_postings y WHERE y.entry_id = x.id)",
        account=scope.account,
        prefix=kind.prefix + "%",
    )
    db.run(
        "UPDATE recon_posts SET entry_id = NULL WHERE account = :account"
        " AND subject LIKE :prefix AND signature = ''",
        account=scope.account,
        prefix=kind.prefix + "%",
    )
    return cleared


def _post(db: Db, scope: Scope, kind: Book) -> int:
    """Post what is wanted and not booked; a subject's later entries carry their generation."""
    last = int(db.value("SELECT coalesce(max(id), 0) FROM ledger_entries"))
    fresh = db.run(
        f"""WITH wanted AS MATERIALIZED ({kind.wanted})
        INSERT INTO recon_posts (subject, account, signature, generation, entry_id)
        SELECT w.subject, CAST(:account AS TEXT), w.signature, 1, NULL FROM wanted w WHERE 1 = 1
        ON CONFLICT (subject) DO UPDATE SET signature = excluded.signature,
            generation = recon_posts.generation + 1
         WHERE recon_posts.signature <> excluded.signature""",
        account=scope.account,
    )
    ref = "w.ref || CASE WHEN p.generation > 1 THEN '@' || CAST(p.generation AS TEXT) ELSE '' END"
    db.run(
        f"""WITH wanted AS MATERIALIZED ({kind.wanted})
        INSERT INTO ledger_entries (at_ms, event, ref, note)
        SELECT w.at_ms, w.event, {ref}, '' FROM wanted w CROSS JOIN recon_posts p
         WHERE p.subject = w.subject AND p.entry_id IS NULL
        ON CONFLICT (event, ref) DO NOTHING""",
        account=scope.account,
    )
    db.run(
        f"""WITH wanted AS MATERIALIZED ({kind.wanted})
        UPDATE recon_posts SET entry_id = d.id FROM (SELECT p.subject, e.id FROM wanted w
            CROSS JOIN recon_posts p CROSS JOIN ledger_entries e
            WHERE p.subject = w.subject AND p.entry_id IS NULL
              AND e.event = w.event AND e.ref = {ref}) d
         WHERE d.subject = recon_posts.subject""",
        account=scope.account,
    )
    db.run(
        f"""WITH entries AS ({kind.postings})
        INSERT INTO ledger_postings (entry_id, account, currency, amount_minor)
        SELECT p.entry_id, x.account, x.currency, x.amount_minor
          FROM entries x CROSS JOIN recon_posts p
         WHERE p.subject = x.subject AND p.entry_id > :last AND x.amount_minor <> 0""",
        account=scope.account,
        last=last,
    )
    return fresh
