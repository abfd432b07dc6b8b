"""SQL of statements: bindings, files with their totals, lines with their versions, coverage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from kmtool.domain.statements import DeclaredTotal, ParsedStatement, StatementLine
from kmtool.store.db import Db, Row

ACTIVE = "('ok', 'provisional')"
BATCH = 5_000

_VERSION = (
    "content", "content_all", "occurred_ms", "kind", "gross_minor", "adjust_minor", "fee_minor",
    "fee_e5", "net_minor", "neutral_minor", "currency", "status", "ignored", "ext_txn_id",
    "order_ref_raw", "order_ref", "refund_ref", "parent_ref", "payout_ref", "mined_ref",
    "more_refs", "balance_minor", "counterparty", "item", "note", "raw",
)  # fmt: skip


def binding(db: Db, channel: str, printed: str) -> str | None:
    """Return the account a printed account number belongs to."""
    found = db.value(
        "SELECT account FROM statement_bindings WHERE channel = :c AND printed = :p",
        c=channel,
        p=printed,
    )
    return None if found is None else str(found)


def printed_of(db: Db, channel: str, account: str) -> list[str]:
    """Return the printed account numbers bound to an account."""
    rows = db.all(
        "SELECT printed FROM statement_bindings WHERE channel = :c AND account = :a"
        " ORDER BY printed",
        c=channel,
        a=account,
    )
    return [row["printed"] for row in rows]


def bind(db: Db, channel: str, printed: str, account: str, now_ms: int) -> None:
    """Remember whose account number this is; an existing binding stays."""
    db.run(
        "INSERT INTO statement_bindings (channel, printed, account, bound_ms)"
        " VALUES (:c, :p, :a, :now) ON CONFLICT (channel, printed) DO NOTHING",
        c=channel,
        p=printed,
        a=account,
        now=now_ms,
    )


def files_of(db: Db, sha256: str) -> list[Row]:
    """Return the files taken from these bytes, refused ones left out."""
    return db.all(
        "SELECT * FROM statement_files WHERE sha256 = :s AND state <> 'refused' ORDER BY id",
        s=sha256,
    )


def files(db: Db, account: str | None = None) -> list[Row]:
    """Return all files, newest first."""
    where = "" if account is None else " WHERE account = :a"
    return db.all(f"SELECT * FROM statement_files{where} ORDER BY id DESC", **_given(a=account))


def file(db: Db, file_id: int) -> Row | None:
    """Return one file."""
    return db.one("SELECT * FROM statement_files WHERE id = :id", id=file_id)


def file_lines(db: Db, file_id: int) -> list[Row]:
    """Return the lines of a file as it says them, in its order, with their buckets."""
    return db.all(
        "SELECT l.id, f.line_no, v.occurred_ms, v.kind, v.gross_minor, v.fee_minor, v.net_minor,"
        " v.currency, v.order_ref, v.ext_txn_id, l.bucket, l.code"
        " FROM file_lines f JOIN statement_lines l ON l.id = f.line_id"
        " JOIN line_versions v ON v.id = f.version_id WHERE f.file_id = :id"
        " ORDER BY f.line_no, l.id",
        id=file_id,
    )


def put_refused(db: Db, parsed: ParsedStatement, account: str, summary: str, now_ms: int) -> None:
    """Remember a refused file by its hash; it may be tried again."""
    assert parsed.refusal is not None
    db.run(
        "INSERT INTO statement_files (sha256, account, name, profile, profile_version, channel,"
        " plane, state, rank, period_source, rows, ignored, net_minor, refusal, accepted, summary,"
        " imported_ms) VALUES (:sha, :account, :name, :profile, :version, :channel, :plane,"
        " 'refused', '', '', 0, 0, 0, :code, '', :summary, :now)"
        " ON CONFLICT (sha256, account, profile) DO UPDATE SET refusal = excluded.refusal,"
        " summary = excluded.summary, name = excluded.name"
        " WHERE statement_files.state = 'refused'"
        " AND (statement_files.refusal, statement_files.name) <> (excluded.refusal, excluded.name)",
        sha=parsed.sha256,
        account=account,
        name=parsed.file,
        profile=parsed.profile,
        version=parsed.profile_version,
        channel=parsed.channel,
        plane=parsed.plane,
        code=parsed.refusal.code.value,
        summary=summary,
        now=now_ms,
    )


def add_file(
    db: Db, parsed: ParsedStatement, account: str, accepted: str, summary: str, now_ms: int
) -> int:
    """Insert a file that is taken and return its id; what was refused of the same bytes goes."""
    db.run("DELETE FROM statement_files WHERE sha256 = :s AND state = 'refused'", s=parsed.sha256)
    period = parsed.period
    end = period.to_ms if period else 0
    return int(
        db.value(
            "INSERT INTO statement_files (sha256, account, name, profile, profile_version, channel,"
            " plane, state, rank, period_from_ms, period_to_ms, period_source, exported_ms, rows,"
            " ignored, net_minor, refusal, accepted, summary, imported_ms)"
            " VALUES (:sha, :account, :name, :profile, :version, :channel, :plane, :state, :rank,"
            " :from_ms, :to_ms, :source, :exported, :rows, :ignored, :net, '', :accepted,"
            " :summary, :now) RETURNING id",
            sha=parsed.sha256,
            account=account,
            name=parsed.file,
            profile=parsed.profile,
            version=parsed.profile_version,
            channel=parsed.channel,
            plane=parsed.plane,
            state="provisional" if parsed.provisional else "ok",
            rank=f"{parsed.exported_ms or 0:015d}|{end:015d}|{parsed.sha256}",
            from_ms=period.from_ms if period else None,
            to_ms=period.to_ms if period else None,
            source=period.source if period else "",
            exported=parsed.exported_ms,
            rows=len(parsed.lines),
            ignored=parsed.ignored,
            net=sum(line.net_minor for line in parsed.lines),
            accepted=accepted,
            summary=summary,
            now=now_ms,
        )
    )


def add_totals(db: Db, file_id: int, totals: Sequence[DeclaredTotal]) -> None:
    """Keep what the file declares of itself beside what was read."""
    db.many(
        "INSERT INTO statement_totals (file_id, n, name, count, sum_e5, parsed_count,"
        " parsed_sum_e5, strict) VALUES (:file, :n, :name, :count, :sum, :pcount, :psum, :strict)",
        [
            {
                "file": file_id,
                "n": n,
                "name": total.name,
                "count": total.count,
                "sum": total.sum_e5,
                "pcount": total.parsed_count,
                "psum": total.parsed_sum_e5,
                "strict": int(total.strict),
            }
            for n, total in enumerate(totals)
        ],
    )


def add_lines(
    db: Db, file_id: int, account: str, plane: str, lines: Sequence[StatementLine]
) -> tuple[int, int]:
    """Insert what is not known yet; return how many lines are new, how many known ones changed."""
    last_line = int(db.value("SELECT coalesce(max(id), 0) FROM statement_lines"))
    last_version = int(db.value("SELECT coalesce(max(id), 0) FROM line_versions"))
    for start in range(0, len(lines), BATCH):
        batch = lines[start : start + BATCH]
        _add_batch(db, [_line_values(line, file_id, account, plane) for line in batch])
    new = int(db.value("SELECT count(*) FROM statement_lines WHERE id > :n", n=last_line))
    changed = db.value(
        "SELECT count(*) FROM line_versions WHERE id > :v AND line_id <= :n",
        v=last_version,
        n=last_line,
    )
    return new, int(changed)


def _add_batch(db: Db, rows: list[Row]) -> None:
    """Insert lines, their versions, and which file said so."""
    db.many(
        "INSERT INTO statement_lines (account, row_key, occ, plane, pass, candidates, bucket, code,"
        " posting) VALUES (:account, :row_key, :occ, :plane, '', 0, '', '', '')"
        " ON CONFLICT (account, row_key, occ) DO NOTHING",
        [{k: row[k] for k in ("account", "row_key", "occ", "plane")} for row in rows],
    )
    marks = ", ".join(f":{name}" for name in _VERSION)
    where = "account = :account AND row_key = :row_key AND occ = :occ"
    keys = ("account", "row_key", "occ", *_VERSION)
    db.many(
        f"INSERT INTO line_versions (line_id, {', '.join(_VERSION)})"
        f" VALUES ((SELECT id FROM statement_lines WHERE {where}), {marks})"
        " ON CONFLICT (line_id, content_all) DO NOTHING",
        [{k: row[k] for k in keys} for row in rows],
    )
    db.many(
        "INSERT INTO file_lines (file_id, line_id, version_id, line_no)"
        " SELECT CAST(:file AS BIGINT), l.id, v.id, CAST(:line_no AS BIGINT) FROM statement_lines l"
        " JOIN line_versions v ON v.line_id = l.id AND v.content_all = :content_all"
        " WHERE l.account = :account AND l.row_key = :row_key AND l.occ = :occ",
        [
            {k: row[k] for k in ("file", "line_no", "content_all", "account", "row_key", "occ")}
            for row in rows
        ],
    )


def _line_values(line: StatementLine, file_id: int, account: str, plane: str) -> Row:
    values: Row = {name: getattr(line, name) for name in _VERSION}
    values.update(
        file=file_id,
        account=account,
        plane=plane,
        row_key=line.row_key,
        occ=line.occ,
        line_no=line.line,
        kind=line.kind.value,
        ignored=int(line.ignored),
        more_refs="\n".join(line.more_refs),
        raw=json.dumps(dict(line.raw), ensure_ascii=False),
    )
    return {k: v.replace("\0", "") if isinstance(v, str) else v for k, v in values.items()}


def supersede(db: Db, account: str) -> int:
    """Put a provisional file aside where an undamaged one covers its period; return how many."""
    return db.run(
        "UPDATE statement_files SET state = 'superseded' WHERE account = :a"
        " AND state = 'provisional' AND EXISTS (SELECT 1 FROM statement_files good"
        " WHERE good.account = statement_files.account AND good.state = 'ok'"
        " AND good.profile = statement_files.profile"
        " AND good.period_from_ms <= statement_files.period_from_ms"
        " AND good.period_to_ms >= statement_files.period_to_ms)",
        a=account,
    )


def refresh_effective(db: Db, account: str) -> int:
    """Point each line at what the file of the highest rank says; nowhere, if no file holds it."""
    moved = db.run(
        "UPDATE statement_lines SET version_id = d.version_id FROM ("
        " SELECT line_id, version_id FROM (SELECT fl.line_id, fl.version_id, row_number() OVER"
        " (PARTITION BY fl.line_id ORDER BY f.rank DESC) AS n FROM file_lines fl"
        f" JOIN statement_files f ON f.id = fl.file_id AND f.state IN {ACTIVE}"
        " WHERE f.account = :a) ranked WHERE n = 1) d"
        " WHERE d.line_id = statement_lines.id"
        " AND coalesce(statement_lines.version_id, 0) <> d.version_id",
        a=account,
    )
    return moved + db.run(
        "UPDATE statement_lines SET version_id = NULL WHERE account = :a"
        " AND version_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM file_lines fl"
        f" JOIN statement_files f ON f.id = fl.file_id AND f.state IN {ACTIVE}"
        " WHERE fl.line_id = statement_lines.id)",
        a=account,
    )


def add_coverage(db: Db, account: str, plane: str, file_id: int, days: Iterable[str]) -> None:
    """Record the days a file covers whole."""
    db.many(
        "INSERT INTO coverage (account, plane, day, file_id) VALUES (:a, :p, :d, :f)"
        " ON CONFLICT (account, day, file_id) DO NOTHING",
        [{"a": account, "p": plane, "d": day, "f": file_id} for day in days],
    )


def covered_days(db: Db, account: str, *, trade: bool) -> list[str]:
    """Return the days covered for the trade side (`trade`: only files of trades count)."""
    where = " AND c.plane = 'trade'" if trade else ""
    rows = db.all(
        "SELECT DISTINCT c.day FROM coverage c JOIN statement_files f ON f.id = c.file_id"
        f" WHERE c.account = :a AND f.state IN {ACTIVE}{where} ORDER BY c.day",
        a=account,
    )
    return [row["day"] for row in rows]


def planes(db: Db, account: str) -> set[str]:
    """Return the planes of an account's files."""
    rows = db.all(
        f"SELECT DISTINCT plane FROM statement_files WHERE account = :a AND state IN {ACTIVE}",
        a=account,
    )
    return {row["plane"] for row in rows}


def _given(**params: object) -> dict[str, object]:
    return {name: value for name, value in params.items() if value is not None}
