"""A file that cannot be trusted is refused whole, with a code, the place and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adapters.statements import reader, synthetic
from kmtool.domain.statements import Code, LineKind, ParsedStatement, StatementRefusal
from kmtool.errors import ConfigError, FileMissing
from kmtool.resources import data_path
from tests.adapters.statements import make
from tests.adapters.statements.make import one, refused, save


def text_of(refusal: StatementRefusal) -> str:
    return f"{refusal.text} {refusal.mend}"


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        reader.read(tmp_path / "nothing.csv")


def test_an_unknown_profile_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alipay_personal"):
        reader.read(save(tmp_path, make.alipay_flow()), profile="alipay_persona")


def test_unknown_source_says_what_to_do(tmp_path: Path) -> None:
    refusal = refused(save(tmp_path, "甲,乙,丙\n1,2,3\n"), Code.UNKNOWN_SOURCE)
    assert "line 1" in refusal.text
    assert "甲" in refusal.text
    assert "nearest" in refusal.text
    assert "kmtool profile list" in refusal.mend
    assert refusal.override == "--profile"


def test_an_empty_file_is_an_unknown_source(tmp_path: Path) -> None:
    refused(save(tmp_path, ""), Code.UNKNOWN_SOURCE)


def test_the_summary_alone_says_what_to_download(tmp_path: Path) -> None:
    summary = synthetic.alipay_summary(make.ACCOUNT, make.NOVEMBER, make.alipay_moves())
    refusal = refused(save(tmp_path, summary, "gb18030"), Code.SUMMARY_FILE)
    assert "明细" in text_of(refusal)
    assert refusal.override is None


def test_a_profile_twice_is_ambiguous(tmp_path: Path) -> None:
    shipped = data_path("statements", "alipay_merchant_trade.toml").read_text(encoding="utf-8")
    own = tmp_path / "own"
    own.mkdir()
    twin = shipped.replace('id = "alipay_merchant_trade"', 'id = "twin"')
    (own / "twin.toml").write_text(twin, encoding="utf-8")
    path = save(tmp_path, make.alipay_trade())
    refusal = refused(path, Code.AMBIGUOUS_PROFILE, own_profiles=own)
    assert "twin" in refusal.text
    assert "alipay_merchant_trade" in refusal.text
    assert refusal.override == "--profile"
    assert one(path, own_profiles=own, profile="twin").profile == "twin"
    assert one(path, profile=str(own / "twin.toml")).profile == "twin"


def test_own_profiles_override_shipped_ones(tmp_path: Path) -> None:
    shipped = data_path("statements", "alipay_merchant_trade.toml").read_text(encoding="utf-8")
    (tmp_path / "x.toml").write_text(shipped.replace("version = 1", "version = 7"), "utf-8")
    parsed = one(save(tmp_path, make.alipay_trade()), own_profiles=tmp_path)
    assert parsed.profile_version == 7


def test_bad_encoding_names_the_offset(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes("交易时间\n".encode("gb18030") + b"ab\xff\xffcd")
    refusal = refused(path, Code.BAD_ENCODING)
    assert "offset 11" in refusal.text
    assert "line 2" in refusal.text


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("19.90,0.00,119.90", "19.9x,0.00,119.90", Code.BAD_AMOUNT, "收入金额（+元）"),
        (
            "19.90,0.00,119.90",
            "19.90(已退款1.00),0.00,119.90",
            Code.BAD_AMOUNT,
            "「19.90(已退款1.00)」",
        ),
        ("19.90,0.00,119.90", "19.905,0.00,119.90", Code.BAD_AMOUNT, "smallest unit of CNY"),
        ("2025-11-02 10:00:00", "2025-13-02 10:00:00", Code.BAD_TIME, "「2025-13-02 10:00:00」"),
        ("19.90,0.00,119.90", "19.90,-1.00,119.90", Code.BAD_ROW, "both"),
        (",支付宝,在线支付,\t", "", Code.BAD_ROW, "业务类型"),
        (f"{make.serial(1)}\t", "\t", Code.BAD_ROW, "no id"),
        ("19.90,0.00,119.90", "19.90,金额,0.00,119.90", Code.BAD_ROW, "13 cells"),
    ],
)
def test_one_bad_cell_refuses_the_file(
    old: str, new: str, code: Code, said: str, tmp_path: Path
) -> None:
    text = make.alipay_flow().text()
    assert old in text
    refusal = refused(save(tmp_path, text.replace(old, new, 1), "gb18030"), code)
    assert "line 6" in refusal.text
    assert said in refusal.text
    assert refusal.override is None


def test_a_strict_identity_prints_the_three_figures(tmp_path: Path) -> None:
    text = make.stripe().text().replace("12.00,0.65,11.35", "12.00,0.65,11.36")
    refusal = refused(save(tmp_path, text), Code.IDENTITY_BROKEN)
    for figure in ("line 2", "12.00", "0.65", "11.36"):
        assert figure in refusal.text


def test_a_quote_that_never_closes_loses_no_rows_silently(tmp_path: Path) -> None:
    printed = make.wechat_personal()
    printed.rows[1][3] = '"卡'
    refusal = refused(save(tmp_path, printed), Code.BAD_ROW)
    assert "never closed" in refusal.text


def test_destroyed_row_ids_need_an_answer(tmp_path: Path) -> None:
    text = make.alipay_flow().text().replace(make.serial(2), "2.02511E+27", 1)
    path = save(tmp_path, text, "gb18030")
    refusal = refused(path, Code.LOSSY_ID)
    for said in ("账务流水号", "1 ids", "2.02511E+27", "do not save it in Excel"):
        assert said in refusal.text
    assert refusal.override == "--accept-lossy"
    assert len(one(path).lines) == 7
    accepted = one(path, accept_lossy=True)
    assert accepted.refusal is None
    assert accepted.provisional
    assert "|fp:" in accepted.lines[1].row_key


def test_a_file_saved_by_a_spreadsheet_is_recognised_as_such(tmp_path: Path) -> None:
    printed = make.alipay_flow()
    for row in printed.rows:
        row[:] = [cell.strip("\t") for cell in row]
        row[0] = row[1] = "2.02511E+27"
        row[4] = row[4].replace("-", "/").replace("/0", "/")[:-3]
    padded = "".join(f"{line}{',' * 11}\r\n" for line in printed.preamble)
    text = padded + replace(printed, preamble=[], footer=[]).text("\r\n")
    text += "".join(f"{line}{',' * 11}\r\n" for line in printed.footer)
    path = save(tmp_path, text, "gb18030")
    assert "7 ids" in refused(path, Code.LOSSY_ID).text
    accepted = one(path, accept_lossy=True)
    assert accepted.refusal is None
    assert accepted.sums()["CNY"].net == 438
    assert len({(line.row_key, line.occ) for line in accepted.lines}) == 7


def test_lossy_ids_come_before_totals_and_both_are_told(tmp_path: Path) -> None:
    text = make.alipay_flow().text().replace(make.serial(2), "2.02511E+27", 1)
    path = save(tmp_path, text.replace("共39.80元", "共39.81元"), "gb18030")
    refusal = refused(path, Code.LOSSY_ID)
    assert "SUMMARY_MISMATCH" in refusal.text
    assert "39.81" in refusal.text
    refused(path, Code.SUMMARY_MISMATCH, accept_lossy=True)


def test_a_destroyed_reference_is_a_warning_and_never_joins(tmp_path: Path) -> None:
    text = make.alipay_flow().text().replace(make.serial(101), "2.02511E+27", 1)
    parsed = one(save(tmp_path, text, "gb18030"))
    assert parsed.refusal is None
    assert "LOSSY_ID" in {warning.code for warning in parsed.warnings}
    assert parsed.lines[0].ext_txn_id == ""
    assert parsed.lines[0].order_ref == "A00001"


def test_equal_ids_with_different_content_print_both_lines(tmp_path: Path) -> None:
    text = make.alipay_flow().text().replace(make.serial(2), make.serial(1), 1)
    refusal = refused(save(tmp_path, text, "gb18030"), Code.DUPLICATE_ROW_ID)
    assert "lines 6 and 7" in refusal.text
    assert "differ" in refusal.text


def test_a_missing_refund_total_is_a_mismatch(tmp_path: Path) -> None:
    printed = make.alipay_trade()
    printed.footer = [line for line in printed.footer if "退款合计" not in line]
    refusal = refused(save(tmp_path, printed), Code.SUMMARY_MISMATCH)
    assert "退款合计" in refusal.text


def test_totals_that_may_differ_only_warn(tmp_path: Path) -> None:
    text = make.alipay_personal().text().replace("收入：1笔 28.50元", "收入：1笔 28.51元")
    parsed = one(save(tmp_path, text))
    assert parsed.refusal is None
    assert "SUMMARY_DIFFERS" in {warning.code for warning in parsed.warnings}


def test_fee_totals_are_compared_below_the_cent(tmp_path: Path) -> None:
    text = synthetic.wechat_trade(make.wechat_trades()).text()
    wrong = text.replace("`0.17418", "`0.17419")
    assert wrong != text
    refusal = refused(save(tmp_path, wrong), Code.SUMMARY_MISMATCH)
    assert "0.17419" in refusal.text
    assert "0.17418" in refusal.text


def test_the_same_names_twice_warn_or_refuse(tmp_path: Path) -> None:
    printed = make.alipay_flow()
    doubled = replace(
        printed,
        header=[*printed.header, "业务类型"],
        rows=[[*row, row[10]] for row in printed.rows],
    )
    parsed = one(save(tmp_path, doubled))
    assert parsed.refusal is None
    assert "DUPLICATE_COLUMN" in {warning.code for warning in parsed.warnings}
    doubled.rows[0][-1] = "提现"
    assert "业务类型" in refused(save(tmp_path, doubled), Code.BAD_ROW).text


def test_dates_that_read_both_ways_need_an_answer(tmp_path: Path) -> None:
    printed = make.paypal()
    printed.rows.pop()
    for row in printed.rows:
        row[2] = "GMT"
    path = save(tmp_path, printed)
    refusal = refused(path, Code.AMBIGUOUS_DATE_ORDER)
    assert "2025-10-01" in refusal.text
    assert "2025-01-10" in refusal.text
    assert refusal.override == "--date-order"
    assert one(path, date_order="mdy").lines[0].occurred_ms == 1_759_290_380_000
    assert one(path, date_order="dmy").lines[0].occurred_ms < 1_759_290_380_000


def test_a_zone_out_of_season_decides_the_date_order(tmp_path: Path) -> None:
    printed = make.paypal()
    printed.rows = printed.rows[:1]
    parsed = one(save(tmp_path, printed))
    assert parsed.refusal is None
    assert parsed.lines[0].occurred_ms == 1_759_290_380_000 + 7 * 3_600_000


def _by_kind(parsed: ParsedStatement, kind: LineKind) -> list[int]:
    return [line.gross_minor for line in parsed.lines if line.kind is kind]


def test_alipay_references(tmp_path: Path) -> None:
    parsed = one(save(tmp_path, make.alipay_flow(), "gb18030"))
    sale, taobao, refund, _fee, withheld, _bought, payout = parsed.lines
    assert taobao.order_ref == "1234567890123456789"
    assert taobao.order_ref_raw == "T200P1234567890123456789"
    assert refund.parent_ref == sale.ext_txn_id
    assert withheld.kind is LineKind.FEE
    assert withheld.mined_ref == "1234567890123456789"
    assert (payout.order_ref, payout.order_ref_raw) == ("", make.serial(900))
    assert parsed.account_masked == "2088…0156"
    assert parsed.period is not None
    assert (parsed.period.from_ms, parsed.period.to_ms) == make.NOVEMBER
    assert parsed.exported_ms == make.NOVEMBER[1]
    assert _by_kind(parsed, LineKind.SALE) == [1990, 1990]


@pytest.mark.parametrize("bill", ["ALL", "SUCCESS", "REFUND", "EARLY"])
def test_wechat_bills_of_all_widths_agree(bill: str, tmp_path: Path) -> None:
    rows = [
        row
        for row in make.wechat_trades()
        if bill in ("ALL", "EARLY") or (row.status == "SUCCESS") == (bill == "SUCCESS")
    ]
    path = tmp_path / "s.csv"
    synthetic.write_wechat_trade(path, rows, bill=bill)
    parsed = one(path)
    assert parsed.refusal is None
    assert (
        len(synthetic.wechat_trade(rows, bill=bill).header)
        == {
            "ALL": 27,
            "SUCCESS": 20,
            "REFUND": 29,
            "EARLY": 24,
        }[bill]
    )
    assert _by_kind(parsed, LineKind.REFUND) == ([] if bill == "SUCCESS" else [-990])
    assert sum(line.fee_e5 for line in parsed.lines) == sum(row.fee_e5 for row in rows)
    for line in parsed.lines:
        assert line.order_ref in ("W1", "W2", "W3")
        if line.kind is LineKind.REFUND:
            assert line.refund_ref == "R1"
            assert line.parent_ref == make.serial(1)


def test_wechat_refund_status_is_volatile(tmp_path: Path) -> None:
    text = synthetic.wechat_trade(make.wechat_trades()).text()
    early = one(save(tmp_path, text)).lines[3]
    late = one(save(tmp_path, text.replace("PROCESSING", "DONE"), name="late.csv")).lines[3]
    assert early.row_key == late.row_key
    assert early.content == late.content
    assert early.content_all != late.content_all


def test_a_revoked_trade_without_refund_is_ignored(tmp_path: Path) -> None:
    row = replace(make.wechat_trades()[0], status="REVOKED", fee_e5=0)
    path = tmp_path / "s.csv"
    synthetic.write_wechat_trade(path, [row])
    (line,) = one(path).lines
    assert line.ignored
    assert line.gross_minor == 0
