"""Seals, opens and fingerprints keys and credentials.

- A master key (a 0600 file outside the shop folder, or KMTOOL_MASTER_KEY) holds two secrets: one
  that wraps data keys, one for fingerprints that is never rotated.
- A value is sealed with AES-256-GCM under a data key, random 96-bit nonce; its associated data is
  (label, data-key id), for a key the label is its fingerprint: a swapped ciphertext does not open.
- The fingerprint of a key is keyed BLAKE2b, 128 bit, over its bytes without spaces at the ends:
  equal keys are found over all history without storing anything that can be searched.
- Digests of payloads are HMACs, because short card numbers could be searched for.
- The rows of the audit are chained by an HMAC under a key of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kmtool.domain.secret import Secret
from kmtool.durable import keep_name
from kmtool.errors import Broken, MasterKeyMissing, MasterKeyWrong

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

RECORDS_PER_DATA_KEY = 2**24
ENVIRONMENT = "KMTOOL_MASTER_KEY"
_PREFIX = "kmtool-master-1"
_NONCE = 12
_MAY_BE_SPACE = frozenset((b" ", b"\t", b"\xc2", b"\xa0", b"\xe3", b"\x80"))
_SPACE = rb"(?:[ \t]|\xc2\xa0|\xe3\x80\x80)+"
_ENDS = re.compile(rb"\A" + _SPACE + rb"|" + _SPACE + rb"\Z")


class MasterKey:
    """The two secrets of a shop. Its text form is one line."""

    __slots__ = ("fingerprint", "wrap")

    def __init__(self, wrap: bytes, fingerprint: bytes) -> None:
        self.wrap = wrap
        self.fingerprint = fingerprint

    @classmethod
    def new(cls) -> MasterKey:
        """Draw a new master key from the operating system."""
        return cls(os.urandom(32), os.urandom(32))

    @classmethod
    def parse(cls, text: str, source: str) -> MasterKey:
        """Read the text form; raises `MasterKeyMissing` naming the source when it is damaged."""
        parts = text.split()
        try:
            if len(parts) != 4 or parts[0] != _PREFIX:
                raise ValueError
            wrap, fingerprint = (base64.b64decode(p, validate=True) for p in parts[1:3])
            if len(wrap) != 32 or len(fingerprint) != 32:
                raise ValueError
            if parts[3] != _checksum(wrap + fingerprint):
                raise ValueError
        except (ValueError, binascii.Error):
            raise MasterKeyMissing(
                detail="{source} is damaged or cut short", source=source
            ) from None
        return cls(wrap, fingerprint)

    def text(self) -> str:
        """Return the line that goes into the key file: treat it as the shop's purse."""
        wrap, fingerprint = (base64.b64encode(v).decode() for v in (self.wrap, self.fingerprint))
        return f"{_PREFIX} {wrap} {fingerprint} {_checksum(self.wrap + self.fingerprint)}\n"

    def __repr__(self) -> str:
        return "MasterKey(…)"


def load_master(path: Path, environment: Mapping[str, str] = os.environ) -> MasterKey:
    """Return the master key from KMTOOL_MASTER_KEY or the 0600 file, else `MasterKeyMissing`."""
    given = environment.get(ENVIRONMENT)
    if given:
        return MasterKey.parse(given, ENVIRONMENT)
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise MasterKeyMissing(detail="{path} is not there or not readable", path=path) from None
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise MasterKeyMissing(
            detail="{path} can be read by others on this machine",
            path=path,
            mend="chmod 600 {path}",
        )
    return MasterKey.parse(text, str(path))


def save_master(path: Path, master: MasterKey) -> None:
    """Write the key file with mode 0600; an existing one is never overwritten."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(master.text())
            file.flush()
            os.fsync(file.fileno())
        keep_name(path)
    except OSError:
        path.unlink()  # nothing is sealed with it yet, and a cut key helps nobody
        raise


class Vault:
    """Opens and seals with the data keys of one shop. `current` seals new values."""

    def __init__(self, master: MasterKey) -> None:
        self._master = master
        self._aead: dict[int, AESGCM] = {}
        self._wrong: type[Exception] = KeyError
        self._pool = b""
        self._pool_at = 0
        self.current = 0
        self._binding: dict[int, bytes] = {}
        self._payload_mac = hmac_of(master.fingerprint)
        self.audit_mac = hmac_of(self.audit_key())

    def new_data_key(self) -> bytes:
        """Draw a data key and return it wrapped; store it, then `load()` it under its number."""
        return self._wrap(os.urandom(32))

    def load(self, number: int, wrapped: bytes) -> None:
        """Unwrap a data key; `MasterKeyWrong` when it was wrapped by another master key."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            plain = AESGCM(self._master.wrap).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], b"data")
        except InvalidTag:
            raise MasterKeyWrong from None
        self._wrong = InvalidTag
        self._aead[number] = AESGCM(plain)
        self._binding[number] = b"|" + str(number).encode()
        self.current = max(self.current, number)

    def fingerprint(self, value: bytes) -> bytes:
        """Return the 16-byte keyed fingerprint of a key (BLAKE2b, RFC 7693).

        Spaces, tabs and full-width spaces at its ends do not count: a key pasted with and without
        them is one key. All between them does, byte by byte.
        """
        if value[:1] in _MAY_BE_SPACE or value[-1:] in _MAY_BE_SPACE:
            value = _ENDS.sub(b"", value)
        return self.exact_fingerprint(value)

    def exact_fingerprint(self, value: bytes) -> bytes:
        """Return the fingerprint of all bytes, as keys with spaces had it once."""
        return hashlib.blake2b(value, digest_size=16, key=self._master.fingerprint).digest()

    def digest(self, value: bytes) -> str:
        """Return an HMAC-SHA256 (hex) that proves a payload without telling it."""
        return self._payload_mac(b"payload:" + value).hex()

    def audit_key(self) -> bytes:
        """Return the key of the audit chain: derived one-way, it opens and tells nothing else."""
        return hmac.digest(self._master.fingerprint, b"kmtool audit chain 1", "sha256")

    def seal(self, secret: Secret, label: bytes) -> tuple[bytes, int]:
        """Return (nonce + ciphertext, data-key id)."""
        number = self.current
        assert number, "no data key loaded"
        nonce = self._nonce()
        sealed = self._aead[number].encrypt(nonce, secret.reveal(), label + self._binding[number])
        return nonce + sealed, number

    def open(self, sealed: bytes, number: int, label: bytes) -> Secret:
        """Return the plain value; a ciphertext that was changed or swapped is `Broken`."""
        sealed = bytes(sealed)
        try:
            plain = self._aead[number].decrypt(
                sealed[:_NONCE], sealed[_NONCE:], label + self._binding[number]
            )
        except (self._wrong, KeyError):
            raise Broken(detail="a sealed value does not open: it was changed or swapped") from None
        return Secret(plain)

    def _nonce(self) -> bytes:
        if self._pool_at + _NONCE > len(self._pool):
            self._pool = os.urandom(_NONCE * 4096)
            self._pool_at = 0
        nonce = self._pool[self._pool_at : self._pool_at + _NONCE]
        self._pool_at += _NONCE
        return nonce

    def _wrap(self, plain: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._master.wrap).encrypt(nonce, plain, b"data")


def hmac_of(key: bytes) -> Callable[[bytes], bytes]:
    """Return HMAC-SHA256 (RFC 2104) under a key of at most 64 bytes, made for many short values.

    The two key pads are hashed once and copied: half the time of `hmac.copy()`.
    """
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def mac(value: bytes) -> bytes:
        first = inner.copy()
        first.update(value)
        second = outer.copy()
        second.update(first.digest())
        return second.digest()

    return mac


def _checksum(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:8]
