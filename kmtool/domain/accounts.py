"""Rules for the account that a top-up charges: a product names one, a line's account must fit it.

A rule is a word (`phone-cn`, `qq`, `email`), `digits:6-12`, or `regex:3-20:PATTERN` (the length is
checked first, the pattern must fit the whole account). Buyers type what they like: an account is
tidied in the ways that cannot change whom it names, and refused otherwise.
"""

from __future__ import annotations

import re
import unicodedata

from kmtool.errors import marked, told

LENGTH_MAX = 128
EXAMPLE = "phone-cn | qq | email | digits:6-12 | regex:3-20:PATTERN"

_WORDS = {
    "phone-cn": (re.compile(r"1[3-9][0-9]{9}"), marked("11 digits that begin with 13 to 19")),
    "qq": (re.compile(r"[1-9][0-9]{4,10}"), marked("5 to 11 digits")),
    "email": (
        re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
        marked("an e-mail address"),
    ),
}
_DIGITS = re.compile(r"digits:([0-9]{1,3})-([0-9]{1,3})")
_PATTERN = re.compile(r"regex:([0-9]{1,3})-([0-9]{1,3}):(.+)", re.DOTALL)


def rule_problem(rule: str) -> str:
    """Return what is wrong with a rule, empty when it can be used."""
    if rule in _WORDS:
        return ""
    found = _DIGITS.fullmatch(rule) or _PATTERN.fullmatch(rule)
    if found is None:
        return told("{rule} is no rule for an account", rule=rule)
    if not 1 <= int(found[1]) <= int(found[2]) <= LENGTH_MAX:
        return told("an account has 1 to {n} characters, the shorter first", n=LENGTH_MAX)
    if found.re is _PATTERN:
        try:
            re.compile(found[3])
        except re.error as error:
            return told("the pattern cannot be read: {problem}", problem=error)
    return ""


def tidy(rule: str, account: str) -> str:
    """Return an account without what buyers add: full-width forms, spaces, +86 before a phone."""
    text = unicodedata.normalize("NFKC", account).strip()
    if rule == "phone-cn":
        text = re.sub(r"[\s-]", "", text)
        text = re.sub(r"^(?:(?:\+|00)86)+", "", text)
    elif rule == "qq" or rule.startswith("digits:"):
        text = re.sub(r"\s", "", text)
    return text if text.isascii() else unicodedata.normalize("NFKC", text).strip()


def refusal(rule: str, account: str) -> str:
    """Return why a tidied account does not fit a rule, empty when it does; the account is named."""
    if not account:
        return told("the order names no account to charge")
    shown = account if account.isprintable() else "…"
    if rule in _WORDS:
        pattern, words = _WORDS[rule]
        if len(account) <= LENGTH_MAX and pattern.fullmatch(account):
            return ""
        return told("「{account}」 is not {words}", account=shown[:40], words=told(words))
    found = _DIGITS.fullmatch(rule) or _PATTERN.fullmatch(rule)
    if found is None:
        return told("the product has no rule for accounts")
    least, most = int(found[1]), int(found[2])
    fits = least <= len(account) <= most and account.isprintable()
    if found.re is _DIGITS:
        fits = fits and account.isascii() and account.isdigit()
    else:
        fits = fits and re.fullmatch(found[3], account) is not None
    if fits:
        return ""
    return told("「{account}」 does not fit {rule}", account=shown[:40], rule=rule)
