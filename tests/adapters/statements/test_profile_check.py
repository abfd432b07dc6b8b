"""Loading a profile refuses whatever is not exactly right, and the design's example loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.statements import profiles
from kmtool.domain.statements import LineKind
from kmtool.errors import ConfigError
from tests.adapters.statements.make import one

MAPLE = """
schema = 1
id = "maple_wallet"
title = "枫叶钱包 收支明细"
channel = "maple"
plane = "flow"
certainty = "check"
[detect]
preamble = ["枫叶钱包收支明细"]
none = ["月度汇总"]
filename = ["maple_*.csv"]
[table]
delimiter = ","
quoting = "standard"
comment = "#"
end = '^#=+明细结束'
[columns.row_id]
names = ["流水编号", "流水号"]
required = true
type = "id"
[columns.time]
names = ["入账时间", "发生时间"]
required = true
type = "time"
formats = ["%Y-%m-%d %H:%M:%S"]
[columns.amount]
names = ["变动金额(元)"]
required = true
type = "money"
[columns.direction]
names = ["方向"]
required = true
type = "text"
[columns.type]
names = ["类型"]
required = true
type = "text"
[columns.order_ref]
names = ["店铺订单号"]
type = "id"
[columns.note]
names = ["说明"]
type = "text"
[amount]
mode = "direction"
in = ["进"]
out = ["出"]
identity = "none"
currency = "CNY"
[[types]]
column = "type"
equals = "货款"
kind = "SALE"
[[types]]
column = "type"
contains = "服务费"
kind = "FEE"
[row_key]
columns = ["row_id"]
[order_ref]
steps = ["strip_prefix:MP"]
[[mine]]
column = "note"
regex = '订单([0-9]{12,})的服务费'
[time]
zone = "Asia/Shanghai"
[period]
regex = '统计区间[:：]\\s*(?P<from>\\S+)\\s*至\\s*(?P<to>\\S+)'
end = "inclusive"
[[summary]]
where = "footer"
pattern = '进账(?P<n>\\d+)笔合计(?P<s>[-\\d.,]+)元'
count = "n"
sum = "s"
of = "direction=in"
over = "gross"
"""
FILE = """枫叶钱包收支明细
统计区间：2025-11-01 至 2025-11-30
流水号,发生时间,变动金额(元),方向,类型,店铺订单号,说明
L1,2025-11-02 10:00:00,"1,000.00",进,货款,MP202511020001,"a,b"
L2,2025-11-02 10:00:01,5.00,出,平台服务费,,订单202511020001的服务费
#====明细结束
进账1笔合计1000.00元
"""


def _load(folder: Path, text: str) -> profiles.Profile:
    path = folder / "maple.toml"
    path.write_text(text, encoding="utf-8")
    return profiles.load(path)


def test_the_worked_example_reads_its_file(tmp_path: Path) -> None:
    _load(tmp_path, MAPLE)
    path = tmp_path / "maple_1.csv"
    path.write_text(FILE, encoding="gb18030")
    parsed = one(path, own_profiles=tmp_path)
    assert parsed.refusal is None
    assert parsed.profile == "maple_wallet"
    sale, fee = parsed.lines
    assert (sale.kind, sale.gross_minor, sale.order_ref) == (LineKind.SALE, 100_000, "202511020001")
    assert (fee.kind, fee.gross_minor, fee.mined_ref) == (LineKind.FEE, -500, "202511020001")
    (total,) = parsed.declared
    assert (total.name, total.count, total.agrees) == ("进账", 1, True)
    assert parsed.period is not None
    assert parsed.period.to_ms - parsed.period.from_ms == 30 * 86_400_000


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("filename =", "filenames =", "did you mean filename"),
        ("[row_key]", "[row_kee]", "did you mean row_key"),
        ('type = "money"', 'type = "moneys"', "did you mean money"),
        ('mode = "direction"', 'mode = "directions"', "did you mean direction"),
        ('columns = ["row_id"]', 'columns = ["row_ids"]', "did you mean row_id"),
        ("([0-9]{12,})", "([0-9]{12,}", "broken"),
        ("([0-9]{12,})", "[0-9]{12,}", "needs a group"),
        ("(?P<from>", "(?P<start>", "lacks the group from"),
        ('kind = "SALE"', 'kind = "SALES"', "did you mean SALE"),
        ('"strip_prefix:MP"', '"stripprefix:MP"', "did you mean strip_prefix"),
        ('zone = "Asia/Shanghai"', 'zone = "Asia/Shanghi"', "no time zone"),
        ("schema = 1", "schema = 2", "schema must be 1"),
        ('id = "maple_wallet"', 'id = "Maple"', "snake_case"),
        ('names = ["方向"]', 'names = ["类型"]', "belongs to"),
        ('identity = "none"', 'identity = "strict"', "net"),
        ('of = "direction=in"', 'of = "direction=up"', "none of"),
        ('equals = "货款"\n', "", "exactly one of"),
        ('title = "', "title = ", "no TOML"),
    ],
)
def test_what_is_off_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in MAPLE
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, MAPLE.replace(old, new, 1))
    assert said in str(caught.value)
    assert "maple.toml" in str(caught.value)


def test_one_id_in_two_files_is_refused(tmp_path: Path) -> None:
    _load(tmp_path, MAPLE)
    (tmp_path / "copy.toml").write_text(MAPLE, encoding="utf-8")
    with pytest.raises(ConfigError, match="maple_wallet"):
        profiles.load_all(tmp_path)


def test_shipped_profiles_load() -> None:
    assert "alipay_merchant_summary" in profiles.load_all()
