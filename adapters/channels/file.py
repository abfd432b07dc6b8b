"""Orders from exported files: for shops without API rights, and when an API is down.

Drop the platform's order export (csv or xlsx) into `inbox/orders/<channel>/`. A file is taken when
its size no longer changes; after it is stored it moves to `done/`, when it cannot be read to
`failed/` with a report beside it; nothing is ever deleted. A partly readable file imports nothing,
and does not stop the other files. The same content twice does nothing, unless columns or words were
taught meanwhile: then it is read again, with the time it had at first.

An order's revision is the export's own column for changes if it has one, else the file's time; so
an older export does not overwrite a newer state. Shipping and stock are the owner's to do:
`ship_file` writes the platform's batch form; a later export that shows “shipped” is the proof.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters import order_presets
from adapters.order_presets import Preset
from adapters.order_tables import Moment, Reading, find_header, read_orders, stale
from kmtool import sheets
from kmtool.clock import Clock, local_text
from kmtool.errors import ConfigError, FileMissing, InputRefused, Rejected, told
from kmtool.ports import (
    AdapterSettings,
    AuthReport,
    Features,
    Item,
    Message,
    OrderFact,
    OrderRef,
    Page,
    Receipt,
    StockPush,
    Verdict,
    Window,
)

SETTLE_MS = 2_000
FRESH_HOURS = 24
CHUNK = 500
SUFFIXES = frozenset({".csv", ".txt", ".tsv", ".xlsx", ".xlsm", ".xls"})
SEEN = ".seen"
_UNFINISHED = (".tmp", ".crdownload", ".part", ".partial", ".download")

FEATURES = Features(
    title="Exported order files 订单文件",
    kind="file",
    approval="none",
    automatic="orders from exported files; you upload the batch-ship file",
    proved="tests; column names of the presets marked check wait for a real file",
    pull=True,
    window_max_ms=3_650 * 86_400_000,
    lag_ms=0,
    ship_file=True,
    options={
        "preset": "column preset of the platform's export (data/presets)",
        "map": "column → role, for columns the preset does not know",
        "status": "status word → unpaid, paid, shipped, done, closed, review",
        "refund": "refund word → none, open, partial, full",
        "zone": "zone of the times in the file, GMT+8 if not given",
        "money": "yuan (12.50) or fen (1250)",
        "currency": "currency of the amounts, the shop's if not given",
        "fresh_hours": "how old an export without refund column may be, 24 if not given",
    },
)


class FileChannel:
    """The channel port over a folder of exports."""

    features = FEATURES

    def __init__(self, settings: AdapterSettings, preset: Preset) -> None:
        self.folder = settings.inbox / "orders" / settings.name
        self._settings = settings
        self._clock: Clock = settings.clock
        self._preset = preset
        self._fresh_ms = _hours(settings) * 3_600_000
        self._reading = hashlib.sha256(repr(preset).encode()).hexdigest()[:16]
        self._read_now: dict[str, _Record] = {}

    def auth_check(self) -> AuthReport:
        """Look whether the folder is there and can be written to."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / ".probe"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            return AuthReport(
                ok=False,
                detail=told("{folder}: {reason}", folder=self.folder, reason=error.strerror),
            )
        waiting = len(self._waiting())
        return AuthReport(
            ok=True,
            detail=told("{folder}: {waiting} files waiting", folder=self.folder, waiting=waiting),
        )

    def list_changed(self, window: Window) -> Iterator[Page]:
        """Yield the orders of all waiting files; the window does not matter to a file.

        A file's last page carries it as `done`; a file that is refused is a page of rejects only.
        Nothing is moved before `acknowledge`.
        """
        files = self._settled()
        for path in files[:-1]:
            yield from self._pages(path, last=False)
        if files:
            yield from self._pages(files[-1], last=True)
        else:
            yield Page((), last=True)

    def acknowledge(self, page: Page) -> None:
        """Move the page's file to `done/`, or with a report to `failed/`."""
        if not page.done:
            return
        try:
            self._put_away(Path(page.done), page.rejects)
        except OSError:
            return  # gone already, or held open by Excel: the next look finds what is still there

    def get_order(self, number: str) -> OrderFact | None:
        """Know nothing: the next export tells."""
        return None

    def mark_shipped(self, order: OrderRef) -> Receipt:
        """Refuse: the owner uploads the batch-ship file."""
        raise Rejected(who=self._settings.name, detail="upload the batch-ship file of this channel")

    def query_shipped(self, order: OrderRef) -> Verdict:
        """Not know: the next export tells."""
        return Verdict.UNCLEAR

    def post_note(self, message: Message) -> Receipt:
        """Refuse: a file carries no message."""
        raise Rejected(who=self._settings.name, detail="exported files carry no messages")

    def find_note(self, message: Message) -> Verdict:
        """Find nothing."""
        return Verdict.NOT_DONE

    def list_items(self) -> Iterable[Item]:
        """Know no items: they show in the orders."""
        return ()

    def push_stock(self, items: Sequence[StockPush]) -> None:
        """Refuse: the owner sets stock at the platform."""
        raise Rejected(who=self._settings.name, detail="set the stock at the platform by hand")

    def set_shelf(self, item_id: str, variant_id: str, *, on: bool) -> None:
        """Refuse: the owner does it at the platform."""
        raise Rejected(who=self._settings.name, detail="change the shelf at the platform by hand")

    def ship_file(self, numbers: Sequence[str]) -> Path:
        """Write the platform's batch-ship form for these orders into the exports folder."""
        stamp = local_text(self._clock.now_ms(), self._settings.zone, "%Y%m%d-%H%M%S")
        path = _free(self._settings.exports / f"{self._settings.name}-ship-{stamp}.csv")
        write_batch_ship(path, numbers, self._preset)
        return path

    def _put_away(self, path: Path, reasons: Sequence[str]) -> None:
        moved = _move(path, self.folder / ("failed" if reasons else "done"))
        if reasons:
            report = "\n".join((path.name, *reasons, "nothing of this file was taken in", ""))
            place = moved.with_name(moved.name + ".report.txt")
            sheets.write_whole(place, report.encode("utf-8-sig", "replace"))
        elif str(path) in self._read_now:
            record = self._read_now.pop(str(path))
            line = f"{record.content} {record.reading} {record.file_ms} {moved.name}\n"
            with (self.folder / SEEN).open("a", encoding="utf-8") as file:
                file.write(line)

    def _waiting(self) -> list[Path]:
        """Return what lies in the folder, but what a program is still writing or hides."""
        if not self.folder.is_dir():
            return []
        return sorted(
            path
            for path in self.folder.iterdir()
            if path.is_file()
            and not path.name.startswith((".", "~$"))
            and not path.name.lower().endswith(_UNFINISHED)
        )

    def _settled(self) -> list[Path]:
        """Return the files whose size no longer changes, oldest first."""
        first = {path: look for path in self._waiting() if (look := _look(path))}
        now = self._clock.now_ms()
        young = {path for path, (_, at_ms) in first.items() if not at_ms <= now - SETTLE_MS}
        if young:
            self._clock.sleep(SETTLE_MS / 1000)
        still = [path for path in first if path not in young or _look(path) == first[path]]
        return sorted(still, key=lambda path: (first[path][1], path.name))

    def _pages(self, path: Path, *, last: bool) -> Iterator[Page]:
        orders, reasons = self._read(path)
        rejects = tuple(f"{path.name}: {reason}" for reason in reasons)
        for start in range(0, max(1, len(orders)), CHUNK):
            end = start + CHUNK >= len(orders)
            done = str(path) if end else ""
            yield Page(orders[start : start + CHUNK], last and end, rejects, done)

    def _read(self, path: Path) -> tuple[tuple[OrderFact, ...], tuple[str, ...]]:
        """Return the orders of a file, or why it is refused; neither when it was read before."""
        try:
            data = _data(path)
            seen = self._seen(hashlib.sha256(data).hexdigest())
            if any(record.reading == self._reading for record in seen):
                return (), ()
            file_ms = min((record.file_ms for record in seen), default=self._file_ms(path))
            moment = Moment(file_ms, self._settings.currency)
            reading = read_orders(sheets.read_tables(data, path.name), self._preset, moment)
        except FileMissing:
            return (), ("it was taken away while it was read",)
        except InputRefused as error:
            return (), (f"{error.message()}; {error.next_step()}",)
        if reading.problems:
            return (), reading.problems
        content = hashlib.sha256(data).hexdigest()
        self._read_now[str(path)] = _Record(content, self._reading, file_ms)
        old = self._clock.now_ms() - file_ms > self._fresh_ms
        if old and "refund" not in reading.columns:
            return stale(reading.orders, "old export without refund column: export again"), ()
        return reading.orders, ()

    def _file_ms(self, path: Path) -> int:
        look = _look(path)
        now = self._clock.now_ms()
        return min(look[1], now) if look else now

    def _seen(self, content: str) -> list[_Record]:
        """Return when and with which columns and words this content was read before."""
        try:
            text = (self.folder / SEEN).read_text(encoding="utf-8")
        except OSError:
            return []
        fields = [line.split(" ", 3) for line in text.splitlines()]
        return [_Record(f[0], f[1], int(f[2])) for f in fields if len(f) == 4 and f[0] == content]


@dataclass(frozen=True, slots=True)
class _Record:
    """A file that was read: its SHA-256, how it was read, and its time."""

    content: str
    reading: str
    file_ms: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a real file gives with a preset, before a channel is set up on it."""

    preset: str
    title: str
    check: bool
    columns: Mapping[str, str]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]
    orders: tuple[OrderFact, ...]
    count: int
    unknown: tuple[str, ...]
    problems: tuple[str, ...]


def preview(
    path: Path,
    preset: str | None = None,
    *,
    own: Path | None = None,
    currency: str = "CNY",
    options: Mapping[str, object] | None = None,
) -> Preview:
    """Read a real export with a preset (the best-fitting one if none is named); changes nothing.

    Raises `FileMissing` or `InputRefused` when the file as such cannot be read.
    """
    tables = sheets.read_tables(_data(path), path.name)
    chosen = order_presets.load(preset or guess(tables, own, options), own, options)
    look = _look(path)
    moment = Moment(look[1] if look else 0, currency)
    best = max((find_header(table, chosen)[1] for table in tables), key=len, default={})
    lacking = tuple(order_presets.missing(best))
    reading = Reading((), (), {}, (), 0) if lacking else read_orders(tables, chosen, moment)
    unknown = {order.risk for order in reading.orders if order.risk.startswith("unknown")}
    return Preview(
        preset=chosen.name,
        title=chosen.title,
        check=chosen.check,
        columns=reading.columns or dict.fromkeys(best, ""),
        missing=lacking,
        ignored=reading.ignored,
        orders=reading.orders[:5],
        count=len(reading.orders),
        unknown=tuple(sorted(unknown)),
        problems=reading.problems,
    )


def guess(
    tables: Sequence[sheets.Table],
    own: Path | None = None,
    options: Mapping[str, object] | None = None,
) -> str:
    """Return the preset that lacks least and knows most of the columns; `generic` wins no tie."""

    def fit(name: str) -> tuple[int, int, bool]:
        preset = order_presets.load(name, own, options)
        found = max((find_header(table, preset)[1] for table in tables), key=len, default={})
        return -len(order_presets.missing(found)), len(found), name != "generic"

    return max(order_presets.names(own), key=fit, default="generic")


def write_batch_ship(path: Path, orders: Sequence[str], preset: Preset) -> None:
    """Write the upload form: one row per order, columns as the preset says, UTF-8 with mark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = preset.ship or (("订单号", "{number}"),)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(column for column, _ in form)
    for number in orders:
        writer.writerow(text.replace("{number}", number) for _, text in form)
    sheets.write_whole(path, file.getvalue().encode("utf-8-sig"))


def _data(path: Path) -> bytes:
    if path.suffix.lower() not in SUFFIXES:
        raise InputRefused(
            detail="{suffix} is no order export",
            suffix=path.suffix or told("a file without ending"),
            where=path.name,
            mend="export the orders as csv or xlsx",
        )
    return sheets.read_bytes(path)


def _hours(settings: AdapterSettings) -> int:
    text = str(settings.options.get("fresh_hours", FRESH_HOURS))
    if not text.isascii() or not text.isdigit():
        raise ConfigError(
            detail="channels.{name}.options.fresh_hours = {text} is no whole number",
            name=settings.name,
            text=text,
        )
    return int(text)


def _look(path: Path) -> tuple[int, int] | None:
    """Return (size, time of last change in ms), None when the file is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns // 1_000_000


def _move(path: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return path.rename(_free(folder / path.name))


def _free(path: Path) -> Path:
    """Return the path, with a number when something lies there already."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return free


def build(settings: AdapterSettings) -> FileChannel:
    """Build the channel from its options; an unknown option or preset is a `ConfigError`."""
    for name in settings.options:
        if name not in FEATURES.options:
            raise ConfigError(
                detail="channels.{name}.options.{option} is no option of the file channel",
                name=settings.name,
                option=name,
            )
    preset = order_presets.load(
        str(settings.options.get("preset", "generic")),
        settings.templates,
        settings.options,
    )
    return FileChannel(settings, preset)
