"""The ports: what the core asks of the outside world, and the records that cross the border.

An adapter is a module under `adapters/<kind>/` with a `FEATURES` constant and a function
`build(settings) -> port`. It turns foreign shapes into these records and back, and knows no rule of
the shop. It raises by what the caller must do: `Retriable`, `Rejected`, `Unknown`, `NeedsOperator`
(kmtool.errors). A lost or unclear answer to a write is always `Unknown`, never `Rejected`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from kmtool.clock import Clock
from kmtool.domain.packing import Quota as Quota
from kmtool.domain.secret import Secret
from kmtool.domain.states import OrderStatus, RefundState


class Repeat(StrEnum):
    """What a route does when the same thing is sent twice: how an unknown outcome is resolved."""

    IDEMPOTENT = "idempotent"
    QUERYABLE = "queryable"
    REPEAT_SAFE = "repeat_safe"
    NONE = "none"


class Verdict(StrEnum):
    """The answer to 「did it happen?」."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNCLEAR = "unclear"


class Idempotency(StrEnum):
    """What a supplier does with a number it has seen: return that order, refuse it, buy again."""

    REPLAY = "replay"
    REFUSE = "refuse"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Features:
    """What an adapter can do, so that the core never branches on a name (docs/adapters.md)."""

    title: str
    kind: str
    approval: str = ""
    automatic: str = ""
    proved: str = ""
    pull: bool = False
    window_max_ms: int = 3_600_000
    lag_ms: int = 2_000
    overlap_ms: int = 60_000
    mark_shipped: bool = False
    shipped_repeat: Repeat = Repeat.NONE
    notes: bool = False
    push_stock: bool = False
    shelf: bool = False
    refund_reply: bool = False
    ship_file: bool = False
    reread: bool = False
    repeat: Repeat = Repeat.NONE
    repeat_max: int = 1
    grace_ms: int = 120_000
    text_max: int | None = None
    quota: tuple[Quota, ...] = ()
    attachments: bool = False
    by_hand: bool = False
    needs_email: bool = False
    parallel: int = 1
    idempotency: Idempotency = Idempotency.NONE
    query_by: str = ""
    price_guard: bool = False
    poll_ms: int = 3_000
    credentials: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What an adapter is built from: its name, options, opened credentials, folders.

    `channel` is given to couriers that speak through the channel itself (notes).
    """

    name: str
    options: Mapping[str, object]
    credentials: Mapping[str, Secret]
    clock: Clock
    zone: str
    currency: str
    inbox: Path
    exports: Path
    templates: Path | None = None
    channel: Channel | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A pull window `[from_ms, to_ms)` in UTC milliseconds, frozen at the start of a run."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Buyer:
    """What the channel tells of the buyer. `ref` is the stable id if there is one, else empty."""

    ref: str = ""
    name: str = ""
    email: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True)
class RefundFact:
    """One refund or after-sale case. `state`: open, done or ended (without money going back)."""

    number: str
    amount_minor: int
    state: str
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LineFact:
    """One item of an order. `amount_minor` is what the shop gets for the whole line before fees."""

    line_no: str
    item_id: str
    variant_id: str
    title: str
    quantity: int
    amount_minor: int
    account: str = ""


@dataclass(frozen=True, slots=True)
class OrderFact:
    """What a channel says of one order at `revision_ms` (its modified time, UTC ms).

    `expected_gross_minor` is the figure the channel will print as order amount on its statement.
    `risk` is the channel's own flag, empty when there is none. `stock_lowered` says of an unpaid
    order that the channel has counted its own stock figure down for it: a figure told later takes
    the place of that. False where it does not, or keeps such stock apart from the figure.
    """

    number: str
    revision_ms: int
    status: OrderStatus
    refund: RefundState
    currency: str
    total_minor: int
    lines: tuple[LineFact, ...]
    created_ms: int
    paid_ms: int | None = None
    refunds: tuple[RefundFact, ...] = ()
    buyer: Buyer = field(default_factory=Buyer)
    expected_gross_minor: int | None = None
    ext_txn_id: str = ""
    risk: str = ""
    note: str = ""
    stock_lowered: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a pull. The cursor moves only with the window's last page (`last`)."""

    orders: tuple[OrderFact, ...]
    last: bool
    rejects: tuple[str, ...] = ()
    done: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing listed at a channel."""

    item_id: str
    variant_id: str
    title: str
    sku_hint: str = ""
    price_minor: int | None = None
    quantity: int | None = None
    on_shelf: bool = True


@dataclass(frozen=True, slots=True)
class StockPush:
    """An absolute figure for one listing."""

    item_id: str
    variant_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class OrderRef:
    """Names an order at its channel for a write; `effect_id` is our identity of that write."""

    number: str
    effect_id: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a message: what is sold as a picture. `data` is as secret as a key."""

    name: str
    media_type: str
    data: Secret


@dataclass(frozen=True, slots=True)
class Message:
    """What a courier hands to a buyer. `text` holds keys: treat it as a secret, never log it.

    `effect_id` is the same on every attempt; `marker` is a short text inside `text` by which the
    message can be found again on the other side.
    """

    effect_id: str
    channel: str
    order_number: str
    subject: str
    text: Secret
    marker: str
    buyer: Buyer
    keys: tuple[Secret, ...] = ()
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof that a write happened: what the other side answered, without secrets."""

    reference: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AuthReport:
    """What `channel test` shows."""

    ok: bool
    detail: str
    skew_ms: int | None = None


class Channel(Protocol):
    """A place where orders come from. Methods a channel cannot do are announced by `features`."""

    @property
    def features(self) -> Features:
        """Return what this channel can do."""

    def auth_check(self) -> AuthReport:
        """Ask one harmless question; raises `NeedsOperator` when the credentials do not work."""

    def list_changed(self, window: Window) -> Iterator[Page]:
        """Yield the orders changed in the window, whole pages, in an order that skips none."""

    def acknowledge(self, page: Page) -> None:
        """Learn that a page is stored (a file may be moved away). Called outside transactions."""

    def get_order(self, number: str) -> OrderFact | None:
        """Read one order and its refunds again; None when the channel does not know it."""

    def mark_shipped(self, order: OrderRef) -> Receipt:
        """Set the order to shipped."""

    def query_shipped(self, order: OrderRef) -> Verdict:
        """Ask whether the order is shipped."""

    def post_note(self, message: Message) -> Receipt:
        """Write a note that the buyer gets."""

    def find_note(self, message: Message) -> Verdict:
        """Ask whether that note is there already."""

    def ship_file(self, numbers: Sequence[str]) -> Path:
        """Write a batch-ship file in the platform's upload form and return where it lies."""

    def list_items(self) -> Iterable[Item]:
        """Yield what is listed, for mapping to products."""

    def push_stock(self, items: Sequence[StockPush]) -> None:
        """Set absolute quantities."""

    def set_shelf(self, item_id: str, variant_id: str, *, on: bool) -> None:
        """Put a listing on or off the shelf."""


class RefundDesk(Protocol):
    """What a channel can do as well that announces `refund_reply`: answer a request for a refund.

    Whether an answer arrived is asked by reading the order again.
    """

    def reply_refund(
        self, order: OrderRef, refund_number: str, *, agree: bool, text: str
    ) -> Receipt:
        """Agree to an open refund, or refuse it; `text` is for the buyer and may be empty."""


class Courier(Protocol):
    """A way by which the key text reaches the buyer."""

    @property
    def features(self) -> Features:
        """Return how this route repeats, probes and limits."""

    def refusal(self, message: Message) -> str:
        """Return why this route cannot carry that message (no address …), empty when it can."""

    def send(self, message: Message) -> Receipt:
        """Send. Raises `Retriable`, `Rejected`, `NeedsOperator` (not sent) or `Unknown`."""

    def query(self, message: Message) -> Verdict:
        """Ask whether that message arrived."""


@dataclass(frozen=True, slots=True)
class PurchaseOrder:
    """What a supplier is asked for. `our_no` is the same on every try of one purchase.

    `product` is the supplier's own id, `cap_minor` the most that the whole may cost.
    """

    our_no: str
    product: str
    quantity: int
    account: str
    cap_minor: int
    currency: str


class Progress(StrEnum):
    """How far a supplier is with an order it accepted."""

    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Purchased:
    """What a supplier says of an order it accepted, without secrets.

    `agreed_minor` is the price it confirmed, `charged_minor` what it took (None: not said yet).
    """

    their_no: str
    progress: Progress
    agreed_minor: int | None = None
    charged_minor: int | None = None
    at_ms: int | None = None
    proof: str = ""


class Supplier(Protocol):
    """Somebody who sells to the shop through an interface. One call at a time per account."""

    @property
    def features(self) -> Features:
        """Return how it repeats (`idempotency`), finds (`query_by`: ours, theirs, both, empty)."""

    def auth_check(self) -> AuthReport:
        """Ask one harmless question; raises `NeedsOperator` when the credentials do not work."""

    def balance(self) -> int:
        """Return the money the shop has there, in minor units."""

    def place(self, order: PurchaseOrder) -> Purchased:
        """Buy. Raises `Rejected`, `Retriable`, `NeedsOperator` (nothing bought) or `Unknown`."""

    def query(self, our_no: str) -> Purchased | None:
        """Look an order up by our number; None when the supplier does not know it."""


class Notifier(Protocol):
    """A way by which the owner hears of an alert."""

    def notify(self, subject: str, text: str) -> None:
        """Tell the owner; raises `OutsideError` when it cannot."""
