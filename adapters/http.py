"""The one HTTP client of all adapters.

Rules it keeps, so that no adapter has to:

- A call is signed anew on every attempt, over exactly the bytes that are sent.
- A write is tried once. A read may be tried again a few times inside.
- What an error means is decided by when it came:

    ======================================  ===================  ============
    what happened                           write                read
    ======================================  ===================  ============
    no connection, no name, no TLS          Retriable            Retriable
    time-out or break after that            Unknown              Retriable
    5xx, a reply that cannot be read        Unknown              Retriable
    3xx                                     Unknown              NeedsOperator
    429 (with its Retry-After)              Retriable            Retriable
    408 (the request was whole)             Unknown              Retriable
    401, 403, 407, untrusted certificate    NeedsOperator        NeedsOperator
    any other 4xx with a documented code    Rejected             Rejected
    any other 4xx                           Unknown              Rejected
    ======================================  ===================  ============

  A refusal of a write counts only where the server's documents name its code (`Site.documented`): a
  page of a proxy or an error raised behind the deed says nothing about the deed.

- Errors name the call by its method and label. Query strings, headers and bodies hold signatures,
  tokens and keys: they stand in no error, no `repr` and no log.
- No redirects, no cookies, no proxy from the environment, only hosts on the list, replies of
  bounded size and duration.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from adapters.buckets import Bucket
from kmtool.clock import Clock, utc_ms
from kmtool.errors import (
    NeedsOperator,
    OutsideError,
    Rejected,
    Retriable,
    Unknown,
    said,
    told,
    verbatim,
)

if TYPE_CHECKING:
    import ssl

    import httpx

    from adapters.deadline import Deadline

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # they log whole addresses at INFO

CONNECT_S = 5.0
READ_S = 30.0
TOTAL_S = 90.0
REPLY_MAX = 16 * 1024 * 1024
READS_MAX = 3
READ_PAUSE_S = 2.0
WAIT_MAX_S = 10.0
KEEP_S = 4.0
"""Idle connections are dropped before servers do it (5 s is common): a write on a connection that
is just being closed ends as unknown for nothing."""

_CODE = re.compile(r"[^A-Za-z0-9_.:-]+")


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """One request. `url` is absolute, or a path below the site's base; it carries no query.

    `write` says that the call changes something over there. `label` names the call in errors; give
    one when the path itself holds a secret.
    """

    method: str
    url: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    write: bool = False
    json: bool = True
    label: str = ""

    @property
    def name(self) -> str:
        """Return how errors call this call."""
        return f"{self.method} {self.label or urlsplit(self.url).path}"

    def __repr__(self) -> str:
        return f"<Call {self.name}>"


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """An answer with a 2xx status. `data` is its JSON; decimals are `Decimal`, never float."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    data: Any = None

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"

    def date_ms(self) -> int | None:
        """Return the server's clock by its Date header (whole seconds), None without one."""
        try:
            return utc_ms(parsedate_to_datetime(self.headers.get("date", "")))
        except (ValueError, AssertionError):
            return None


Signer = Callable[[Call], Call]


def unsigned(call: Call) -> Call:
    """Sign nothing."""
    return call


def no_code(reply: Reply) -> str:
    """Know no error codes."""
    return ""


def undocumented(code: str) -> bool:
    """Take no code for a refusal."""
    return False


@dataclass(frozen=True, slots=True, repr=False)
class Site:
    """Where a client speaks to and how. `hosts` may be called besides the host of `base`.

    `rate` is (calls, seconds). `code_of` reads the server's own error code out of a refusal;
    `documented` tells whether such a code surely means that nothing was done.
    """

    who: str
    base: str
    clock: Clock
    sign: Signer = unsigned
    code_of: Callable[[Reply], str] = no_code
    documented: Callable[[str], bool] = undocumented
    hosts: frozenset[str] = frozenset()
    rate: tuple[float, float] | None = None
    proxy: str = ""
    read_s: float = READ_S
    total_s: float = TOTAL_S
    reply_max: int = REPLY_MAX
    reads_max: int = READS_MAX
    headers: tuple[tuple[str, str], ...] = field(
        default=(("User-Agent", "kmtool"), ("Accept", "application/json"))
    )


def get(url: str, query: Mapping[str, str] | None = None) -> Call:
    """Return a read."""
    return Call("GET", url, tuple((query or {}).items()))


def write_json(method: str, url: str, data: object) -> Call:
    """Return a write whose body is JSON (UTF-8, compact)."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    headers = (("Content-Type", "application/json; charset=utf-8"),)
    return Call(method, url, headers=headers, body=body, write=True)


def percent(text: str) -> str:
    """Return `text` percent-encoded by RFC 3986: only letters, digits and `-._~` stay."""
    return quote(text, safe="-._~")


class Client:
    """Sends calls to one site. One client serves several threads.

    Each call borrows an `httpx.Client` that nobody else uses meanwhile: threads that share one wait
    for its pool of connections more than for the network.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._hosts = site.hosts | {(urlsplit(site.base).hostname or "").lower()}
        self._bucket = Bucket(*site.rate, site.clock) if site.rate else None
        self._lock = threading.Lock()
        self._idle: list[tuple[httpx.Client, Deadline]] = []
        self._trust: ssl.SSLContext | None = None

    def send(self, call: Call) -> Reply:
        """Send a call and return its 2xx reply; raises by what the caller must do (see above)."""
        if call.url.startswith("/"):
            call = replace(call, url=self.site.base.rstrip("/") + call.url)
        again = 0 if call.write else self.site.reads_max - 1
        result = self._attempt(call)
        while again and isinstance(result, Retriable) and result.after_s <= WAIT_MAX_S:
            self.site.clock.sleep(result.after_s)
            result = self._attempt(call)
            again -= 1
        if isinstance(result, Reply):
            return result
        # Raised here, outside any `except`: the library's own error, which holds the request,
        # must not hang on ours.
        raise result

    def broken(self, call: Call, detail: object) -> OutsideError:
        """Return the error for a reply that makes no sense: `Unknown` for a write."""
        who, text = self.site.who, told("{name}: {answer}", name=call.name, answer=detail)
        if call.write:
            return Unknown(who=who, detail=text)
        return Retriable(after_s=READ_PAUSE_S, who=who, detail=text)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for opened, _ in idle:
            opened.close()

    def _attempt(self, call: Call) -> Reply | OutsideError:
        import httpx

        if self._bucket is not None:
            self._bucket.take()
        signed = self.site.sign(call)
        refusal = self._refuse_host(signed)
        if refusal is not None:
            return refusal
        heads = [*self.site.headers, ("Accept-Encoding", "gzip"), *signed.headers]
        try:
            with (
                self._borrowed() as (http, deadline),
                deadline.until_in(self.site.total_s),
                http.stream(
                    signed.method, _wire_url(signed), headers=heads, content=signed.body or None
                ) as response,
            ):
                reply = Reply(
                    response.status_code,
                    {name.lower(): value for name, value in response.headers.items()},
                    self._read(response),
                )
        except (httpx.HTTPError, httpx.InvalidURL, zlib.error, _BadReply) as error:
            return self._transport_error(call, error)
        if not 200 <= reply.status <= 299:
            return self._status_error(call, reply)
        return self._parse(call, reply) if call.json else reply

    @contextmanager
    def _borrowed(self) -> Iterator[tuple[httpx.Client, Deadline]]:
        with self._lock:
            client = self._idle.pop() if self._idle else None
        client = client or self._open()
        try:
            yield client
        finally:
            with self._lock:
                self._idle.append(client)

    def _open(self) -> tuple[httpx.Client, Deadline]:
        import ssl
        from http.cookiejar import CookieJar, DefaultCookiePolicy

        import httpx

        from adapters.deadline import transport

        with self._lock:
            if self._trust is None:
                # Reading the trusted certificates takes long; plain http has no use for them.
                plain = self.site.base.startswith("http://") and not self.site.hosts
                self._trust = (
                    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                    if plain
                    else httpx.create_ssl_context(trust_env=False)
                )
        limits = httpx.Limits(max_connections=20, keepalive_expiry=KEEP_S)
        way, deadline = transport(self.site.clock, self._trust, limits, self.site.proxy)
        client = httpx.Client(
            transport=way,
            timeout=httpx.Timeout(self.site.read_s, connect=CONNECT_S, pool=CONNECT_S * 4),
            follow_redirects=False,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        return client, deadline

    def _refuse_host(self, call: Call) -> OutsideError | None:
        parts = urlsplit(call.url)
        if parts.scheme in ("http", "https") and (parts.hostname or "").lower() in self._hosts:
            return None
        return Rejected(
            who=self.site.who, detail="{name}: the host is not on the list", name=call.name
        )

    def _read(self, response: httpx.Response) -> bytes:
        """Read a body of bounded size, unpacked."""
        limit = self.site.reply_max
        packed = response.headers.get("content-encoding", "identity").lower()
        if packed not in ("identity", "gzip", "x-gzip", ""):
            raise _BadReply(told("packed in a way that was not asked for"))
        unpack = zlib.decompressobj(31) if "gzip" in packed else None
        body = bytearray()
        for piece in response.iter_raw():
            body += unpack.decompress(piece, limit + 1) if unpack else piece
            if len(body) > limit:
                raise _TooLarge(told("the reply is larger than {limit} MB", limit=limit >> 20))
        if unpack is not None and body and not unpack.eof:
            raise _BadReply(told("the reply is cut off"))
        return bytes(body)

    def _parse(self, call: Call, reply: Reply) -> Reply | OutsideError:
        try:
            return replace(reply, data=json.loads(reply.body, parse_float=Decimal))
        except (ValueError, RecursionError):
            return self.broken(call, told("the reply is no JSON"))

    def _transport_error(self, call: Call, error: Exception) -> OutsideError:
        import httpx

        who, what = self.site.who, type(error).__name__
        if isinstance(error, _TooLarge) and not call.write:
            return Rejected(
                who=who, detail="{name}: {problem}", name=call.name, problem=said(error)
            )
        if isinstance(error, _BadReply):
            return self.broken(call, said(error))
        if isinstance(error, httpx.ConnectError) and "CERTIFICATE_VERIFY" in str(error):
            return NeedsOperator(who=who, detail="its certificate is not valid for this address")
        if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
            return Rejected(who=who, detail="{name}: the address is not valid", name=call.name)
        if isinstance(
            error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
        ):
            after_s = 30.0 if call.write else READ_PAUSE_S
            detail = told("{name}: no connection ({what})", name=call.name, what=what)
            return Retriable(after_s=after_s, who=who, detail=detail)
        return self.broken(call, told("the connection broke ({what})", what=what))

    def _status_error(self, call: Call, reply: Reply) -> OutsideError:
        who, status = self.site.who, reply.status
        code = _CODE.sub("", self.site.code_of(reply))[:80]
        detail = verbatim(f"{call.name}: HTTP {status} {code}".strip())
        if status == 429:
            return Retriable(after_s=self._after_s(reply, 30.0), who=who, detail=detail)
        if status in (401, 403, 407):
            return NeedsOperator(who=who, detail=detail)
        if (
            400 <= status <= 499
            and status != 408
            and (not call.write or self.site.documented(code))
        ):
            return Rejected(who=who, detail=detail)
        if call.write:
            return Unknown(who=who, detail=detail)
        if 300 <= status <= 399:
            return NeedsOperator(
                who=who, detail="{answer}: it points to another address", answer=detail
            )
        return Retriable(after_s=self._after_s(reply, READ_PAUSE_S), who=who, detail=detail)

    def _after_s(self, reply: Reply, otherwise: float) -> float:
        text = reply.headers.get("retry-after", "").strip()
        try:
            wait = float(text) if text.isascii() and text.isdigit() else self._until_s(text)
        except (ValueError, AssertionError):
            return otherwise
        return min(max(wait, 1.0), 3600.0)

    def _until_s(self, text: str) -> float:
        return (utc_ms(parsedate_to_datetime(text)) - self.site.clock.now_ms()) / 1000


class _BadReply(Exception):
    """The reply cannot be used as it is."""


class _TooLarge(_BadReply):
    """The reply is larger than allowed: asking again does not help."""


def _wire_url(call: Call) -> str:
    pairs = "&".join(f"{percent(name)}={percent(value)}" for name, value in call.query)
    return f"{call.url}?{pairs}" if pairs else call.url
