"""SQL that only the simulator asks: what was booked for the keys of orders that are delivered."""

from __future__ import annotations

from kmtool.store.db import Db


def costs_of_orders(db: Db) -> dict[str, int]:
    """Return order (`channel:number`) → what its keys cost by the ledger, in minor units.

    The entries of an order begin with its name.
    """
    found: dict[str, int] = {}
    for row in db.all(
        "SELECT e.ref, p.amount_minor FROM ledger_entries e JOIN ledger_postings p"
        " ON p.entry_id = e.id WHERE p.account = 'cost:keys' AND e.ref LIKE '%:%:%' ORDER BY e.id"
    ):
        channel, number, _ = str(row["ref"]).split(":", 2)
        name = f"{channel}:{number}"
        found[name] = found.get(name, 0) + int(row["amount_minor"])
    return found


def delivered_orders(db: Db) -> set[str]:
    """Return the orders (`channel:number`) all of whose lines count as delivered."""
    rows = db.all(
        "SELECT o.channel, o.number FROM orders o WHERE NOT EXISTS"
        " (SELECT 1 FROM lines l WHERE l.order_id = o.id AND l.state <> 'delivered')"
    )
    return {f"{row['channel']}:{row['number']}" for row in rows}
