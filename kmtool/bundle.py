"""One file that carries a shop to another machine: a tar, sealed in pieces, whole or not at all.

Layout: a line of JSON (how the key is made), then pieces of `length · nonce · ciphertext`, each
sealed with AES-256-GCM; its associated data is the header, its number and whether it is the last,
so that pieces cannot be swapped, left out or cut off. The key comes from a passphrase through
scrypt (RFC 7914) or, without one, from the shop's own master key, which then has to be on the other
machine already.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kmtool.domain.secret import Secret
from kmtool.errors import InputRefused, UsageError

MAGIC = "kmtool-move-1"
SUFFIX = ".kmmove"
PIECE = 1 << 20
PASSPHRASE_MIN = 8
_NONCE, _TAG = 12, 16
COST = {"n": 1 << 15, "r": 8, "p": 1}
"""What scrypt works with, 32 MiB and a tenth of a second; a bundle made with any other is refused.
The simulator, whose passphrases guard nothing, works with less in its own process."""


@contextmanager
def costing(n: int) -> Iterator[None]:
    """Make and open bundles with another work factor meanwhile (those of a simulated shop)."""
    before = COST["n"]
    COST["n"] = n
    try:
        yield
    finally:
        COST["n"] = before


def seal(target: Path, members: dict[str, Path], database_id: str, key: bytes, salt: bytes) -> None:
    """Write files under their names into a bundle; an existing file is never overwritten."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head = header_of(database_id, salt)
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(head)
            _Sealer(file, AESGCM(key), head).pack(members)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def header(path: Path) -> dict[str, object]:
    """Return what a bundle says of itself; `InputRefused` for any other file."""
    with path.open("rb") as file:
        first = file.readline(4096)
    try:
        found = json.loads(first)
        if found["kind"] != MAGIC:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise InputRefused(
            detail="{name} is no shop packed by kmtool db move", name=path.name
        ) from None
    return dict(found)


def unpack(path: Path, key: bytes, folder: Path) -> None:
    """Open a bundle into an empty folder; `InputRefused` when the key is wrong or a piece changed.

    Names that lead outside the folder, links and devices are refused.
    """
    with path.open("rb") as file:
        head = file.readline(4096)
        stream = io.BufferedReader(_Opened(_pieces(file, key, head, path.name)))
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if not member.isfile() or not _is_inside(folder, member.name):
                    raise InputRefused(detail="{name} holds a strange name", name=path.name)
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                source = archive.extractfile(member)
                assert source is not None
                handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as out:
                    while block := source.read(PIECE):
                        out.write(block)
        while stream.read(PIECE):
            pass  # what tar left unread must open as well


def header_of(database_id: str, salt: bytes) -> bytes:
    """Return the first line of a bundle; without salt its key comes from the master key."""
    found: dict[str, object] = {"kind": MAGIC, "database": database_id}
    if salt:
        found |= {"kdf": "scrypt", "salt": salt.hex(), **COST}
    else:
        found["kdf"] = "master"
    return (json.dumps(found, sort_keys=True) + "\n").encode()


def key_of_passphrase(passphrase: Secret, found: dict[str, object]) -> bytes:
    """Return the key that scrypt makes of a passphrase, with the costs that a header names."""
    if len(passphrase) < PASSPHRASE_MIN:
        raise UsageError(
            detail="a passphrase has {least} letters or more", least=PASSPHRASE_MIN,
            mend="take a few words that nobody guesses",
        )  # fmt: skip
    n, r, p = (int(str(found[name])) for name in ("n", "r", "p"))
    if (n, r, p) != tuple(COST.values()):
        raise InputRefused(detail="its key is made in a way this kmtool does not know")
    salt = bytes.fromhex(str(found["salt"]))
    return hashlib.scrypt(
        passphrase.reveal(), salt=salt, n=n, r=r, p=p, maxmem=128 * n * r * 2, dklen=32
    )


def key_of_master(wrap: bytes, database_id: str) -> bytes:
    """Return the key that belongs to a shop's master key (HMAC-SHA256 with a label of its own)."""
    return hmac.new(wrap, b"kmtool move:" + database_id.encode(), "sha256").digest()


class _Sealer(io.RawIOBase):
    """A writer for tarfile: gathers pieces and seals each as it is full."""

    def __init__(self, file: IO[bytes], aead: object, head: bytes) -> None:
        self._file, self._aead, self._head = file, aead, head
        self._buffer = bytearray()
        self._count = 0

    def pack(self, members: dict[str, Path]) -> None:
        with tarfile.open(fileobj=self, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for name, path in members.items():
                archive.add(path, arcname=name, recursive=False, filter=_plain)
        self._piece(bytes(self._buffer), last=True)

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        self._buffer += block
        while len(self._buffer) > PIECE:
            self._piece(bytes(self._buffer[:PIECE]), last=False)
            del self._buffer[:PIECE]
        return len(block)

    def _piece(self, data: bytes, *, last: bool) -> None:
        nonce = os.urandom(_NONCE)
        bound = _bound(self._head, self._count, last)
        sealed = nonce + self._aead.encrypt(nonce, data, bound)  # type: ignore[attr-defined]
        self._file.write(len(sealed).to_bytes(4, "big") + bytes([last]) + sealed)
        self._count += 1


class _Opened(io.RawIOBase):
    """A reader for tarfile over the opened pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        if not self._rest:
            self._rest = next(self._pieces, b"")
        n = min(len(view), len(self._rest))
        view[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n


def _pieces(file: IO[bytes], key: bytes, head: bytes, name: str) -> Iterator[bytes]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    aead, count, last = AESGCM(key), 0, False
    while not last:
        length, last = int.from_bytes(file.read(4), "big"), file.read(1) == b"\x01"
        sealed = file.read(length)
        try:
            if not _NONCE + _TAG <= length <= PIECE + _NONCE + _TAG or len(sealed) < length:
                raise InvalidTag
            plain = aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(head, count, last))
        except InvalidTag:
            raise InputRefused(
                detail="{name} does not open: a wrong passphrase or key, or it was changed",
                name=name,
                mend="type the passphrase again; copy the file again",
            ) from None
        if plain:
            yield plain
        count += 1
    if file.read(1):
        raise InputRefused(detail="{name} has something behind its end", name=name)


def _bound(head: bytes, count: int, last: bool) -> bytes:
    return head + count.to_bytes(8, "big") + bytes([last])


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who owned a file and how it was allowed."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def _is_inside(folder: Path, name: str) -> bool:
    return (folder / name).resolve().is_relative_to(folder.resolve()) and ".." not in name
