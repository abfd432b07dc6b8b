"""The numbers that the shop gives to orders of its own counter: no two orders ever share one.

Codes and the numbers of purchases follow from an order's number, so an order that gets the number
of a lost one would be taken for it. What was sent or bought before a restore keeps its number;
where the send journal was lost too, nobody knows which are taken: new ones are told apart by a mark
then.
"""

from __future__ import annotations

from kmtool.clock import business_day
from kmtool.domain.states import COUNTER
from kmtool.operations import without_journal
from kmtool.shop import Shop
from kmtool.store import orders, purchases, seen_keys


def next_number(shop: Shop, letter: str) -> str:
    """Return the next number of the day: letter, day, the mark if there is one, a count."""
    day = business_day(shop.now_ms(), shop.config.shop.timezone).strftime("%Y%m%d")
    mark = without_journal.number_mark(shop)
    stem = f"{letter}{day}-{mark}-" if mark else f"{letter}{day}-"
    bought = {number for name, number, _ in purchases.bought_places(shop.db) if name == COUNTER}
    n = orders.count_numbers(shop.db, COUNTER, stem)
    while True:
        n += 1
        number = f"{stem}{n:04d}"
        sent = seen_keys.seen_of_order(shop.db, COUNTER, number)
        if not sent and number not in bought and orders.find(shop.db, COUNTER, number) is None:
            return number
