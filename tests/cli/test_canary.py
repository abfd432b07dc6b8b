"""No key is found anywhere in the clear, whatever command ran, but where a person asked for it.

Every command of the tree has its lines in `STEPS`; a new command without one fails here.
"""

from __future__ import annotations

import base64
import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.demo_shop import DemoShop, FaultKind, Offer, Sold
from kmtool.app import create_shop
from kmtool.clock import ManualClock
from kmtool.config import load
from kmtool.store.db import connect
from tests.cli.bad_inputs import BILL
from tests.test_sheets import workbook

Cli = Callable[..., Any]
MARK = "CANARYQ7XW"
KEYS = [f"{MARK}-{n:04d}-tail{n:02d}" for n in range(60)]
HEAD = "订单编号,买家会员名,买家实际支付金额,订单状态,订单创建时间,订单付款时间,宝贝标题,宝贝总数量"
ROW = "L{},demo_ada,48.00,买家已付款，等待卖家发货,2026-11-22 07:00:00,2026-11-22 07:00:30,月卡,1"
BILL_ROW = (
    "1{0:018d},2{0:018d},{1},月卡,2021-11-0{0} 10:00:00,demo,28.00,0.00,{2}.00,支付宝,在线支付,\n"
)
TOML = """schema = 1
[data]
private = ".private"
[deliver]
reread_after = "1h"
[brakes]
sku_pieces_per_hour = 0
sku_value_per_hour = "0"
buyer_pieces_per_hour = 0
[channels.maple]
adapter = "demo"
mode = "auto"
couriers = ["demo"]
account = "alipay"
[channels.maple.options]
url = "{url}"
read_seconds = 2
[channels.maple.credentials]
token = "demo-token"
secret = "demo-secret"
[accounts.alipay]
channels = ["maple"]
"""
ASKED = {"sell", "deliver --by-hand", "key show 1 --reveal", "export keys -o revealed"}
"""Runs that hand a key to the person who asked: stdout, or the file they named."""

STEPS = """
help | help import | help KM-E901 | help all
init other --defaults
init .
import keys.txt --sku S1 --supplier z --cost 12.5 --dry-run
import keys.txt --sku S1 --supplier z --cost 12.5 --new --yes
import more.csv --sku S1 --supplier z --yes
import more.xlsx --sku S1 --supplier z --yes
import keys.txt --sku S1 --supplier z --yes
import headless.csv --sku S1 --supplier z --yes
import headless.csv --sku S1 --supplier z --map key=code --yes
import headless.csv --sku S1 --supplier z --map key=1,nonsense=2 --yes
import mixed.txt --sku S1 --supplier z --yes
import mixed.txt --sku NEW --supplier z
import cut.xlsx --sku S1 --supplier z --yes
import keys.txt --sku S1 --preset CANARYQ7XW-0001-tail01
supplier list | supplier show z | supplier add y | supplier set z --name Zhang
product list | product show S1 | product add S2 | product set S1 --price 28
product map maple 8801 S1 | product unmapped | product import keys.txt
product import headless.csv
channel list | channel test | channel items maple
channel add leaf --by-file orders.csv --mode auto
channel add bad --by-file keys.txt | channel add bad --by-file headless.csv
channel set leaf --mode auto --account alipay
product map leaf 月卡 S1
sync | sync leaf | sync nowhere
deliver --dry-run | deliver | deliver | deliver nothing
deliver --by-hand IN su
deliver --by-hand IN
order close L3 --yes | channel release maple --yes | channel report maple
channel ship-file leaf --again | channel ship-file maple
sell S1 --to demo_bo --price 28 | sell S1 --dry-run
order list | order show O1 | order why O1 | order hold O2 | order release O2
order refund O1 | order replace O1 --reason bad --all-keys | deliver | order note O1 asked
order evidence O1 -o e8.html | order evidence O1 -o e9.json | order evidence O1 -o e10.txt
order refund O1 --record --reason x | order add --sku S1 --amount 28 --buyer demo_cy
order redeliver O1 | order show L1 | order list --buyer CANARYQ7XW
order account O1 13800138000 | order charged O1 --reason x
product add T9 --kind text | product set T9 --text mixed.txt | product set T9 --text headless.csv
product show T9 | import keys.txt --sku T9 --yes | product add B9 --bundle S1:2,T9 | product show B9
import keys.txt --images --sku P9 --supplier z --new --yes | sell T9 --to demo_dai --price 1
key list | key list --all | key show 1 | key show 1 --reveal --reason asked | key find --tail il01
key find - IN CANARYQ7XW-0003-tail03
key find - IN CANARYQ7XW-none
key find CANARYQ7XW-0003-tail03
key stock | key stock S1 | key batch list | key batch show B20261122-01
key batch undo B20261122-02 --yes
key lend S1 --pool kq -n 2 --form 91kaquan -o lent.csv | key lent | key lend-back kq keys.txt
key lend --again L20261122-01 -o again.csv | key lend-lost L20261122-01 --reason x --yes
pause S1 | deliver | sell S1 | resume S1
statement check bill.csv keys.txt headless.csv | statement import bill.csv --account alipay
statement list | statement show 1
reconcile | reconcile bill.csv --account alipay | reconcile keys.txt --account alipay
recon list | recon show 1 | recon link 1 O1 --reason x | recon unlink 1 --reason x
recon write-off 1 --reason x | recon resolve 1 --reason x | recon digest
profile list | profile show alipay_merchant_flow
supplier set z --settle-days 0 | settle preview z | settle adjust z
supplier deposit z --amount 100 --ref V1
settle close z --yes
settle list | settle show JS-z-202611-01
settle export JS-z-202611-01 -o again.xlsx | settle verify --all
settle paid JS-z-202611-01 --amount 1 --date 2026-11-22 --ref V1
export orders -o e1.xlsx | export keys -o e2.csv | export keys -o e3.json | export stock -o e4.csv
export recon -o e5.xlsx | export settlement -o e6.csv | export keys -o e7.xlsx
export keys -o revealed.xlsx --reveal --yes
template list | template show | template test O1 | template test --sku S1 --language en
template set headless.csv | template set - IN {{ lines[0]["keys"][0] }}
template set - IN {% for line in lines %}{{ line["keys"]|join(" ") }}{% endfor %}
template set - --kind subject IN {{ number }}
template remove --yes | template remove --kind subject --yes
secret set name IN hidden
secret list | secret rm name --yes
job list | job show deliver | alert list | audit list --all | audit list --of key:1
audit seen 1 | audit seen --order O1 | audit anchor | audit verify | audit export -o audit.json
report latency | report latency --by hour
run --once | run log | run stop
status | doctor | doctor --fix
config show | config path | config get shop.name | config check
db check | db backup | db backups | db drill | db restore --replay --dry-run | db adopt
db reconcile-stock --proof x --confirm 0 | db copy --to other.db --dry-run
db move elsewhere --dry-run | db restore nothing.db
db migrate | db query select+*+from+keys | db query select+*+from+v_keys
db query select+sealed+from+keys | db query select+CANARYQ7XW
demo --help | selftest --seed 5
"""


def steps() -> Iterator[tuple[list[str], str]]:
    """Yield (words, what is typed) of every step."""
    for line in STEPS.strip().split("\n"):
        for step in line.split(" | "):
            words, _in, typed = step.partition(" IN")
            keys = {"su": "s\nu\n\n\n\n\n", "": "\n\n\n\n\n\n"} if "by-hand" in words else {}
            typed = typed.strip()
            yield [word.replace("+", " ") for word in words.split()], keys.get(typed, typed + "\n")


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    below = getattr(command, "commands", {})
    if not below or getattr(command, "invoke_without_command", False):
        yield " ".join(path)
    for name, sub in below.items():
        yield from leaves(sub, (*path, name))


def test_every_command_has_a_step() -> None:
    from kmtool.cli import main

    said = {" ".join(words) for words, _typed in steps()}
    missing = [
        path
        for path in leaves(main.app)
        if not any(line == path or line.startswith(path + " ") for line in said)
    ]
    assert missing == []


def shapes(mark: str) -> list[bytes]:
    """Return the marker as it could hide: plain, UTF-16, hex, and base64 at all three offsets."""
    plain = mark.encode()
    coded = [base64.b64encode(b"\0" * n + plain)[4 if n else 0 : -4] for n in range(3)]
    return [plain, mark.encode("utf-16-le"), plain.hex().encode(), *coded]


def hits(data: bytes) -> int:
    return sum(data.count(shape) for shape in shapes(MARK))


def holds(path: Path) -> int:
    """Count the marker in a file, in what a zip (a workbook) holds, and in its name."""
    data = path.read_bytes()
    found = hits(data) + hits(path.name.encode())
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found += sum(hits(archive.read(name)) for name in archive.namelist())
    return found


def test_the_search_finds_what_is_hidden(tmp_path: Path) -> None:
    for n, data in enumerate(
        (KEYS[0].encode(), base64.b64encode(f"x{KEYS[0]}".encode()), workbook([[KEYS[0]]]))
    ):
        path = tmp_path / str(n)
        path.write_bytes(data)
        assert holds(path)


@pytest.fixture
def maple(clock: ManualClock) -> Iterator[DemoShop]:
    with DemoShop(clock) as outside:
        outside.add_item(Offer("8801", "", "月卡", 2800, 99, "S1"))
        yield outside


@pytest.fixture
def house(
    tmp_path: Path, maple: DemoShop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A shop folder with files of keys beside it; temporary files lie where they are searched."""
    folder, outside = tmp_path / "shop", tmp_path / "given"
    folder.mkdir()
    outside.mkdir()
    (folder / "kmtool.toml").write_text(TOML.format(url=maple.url), encoding="utf-8")
    create_shop(load(folder / "kmtool.toml"), clock)
    monkeypatch.chdir(folder)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("kmtool.cli.clipboard.find", lambda *_seen: None)
    lines = "\n".join
    (outside / "keys.txt").write_text(lines(KEYS[:30]), encoding="utf-8")
    (outside / "more.csv").write_text(lines(["卡密", *KEYS[30:40], KEYS[0]]), encoding="utf-8")
    (outside / "more.xlsx").write_bytes(workbook([["卡密"], *([key] for key in KEYS[40:50])]))
    (outside / "cut.xlsx").write_bytes(workbook([["卡密"], *([key] for key in KEYS[50:])])[:700])
    (outside / "headless.csv").write_text(lines(f"{key},{key}" for key in KEYS), encoding="utf-8")
    mixed = [KEYS[50], KEYS[50], KEYS[1], f"{MARK}\x07bell", "1.2E+18", MARK * 600]
    (outside / "mixed.txt").write_text(lines(mixed), encoding="utf-8")
    rows = [HEAD, *(ROW.format(n) for n in range(1, 5))]
    (outside / "orders.csv").write_bytes(lines(rows).encode("gb18030"))
    total = [0, 28, 56]
    bill = BILL.format("收入金额（+元）,")
    bill += "".join(BILL_ROW.format(n, f"O{n}", total[n]) for n in (1, 2))
    (outside / "bill.csv").write_bytes(bill.encode("gb18030"))
    return folder


def before(line: str, house: Path, maple: DemoShop) -> None:
    """Let the outside go wrong before a delivery; lay an export into the inbox of a new channel."""
    if line.startswith("deliver") and "hand" not in line:
        for kind in (FaultKind.NONSENSE, FaultKind.UNDOCUMENTED, FaultKind.LOST_REPLY,
                     FaultKind.HALF_REPLY, FaultKind.ERROR_AFTER):  # fmt: skip
            maple.fail("message", kind)
    if "channel set leaf" in line:
        data = (house.parent / "given" / "orders.csv").read_bytes()
        (house / "inbox" / "orders" / "leaf" / "orders.csv").write_bytes(data)


def leaked(line: str, told: Any) -> bool:
    """Tell whether a run showed a key to somebody who did not ask for it."""
    asked = any(line.startswith(start) for start in ASKED) and " -o " not in line
    echoed = MARK in line and "key find" not in line  # a wrong word is told as it was typed
    return hits((told.err if asked else told.out + told.err).encode()) > 0 and not echoed


def test_no_key_is_found_in_the_clear(
    cli: Cli, house: Path, maple: DemoShop, clock: ManualClock
) -> None:
    given = house.parent / "given"
    sold = [maple.add_order([Sold("8801", 2)]) for _ in range(12)]
    clock.advance(600_000)
    reader = connect(house / "shop" / "shop.db")  # as long as it reads, the -wal is kept
    reader.run("BEGIN")
    reader.all("SELECT count(*) FROM keys")
    ran, by_hand = 0, 0
    for words, typed in steps():
        line = " ".join(words)
        before(line, house, maple)
        words = [str(given / w) if (given / w).is_file() else w for w in words]
        words = [sold[int(w[1:])] if w in {"O1", "O2"} else w for w in words]
        tty = "--by-hand" in words
        for more in [[]] if tty or "-o" in words else [[], ["-vv"], ["--json", "-v"], ["--csv"]]:
            told = cli(*words, *more, input=typed, tty=tty)
            ran += 1
            by_hand += hits(told.out.encode()) if tty else 0
            clock.advance(1_000)
            if "--json" in more and told.out and "help" not in line:
                assert isinstance(told.json(), dict), line  # one document, whatever happened
            assert not leaked(line, told), (line, more, told.out[:300], told.err[:300])
    assert ran > 300 and by_hand >= 4
    handed = {key for n in sold for text in maple.received(n) for key in KEYS if key in text}
    assert len(handed) >= 10, "nothing was delivered: the search would prove nothing"
    assert (house / "shop" / "shop.db-wal").stat().st_size > 100_000
    asked_for = {house / name for name in ("revealed.xlsx", "lent.csv", "again.csv")}
    found = {
        str(path.relative_to(house.parent)): holds(path)
        for path in house.parent.rglob("*")
        if path.is_file() and given not in path.parents and path not in asked_for
    }
    reader.run("ROLLBACK")
    reader.close()
    assert {name: n for name, n in found.items() if n} == {}
    assert holds(house / "revealed.xlsx")
    for name in ("shop/shop/shop.db", "shop/e2.csv", "shop/e7.xlsx", "shop/logs/kmtool.log"):
        assert name in found, sorted(found)
    for pattern in ("shop/shop/backups/*.db", "shop/.private/journal/*", "shop/exports/**/*.xlsx"):
        assert list(house.parent.glob(pattern)), pattern
