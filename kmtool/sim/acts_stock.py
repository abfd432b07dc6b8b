"""What the owner does with stock: files once more, half old, wrong, pasted twice, undone; brakes.

A key that was taken out of sale (its file was a mistake) must not leave afterwards, unless it was
bound to an order by then: those stay, and the undo names them.
"""

from __future__ import annotations

from kmtool.errors import KmError
from kmtool.operations import house, import_keys, keys, products, templates, texts
from kmtool.operations.import_records import ImportResult, Terms
from kmtool.operations.key_sources import Source
from kmtool.operations.keys import Undone
from kmtool.operations.products import Fields
from kmtool.operations.replay import last_word
from kmtool.operations.templates import Place
from kmtool.shop import Shop
from kmtool.sim import drawn, pictures
from kmtool.sim.acts_kit import DONE, insist, perform
from kmtool.sim.acts_truth import Brought
from kmtool.sim.ground import MASTER
from kmtool.sim.sites import EVERY_E5, PICTURED_E5, SHARED, SHARED_USES
from kmtool.sim.stage import Stage
from kmtool.sim.supply import FORMS, source_of
from kmtool.store import seen_keys
from kmtool.vault import Vault

FINGERPRINTS = Vault(MASTER)
BODIES = (
    "{% for line in lines %}{% for key in line['keys'] %}{{ key }}\n{% endfor %}{% endfor %}",
    "您好，{{ shop }} 的订单 {{ number }}：\n{% for line in lines %}{{ line.title }}\n"
    "{% for key in line['keys'] %}- {{ key }}\n{% endfor %}{% endfor %}谢谢！",
    "no key in here",
)


def take_in(stage: Stage, file: Brought) -> str:
    """Import a file of the drawer; the same file may be imported at any time again."""
    cost = EVERY_E5[file.sku]
    terms = Terms(
        sku=file.sku, supplier=file.supplier, cost_e5=cost, uses=file.uses, mode=file.mode,
        images=file.sku in PICTURED_E5,
    )  # fmt: skip

    sold = stage.world.owner.sold

    def work(shop: Shop) -> ImportResult:
        data = _unsold(shop, file, sold) if sold else file.data
        for row in data.splitlines():  # what is brought in is for sale, whatever was said before
            stage.world.owner.gone.pop(row.decode().strip(), None)
        source = source_of(file, data)
        return import_keys.run(
            shop, [source], terms, agree=lambda _: True, create=lambda _kind, _name: True
        )

    def done(found: ImportResult, _seq: int) -> None:
        batch = next((one.batch for one in found.files if one.batch), "")
        if batch:
            file.batch = batch
            file.whole = found.accepted >= sum(key not in sold for key in file.keys)
        file.here = True

    return perform(stage, f"import {file.name} {len(file.keys)}", work, done)


def _unsold(shop: Shop, file: Brought, sold: set[str]) -> bytes:
    """Return what the owner brings in again: not what was sold, unless journal or shop ask."""
    named = {*last_word(shop.journal).sent, *seen_keys.seen_fingerprints(shop.db)}
    rows = [row.strip() for row in file.data.splitlines()]
    return b"\n".join(
        row
        for row in rows
        if row.decode() not in sold or FINGERPRINTS.fingerprint(drawn.stored(row.decode())) in named
    )


def _file(stage: Stage, sku: str, n: int, note: str = "") -> Brought:
    found = stage.world.make_keys(sku, n, FORMS.get(sku, "K"))
    uses = SHARED_USES if sku in SHARED else None
    if uses:
        stage.world.uses.update(dict.fromkeys(found, uses))
    return Brought(f"{found[0]}{note}.txt", sku, "\n".join(found).encode(), tuple(found))


def same_again(stage: Stage) -> None:
    """The same file, once more: nothing of it is new while the shop knows it."""
    known = [file for file in stage.world.owner.files if not file.undone]
    if known:
        take_in(stage, stage.random.choice(known[-20:]))


def half_old(stage: Stage) -> None:
    """A file whose keys are half of an old file, half new."""
    known = [file for file in stage.world.owner.files if not file.undone and file.sku != "T1"]
    if not known:
        return
    old = stage.random.choice(known[-20:])
    fresh = _file(stage, old.sku, stage.random.choice((3, 6)), "-half")
    mixed = [*stage.random.sample(old.keys, min(len(old.keys), 5)), *fresh.keys]
    stage.random.shuffle(mixed)
    fresh.data = "\n".join(mixed).encode()
    stage.world.owner.files.append(fresh)
    take_in(stage, fresh)


def paste_twice(stage: Stage) -> None:
    """Keys out of a chat, pasted twice into the same text."""
    fresh = _file(stage, stage.random.choice(("S1", "S3")), 4, "-paste")
    rows = [row for key in fresh.keys for row in (key, key, "")]
    fresh.data = "\r\n".join((*rows, *fresh.keys)).encode()
    stage.world.owner.files.append(fresh)
    take_in(stage, fresh)


def wrong_file(stage: Stage) -> None:
    """A file that should not have come in is taken out again; its keys go back to whom they are."""
    fresh = _file(
        stage, stage.random.choice(("S1", "S2", "S3", "U1", *pictures.sold(stage))), 5, "-wrong"
    )
    fresh.undone = True
    stage.world.owner.files.append(fresh)
    take_in(stage, fresh)
    if stage.random.random() < 0.5:
        stage.rounds()
    undo(stage, fresh)


def undo_late(stage: Stage) -> None:
    """The owner notices only now that a file was wrong."""
    known = [file for file in stage.world.owner.files if file.batch]
    if known:
        file = stage.random.choice(known[-8:])
        file.undone = True
        undo(stage, file)


def undo(stage: Stage, file: Brought) -> str:
    """Take a batch out again: what nobody was given is gone for good."""
    if not file.batch:
        return ""
    owner = stage.world.owner

    def work(shop: Shop) -> Undone:
        return keys.undo(shop, file.batch)

    def done(found: Undone, seq: int) -> None:
        stay = {one.key.removeprefix("…") for one in found.staying}
        if sum(found.stay.values()) > len(found.staying) or not file.whole:
            return
        known = {*owner.gone, *stage.world.holders}
        out = [
            key
            for key in file.keys
            if key[-4:] not in stay and key not in known and not is_recorded(stage, key)
        ]
        owner.gone.update(dict.fromkeys(out, seq))
        owner.decided(seq, lambda: [owner.gone.pop(key, None) for key in out])

    return insist(stage, f"undo {file.batch} {file.name}", work, done)


def is_recorded(stage: Stage, key: str) -> bool:
    """Tell whether the journal has a key on record: its buyer may have it, whatever was undone."""
    return FINGERPRINTS.fingerprint(drawn.stored(key)) in stage.sent


def new_text(stage: Stage) -> None:
    """The text that is sold without limit changes, or an earlier one comes back."""
    world = stage.world
    number = stage.random.randint(1, max(1, world.made.get("T1", 0)) + 1)
    world.made["T1"] = max(number, world.made.get("T1", 1))
    world.owner.text = number
    set_text(stage, number)


def set_text(stage: Stage, number: int) -> str:
    """Let new orders get this text from now on."""
    body = f"T-T1-{number:06d}".encode()

    def work(shop: Shop) -> None:
        texts.set_text(shop, "T1", Source("t.txt", body))

    return perform(stage, f"text {number}", work)


def bring_again(stage: Stage) -> None:
    """What the shop lost when it was set back comes in again out of the owner's drawer."""
    owner = stage.world.owner
    if not owner.text_here:
        made = range(1, stage.world.made.get("T1", 1) + 1)
        sent = {number for number in made if is_recorded(stage, f"T-T1-{number:06d}")}
        every = (*sorted(sent - {owner.text}), owner.text)
        ends = [set_text(stage, number) for number in every]
        owner.text_here = all(end == DONE for end in ends)
    pictures.list_again(stage)
    for file in owner.files:
        sold = any(stage.world.holders.get(key) or is_recorded(stage, key) for key in file.keys)
        if file.here or (file.undone and not sold):
            continue
        if take_in(stage, file) == DONE and file.undone:
            undo(stage, file)


def template(stage: Stage) -> None:
    """What buyers read changes while messages wait; one that leaves the keys out is refused."""
    site = stage.random.choice(("", *stage.world.sites))
    place = Place("message", channel=site)
    if stage.random.random() < 0.3:
        perform(stage, f"template {site} off", lambda shop: templates.remove(shop, place))
        return
    body = stage.random.choice(BODIES)
    perform(stage, f"template {site}", lambda shop: templates.put(shop, place, body))


def floor(stage: Stage) -> None:
    """A floor price by mistake; it is mended right after, or with the next step."""
    sku = stage.random.choice(("S1", "S3"))

    def work(shop: Shop, minor: int) -> None:
        products.change(shop, sku, Fields(floor_minor=minor))

    perform(stage, f"floor {sku} 99.00", lambda shop: work(shop, 9_900))
    if stage.random.random() < 0.7:
        stage.rounds()
    insist(stage, f"floor {sku} 0", lambda shop: work(shop, 0))


def switch_off(stage: Stage) -> None:
    """A product is switched off for a while."""
    sku = stage.random.choice(("S1", "S2", "U1"))

    def work(shop: Shop, state: str) -> None:
        products.change(shop, sku, Fields(state=state))

    perform(stage, f"{sku} off", lambda shop: work(shop, "off"))
    stage.rounds()
    insist(stage, f"{sku} on", lambda shop: work(shop, "on"))


def pause(stage: Stage) -> None:
    """The owner stops everything, a channel or a product at once."""
    target = stage.random.choice(("all", *stage.world.sites, "S1", "S3"))
    owner = stage.world.owner

    def done(found: house.PauseResult, seq: int) -> None:
        if not found.changed:
            return
        owner.paused[found.scope] = seq
        owner.decided(seq, lambda: owner.paused.pop(found.scope, None))

    perform(stage, f"pause {target}", lambda shop: house.pause(shop, target, "look"), done)


def resume(stage: Stage) -> None:
    """The owner lets deliveries go on."""
    scopes = sorted(stage.world.owner.paused)
    if scopes:
        go_on(stage, stage.random.choice(scopes))


def go_on(stage: Stage, scope: str) -> str:
    """End a pause; whatever it stopped may leave from now on."""
    owner = stage.world.owner
    scope = next((one for one in owner.paused if scope in {one, one.partition(":")[2]}), scope)
    before = owner.paused.pop(scope, 0)

    def done(found: house.PauseResult, seq: int) -> None:
        if before and found.changed:  # else the command that died had done it, we know not when
            owner.decided(seq, lambda: owner.paused.update({scope: before}))

    def refused(_error: KmError) -> None:
        if before:
            owner.paused[scope] = before

    return insist(stage, f"resume {scope}", lambda shop: house.resume(shop, scope), done, refused)
