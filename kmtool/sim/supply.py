"""Stock of the simulated shop, and the operator who answers in the end what waits for him."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kmtool.operations import import_keys, order_changes, texts
from kmtool.operations.import_records import Terms
from kmtool.operations.key_sources import Source
from kmtool.shop import Shop
from kmtool.sim import drawn, verdict
from kmtool.sim.acts_truth import Brought
from kmtool.sim.sites import COSTS_E5, EVERY_E5, PICTURED_E5, SHARED, SHARED_USES
from kmtool.sim.stage import Act, Stage

FORMS = {"U1": "U", "Q1": drawn.FORM, "QU": drawn.FORM}
BATCH = 40
SPARE = 5
ANSWERS = 12


def open_the_shop(stage: Stage) -> None:
    """The first stock and the text, before anything goes wrong."""
    calm, stage.edges.calm = stage.edges.calm, True
    for sku in COSTS_E5:
        bring(stage, sku, BATCH)
    stage.command("text", lambda shop: texts.set_text(shop, "T1", Source("t.txt", b"T-T1-000001")))
    stage.edges.calm = calm


def bring(stage: Stage, sku: str, n: int) -> list[str]:
    """Import a batch of fresh keys; return them (whether the import came through or not)."""
    keys = stage.world.make_keys(sku, n, FORMS.get(sku, "K"))
    if sku in SHARED:
        stage.world.uses.update(dict.fromkeys(keys, SHARED_USES))
    take_in(stage, sku, keys)
    return keys


def take_in(stage: Stage, sku: str, keys: list[str]) -> None:
    """Import a file of keys."""
    uses = SHARED_USES if sku in SHARED else None
    end = stage.random.choice(("", ".zip")) if sku in PICTURED_E5 else ".txt"
    file = Brought(f"{keys[0]}{end}", sku, "\n".join(keys).encode(), tuple(keys), uses)
    stage.world.owner.files.append(file)
    source = source_of(file, file.data)
    images = sku in PICTURED_E5
    terms = Terms(sku=sku, supplier="sup1", cost_e5=EVERY_E5[sku], images=images)

    def work(shop: Shop) -> None:
        import_keys.run(
            shop, [source], terms, agree=lambda _: True, create=lambda _kind, _name: True
        )

    stage.command(f"import {sku} {len(keys)}", work)


def source_of(file: Brought, data: bytes) -> Source:
    """Return a file of the drawer as it is brought in: rows of text, or the pictures they name."""
    if file.sku in PICTURED_E5:
        return drawn.source(file.name, data.decode().split())
    return Source(file.name, data or b"\n")


def more(stage: Stage) -> None:
    """A batch comes in: mostly of what is lacking most, sometimes of anything."""
    lacks = verdict.missing(verdict.waiting(stage))
    sku = stage.random.choice(list(COSTS_E5))
    n = stage.random.choice((6, 12, BATCH))
    if stage.random.random() < 0.7:
        sku = max(COSTS_E5, key=lambda one: lacks[one])
        n += lacks[sku]
    bring(stage, sku, n)


def settle(stage: Stage, n: int) -> None:
    """In the end, before the n-th quiet round: stock for all that is asked for; the owner answers.

    He looks at what waits for him every few rounds, and sends again what is not there.
    """
    left = verdict.waiting(stage)
    if n % 5 == 0:
        for sku, missing in sorted(verdict.missing(left).items()):
            if sku in EVERY_E5:
                bring(stage, sku, missing + SPARE)
    if n % 4 == 3:
        for placed in left[:ANSWERS]:
            placed.repeats += 1
            stage.world.owner.released.add(placed.name)
            number = f"{placed.channel}:{placed.fact.number}"
            for act in (order_changes.release, order_changes.redeliver):
                stage.command(f"{act.__name__} {number}", partial(_answer, act, number))


def _answer(act: Callable[[Shop, str], object], number: str, shop: Shop) -> None:
    act(shop, number)


SUPPLY = (Act(9, "import", more),)
