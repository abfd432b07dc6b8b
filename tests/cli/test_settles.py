"""Every kind of item on the morning screen: money, age, a command; running it settles the item.

Each case builds one item, reads its command from `status --json`, fills in what stands in capitals,
runs exactly that and the delivery after it, and looks whether the item is gone.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kmtool.domain.states import OrderStatus, RefundState
from kmtool.shop import Shop
from kmtool.store import house
from tests.cli.owner_kit import HOUR_MS, Owner, keys
from tests.cli.owner_kit import owner as owner
from tests.fakes import order, world


def by_hand(owner: Owner) -> None:
    owner.toml('couriers = ["tests.fakes"]', 'couriers = ["by_hand"]')


# ---------------------------------------------------------------- how each kind comes about


def below_cost(o: Owner) -> None:
    o.bought(amount=1)


def flagged(o: Owner) -> None:
    o.bought(risk="stolen card")


def too_many(o: Owner) -> None:
    o.toml("[channels.shop1]", "[brakes]\nbuyer_pieces_per_hour = 1\n[channels.shop1]")
    o.bought(quantity=2, amount=2000)


def too_little_paid(o: Owner) -> None:
    o.run("product", "map", "shop1", "i1", "S1", "--price", "20.00")
    o.bought()


def no_pieces(o: Owner) -> None:
    o.bought()
    o.run("order", "hold", "A1")
    o.sql("UPDATE lines SET quantity = 0, needed = 0", "UPDATE orders SET hold_reason = NULL")


def shipped_there(o: Owner) -> None:
    o.bought(status=OrderStatus.SHIPPED)


def unmapped(o: Owner) -> None:
    o.bought(item="i9")


def off(o: Owner) -> None:
    o.run("product", "set", "S1", "--state", "off")
    o.bought()


def short(o: Owner) -> None:
    o.bought(quantity=10, amount=10_000)
    o.toml("[channels.shop1]", "[brakes]\nbuyer_pieces_per_hour = 0\n[channels.shop1]")


def no_text(o: Owner) -> None:
    o.run("product", "add", "T1", "--title", "a guide", "--kind", "text")
    o.run("product", "map", "shop1", "i7", "T1")
    (o.folder / "guide.txt").write_text("How to play\n", encoding="utf-8")
    o.bought(item="i7")


def short_for_a_replacement(o: Owner) -> None:
    o.bought()
    o.deliver()
    o.sql("UPDATE keys SET state = 'void' WHERE state = 'free'", "UPDATE stock SET free = 0")
    o.run("order", "replace", "A1", "--reason", "it does not open", "--yes")


def asked(o: Owner) -> None:
    o.toml('mode = "auto"', 'mode = "ask"')
    o.bought()


def asked_for_two(o: Owner) -> None:
    asked(o)
    o.bought("A2")


def paused(o: Owner) -> None:
    o.run("pause", "S1")
    o.bought()


def paused_after_binding(o: Owner) -> None:
    by_hand(o)
    o.bought()
    o.run("deliver", "--by-hand", typed="s\n", tty=True)
    o.run("pause", "shop1")
    o.run("deliver", "--by-hand", tty=True)


def no_address(o: Owner) -> None:
    world("shop1").refuse_address = "the buyer left no address"
    o.bought()


def to_paste(o: Owner) -> None:
    by_hand(o)
    o.bought()
    o.bought("A2")


def perhaps_pasted(o: Owner) -> None:
    by_hand(o)
    o.bought()
    o.run("deliver", "--by-hand", typed="u\n", tty=True)


def taken_back(o: Owner) -> None:
    to_paste(o)
    o.run("deliver", "--by-hand", typed="\nb\ns\n\n", tty=True)


def refused_by_the_route(o: Owner) -> None:
    world("shop1").faults = ["rejected"]
    o.bought()


def unclear(o: Owner) -> None:
    world("shop1").faults = ["lost"]
    o.bought()
    o.run("deliver")
    o.clock.advance(1_000)


def changed_after_delivery(o: Owner) -> None:
    o.bought()
    o.deliver()
    o.bought(quantity=2, amount=2000)


def refund_asked_before(o: Owner) -> None:
    o.bought(refund=RefundState.OPEN)


def part_refunded(o: Owner) -> None:
    o.bought(refund=RefundState.PARTIAL, quantity=2, amount=2000)


def refund_after(o: Owner) -> None:
    o.bought()
    o.deliver()
    o.bought(refund=RefundState.FULL)


def not_marked(o: Owner) -> None:
    world("shop1").faults = ["", "ship_rejected"]
    o.bought()


def lent_long_ago(o: Owner) -> None:
    o.run("key", "lend", "S1", "--pool", "kq", "-n", "2", "--form", "91kaquan", "-o", "l.csv")
    o.clock.advance(8 * 24 * HOUR_MS)
    rows = "卡号,状态\nSETTLE-k-0000,已使用\nSETTLE-k-0001,未使用\n"
    (o.folder / "pool.csv").write_text(rows, encoding="utf-8")


def nobody_ships(o: Owner) -> None:
    o.toml('mode = "auto"', 'mode = "watch"')
    o.bought()
    o.clock.advance(25 * HOUR_MS)


def money_missing(o: Owner) -> None:
    now = o.clock.now_ms()
    o.sql(
        "INSERT INTO exceptions (code, subject, account, state, resolution, amount_minor,"
        " currency, evidence, actor, reason, opened_ms, moved_ms, moves) VALUES"
        f" ('MISSING_PAYOUT', 'order:shop1:A1', 'alipay', 'open', '', 500, 'CNY', '', '', '',"
        f" {now}, {now}, 0)"
    )


# ---------------------------------------------------------------- the item, and what fills it in

RELEASE, REDELIVER = "kmtool order release A1", "kmtool order redeliver A1"
PASTE = "kmtool deliver --by-hand"
CASES: dict[str, tuple[Callable[[Owner], None], str, int, dict[str, str]]] = {
    # what is so · the command it names · its money · what the owner fills in
    "below cost": (below_cost, RELEASE, 1, {}),
    "flagged": (flagged, RELEASE, 1000, {}),
    "too many at once": (too_many, RELEASE, 2000, {}),
    "too little was paid": (too_little_paid, RELEASE, 1000, {}),
    "a line of no pieces": (no_pieces, "kmtool order close A1", 1000, {}),
    "shipped there already": (shipped_there, "kmtool order close A1", 1000, {}),
    "not mapped": (unmapped, "kmtool product map shop1 i9 SKU", 1000, {"SKU": "S1"}),
    "the product is off": (off, "kmtool product set S1 --state on", 1000, {}),
    "short of stock": (short, "kmtool import FILE --sku S1", 10_000, {"FILE": "m.txt"}),
    "no text yet": (no_text, "kmtool product set T1 --text FILE", 1000, {"FILE": "guide.txt"}),
    "short for a replacement": (
        short_for_a_replacement, "kmtool import FILE --sku S1", 1000, {"FILE": "m.txt"},
    ),
    "the channel asks": (asked, RELEASE, 1000, {}),
    "the channel asks twice": (asked_for_two, "kmtool channel release shop1", 2000, {}),
    "paused": (paused, "kmtool resume S1", 1000, {}),
    "paused after its key was bound": (paused_after_binding, "kmtool resume shop1", 1000, {}),
    "no address": (no_address, "kmtool deliver A1", 1000, {}),
    "two to paste": (to_paste, PASTE, 2000, {}),
    "perhaps pasted": (perhaps_pasted, f"{PASTE} A1", 1000, {}),
    "sent, then taken back": (taken_back, f"{PASTE} A1", 1000, {}),
    "refused by the route": (refused_by_the_route, REDELIVER, 1000, {}),
    "outcome unclear": (unclear, "kmtool deliver", 1000, {}),
    "changed after delivery": (changed_after_delivery, RELEASE, 2000, {}),
    "a refund is asked for": (refund_asked_before, "kmtool order refund A1", 1000, {}),
    "part was refunded": (part_refunded, f"{RELEASE} --quantity N", 2000, {"N": "1"}),
    "refunded after delivery": (refund_after, "kmtool order refund A1", 1000, {}),
    "not marked shipped": (not_marked, REDELIVER, 1000, {}),
    "lent and not read back": (
        lent_long_ago, "kmtool key lend-back kq FILE", 1000, {"FILE": "pool.csv"},
    ),
    "watched and shipped by nobody": (
        nobody_ships, "kmtool channel set shop1 --mode ask", 1000, {},
    ),
    "money missing": (
        money_missing, "kmtool recon resolve 1 --reason TEXT", 500, {"TEXT": "paid in cash"},
    ),
}  # fmt: skip
TYPED = {
    "two to paste": "\n\n", "perhaps pasted": "\n", "sent, then taken back": "\n",
    "a refund is asked for": "a\ny\n", "refunded after delivery": "d\ny\n",
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_command_of_an_item_settles_it(case: str, owner: Owner) -> None:
    make, command, amount, filled = CASES[case]
    make(owner)
    if case != "outcome unclear":
        owner.run("deliver")
    found = owner.items()
    assert [one["command"] for one in found] == [command]
    (item,) = found
    assert (item["amount"], item["currency"]) == (amount, "CNY")
    assert item["since"] is not None and item["what"]
    owner.clock.advance(3 * 60_000)
    world("shop1").refuse_address = ""
    keys(owner, "m.txt", 4)
    words = [filled.get(word, word) for word in item["command"].split()[1:]]
    typed = TYPED.get(case, "")
    told = owner.cli(*words, *([] if typed else ["--yes"]), input=typed, tty=bool(typed))
    assert told.code in {0, 3, 8}, (told.out, told.err)
    owner.deliver()
    left = [one["command"] for one in owner.items()]
    assert command not in left, (told.out, told.err)
    follow = {
        "watched and shipped by nobody": [RELEASE],
        "paused after its key was bound": [PASTE],
    }.get(case, [])  # fmt: skip
    assert left == follow, "what is left has its own next step"


def test_orders_of_one_number_are_named_with_their_channel(owner: Owner) -> None:
    owner.toml("[channels.shop1]", '[channels.shop2]\nadapter = "tests.fakes"\n[channels.shop1]')
    owner.run("product", "map", "shop2", "i1", "S1")
    for name in ("shop1", "shop2"):
        owner.clock.advance(5_000)
        fact = order("A1", at_ms=owner.clock.now_ms(), risk="odd")
        world(name).orders["A1"] = fact
    owner.clock.advance(5_000)
    owner.run("channel", "set", "shop2", "--mode", "auto", "--courier", "tests.fakes")
    owner.run("sync")
    owner.run("deliver")
    commands = sorted(one["command"] for one in owner.items())
    assert commands == ["kmtool order release shop1:A1", "kmtool order release shop2:A1"]
    for command in commands:
        owner.run(*command.split()[1:])
    owner.deliver()
    assert owner.items() == []


def test_closing_sends_nothing_and_asks_first(owner: Owner) -> None:
    shipped_there(owner)
    owner.run("deliver")
    assert owner.cli("order", "close", "A1").code == 6
    asked = owner.cli("order", "close", "A1", input="n\n", tty=True)
    assert (asked.code, "1 line, ￥10.00" in asked.err) == (6, True)
    owner.run("order", "close", "A1", "--yes")
    owner.deliver()
    assert world("shop1").received == {}
    assert owner.cli("order", "close", "A1", "--yes").code == 6, "nothing is waiting any more"
    line = owner.cli("order", "show", "A1", "--json").json()["lines"][0]
    assert (line["state"], "delivered otherwise" in line["reason"]) == ("closed", True)


CHECKS = {
    "backup": "kmtool db backup",
    "sessions": "kmtool doctor --fix",
}


def test_the_mend_of_a_check_mends_it(owner: Owner) -> None:
    def leave(shop: Shop) -> None:
        with shop.db.tx():
            shop.db.run(
                "INSERT INTO sessions (kind, token, host, pid, state, started_ms, heartbeat_ms)"
                " VALUES ('deliver', 77, 'h', 1, 'live', 1, 1)"
            )
            house.set_meta(shop.db, "nudge_ms", "1")

    owner.inside(leave)
    checks = {one["name"]: one for one in owner.cli("status", "--json").json()["checks"]}
    assert {name: checks[name]["mend"] for name in CHECKS} == CHECKS
    for name, mend in CHECKS.items():
        assert not checks[name]["ok"]
        owner.run(*mend.split()[1:])
        after = {one["name"]: one for one in owner.cli("status", "--json").json()["checks"]}
        assert after[name]["ok"], after[name]
