"""What a supplier's answer means for a purchase, its line and its effect. Inside a transaction.

An answer that cannot be told apart is unclear and stays counted as spent; a documented refusal ends
the purchase, and another try is another purchase under another number. (`put_off` opens its own.)
"""

from __future__ import annotations

from kmtool.domain.ids import EffectId, LineId
from kmtool.domain.states import AttemptState, EffectState, LineState, PurchaseState
from kmtool.errors import KmError, NeedsOperator, OutsideError, Rejected, Retriable, Unknown, told
from kmtool.operations import topup
from kmtool.operations.bought_before import NOT_THERE
from kmtool.operations.permit import lines_of, must_be_live, to_human
from kmtool.operations.purchase_end import complete, failed
from kmtool.operations.refunds import reason_of
from kmtool.operations.tries import Sent
from kmtool.ports import Progress, Purchased
from kmtool.shop import Shop
from kmtool.store import effects, orders
from kmtool.store import purchases as store
from kmtool.store.db import Row

WAITING = (EffectState.PENDING, EffectState.RETRY_AT)
BACKOFF_S = (5, 15, 60, 300, 900, 3600)
AGAIN = "placed again under its number"
"""What is noted of a try whose outcome stays unclear, and which is repeated."""
UNPROVED_TRIES = (AGAIN, topup.REPEATED)
"""How tries are closed that may have made it all the same."""
FIRST_ASK_MS = 2_000
POLL_MAX_MS = 60_000
GIVE_UP_MS = 24 * 3_600_000
SLOW_MS = 3_600_000
ROUTE_MS = 300_000
OVER = (LineState.REFUND_CASE, LineState.CLOSED, LineState.CANCELLED)


def conclude(
    shop: Shop, effect: Row, n: int, answer: Purchased | OutsideError, tally: Sent
) -> None:
    """Write down what the answer to a try means."""
    line = lines_of(shop, effect)[0]
    purchase = store.of_line(shop.db, line["id"])
    assert purchase is not None
    if isinstance(answer, Purchased):
        accepted(shop, effect, purchase, answer, tally)
        return
    reason = str(answer)
    intent = [PurchaseState.INTENT]
    if isinstance(answer, Unknown):
        store.move(shop.db, purchase["id"], intent, PurchaseState.UNKNOWN, note=reason[:300])
        _move_line(shop, line, LineState.SENDING, LineState.UNKNOWN, reason)
        due(shop, effect, FIRST_ASK_MS, reason)
        tally.unknown += 1
        return
    rejected, waits = isinstance(answer, Rejected), LineState.RESERVED
    target = PurchaseState.REJECTED if rejected else PurchaseState.PLANNED
    if _may_be_made(shop, effect):
        target, waits = PurchaseState.UNKNOWN, LineState.UNKNOWN
        reason = told("not made now ({reason}), but perhaps before: look there", reason=answer)
    store.move(shop.db, purchase["id"], intent, target, note=reason[:300])
    _move_line(shop, line, LineState.SENDING, waits, reason)
    if rejected or _tried_enough(shop, effect, n):
        to_human(shop, effect, [{**line, "state": waits}], reason)
        tally.needs_you += 1
        return
    after_s = answer.after_s if isinstance(answer, Retriable) else 0.0
    wait_s = max(after_s, BACKOFF_S[min(n - 1, len(BACKOFF_S) - 1)])
    if isinstance(answer, NeedsOperator):
        wait_s = max(wait_s, 300)
    due(shop, effect, round(wait_s * 1000), reason)
    tally.failed += 1
    tally.notes.append(reason)


def accepted(shop: Shop, effect: Row, purchase: Row, answer: Purchased, tally: Sent) -> None:
    """The supplier has the order: its number is kept before anything else."""
    agreed = purchase["cap_minor"] if answer.agreed_minor is None else answer.agreed_minor
    store.move(
        shop.db,
        purchase["id"],
        [PurchaseState.INTENT, PurchaseState.UNKNOWN],
        PurchaseState.ACCEPTED,
        their_no=answer.their_no[:200],
        agreed_minor=agreed,
        accepted_ms=shop.now_ms(),
    )
    progress(shop, effect, store.get(shop.db, purchase["id"]), answer, tally)


def progress(shop: Shop, effect: Row, purchase: Row, answer: Purchased, tally: Sent) -> None:
    """Write down how far the supplier is with an order it accepted."""
    line = lines_of(shop, effect)[0]
    if answer.progress is Progress.DONE:
        complete(shop, effect, line, purchase, answer)
        tally.delivered += 1
    elif answer.progress is Progress.FAILED:
        failed(shop, effect, line, purchase)
        tally.needs_you += 1
    elif shop.now_ms() - purchase["accepted_ms"] >= GIVE_UP_MS and line["state"] in OVER:
        due(shop, effect, SLOW_MS, "")  # no person waits for it: its cost is still to be booked
    elif shop.now_ms() - purchase["accepted_ms"] >= GIVE_UP_MS:
        why = told("{supplier} has it for a day and is not done", supplier=purchase["supplier"])
        _move_line(shop, line, LineState.SENDING, LineState.UNKNOWN, why)
        to_human(shop, effect, lines_of(shop, effect), why)
        tally.needs_you += 1
    else:
        why = told("{supplier} is at work on it", supplier=purchase["supplier"])
        _move_line(shop, line, LineState.UNKNOWN, LineState.SENDING, why)
        due(shop, effect, _poll_ms(shop, purchase), why)


def _poll_ms(shop: Shop, purchase: Row) -> int:
    """Ask soon at first, then ever more slowly."""
    pace = shop.adapters.supplier(purchase["supplier"]).features.poll_ms
    age = shop.now_ms() - (purchase["accepted_ms"] or shop.now_ms())
    return int(min(POLL_MAX_MS, max(pace, age // 4)))


def again(shop: Shop, effect: Row, purchase: Row) -> None:
    """It was certainly not made, or may be repeated: the same number is tried once more."""
    sources = [PurchaseState.UNKNOWN, PurchaseState.INTENT]
    store.move(shop.db, purchase["id"], sources, PurchaseState.PLANNED)
    line = lines_of(shop, effect)[0]
    _move_line(shop, line, LineState.UNKNOWN, LineState.RESERVED, "")
    due(shop, effect, 0, "")


def settle(shop: Shop, effect: Row, state: AttemptState, reference: str, detail: str) -> None:
    """Close the try whose outcome was unclear."""
    effects.move_attempt(
        shop.db,
        effect["attempt_id"],
        AttemptState.UNKNOWN,
        state,
        shop.now_ms(),
        reference,
        detail,
    )


def later(shop: Shop, effect: Row, wait_ms: int, reason: str) -> None:
    """Put a purchase off that nobody has begun."""
    now = shop.now_ms()
    effects.move_effect(
        shop.db,
        EffectId(effect["id"]),
        WAITING,
        EffectState.RETRY_AT,
        now,
        due_ms=now + wait_ms,
        reason=reason,
    )


def due(shop: Shop, effect: Row, wait_ms: int, reason: str) -> None:
    """Say when a purchase is looked at again."""
    now = shop.now_ms()
    sources = [EffectState.INFLIGHT, *WAITING]
    effects.move_effect(
        shop.db,
        EffectId(effect["id"]),
        sources,
        EffectState.RETRY_AT,
        now,
        due_ms=now + wait_ms,
        reason=reason,
    )


def _move_line(shop: Shop, line: Row, source: LineState, target: LineState, reason: str) -> None:
    why = reason_of(line, reason)
    orders.move_line(shop.db, LineId(line["id"]), source, target, shop.now_ms(), reason=why)


def _may_be_made(shop: Shop, effect: Row) -> bool:
    """Tell whether an earlier try may have made it that was repeated, not asked about: what is said
    of the repetition is no proof of the first."""
    details = [attempt["detail"] for attempt in effects.attempts_of(shop.db, [effect["id"]])]
    while details:
        last = details.pop()
        if last in UNPROVED_TRIES or last == NOT_THERE:
            return bool(last != NOT_THERE)
    return False


def _tried_enough(shop: Shop, effect: Row, n: int) -> bool:
    age_ms = shop.now_ms() - effect["created_ms"]
    return bool(n >= shop.config.deliver.tries_max and age_ms >= GIVE_UP_MS)


def put_off(shop: Shop, effect: Row, purchase: Row, error: KmError, tally: Sent) -> None:
    """Try a purchase later whose supplier cannot be opened; let a person look for what may have
    been made, when that lasts for a day."""
    unclear = purchase["state"] in {PurchaseState.INTENT, PurchaseState.UNKNOWN}
    is_long = unclear and shop.now_ms() - (effect["attempt_ms"] or 0) >= GIVE_UP_MS
    with shop.db.tx():
        must_be_live(shop)
        orders.lock(shop.db, [effect["order_id"]])
        if is_long:
            to_human(shop, effect, lines_of(shop, effect), str(error))
            tally.needs_you += 1
            return
        later(shop, effect, ROUTE_MS, str(error))
    tally.failed += 1
    tally.notes.append(f"{error}. {error.next_step()}")
