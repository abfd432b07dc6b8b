"""Every gate at the command line: it is shut, `order why` names it and a command, that opens it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kmtool.app import open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.domain.states import Gate, OrderStatus, RefundState
from kmtool.ports import LineFact
from kmtool.shop import Shop
from tests.fakes import Outside, order, world
from tests.operations.delivery_kit import KEY, START
from tests.operations.stock import shelf

AT = START + 1_000
Change = Callable[["Scene"], object]


@dataclass
class Scene:
    """A shop with one paid order A1 of one key, the world outside, and the command line."""

    run: Callable
    shop: Shop
    outside: Outside
    clock: ManualClock
    folder: Path

    def now_says(self, **facts: object) -> None:
        """The channel says something else of the order, later."""
        self.clock.advance(60_000)
        fact = replace(self.outside.orders["A1"], revision_ms=self.clock.now_ms() - 10_000, **facts)
        self.outside.orders["A1"] = fact

    def toml(self, old: str, new: str) -> None:
        """Edit kmtool.toml."""
        path = self.folder / "kmtool.toml"
        path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")

    def go(self) -> None:
        """One round of the daemon's work."""
        self.clock.advance(20_000)
        assert self.run("sync").code == 0
        assert self.run("deliver").code in (0, 3)

    def keys(self) -> int:
        """How many keys the buyer has."""
        texts = self.outside.received.get("A1", [])
        return len({key for text in texts for key in KEY.findall(text)})

    def why(self) -> tuple[str, str]:
        """The first gate that is shut, and the command `order why` gives."""
        (line, *_) = self.run("order", "why", "A1", "--json").json()["lines"]
        shut = [gate["gate"] for gate in line["gates"] if not gate["open"]]
        return (shut[0] if shut else line["state"]), line["command"]


@pytest.fixture
def scene(
    cli: Callable, shop_folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    with open_shop(load(shop_folder / "kmtool.toml"), clock=clock) as shop:
        shelf(shop, n=40)
        clock.advance(10_000)
        found = world("shop1")
        found.orders["A1"] = order("A1", at_ms=AT)
        yield Scene(cli, shop, found, clock, shop_folder)


def fact(**facts: object) -> Change:
    return lambda s: s.now_says(**facts)


def bought(**facts: object) -> Change:
    def change(s: Scene) -> None:
        currency = str(facts.pop("currency", "CNY"))
        s.outside.orders["A1"] = replace(order("A1", at_ms=AT, **facts), currency=currency)

    return change


def said(*words: str) -> Change:
    def change(s: Scene) -> None:
        told = s.run(*words)
        assert told.code == 0, told.err

    return change


def as_told(s: Scene) -> None:
    """Type the command that `order why` gives, letter by letter."""
    command = s.why()[1]
    assert command.startswith("kmtool "), command
    told = s.run(*shlex.split(command)[1:], "--yes")
    assert told.code == 0, f"{command}: {told.err}"


def told_with(placeholder: str, value: str) -> Change:
    """Type the given command with its placeholder filled in."""

    def change(s: Scene) -> None:
        command = s.why()[1]
        assert placeholder in command, command
        words = [value if word == placeholder else word for word in shlex.split(command)[1:]]
        told = s.run(*words, "--yes")
        assert told.code == 0, f"{command}: {told.err}"

    return change


def new_keys(s: Scene) -> None:
    (s.folder / "more.txt").write_text("KEY-S1-90001\nKEY-S1-90002\n", "utf-8")
    command = s.why()[1].replace("FILE", "more.txt")
    told = s.run(*shlex.split(command)[1:], "--supplier", "sup1", "--cost", "5", "--yes")
    assert told.code == 0, told.err


def empty_shelf(s: Scene) -> None:
    s.outside.orders["A0"] = order("A0", quantity=40, amount=40_000, at_ms=AT)
    s.toml("[channels.shop1]", "[brakes]\nbuyer_pieces_per_hour = 0\n[channels.shop1]")


def two_lines(s: Scene) -> None:
    shelf(s.shop, "S2", n=0, item="i2", supplier="sup2")
    lines = (
        LineFact("1", "i1", "", "item i1", 1, 1000),
        LineFact("2", "i2", "", "item i2", 1, 1000),
    )
    s.outside.orders["A1"] = order("A1", lines=lines, at_ms=AT)


def later(minutes: int) -> Change:
    return lambda s: s.clock.advance(minutes * 60_000)


def refuse(s: Scene) -> None:
    s.outside.refuse_address = "the order has no e-mail address"


def accept(s: Scene) -> None:
    s.outside.refuse_address = ""


def brake(line: str) -> Change:
    return lambda s: s.toml("[channels.shop1]", f"[brakes]\n{line}\n[channels.shop1]")


def both(*changes: Change) -> Change:
    def change(s: Scene) -> None:
        for one in changes:
            one(s)

    return change


RELEASE = "kmtool order release A1"
CASES: dict[str, tuple[Change, str, str, Change, int]] = {
    # what is so · the gate · the command it names · what opens it · keys that arrive then
    "unpaid": (
        bought(status=OrderStatus.UNPAID), Gate.PAID, "kmtool sync",
        both(fact(status=OrderStatus.PAID, paid_ms=AT), as_told), 1,
    ),
    "closed by the channel": (
        bought(status=OrderStatus.CLOSED), "cancelled", "", fact(status=OrderStatus.CLOSED), 0,
    ),
    "a refund is asked for": (
        bought(refund=RefundState.OPEN), Gate.REFUND, "kmtool order refund A1",
        fact(refund=RefundState.NONE), 1,
    ),
    "part was refunded": (
        bought(refund=RefundState.PARTIAL, quantity=2, amount=2000), Gate.REFUND,
        "kmtool order release A1 --quantity N", told_with("N", "1"), 1,
    ),
    "all was refunded": (
        bought(refund=RefundState.FULL), "cancelled", "", fact(refund=RefundState.FULL), 0,
    ),
    "too little was paid": (
        both(said("product", "map", "shop1", "i1", "S1", "--price", "20.00"), bought()),
        Gate.AMOUNT, RELEASE, as_told, 1,
    ),
    "another currency": (bought(currency="USD"), Gate.AMOUNT, RELEASE, as_told, 1),
    "shipped by somebody else": (
        bought(status=OrderStatus.SHIPPED), Gate.SHIPPED, RELEASE, as_told, 1,
    ),
    "not mapped": (
        bought(item="i9"), Gate.MAPPED, "kmtool product map shop1 i9 SKU",
        told_with("SKU", "S1"), 1,
    ),
    "the product is off": (
        said("product", "set", "S1", "--state", "off"), Gate.PRODUCT,
        "kmtool product set S1 --state on", as_told, 1,
    ),
    "held by the owner": (
        both(said("sync"), said("order", "hold", "A1", "--reason", "a call first")),
        Gate.RISK, RELEASE, as_told, 1,
    ),
    "flagged by the channel": (bought(risk="stolen card"), Gate.RISK, RELEASE, as_told, 1),
    "on the block list": (
        brake('block = ["Buyer@Example.test"]'), Gate.RISK, RELEASE, as_told, 1,
    ),
    "under review": (bought(status=OrderStatus.REVIEW), Gate.RISK, RELEASE, as_told, 1),
    "below its cost": (bought(amount=100), Gate.PRICE, RELEASE, as_told, 1),
    "below the floor": (
        said("product", "set", "S1", "--floor", "15.00"), Gate.PRICE, RELEASE, as_told, 1,
    ),
    "too many of a product": (
        both(bought(quantity=3, amount=3000), brake("sku_pieces_per_hour = 2")), Gate.BURST,
        RELEASE, as_told, 3,
    ),
    "too much money of a product": (
        brake('sku_value_per_hour = "5.00"'), Gate.BURST, RELEASE, as_told, 1,
    ),
    "too many for one buyer": (
        bought(quantity=11, amount=11_000), Gate.BURST, RELEASE, as_told, 11,
    ),
    "the channel is on watch": (
        lambda s: s.toml('"auto"', '"watch"'), Gate.MODE,
        "kmtool channel set shop1 --mode ask", both(as_told, as_told), 1,
    ),
    "the channel asks": (lambda s: s.toml('"auto"', '"ask"'), Gate.MODE, RELEASE, as_told, 1),
    "no stock": (empty_shelf, Gate.STOCK, "kmtool import FILE --sku S1", new_keys, 1),
    "no address": (refuse, Gate.ROUTE, "kmtool order show A1", both(as_told, accept), 1),
    "the channel is paused": (
        said("pause", "shop1"), Gate.PAUSE, "kmtool resume shop1", as_told, 1,
    ),
    "the product is paused": (said("pause", "S1"), Gate.PAUSE, "kmtool resume S1", as_told, 1),
    "the shop is paused": (said("pause", "all"), Gate.PAUSE, "kmtool resume all", as_told, 1),
    "another line is short": (two_lines, "held", "kmtool deliver", both(later(31), as_told), 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_shut_gate_names_the_command_that_opens_it(case: str, scene: Scene) -> None:
    make, gate, command, opens, keys = CASES[case]
    make(scene)
    scene.go()
    assert scene.keys() == 0
    assert scene.why() == (gate, command)
    opens(scene)
    scene.go()
    assert scene.keys() == keys


def test_every_gate_has_a_case() -> None:
    named = {gate for _, gate, _, _, _ in CASES.values()}
    elsewhere = {Gate.CLOSED, Gate.ORDER_WAIT, Gate.ADDRESS}
    """Closed orders are cancelled; the wait shows as held; top-up accounts have their own tests."""
    assert set(Gate) - named == elsewhere
