"""Shows what a platform's order export gives, before a channel is set up on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kmtool import registry
from kmtool.errors import InputRefused, marked
from kmtool.shop import Shop

BY_FILE = "file"


@dataclass(frozen=True, slots=True)
class PreviewOrder:
    """One order of a previewed file."""

    order: str
    status: str
    refund: str
    items: str
    pieces: int
    total_minor: int
    currency: str
    paid_ms: int | None
    risk: str


@dataclass(frozen=True, slots=True)
class FilePreview:
    """What a real export gives: columns (role → column), the first orders, words to be taught."""

    file: str
    preset: str
    title: str
    unconfirmed: bool
    columns: Mapping[str, str]
    ignored: tuple[str, ...]
    orders: tuple[PreviewOrder, ...]
    count: int
    unknown: tuple[str, ...]


def preview(shop: Shop, path: Path, preset: str, options: Mapping[str, object]) -> FilePreview:
    """Read a real order export; raises `InputRefused` when orders cannot be made of it."""
    seen = registry.module("channel", BY_FILE).preview(
        path,
        preset or None,
        own=shop.config.root / "templates",
        currency=shop.config.shop.currency,
        options=options,
    )
    if seen.missing:
        raise InputRefused(
            detail="with the preset {preset} these columns are missing: {missing}",
            preset=seen.preset,
            missing=", ".join(seen.missing),
            where=path.name,
            mend="name them: --map COLUMN=ROLE, or choose another --preset",
        )
    if seen.problems:
        others = len(seen.problems) - 1
        form = marked("{first} (and {n} more)") if others else "{first}"
        raise InputRefused(detail=form, first=seen.problems[0], n=others, where=path.name)
    return FilePreview(
        file=path.name,
        preset=seen.preset,
        title=seen.title,
        unconfirmed=seen.check,
        columns=dict(seen.columns),
        ignored=seen.ignored,
        orders=tuple(
            PreviewOrder(
                order=one.number,
                status=one.status,
                refund=one.refund,
                items=" + ".join(line.title for line in one.lines),
                pieces=sum(line.quantity for line in one.lines),
                total_minor=one.total_minor,
                currency=one.currency,
                paid_ms=one.paid_ms,
                risk=one.risk,
            )
            for one in seen.orders
        ),
        count=seen.count,
        unknown=seen.unknown,
    )
