"""Replies of HTTP, made up or taken from a platform and changed."""

from __future__ import annotations

JSON = "application/json; charset=utf-8"


def whole_reply(status: int, body: bytes, *heads: str, kind: str = JSON) -> bytes:
    """Return a whole reply."""
    lines = [
        f"HTTP/1.1 {status} it is so",
        f"Content-Type: {kind}",
        *heads,
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def parted(whole: bytes) -> tuple[bytes, bytes]:
    """Return (head, body) of a reply."""
    head, _, body = whole.partition(b"\r\n\r\n")
    return head, body


def headed(whole: bytes, body: bytes, *heads: bytes) -> bytes:
    """Return a reply with another body, or with other headers about it."""
    kept = [
        line
        for line in parted(whole)[0].split(b"\r\n")
        if not line.lower().startswith((b"content-length:", b"content-type:"))
    ]
    return b"\r\n".join([*kept, *heads]) + b"\r\n\r\n" + body


def length(body: bytes) -> bytes:
    """Return the header that tells how long a body is."""
    return b"Content-Length: %d" % len(body)
