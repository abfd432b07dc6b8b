"""Every command, and how it is tried on a disk that fails: what it is told, what comes before it.

READS are commands that write nothing; a test holds them to it. All others have a `Case`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kmtool.store.db import connect
from kmtool.store.schema import MIGRATIONS
from tests.disk.stage import Stage


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a person. `first` makes what it needs; `steps` says that it does several things,
    each of them whole: it may stop between two."""

    line: str
    typed: str = ""
    tty: bool = False
    first: Callable[[Stage], None] | None = None
    steps: bool = False
    most: int = 0
    """How many places are tried at most (0: as the test says)."""
    there: str = ""
    """The folder in which the shop is to be adopted when the error says so."""


def other_machine(stage: Stage) -> None:
    """The shop wakes up on a machine that it does not know."""
    db = connect(stage.shop / "shop" / "shop.db")
    with db.tx():
        db.run("UPDATE homes SET machine = 'another', system = 'another', host = 'another'")
    db.close()


def journal_gone(stage: Stage) -> None:
    """A backup came back without a send journal: free keys are out of sale."""
    shutil.rmtree(stage.live / "home" / "journal")
    run(stage, "db restore BACKUP --confirm ?")


def packed(stage: Stage) -> None:
    run(stage, "db move ../out.kmmove --without-key --yes")


UNDONE = {
    r"CREATE TABLE (\w+)": r"DROP TABLE \1",
    r"CREATE INDEX (\w+)": r"DROP INDEX \1",
    r"ALTER TABLE (\w+) ADD COLUMN (\w+)": r"ALTER TABLE \1 DROP COLUMN \2",
}


def older(stage: Stage) -> None:
    """The database as the version before the newest migration left it."""
    name, statements = MIGRATIONS[-1]
    back = [undone for text in statements if isinstance(text, str) and (undone := _undone(text))]
    assert len(back) == len(statements), f"{name} is not undone: take another way back in time"
    db = connect(stage.shop / "shop" / "shop.db")
    with db.tx():
        for text in reversed(back):
            db.run(text)
        db.run("DELETE FROM _sqlite_migrations WHERE name = :name", name=name)
    db.close()


def _undone(text: str) -> str:
    """Return what takes a statement of a migration back, empty where nothing here does."""
    for done, undone in UNDONE.items():
        if found := re.match(done, text):
            return found.expand(undone)
    return ""


def run(stage: Stage, line: str) -> None:
    told = stage.say(filled(stage, line))
    assert told.code == 0, (line, told)


def filled(stage: Stage, line: str) -> str:
    """Return a line with the backup's name and the number that is asked for."""
    if "BACKUP" in line:
        folder = stage.shop / "shop" / "backups"
        line = line.replace("BACKUP", str(next(Path(folder).glob("shop-*.db"))))
    if "--confirm ?" in line:
        asked = stage.say(line.replace("--confirm ?", ""))
        number = re.search(r"--confirm (\d+)", asked.err)
        assert number, asked
        line = line.replace("?", number[1])
    return line


CASES = (
    Case("demo played", steps=True, most=3),
    Case("init other --defaults", most=6),
    Case("import more.txt --sku S1 --supplier z --cost 5 --yes"),
    Case("import more.txt two.txt --sku S1 --supplier z --cost 5 --yes", steps=True),
    Case("sync shop1", steps=True),
    Case("sync leaf", steps=True),
    Case("deliver", steps=True),
    Case("deliver --by-hand", typed="\ns\nu\n\n\n\n", tty=True, steps=True),
    Case("sell S1 --to demo_bo --price 28", steps=True),
    Case("reconcile bill2.csv --account alipay", steps=True),
    Case("doctor"),
    Case("export orders -o e1.xlsx"),
    Case("export keys -o e2.csv"),
    Case("export keys -o e3.json --reveal --yes"),
    Case("pause S1"),
    Case("resume S3"),
    Case("run --once", steps=True, most=12),
    Case("run stop"),
    Case("settle close y --yes"),
    Case("settle export JS-z-202611-01 -o again.xlsx"),
    Case("settle paid JS-z-202611-01 --amount 1 --date 2026-11-22 --ref V1"),
    Case("settle adjust z --accept 1"),
    Case("order list -o list.xlsx"),
    Case("order hold A7"),
    Case("order why A7"),
    Case("order release D1"),
    Case("order redeliver A4", steps=True),
    Case("order refund A2 --agree --yes", steps=True),
    Case("order refund A4 --record --reason x --yes"),
    Case("order replace A4 --reason bad --all-keys", steps=True),
    Case("order evidence A4 -o e8.html"),
    Case("order add --sku S1 --amount 28 --buyer demo_cy"),
    Case("order close A7 --yes"),
    Case("order note A4 asked"),
    Case("order account C2 13800138000"),
    Case("order charged C1 --reason x"),
    Case("channel release birch --yes"),
    Case("channel ship-file leaf --again"),
    Case("channel add oak --by-file orders.csv --mode auto", steps=True),
    Case("channel set leaf --mode ask", steps=True),
    Case("channel test"),
    Case("product add S9"),
    Case("product add B9 --bundle S1:2,S2"),
    Case("product set S1 --price 28"),
    Case("product set T9 --text more.txt"),
    Case("product map shop1 i3 S1"),
    Case("product import products.csv"),
    Case("template set message.txt"),
    Case("template remove --kind subject --yes"),
    Case("supplier add x"),
    Case("supplier set z --name Zhang"),
    Case("supplier deposit z --amount 500.00 --ref V9"),
    Case("key lend S1 --pool kq -n 3 --form 91kaquan -o lent2.csv", steps=True),
    Case("key lend-back kq back.csv --take-back --yes", steps=True),
    Case("key lend-lost L20261122-01 --reason x --yes"),
    Case("key batch undo B20261122-02 --yes"),
    Case("key show 1 --reveal --reason asked"),
    Case("statement import bill2.csv --account alipay", steps=True),
    Case("recon link 2 A4 --reason x"),
    Case("recon unlink 1 --reason x"),
    Case("recon write-off 2 --reason x"),
    Case("recon resolve 1 --reason x"),
    Case("db backup"),
    Case("db migrate", first=older),
    Case("db drill", steps=True),
    Case("db adopt --confirm ?", first=other_machine, steps=True),
    Case("db reconcile-stock --proof x --confirm ?", first=journal_gone),
    Case("db restore BACKUP --confirm ?", steps=True),
    Case("db restore --replay", steps=True),
    Case("db move ../moved --yes", steps=True, there="moved"),
    Case("db move ../out.kmmove --without-key --yes", steps=True),
    Case("db move --in ../out.kmmove ../there --yes", first=packed, steps=True, there="there"),
    Case("db copy --to other.db", most=6),
    Case("db copy --to other.db --switch --yes", most=6),
    Case("secret set name", typed="hidden\n"),
    Case("secret rm old --yes"),
    Case("audit anchor", steps=True),
    Case("audit verify"),
    Case("audit export -o audit.json"),
)

READS = (
    "status", "help", "selftest --events 100 --seed 1 --cores 1",
    "run log", "settle preview z", "settle list", "settle show JS-z-202611-01",
    "settle verify --all", "order list", "order show A4", "channel report shop1",
    "channel list", "channel items shop1", "product list", "product show S1", "product unmapped",
    "template list", "template show", "template test A4", "supplier list", "supplier show z",
    "key lent", "key list", "key find KEY-S1-0001", "key stock", "key batch list",
    "key batch show B20261122-01", "statement check bill2.csv", "statement list",
    "statement show 1", "recon list", "recon show 1", "recon digest", "profile list",
    "profile show alipay_merchant_flow", "job list", "job show deliver", "report latency",
    "alert list", "db backups", "db check", "db query select+1", "config show", "config path",
    "config get shop.name", "config check", "secret list", "audit list", "audit seen 1",
)  # fmt: skip
