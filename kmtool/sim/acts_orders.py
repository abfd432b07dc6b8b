"""What the owner does with single orders: hold, release, close, send again, replace, refund."""

from __future__ import annotations

from collections import Counter

from kmtool.domain.states import RefundState
from kmtool.errors import KmError
from kmtool.operations import order_add, order_changes, order_close, order_refund, order_replace
from kmtool.operations.order_changes import OrderChanged
from kmtool.operations.order_replace import Replaced, ReplaceWish
from kmtool.operations.refund_records import Answer, Bearer, Decided, Decision, Fate
from kmtool.sim.acts_kit import (
    DIED,
    REFUSED,
    forget,
    good_keys,
    insist,
    is_open,
    perform,
    pick,
    ref,
)
from kmtool.sim.stage import Stage
from kmtool.sim.world import Placed


def hold(stage: Stage) -> None:
    """The owner stops an order that looks odd."""
    placed = pick(stage, lambda one: is_open(one) and not one.held and not one.letters)
    if placed is None:
        return

    forget(stage, f"release {ref(placed)}")

    def done(_changed: OrderChanged, seq: int) -> None:
        if placed.let_go > seq:  # released while this command was still on its way out
            return
        placed.held = seq
        owner = stage.world.owner
        was = placed.name in owner.released
        owner.released.discard(placed.name)
        owner.decided(seq, lambda: _not_held(stage, placed, was=was))

    insist(stage, f"hold {ref(placed)}", lambda s: order_changes.hold(s, ref(placed), "odd"), done)


def _not_held(stage: Stage, placed: Placed, *, was: bool) -> None:
    placed.held = 0
    if was:
        stage.world.owner.released.add(placed.name)


def release(stage: Stage) -> None:
    """The owner lets an order go: one that was held, or any that may wait."""
    placed = pick(stage, lambda one: bool(one.held)) if stage.random.random() < 0.7 else None
    placed = placed or pick(stage, lambda one: is_open(one) and not one.letters)
    if placed is not None:
        let_go(stage, placed)


def let_go(stage: Stage, placed: Placed) -> str:
    """Release one order; it may leave from the moment the command is given."""
    owner = stage.world.owner
    forget(stage, f"hold {ref(placed)}")
    before, was = placed.held, placed.name in owner.released
    placed.held = 0
    owner.released.add(placed.name)

    def done(_changed: OrderChanged, seq: int) -> None:
        placed.let_go = seq
        if placed.held < seq:  # held while this command was on its way in
            placed.held = 0
        owner.decided(seq, lambda: _held_again(stage, placed, before, was=was))

    def refused(_error: KmError) -> None:
        placed.held = before
        if not was:
            owner.released.discard(placed.name)

    return insist(
        stage, f"release {ref(placed)}", lambda s: order_changes.release(s, ref(placed)), done,
        refused,
    )  # fmt: skip


def _held_again(stage: Stage, placed: Placed, before: int, *, was: bool) -> None:
    """What was released since a past point is not; a hold of before stands there again."""
    placed.held = before
    if not was:
        _asked_about_again(stage, placed)


def _asked_about_again(stage: Stage, placed: Placed) -> None:
    """What was released since a past point is not; but what was on record as sent by then may be at
    its buyer, and goes out again with the keys it had: those were let go."""
    if not any(placed.name in places for places in stage.sent.values()) and not any(
        (entry.kind, entry.channel, entry.order) == ("SEND", *placed.name)
        for journal in stage.journals.values()  # a record that nobody forced is read all the same
        for entry in journal.read()
    ):
        stage.world.owner.released.discard(placed.name)


def release_rest(stage: Stage) -> None:
    """After a partial refund the owner says how many pieces still go out."""
    placed = pick(stage, lambda one: one.fact.refund is RefundState.PARTIAL and not one.ended)
    if placed is not None:
        let_rest_go(stage, placed)


def let_rest_go(stage: Stage, placed: Placed, line_no: str = "") -> str:
    """Release a line of a partly refunded order with so many pieces as were not refunded."""
    line = next((x for x in placed.fact.lines if x.line_no == line_no), None)
    line = line or stage.random.choice(placed.fact.lines)
    pieces = stage.random.randint(0, line.quantity)
    before, quantity = placed.held, dict(placed.quantity)
    was = placed.name in stage.world.owner.released
    stage.world.owner.released.add(placed.name)
    placed.held = placed.told_ended = 0
    facts = placed.loose = placed.fact.refunds

    def done(_changed: OrderChanged, seq: int) -> None:
        placed.quantity[line.line_no] = pieces
        placed.rest_of = facts
        if not any(placed.wanted().values()):
            placed.ended = placed.ended or "left out"
        stage.world.owner.decided(seq, back)

    def back() -> None:
        placed.held = before
        if not was:
            _asked_about_again(stage, placed)
        placed.quantity.clear()
        placed.quantity.update(quantity)
        placed.rest_of = ()
        placed.ended = placed.ended if placed.ended != "left out" else ""

    def refused(_error: KmError) -> None:
        placed.held = before
        if not was:
            stage.world.owner.released.discard(placed.name)

    return perform(
        stage, f"release {ref(placed)} line {line.line_no} × {pieces}",
        lambda s: order_changes.release(s, ref(placed), pieces, line.line_no), done, refused,
    )  # fmt: skip


def note(stage: Stage) -> None:
    """The owner keeps a note on an order."""
    placed = pick(stage, lambda _one: True)
    if placed is not None:
        perform(stage, f"note {ref(placed)}", lambda s: order_add.note(s, ref(placed), "see chat"))


def close(stage: Stage) -> None:
    """The owner ends an order: it was delivered otherwise."""
    placed = pick(stage, lambda one: is_open(one) and not one.letters)
    if placed is not None:
        end(stage, placed)


def end(stage: Stage, placed: Placed) -> str:
    """Close one order; what waits of it gets nothing more."""
    before = placed.ended
    placed.ended = "closed by hand"

    def done(_changed: OrderChanged, seq: int) -> None:
        def back() -> None:
            placed.ended = before

        stage.world.owner.decided(seq, back)

    def refused(_error: KmError) -> None:
        placed.ended = before

    return insist(
        stage, f"close {ref(placed)}", lambda s: order_close.close(s, ref(placed), "met"), done,
        refused,
    )  # fmt: skip


def redeliver(stage: Stage) -> None:
    """A buyer asks again: the same keys once more."""
    placed = pick(stage, lambda one: bool(one.letters))
    if placed is not None:
        send_again(stage, placed)


def send_again(stage: Stage, placed: Placed) -> str:
    """Send the same keys again; each message may come once more for it. It is a word too that the
    order may leave at what was paid for it."""
    placed.repeats += max(1, len(placed.letters))
    released = stage.world.owner.released
    was = placed.name in released
    released.add(placed.name)
    end = perform(
        stage, f"redeliver {ref(placed)}", lambda s: order_changes.redeliver(s, ref(placed))
    )
    if end == REFUSED and not was:
        released.discard(placed.name)
    return end


def release_channel(stage: Stage) -> None:
    """The owner lets all orders of a channel go that wait for a word."""
    release_site(stage, stage.random.choice(list(stage.world.sites)))


def release_site(stage: Stage, site: str) -> None:
    """Let all orders of a channel go that wait for a word."""
    owner = stage.world.owner
    # Each is let go by itself: of a command that is refused some may have gone all the same.
    owner.released.update(one.name for one in stage.world.by_channel[site])
    perform(stage, f"release all of {site}", lambda s: order_close.release_all(s, site))


# ---------------------------------------------------------------------- bad keys


def replace(stage: Stage) -> None:
    """A buyer's key does not work: another one."""
    placed = pick(
        stage,
        lambda one: is_open(one) and any(not k.startswith("T-") for k in good_keys(one)),
    )
    if placed is None:
        return
    ends = Counter(key[-4:] for key in placed.got())
    keys = [key for key in good_keys(placed) if key[0] != "T" and ends[key[-4:]] == 1]
    if keys:  # a person names a key by its end: one that two of an order share names none
        give_another(stage, placed, stage.random.choice(keys))


def give_another(stage: Stage, placed: Placed, bad: str) -> str:
    """Replace one key of an order. Until it is known what came of it the key may count or not."""
    placed.doubtful.add(bad)
    owner = stage.world.owner

    def done(_found: Replaced, seq: int) -> None:
        placed.excused.add(bad)
        owner.decided(seq, lambda: placed.excused.discard(bad))

    wish = ReplaceWish("does not work", key=bad[-4:])
    return perform(
        stage, f"replace {ref(placed)} …{bad[-4:]}",
        lambda s: order_replace.replace(s, ref(placed), wish, sure=True), done,
    )  # fmt: skip


# ---------------------------------------------------------------------- refunds


def refund(stage: Stage) -> None:
    """The owner answers a refund, writes one down that was settled elsewhere, or slips."""
    drawn = stage.random.random()
    if drawn < 0.75:
        placed = pick(stage, lambda one: one.fact.refund is not RefundState.NONE)
    else:
        placed = pick(stage, is_open)
    if placed is None:
        return
    answers = [Answer.AGREE, Answer.REFUSE, Answer.RECORD]
    if placed.fact.refund is RefundState.NONE:
        answers = [Answer.RECORD]
    answer = stage.random.choice(answers)
    void = answer is not Answer.REFUSE and stage.random.random() < 0.4
    bearer = stage.random.choice([None, Bearer.SHOP, Bearer.SUPPLIER])
    wish = Decision(
        answer,
        reason="decided",
        keys=Fate.VOID if void else Fate.KEEP,
        bearer=None if answer is Answer.REFUSE else bearer,
    )
    decide(stage, placed, wish)


def decide(stage: Stage, placed: Placed, wish: Decision) -> str:
    """Decide on a refund; agreeing and recording end the order."""
    before = placed.ended
    requests = [one.number for one in placed.fact.refunds if one.state == "open"]
    if wish.answer is not Answer.REFUSE:
        placed.ended = placed.ended or f"refund {wish.answer}"

    def done(found: Decided, seq: int) -> None:
        if wish.answer is not Answer.REFUSE:
            stage.world.owner.decided(seq, lambda: _undecided(placed, before))
        if found.told == "by_hand":
            _answer_there(stage, placed, requests, agree=wish.answer is Answer.AGREE)

    def refused(_error: KmError) -> None:
        placed.ended = before

    end = perform(
        stage, f"refund {wish.answer} {ref(placed)} {wish.keys}",
        lambda s: order_refund.decide(s, ref(placed), wish), done, refused,
    )  # fmt: skip
    if end == DIED:
        # Whether it is decided is seen in the shop; it is asked again until it is.
        stage.world.owner.unfinished.append(
            (f"refund {ref(placed)}", lambda later: decide(later, placed, wish))
        )
    return end


def _undecided(placed: Placed, before: str) -> None:
    placed.ended = before


def _answer_there(stage: Stage, placed: Placed, numbers: list[str], *, agree: bool) -> None:
    """A channel that takes no answers from us is answered by the owner, in its own pages."""

    def deed() -> None:
        stage.happened(f"{ref(placed)} is answered there: {'agreed' if agree else 'refused'}")
        for number in numbers:
            stage.world.answer_refund(placed, number, agree=agree)

    stage.world.later(stage.clock.true_ms() + stage.random.randrange(120_000), deed)
