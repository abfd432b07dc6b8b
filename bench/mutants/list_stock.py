"""Mistakes with keys, their kinds and their counters."""

from __future__ import annotations

from bench.mutants import Edit, Mutant, Sees

DELIVERIES = "kmtool/store/deliveries.py"
USES = "kmtool/store/uses.py"
TAKE = "kmtool/operations/take.py"
GATES = "kmtool/domain/gates.py"

STOCK: tuple[Mutant, ...] = (
    Mutant(
        "key_of_another_product",
        (
            Edit(
                DELIVERIES,
                "next AS MATERIALIZED (SELECT id FROM keys WHERE sku = :s AND state = 'free'\"",
                "next AS MATERIALIZED (SELECT id FROM keys WHERE :s <> '' AND state = 'free'\"",
            ),
        ),
        "the next free key is taken, of whichever product it is",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "key_state_not_compared",
        (
            Edit(
                DELIVERIES,
                "next AS MATERIALIZED (SELECT id FROM keys WHERE sku = :s AND state = 'free'\"",
                "next AS MATERIALIZED (SELECT id FROM keys WHERE sku = :s AND state <> 'void'\"",
            ),
            Edit(
                DELIVERIES,
                'uses_left = uses_left - 1, state_ms = :now"\n'
                "        \" WHERE id IN (SELECT id FROM next) AND state = 'free'\"",
                'uses_left = 0, state_ms = :now"\n        " WHERE id IN (SELECT id FROM next)"',
            ),
        ),
        "a key is taken by an update without its state: whoever has it already",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "counter_not_restored",
        (
            Edit(
                DELIVERIES,
                '    db.run("UPDATE stock SET free = free + 1 WHERE sku = :s", s=sku)\n'
                "    return str(sku)\n",
                "    return str(sku)\n",
            ),
        ),
        "a key that comes back is free, and the counter does not know",
        Sees.DOCTOR,
    ),
    Mutant(
        "one_use_too_many",
        (
            Edit(USES, "k.state = 'free' AND k.uses_left > 0 AND", "k.state = 'free' AND"),
            Edit(
                USES,
                'SET uses_left = uses_left - 1, state_ms = :now, state = CASE"',
                'SET uses_left = max(uses_left - 1, 0), state_ms = :now, state = CASE"',
            ),
            Edit(
                USES,
                "WHEN uses_left = 1 THEN 'delivered' ELSE",
                "WHEN uses_left = 0 THEN 'delivered' ELSE",
            ),
            Edit(USES, "\" AND state = 'free' AND uses_left > 0\"\n", "\" AND state = 'free'\"\n"),
        ),
        "a shared key counts its uses from 0 to N: one buyer too many",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "same_account_twice",
        (
            Edit(
                USES,
                '    fresh = "" if buyer is None else f" AND {_NOT_YET}"\n',
                '    fresh = ""\n',
            ),
        ),
        "a buyer who buys twice pays for the same shared key twice",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "pieces_not_times_units",
        (
            Edit(
                "kmtool/operations/ingest.py",
                '"needed": line.quantity * (listing["units"] if listing else 1),',
                '"needed": line.quantity,',
            ),
        ),
        "a listing that is sold by fives brings one key a piece",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "bundle_once",
        (
            Edit(
                TAKE,
                'units * line["needed"] if units else 1) for sku, units in parts_of]',
                "units if units else 1) for sku, units in parts_of]",
            ),
        ),
        "two bundles bring the keys of one",
        Sees.ITS_KEYS,
    ),
    Mutant(
        "fingerprint_of_the_row",
        (
            Edit(
                "kmtool/operations/import_keys.py",
                "(fingerprint(text.encode()), n, text) for n, text in file.parsed.keys\n",
                '(fingerprint(f"{n} {text}".encode()), n, text) for n, text in file.parsed.keys\n',
            ),
        ),
        "a key is known by its row and text: in another file it counts as new",
        Sees.ONE_BUYER,
    ),
    Mutant(
        "hold_never_ends",
        (
            Edit(
                "kmtool/store/holds.py",
                "        count_down(db, sku, sums[sku])\n",
                "        pass\n",
            ),
        ),
        "what was held for an order stays held after its keys were taken",
        Sees.DOCTOR,
    ),
    Mutant(
        "hold_ended_twice",
        (
            Edit(
                "kmtool/store/holds.py",
                '    count_down(db, hold["sku"], int(n))\n    return True\n',
                '    count_down(db, hold["sku"], int(n))\n'
                "    db.run(\n"
                "        \"UPDATE stock SET free = free + :n WHERE sku = :s AND :r = 'expired'\",\n"
                '        s=hold["sku"],\n        n=int(n),\n        r=state,\n    )\n'
                "    return True\n",
            ),
        ),
        "a hold that ends by time gives its keys back to the counter they never left",
        Sees.DOCTOR,
    ),
)
