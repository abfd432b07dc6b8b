"""What WordPress makes of a note: as it is stored, and as the buyer reads it."""

from __future__ import annotations

import html
import re


def filtered(text: str) -> str:
    """Return a note as the server stores it: one level of backslashes and most tags are gone."""
    text = re.sub(r"\\(.)", r"\1", text.replace("\\\\", "\x00"), flags=re.DOTALL)
    text = text.replace("\x00", "\\")
    text = re.sub(r"&(?!#?\w+;)", "&amp;", text)
    text = re.sub(r"&#(\d+);", lambda found: f"&#{int(found[1]):03d};", text)
    text = re.sub(r"<(?!/?(code|pre|a|b)\b|!--)/?[A-Za-z][^>]*>", "", text)
    return re.sub(r"<(?![/!A-Za-z])", "&lt;", text)


def buyer_reads(note: str) -> str:
    """Return a note as the buyer reads it in the account page and in the HTML mail."""
    shown = []
    for part in re.split(r"(<(?:code|pre)>.*?</(?:code|pre)>)", note, flags=re.DOTALL):
        whole = part
        if not part.startswith(("<code>", "<pre>")):
            whole = re.sub(r"<!--.*?-->", "", whole)
            for ugly, pretty in (
                ("---", "—"), ("--", "–"), ("...", "…"), ("``", "“"), ("''", "”"), (" (tm)", " ™"),
                ("'", "’"), ('"', "”"), (" - ", " – "),
            ):  # fmt: skip
                whole = "".join(
                    piece if piece.startswith("<") else piece.replace(ugly, pretty)
                    for piece in re.split(r"(<[^>]*>)", whole)
                )
            whole = re.sub(r"\b(\d+)x(\d+)\b", r"\1×\2", whole)
        if not part.startswith("<pre>"):
            whole = re.sub(r"[ ]{2,}", " ", whole)
        shown.append(html.unescape(re.sub(r"</?[a-z][^>]*>", "", whole)))
    return "".join(shown)
