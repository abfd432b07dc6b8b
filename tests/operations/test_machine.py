"""Whatever happens in whatever order: a key has one buyer, and no paid order is forgotten.

Random sales, refunds, changes, faults, crashes and operators act on a real shop; the truth is kept
at the buyers (tests/fakes.py), who are asked after every step.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.domain.states import OrderStatus, RefundState
from kmtool.errors import KmError
from kmtool.operations import sender
from kmtool.operations.deliver import deliver
from kmtool.operations.order_changes import hold, redeliver, release
from kmtool.operations.reserve import reserve_due
from kmtool.operations.sync import sync
from kmtool.ports import LineFact
from kmtool.store import house
from tests import fakes
from tests.conftest import START_MS, TOML
from tests.operations.delivery_kit import KEY, broken, keys_at, lines
from tests.operations.stock import shelf

FAULTS = ("down", "rejected", "lost", "unknown", "crash", "crash_before", "bug", "login",
          "ship_rejected", "ship_lost")  # fmt: skip
BRAKES = """
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
"""
number = st.integers(0, 30)


class Trade(RuleBasedStateMachine):
    """A shop, its channel, its buyers."""

    @initialize()
    def open(self) -> None:
        fakes.WORLDS.clear()
        self.stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="kmtool-machine-"))
        self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        toml = TOML.format(database="", adapter="tests.fakes", courier="tests.fakes", extra=BRAKES)
        (self.folder / "kmtool.toml").write_text(toml, encoding="utf-8")
        config = load(self.folder / "kmtool.toml")
        self.clock = ManualClock(START_MS)
        create_shop(config, self.clock)
        self.shop = self.stack.enter_context(open_shop(config, clock=self.clock))
        self.world = fakes.world()
        self.batches = self.placed = 0
        self.stock_in(5)
        self.clock.advance(10_000)

    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        with self.stack:
            self.settle()

    # ------------------------------------------------------------------ what buyers do

    @rule(first=st.integers(1, 3), second=st.integers(0, 2), paid=st.booleans())
    def order(self, first: int, second: int, paid: bool) -> None:
        self.placed += 1
        wanted = [("i1", first)] + ([("i2", second)] if second else [])
        fact = fakes.order(f"A{self.placed}", lines=lines(*wanted), at_ms=self.clock.now_ms())
        if not paid:
            fact = replace(fact, status=OrderStatus.UNPAID, paid_ms=None)
        self.world.orders[fact.number] = fact

    @precondition(lambda self: self.placed)
    @rule(n=number, refund=st.sampled_from(list(RefundState)))
    def refund(self, n: int, refund: RefundState) -> None:
        self.change(n, refund=refund)

    @precondition(lambda self: self.placed)
    @rule(n=number, status=st.sampled_from([OrderStatus.PAID, OrderStatus.CLOSED]))
    def status(self, n: int, status: OrderStatus) -> None:
        self.change(n, status=status, paid_ms=self.clock.now_ms())

    @precondition(lambda self: self.placed)
    @rule(n=number, quantity=st.integers(0, 3))
    def change_mind(self, n: int, quantity: int) -> None:
        fact = self.fact(n)
        first = fact.lines[0]
        new = LineFact(first.line_no, "i1", "", first.title, quantity, 1000 * quantity)
        self.change(n, lines=(new, *fact.lines[1:]))

    @precondition(lambda self: self.placed)
    @rule(n=number, email=st.sampled_from(["a@example.test", "b@example.test"]))
    def move(self, n: int, email: str) -> None:
        self.change(n, buyer=replace(self.fact(n).buyer, email=email))

    # ------------------------------------------------------------------ what goes wrong

    @rule(faults=st.lists(st.sampled_from(FAULTS), max_size=3))
    def trouble(self, faults: list[str]) -> None:
        self.world.faults += faults

    @rule(seconds=st.sampled_from([1, 20, 130, 2000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds * 1000)

    # ------------------------------------------------------------------ what the shop does

    @rule()
    def sync(self) -> None:
        self.clock.advance(3_000)
        sync(self.shop)

    @rule()
    def reserve(self) -> None:
        """The process ends between reserve and intent."""
        self.order(1, 0, True)
        self.sync()
        reserve_due(self.shop)

    @rule()
    def deliver(self) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            deliver(self.shop)

    @rule()
    def deliver_and_die(self) -> None:
        """As after kill -9: nobody closes the session, the locks are free."""
        close = sender.close
        sender.close = lambda *_: 0  # type: ignore[assignment]
        try:
            self.deliver()
        finally:
            sender.close = close

    @rule(faults=st.lists(st.sampled_from(FAULTS), max_size=4), die=st.booleans())
    def day(self, faults: list[str], die: bool) -> None:
        """What happens most: orders come, are pulled, and leave with some trouble."""
        self.order(1, 1 if die else 0, True)
        self.order(2, 0, True)
        self.sync()
        self.world.faults += faults
        if die:
            self.deliver_and_die()
        self.deliver()

    @rule(n=number, refund=st.sampled_from([RefundState.OPEN, RefundState.NONE]))
    def second_thoughts(self, n: int, refund: RefundState) -> None:
        """A refund is asked for or withdrawn, seen, and the shop goes on."""
        if self.placed:
            self.change(n, refund=refund)
        self.sync()
        self.clock.advance(20_000)
        self.deliver()

    @rule(n=st.integers(1, 4))
    def stock_in(self, n: int) -> None:
        self.batches += 1
        shelf(self.shop, n=n, prefix=f"KEY-{self.batches}")
        shelf(self.shop, "S2", n=n, item="i2", units=2, prefix=f"KEY-{self.batches}")

    @precondition(lambda self: self.placed)
    @rule(n=number, act=st.sampled_from([hold, release, redeliver]), quantity=st.integers(0, 2))
    def operate(self, n: int, act: object, quantity: int) -> None:
        name = self.fact(n).number
        with contextlib.suppress(KmError):
            if act is hold:
                hold(self.shop, name, "a look first")
            elif act is release:
                release(self.shop, name, quantity or None)
            else:
                redeliver(self.shop, name)

    @rule(on=st.sampled_from([False, False, True]), scope=st.sampled_from(["all", "sku:S1"]))
    def pause(self, on: bool, scope: str) -> None:
        with self.shop.db.tx():
            if on:
                house.pause(self.shop.db, scope, "", self.clock.now_ms())
            else:
                house.resume(self.shop.db, scope)

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def one_buyer_per_key(self) -> None:
        if not hasattr(self, "world"):
            return
        holder: dict[str, str] = {}
        for name, texts in self.world.received.items():
            for key in set(KEY.findall("\n".join(texts))):
                assert holder.setdefault(key, name) == name, f"{key}: {holder[key]} and {name}"
        assert [told for told in broken(self.shop) if "open try" not in told] == []

    def settle(self) -> None:
        """Faults stop, the operator answers what is asked: every paid order is delivered."""
        self.world.faults.clear()
        for scope in ("all", "sku:S1"):
            self.pause(False, scope)
        self.stock_in(200)
        for _ in range(12):
            self.clock.advance(3_700_000)
            sync(self.shop)
            self.deliver()
            self.answer()
        assert broken(self.shop) == []
        for fact in self.world.orders.values():
            if fact.status is OrderStatus.PAID and fact.refund is RefundState.NONE:
                self.look_at(fact.number, [x for x in fact.lines if x.quantity])

    def answer(self) -> None:
        """Do what `order why` says of every line that waits for a person."""
        rows = self.shop.db.all(
            "SELECT DISTINCT o.number, o.refund, l.state FROM lines l JOIN orders o"
            " ON o.id = l.order_id WHERE l.state IN ('held', 'human', 'refund_case')"
            " OR EXISTS (SELECT 1 FROM effects e WHERE e.order_id = o.id AND e.state = 'human')"
        )
        for row in rows:
            with contextlib.suppress(KmError):
                release(self.shop, row["number"])
            with contextlib.suppress(KmError):
                redeliver(self.shop, row["number"])

    def look_at(self, name: str, wanted: list[LineFact]) -> None:
        found = self.shop.db.all(
            "SELECT l.* FROM lines l JOIN orders o ON o.id = l.order_id WHERE o.number = :n", n=name
        )
        states = {row["line_no"]: row for row in found}
        for fact in wanted:
            row = states[fact.line_no]
            assert row["state"] == "delivered", f"{name}: {row['state']} {row['gate']} {row}"
        bound = self.shop.db.all(
            "SELECT k.* FROM allocations a JOIN keys k ON k.id = a.key_id JOIN lines l"
            " ON l.id = a.line_id JOIN orders o ON o.id = l.order_id"
            " WHERE o.number = :n AND a.state = 'delivered'",
            n=name,
        )
        keys = {
            self.shop.vault.open(k["sealed"], k["data_key_id"], bytes(k["fingerprint"])).text()
            for k in bound
        }
        assert keys_at(name) == keys, name
        assert not wanted or name in self.world.shipped, name

    def fact(self, n: int) -> fakes.OrderFact:
        return self.world.orders[f"A{n % self.placed + 1}"]

    def change(self, n: int, **facts: object) -> None:
        old = self.fact(n)
        new = replace(old, revision_ms=self.clock.now_ms(), **facts)  # type: ignore[arg-type]
        total = sum(x.amount_minor for x in new.lines)
        self.world.orders[old.number] = replace(new, total_minor=total)


TestTrade = Trade.TestCase
TestTrade.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
