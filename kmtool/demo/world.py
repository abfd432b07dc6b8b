"""The invented world of the demo: products, buyers, files of keys, exported orders, bills.

Everything is drawn from one seed, so the story is the same every day. Buyers are plainly made up.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from adapters.demo_shop import DemoShop, Sold, catalogue
from adapters.statements.synthetic import (
    AlipayMove,
    WechatTrade,
    write_alipay_flow,
    write_wechat_trade,
)
from kmtool.clock import business_day, day_end_ms, day_start_ms, local_text
from kmtool.domain.money import divide, format_plain
from kmtool.resources import data_path
from kmtool.sheets_write import Book, Cell, Sheet, csv_bytes, write_book

ZONE = "Asia/Shanghai"
HOUR_MS = 3_600_000
MERCHANT = "1900000109"
ALIPAY = "20880000000000010000"
MAPLE_ORDERS = 150
TAOBAO_ORDERS = 50
FEE_PPM = 6_000


@dataclass(frozen=True, slots=True)
class Ware:
    """A product of the demo: where it is listed, what it costs, how its keys come."""

    sku: str
    title: str
    item: str
    variant: str
    price_minor: int
    cost: str
    supplier: str
    keys: int
    file: str
    weight: int
    guide: str = ""


WARES = (
    Ware("STAR-30", "星海通行证 30 天激活码", "8801", "", 2800, "19.50", "laowang", 112,
         "laowang-star30.txt", 10, "游戏内 设置 → 兑换码 输入即可"),
    Ware("MAPLE-M", "枫叶云盘会员月卡", "8802", "", 1250, "7.80", "laowang", 90,
         "laowang-maple.csv", 7, "登录官网 → 会员中心 → 激活码"),
    Ware("FONT-1", "字体工坊永久授权码", "8804", "", 16800, "120.00", "haitao", 45,
         "haitao-font.xlsx", 3, "软件 帮助 → 注册 输入授权码"),
)  # fmt: skip
TOPUP = Ware("TEL-10", "话费充值 10 元", "8806", "", 1000, "9.60", "toplab", 0, "", 0)
PHONE = "13800138000"
UNMAPPED = Ware("SKY-100", "晴空加速点卡 100 点", "8805", "", 990, "6.00", "", 0, "", 0)


@dataclass
class FileOrder:
    """An order of the shop that is only known through exported files."""

    number: str
    ware: Ware
    quantity: int
    paid_ms: int
    buyer: str
    pay_no: str
    shipped: bool = False

    @property
    def total_minor(self) -> int:
        """What the buyer paid."""
        return self.ware.price_minor * self.quantity


@dataclass
class World:
    """The demo shop's outside: the marketplace with its server, and the orders in files."""

    day: str
    start_ms: int
    maple: DemoShop
    chance: random.Random = field(default_factory=lambda: random.Random(20_261_122))  # noqa: S311
    key_chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311
    taobao: list[FileOrder] = field(default_factory=list)
    plan: dict[int, list[tuple[Ware, int]]] = field(default_factory=dict)

    def at(self, hour: int, minute: int = 0) -> int:
        """Return a time of the demo day in UTC milliseconds."""
        return self.start_ms + hour * HOUR_MS + minute * 60_000


def make_world(maple: DemoShop, day_ms: int) -> World:
    """Lay out a day: which wares are ordered in which hour (8 to 22)."""
    for offer in catalogue(data_path("demo", "maple.toml")):
        maple.add_item(offer)
    world = World(local_text(day_ms, ZONE, "%Y-%m-%d"), day_ms, maple)
    hours = [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]
    rush = [4, 6, 8, 10, 12, 11, 8, 8, 9, 10, 13, 15, 16, 13, 7]
    for n in range(MAPLE_ORDERS - len(SPECIAL)):
        hour = hours[n] if n < len(hours) else world.chance.choices(hours, rush)[0]
        ware = world.chance.choices(WARES, [w.weight for w in WARES])[0]
        quantity = 2 if ware.price_minor < 5_000 and world.chance.random() < 0.08 else 1
        world.plan.setdefault(hour, []).append((ware, quantity))
    return world


SPECIAL = ("below_cost", "flagged", "refund_early", "refund_late", "unmapped", "topup")
"""The orders that do not go the plain way, one of each."""


def buyer(world: World) -> str:
    """Return a made-up handle."""
    return f"demo_{world.chance.choice('甲乙丙丁戊己庚辛')}{world.chance.randrange(100, 1000)}"


def place_hour(world: World, hour: int) -> None:
    """Let the buyers of one hour order at the marketplace."""
    orders = world.plan.get(hour, [])
    for n, (ware, quantity) in enumerate(orders):
        at_ms = world.at(hour) + n * HOUR_MS // max(1, len(orders))
        place(world, ware, quantity, at_ms)


def place(  # noqa: PLR0913  (an order in one call)
    world: World,
    ware: Ware,
    quantity: int,
    at_ms: int,
    *,
    amount: int | None = None,
    risk: str = "",
    account: str = "",
) -> str:
    """Place one paid order at the marketplace and return its number."""
    number = f"MP{world.day.replace('-', '')}{len(world.maple.orders) + 1:04d}"
    return world.maple.add_order(
        [Sold(ware.item, quantity, ware.variant, amount_minor=amount, account=account)],
        number=number,
        buyer=buyer(world),
        at_ms=at_ms,
        pay_no=f"42000{world.day.replace('-', '')}{len(world.maple.orders) + 1:015d}",
        risk=risk,
    )


def write_key_files(world: World, folder: Path) -> dict[str, Path]:
    """Write one file of keys per ware, in three formats; the first holds one key twice."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for ware in WARES:
        keys = [draw_key(world, ware.sku) for _ in range(ware.keys)]
        path = folder / ware.file
        if path.suffix == ".txt":
            path.write_text("\n".join([*keys, keys[4]]) + "\n", encoding="utf-8")
        elif path.suffix == ".csv":
            path.write_bytes(csv_bytes(["卡密"], [[key] for key in keys], mark=True))
        else:
            rows = [[Cell("序号"), Cell("授权码")]]
            rows += [[Cell(str(n)), Cell(key)] for n, key in enumerate(keys, 1)]
            sheet = Sheet("授权码", (8, 30), rows, head=1)
            write_book(path, Book("keys", "demo", world.start_ms, "CNY", (sheet,)))
        paths[ware.sku] = path
    return paths


def draw_key(world: World, sku: str) -> str:
    """Return an invented key."""
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    parts = ["".join(world.key_chance.choices(letters, k=5)) for _ in range(3)]
    return f"{sku[:4]}-{'-'.join(parts)}"


def place_taobao(world: World, hours: tuple[int, int], count: int) -> None:
    """Let buyers order at the shop that is only known through exported files."""
    for _ in range(count):
        n = len(world.taobao) + 1
        at_ms = world.at(hours[0]) + world.chance.randrange((hours[1] - hours[0]) * HOUR_MS)
        ware = world.chance.choices(WARES[:2], [3, 2])[0]
        order = FileOrder(
            number=f"2{world.day.replace('-', '')}{n:010d}",
            ware=ware,
            quantity=1,
            paid_ms=at_ms // 1000 * 1000,
            buyer=buyer(world),
            pay_no=f"{world.day.replace('-', '')}22001{n:015d}",
        )
        world.taobao.append(order)


def write_export(world: World, folder: Path, name: str) -> Path:
    """Write the order export of the file shop, as its platform does (GB18030, ids in ="…")."""
    folder.mkdir(parents=True, exist_ok=True)
    head = ["订单编号", "买家会员名", "支付单号", "买家实际支付金额", "订单状态", "订单创建时间",
            "订单付款时间", "宝贝标题", "商品ID", "购买数量", "退款状态"]  # fmt: skip
    rows = [",".join(head)]
    for order in world.taobao:
        when = local_text(order.paid_ms, ZONE, "%Y-%m-%d %H:%M:%S")
        status = "卖家已发货，等待买家确认" if order.shipped else "买家已付款，等待卖家发货"
        cells = [f'="{order.number}"', order.buyer, f'="{order.pay_no}"',
                 format_plain(order.total_minor), status, when, when, order.ware.title,
                 f"tb-{order.ware.item}", str(order.quantity), "没有申请退款"]  # fmt: skip
        rows.append(",".join(cells))
    path = folder / name
    path.write_bytes(("\r\n".join(rows) + "\r\n").encode("gb18030"))
    return path


def write_bills(world: World, folder: Path, missing: str) -> tuple[Path, Path]:
    """Write WeChat's bill of the marketplace (one order left out), Alipay's of the file shop."""
    folder.mkdir(parents=True, exist_ok=True)
    wechat = folder / f"wechat-{world.day}.csv"
    trades = []
    for order in sorted(world.maple.orders.values(), key=lambda o: o.created_ms):
        if order.paid_ms is None or order.number == missing:
            continue
        fee_e5 = divide(order.total_minor * FEE_PPM, 1_000_000) * 1_000
        trades.append(
            WechatTrade(order.paid_ms, order.pay_no, order.number, order.total_minor,
                        fee_e5=fee_e5, item=order.lines[0]["title"])
        )  # fmt: skip
        for refund in order.refunds.values():
            if refund["state"] == "REFUNDED":
                trades.append(
                    WechatTrade(refund["time_ms"], order.pay_no, order.number, order.total_minor,
                                status="REFUND", refund_id=f"50300{refund['refund_no'][-12:]}",
                                refund_no=refund["refund_no"],
                                refund_minor=refund["amount_minor"], refund_status="SUCCESS",
                                fee_e5=-fee_e5, item=order.lines[0]["title"])
                )  # fmt: skip
    write_wechat_trade(wechat, trades, merchant=MERCHANT)
    alipay = folder / f"alipay-{world.day}.zip"
    moves = [
        AlipayMove(o.paid_ms, o.total_minor, "在线支付", f"10700{o.pay_no[-15:]}", o.pay_no,
                   order_no=f"T200P{o.number}", item=o.ware.title)
        for o in sorted(world.taobao, key=lambda o: o.paid_ms)
    ]  # fmt: skip
    taken = sum(move.amount_minor for move in moves)
    moves.append(
        AlipayMove(world.at(23, 30), -(taken // 10_000) * 10_000, "提现", "107009999999999999",
                   f"{world.day.replace('-', '')}9999")
    )  # fmt: skip
    period = (world.start_ms, day_end_ms_of(world))
    write_alipay_flow(alipay, ALIPAY, period, moves, exported_ms=period[1] + 2 * HOUR_MS)
    return wechat, alipay


def day_end_ms_of(world: World) -> int:
    """Return the first millisecond after the demo day."""
    return day_end_ms(date.fromisoformat(world.day), ZONE)


def day_start_of(now_ms: int) -> int:
    """Return the first millisecond of the day before `now_ms`, in the demo's zone."""
    return day_start_ms(business_day(now_ms, ZONE) - timedelta(days=1), ZONE)
