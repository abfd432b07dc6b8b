"""A simulated shop on loopback, with faults on request: what `kmtool demo` and the tests sell at.

It behaves like a marketplace, keeps the truth (what each buyer received, which orders are shipped)
and is seeded and disturbed only by the process that runs it; there is no control over HTTP.

The platform's rules, as its documents would state them
-------------------------------------------------------
- Every call carries `X-Demo-Token`, `X-Demo-Time` (epoch seconds, ±300 s) and `X-Demo-Sign`: lower
  hex HMAC-SHA256(secret, text), text = method, path, query exactly as sent, time and hex SHA-256 of
  the body, joined by line feeds.
- Answers are JSON: `{"code": 0, "data": …}` or `{"code": n, "message": …}`; beside the HTTP status:
  401: 1001 signature, 1002 token, 1003 clock · 404: 2001 no such order, 2006 no such item ·
  409: 2002 order not paid, 2003 refund open, 2004 shipped already · 422: 2005 message empty or
  longer than 2,000 characters · 400: 3001 bad parameter · 429: 4001 too many calls (Retry-After).
- `GET /api/ping` → `{time_ms, shop}`
- `GET /api/orders?from=&to=&page=&size=` orders modified in [from, to), oldest first; page from 1,
  size ≤ 50 → `{total, pages, orders}`
- `GET /api/orders/N` one order with its refunds · `POST /api/orders/N/ship` `{request_id}`
- `GET /api/orders/N/messages` → `{messages: [{client_id, text, time_ms}]}` · `POST` the same with
  `{client_id, text}` sends to the buyer; every call sends, so who is in doubt reads the list first
- `POST /api/orders/N/refunds/R` `{request_id, agree, text}` answers an open refund; one that is not
  open: 409 2007; no such refund: 404 2008
- `GET /api/items` · `PUT /api/items/I/stock` `{variant, quantity}` absolute ·
  `PUT /api/items/I/shelf` `{variant, on}`
- Money is yuan text, times are epoch milliseconds, ids are text. Order states: WAIT_PAY, PAID,
  SHIPPED, FINISHED, CLOSED; refund states: APPLIED, REFUNDED, WITHDRAWN, REFUSED.
"""

from adapters.demo_shop.faults import Fault, FaultKind
from adapters.demo_shop.server import DemoShop
from adapters.demo_shop.supplying import Good
from adapters.demo_shop.truth import Offer, Sold, catalogue

__all__ = ["DemoShop", "Fault", "FaultKind", "Good", "Offer", "Sold", "catalogue"]
