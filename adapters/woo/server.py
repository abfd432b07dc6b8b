"""A WooCommerce server as the channel talks to it: address, signature, shapes of replies, clock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from adapters import signing
from adapters.http import READ_S, Call, Client, Reply, Site, get
from kmtool.errors import (
    ConfigError,
    MissingCredential,
    NeedsOperator,
    OutsideError,
    Rejected,
    told,
)
from kmtool.ports import AdapterSettings

PER_PAGE = 100
RATE = (20, 1.0)
USED = "woocommerce_rest_authentication_error"
"""What a wrong signature, a wrong clock and a signature used before are all called."""
REFUSALS = ("rest_", "woocommerce_rest_")
"""How the codes begin by which WordPress and WooCommerce refuse a call before they act."""

Raw = Mapping[str, Any]


class Server:
    """One server. `skew_ms` is its clock minus ours, as far as the last read showed."""

    def __init__(self, settings: AdapterSettings) -> None:
        self.url = _url(settings)
        self.name = settings.name
        self.skew_ms = 0
        self._clock = settings.clock
        self._signed_once = self.url.startswith("http://")
        self._client = Client(_site(settings, self.url))

    def read(self, path: str, query: Mapping[str, str] | None = None) -> Reply:
        """Read, and learn how far the two clocks are apart."""
        before_ms = self._clock.now_ms()
        reply = self._client.send(get(path, query))
        date_ms = reply.date_ms()
        if date_ms is not None:
            low, high = date_ms - self._clock.now_ms(), date_ms + 999 - before_ms
            self.skew_ms = low if low > 0 else min(high, 0)
        return reply

    def objects(self, path: str, query: Mapping[str, str] | None = None) -> tuple[list[Raw], Reply]:
        """Read a list of objects; every object of this server has an id."""
        reply = self.read(path, query)
        if isinstance(reply.data, list) and all(
            isinstance(part, dict) and "id" in part for part in reply.data
        ):
            return reply.data, reply
        raise self._client.broken(get(path), told("the reply is no list"))

    def every(self, path: str) -> Iterator[Raw]:
        """Yield all objects of a list, by id, first page to last."""
        number, pages = 1, 1
        while number <= pages:
            query = {"per_page": str(PER_PAGE), "page": str(number), "orderby": "id"}
            raws, reply = self.objects(path, {**query, "order": "asc"})
            yield from raws
            text = reply.headers.get("x-wp-totalpages", "")
            pages = int(text) if text.isdigit() else 1
            number += 1

    def order(self, number: str) -> Raw | None:
        """Read one order; None when the server does not know it."""
        path = f"/orders/{self.id(number)}"
        try:
            reply = self.read(path)
        except Rejected as error:
            if "invalid_id" in error.facts.get("detail", ""):
                return None
            raise
        found = reply.data
        is_order = isinstance(found, dict) and isinstance(found.get("status"), str)
        if is_order and str(found.get("id")) == number:
            return dict(found)
        raise self._client.broken(get(path), told("the reply is not that order"))

    def write(self, call: Call) -> Raw:
        """Write once and return the object the server answers with.

        A signature is good for one request. When the server calls it used although other requests
        pass, somebody on the way sent ours twice: the first copy may have acted.
        """
        try:
            reply = self._client.send(call)
        except NeedsOperator as error:
            if self._signed_once and USED in error.facts.get("detail", "") and self._lets_us_in():
                raise self.unclear(call, told("somebody on the way repeated it")) from None
            raise
        if isinstance(reply.data, dict):
            return reply.data
        raise self.unclear(call, told("the reply is no object"))

    def unclear(self, call: Call, detail: str) -> OutsideError:
        """Return the error for a reply to `call` that does not say what it should."""
        return self._client.broken(call, detail)

    def _lets_us_in(self) -> bool:
        try:
            self.read("/orders", {"per_page": "1", "_fields": "id"})
        except NeedsOperator:
            return False
        except OutsideError:
            return True  # not told apart: the caller asks later whether it happened
        return True

    def rejected(self, detail: str) -> OutsideError:
        """Return a refusal of our own: nothing was sent."""
        return Rejected(who=self.name, detail="{reason}", reason=detail)

    def id(self, text: str) -> str:
        """Return an id that may stand in a path; raises `Rejected` for anything else."""
        if text.isascii() and text.isdigit():
            return text
        raise self.rejected(told("that is no id of this shop"))


def _site(settings: AdapterSettings, url: str) -> Site:
    missing = [name for name in ("key", "secret") if name not in settings.credentials]
    if missing:
        raise MissingCredential(
            name=missing[0], detail="channel {channel} needs it", channel=settings.name
        )
    key, secret = settings.credentials["key"], settings.credentials["secret"]
    secure = url.startswith("https://")
    return Site(
        who=settings.name,
        base=f"{url}/wp-json/wc/v3",
        clock=settings.clock,
        sign=signing.basic(key, secret) if secure else signing.oauth1(key, secret, settings.clock),
        code_of=_code,
        documented=lambda code: code.startswith(REFUSALS),
        rate=RATE,
        proxy=str(settings.options.get("proxy", "")),
        read_s=float(str(settings.options.get("read_seconds", READ_S))),
    )


def _url(settings: AdapterSettings) -> str:
    url = str(settings.options.get("url", "")).rstrip("/")
    parts = urlsplit(url)
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ConfigError(detail='channel {name} needs url = "https://…"', name=settings.name)
    return url


def _code(reply: Reply) -> str:
    try:
        data = json.loads(reply.body)
    except (ValueError, RecursionError):
        return ""
    return str(data.get("code", "")) if isinstance(data, dict) else ""
