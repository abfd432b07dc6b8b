"""Mistakes with refunds, changed orders, and the order in which a channel's news come in."""

from __future__ import annotations

from bench.mutants import Edit, Mutant, Sees

REFUNDS = "kmtool/operations/refunds.py"
INGEST = "kmtool/operations/ingest.py"
GATES = "kmtool/domain/gates.py"

REFUND: tuple[Mutant, ...] = (
    Mutant(
        "refund_not_asked_at_intent",
        (
            Edit(
                "kmtool/operations/send.py",
                '    if refund_blocks(order) and effect["kind"] != EffectKind.REFUND_REPLY:\n',
                '    if refund_blocks(order) and effect["kind"] == EffectKind.PURCHASE:\n',
            ),
            Edit(
                "kmtool/operations/permit.py",
                "MAY_LEAVE = frozenset({LineState.RESERVED, LineState.UNKNOWN})",
                "MAY_LEAVE = frozenset({LineState.RESERVED, LineState.UNKNOWN,"
                " LineState.REFUND_CASE})",
            ),
        ),
        "what is unclear is sent once more although its order was refunded meanwhile",
        Sees.STOPPED,
    ),
    Mutant(
        "undone_after_a_try",
        (
            Edit(
                REFUNDS,
                '    bound = deliveries.allocations(db, [line["id"] for line in lines])\n'
                '    if effect["tries"] or any(row["state"] != AllocationState.RESERVED'
                " for row in bound):\n        return 0\n",
                '    bound = deliveries.allocations(db, [line["id"] for line in lines])\n',
            ),
        ),
        "a parcel that was tried already is undone, and its line gets other keys",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "refund_keeps_the_keys",
        (Edit(REFUNDS, "    unpack_all(shop, order_id, why)\n", ""),),
        "a refund before the delivery does not give the keys back to the shelf",
        Sees.DOCTOR,
    ),
    Mutant(
        "partial_refund_passes",
        (
            Edit(
                GATES,
                "    if s.refund is RefundState.NONE or"
                " (s.refund is RefundState.PARTIAL and s.released):",
                "    if s.refund in {RefundState.NONE, RefundState.PARTIAL}:",
            ),
            Edit(
                REFUNDS,
                '        return order["released_ms"] is None\n',
                "        return False\n",
            ),
        ),
        "an order whose money went back in part is delivered whole without a person's word",
        Sees.STOPPED,
    ),
    Mutant(
        "released_quantity_ignored",
        (
            Edit(
                "kmtool/operations/order_changes.py",
                "    orders.set_needed(shop.db, line_id, quantity * units_of(shop, order, line))\n",
                '    orders.set_needed(shop.db, line_id, line["needed"])\n',
            ),
        ),
        "a partial refund is released with a quantity, and all pieces go out",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "release_stands_for_ever",
        (
            Edit(
                INGEST,
                "        if _asks_anew(row, values):\n"
                "            orders.set_released(db, order_id, None)\n",
                "",
            ),
        ),
        "a release answers refunds too that came after it",
        Sees.STOPPED,
    ),
    Mutant(
        "old_news_wins",
        (
            Edit(
                INGEST,
                'newer = digest != row["fact_hash"] and _is_newer(row, fact, read)',
                'newer = digest != row["fact_hash"]',
            ),
        ),
        "whatever comes last is believed, even when it is older than what is known",
        Sees.STOPPED,
    ),
    Mutant(
        "same_second_ignored",
        (
            Edit(
                INGEST,
                '    return (stands and stops) or not 0 < row["facts_ms"] - read_ms'
                " < SAME_PULL_MS\n",
                "    return False\n",
            ),
        ),
        "a refund within the second of the payment is taken for the same news",
        Sees.STOPPED,
        "rare",
    ),
    Mutant(
        "change_after_binding_ignored",
        (
            Edit(
                INGEST,
                "        if changed_after(shop, order, row, told):\n",
                "        if not told:\n",
            ),
        ),
        "a line that changes after its keys were bound is sent as it was",
        Sees.ITS_KEYS,
        "rare",
    ),
    Mutant(
        "cursor_too_early",
        (
            Edit(
                "kmtool/operations/sync.py",
                "            if page.last and _reaches(shop, pull.name, window):\n",
                "            if _reaches(shop, pull.name, window):\n",
            ),
        ),
        "the cursor moves with the first page of a window: what a time-out cuts off is never read",
        Sees.ENDS,
    ),
    Mutant(
        "unpaid_goes_out",
        (Edit(GATES, "    if s.status is OrderStatus.UNPAID:\n", "    if s.status is None:\n"),),
        "an order is delivered before it is paid",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "shipped_too_early",
        (
            Edit(
                "kmtool/operations/shipped.py",
                "in progress.items() if sent and not left]",
                "in progress.items() if sent or left]",
            ),
        ),
        "the channel hears «shipped» with the first line of an order",
        Sees.ITS_KEYS,
    ),
)
