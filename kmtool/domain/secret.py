"""A wrapper that keeps keys and credentials out of sight.

Everything that usually leaks a value (print, format, repr, JSON, pickle, comparison messages) shows
its last characters or refuses. Opening one is explicit: `reveal()`.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Bytes that do not print. `reveal()` and `text()` are the only ways in."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """Return the exact bytes. The caller answers for where they go."""
        return self._value

    def text(self) -> str:
        """Return the value as text; bytes that are no UTF-8 are kept as surrogates."""
        return self._value.decode("utf-8", "surrogateescape")

    def tail(self) -> str:
        """Return what may be shown (see `tail_of`)."""
        return tail_of(self.text())

    def __repr__(self) -> str:
        return f"…{self.tail()}"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __len__(self) -> int:
        return len(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def tail_of(text: str) -> str:
    """Return what may be shown of a key: 4 characters, 2 of a short one (< 8), none of < 4."""
    if len(text) < 4:
        return ""
    return text[-4:] if len(text) >= 8 else text[-2:]
