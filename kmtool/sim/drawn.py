"""Keys that are pictures: how a simulated supplier draws one, and how a buyer reads it.

A picture's key is 「P-SKU-000001」; the small PNG drawn of it is always the same, and holds the
key's text. So what was sent can be read back from the bytes alone, without asking the shop.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from kmtool.operations.key_sources import Source
from kmtool.ports import Message

FORM = "P"
HEAD = b"\x89PNG\r\n\x1a\n"
WORD = b"Key\0"
NAMED = re.compile(r"\bkey-[0-9]+\.(?:png|jpg|gif)\b")
UNREADABLE = "an unreadable picture"


def is_drawn(key: str) -> bool:
    """Tell whether a key is a picture."""
    return key.startswith(f"{FORM}-")


def stored(key: str) -> bytes:
    """Return a key as the shop stores it: its text, or the whole picture."""
    return picture(key) if is_drawn(key) else key.encode()


def picture(key: str) -> bytes:
    """Draw a key: eight by eight dots, with its text in the file."""
    dots = zlib.crc32(key.encode()).to_bytes(4, "big") * 2
    rows = b"".join(b"\0" + dots[n : n + 1] for n in range(8))
    return HEAD + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 1, 0, 0, 0, 0)),
            _chunk(b"tEXt", WORD + key.encode()),
            _chunk(b"IDAT", zlib.compress(rows)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def key_of(data: bytes) -> str:
    """Return the key that a picture shows, empty when one byte of it is not as it was drawn."""
    at = data.find(b"tEXt" + WORD)
    if at < 4:
        return ""
    size = struct.unpack(">I", data[at - 4 : at])[0]
    key = data[at + 4 + len(WORD) : at + 4 + size].decode("ascii", "replace")
    return key if data == picture(key) else ""


def read(message: Message, files: Iterable[bytes] | None = None) -> str:
    """Return what a buyer reads: the text, then each picture's name and what it shows.

    `files` are the pictures that really went with it, where a person took them from the disk.
    """
    found = [one.data.reveal() for one in message.attachments] if files is None else list(files)
    text = message.text.text()
    if not message.attachments and not found:
        return text
    names = [one.name for one in message.attachments]
    names += ["an unnamed picture"] * (len(found) - len(names))
    shown = [key_of(data) or UNREADABLE for data in found]
    shown += ["nothing"] * (len(names) - len(shown))
    return text + "".join(f"{name}: {key}\n" for name, key in zip(names, shown, strict=True))


def lacking(message: Message) -> str:
    """Return what is wrong between the pictures a message names and those that go with it."""
    named = sorted(NAMED.findall(message.text.text()))
    there = sorted(one.name for one in message.attachments)
    broken = [one.name for one in message.attachments if not key_of(one.data.reveal())]
    if named != there:
        return f"it names {named}, and {there} go with it"
    return f"{broken} cannot be read" if broken else ""


def source(name: str, rows: Sequence[str]) -> Source:
    """Return what an owner brings in of some pictures: a folder, a zip, or the only one."""
    files = tuple((f"{key}.png", picture(key)) for key in rows)
    if len(files) == 1:
        return Source(*files[0])
    if name.endswith(".zip"):
        return Source(name, zipped(files))
    return Source(name, b"", name, files)


def laid_down(folder: Path, keys: Iterable[str]) -> list[Path]:
    """Lay pictures into a folder; return it, if there is any."""
    for key in keys:
        folder.mkdir(exist_ok=True)
        (folder / f"{key}.png").write_bytes(picture(key))
    return [folder] if folder.exists() else []


def zipped(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a zip of files; the same files make the same bytes."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as out:
        for name, data in files:
            out.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
    return whole.getvalue()
