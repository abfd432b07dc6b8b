"""Rules for files of keys: lines and columns → keys, separators, refused rows, wrong files.

The stored key is the text the buyer will get, byte for byte: nothing is trimmed, folded or cleaned.
Only the line ending is removed, and a separator that was named or that stands between columns.
A row that cannot be a key is refused with its number; one that is merely odd is taken and named.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kmtool.domain.pictures import Picture, media_type
from kmtool.domain.pictures import refusal as picture_refusal
from kmtool.errors import told

Cell = object
"""What a sheet gives: text, a number, a truth value, a date (as it stands), or None."""

Row = tuple[int, Sequence[Cell]]
"""A physical 1-based line number and its cells."""

KEY_MAX = 4096
TEXT_MAX = 20_000
TITLE_MAX = 20
JOINER = "----"
"""What stands between card number and password when they come from two columns."""

SEPARATORS = ("----", "---", "||", "|", "\t", ",", "，", ";", " ")


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split("|"))


CARD_WORDS = _words("卡号|账号|帐号|card|card number|account")
KEY_WORDS = _words(
    "卡密|激活码|授权码|充值码|提货码|兑换码|序列号|券码|卡券|key|keys|code|cdk|cdkey|cd-key|serial|license|licence"
    "|license key"
)
PASSWORD_WORDS = _words("密码|卡密码|password|pwd|pin")
OTHER_WORDS = _words(
    "序号|编号|备注|面值|金额|有效期|到期|商品|名称|状态|no|no.|id|note|expires|value|product|status"
)
_HEADER_WORDS = CARD_WORDS | KEY_WORDS | PASSWORD_WORDS | OTHER_WORDS
_BILL = re.compile(
    r"(?:支付宝|微信支付).{0,12}(?:账单|账务|明细|交易)|账务明细|微信订单号|账务流水号|业务流水号|资金账单"
)
_ORDERS = re.compile(
    r"订单编号|订单号|子订单|主订单|交易单号|买家会员名|买家昵称|收货人"
    r"|\border[ _]?(?:number|no|id)\b|\bbuyer\b",
    re.IGNORECASE,
)
_LINE_END = re.compile(r"\r\n|\r|\n")
_SCIENTIFIC = re.compile(r"[0-9]+(?:\.[0-9]+)?[eE]\+[0-9]+")
_AS_FORMULA = re.compile(r'="[^"]*"')
_MAGIC = (
    (b"\xff\xd8\xff", "picture"),
    (b"\x89PNG\r\n\x1a\n", "picture"),
    (b"GIF8", "picture"),
    (b"BM", "picture"),
    (b"%PDF", "pdf"),
    (b"Rar!", "rar"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x1f\x8b", "gzip"),
    (b"SQLite format 3", "database"),
    (b"MZ", "program"),
)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns make the key, 0-based; `header` is the line number of the header or 0."""

    parts: tuple[int, ...]
    header: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not taken, and why."""

    line_no: int
    reason: str


@dataclass(slots=True)
class Parsed:
    """What a file holds: keys with their line, refused rows, and warning → line numbers.

    A key is a text, or a picture with its place among its siblings.
    """

    form: str
    separator: str = ""
    columns: Columns | None = None
    keys: list[tuple[int, str]] = field(default_factory=list)
    pictures: list[tuple[int, Picture]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    warnings: dict[str, list[int]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows were looked at (empty lines and the header do not count)."""
        return len(self.keys) + len(self.pictures) + len(self.refused)


class Unclear(ValueError):
    """The file can be read in more than one way; the text says which words decide."""


def wrong_kind(data: bytes) -> str:
    """Return what a file really is by its first bytes (`picture`, `pdf` …), else empty."""
    for magic, kind in _MAGIC:
        if data.startswith(magic) and not (len(magic) == 2 and _is_text(data[:512])):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "picture"
    return ""


def looks_like(first_rows: Sequence[Sequence[Cell]]) -> str:
    """Return `bill` or `orders` when the first rows are those of such an export, else empty.

    A file whose columns name keys is a supplier's delivery, even when it names orders, too.
    """
    if any(_is_header(row) for row in first_rows):
        return ""
    cells = [str(cell) for row in first_rows for cell in row if isinstance(cell, str)]
    if any(_BILL.search(cell) for cell in cells):
        return "bill"
    for row in first_rows:
        named = [cell for cell in row if isinstance(cell, str) and len(cell) <= 40]
        if len(row) >= 3 and any(_ORDERS.search(cell) for cell in named):
            return "orders"
    return ""


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (1-based line number, line without its ending), empty lines left out."""
    for number, line in enumerate(_LINE_END.split(text), 1):
        if line.strip():
            yield number, line


def detect_separator(sample: Sequence[str]) -> str:
    """Return the separator that stands equally often in nearly every line, else empty."""
    for separator in SEPARATORS:
        counts = Counter(line.strip(separator).count(separator) for line in sample)
        if not counts:
            return ""
        times, of = counts.most_common(1)[0]
        if times and of * 10 >= len(sample) * 9:
            return separator
    return ""


def from_text(text: str, separator: str = "", mapping: Mapping[str, str] | None = None) -> Parsed:
    """Read one key per line. Columns are taken apart only when `mapping` chooses them.

    A separator that was named is removed from the end of a line; a detected one is only shown.
    Raises `Unclear`.
    """
    rows = list(lines(text))
    found = separator or detect_separator([line for _, line in rows[:200]])
    parsed = Parsed("txt", found)
    if mapping:
        if not found:
            raise Unclear("the lines have no separator that could part them into columns")
        table: list[Row] = [(number, line.split(found)) for number, line in rows]
        return _from_columns(parsed, table, choose(table, mapping), found)
    head = rows[0][1] if len(rows) > 1 else ""
    if all(_word(part) in _HEADER_WORDS for part in (head.split(found) if found else [head])):
        parsed.columns = Columns((), rows[0][0])
        rows = rows[1:]
    for number, line in rows:
        while separator and line.endswith(separator):
            line = line.removesuffix(separator)
        _take(parsed, number, line)
    return parsed


def from_pictures(files: Sequence[tuple[str, bytes]]) -> Parsed:
    """Take every file as one picture, by name; what is none is refused."""
    parsed = Parsed("pictures")
    for number, (name, data) in enumerate(sorted(files), 1):
        why = picture_refusal(name, data)
        if why:
            parsed.refused.append(Refusal(number, told("{name}: {why}", name=name, why=why)))
        else:
            parsed.pictures.append((number, Picture(name, media_type(data), data)))
    return parsed


def whole_text(text: str) -> Parsed:
    """Take a whole file as one text to be sold without limit; only the last line end goes."""
    parsed = Parsed("text")
    kept = _LINE_END.sub("\n", text).rstrip("\n")
    if len(kept) > TEXT_MAX:
        why = told("longer than {key_max} characters", key_max=TEXT_MAX)
        parsed.refused.append(Refusal(1, why))
    elif any(unicodedata.category(c) == "Cc" and c not in "\t\n" for c in kept):
        parsed.refused.append(Refusal(1, told("holds control characters")))
    else:
        parsed.keys.append((1, kept))
    return parsed


def from_table(
    form: str,
    rows: Sequence[Row],
    mapping: Mapping[str, str] | None = None,
    separator: str = "",
) -> Parsed:
    """Read keys from a sheet or csv; columns by `mapping`, by their header, or the only one.

    Raises `Unclear` when neither tells.
    """
    filled = [(number, cells) for number, cells in rows if any(_is_filled(c) for c in cells)]
    columns = choose(filled, mapping) if mapping else _guess(filled)
    return _from_columns(Parsed(form), filled, columns, separator or JOINER)


def choose(rows: Sequence[Row], mapping: Mapping[str, str]) -> Columns:
    """Return the columns a mapping names (`key`, `password`), by header text or 1-based number.

    Raises `Unclear` with the columns there are.
    """
    unknown = sorted(set(mapping) - {"key", "password"})
    if unknown or "key" not in mapping:
        raise Unclear(
            f"--map knows key and password, not {unknown[0]}" if unknown else "--map lacks key="
        )
    wanted = [mapping[name] for name in ("key", "password") if name in mapping]
    if all(name.isdecimal() and 1 <= int(name) <= 1000 for name in wanted):
        header = rows[0][0] if rows and _is_header(rows[0][1]) else 0
        return Columns(tuple(int(name) - 1 for name in wanted), header, tuple(wanted))
    for number, cells in rows[:10]:
        names = [str(cell).strip() if cell is not None else "" for cell in cells]
        if all(name in names for name in wanted):
            return Columns(tuple(names.index(name) for name in wanted), number, tuple(wanted))
    there = ", ".join(_title(cell) for cell in rows[0][1] if _is_filled(cell)) if rows else ""
    missing = next((name for name in wanted if not name.isdecimal()), wanted[0])
    raise Unclear(f"there is no column {missing}; the first row says: {there[:200]}")


def _title(cell: Cell) -> str:
    """Return a column's title; what may be a key, because there is no header, is masked."""
    text = str(cell).strip()
    is_word = len(text) <= TITLE_MAX and not any(c.isdigit() for c in text)
    wide = any(ord(c) > 0x2E80 for c in text)  # where the scripts of China begin
    return text if _word(cell) in _HEADER_WORDS or (is_word and (wide or text.islower())) else "…"


def _guess(rows: Sequence[Row]) -> Columns:
    """Known header words decide; without a header only a single column is clear."""
    for number, cells in rows[:10]:
        if not _is_header(cells):
            continue
        words = [_word(cell) for cell in cells]
        card, key, password = (
            next((i for i, word in enumerate(words) if word in known), None)
            for known in (CARD_WORDS, KEY_WORDS, PASSWORD_WORDS)
        )
        parts = [i for i in (card, key) if i is not None]
        if password is not None and (card is None) != (key is None):
            parts.append(password)
        if password is not None and not parts:
            parts = [password]
        if parts:
            return Columns(tuple(parts), number, tuple(str(cells[i]) for i in parts))
    used = {i for _, cells in rows for i, cell in enumerate(cells) if _is_filled(cell)}
    if len(used) == 1:
        return Columns((used.pop(),))
    if not used:
        return Columns(())
    first = ", ".join(f"{i + 1}" for i in sorted(used)[:8])
    raise Unclear(f"columns {first} are filled and no header says which one holds the key")


def _from_columns(parsed: Parsed, rows: Sequence[Row], columns: Columns, joiner: str) -> Parsed:
    parsed.columns = columns
    for number, cells in rows:
        if columns.header and number <= columns.header:
            continue
        texts: list[str] = []
        reason = ""
        for part in columns.parts:
            cell = cells[part] if part < len(cells) else None
            text, why = cell_text(cell)
            reason = reason or why
            if isinstance(cell, int | float) and not why:
                parsed.warnings.setdefault("number", []).append(number)
            texts.append(text)
        if reason:
            parsed.refused.append(Refusal(number, reason))
        elif not all(texts):
            parsed.refused.append(Refusal(number, told("a column of the key is empty")))
        else:
            _take(parsed, number, joiner.join(texts))
    return parsed


def cell_text(cell: Cell) -> tuple[str, str]:
    """Return (text of a key cell, why it is refused). A long number has lost its last digits."""
    if cell is None:
        return "", ""
    if isinstance(cell, str):
        return cell if cell.strip() else "", ""
    if isinstance(cell, bool):
        return "", told("a truth value, not a key")
    if isinstance(cell, int | float):
        if isinstance(cell, float) and not cell.is_integer():
            return "", told("a number with decimals: format the column as text in the source")
        if abs(cell) >= 10**15:
            return "", told(
                "a number of 16 digits or more: Excel has already changed its last digits"
            )
        return str(int(cell)), ""
    return "", told("a date, not a key: format the column as text in the source")


def _take(parsed: Parsed, number: int, text: str) -> None:
    reason = _refusal(text)
    if reason:
        parsed.refused.append(Refusal(number, reason))
        return
    for warning in _oddities(text):
        parsed.warnings.setdefault(warning, []).append(number)
    parsed.keys.append((number, text))


def _refusal(text: str) -> str:
    if len(text) > KEY_MAX:
        return told("longer than {key_max} characters", key_max=KEY_MAX)
    if not text.isprintable() and any(unicodedata.category(c) == "Cc" and c != "\t" for c in text):
        return told("holds control characters")
    if _SCIENTIFIC.fullmatch(text):
        return told("Excel has turned this key into a rounded number")
    if _AS_FORMULA.fullmatch(text):
        return told('written as a formula ="…": save the column as text in the source')
    return ""


def _oddities(text: str) -> Iterator[str]:
    """Name what is taken as it stands but may be a slip."""
    if text.isascii():
        if text[0] in " \t" or text[-1] in " \t":
            yield "space"
        return
    if text != text.strip():
        yield "space"
    kinds = {unicodedata.category(c) for c in text if not c.isascii()}
    if any(unicodedata.east_asian_width(c) == "F" for c in text):
        yield "full-width"
    if kinds & {"Cf", "Co", "Cn"} or "\ufffd" in text:
        yield "invisible"


def _is_header(cells: Sequence[Cell]) -> bool:
    """Tell whether a row names its columns: a word for the key, no cell that looks like data."""
    words = [_word(cell) for cell in cells if _is_filled(cell)]
    if not any(word in CARD_WORDS | KEY_WORDS | PASSWORD_WORDS for word in words):
        return False
    return all(word and sum(c.isdigit() for c in word) < 3 for word in words)


def _word(cell: Cell) -> str:
    return cell.strip().casefold() if isinstance(cell, str) else ""


def _is_filled(cell: Cell) -> bool:
    return cell is not None and not (isinstance(cell, str) and not cell.strip())


def _is_text(data: bytes) -> bool:
    return b"\0" not in data
