"""Signatures: a vector of our own, and the project's shared vectors where they are at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from adapters import signing
from adapters.http import Call
from kmtool.clock import ManualClock
from kmtool.domain.secret import Secret

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("KMTOOL_VECTORS", ROOT.parent / "shared/vectors/signatures.json"))

PAIRS = [
    ("oauth_consumer_key", "ck_1"),
    ("oauth_nonce", "n"),
    ("oauth_signature_method", "HMAC-SHA256"),
    ("oauth_timestamp", "1795305600"),
    ("search", "a b+c/ü%20&=~"),
    ("page", "2"),
]


def shared(name: str) -> dict[str, Any]:
    if not SHARED.is_file():
        pytest.skip("the shared signature vectors are not here")
    vectors = {vector["id"]: vector for vector in json.loads(SHARED.read_text(encoding="utf-8"))}
    found: dict[str, Any] = vectors[name]
    return found


def test_an_oauth_signature_is_the_one_computed_by_other_means() -> None:
    # Expected: `openssl dgst -sha256 -hmac 'cs_1&' -binary | base64` over the base string
    # GET&http%3A%2F%2Fshop.example%2Fwp-json%2Fwc%2Fv3%2Forders&oauth_consumer_key%3Dck_1
    # %26oauth_nonce%3Dn%26oauth_signature_method%3DHMAC-SHA256%26oauth_timestamp%3D1795305600
    # %26page%3D2%26search%3Da%2520b%252Bc%252F%25C3%25BC%252520%2526%253D~ (one line).
    url = "http://shop.example/wp-json/wc/v3/orders"
    made = signing.oauth1_signature("get", url, PAIRS, Secret("cs_1"))
    assert made == "U9SgHj+ES1Jg2MgZp20GoK0R9uB5OPbuOQODmYLFgY0="


def test_an_oauth_signature_matches_the_shared_vector() -> None:
    vector = shared("woo-oauth1-get")
    given = vector["input"]
    parts = urlsplit(given["url"])
    pairs = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("oauth_consumer_key", given["consumer_key"]),
        ("oauth_nonce", given["oauth_nonce"]),
        ("oauth_signature_method", "HMAC-SHA256"),
        ("oauth_timestamp", given["oauth_timestamp"]),
    ]
    url = f"{parts.scheme}://{parts.netloc}{parts.path}"
    made = signing.oauth1_signature(given["method"], url, pairs, Secret(vector["secret"]))
    assert made == vector["expected"]


def test_a_webhook_signature_matches_the_shared_vector() -> None:
    vector = shared("woo-webhook")
    made = signing.body_hmac_base64(Secret(vector["secret"]), vector["input"]["body"].encode())
    assert signing.same(made, vector["expected"])
    assert not signing.same(made, vector["expected"].lower())


def test_every_attempt_has_its_own_nonce_and_time() -> None:
    clock = ManualClock(1_795_305_600_000)
    sign = signing.oauth1(Secret("ck"), Secret("cs"), clock)
    call = Call("GET", "http://shop.example/orders", (("page", "1"),))
    first = dict(sign(call).query)
    clock.advance(1000)
    second = dict(sign(call).query)
    assert first["page"] == "1"
    assert first["oauth_nonce"] != second["oauth_nonce"]
    assert first["oauth_timestamp"] != second["oauth_timestamp"]
    assert first["oauth_signature"] != second["oauth_signature"]
    assert "cs" not in repr(sign(call))


def test_basic_credentials_never_go_over_plain_http() -> None:
    sign = signing.basic(Secret("user"), Secret("päss"))
    call = sign(Call("GET", "https://shop.example/orders"))
    assert call.headers == (("Authorization", "Basic dXNlcjpww6Rzcw=="),)
    with pytest.raises(AssertionError):
        sign(Call("GET", "http://shop.example/orders"))
