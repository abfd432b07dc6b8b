"""The simulated shop as it is set up: its channels, what they list, its kmtool.toml."""

from __future__ import annotations

from kmtool.ports import Features, Repeat
from kmtool.sim.world import Site, Ware

WARES = (
    Ware("i1", "S1", 1_000),
    Ware("i2", "S2", 2_600, units=2),
    Ware("i3", "S3", 990),
    Ware("u1", "U1", 700, kind="shared"),
    Ware("t1", "T1", 300, kind="text"),
    Ware("b1", "B1", 3_900, kind="bundle", parts=(("S1", 1), ("S3", 2))),
)
"""What every channel lists. S1, S3: a key per piece; S2: two keys per piece; U1: each key serves
`SHARED_USES` buyers; T1: a text; B1: a bundle of the others."""
SHARED_USES = 3
COSTS_E5 = {"S1": 500_000, "S2": 700_000, "S3": 333_300, "U1": 300_000}
"""What a key costs."""
PICTURES = (
    Ware("q1", "Q1", 980),
    Ware("qu", "QU", 700, kind="shared"),
    Ware("qb", "QB", 2_400, kind="bundle", parts=(("S1", 1), ("Q1", 1))),
)
"""What is listed from the day on which the shop sells pictures: one, one that several buyers share,
one with a text."""
PICTURED_E5 = {"Q1": 450_000, "QU": 300_000}
EVERY_E5 = {**COSTS_E5, **PICTURED_E5}
SHARED = frozenset({"U1", "QU"})
"""Of these each key serves `SHARED_USES` buyers."""


def _channel(**more: object) -> Features:
    return Features(
        title="simulated",
        kind="test",
        **{  # type: ignore[arg-type]
            "pull": True,
            "overlap_ms": 12_000,
            "mark_shipped": True,
            "shipped_repeat": Repeat.QUERYABLE,
            "notes": True,
            "push_stock": True,
            "shelf": True,
            "refund_reply": True,
            "reread": True,
            **more,
        },
    )


def _courier(**more: object) -> Features:
    return Features(title="simulated", kind="courier", **more)  # type: ignore[arg-type]


SITES = (
    Site(
        "maple",
        _channel(),
        _courier(repeat=Repeat.QUERYABLE, repeat_max=3, parallel=1, attachments=True),
        WARES,
    ),
    Site(
        "birch",
        _channel(shipped_repeat=Repeat.IDEMPOTENT, parallel=3),
        _courier(repeat=Repeat.IDEMPOTENT, repeat_max=3, parallel=4, attachments=True),
        WARES,
    ),
    Site(
        "cedar",
        _channel(shipped_repeat=Repeat.REPEAT_SAFE, repeat_max=4, refund_reply=False),
        _courier(
            repeat=Repeat.REPEAT_SAFE, repeat_max=3, parallel=2, needs_email=True, attachments=True
        ),
        WARES,
        other=_courier(repeat=Repeat.NONE),
    ),
    Site(
        "dune",
        _channel(reread=False, shipped_repeat=Repeat.QUERYABLE),
        _courier(repeat=Repeat.NONE, parallel=1),
        WARES,
    ),
    Site("elm", _channel(), _courier(repeat=Repeat.NONE, by_hand=True), WARES),
)
"""maple can be asked · birch knows a message by its number · cedar sends mail, which is repeated ·
dune can neither be asked nor bears a repeat, and its orders cannot be read one by one · elm's
messages are pasted by the owner. cedar has a
second courier, who bears no repeat either. That one and dune's carry no pictures."""

TOML = """schema = 1
[shop]
name = "模拟小店"
[data]
disk_min_mb = 0
[deliver]
batch = 40
order_wait = "10m"
[brakes]
sku_pieces_per_hour = 120
sku_value_per_hour = "0"
buyer_pieces_per_hour = 12
{channels}"""

CHANNEL = """[channels.{name}]
adapter = "kmtool.sim.channel"
mode = "auto"
couriers = ["{name}_way"]
[couriers.{name}_way]
adapter = "kmtool.sim.courier"
[couriers.{name}_way.options]
site = "{name}"
"""

SECOND = """[couriers.{name}_alt]
adapter = "kmtool.sim.courier"
[couriers.{name}_alt.options]
site = "{name}"
"""


def toml(database: str = "") -> str:
    """Return the kmtool.toml of the simulated shop."""
    text = TOML.format(channels="".join(_section(site) for site in SITES))
    if database:
        text = text.replace("[data]\n", f'[data]\ndatabase = "{database}"\n')
    return text


def _section(site: Site) -> str:
    text = CHANNEL.format(name=site.name)
    if site.courier.by_hand:
        return text.partition("[couriers.")[0].replace(f"{site.name}_way", "by_hand")
    if site.other is None:
        return text
    both = text.replace(f'["{site.name}_way"]', f'["{site.name}_way", "{site.name}_alt"]')
    return both + SECOND.format(name=site.name)
