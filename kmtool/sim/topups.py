"""Top-ups in simulated lives: two suppliers with an interface, and what each of them was asked for.

`dial` can be asked by our number, is at work on a purchase for minutes, and buys again whenever it
is asked to. `wire` cannot be asked; it returns the old purchase for a number that it knows. The
truth is the suppliers' own list: one purchase for each account that was paid for, and their bill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kmtool.clock import business_day
from kmtool.config import SupplierSettings
from kmtool.domain.ids import Place
from kmtool.domain.states import OrderStatus, PurchaseState
from kmtool.operations import order_changes, products, purchase_records, suppliers
from kmtool.operations.products import Fields, Mapping
from kmtool.ports import (
    AdapterSettings,
    AuthReport,
    Features,
    Idempotency,
    Progress,
    Purchased,
    PurchaseOrder,
)
from kmtool.shop import Shop
from kmtool.sim import border, sites, verdict
from kmtool.sim.acts_kit import DONE, perform, ref
from kmtool.sim.buyers import buyer
from kmtool.sim.machine import Process
from kmtool.sim.stage import Stage, current
from kmtool.sim.world import CURRENCY, Bought, Placed, Ware
from kmtool.store import ledger, purchases
from kmtool.store import products as listed
from kmtool.store import suppliers as store
from kmtool.store.db import Row

ONCE = "an account is charged once for each order"
PAID = "nothing is bought that is not paid, or was refunded"
AS_ORDERED = "a purchase is what the buyer ordered"
LIMIT = "no more is spent at a supplier in a day than its limit"
BILL = "what was booked for top-ups is what the suppliers charged"
SETTLED = "of every purchase it is known in the end what came of it"
CHARGED = "every paid top-up is charged in the end"

FEATURES = Features(title="simulated", kind="test")
KINDS = {
    "dial": Features(
        title="simulated", kind="test", idempotency=Idempotency.NONE, query_by="ours",
        price_guard=True,
    ),
    "wire": Features(
        title="simulated", kind="test", idempotency=Idempotency.REPLAY, price_guard=True
    ),
}  # fmt: skip
WARES = {
    "dial": Ware("p1", "P1", 1_080, kind="topup"),
    "wire": Ware("p2", "P2", 1_080, kind="topup"),
}
PRICE_MINOR, CAP_MINOR = 980, 1_000
DAY_MINOR, LIFTED_MINOR = 20_000, 100_000_000
SITES = ("maple", "birch", "cedar", "dune")
WORK_MS = 240_000
CERTAINLY_NOT = frozenset({PurchaseState.CANCELLED, PurchaseState.REJECTED, PurchaseState.FAILED})
SLOW_MS = 40 * 3_600_000
"""Of a bad week at a supplier: longer than the shop waits before it asks a person."""


class Supplier:
    """The supplier port over what one of the simulated suppliers did."""

    def __init__(self, stage: Stage, process: Process, name: str) -> None:
        self.stage = stage
        self.process = process
        self.name = name

    @property
    def features(self) -> Features:
        """Return how it repeats and finds."""
        return KINDS[self.name]

    def auth_check(self) -> AuthReport:
        """Let everybody in."""
        return AuthReport(ok=True, detail="simulated", skew_ms=0)

    def balance(self) -> int:
        """Return what the shop has there: enough."""
        return LIFTED_MINOR

    def place(self, order: PurchaseOrder) -> Purchased:
        """Charge an account."""
        stage, called_ms = self.stage, self.stage.clock.true_ms()
        _must_be_paid(stage, self.process, order, self.name)

        def deed() -> Purchased:
            mine = stage.world.bought.setdefault(self.name, [])
            known = next((one for one in mine if one.our_no == order.our_no), None)
            if known is None or self.features.idempotency is not Idempotency.REPLAY:
                known = Bought(
                    order.our_no, order.account, order.quantity, PRICE_MINOR * order.quantity,
                    called_ms,
                    stage.clock.true_ms()
                    + stage.edges.random.randrange(stage.world.slow_ms or WORK_MS),
                )  # fmt: skip
                mine.append(known)
                _must_be_once(stage, order)
                _must_be_within(stage, self.name)
            return self._told(known)

        return border.write(stage, self.process, f"{self.name} buy {order.our_no}", deed)

    def query(self, our_no: str) -> Purchased | None:
        """Look a purchase up."""

        def ask(_stale: bool) -> Purchased | None:
            mine = self.stage.world.bought.get(self.name, [])
            found = next((one for one in mine if one.our_no == our_no), None)
            return self._told(found) if found else None

        return border.read(self.stage, self.process, f"{self.name} bought? {our_no}", ask)

    def _told(self, one: Bought) -> Purchased:
        ready = self.stage.edges.calm or self.stage.clock.true_ms() >= one.ready_ms
        done = self.name == "wire" or ready
        number = f"{self.name}-{one.our_no}"
        if not done:
            return Purchased(number, Progress.PROCESSING, agreed_minor=one.charged_minor)
        return Purchased(
            number, Progress.DONE, one.charged_minor, one.charged_minor, proof=f"proof {number}"
        )


def build(settings: AdapterSettings) -> Supplier:
    """Build the supplier for the process that runs now."""
    stage = current[-1]
    return Supplier(stage, stage.process, settings.name)


# ---------------------------------------------------------------------- acts


def order(stage: Stage) -> None:
    """Some buyers order a top-up, each for an account of his own."""
    if not stage.depth and _is_open(stage):
        for _ in range(stage.random.choice((1, 1, 2, 3))):
            _place(stage, stage.random.choice(list(WARES)))


def order_both(stage: Stage) -> None:
    """A buyer orders a top-up and a key at once."""
    if not stage.depth and _is_open(stage):
        name, ware = stage.random.choice(list(WARES)), stage.random.choice(sites.WARES)
        _place(stage, name, [(ware, 1)])


def rush(stage: Stage) -> None:
    """Before a holiday everybody orders top-ups: more than may be spent in a day."""
    if not stage.depth and _is_open(stage):
        name = stage.random.choice(list(WARES))
        for _ in range(DAY_MINOR // CAP_MINOR + 4):
            _place(stage, name)


def change_supplier(stage: Stage) -> None:
    """A product comes from the other supplier from now on, under the number it has there."""
    if stage.depth or not stage.config.suppliers:
        return
    ware = stage.random.choice(list(WARES.values()))
    name = stage.random.choice(list(WARES))
    fields = Fields(supplier=name, supplier_item=_item(ware, name))
    perform(stage, f"{ware.sku} from {name}", lambda s: products.change(s, ware.sku, fields))


def bad_week(stage: Stage) -> None:
    """A supplier is at work on what it is asked for until tomorrow, or quick again."""
    stage.world.slow_ms = 0 if stage.world.slow_ms else SLOW_MS
    stage.happened("suppliers are " + ("slow" if stage.world.slow_ms else "quick"))


def lift(stage: Stage) -> None:
    """The owner lets more be spent at his suppliers, and says again what a backup did not hold."""
    if stage.config.suppliers and stage.world.owner.set_back:
        perform(stage, "top-ups again", _name_all)
    if stage.config.suppliers and stage.world.spend_minor != LIFTED_MINOR:
        _set_limit(stage, LIFTED_MINOR)


def look_there(stage: Stage, placed: Placed) -> None:
    """The owner looks at the supplier's own list and says what he sees.

    What may still come he does not call off: he has it bought again, or waits.
    """
    line = placed.fact.lines[0]
    every = [(name, one) for name, mine in stage.world.bought.items() for one in mine]
    found = next(((name, one) for name, one in every if one.account == line.account), None)
    if found is not None:
        _say(stage, placed, found[1].charged_minor, found[0])
        return
    again = placed.is_due and perform(
        stage, f"redeliver {ref(placed)} --line {line.line_no}",
        lambda shop: order_changes.redeliver(shop, ref(placed), line.line_no),
    ) == DONE  # fmt: skip
    if not again and stage.edges.calm:
        _say(stage, placed, 0)


def _say(stage: Stage, placed: Placed, minor: int, supplier: str = "") -> None:
    number = ref(placed)
    perform(
        stage, f"order charged {number} --amount {minor}",
        lambda shop: purchase_records.settle_charged(
            shop, number, "looked there", minor, supplier=supplier
        ),
    )  # fmt: skip


def unsettled(stage: Stage) -> tuple[str, str] | None:
    """Return a purchase of which the shop does not know what came of it, and the rule."""
    if not stage.world.bought:
        return None
    found = stage.command("open purchases", lambda shop: purchases.open_numbers(shop.db))
    return (SETTLED, found[0]) if found else None


def uncharged(stage: Stage) -> tuple[str, str] | None:
    """Return an order whose buyer paid for a top-up that no supplier made, and the rule."""
    accounts = {one.account for mine in stage.world.bought.values() for one in mine}
    for placed in stage.world.orders.values():
        line = placed.fact.lines[0]
        wanted = placed.quantity.get(line.line_no, line.quantity)
        if line.account and placed.is_due and wanted and line.account not in accounts:
            return CHARGED, f"{placed.name}: {line.account}"
    return None


def ask(stage: Stage, shop: Shop) -> None:
    """In the end: all that is due was charged, and the books say what the suppliers say."""
    if left := uncharged(stage):
        stage.fail(*left)
    every = [one for mine in stage.world.bought.values() for one in mine]
    known = purchases.tried(shop.db)
    bill = sum(one.charged_minor for one in every if not _is_forgotten(stage, one, known))
    booked = ledger.balance(shop.db, "cost:topup", CURRENCY)
    if booked != bill:
        stage.fail(BILL, f"{booked} booked, {bill} charged")


def _is_forgotten(stage: Stage, one: Bought, known: dict[Place, Row]) -> bool:
    """Nothing names what was bought since the backup where the journal was lost: an order that was
    delivered is shown as shipped by its channel, and never looked at again. So it is where the
    backup knows a former number only, which was certainly not made."""
    placed = _of(stage, one.account)
    if placed.name not in stage.world.owner.forgetful:
        return False
    last = known.get((*placed.name, placed.fact.lines[0].line_no))
    if last is None:
        return True
    is_former = last["generation"] < int(one.our_no.rsplit("-", 1)[1])
    return is_former and PurchaseState(last["state"]) in CERTAINLY_NOT


def _place(stage: Stage, name: str, beside: Sequence[tuple[Ware, int]] = ()) -> None:
    ware = WARES[name]
    site = stage.random.choice(SITES)
    pieces = stage.random.choice((1, 1, 2))
    placed = stage.world.place(site, [(ware, pieces), *beside], buyer(stage.random))
    line, *rest = placed.fact.lines
    account = f"138{stage.world.placed:08d}"
    placed.fact = replace(placed.fact, lines=(replace(line, account=account), *rest))
    stage.happened(f"{placed.name} {ware.item_id}×{pieces} for {account}")


def _item(ware: Ware, name: str) -> str:
    """Return the number that a supplier has for a good: each its own."""
    return ware.item_id if WARES[name] is ware else f"{ware.item_id}-{name}"


def _is_open(stage: Stage) -> bool:
    """Add the suppliers, products and listings the first time; tell whether they are there."""
    if stage.config.suppliers:
        return not stage.world.owner.set_back or perform(stage, "top-ups again", _name_all) == DONE
    calm, stage.edges.calm = stage.edges.calm, True
    _set_limit(stage, DAY_MINOR)
    end = perform(stage, "top-ups", _name_all)
    stage.edges.calm = calm
    return end == DONE


def _name_all(shop: Shop) -> None:
    """Add what is not here: suppliers, products, listings."""
    for name, ware in WARES.items():
        if store.supplier(shop.db, name) is None:
            suppliers.add(shop, name, name=name)
        if listed.product(shop.db, ware.sku) is None:
            fields = Fields(
                title=ware.sku, kind="topup", account_rule="phone-cn", supplier=name,
                supplier_item=_item(ware, name), cap_minor=CAP_MINOR,
            )  # fmt: skip
            products.add(shop, ware.sku, fields)
        for site in SITES:
            if listed.listing(shop.db, site, ware.item_id, "") is None:
                products.map_listing(shop, Mapping(site, ware.item_id, "", ware.sku))


def _set_limit(stage: Stage, minor: int) -> None:
    stage.end_daemon()
    stage.world.spend_minor = minor
    stage.config = replace(
        stage.config,
        suppliers={
            name: SupplierSettings(
                name, "kmtool.sim.topups", spend_per_day_minor=minor, spend_per_order_minor=minor
            )
            for name in WARES
        },
    )
    stage.note(f"{minor} may be spent a day at each supplier")


# ---------------------------------------------------------------------- what must be true


def _of(stage: Stage, account: str) -> Placed:
    every = stage.world.orders.values()
    found = next((one for one in every if one.fact.lines[0].account == account), None)
    if found is None:
        stage.fail(AS_ORDERED, f"nobody ordered anything for {account}")
    return found


def _must_be_paid(stage: Stage, process: Process, order: PurchaseOrder, name: str) -> None:
    """Ask at the door, whatever becomes of the call."""
    placed = _of(stage, order.account)
    if placed.fact.status is OrderStatus.UNPAID:
        stage.fail(PAID, f"{placed.name} is not paid")
    if placed.told_ended and process.last_commit > placed.told_ended:
        stage.fail(PAID, f"{placed.name} was refunded")
    if placed.held and process.last_commit > placed.held:
        stage.fail(PAID, f"{placed.name} is held")
    line, ware = placed.fact.lines[0], placed.wares[0]
    if order.product != _item(ware, name) or order.quantity > line.quantity:
        stage.fail(AS_ORDERED, f"{placed.name}: {order.quantity} × {order.product} at {name}")
    verdict.must_be_read(stage, placed)


def _must_be_once(stage: Stage, order: PurchaseOrder) -> None:
    every = [one for mine in stage.world.bought.values() for one in mine]
    same = [one.our_no for one in every if one.account == order.account]
    if len(same) > 1:
        stage.fail(ONCE, f"{order.account}: {' '.join(same)}")


def _must_be_within(stage: Stage, name: str) -> None:
    """A day's purchases keep to the limit, but for one at midnight."""
    if stage.count["jumps"]:
        return
    zone = stage.config.shop.timezone
    mine = stage.world.bought[name]
    today = business_day(mine[-1].called_ms, zone)
    forgotten = stage.world.owner.forgetful  # without a journal nobody knows what they came to
    spent = sum(
        one.charged_minor
        for one in mine
        if business_day(one.called_ms, zone) == today
        and _of(stage, one.account).name not in forgotten
    )
    if spent > stage.world.spend_minor + 2 * CAP_MINOR:
        stage.fail(LIMIT, f"{spent} at {name} on {today}, limit {stage.world.spend_minor}")
