"""The evidence sheet as a page and as text: self-contained, nothing is loaded, nothing runs.

The page carries a policy that forbids everything but its own style. All that comes from outside is
escaped; a text keeps its lines.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from kmtool.domain.money import format_minor

Facts = dict[str, Any]
Rows = Sequence[Sequence[object]]

_STYLE = (
    "body{font:14px/1.5 'Microsoft YaHei',sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}"
    "table{border-collapse:collapse;width:100%}"
    "td,th{border:1px solid #bbb;padding:.2em .5em;text-align:left;vertical-align:top;"
    "overflow-wrap:anywhere}th{background:#eee}"
    "pre{background:#f6f6f6;padding:.8em;white-space:pre-wrap;overflow-wrap:anywhere}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"

_WORDS = {
    "title": ("Evidence of order {number}", "订单 {number} 发货证据"),
    "shop": ("Shop", "店铺"),
    "channel": ("Channel", "渠道"),
    "order": ("Order", "订单号"),
    "buyer": ("Buyer", "买家"),
    "contact": ("Contact", "联系方式"),
    "status": ("The channel says", "渠道状态"),
    "refund": ("Refund", "退款状态"),
    "total": ("Paid", "实付"),
    "refunded": ("Paid back", "已退"),
    "created": ("Ordered", "下单时间"),
    "paid": ("Paid at", "付款时间"),
    "seen": ("Seen by the shop", "店铺收到时间"),
    "marked": ("Marked shipped", "标记发货时间"),
    "lines": ("What was bought", "商品"),
    "keys": ("Keys", "卡密"),
    "effects": ("What was sent, and what answered", "发送记录"),
    "journal": ("Records of the send journal", "发送日志"),
    "refunds": ("Refunds", "退款"),
    "decisions": ("Decisions", "处理结果"),
    "replacements": ("Replacements", "换货"),
    "story": ("What happened", "经过"),
    "line": ("Line", "行"),
    "item": ("Item", "商品"),
    "quantity": ("Pcs", "数量"),
    "amount": ("Amount", "金额"),
    "state": ("State", "状态"),
    "reserved": ("Bound", "配卡"),
    "sent": ("Sent", "发出"),
    "acknowledged": ("Confirmed", "确认"),
    "delivered": ("Delivered", "送达"),
    "key": ("Key", "卡密"),
    "digest": ("Digest (HMAC)", "摘要 (HMAC)"),
    "try": ("Try", "次"),
    "began": ("Began", "开始"),
    "ended": ("Ended", "结束"),
    "outcome": ("Outcome", "结果"),
    "answer": ("Answer", "对方回应"),
    "hmac": ("Payload (HMAC)", "内容摘要 (HMAC)"),
    "record": ("Record", "序号"),
    "kind": ("Kind", "类型"),
    "session": ("Session", "会话"),
    "number": ("Number", "编号"),
    "at": ("At", "时间"),
    "reason": ("Reason", "原因"),
    "bad": ("Bad key", "坏卡"),
    "new": ("New key", "新卡"),
    "what": ("What", "事项"),
    "detail": ("Detail", "说明"),
    "text": ("Text as it was sent, keys masked unless it was asked otherwise",
             "发送原文（卡密已打码，除非要求完整显示）"),
}  # fmt: skip

_CODES = {
    "unpaid": ("not paid", "未付款"),
    "paid": ("paid", "已付款"),
    "review": ("under review", "审核中"),
    "shipped": ("shipped", "已发货"),
    "done": ("done", "已完成"),
    "none": ("none", "无"),
    "open": ("asked for", "退款申请中"),
    "partial": ("in part", "部分退款"),
    "full": ("in full", "已全额退款"),
    "refused": ("refused", "已拒绝"),
    "new": ("new", "新"),
    "ready": ("ready", "待发"),
    "reserved": ("key bound", "已配卡"),
    "sending": ("being sent", "发送中"),
    "delivered": ("delivered", "已送达"),
    "held": ("waits", "暂停"),
    "unmapped": ("not mapped", "未映射"),
    "unknown": ("outcome unclear", "结果不明"),
    "human": ("is looked at", "人工处理中"),
    "cancelled": ("cancelled", "已取消"),
    "refund_case": ("refund asked after delivery", "发货后申请退款"),
    "closed": ("closed", "已关闭"),
    "exposed": ("may have been seen", "可能已被看到"),
    "defective": ("bad key", "坏卡"),
    "replaced": ("replaced", "已换"),
    "void": ("void", "已作废"),
    "ok": ("accepted", "成功"),
    "rejected": ("refused, not sent", "被拒，未发出"),
    "intent": ("begun", "已开始"),
    "pending": ("waits", "待处理"),
    "inflight": ("under way", "进行中"),
    "retry_at": ("tried again later", "稍后重试"),
    "hand_over": ("the keys", "发卡"),
    "replace": ("a replacement", "换卡"),
    "notify": ("a message", "通知"),
    "mark_shipped": ("marked shipped", "标记发货"),
    "refund_reply": ("answer to the refund", "答复退款"),
    "purchase": ("the top-up", "充值"),
    "order_seen": ("order seen", "看到订单"),
    "redeliver": ("sent again", "重发"),
    "order_note": ("note", "备注"),
    "release": ("released", "放行"),
    "hold": ("held", "扣住"),
}
"""The codes of the records in words; a code that is not here stands as it is."""


def html(found: Facts, *, chinese: bool) -> str:
    """Return the page."""
    words = _words(chinese)
    title = escape(words["title"].format(number=found["order"]))
    parts = [
        '<!doctype html>\n<html lang="' + ("zh-CN" if chinese else "en") + '">\n<head>',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
    ]
    for name, head, rows, texts in _sections(found, words):
        parts.append(f"<h2>{escape(name)}</h2>" if name else "")
        parts.append(_table(head, rows))
        parts += [f"<pre>{escape(text)}</pre>" for text in texts]
    return "\n".join(part for part in parts if part) + "\n</body>\n</html>\n"


def text(found: Facts, *, chinese: bool) -> str:
    """Return the sheet as text."""
    words = _words(chinese)
    out = [words["title"].format(number=found["order"])]
    for name, head, rows, texts in _sections(found, words):
        out += ["", f"== {name} =="] if name else [""]
        for row in rows:
            cells = [f"{h}: {_flat(cell)}" if h else _flat(cell)
                     for h, cell in zip(head, row, strict=True) if _flat(cell)]  # fmt: skip
            out.append(("" if not name else "- ") + " · ".join(cells))
        for one in texts:
            out += ["", *(f"    {line}" for line in one.splitlines())]
    return "\n".join(_plain(line) for line in out) + "\n"


def _sections(
    found: Facts, words: dict[str, str]
) -> Iterator[tuple[str, list[str], Rows, list[str]]]:
    """Yield (title, head, rows, texts) of every part that has something to say."""
    w, currency = words, found["currency"]
    yield "", ["", ""], _head(found, words), []
    yield w["lines"], _titles(w, "line item quantity amount state reserved sent acknowledged"), [
        (x["line"], f"{x['title']} {x['sku']}".strip(), x["quantity"],
         format_minor(x["amount"], currency), _said(x["state"], w),
         *(x["times"][name] for name in ("reserved", "sent", "acknowledged")))
        for x in found["lines"]
    ], []  # fmt: skip
    if found["keys"]:
        yield w["keys"], _titles(w, "line key state sent delivered digest"), [
            (k["line"], k["key"], _said(k["state"], w), k["sent"], k["delivered"], k["digest"])
            for k in found["keys"]
        ], []  # fmt: skip
    for effect in found["effects"]:
        what = _said(effect["what"], w)
        name = f"{w['effects']}: {what} {effect['parcel']}-{effect['generation']}"
        rows = [
            (a["n"], a["began"], a["ended"], _said(a["outcome"], w),
             f"{a['reference']} {a['answer']}".strip(), a["payload_hmac"])
            for a in effect["attempts"]
        ]  # fmt: skip
        head = _titles(w, "try began ended outcome answer hmac")
        yield (
            f"{name} · {effect['route']} · {_said(effect['state'], w)}",
            head,
            rows,
            ([effect["text"]] if effect["text"] else []),
        )
    yield from _more(found, words)


def _more(found: Facts, w: dict[str, str]) -> Iterator[tuple[str, list[str], Rows, list[str]]]:
    currency = found["currency"]
    tables: tuple[tuple[str, str, list[tuple[object, ...]]], ...] = (
        ("journal", "record kind line key session",
         [(j["record"], j["kind"], j["line"], j["key"], j["session"]) for j in found["journal"]]),
        ("refunds", "number amount state at seen",
         [(r["number"], format_minor(r["amount"], currency), _said(r["state"], w), r["at"],
           r["seen"]) for r in found["refunds"]]),
        ("decisions", "at answer amount reason",
         [(d["at"], d["answer"], format_minor(d["amount"], currency), d["reason"])
          for d in found["decisions"]]),
        ("replacements", "line bad new at reason",
         [(r["line"], r["bad_key"], r["new_key"], r["at"], r["reason"])
          for r in found["replacements"]]),
        ("story", "at what detail",
         [(s["at"], _said(s["what"], w), _first_said(s["detail"], w)) for s in found["story"]]),
    )  # fmt: skip
    for name, titles, rows in tables:
        if rows:
            yield w[name], _titles(w, titles), rows, []


def _head(found: Facts, words: dict[str, str]) -> Rows:
    rows: list[tuple[object, ...]] = [
        (words[name], found[name]) for name in ("shop", "channel", "order", "buyer", "contact")
    ]
    rows += [(words[name], _said(found[name], words)) for name in ("status", "refund")]
    rows += [
        (words[name], format_minor(found[name], found["currency"]))
        for name in ("total", "refunded")
    ]
    rows += [(words[name], at) for name, at in found["times"].items()]
    return rows


def _words(chinese: bool) -> dict[str, str]:
    said = {f"code {code}": both[chinese] for code, both in _CODES.items()}
    return {name: both[chinese] for name, both in _WORDS.items()} | said


def _first_said(detail: str, words: dict[str, str]) -> str:
    code, space, rest = detail.partition(" ")
    return _said(code, words) + space + rest


def _said(code: str, words: dict[str, str]) -> str:
    return words.get(f"code {code}", code)


def _titles(words: dict[str, str], names: str) -> list[str]:
    return [words[name] for name in names.split()]


def _table(head: Sequence[str], rows: Rows) -> str:
    if not rows:
        return ""
    top = "".join(f"<th>{escape(title)}</th>" for title in head) if any(head) else ""
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(_flat(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table>\n{'<tr>' + top + '</tr>' if top else ''}{body}\n</table>"


def _flat(cell: object) -> str:
    return "" if cell is None else str(cell)


def _plain(line: str) -> str:
    """Leave out what a terminal would obey when somebody looks at the file there."""
    return "".join(c for c in line if c.isprintable() or c == "\t")
