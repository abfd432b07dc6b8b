"""Ways to break what a shop promises, each with the checks of the doctor that must notice."""

from __future__ import annotations

from collections.abc import Callable

from kmtool.journal import JournalEntry
from kmtool.operations import doctor
from kmtool.shop import Shop
from kmtool.store import ledger

START = 1_795_305_600_000


def failing(shop: Shop) -> set[str]:
    checks = [*doctor.ledger_checks(shop), *doctor.opening_checks(shop)]
    return {check.name for check in checks if not check.ok}


def run(shop: Shop, *statements: str) -> None:
    for sql in statements:
        with shop.db.tx():
            shop.db.run(sql)


ORDER = "(SELECT id FROM orders WHERE number = '{}')"
LINE = "(SELECT id FROM lines WHERE order_id = (SELECT id FROM orders WHERE number = '{}'))"
KEY = (
    "(SELECT key_id FROM allocations WHERE line_id IN (SELECT l.id FROM lines l"
    " JOIN orders o ON o.id = l.order_id WHERE o.number = '{}'))"
)
FREE = "(SELECT max(id) FROM keys WHERE state = 'free')"


def two_lines(shop: Shop) -> None:
    run(
        shop,
        "DROP INDEX allocations_one_buyer",
        f"UPDATE keys SET state = 'quarantine' WHERE id = {KEY.format('A3')}",
        f"UPDATE allocations SET key_id = {KEY.format('A1')} WHERE line_id = {LINE.format('A3')}",
    )


def sent_twice(shop: Shop) -> None:
    key = shop.db.value(f"SELECT {KEY.format('A1')}")
    run(
        shop,
        f"UPDATE lines SET state = 'closed' WHERE id = {LINE.format('A1')}",
        f"UPDATE allocations SET state = 'withdrawn' WHERE line_id = {LINE.format('A1')}",
        f"UPDATE allocations SET key_id = {key} WHERE line_id = {LINE.format('A2')}",
    )


def seen_but_free(shop: Shop) -> None:
    now = shop.now_ms()  # its record in the journal is only just due
    run(
        shop,
        f"UPDATE keys SET state = 'free' WHERE id = {KEY.format('A3')}",
        f"UPDATE allocations SET state = 'exposed', exposed_ms = {now}"
        f" WHERE line_id = {LINE.format('A3')}",
    )


def same_fingerprint(shop: Shop) -> None:
    copy = (
        "INSERT INTO keys (fingerprint, sealed, data_key_id, tail, sku, batch_id, line_no, state,"
        " uses_left, expires_ms, state_ms) SELECT fingerprint, sealed, data_key_id, tail, sku,"
        f" batch_id, 99, 'void', 0, expires_ms, state_ms FROM keys WHERE id = {FREE}"
    )
    if shop.db.dialect == "postgresql":
        run(shop, "ALTER TABLE keys DROP CONSTRAINT keys_fingerprint_key")
    else:
        text = str(shop.db.value("SELECT sql FROM sqlite_master WHERE name = 'keys'"))
        loose = text.replace("NOT NULL UNIQUE", "NOT NULL", 1).replace("TABLE keys", "TABLE other")
        assert loose != text
        shop.db.run("PRAGMA foreign_keys = OFF")
        shop.db.run("PRAGMA legacy_alter_table = ON")
        run(
            shop, loose, "INSERT INTO other SELECT * FROM keys", "DROP TABLE keys",
            "ALTER TABLE other RENAME TO keys",
        )  # fmt: skip
    run(shop, copy, "UPDATE batches SET accepted = accepted + 1")


def unbalanced(shop: Shop, *amounts: int) -> None:
    for n, amount in enumerate(amounts):
        with shop.db.tx():
            ledger.post(
                shop.db,
                1,
                "test",
                str(n),
                "",
                [("cost:keys", "CNY", 5), ("asset:stock", "CNY", -5)],
            )
            shop.db.run(
                "UPDATE ledger_postings SET amount_minor = amount_minor + :n WHERE id ="
                " (SELECT max(id) FROM ledger_postings)",
                n=amount,
            )


def not_shipped_there(shop: Shop) -> None:
    shop.clock.advance(7_200_000)  # type: ignore[attr-defined]
    run(shop, "UPDATE orders SET facts_ms = marked_ms + 700000 WHERE number = 'A1'")


def journalled_but_free(shop: Shop) -> None:
    value = shop.db.value(f"SELECT fingerprint FROM keys WHERE id = {FREE}")
    shop.journal.append([JournalEntry("SEND", "shop1", "X9", "1", bytes(value).hex(), 1)])


def swap(table: str) -> Callable[[Shop], None]:
    first = f"(SELECT min(id) FROM {table})"
    return lambda shop: run(
        shop,
        f"UPDATE {table} SET sealed = (SELECT sealed FROM {table} WHERE id = {first})"
        f" WHERE id = (SELECT max(id) FROM {table})",
    )


def sql(*statements: str) -> Callable[[Shop], None]:
    return lambda shop: run(shop, *statements)


A1_TRY = (
    "(SELECT e.id FROM effects e JOIN orders o ON o.id = e.order_id WHERE o.number = 'A1'"
    " AND e.kind = '{}')"
)
HANDED, MARKED = A1_TRY.format("hand_over"), A1_TRY.format("mark_shipped")
BREAKERS: dict[str, tuple[Callable[[Shop], None], set[str]]] = {
    "one key bound to two lines": (two_lines, {"one_buyer"}),
    "one key sent for two lines": (sent_twice, {"one_exposure"}),
    "a key that was sent is free": (seen_but_free, {"seen_not_free"}),
    "more is held than was ever held back": (
        sql("UPDATE stock SET held = 1 WHERE sku = 'S1'"),
        {"held_counter"},
    ),
    "stock is held for a line that has its keys": (
        sql(
            "INSERT INTO stock_holds (line_id, order_id, sku, channel, n, state, lowered, held_ms,"
            " expires_ms, reason) SELECT l.id, l.order_id, 'S1', 'shop1', 1, 'paid', 0, 1, 2, ''"
            f" FROM lines l WHERE l.id = {LINE.format('A1')}",
            "UPDATE stock SET held = 1 WHERE sku = 'S1'",
        ),
        {"held_for_waiting"},
    ),
    "a delivered line lacks a key": (
        sql(f"UPDATE lines SET needed = 2 WHERE id = {LINE.format('A1')}"),
        {"delivered_whole"},
    ),
    "a key given to more buyers than it serves": (
        sql(
            f"UPDATE allocations SET exclusive = 0 WHERE line_id = {LINE.format('A1')}",
            f"UPDATE keys SET uses_left = 1 WHERE id = {KEY.format('A1')}",
        ),
        {"uses_kept"},
    ),
    "a top-up that nobody was charged for": (
        sql(f"UPDATE lines SET kind = 'topup' WHERE id = {LINE.format('A1')}"),
        {"charged_once"},
    ),
    "a delivered line without a good try": (
        sql(f"UPDATE attempts SET state = 'rejected' WHERE effect_id = {HANDED}"),
        {"delivered_proved"},
    ),
    "a part of a message that never arrived": (
        sql(
            f"UPDATE attempts SET state = 'rejected' WHERE effect_id = {HANDED}",
            f"UPDATE parcels SET part = 2, parts = 2 WHERE order_id = {ORDER.format('A1')}",
        ),
        {"delivered_proved", "parts_arrived"},
    ),
    "an open try of an ended session": (
        sql(f"UPDATE attempts SET state = 'intent' WHERE effect_id = {MARKED}"),
        {"no_open_try"},
    ),
    "a batch lost a key": (
        sql("UPDATE batches SET accepted = accepted + 1"), {"batch_sum"},
    ),
    "sent after a refund was known": (
        sql(f"INSERT INTO refunds SELECT {ORDER.format('A1')}, 'R1', 100, 'done', 1, 1"),
        {"refund_first"},
    ),
    "a key reserved for nothing": (
        sql(f"UPDATE lines SET state = 'cancelled' WHERE id = {LINE.format('A3')}"),
        {"reserved_in_flight"},
    ),
    "a reserved line that nobody sends": (
        sql(f"UPDATE effects SET state = 'cancelled' WHERE order_id = {ORDER.format('A3')}"),
        {"nothing_stuck"},
    ),
    "an effect under way without a sender": (
        sql(f"UPDATE effects SET state = 'inflight' WHERE order_id = {ORDER.format('A3')}"),
        {"nothing_stuck"},
    ),
    "a lent key that no pool has": (
        sql(
            f"UPDATE keys SET state = 'lent' WHERE id = {FREE}", "UPDATE stock SET free = free - 1"
        ),
        {"lent_alone"},
    ),
    "a wrong stock counter": (sql("UPDATE stock SET free = free + 1"), {"stock_counter"}),
    "one entry off": (lambda shop: unbalanced(shop, 1), {"ledger_zero", "entry_zero"}),
    "two entries off against each other": (
        lambda shop: unbalanced(shop, 1, -1), {"entry_zero"},
    ),
    "a cursor in the future": (
        sql(f"UPDATE cursors SET value_ms = {START + 10_000_000}"), {"cursor_past"},
    ),
    "marked shipped, but not there": (not_shipped_there, {"shipped_there"}),
    "the journal knows a free key as sent": (journalled_but_free, {"journal"}),
    "a sealed key swapped": (swap("keys"), {"keys_open"}),
    "a sealed message swapped": (swap("parcels"), {"parcels_open"}),
}  # fmt: skip
