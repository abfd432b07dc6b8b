"""Mistakes with lent keys, top-ups and replacements."""

from __future__ import annotations

from bench.mutants import Edit, Mutant, Sees

BACK = "kmtool/operations/lending_back.py"
TOPUP = "kmtool/operations/topup.py"
PURCHASES = "kmtool/operations/purchases.py"
HANDED = "kmtool/operations/handed.py"

LENDING: tuple[Mutant, ...] = (
    Mutant(
        "old_export_proves",
        (
            Edit(
                BACK,
                "    if not seen.unused or newest <= seen.file_ms >= shop.now_ms() - FRESH_MS:\n",
                "    if not seen.unused or newest or not newest:\n",
            ),
        ),
        "an export of yesterday proves what is unused in the pool today",
        Sees.ONE_BUYER,
        "lists",
    ),
    Mutant(
        "unnamed_is_unused",
        (
            Edit(
                BACK,
                '            kept["unused" if state == UNUSED else "missing"].append(key)\n',
                '            kept["unused"].append(key)\n',
            ),
        ),
        "what an export does not name, or in an unknown word, comes back into sale",
        Sees.ONE_BUYER,
        "lists",
    ),
    Mutant(
        "clash_stays_on_sale",
        (Edit(BACK, "    _quarantine(shop, seen.clashes)\n", ""),),
        "a key that came back and was given out there all the same is sold",
        Sees.ONE_BUYER,
        "lists",
    ),
    Mutant(
        "replay_forgets_lendings",
        (
            Edit(
                "kmtool/operations/lending_replay.py",
                "    return channel.startswith(store.POOL) and"
                " channel not in shop.config.channels\n",
                "    return channel.startswith(store.POOL) and channel in shop.config.channels\n",
            ),
        ),
        "a restore takes a lent key for one that an order waits for",
        Sees.DOCTOR,
        "pools",
    ),
    Mutant(
        "another_number_per_try",
        (
            Edit(
                TOPUP,
                '    elif last is not None and last["state"] in MADE_PERHAPS:\n',
                '    elif last is not None and last["state"] in {PurchaseState.ACCEPTED}:\n',
            ),
        ),
        "a purchase that is tried again gets a new number: the supplier sees two orders",
        Sees.MONEY,
        "topups",
    ),
    Mutant(
        "unclear_purchase_is_refused",
        (
            Edit(
                "kmtool/operations/purchase_outcome.py",
                "    if isinstance(answer, Unknown):\n",
                "    if isinstance(answer, Unknown) and not reason:\n",
            ),
            Edit(
                PURCHASES,
                "AttemptState.UNKNOWN if isinstance(answer, Unknown) else AttemptState.REJECTED",
                "AttemptState.REJECTED",
            ),
        ),
        "a time-out at the supplier counts as «not bought», and it is bought again",
        Sees.MONEY,
        "topups",
    ),
    Mutant(
        "purchase_grace_ignored",
        (
            Edit(
                PURCHASES,
                "answer is None and asked_ms >= over_ms:",
                "answer is None:",
            ),
        ),
        "a supplier that does not know a purchase yet is asked to make it again",
        Sees.MONEY,
        "topups",
    ),
    Mutant(
        "unclear_is_not_spent",
        (
            Edit(
                "kmtool/store/purchases.py",
                "SPENT = \"('intent', 'unknown', 'accepted', 'done',",
                "SPENT = \"('done',",
            ),
        ),
        "what may have been bought does not count against the limit of the day",
        Sees.MONEY,
        "topups",
    ),
    Mutant(
        "bad_key_back_on_sale",
        (
            Edit(
                "kmtool/operations/order_replace.py",
                '        store.end_key(shop.db, row["key_id"], "defective", shop.now_ms())\n'
                "        return\n",
                "        shop.db.run(\n"
                "            \"UPDATE keys SET state = 'free', uses_left = 1 WHERE id = :id\",\n"
                '            id=row["key_id"],\n        )\n'
                "        shop.db.run(\n"
                '            "UPDATE stock SET free = free + 1 WHERE sku = :s", s=row["sku"]\n'
                "        )\n        return\n",
            ),
        ),
        "a key that was replaced goes back to the shelf: «the next buyer may be luckier»",
        Sees.DOCTOR,
    ),
    Mutant(
        "cost_of_one_key",
        (
            Edit(
                HANDED,
                'amount = e5_to_minor(sum(costs), first["currency"])\n',
                'amount = e5_to_minor(costs[0], first["currency"])\n',
            ),
        ),
        "of several keys of a line the cost of one is booked",
        Sees.MONEY,
    ),
    Mutant(
        "cost_booked_twice",
        (
            Edit(
                HANDED,
                '                "delivered",\n                one.ref(',
                '                f"delivered {shop.now_ms()}",\n                one.ref(',
            ),
            Edit(
                HANDED,
                '            if key["state"] != AllocationState.EXPOSED:\n'
                "                continue\n",
                "",
            ),
            Edit(HANDED, "        all_moved(moved, len(ids))\n    _post(", "    _post("),
            Edit(
                HANDED,
                '            if key["amount_minor"] is not None:\n',
                '            if key["amount_minor"] is not None and not found:\n',
            ),
        ),
        "keys that are sent again, or proved late, are booked again",
        Sees.MONEY,
    ),
    Mutant(
        "consignment_is_owned",
        (Edit(HANDED, '        bought = mode == "buyout"\n', '        bought = mode != ""\n'),),
        "keys on consignment leave a stock that they never were in, and nobody is owed for them",
        Sees.MONEY,
    ),
)
