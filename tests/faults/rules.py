"""What each way in which a send can go wrong has to mean: the rules that the fault tests hold.

They follow from two facts only: where on the way the fault lies, and what the call is for. No rule
looks at the program. `acted` is what the other side did; whoever says 「not sent」 of what was done
sells it twice.

    write   changes something there: a message, 「shipped」, an answer, stock, shelf, a purchase
    read    changes nothing: it may be read again
    ask     a read that answers 「did it happen?」: in trouble it says nothing, least of all 「no」
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Means(StrEnum):
    """What the caller has to know of a call that went wrong."""

    NOT_SENT = "not sent"
    """Definitely not done; it is tried again by itself."""
    WAIT = "wait"
    """Definitely not done; tried again when the other side wants it, or after its usual pause."""
    REFUSED = "refused"
    """Definitely not done, and it will not be: the next route, else a person."""
    PERSON = "person"
    """Definitely not done before a person acted (login, scope)."""
    UNKNOWN = "unknown"
    """It may have happened: ask, repeat where the route bears it, else a person."""
    AGAIN = "again"
    """Not read; it is read again by itself."""
    NO_ANSWER = "no answer"
    """Not told whether it happened; it is asked again."""
    DONE = "done"


class Nature(StrEnum):
    """What a call is for."""

    WRITE = "write"
    READ = "read"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Phase:
    """A way to go wrong: what it is called, what happens, whether the other side has acted."""

    name: str
    says: str
    acted: bool
    write: Means
    read: Means = Means.AGAIN

    def means(self, nature: Nature) -> Means:
        """Return what a call of this nature must be taken for."""
        if nature is Nature.ASK:
            return Means.NO_ANSWER
        return self.write if nature is Nature.WRITE else self.read


_N, _W, _R = Means.NOT_SENT, Means.WAIT, Means.REFUSED
_P, _U, _A = Means.PERSON, Means.UNKNOWN, Means.AGAIN
NO, YES = False, True

HTTP: tuple[Phase, ...] = (
    # No connection: not a byte has left.
    Phase("refused", "connection refused", NO, _N),
    Phase("connect_timeout", "no answer to the connection (time-out)", NO, _N),
    # A connection, and then no reply. Nobody here can tell how far the request came.
    Phase("closed_at_once", "accepted, then closed before reading", NO, _U),
    Phase("reset_at_once", "accepted, then reset before reading", NO, _U),
    Phase("closed_after_head", "closed after the request's headers", NO, _U),
    Phase("closed_in_request", "closed in the middle of the request's body", NO, _U),
    Phase("closed_before_act", "whole request read, closed without acting", NO, _U),
    Phase("reset_before_act", "whole request read, reset without acting", NO, _U),
    Phase("closed_after_act", "acted, closed before replying", YES, _U),
    Phase("reset_after_act", "acted, reset before replying", YES, _U),
    Phase("slow_before_act", "no reply within the read time-out, never acts", NO, _U),
    Phase("slow_after_act", "acted, no reply within the read time-out", YES, _U),
    Phase("late_act", "acts when we have long given up", YES, _U),
    # A reply that is not whole, or not HTTP.
    Phase("cut_status_line", "acted, closed within the reply's first line", YES, _U),
    Phase("cut_head", "acted, closed in the middle of the reply's headers", YES, _U),
    Phase("cut_body", "acted, closed in the middle of the reply's body", YES, _U),
    Phase("cut_chunks", "acted, closed between the chunks of the reply", YES, _U),
    Phase("reset_in_body", "acted, reset in the middle of the reply's body", YES, _U),
    Phase("dripping_head", "acted, the reply's headers come drop by drop for ever", YES, _U),
    Phase("dripping", "acted, the reply comes drop by drop for ever", YES, _U),
    Phase("no_http", "a first line that is not HTTP, without acting", NO, _U),
    Phase("no_http_after", "acted, a first line that is not HTTP", YES, _U),
    Phase("length_long", "acted, Content-Length larger than the body", YES, _U),
    Phase("length_short", "acted, Content-Length smaller than the body", YES, _U),
    Phase("length_no_number", "acted, Content-Length is no number", YES, _U),
    Phase("length_twice", "acted, two different Content-Lengths", YES, _U),
    Phase("gzip_garbage", "acted, said to be gzip and is not", YES, _U),
    Phase("gzip_cut", "acted, gzip that ends too early", YES, _U),
    Phase("packed_otherwise", "acted, packed in a way nobody asked for", YES, _U),
    Phase("too_large", "acted, a reply without measure", YES, _U, _R),
    # A whole reply with a status.
    Phase("s500", "500 without acting", NO, _U),
    Phase("s500_after", "500 after acting", YES, _U),
    Phase("s502", "502 without acting", NO, _U),
    Phase("s502_after", "502 after acting", YES, _U),
    Phase("s503", "503 with Retry-After, without acting", NO, _U, _W),
    Phase("s503_after", "503 after acting", YES, _U),
    Phase("s504", "504 without acting", NO, _U),
    Phase("s504_after", "504 after acting", YES, _U),
    Phase("s429_wait", "429 with Retry-After", NO, _W, _W),
    Phase("s429", "429 without Retry-After", NO, _N),
    Phase("s301", "301 to another address", NO, _U, _P),
    Phase("s302_after", "302 to another address after acting", YES, _U, _P),
    Phase("s307", "307 to another address", NO, _U, _P),
    Phase("s401", "401", NO, _P, _P),
    Phase("s403", "403", NO, _P, _P),
    Phase("s407", "407 of a proxy", NO, _P, _P),
    Phase("refused_by_book", "a refusal that the documents name", NO, _R, _R),
    Phase("s404", "404 with a page of HTML", NO, _U, _R),
    Phase("s404_after", "404 with a page of HTML after acting", YES, _U, _R),
    Phase("s408", "408 to a request that was whole", NO, _U),
    Phase("s408_after", "408 after acting", YES, _U),
    Phase("s409_odd", "409 with a code that no document names", NO, _U, _R),
    Phase("s409_odd_after", "409 with a code that no document names, after acting", YES, _U, _R),
    # A whole reply that says 200 and nothing of use.
    Phase("html", "200 with a page of HTML, without acting", NO, _U),
    Phase("html_after", "200 with a page of HTML after acting", YES, _U),
    Phase("empty", "200 with nothing in it, without acting", NO, _U),
    Phase("empty_after", "200 with nothing in it after acting", YES, _U),
    Phase("no_content_after", "204 after acting", YES, _U),
    Phase("half_json", "200 with half of the JSON, after acting", YES, _U),
    Phase("odd_code", "200 with a business code that no document names", NO, _U),
    Phase("odd_code_after", "200 with such a code after acting", YES, _U),
    Phase("other_object", "200 with an object of another shape", NO, _U),
    Phase("other_rows", "200 with a list of other objects", NO, _U),
    Phase("other_list", "200 with a list of numbers", NO, _U),
    Phase("other_text", "200 with a JSON text", NO, _U),
    Phase("null", "200 with null", NO, _U),
    Phase("hollow", "200 in the documented envelope, with nothing in it", NO, _U),
)
"""Faults of HTTP. Where the reply is made up, it says nothing of the kind that is documented."""

TLS: tuple[Phase, ...] = (
    # No byte of a request leaves before both sides are who they say they are.
    Phase("tls_closed", "closed within the handshake", NO, _N),
    Phase("tls_reset", "reset within the handshake", NO, _N),
    Phase("tls_hang", "no answer to the handshake", NO, _N),
    Phase("tls_garbage", "an answer to the handshake that is not TLS", NO, _N),
    Phase("tls_stranger", "a certificate that nobody trusts", NO, _P, _P),
)
"""Faults of the handshake of https."""

SMTP: tuple[Phase, ...] = (
    # Up to the answer to DATA nothing of the message has left.
    Phase("refused", "connection refused", NO, _N),
    Phase("connect_timeout", "no answer to the connection (time-out)", NO, _N),
    Phase("banner_closed", "accepted, then closed without a greeting", NO, _N),
    Phase("banner_reset", "accepted, then reset", NO, _N),
    Phase("banner_missing", "no greeting within the time-out", NO, _N),
    Phase("banner_drip", "a greeting that comes drop by drop for ever", NO, _N),
    Phase("banner_half", "closed within the greeting", NO, _N),
    Phase("banner_other", "greets with something that is not SMTP", NO, _N),
    Phase("banner_4xx", "greets with 421", NO, _N),
    Phase("banner_5xx", "greets with 554", NO, _P),
    Phase("ehlo_closed", "closed after EHLO", NO, _N),
    Phase("ehlo_hang", "no answer to EHLO", NO, _N),
    Phase("ehlo_4xx", "421 to EHLO and to HELO", NO, _N),
    Phase("ehlo_5xx", "550 to EHLO and to HELO", NO, _P),
    Phase("starttls_missing", "STARTTLS is not offered", NO, _P),
    Phase("starttls_4xx", "454 to STARTTLS", NO, _N),
    Phase("starttls_5xx", "554 to STARTTLS", NO, _P),
    Phase("starttls_closed", "closed after STARTTLS", NO, _N),
    Phase("starttls_garbage", "no TLS after STARTTLS", NO, _N),
    Phase("starttls_stranger", "a certificate that nobody trusts", NO, _P),
    Phase("auth_missing", "no login is offered", NO, _P),
    Phase("auth_4xx", "454 to AUTH", NO, _N),
    Phase("auth_5xx", "535 to AUTH", NO, _P),
    Phase("auth_closed", "closed after AUTH", NO, _N),
    Phase("mail_4xx", "451 to MAIL", NO, _N),
    Phase("mail_5xx", "550 to MAIL (the sender)", NO, _P),
    Phase("mail_size", "552 to MAIL (too large)", NO, _R),
    Phase("mail_closed", "closed after MAIL", NO, _N),
    Phase("mail_hang", "no answer to MAIL", NO, _N),
    Phase("mail_drip", "an answer to MAIL that comes drop by drop for ever", NO, _N),
    Phase("rcpt_4xx", "450 to RCPT", NO, _N),
    Phase("rcpt_5xx", "550 to RCPT (the address)", NO, _R),
    Phase("rcpt_login", "530 to RCPT (login wanted)", NO, _P),
    Phase("rcpt_closed", "closed after RCPT", NO, _N),
    Phase("rcpt_half", "closed within the answer to RCPT", NO, _N),
    Phase("data_4xx", "451 to DATA", NO, _N),
    Phase("data_5xx", "554 to DATA", NO, _R),
    Phase("data_250", "250 to DATA instead of 354", NO, _N),
    Phase("data_closed", "closed after DATA", NO, _N),
    Phase("data_half", "closed within the answer to DATA", NO, _N),
    # From then on only the final reply decides.
    Phase("text_no_reader", "354, then closed before reading the text", NO, _U),
    Phase("text_half_read", "closed in the middle of the text", NO, _U),
    Phase("text_reset", "reset in the middle of the text", NO, _U),
    Phase("dot_closed", "closed after the dot, not taken", NO, _U),
    Phase("dot_closed_after", "taken, closed before the reply", YES, _U),
    Phase("dot_reset_after", "taken, reset before the reply", YES, _U),
    Phase("dot_hang_after", "taken, no reply within the time-out", YES, _U),
    Phase("dot_drip_after", "taken, a reply that comes drop by drop for ever", YES, _U),
    Phase("dot_half_after", "taken, closed within the reply's code", YES, _U),
    Phase("dot_half_line", "taken, closed behind the reply's code", YES, _U),
    Phase("dot_half_lines", "taken, closed between the lines of the reply", YES, _U),
    Phase("dot_other_after", "taken, a reply that is not SMTP", YES, _U),
    Phase("dot_3xx_after", "taken, a code that is none of a final reply", YES, _U),
    Phase("dot_4xx", "451 after the dot", NO, _N),
    Phase("dot_421", "421 after the dot, and closed", NO, _N),
    Phase("dot_5xx", "554 after the dot", NO, _R),
    Phase("quit_closed", "taken and said so, closed instead of the farewell", YES, Means.DONE),
    Phase("quit_hang", "taken and said so, no answer to QUIT", YES, Means.DONE),
)
"""Faults of SMTP. A mail goes to one recipient, so its refusal is the refusal of the mail."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something an adapter does outside. `leg` is what goes wrong when it makes several calls."""

    adapter: str
    name: str
    nature: Nature
    wire: str = "http"
    leg: str = ""

    @property
    def title(self) -> str:
        """Return how the act is called in the table."""
        return f"{self.name} ({self.leg})" if self.leg else self.name

    def phases(self) -> tuple[Phase, ...]:
        """Return the ways in which it can go wrong."""
        return {"http": HTTP, "https": TLS, "smtp": SMTP}[self.wire]


_SHOP = (
    ("test the login", Nature.READ, ""),
    ("pull orders", Nature.READ, ""),
    ("read an order", Nature.READ, ""),
    ("write a message", Nature.WRITE, ""),
    ("find a message", Nature.ASK, ""),
    ("mark shipped", Nature.WRITE, ""),
    ("ask whether shipped", Nature.ASK, ""),
    ("list the items", Nature.READ, ""),
    ("push stock", Nature.WRITE, ""),
    ("move a listing on the shelf", Nature.WRITE, ""),
)

ACTS: tuple[Act, ...] = (
    *(Act("channel/woocommerce", name, nature, leg=leg) for name, nature, leg in _SHOP),
    Act("channel/woocommerce", "pull orders", Nature.READ, leg="a later page"),
    Act("channel/woocommerce", "read an order", Nature.READ, leg="its refunds"),
    Act("channel/woocommerce", "mark shipped", Nature.READ, leg="its look before"),
    Act("channel/woocommerce", "write a message", Nature.WRITE, "https", "over https"),
    Act("channel/woocommerce", "pull orders", Nature.READ, "https", "over https"),
    *(Act("channel/demo", name, nature, leg=leg) for name, nature, leg in _SHOP),
    Act("channel/demo", "pull orders", Nature.READ, leg="a later page"),
    Act("channel/demo", "answer a refund", Nature.WRITE),
    Act("channel/demo", "ask about the answer", Nature.ASK),
    Act("courier/channel_note", "hand over", Nature.WRITE),
    Act("courier/channel_note", "ask", Nature.ASK),
    Act("courier/demo", "hand over", Nature.WRITE),
    Act("courier/demo", "ask", Nature.ASK),
    Act("courier/email", "hand over", Nature.WRITE, "smtp"),
    Act("supplier/demo", "test the login", Nature.READ),
    Act("supplier/demo", "read the balance", Nature.READ),
    Act("supplier/demo", "buy", Nature.WRITE),
    Act("supplier/demo", "ask about a purchase", Nature.ASK),
    Act("notifier/email", "tell the owner", Nature.WRITE, "smtp"),
)
"""Everything that adapters do outside. The tests hold that no adapter and no act is missing."""

SILENT = {
    "channel/file": "reads and writes files of this machine",
    "courier/by_hand": "sends nothing: a person does",
}
"""Adapters that speak to nobody outside; statements are files, and none of them speaks either."""

INTRODUCTION = """
Whatever adapters do outside — {acts} acts — goes wrong here in every way a connection can: a server
on loopback drops, stalls or spoils each step. What the program has to take it for follows from
where on the way it broke and from what the call is for; the tests hold all {pairs} pairs of act and
fault (`tests/faults`, `python -m bench sendfaults`) and look over there what was really done. 「Not
sent」 of something that was done would sell it twice: no row may say so.

Then whole orders meet each fault in each state: at the first send, at the send after an unclear
one, at the question whether it happened, and when another sender takes over before the outcome is
written. Where a route can be asked, the buyer gets one message whatever happens; a mail, which
nobody can ask about, may come again with the same text and the same Message-ID.
"""

NEXT = {
    Means.NOT_SENT: "nothing left the house: the same text goes again by itself",
    Means.WAIT: "as before, not earlier than the other side wants",
    Means.REFUSED: "the next route of the channel, else a person",
    Means.PERSON: "tried again with growing pauses; `kmtool order why` says what is missing",
    Means.UNKNOWN: "asked about; the same text again where the route bears it, else a person",
    Means.AGAIN: "read again; the pull's cursor stays, and nothing leaves unread",
    Means.NO_ANSWER: "asked again; it counts neither as 「done」 nor as 「not done」",
    Means.DONE: "it is done",
}
