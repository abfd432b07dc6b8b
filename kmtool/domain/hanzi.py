"""大写金额: amounts of yuan in the capital figures of Chinese vouchers, written and read back.

Rules after 《支付结算办法》附一 and 《会计基础工作规范》第五十二条, with one form where two
are allowed: behind an integer part 零 stands before 角 when the 元 digit is 0, and before 分 when
there is no 角; 整 closes an amount without 分. `read` takes the other official forms as well.
"""

from __future__ import annotations

PREFIX = "人民币"
LIMIT_MINOR = 999_999_999_999_999
_DIGITS = "零壹贰叁肆伍陆柒捌玖"
_UNITS = ("", "拾", "佰", "仟")
_SMALL = {"拾": 10, "佰": 100, "仟": 1000}


def write(amount_minor: int) -> str:
    """Return 分 as capital figures: 140950 is 人民币壹仟肆佰零玖元伍角整.

    Above the limit `ValueError`.
    """
    if abs(amount_minor) > LIMIT_MINOR:
        raise ValueError(amount_minor)
    minus = "负" if amount_minor < 0 else ""
    yuan, rest = divmod(abs(amount_minor), 100)
    jiao, fen = divmod(rest, 10)
    if yuan == 0 and rest == 0:
        return f"{PREFIX}零元整"
    text = f"{_whole(yuan)}元" if yuan else ""
    if jiao:
        text += ("零" if yuan and yuan % 10 == 0 else "") + f"{_DIGITS[jiao]}角"
    if fen:
        text += ("零" if yuan and not jiao else "") + f"{_DIGITS[fen]}分"
    else:
        text += "整"
    return f"{PREFIX}{minus}{text}"


def _whole(number: int) -> str:
    """Write an integer above 0; 零 stands before a part that does not fill its places."""
    for unit, size in (("亿", 10**8), ("万", 10**4)):
        if number >= size:
            high, low = divmod(number, size)
            return f"{_whole(high)}{unit}" + _after(low, size // 10)
    text, gap = "", False
    for place in (3, 2, 1, 0):
        digit = number // 10**place % 10
        if digit:
            text += ("零" if gap and text else "") + _DIGITS[digit] + _UNITS[place]
        gap = digit == 0
    return text


def _after(low: int, full: int) -> str:
    if low == 0:
        return ""
    return ("零" if low < full else "") + _whole(low)


def read(text: str) -> int:
    """Return capital figures in 分; official forms are understood, all else is `ValueError`."""
    plain = text.strip().removeprefix(PREFIX)
    negative = plain.startswith("负")
    plain = plain.removeprefix("负").rstrip("整正")
    whole, yuan, rest = plain.rpartition("元")
    if (yuan and not whole) or not (yuan or rest):
        raise ValueError(text)
    minor = _read_whole(whole, text) * 100 if yuan else 0
    for unit, worth in (("角", 10), ("分", 1)):
        digit, found, tail = rest.partition(unit)
        if not found:
            continue
        digit = digit.removeprefix("零")
        if len(digit) != 1 or digit not in _DIGITS[1:]:
            raise ValueError(text)
        minor += _DIGITS.index(digit) * worth
        rest = tail
    if rest:
        raise ValueError(text)
    return -minor if negative else minor


def _read_whole(whole: str, text: str) -> int:
    """Read an integer part: each 万 closes its group, 亿 closes all that stands before it."""
    total = group = digit = 0
    for sign in whole:
        if sign in _DIGITS:
            if digit:
                raise ValueError(text)
            digit = _DIGITS.index(sign)
        elif sign in _SMALL and digit:
            group, digit = group + digit * _SMALL[sign], 0
        elif sign == "万":
            total, group, digit = total + (group + digit) * 10**4, 0, 0
        elif sign == "亿":
            total, group, digit = (total + group + digit) * 10**8, 0, 0
        else:
            raise ValueError(text)
    return total + group + digit
