"""A working day, from the first import to the settlement, told at the end in a few lines.

The clock is moved by hand through the last day that is over, to seven in the morning after it.
Every figure of the story is counted in the database or at the simulated buyers after the work.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

from adapters.demo_shop import DemoShop, Good
from kmtool.app import create_shop, open_shop
from kmtool.clock import ManualClock, SystemClock
from kmtool.config import FILE_NAME, load
from kmtool.demo import world as made_up
from kmtool.demo.story import Books, Story, tell
from kmtool.demo.world import WARES, World
from kmtool.domain.money import parse_e5
from kmtool.domain.secret import Secret
from kmtool.errors import Refused, told
from kmtool.operations import (
    backup,
    by_hand,
    deliver,
    house,
    import_keys,
    key_sources,
    orders,
    products,
    settle,
    suppliers,
    sync,
)
from kmtool.operations.import_records import Terms
from kmtool.operations.reconcile import reconcile
from kmtool.operations.statements import Answers
from kmtool.shop import Shop

MARKER = ".kmtool-demo"
MORNING_MS = 7 * made_up.HOUR_MS
Say = Callable[[str], None]

TOML = """# A shop made by `kmtool demo`. Look around, break things: the next demo makes it anew.
schema = 1

[shop]
name = "枫叶小店"
timezone = "Asia/Shanghai"

[data]
private = ".private"            # a real shop keeps the master key outside its folder

[brakes]
buyer_pieces_per_hour = 10

[channels.maple]                # a simulated marketplace; it runs only while the demo does
adapter = "demo"
mode = "auto"
couriers = ["demo"]
credentials = { token = "secret:maple-token", secret = "secret:maple-secret" }
options = { url = "@url@" }

[suppliers.toplab]              # top-ups are bought here; limits come before every purchase
adapter = "demo"
spend_per_day = "100.00"
spend_per_order = "20.00"
credentials = { token = "secret:maple-token", secret = "secret:maple-secret" }
options = { url = "@url@" }

[channels.taobao]               # no interface: exported files in, pasted by hand
adapter = "file"
mode = "auto"
couriers = ["by_hand"]
options = { preset = "taobao" }

[accounts.wechat]
kind = "wechat"
channels = ["maple"]
settle_lag_days = 0
publish_lag_days = 0

[accounts.alipay]
kind = "alipay"
channels = ["taobao"]
settle_lag_days = 0
publish_lag_days = 0
"""


def run(folder: Path, say: Say) -> Story:
    """Play the day in `folder` (made anew) and return its story."""
    prepare(folder)
    day_ms = made_up.day_start_of(SystemClock().now_ms() - MORNING_MS)
    clock = ManualClock(day_ms + 7 * made_up.HOUR_MS)
    with DemoShop(clock, made_up.ZONE, name="maple") as maple:
        text = TOML.replace("@url@", maple.url)
        (folder / FILE_NAME).write_text(text, encoding="utf-8")
        config = load(folder / FILE_NAME)
        create_shop(config, clock)
        world = made_up.make_world(maple, day_ms)
        with open_shop(config, clock=clock) as shop:
            house.set_secret(shop, "maple-token", Secret(maple.token))
            house.set_secret(shop, "maple-secret", Secret(maple.secret))
            return _day(shop, world, clock, say)


def prepare(folder: Path) -> None:
    """Empty a folder of an earlier demo; anything else that is not empty is refused."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise Refused(
                detail="{folder} is not empty and not of an earlier demo",
                folder=folder,
                mend="kmtool demo NEW_FOLDER",
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text("made by kmtool demo\n", encoding="utf-8")


def _day(shop: Shop, world: World, clock: ManualClock, say: Say) -> Story:
    say(told("07:00  open the shop, bring in three batches from two suppliers"))
    _open(shop, world)
    pasted = 0
    refunded = ""
    for hour in range(8, 23):
        made_up.place_hour(world, hour)
        refunded = _special(shop, world, hour, refunded)
        clock.set(world.at(hour + 1))
        sync.sync(shop, ["maple"])
        done = deliver.deliver(shop)
        if hour in {10, 13}:
            lost = "{hour}:00  replies lost on the way: {n}; kmtool asks first"
            say(told(lost, hour=hour + 1, n=done.unknown))
        clock.advance(10_000)
        deliver.deliver(shop)
        if hour == 14:
            charged = "15:00  {n} account topped up by its supplier, the proof is with the buyer"
            say(told(charged, n=world.maple.supply.charged(made_up.PHONE)))
        if hour in {11, 16, 21}:
            pasted += _by_hand(shop, world, hour, say)
    say(told("07:00  the morning after: the bills of the day are there, reconcile"))
    clock.set(made_up.day_end_ms_of(world) + MORNING_MS)
    wechat, alipay = made_up.write_bills(
        world, shop.config.folder("inbox") / "statements", _paid_and_missing(world)
    )
    reconcile(shop, [alipay])
    money = reconcile(shop, [wechat], Answers(covers=world.day))
    say(told("       settle with the suppliers"))
    sheets = [settle.close(shop, code, _cut(world)) for code in ("laowang", "haitao")]
    backup.backup(shop)
    return tell(shop, world, Books(money, tuple(sheets), pasted))


def _open(shop: Shop, world: World) -> None:
    for code, name, mode, payee in (
        ("laowang", "老王卡盟", "consignment", "6222000000001234"),
        ("haitao", "海淘数码", "buyout", "6217000000005678"),
    ):
        suppliers.add(shop, code, name=name, mode=mode, settle_days=0, payee=payee)
    files = made_up.write_key_files(world, shop.config.folder("inbox") / "keys")
    for ware in WARES:
        products.add(
            shop,
            ware.sku,
            products.Fields(
                title=ware.title, price_minor=ware.price_minor, low_stock=8, guide=ware.guide
            ),
        )
        import_keys.run(
            shop,
            [key_sources.load(files[ware.sku])],
            Terms(sku=ware.sku, supplier=ware.supplier, cost_e5=parse_e5(ware.cost)),
            agree=lambda _preview: True,
            create=lambda _kind, _name: False,
        )
        for channel, item in (("maple", ware.item), ("taobao", f"tb-{ware.item}")):
            products.map_listing(
                shop, products.Mapping(channel, item, ware.variant, ware.sku, title=ware.title)
            )
    _open_topup(shop, world)


def _open_topup(shop: Shop, world: World) -> None:
    """Put a top-up on sale: nothing on the shelf, the supplier charges the buyer's account."""
    ware = made_up.TOPUP
    world.maple.supply.add_good(Good("HF-10", ware.title, 960, takes=r"1[0-9]{10}"))
    terms = products.Fields(
        title=ware.title,
        kind="topup",
        price_minor=ware.price_minor,
        account_rule="phone-cn",
        supplier=ware.supplier,
        supplier_item="HF-10",
        cap_minor=980,
    )
    products.add(shop, ware.sku, terms)
    products.map_listing(
        shop, products.Mapping("maple", ware.item, ware.variant, ware.sku, title=ware.title)
    )


def _special(shop: Shop, world: World, hour: int, refunded: str) -> str:
    """What does not go the plain way, at its hour of the day."""
    star, maple, _font = WARES
    at_ms = world.at(hour, 20)
    if hour == 9:
        made_up.place(world, star, 1, at_ms, amount=280)
    elif hour == 10:
        world.maple.fail("message", "lost_reply", times=2, skip=1)
        made_up.place(world, maple, 1, at_ms, risk="new account, third card")
    elif hour == 12:
        number = made_up.place(world, maple, 1, at_ms)
        world.maple.refund(number, state="REFUNDED")
    elif hour == 13:
        world.maple.fail("ship", "lost_reply", times=1, skip=2)
        made_up.place(world, made_up.UNMAPPED, 1, at_ms)
    elif hour == 14:
        made_up.place(world, made_up.TOPUP, 1, at_ms, account=made_up.PHONE)
    elif hour == 15:
        refunded = made_up.place(world, maple, 1, at_ms)
    elif hour == 18:
        world.maple.refund(refunded, state="APPLIED")
    return refunded


def _by_hand(shop: Shop, world: World, hour: int, say: Say) -> int:
    """The owner exports the other shop's orders, pastes the messages, uploads the ship file."""
    share = {11: (8, 11, 15), 16: (11, 16, 18), 21: (16, 21, 17)}[hour]
    made_up.place_taobao(world, share[:2], share[2])
    folder = shop.config.folder("inbox") / "orders" / "taobao"
    made_up.write_export(world, folder, f"export-{hour}.csv")
    shop.clock.sleep(5)
    sync.sync(shop, ["taobao"])
    result = by_hand.by_hand(shop, [], lambda _task: by_hand.Answer.SENT)
    sent = _delivered(shop)
    for order in world.taobao:
        order.shipped = order.number in sent
    pasted = "{hour}:00  {n} messages pasted by hand, batch-ship file written"
    say(told(pasted, hour=hour + 1, n=result.sent))
    return result.sent


def _delivered(shop: Shop) -> set[str]:
    found = orders.page(shop, limit=None, channel="taobao")
    return {row.number for row in found.orders if row.state == "delivered"}


def _paid_and_missing(world: World) -> str:
    """Choose the order whose money will not be on the bill: delivered at noon, never refunded."""
    noon = world.at(12)
    for order in sorted(world.maple.orders.values(), key=lambda o: o.created_ms):
        if order.created_ms >= noon and not order.refunds and world.maple.shipped(order.number):
            return order.number
    raise AssertionError("no order was shipped after noon")


def _cut(world: World) -> date:
    return date.fromisoformat(world.day)
