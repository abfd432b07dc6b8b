"""Statements inside ZIP downloads: which members count, and which archives are refused."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.statements import container, reader, synthetic
from kmtool.domain.statements import Code
from tests.adapters.statements import make
from tests.adapters.statements.make import identity, one, refused, save


class TestArchives:
    """Guards and members of ZIP downloads."""

    def test_the_vendors_download_is_one_unit(self, tmp_path: Path) -> None:
        plain, packed = tmp_path / "s.csv", tmp_path / "s.zip"
        for path in (plain, packed):
            synthetic.write_alipay_flow(
                path, make.ACCOUNT, make.NOVEMBER, make.alipay_moves(), opening_minor=10_000
            )
        parsed = one(packed)
        assert parsed.refusal is None
        assert parsed.members == (f"{make.ACCOUNT}_202511_账务明细_1.csv",)
        assert identity(parsed) == identity(one(plain))
        assert any(total.name.startswith("汇总") for total in parsed.declared)
        assert reader.to_json(parsed)["member"] == parsed.members[0]

    def test_the_summary_member_is_a_cross_check(self, tmp_path: Path) -> None:
        path = tmp_path / "s.zip"
        summary = synthetic.alipay_summary(make.ACCOUNT, make.NOVEMBER, make.alipay_moves())
        wrong = summary.text().replace("-10.00", "-10.01")
        self.pack(path, {"a_账务明细(汇总).csv": wrong, "b.csv": make.alipay_flow().text()})
        assert "汇总 提现" in refused(path, Code.SUMMARY_MISMATCH).text

    def test_parts_of_one_detail_are_one_unit(self, tmp_path: Path) -> None:
        whole, path = make.alipay_flow(), tmp_path / "s.zip"
        first = replace(whole, rows=whole.rows[:3])
        second = replace(whole, rows=whole.rows[3:])
        self.pack(path, {"x_10.csv": second.text(), "x_2.csv": first.text(), "read.me": "hello"})
        parsed = one(path)
        assert parsed.refusal is None
        assert parsed.members == ("x_2.csv", "x_10.csv")
        assert identity(parsed) == identity(one(save(tmp_path, whole)))
        assert "SKIPPED_MEMBER" in {warning.code for warning in parsed.warnings}

    def test_members_of_different_profiles_are_units(self, tmp_path: Path) -> None:
        path = tmp_path / "s.zip"
        members = {"a.csv": make.alipay_flow().text(), "b.csv": make.alipay_trade().text()}
        self.pack(path, members)
        assert [parsed.profile for parsed in reader.read(path)] == [
            "alipay_merchant_flow",
            "alipay_merchant_trade",
        ]

    def test_only_a_summary(self, tmp_path: Path) -> None:
        path = tmp_path / "s.zip"
        summary = synthetic.alipay_summary(make.ACCOUNT, make.NOVEMBER, make.alipay_moves())
        self.pack(path, {"汇总.csv": summary.text()})
        refused(path, Code.SUMMARY_FILE)

    def test_nothing_inside_lists_the_names(self, tmp_path: Path) -> None:
        path = tmp_path / "s.zip"
        self.pack(path, {"说明.txt": "hello"})
        assert "说明.txt" in refused(path, Code.NO_DETAIL_MEMBER).text

    def test_a_broken_member_is_not_dropped(self, tmp_path: Path) -> None:
        path = tmp_path / "s.zip"
        flow = make.alipay_flow()
        self.pack(path, {"1.csv": flow.text(), "2.csv": make.without(flow, 0).text()})
        codes = [p.refusal.code if p.refusal else None for p in reader.read(path)]
        assert codes == [None, Code.MISSING_COLUMN]

    @pytest.mark.parametrize("name", ["../evil.csv", "/etc/evil.csv", "C:\\evil.csv"])
    def test_paths_that_leave(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / "s.zip"
        self.pack(path, {name: "x"})
        assert "member path" in refused(path, Code.UNSAFE_ARCHIVE).text

    def test_bombs_and_crowds(self, tmp_path: Path) -> None:
        path = tmp_path / "s.zip"
        self.pack(path, {"a.csv": "0" * 2_000_000})
        assert "compression ratio" in refused(path, Code.UNSAFE_ARCHIVE).text
        self.pack(path, {f"{n}.csv": "x" for n in range(51)})
        assert "members" in refused(path, Code.UNSAFE_ARCHIVE).text

    def test_nested_and_encrypted(self, tmp_path: Path) -> None:
        inner, path = tmp_path / "i.zip", tmp_path / "s.zip"
        self.pack(inner, {"a.csv": "x"})
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("i.zip", inner.read_bytes())
        assert "nested" in refused(path, Code.UNSAFE_ARCHIVE).text
        raw = bytearray(inner.read_bytes())
        raw[raw.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(bytes(raw))
        assert "encrypt" in refused(path, Code.UNSAFE_ARCHIVE).text

    def test_damaged_and_oversized(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "s.zip"
        path.write_bytes(b"PK\x03\x04 nothing")
        refused(path, Code.UNSAFE_ARCHIVE)
        monkeypatch.setattr(container, "FILE_MAX", 10)
        assert "file size" in refused(path, Code.UNSAFE_ARCHIVE).text
        monkeypatch.setattr(container, "FILE_MAX", 10**6)
        monkeypatch.setattr(container, "UNPACKED_MAX", 10)
        self.pack(path, {"a.csv": "x,y,z,1,2,3"})
        assert "unpacked size" in refused(path, Code.UNSAFE_ARCHIVE).text

    @staticmethod
    def pack(path: Path, members: dict[str, str]) -> None:
        synthetic.write_zip(
            path, [(name, text.encode("gb18030")) for name, text in members.items()]
        )
