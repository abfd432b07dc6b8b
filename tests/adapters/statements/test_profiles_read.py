"""Every shipped profile reads its vendor's file, however the vendor varies it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adapters.statements import profiles
from adapters.statements.cells import name_key
from adapters.statements.records import Dialect
from adapters.statements.synthetic import Printed
from kmtool.domain.statements import Code
from tests.adapters.statements import make
from tests.adapters.statements.cases import CASES, Case
from tests.adapters.statements.make import identity, one, save

KNOWN = profiles.load_all()

every_profile = pytest.mark.parametrize("case", CASES, ids=lambda case: case.profile)


def test_every_detail_profile_has_a_case() -> None:
    detail = {profile.id for profile in KNOWN.values() if profile.role == "detail"}
    assert {case.profile for case in CASES} == detail


@every_profile
def test_reads_kinds_and_sums(case: Case, tmp_path: Path) -> None:
    parsed = one(save(tmp_path, case.printed()))
    assert parsed.refusal is None
    assert parsed.profile == case.profile
    assert " ".join(line.kind for line in parsed.lines) == case.kinds
    assert {currency: sums.net for currency, sums in parsed.sums().items()} == case.net
    for line in parsed.lines:
        assert line.net_minor == line.gross_minor + line.adjust_minor - line.fee_minor
    assert all(total.agrees for total in parsed.declared)
    assert not {w.code for w in parsed.warnings} & {"UNKNOWN_TYPE", "BALANCE_CHAIN", "SHORT_ROW"}


@every_profile
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_columns_may_move_and_new_ones_appear(case: Case, seed: int, tmp_path: Path) -> None:
    plain = one(save(tmp_path, case.printed()))
    moved = one(save(tmp_path, make.shuffled(case.printed(), seed), name="moved.csv"))
    assert moved.refusal is None
    assert identity(moved) == identity(plain)


@every_profile
def test_each_missing_required_column_is_named(case: Case, tmp_path: Path) -> None:
    printed, profile = case.printed(), KNOWN[case.profile]
    keys = [name_key(name) for name in printed.header]
    for role in profile.required:
        column = profile.columns[role]
        place = next(keys.index(name_key(n)) for n in column.names if name_key(n) in keys)
        parsed = one(save(tmp_path, make.without(printed, place)))
        assert parsed.refusal is not None, role
        assert parsed.refusal.code is Code.MISSING_COLUMN, (role, parsed.refusal.text)
        assert parsed.refusal.override is None
        assert parsed.refusal.details["profile"] == case.profile
        assert parsed.lines == ()
        for name in column.names:
            assert name in parsed.refusal.text
        assert f"line {len(printed.preamble) + 1}" in parsed.refusal.text


@every_profile
def test_newest_first_and_oldest_first_give_the_same_lines(case: Case, tmp_path: Path) -> None:
    printed = case.printed()
    plain = one(save(tmp_path, printed))
    turned = one(save(tmp_path, replace(printed, rows=printed.rows[::-1]), name="turned.csv"))
    assert turned.refusal is None
    assert identity(turned) == identity(plain)
    assert "BALANCE_CHAIN" not in {warning.code for warning in turned.warnings}


@every_profile
@pytest.mark.parametrize("encoding", ["gb18030", "utf-8", "utf-8-sig", "utf-16"])
def test_encodings_give_the_same_lines(case: Case, encoding: str, tmp_path: Path) -> None:
    plain = one(save(tmp_path, case.printed()))
    other = one(save(tmp_path, case.printed(), encoding, "other.csv"))
    assert identity(other) == identity(plain)
    if case.chinese and encoding == "gb18030":
        assert other.encoding == "gb18030"


@every_profile
def test_one_cent_more_is_a_mismatch(case: Case, tmp_path: Path) -> None:
    if not case.declares:
        pytest.skip("the vendor prints no strict totals")
    text = case.printed().text()
    figure = one(save(tmp_path, text)).declared
    assert figure
    changed = _one_cent_more(text, case)
    parsed = one(save(tmp_path, changed, name="changed.csv"))
    assert parsed.refusal is not None
    assert parsed.refusal.code is Code.SUMMARY_MISMATCH
    assert parsed.refusal.override == "--accept-summary-mismatch"
    broken = [total for total in parsed.declared if not total.agrees]
    for total in broken:
        assert total.sum_e5 is not None
        assert f"{abs(total.sum_e5) // 100_000}." in parsed.refusal.text
        assert total.name in parsed.refusal.text
    assert parsed.lines
    accepted = one(tmp_path / "changed.csv", accept_summary_mismatch=True)
    assert accepted.refusal is None
    assert "SUMMARY_MISMATCH" in {warning.code for warning in accepted.warnings}


def _one_cent_more(text: str, case: Case) -> str:
    """Change one cent of a printed total."""
    if case.profile == "alipay_merchant_flow":
        return text.replace("共39.80元", "共39.81元")
    digit = next(
        place for place in range(len(case.declares)) if case.declares[-1 - place].isdigit()
    )
    place = len(case.declares) - 1 - digit
    last = str((int(case.declares[place]) + 1) % 10)
    figure = case.declares[:place] + last + case.declares[place + 1 :]
    head, found, tail = text.rpartition(case.declares)
    assert found
    return head + figure + tail


@every_profile
def test_hostile_text_is_only_text(case: Case, tmp_path: Path) -> None:
    for name in case.texts:
        for text in make.HOSTILE:
            printed = case.printed()
            place = printed.header.index(name)
            tab = "\t" if printed.rows[0][place].endswith("\t") else ""
            mark = "`" if printed.rows[0][place].startswith("`") else ""
            clean = text if case.quoted else text.replace("\n", " ")
            printed.rows[0][place] = mark + clean + tab
            table: Printed = make.quoted(printed) if case.quoted else printed
            parsed = one(save(tmp_path, table))
            assert parsed.refusal is None, (name, text, parsed.refusal)
            assert " ".join(line.kind for line in parsed.lines) == case.kinds
            assert parsed.lines[0].raw[name].strip("\t`") == clean


@every_profile
def test_two_identical_rows_survive_or_are_refused_by_their_id(case: Case, tmp_path: Path) -> None:
    printed = case.printed()
    twice = replace(printed, rows=[*printed.rows, printed.rows[0]])
    parsed = one(save(tmp_path, twice), accept_summary_mismatch=True)
    row_key = KNOWN[case.profile].row_key
    has_id = bool(row_key.columns) and case.profile != "douyin_flow"
    if has_id and row_key.on_duplicate == "refuse":
        assert parsed.refusal is not None
        assert parsed.refusal.code is Code.DUPLICATE_ROW_ID
        first = len(printed.preamble) + 2
        assert parsed.refusal.details["lines"] == [first, first + len(printed.rows)]
        return
    assert parsed.refusal is None
    assert len({(line.row_key, line.occ) for line in parsed.lines}) == len(twice.rows)
    assert {line.occ for line in parsed.lines if line.raw == parsed.lines[0].raw} == {1, 2}


@every_profile
def test_reading_twice_gives_the_same_keys(case: Case, tmp_path: Path) -> None:
    path = save(tmp_path, case.printed())
    assert one(path) == one(path)


@every_profile
def test_a_header_without_rows_is_valid(case: Case, tmp_path: Path) -> None:
    empty = replace(case.printed(), rows=[], footer=[])
    parsed = one(save(tmp_path, empty), accept_summary_mismatch=True)
    assert parsed.refusal is None
    assert parsed.lines == ()


def test_dialects_in_use_are_the_two_known_ones() -> None:
    assert {p.table.dialect for p in KNOWN.values()} <= {Dialect(), Dialect(",", "none")}
