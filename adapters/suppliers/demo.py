"""The supplier side of the simulated shop on loopback (rules: adapters/demo_shop/supplying.py).

A number that is known returns its order, so a lost answer is cleared up by asking, or by placing
again under the same number. Refusals are those its documents name; whatever else it says, or a
broken answer to a purchase, is unknown.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from adapters.http import Call, Client, Reply, Site, get, percent, write_json
from kmtool.clock import Clock
from kmtool.domain.money import format_plain, parse_minor
from kmtool.domain.secret import Secret
from kmtool.errors import ConfigError, OutsideError, Rejected, told
from kmtool.ports import (
    AdapterSettings,
    AuthReport,
    Features,
    Idempotency,
    Progress,
    Purchased,
    PurchaseOrder,
)

FEATURES = Features(
    title="Simulated supplier 模拟供货商",
    kind="demo",
    approval="none",
    automatic="top-ups",
    proved="every fault of the simulated shop, in the tests",
    idempotency=Idempotency.REPLAY,
    query_by="ours",
    price_guard=True,
    poll_ms=3_000,
    grace_ms=10_000,
    credentials=("token", "secret"),
    options={
        "url": "address of the running simulated shop",
        "read_seconds": "how long to wait for an answer, 5 if not given",
    },
)

REASONS = {
    "5001": "no such good",
    "5002": "the account is not accepted",
    "5003": "the price is above the cap",
    "5004": "the number is in use for another order",
    "5005": "the balance is too low",
    "5006": "sold out",
    "3001": "a parameter is not understood",
}
_STATES = {
    "PROCESSING": Progress.PROCESSING,
    "DONE": Progress.DONE,
    "FAILED": Progress.FAILED,
}


class DemoSupplier:
    """The supplier port over the simulated shop's HTTP calls."""

    features = FEATURES

    def __init__(self, client: Client) -> None:
        self._client = client

    def auth_check(self) -> AuthReport:
        """Ask for the balance."""
        return AuthReport(ok=True, detail=told("balance {n}", n=format_plain(self.balance())))

    def balance(self) -> int:
        """Return what is left there."""
        call = get("/supply/balance")
        data = self._send(call)
        try:
            return parse_minor(data["balance"])
        except (KeyError, TypeError, ValueError):
            raise self._client.broken(call, told("the balance cannot be read")) from None

    def place(self, order: PurchaseOrder) -> Purchased:
        """Buy under our number; the supplier checks the price against the cap."""
        call = write_json(
            "POST",
            "/supply/orders",
            {
                "our_no": order.our_no,
                "good": order.product,
                "quantity": order.quantity,
                "account": order.account,
                "max_amount": format_plain(order.cap_minor),
            },
        )
        try:
            data = self._send(call)
        except Rejected as error:
            raise _documented(self._client.site.who, error) from None
        return self._order(call, data, order.our_no)

    def query(self, our_no: str) -> Purchased | None:
        """Look for our number; a documented 「not known」 is None."""
        call = get(f"/supply/orders/{percent(our_no)}")
        try:
            data = self._send(call)
        except Rejected as error:
            if str(error.facts["detail"]).endswith(" 5007"):
                return None
            raise
        return self._order(call, data, our_no)

    def _order(self, call: Call, data: Any, our_no: str) -> Purchased:
        try:
            return _purchased(data, our_no)
        except (KeyError, TypeError, ValueError):
            raise self._client.broken(call, told("the order cannot be read")) from None

    def _send(self, call: Call) -> Any:
        answer = self._client.send(call).data
        is_ours = isinstance(answer, dict) and answer.get("code") == 0
        if not is_ours or not isinstance(answer.get("data"), dict):
            raise self._client.broken(call, told("the answer is not one the supplier documents"))
        return answer["data"]


def _documented(who: str, error: Rejected) -> OutsideError:
    """Say a refusal in words; one of our own, before anything left, has no code."""
    code = str(error.facts["detail"]).rpartition(" ")[2]
    if code in REASONS:
        return Rejected(who=who, detail="{reason} ({code})", reason=REASONS[code], code=code)
    return error


def _purchased(data: Mapping[str, Any], our_no: str) -> Purchased:
    if data["our_no"] != our_no:
        raise ValueError(data["our_no"])
    charged = data["charged"]
    return Purchased(
        their_no=str(data["order_no"]),
        progress=_STATES[data["state"]],
        agreed_minor=parse_minor(data["amount"]),
        charged_minor=None if charged is None else parse_minor(charged),
        at_ms=int(data["time_ms"]),
        proof=str(data["proof"])[:500],
    )


def signed(call: Call, token: Secret, secret: Secret, clock: Clock) -> Call:
    """Sign one attempt over the bytes that go out."""
    now = str(clock.now_ms() // 1000)
    body = hashlib.sha256(call.body).hexdigest()
    text = "\n".join((call.method, urlsplit(call.url).path, "", now, body))
    sign = hmac.new(secret.reveal(), text.encode(), "sha256").hexdigest()
    headers = (("X-Demo-Token", token.text()), ("X-Demo-Time", now), ("X-Demo-Sign", sign))
    return replace(call, headers=(*call.headers, *headers))


def _code_of(reply: Reply) -> str:
    try:
        return str(json.loads(reply.body)["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def build(settings: AdapterSettings) -> DemoSupplier:
    """Build the supplier from `url`, `token` and `secret`."""
    url = str(settings.options.get("url", ""))
    if urlsplit(url).hostname not in {"127.0.0.1", "localhost"}:
        raise ConfigError(
            detail="suppliers.{name}.options.url is no address on this machine",
            name=settings.name,
            mend="the simulated supplier runs inside: kmtool demo",
        )
    for name in FEATURES.credentials:
        if name not in settings.credentials:
            raise ConfigError(
                detail="suppliers.{name}.credentials lacks {credential}",
                name=settings.name,
                credential=name,
            )
    try:
        read_s = float(str(settings.options.get("read_seconds", 5)))
    except ValueError:
        raise ConfigError(
            detail="suppliers.{name}.options.read_seconds is no number", name=settings.name
        ) from None
    token, secret = settings.credentials["token"], settings.credentials["secret"]
    site = Site(
        who=settings.name,
        base=url,
        clock=settings.clock,
        sign=lambda call: signed(call, token, secret, settings.clock),
        code_of=_code_of,
        documented=REASONS.__contains__,
        read_s=read_s,
    )
    return DemoSupplier(Client(site))
