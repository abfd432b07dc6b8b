"""The owner answers what waits: the shop says what needs a person, and the command that settles it.

These commands are taken at their word. What they do not settle stays unsettled, and the verdict in
the end tells of it: so the advice of the morning screen is under test as well.
"""

from __future__ import annotations

import shlex
from functools import partial

from kmtool.domain.states import RefundState
from kmtool.operations import products
from kmtool.operations.order_replace import ReplaceWish, replace
from kmtool.operations.products import Fields
from kmtool.operations.refund_records import Answer, Decision
from kmtool.operations.status import status
from kmtool.shop import Shop
from kmtool.sim import (
    acts_desk,
    acts_jobs,
    acts_machines,
    acts_orders,
    acts_proofs,
    acts_stock,
    drawn,
    supply,
    topups,
    verdict,
)
from kmtool.sim.acts_kit import finish, perform, ref
from kmtool.sim.sites import EVERY_E5
from kmtool.sim.stage import Stage
from kmtool.sim.world import Placed

AT_ONCE = 25
LATE = 18


def quiet(stage: Stage, n: int) -> None:
    """Before the n-th quiet round: finish what died, lift what was stopped, answer what waits."""
    if n % 4 == 0:
        if stage.daemon() is None:
            acts_machines.come_home(stage)
        if stage.world.owner.set_back:
            acts_proofs.reconcile_stock(stage)
            acts_proofs.accept_audit(stage)
        acts_stock.bring_again(stage)
        finish(stage)
        lift(stage)
    if n % 3 == 1:
        answer(stage)
    if n % 2:
        acts_desk.paste_well(stage)
    if n >= LATE and n % 6 == 0:
        last_resort(stage)


def last_resort(stage: Stage) -> None:
    """What stays stuck after the shop was set back gets other keys: its buyers have waited."""
    for placed in verdict.waiting(stage) if stage.world.owner.set_back else ():
        if placed.name in stage.world.owner.resorted:
            continue
        stage.world.owner.resorted.add(placed.name)
        stage.count["last resorts"] += 1
        for line, ware in zip(placed.fact.lines, placed.wares, strict=True):
            if ware.kind == "text":
                continue
            wish = ReplaceWish("stuck since the restore", line.line_no, all_keys=True)
            placed.doubtful.update(placed.got(), _on_record(stage, placed))
            perform(
                stage, f"replace all of {ref(placed)} {line.line_no}",
                partial(_replace_all, ref(placed), wish),
            )  # fmt: skip


def _on_record(stage: Stage, placed: Placed) -> list[str]:
    """Return the keys that the journal names for an order, sent or not: its message may yet go.
    A record that nobody forced is read all the same."""
    named = {
        bytes.fromhex(entry.fingerprint)
        for journal in stage.journals.values()
        for entry in journal.read()
        if (entry.kind, entry.channel, entry.order) == ("SEND", *placed.name)
    }
    made = range(1, stage.world.made.get("T1", 1) + 1)
    every = [f"T-T1-{number:06d}" for number in made]
    every += [key for file in stage.world.owner.files for key in file.keys]
    marks = [(key, acts_stock.FINGERPRINTS.fingerprint(drawn.stored(key))) for key in every]
    return [key for key, mark in marks if mark in named or placed.name in stage.sent.get(mark, ())]


def _replace_all(number: str, wish: ReplaceWish, shop: Shop) -> None:
    replace(shop, number, wish, sure=True)


def lift(stage: Stage) -> None:
    """Pauses and holds end; every channel is trusted again."""
    owner = stage.world.owner
    for site in sorted(owner.modes):
        acts_jobs.set_mode(stage, site, "auto")
    for scope in sorted(owner.paused):
        acts_stock.go_on(stage, scope)
    for placed in list(stage.world.orders.values()):
        if placed.held:
            acts_orders.let_go(stage, placed)


def morning(stage: Stage) -> None:
    """The owner looks at the morning screen and does one of the things it names."""
    _follow(stage, 1)


def answer(stage: Stage) -> None:
    """The owner does all that the morning screen names."""
    _follow(stage, AT_ONCE)


def _follow(stage: Stage, most: int) -> None:
    asked: list[str] = []

    def work(shop: Shop) -> None:
        asked.extend(item.command for item in status(shop).needs_you)

    perform(stage, "status", work)
    if most < len(asked):
        asked = stage.random.sample(asked, most)
    for command in asked:
        follow(stage, command)


def follow(stage: Stage, command: str) -> None:
    """Give a command that the shop named, as far as it is one of those played here."""
    words = shlex.split(command)[1:]
    placed = _named(stage, words)
    if placed is not None:
        _order(stage, placed, words)
        return
    match words:
        case ["channel", "release", site]:
            acts_orders.release_site(stage, site)
        case ["deliver", "--by-hand", *_]:
            acts_desk.paste(stage)
        case ["import", _, "--sku", sku] if sku in EVERY_E5:
            supply.bring(stage, sku, 8)
        case ["product", "set", _, "--text", _]:
            acts_stock.set_text(stage, stage.world.owner.text)
        case ["product", "set", sku, "--state", "on"]:
            perform(stage, command, lambda s: products.change(s, sku, Fields(state="on")))
        case ["resume", scope]:
            acts_stock.go_on(stage, scope)
        case _:
            stage.count["unfollowed"] += 1


def _order(stage: Stage, placed: Placed, words: list[str]) -> None:
    match words[1]:
        case "release" if "--quantity" in words:
            acts_orders.let_rest_go(stage, placed)
        case "release":
            acts_orders.let_go(stage, placed)
        case "redeliver":
            acts_orders.send_again(stage, placed)
        case "charged":
            topups.look_there(stage, placed)
        case "close":
            _release_or_close(stage, placed)
        case "refund":
            _refund(stage, placed)
        case "replace":
            line = words[words.index("--line") + 1] if "--line" in words else ""
            wish = ReplaceWish("does not work", line, all_keys="--all" in words)
            placed.doubtful.update(placed.got(), _on_record(stage, placed))
            perform(stage, " ".join(words), lambda s: replace(s, words[2], wish, sure=True))
        case _:
            stage.count["unfollowed"] += 1


def _named(stage: Stage, words: list[str]) -> Placed | None:
    if len(words) < 3 or words[0] != "order":
        return None
    site, _, number = words[2].rpartition(":")
    for name in (site,) if site else (*stage.world.sites, "counter"):
        placed = stage.world.orders.get((name, number))
        if placed is not None:
            return placed
    return None


def _refund(stage: Stage, placed: Placed) -> None:
    if placed.fact.refund is RefundState.NONE:
        perform(stage, "sync", _pull)
        return
    state = placed.fact.refund
    answers = [Answer.AGREE, Answer.REFUSE] if state is RefundState.OPEN else [Answer.RECORD]
    acts_orders.decide(stage, placed, Decision(stage.random.choice(answers), reason="decided"))


def _pull(shop: Shop) -> None:
    from kmtool.operations.sync import sync

    sync(shop)


def _release_or_close(stage: Stage, placed: Placed) -> None:
    """「Shipped there, not by kmtool」: the owner looks whether the buyer has his keys."""
    if not placed.letters and placed.is_due:
        acts_orders.let_go(stage, placed)
    else:
        acts_orders.end(stage, placed)
