"""How the simulated shop takes a seller's answer to a refund."""

from __future__ import annotations

from adapters.demo_shop.truth import Refusal, Truth


def answer_refund(shop: Truth, path: str, *, agree: object, text: str) -> None:
    """Agree to the refund `ORDER/refunds/REFUND`, or refuse it; only an open one can be answered.

    Agreeing sends the money back at once. The text reaches the buyer as a message.
    """
    number, _, refund_no = path.partition("/refunds/")
    if not isinstance(agree, bool):
        raise Refusal(400, 3001, "agree")
    with shop.lock:
        order = shop.find(number)
        known = order.refunds.get(refund_no)
        if known is None:
            raise Refusal(404, 2008, "no such refund")
        if known["state"] != "APPLIED":
            raise Refusal(409, 2007, "the refund is not open")
        shop.refund(order.number, state="REFUNDED" if agree else "REFUSED", refund_no=refund_no)
        order.refunds[refund_no]["answer"] = text
