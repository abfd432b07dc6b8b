"""Mistakes in brakes and gates."""

from __future__ import annotations

from bench.mutants import Edit, Mutant, Sees

GATES = "kmtool/domain/gates.py"
RESERVE = "kmtool/operations/reserve.py"
FACTS = "kmtool/operations/facts.py"

BRAKES: tuple[Mutant, ...] = (
    Mutant(
        "price_of_one_piece",
        (
            Edit(
                GATES,
                "    cost_minor = e5_to_minor(s.cost_e5 * s.needed, s.currency)\n",
                "    cost_minor = e5_to_minor(s.cost_e5, s.currency)\n",
            ),
        ),
        "what a whole line paid is compared with the cost of one key",
        Sees.STOPPED,
    ),
    Mutant(
        "price_off_by_a_factor",
        (
            Edit(
                GATES,
                "s.limits.below_cost and s.amount_minor < cost_minor:",
                "s.limits.below_cost and s.amount_minor * 100 < cost_minor:",
            ),
        ),
        "yuan are compared with cents: the brake is off by a factor",
        Sees.STOPPED,
    ),
    Mutant(
        "burst_counted_afterwards",
        (
            Edit(
                RESERVE,
                "            facts.count(order, line)\n            go.append(line)\n",
                "            go.append(line)\n",
            ),
        ),
        "a burst is counted when it has left, not while it is decided",
        Sees.STOPPED,
    ),
    Mutant(
        "burst_never_counted",
        (Edit(RESERVE, "    _count(shop, facts, go)\n", ""),),
        "what left is not counted for the next look",
        Sees.STOPPED,
    ),
    Mutant(
        "burst_of_bundles_ignored",
        (
            Edit(
                FACTS,
                '    return needs(line, parts) if line["kind"] == "bundle" else []\n',
                "    return []\n",
            ),
            Edit(
                FACTS,
                '        taken = [*self.needs(line), (line["sku"] or "", line["needed"])]\n',
                '        taken = [(line["sku"] or "", line["needed"])]\n',
            ),
        ),
        "keys that leave as parts of bundles are not counted",
        Sees.STOPPED,
        "rare",
    ),
    Mutant(
        "buyer_burst_by_lines",
        (
            Edit(
                RESERVE,
                'buyers[buyer] = buyers.get(buyer, 0) + line["needed"]',
                "buyers[buyer] = buyers.get(buyer, 0) + 1",
            ),
        ),
        "a buyer's orders are counted instead of the pieces",
        Sees.STOPPED,
    ),
    Mutant(
        "burst_of_a_minute",
        (Edit(FACTS, "HOUR_MS = 3_600_000\n", "HOUR_MS = 60_000\n"),),
        "the window of the burst brakes is off by a factor",
        Sees.STOPPED,
    ),
    Mutant(
        "watch_can_be_released",
        (
            Edit(GATES, "    (Gate.MODE, watch, False),\n", "    (Gate.MODE, watch, True),\n"),
            Edit(
                "kmtool/operations/permit.py",
                "    return found.mode is Mode.WATCH or (asks and order",
                "    return (asks and order",
            ),
        ),
        "a release sends on a channel that is on watch, where somebody else sends",
        Sees.STOPPED,
    ),
    Mutant(
        "hold_not_stored",
        (
            Edit(
                "kmtool/operations/order_changes.py",
                "        orders.set_hold(shop.db, order_id, reason, shop.now_ms())\n",
                "",
            ),
        ),
        "a hold takes the keys back and goes on record, and nothing else knows of it",
        Sees.STOPPED,
    ),
    Mutant(
        "pause_of_a_product_misspelt",
        (
            Edit(
                "kmtool/operations/facts.py",
                '(f"sku:{sku}", sku or "")):',
                '(f"product:{sku}", sku or "")):',
            ),
            Edit(
                "kmtool/store/effects.py",
                "p.scope = 'sku:' || l.sku\"",
                "p.scope = 'product:' || l.sku\"",
            ),
        ),
        "the pause of a product is written by one name and asked for by another",
        Sees.STOPPED,
    ),
)
