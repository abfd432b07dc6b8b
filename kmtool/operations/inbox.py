"""Takes in what was dropped into `inbox/statements`: stored files go to `done/`, else `failed/`.

Key files are not taken in by themselves: they need a product and a supplier (`kmtool import`).
Order files belong to the file channels and come with `kmtool sync`. A file that still grows waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kmtool.errors import Broken, KmError, Locked, OutsideError
from kmtool.operations.reconcile import reconcile
from kmtool.operations.statements import Answers
from kmtool.shop import Shop

QUIET_MS = 10_000
SUFFIXES = frozenset({".csv", ".txt", ".xls", ".xlsx", ".zip"})


@dataclass(frozen=True, slots=True)
class InboxFile:
    """What became of a file: `done`, or `failed` with the reason and the next step."""

    file: str
    state: str
    new: int = 0
    reason: str = ""
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class InboxResult:
    """The files of one look into the inbox."""

    files: tuple[InboxFile, ...]

    @property
    def failed(self) -> int:
        """How many files were not taken in."""
        return sum(1 for file in self.files if file.state == "failed")


def take_in(shop: Shop) -> InboxResult:
    """Take in every finished file of the inbox of statements."""
    shop.must_be_writable()
    folder = shop.config.folder("inbox") / "statements"
    return InboxResult(tuple(_one(shop, path) for path in waiting(shop, folder)))


def failed(shop: Shop) -> dict[str, str]:
    """Return the files that lie in `failed/`, with what to do (for alerts)."""
    folder = shop.config.folder("inbox") / "statements" / "failed"
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: f"statement {path.name} was not taken in: kmtool statement check {path}"
            for path in paths if path.is_file()}  # fmt: skip


def waiting(shop: Shop, folder: Path) -> Iterator[Path]:
    """Yield the files that nobody is writing any more, by name."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(("~$", ".")) or path.suffix.lower() not in SUFFIXES:
            continue
        if path.is_file() and shop.now_ms() - path.stat().st_mtime_ns // 1_000_000 >= QUIET_MS:
            yield path


def _one(shop: Shop, path: Path) -> InboxFile:
    try:
        result = reconcile(shop, [path], Answers())
    except (Broken, Locked, OutsideError):
        raise  # nothing is wrong with the file: it is looked at again
    except KmError as error:
        _move(path, "failed")
        return InboxFile(path.name, "failed", 0, str(error), error.next_step())
    refused = next((report.refusal for report in result.files if report.refusal), None)
    if refused is not None:
        target = _move(path, "failed")
        next_step = f'kmtool statement check "{target}"'
        return InboxFile(path.name, "failed", 0, refused.text, next_step)
    _move(path, "done")
    return InboxFile(path.name, "done", sum(report.new for report in result.files))


def _move(path: Path, name: str) -> Path:
    """Move a file aside under a name that is still free, and return where it lies now."""
    folder = path.parent / name
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    for n in range(2, 10_000):
        if not target.exists():
            break
        target = folder / f"{path.stem}-{n}{path.suffix}"
    return path.replace(target)
