"""Views for people who open the file with another program: yuan and local time, never a key."""

from __future__ import annotations


def _local(column: str) -> dict[str, str]:
    return {
        "sqlite": f"strftime('%Y-%m-%d %H:%M', {column} / 1000, 'unixepoch', 'localtime')",
        "postgresql": f"to_char(to_timestamp({column} / 1000.0), 'YYYY-MM-DD HH24:MI')",
    }


def _both(template: str, **columns: str) -> dict[str, str]:
    """Return the text of a view for both databases; `<name>` stands for a time column."""
    texts = {}
    for dialect in ("sqlite", "postgresql"):
        text = template
        for name, column in columns.items():
            text = text.replace(f"<{name}>", _local(column)[dialect])
        texts[dialect] = text
    return texts


VIEWS: tuple[dict[str, str], ...] = (
    _both(
        """CREATE VIEW v_orders AS
        SELECT o.channel, o.number, o.status, o.refund, o.total_minor / 100.0 AS yuan,
               o.currency, o.buyer_name, <paid> AS paid, <seen> AS seen
          FROM orders o""",
        paid="o.paid_ms",
        seen="o.seen_ms",
    ),
    _both(
        """CREATE VIEW v_lines AS
        SELECT o.channel, o.number, l.line_no, l.title, l.sku, l.quantity,
               l.amount_minor / 100.0 AS yuan, l.state, l.gate, l.reason, <since> AS since
          FROM lines l JOIN orders o ON o.id = l.order_id""",
        since="l.since_ms",
    ),
    _both(
        """CREATE VIEW v_keys AS
        SELECT k.id, k.sku, k.tail, k.state, b.number AS batch, b.supplier, k.line_no,
               b.cost_e5 / 100000.0 AS cost_yuan, <since> AS since
          FROM keys k JOIN batches b ON b.id = k.batch_id""",
        since="k.state_ms",
    ),
    _both(
        """CREATE VIEW v_ledger AS
        SELECT <at> AS at, e.event, e.ref, p.account, p.currency, p.amount_minor / 100.0 AS yuan
          FROM ledger_postings p JOIN ledger_entries e ON e.id = p.entry_id""",
        at="e.at_ms",
    ),
)
