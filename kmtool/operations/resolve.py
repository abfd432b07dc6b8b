"""Finds out about tries whose outcome is unclear: by evidence, by asking, by repeats that are safe.

What cannot be found out goes to a person; so does a message that never arrives however often it is
sent. A probe that finds nothing is final only after the other side's own limit of execution.
"""

from __future__ import annotations

from collections.abc import Sequence

from kmtool.domain.ids import EffectId, LineId, OrderId
from kmtool.domain.states import AttemptState, EffectKind, EffectState, LineState
from kmtool.errors import Broken, KmError, marked, told
from kmtool.operations import chain, quotas, routes, waited
from kmtool.operations.kinds import parcel_of
from kmtool.operations.outcome import backoff_s, succeed
from kmtool.operations.permit import lines_of, moved_by, must_be_live, to_human
from kmtool.operations.refunds import reason_of
from kmtool.operations.tries import WAITING, Sent
from kmtool.ports import Repeat, Verdict
from kmtool.shop import Shop
from kmtool.store import effects, orders
from kmtool.store.db import Row

ROUTE_AGAIN_MS = 300_000
FIRST_ASK_MS = 2_000
ASK_MS = 15_000
UNCLEAR_GRACES = 10
LATE_OK = "late ok"


def resolve(shop: Shop, due: Sequence[Row], tally: Sent) -> list[Row]:
    """Ask about unclear tries; return those whose route bears the same text once more."""
    again: list[Row] = []
    for effect in due:
        if str(effect["attempt_reference"]).startswith(LATE_OK):
            settle(shop, effect, Verdict.DONE, tally)
            continue
        try:
            rule, tries, grace = routes.repeat_rule(
                shop, effect["kind"], effect["route"], effect["channel"]
            )
            if rule is Repeat.QUERYABLE:
                asked_ms = shop.now_ms()
                verdict = routes.probe(shop, parcel_of(shop, effect))
                _conclude(shop, effect, (verdict, asked_ms), grace, tally)
                continue
        except Broken:
            give_up(shop, effect, "its sealed text does not open", tally)
            continue
        except KmError as error:
            put_off(shop, effect, error, tally)
            continue
        if rule in {Repeat.IDEMPOTENT, Repeat.REPEAT_SAFE} and effect["tries"] < tries:
            if _has_waited(shop, effect):
                again.append(effect)
        else:
            give_up(shop, effect, "the outcome is unclear and this route cannot be asked", tally)
    return again


def _has_waited(shop: Shop, effect: Row) -> bool:
    """Tell whether the same text may go once more now; after the second try it waits longer."""
    now = shop.now_ms()
    due = effect["attempt_ms"] + backoff_s(effect["tries"]) * 1000
    if effect["tries"] == 1 or now >= due:
        return True
    with shop.db.tx():
        reason = str(effect["reason"])
        effects.move_effect(
            shop.db,
            EffectId(effect["id"]),
            WAITING,
            EffectState.RETRY_AT,
            now,
            due_ms=due,
            reason=reason,
        )
    return False


def use_late_proofs(shop: Shop, tally: Sent) -> None:
    """Close what waits for a person although a fenced-off sender learned that it happened."""
    for effect in effects.with_late_proof(shop.db):
        settle(shop, effect, Verdict.DONE, tally)


def put_off(shop: Shop, effect: Row, error: KmError, tally: Sent) -> None:
    """A route that cannot be used now is tried later; one that is gone is a person's business."""
    lines = lines_of(shop, effect)
    with shop.db.tx():
        orders.lock(shop.db, [effect["order_id"]])
        if effect["channel"] not in shop.config.channels:
            why = told(
                "there is no [channels.{name}] in kmtool.toml any more", name=effect["channel"]
            )
            to_human(shop, effect, lines, why)
            tally.needs_you += len(lines) or 1
            return
        if _onward(shop, effect, error):
            return
        now = shop.now_ms()
        effects.move_effect(
            shop.db,
            EffectId(effect["id"]),
            WAITING,
            EffectState.RETRY_AT,
            now,
            due_ms=now + ROUTE_AGAIN_MS,
            reason=str(error),
        )
    tally.failed += len(lines) or 1
    tally.notes.append(f"{error}. {error.next_step()}")


def _onward(shop: Shop, effect: Row, error: KmError) -> str:
    """Let a hand-over whose route cannot be used go by the next one; say how."""
    if effect["parcel_id"] is None or effect["kind"] == EffectKind.PURCHASE:
        return ""
    try:
        message = parcel_of(shop, effect).message
    except Broken:
        return ""  # its own turn brings it to a person
    return chain.fall_back(shop, effect, message, str(error)) if message else ""


def settle(shop: Shop, effect: Row, verdict: Verdict, tally: Sent) -> None:
    """Write what asking told us: it happened, or it certainly did not."""
    db, now = shop.db, shop.now_ms()
    with db.tx():
        must_be_live(shop)
        orders.get(db, OrderId(effect["order_id"]), lock=True)
        done = verdict is Verdict.DONE
        moved = effects.move_attempt(
            db,
            effect["attempt_id"],
            AttemptState.UNKNOWN,
            AttemptState.OK if done else AttemptState.REJECTED,
            now,
            effect["attempt_reference"] or "asked",
            "found there" if done else "not there after the grace period",
        )
        if not moved:
            return
        if done:
            succeed(shop, [effect], tally)
            return
        quotas.give_back(shop, effect, effect["tries"])
        lines = moved_by(shop, effect)
        if effect["tries"] >= shop.config.deliver.tries_max:
            to_human(shop, effect, lines, f"sent {effect['tries']} times, and it never arrives")
            tally.needs_you += len(lines) or 1
            return
        effects.move_effect(
            db, EffectId(effect["id"]), WAITING, EffectState.RETRY_AT, now, due_ms=now
        )
        for line in lines:
            if line["state"] == LineState.UNKNOWN:
                orders.move_line(
                    db,
                    LineId(line["id"]),
                    LineState.UNKNOWN,
                    LineState.RESERVED,
                    now,
                    reason=reason_of(line, ""),
                )


def give_up(shop: Shop, effect: Row, reason: str, tally: Sent) -> None:
    """Leave an unclear outcome to a person; one that was fenced off leaves nothing."""
    with shop.db.tx():
        if shop.session is not None:
            must_be_live(shop)
        orders.get(shop.db, OrderId(effect["order_id"]), lock=True)
        lines = moved_by(shop, effect)
        asked = to_human(shop, effect, lines, reason)
    tally.needs_you += (len(lines) or 1) if asked else 0


def _conclude(
    shop: Shop, effect: Row, answer: tuple[Verdict | None, int], grace_ms: int, tally: Sent
) -> None:
    """Draw the conclusion from an answer; it is of the moment of the question, however late."""
    verdict, asked_ms = answer
    done = verdict is Verdict.DONE
    final_at = 0 if done else waited.over_ms(shop, effect["attempt_ms"], grace_ms)
    if verdict is not None and (done or (verdict is Verdict.NOT_DONE and asked_ms >= final_at)):
        settle(shop, effect, verdict, tally)
        return
    now = shop.now_ms()
    if verdict is Verdict.UNCLEAR and now >= final_at + UNCLEAR_GRACES * grace_ms:
        give_up(shop, effect, "the other side cannot tell whether it happened", tally)
        return
    wait = ASK_MS
    if verdict is Verdict.NOT_DONE:
        wait = min(ASK_MS, max(FIRST_ASK_MS, final_at - now))
    with shop.db.tx():
        if shop.session is not None:
            must_be_live(shop)
        effects.move_effect(
            shop.db,
            EffectId(effect["id"]),
            WAITING,
            EffectState.RETRY_AT,
            now,
            due_ms=now + wait,
            reason=marked("outcome unclear; asking again"),
        )
    tally.unknown += 1
