"""What goes through the owner's own hands: sales over the counter, messages pasted, orders by chat.

A message that is shown may have been seen; whether it was pasted only the chat tells. The owner
pastes, forgets, pastes twice, is unsure, goes back, and his terminal dies before or after.
"""

from __future__ import annotations

from pathlib import Path

from kmtool.domain.states import COUNTER, OrderStatus, RefundState
from kmtool.operations import by_hand, order_add
from kmtool.operations.by_hand import Answer, Task
from kmtool.operations.order_add import OrderAdded, OrderWish
from kmtool.operations.sell import SaleWish, sell
from kmtool.ports import Buyer, Features, LineFact, Message, OrderFact, Repeat
from kmtool.shop import Shop
from kmtool.sim import drawn, pictures
from kmtool.sim.acts_kit import perform
from kmtool.sim.buyers import buyer
from kmtool.sim.edges import Crash
from kmtool.sim.ground import MASTER
from kmtool.sim.stage import Stage
from kmtool.sim.verdict import ON_RECORD, ONE_BUYER, at_the_door, may_arrive, must_be_carried
from kmtool.sim.world import CURRENCY, HAND, Letter, Placed, Ware, keys_in
from kmtool.vault import Vault

BY_HAND = Features(title="by hand", kind="courier", repeat=Repeat.NONE, attachments=True)
OWN_NUMBER = "every sale by hand has a number of its own"
_FINGERPRINTS = Vault(MASTER)


# ---------------------------------------------------------------------- pasting


def paste(stage: Stage) -> None:
    """A round of pasting, as the owner does it: not always well."""
    _round(stage, careful=False)


def paste_well(stage: Stage) -> None:
    """A round in which every message is pasted once, after a look at the chat."""
    _round(stage, careful=True)


def _round(stage: Stage, *, careful: bool) -> None:
    shown: set[str] = set()

    def ask(task: Task) -> Answer:
        stage.clock.advance(stage.random.choice((2_000, 6_000, 20_000)))
        placed = stage.world.orders.get((task.channel, task.number))
        if placed is None:
            return Answer.SKIP  # written down by a command that died: nobody asked for it yet
        files = [Path(file).read_bytes() for file in task.files]
        text = _look(stage, placed, task.message, files)
        marker = task.message.marker
        there = any(letter.marker == marker for letter in placed.letters)
        if careful:
            if not there:
                _arrive(stage, placed, marker, text)
            return Answer.SENT
        back = task.can_go_back and marker not in shown and stage.random.random() < 0.05
        shown.add(marker)
        return Answer.BACK if back else _answer(stage, placed, marker, text, there=there)

    perform(stage, "deliver --by-hand", lambda shop: by_hand.by_hand(shop, [], ask))


def _answer(stage: Stage, placed: Placed, marker: str, text: str, *, there: bool) -> Answer:
    drawn = stage.random.random()
    if there and drawn < 0.8:
        return Answer.SENT  # the owner looked at the chat
    if drawn < 0.05:
        _die(stage, "before it is pasted")
    if drawn < 0.13:
        return Answer.SKIP
    if drawn < 0.18:
        return Answer.UNSURE
    if drawn < 0.20:
        return Answer.STOP
    if there:
        placed.repeats += 1
    _arrive(stage, placed, marker, text)
    if drawn < 0.26:
        placed.repeats += 1
        _arrive(stage, placed, marker, text)
    elif drawn < 0.34:
        return Answer.UNSURE
    elif drawn < 0.40:
        _die(stage, "after it was pasted")
    return Answer.SENT


def _look(stage: Stage, placed: Placed, message: Message, files: list[bytes] | None = None) -> str:
    """Ask of a message on the screen what must be true of one that leaves; return what is pasted.

    `files` are the pictures as they lie on the disk: the owner sends those.
    """
    text = drawn.read(message, files)
    must_be_carried(stage, placed, BY_HAND, message)
    placed.addresses.pop(message.marker, None)  # whoever pastes it sees to whom
    if placed.channel in stage.world.sites:
        at_the_door(stage, stage.process, placed, message, _FINGERPRINTS.fingerprint)
        return text
    for key in keys_in(text):
        if not stage.world.expose(key, placed.name):
            stage.fail(ONE_BUYER, f"{key}: {stage.world.holders[key]}")
        if placed.name not in stage.sent.get(_FINGERPRINTS.fingerprint(drawn.stored(key)), ()):
            stage.fail(ON_RECORD, f"{key} for {placed.name}")
    return text


def _arrive(stage: Stage, placed: Placed, marker: str, text: str) -> None:
    same = [letter for letter in placed.letters if letter.marker == marker]
    may_arrive(stage, placed, BY_HAND, same, text)
    placed.letters.append(
        Letter(stage.tick(), stage.clock.true_ms(), HAND, marker, text, keys_in(text))
    )
    stage.happened(f"pasted {placed.name} {marker} {' '.join(keys_in(text))}")


def _die(stage: Stage, when: str) -> None:
    stage.count["crashes"] += 1
    stage.note(f"the terminal dies {when}")
    stage.process.die()
    raise Crash


# ---------------------------------------------------------------------- the counter


def counter_sale(stage: Stage) -> None:
    """A key sold in a chat, on the screen at once."""
    found = stage.random.choice([ware for ware in pictures.listed(stage) if ware.kind != "topup"])
    ware = Ware(found.sku, found.sku, found.price_minor, 1, found.kind, found.parts)
    quantity = 1 if ware.kind == "text" else stage.random.choice((1, 1, 2))
    who = f"demo_chat_{stage.tick()}"

    def hand(message: Message) -> None:
        name = (COUNTER, message.order_number)
        # With the database and the journal gone nobody here remembers which numbers were given.
        if name in stage.world.orders and name not in stage.world.owner.forgetful:
            stage.fail(OWN_NUMBER, message.order_number)
        placed = _at_the_counter(stage, message.order_number, ware, quantity, who)
        stage.world.owner.counter[placed.name] = stage.process.last_commit
        text = _look(stage, placed, message)
        drawn = stage.random.random()
        if drawn < 0.08:
            _die(stage, "before the buyer saw it")
        _arrive(stage, placed, message.marker, text)
        if drawn < 0.16:
            _die(stage, "after the buyer saw it")

    wish = SaleWish(ware.sku, quantity, who, ware.price_minor)
    perform(stage, f"sell {ware.sku} × {quantity}", lambda shop: sell(shop, wish, hand))


def _at_the_counter(stage: Stage, number: str, ware: Ware, quantity: int, who: str) -> Placed:
    now = stage.clock.true_ms()
    amount = ware.price_minor * quantity
    fact = OrderFact(
        number=number,
        revision_ms=now,
        status=OrderStatus.DONE,
        refund=RefundState.NONE,
        currency=CURRENCY,
        total_minor=amount,
        lines=(LineFact("1", ware.sku, "", ware.sku, quantity, amount),),
        created_ms=now,
        paid_ms=now,
        buyer=Buyer(name=who),
    )
    placed = Placed(COUNTER, fact, (ware,), told_ms=now, read=(now, 0))
    stage.world.orders[placed.name] = placed
    return placed


# ---------------------------------------------------------------------- orders written by hand


def write_down(stage: Stage) -> None:
    """An order by chat, for the counter: it goes the ordinary way, and is pasted."""
    found = stage.random.choice([ware for ware in pictures.listed(stage) if ware.kind == "key"])
    ware = Ware(found.sku, found.sku, found.price_minor, 1)
    who = f"demo_chat_{stage.tick()}"
    wish = OrderWish(COUNTER, ware.sku, ware.price_minor, buyer=who, note="by chat")

    def done(added: OrderAdded, seq: int) -> None:
        placed = _at_the_counter(stage, added.number, ware, 1, who)
        stage.world.owner.decided(seq, lambda: _forgotten(stage, placed))

    perform(stage, f"order add {ware.sku}", lambda shop: order_add.add(shop, wish), done)


def _forgotten(stage: Stage, placed: Placed) -> None:
    """An order that only the owner's database knew is gone with it; he will be asked again."""
    placed.ended = placed.ended or "only the owner's database knew it"
    if not placed.letters:
        stage.world.orders.pop(placed.name, None)  # its number may be given anew


def write_down_known(stage: Stage) -> None:
    """The owner is quicker than the pull: he writes an order down that the channel knows."""
    site = stage.random.choice(list(stage.world.sites.values()))
    ware = stage.random.choice([one for one in site.wares if one.kind == "key"])
    placed = stage.world.place(site.name, [(ware, 1)], buyer(stage.random))
    stage.happened(f"{placed.name} {ware.item_id}")
    wish = OrderWish(
        site.name, ware.sku, ware.price_minor, placed.fact.number, ware.units,
        placed.fact.buyer.name, placed.fact.buyer.email,
    )  # fmt: skip
    perform(stage, f"order add {placed.name}", lambda shop: order_add.add(shop, wish))


def read_along(stage: Stage) -> None:
    """The owner only looks: at an order, at why it waits, at the evidence."""
    from kmtool.operations import order_why, orders

    placed = stage.random.choice(list(stage.world.orders.values()) or [None])
    if placed is None:
        return
    number = f"{placed.channel}:{placed.fact.number}"

    def work(shop: Shop) -> None:
        orders.show(shop, number)
        order_why.why(shop, number)

    perform(stage, f"order why {number}", work)
