"""Signatures, as pure functions of what is signed, and signers for `adapters.http`.

A signer is called on every attempt: its timestamp and nonce are never used twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import replace

from adapters.http import Call, Signer, percent
from kmtool.clock import Clock
from kmtool.domain.secret import Secret


def oauth1_signature(
    method: str, url: str, pairs: Iterable[tuple[str, str]], consumer_secret: Secret
) -> str:
    """Return the one-legged OAuth 1.0a signature, HMAC-SHA256 in base64 (RFC 5849, 3.4.1).

    `url` has no query; `pairs` are all query and `oauth_*` parameters, not yet encoded.
    """
    encoded = sorted((percent(name), percent(value)) for name, value in pairs)
    joined = "&".join(f"{name}={value}" for name, value in encoded)
    base = "&".join((method.upper(), percent(url), percent(joined)))
    key = percent(consumer_secret.text()) + "&"
    return _base64(hmac.digest(key.encode(), base.encode(), hashlib.sha256))


def oauth1(key: Secret, secret: Secret, clock: Clock) -> Signer:
    """Return a signer that adds OAuth 1.0a parameters to the query (for plain http)."""

    def sign(call: Call) -> Call:
        pairs = (
            *call.query,
            ("oauth_consumer_key", key.text()),
            ("oauth_nonce", secrets.token_hex(20)),
            ("oauth_signature_method", "HMAC-SHA256"),
            ("oauth_timestamp", str(clock.now_ms() // 1000)),
        )
        signature = oauth1_signature(call.method, call.url, pairs, secret)
        return replace(call, query=(*pairs, ("oauth_signature", signature)))

    return sign


def basic(user: Secret, password: Secret) -> Signer:
    """Return a signer that adds HTTP Basic credentials (for https only)."""

    def sign(call: Call) -> Call:
        assert call.url.startswith("https://"), "Basic credentials never go over plain http"
        pair = user.reveal() + b":" + password.reveal()
        header = ("Authorization", "Basic " + _base64(pair))
        return replace(call, headers=(*call.headers, header))

    return sign


def body_hmac_base64(secret: Secret, body: bytes) -> str:
    """Return the base64 HMAC-SHA256 of a raw body (WooCommerce: `X-WC-Webhook-Signature`)."""
    return _base64(hmac.digest(secret.reveal(), body, hashlib.sha256))


def same(one: str, other: str) -> bool:
    """Compare two signatures in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
