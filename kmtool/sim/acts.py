"""What the operator does, and what lies around the shop: a table of acts with their weights.

Each act calls the real operation as its command does, and keeps in the truth what is allowed after
it. The costly ones (restore, clone, move) have small weights.
"""

from __future__ import annotations

from kmtool.sim import acts_answers as answers
from kmtool.sim import acts_buyers as buyers
from kmtool.sim import acts_desk as desk
from kmtool.sim import acts_jobs as jobs
from kmtool.sim import acts_losses as losses
from kmtool.sim import acts_machines as machines
from kmtool.sim import acts_orders as orders
from kmtool.sim import acts_pools as pools
from kmtool.sim import acts_proofs as proofs
from kmtool.sim import acts_seldom as seldom
from kmtool.sim import acts_stock as stock
from kmtool.sim import pictures, topups
from kmtool.sim.stage import Act

MACHINES: tuple[Act, ...] = (
    Act(2, "backup", machines.keep_backup),
    Act(1, "copy the file", machines.keep_file),
    Act(1, "copy the folder", machines.keep_folder),
    Act(1, "come back", machines.come_back),
    Act(1, "hurt the journal", losses.hurt_journal),
    Act(1, "lose the database", losses.lose_database),
    Act(1, "wake an old place", machines.wake_old),
    Act(1, "move", machines.move_folder),
    Act(1, "move packed", machines.move_packed),
    Act(1, "copy over", machines.copy_over),
    Act(1, "anchor", proofs.anchor),
    Act(1, "drill", losses.drill),
)
"""What happens to the whole shop: costly, and seldom."""

ACTS: tuple[Act, ...] = (
    Act(4, "hold", orders.hold),
    Act(4, "release", orders.release),
    Act(3, "release the rest", orders.release_rest),
    Act(1, "release a channel", orders.release_channel),
    Act(1, "note", orders.note),
    Act(2, "close", orders.close),
    Act(3, "redeliver", orders.redeliver),
    Act(3, "replace", orders.replace),
    Act(5, "answer a refund", orders.refund),
    Act(4, "morning", answers.morning),
    Act(6, "paste", desk.paste),
    Act(3, "sell", desk.counter_sale),
    Act(1, "write down", desk.write_down),
    Act(2, "write down what is known", desk.write_down_known),
    Act(2, "look", desk.read_along),
    Act(3, "coupon", buyers.coupon),
    Act(2, "price slip", buyers.price_slip),
    Act(1, "burst", buyers.burst),
    Act(1, "same file", stock.same_again),
    Act(2, "half old", stock.half_old),
    Act(1, "paste twice", stock.paste_twice),
    Act(1, "wrong file", stock.wrong_file),
    Act(1, "undo late", stock.undo_late),
    Act(2, "text", stock.new_text),
    Act(2, "template", stock.template),
    Act(1, "floor", stock.floor),
    Act(1, "switch off", stock.switch_off),
    Act(2, "pause", stock.pause),
    Act(4, "resume", stock.resume),
    Act(3, "tell stock", jobs.tell_stock),
    Act(2, "small jobs", jobs.small_jobs),
    Act(2, "mode", jobs.change_mode),
    Act(2, "lend", pools.lend),
    Act(3, "pool gives out", pools.give_out),
    Act(2, "read a pool back", pools.read_back),
    Act(1, "settle", jobs.settle_up),
    *MACHINES,
)

SMALL = (
    Act(3, "hold", orders.hold),
    Act(2, "release", orders.release),
    Act(2, "close", orders.close),
    Act(2, "redeliver", orders.redeliver),
    Act(2, "replace", orders.replace),
    Act(3, "answer a refund", orders.refund),
    Act(2, "pause", stock.pause),
    Act(1, "resume", stock.resume),
    Act(1, "template", stock.template),
    Act(2, "paste", desk.paste),
    Act(1, "sell", desk.counter_sale),
)
"""Acts that may be done while a process stands still in the middle of something."""

SELDOM: tuple[Act, ...] = (
    Act(2, "slip of a pair", buyers.slip_of_a_pair),
    Act(2, "release too late", buyers.release_too_late),
)
"""What a shop sees once a month. Not in ordinary lives: see `played`."""

RARE: tuple[Act, ...] = (
    Act(8, "refund in the same second", seldom.same_second),
    Act(8, "fewer pieces", seldom.fewer_pieces),
    Act(3, "crowd", seldom.crowd),
)
"""The same, so seldom that lives of their own are made of them."""

TOPUPS: tuple[Act, ...] = (
    Act(10, "order top-ups", topups.order),
    Act(2, "rush for top-ups", topups.rush),
)
"""Orders for which a supplier charges an account."""

SUPPLIERS: tuple[Act, ...] = (
    Act(6, "order a key beside", topups.order_both),
    Act(6, "another supplier", topups.change_supplier),
    Act(2, "a supplier's bad week", topups.bad_week),
)
"""What else happens with suppliers."""

PICTURES: tuple[Act, ...] = (
    Act(14, "order pictures", pictures.order),
    Act(4, "import pictures", pictures.bring),
    Act(2, "pictures again", pictures.same_again),
    Act(4, "a picture cannot be scanned", pictures.cannot_be_scanned),
)
"""Keys that are pictures, at channels whose couriers take them along or not."""

LISTS: tuple[Act, ...] = (
    Act(4, "lend", pools.lend),
    Act(3, "list of yesterday", pools.old_list),
    Act(3, "part of a list", pools.part_of_a_list),
    Act(3, "came back used", pools.came_back_used),
)
"""What owners of lent keys do wrong with the lists of their pools."""

COSTLY = frozenset(act.name for act in MACHINES)

ORDINARY: tuple[Act, ...] = tuple(act for act in ACTS if act not in MACHINES)
OF_SIXTEEN: dict[int, tuple[Act, ...]] = {
    3: (*ORDINARY, *SELDOM, *RARE),
    7: (*ORDINARY, *LISTS),
    11: (*ACTS, *TOPUPS),
    13: (*ACTS, *TOPUPS, *SUPPLIERS),
    15: (*ACTS, *PICTURES),
}
"""Of sixteen lives so many are of their own kind; two of them without what happens to machines."""


def played(seed: int) -> tuple[Act, ...]:
    """Return what owners do in the life of a seed: most lives are ordinary ones."""
    return OF_SIXTEEN.get(seed % 16, ACTS)
