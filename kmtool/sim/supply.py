"""Stock of the simulated shop, and the operator who answers in the end what waits for him."""

from __future__ import annotations

from kmtool.operations import import_keys, texts
from kmtool.operations.import_records import Terms
from kmtool.operations.key_sources import Source
from kmtool.operations.sync import sync
from kmtool.shop import Shop
from kmtool.sim.sites import COSTS_E5, SHARED_USES
from kmtool.sim.stage import Act, Stage

FORMS = {"U1": "U"}
BATCH = 30
LOW = 40


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
    if sku == "U1":
        stage.world.uses.update(dict.fromkeys(keys, SHARED_USES))
    take_in(stage, sku, keys)
    return keys


def take_in(stage: Stage, sku: str, keys: list[str]) -> None:
    """Import a file of keys."""
    source = Source(f"{keys[0]}.txt", "\n".join(keys).encode())
    terms = Terms(sku=sku, supplier="sup1", cost_e5=COSTS_E5[sku])

    def work(shop: Shop) -> None:
        import_keys.run(
            shop, [source], terms, agree=lambda _: True, create=lambda _kind, _name: True
        )

    stage.command(f"import {sku} {len(keys)}", work)


def more(stage: Stage) -> None:
    """A batch comes in."""
    bring(stage, stage.random.choice(list(COSTS_E5)), stage.random.choice((6, 12, BATCH)))


def settle(stage: Stage) -> None:
    """In the end: stock for everything that is asked for; the operator answers."""
    for sku in COSTS_E5:
        bring(stage, sku, LOW)
    stage.command("sync", sync)


SUPPLY = (Act(5, "import", more),)
