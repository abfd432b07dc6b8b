"""The door of the reader: its machine form, and that no damage to a file escapes as an error."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.statements import profiles, reader, synthetic
from kmtool.domain.statements import OVERRIDES, Code
from tests.adapters.statements import make
from tests.adapters.statements.cases import CASES
from tests.adapters.statements.make import identity, one, save

known = cache(profiles.load_all)


def test_machine_form_has_the_agreed_keys(tmp_path: Path) -> None:
    told = reader.to_json(one(save(tmp_path, make.alipay_flow(), "gb18030")))
    assert list(told) == [
        *("file", "sha256", "member", "encoding", "profile", "account", "period", "header_line"),
        *("rows", "ignored", "sums", "kinds", "declared", "warnings", "refusal"),
    ]
    assert told["account"] == "2088…0156"
    assert told["period"] == {"from": "2025-11-01", "to": "2025-11-30", "source": "file"}
    assert (told["header_line"], told["rows"], told["ignored"]) == (5, 7, 0)
    assert told["sums"] == {
        "CNY": {"gross": 438, "adjust": 0, "fee": 0, "net": 438, "neutral": 0, "fee_e5": 0}
    }
    kinds = told["kinds"]
    assert isinstance(kinds, dict)
    assert kinds["SALE"] == {"CNY": {"rows": 2, "gross": 3980, "fee": 0, "net": 3980}}
    assert told["declared"] == [
        {"name": "支出合计", "count": 5, "sum": -3542, "parsed_count": 5, "parsed_sum": -3542},
        {"name": "收入合计", "count": 2, "sum": 3980, "parsed_count": 2, "parsed_sum": 3980},
    ]
    assert (told["warnings"], told["refusal"]) == ([], None)
    assert json.loads(json.dumps(told)) == told


def test_machine_form_of_a_refusal(tmp_path: Path) -> None:
    text = make.alipay_flow().text().replace("共39.80元", "共39.81元")
    told = reader.to_json(one(save(tmp_path, text, "gb18030")))
    refusal = told["refusal"]
    assert isinstance(refusal, dict)
    assert set(refusal) == {"code", "text", "details"}
    assert refusal["code"] == "SUMMARY_MISMATCH"
    assert "--accept-summary-mismatch" in refusal["text"]
    assert told["rows"] == 7
    assert told["sums"]
    json.dumps(told)


def test_every_override_is_a_flag() -> None:
    assert set(OVERRIDES) <= set(Code)
    assert all(flag.startswith("--") for flag in OVERRIDES.values())


def test_the_jingdong_bill_is_not_taken_for_alipay(tmp_path: Path) -> None:
    text = make.alipay_personal().text().replace("支付宝", "京东")
    parsed = one(save(tmp_path, text))
    assert parsed.refusal is not None
    assert parsed.refusal.code is Code.UNKNOWN_SOURCE


def test_two_equal_sales_in_one_second_are_two_lines(tmp_path: Path) -> None:
    printed = make.pdd_flow()
    printed.rows.insert(0, list(printed.rows[0]))
    parsed = one(save(tmp_path, printed))
    assert [line.occ for line in parsed.lines[:2]] == [1, 2]
    assert parsed.lines[0].row_key == parsed.lines[1].row_key


def test_an_optional_column_does_not_change_a_fingerprint(tmp_path: Path) -> None:
    printed = make.pdd_flow()
    place = printed.header.index("备注")
    short = one(save(tmp_path, make.without(printed, place), name="short.csv"))
    plain = one(save(tmp_path, printed))
    assert [line.row_key for line in short.lines] == [line.row_key for line in plain.lines]


def test_short_rows_and_broken_balances_warn(tmp_path: Path) -> None:
    printed = make.alipay_flow()
    printed.rows[0].pop()
    printed.rows[3][8] = "1.00"
    parsed = one(save(tmp_path, printed))
    assert parsed.refusal is None
    assert {w.code: w.line for w in parsed.warnings} == {"SHORT_ROW": 6, "BALANCE_CHAIN": 9}


def test_rows_outside_the_period_and_unknown_types_warn(tmp_path: Path) -> None:
    printed = make.alipay_flow()
    printed.rows[0][4] = "2025-10-31 23:59:59"
    printed.rows[1][10] = "神秘业务"
    parsed = one(save(tmp_path, printed))
    assert parsed.refusal is None
    assert {w.code: w.line for w in parsed.warnings} == {"OUTSIDE_PERIOD": 6, "UNKNOWN_TYPE": 7}


def test_a_comma_in_a_newer_file_finds_its_text(tmp_path: Path) -> None:
    printed = make.alipay_flow()
    printed.header += ["业务基础订单号", "业务描述"]
    for row in printed.rows:
        row += ["1234567890123456789\t", "0010|在线支付\t"]
    plain = one(save(tmp_path, printed))
    printed.rows[3][11] = "手续费,退还\t"
    parsed = one(save(tmp_path, printed))
    assert parsed.refusal is None
    assert parsed.lines[3].note == "手续费,退还"
    others = [line.content for line in parsed.lines if line.line != 9]
    assert others == [line.content for line in plain.lines if line.line != 9]


def test_wechat_downloads_with_a_mark_equal_those_without(tmp_path: Path) -> None:
    rows = make.wechat_trades()
    path = tmp_path / "bom.csv"
    synthetic.write_wechat_trade(path, rows)
    parsed = one(path)
    assert parsed.encoding == "utf-8-sig"
    assert identity(parsed) == identity(one(save(tmp_path, synthetic.wechat_trade(rows))))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_never_escapes_as_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    case = data.draw(st.sampled_from(CASES))
    text = case.printed().text()
    place = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 30))
    piece = data.draw(st.one_of(st.text(max_size=10), st.sampled_from(['"', ",", "\n", "\t"])))
    raw = (text[:place] + piece + text[place + length :]).encode("utf-8", "surrogatepass")
    path = tmp_path_factory.getbasetemp() / "damaged.csv"
    path.write_bytes(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "load_all", lambda _own: known())
        for parsed in reader.read(path):
            json.dumps(reader.to_json(parsed))
            for line in parsed.lines:
                assert line.net_minor == line.gross_minor + line.adjust_minor - line.fee_minor
