"""What a message shows of the keys of a line: texts as they are, pictures by name and attached.

A picture's name is made of its key's number, so every attempt attaches the same file under the same
name. A bundle shows its parts, each under its own title.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from kmtool.domain import pictures
from kmtool.domain.ids import ParcelId
from kmtool.domain.secret import Secret
from kmtool.operations.messages import MessageLine
from kmtool.ports import Attachment
from kmtool.shop import Shop
from kmtool.store import pictures as store
from kmtool.store.db import Row

_NAMED = re.compile(r"key-([0-9]{1,18})\.(?:png|jpg|gif)\b", re.ASCII)


def name_of(key_id: int, opened: Secret) -> str:
    """Return how the picture of a key is called in a message, empty for a text."""
    media = pictures.media_type(opened.reveal())
    return f"key-{key_id}{pictures.suffix(media)}" if media else ""


def shown(key_id: int, opened: Secret) -> Secret:
    """Return what stands in the text for a key."""
    if not pictures.is_picture(opened.reveal()):
        return opened  # nearly every key, and every one is asked
    return Secret(name_of(key_id, opened))


def attachments(opened: Iterable[tuple[int, Secret]]) -> tuple[Attachment, ...]:
    """Return the pictures among some keys (number, opened) as files."""
    return tuple(
        Attachment(name_of(key_id, key), pictures.media_type(key.reveal()), key)
        for key_id, key in opened
        if pictures.is_picture(key.reveal())
    )


def all_named(
    shop: Shop, text: str, parcel_id: ParcelId, live: Sequence[tuple[int, Secret]]
) -> tuple[Attachment, ...]:
    """Return every picture that the sealed text of a parcel names, as the text names them.

    One that was replaced since is among them, as a replaced key stands in the text: a message is
    the same on every try.
    """
    names = _NAMED.findall(text)
    gone = sorted({int(n) for n in names} - {key_id for key_id, _key in live})
    rows = store.replaced(shop.db, parcel_id, gone) if gone else []
    old = [
        (
            row["key_id"],
            shop.vault.open(row["sealed"], row["data_key_id"], bytes(row["fingerprint"])),
        )
        for row in rows
    ]
    return tuple(sorted(attachments([*live, *old]), key=lambda one: text.find(one.name)))


def message_lines(
    products: Mapping[str, Row], line: Row, keys: Sequence[Row], opened: Mapping[int, Secret]
) -> list[MessageLine]:
    """Return a line as its buyer reads it: one part, or the parts of a bundle."""
    product = products[line["sku"]]
    title = line["title"] or product["title"]
    if line["kind"] != "bundle":
        return [_part(title, line["sku"], product["guide"], keys, opened)]
    by_sku: dict[str, list[Row]] = {}
    for key in keys:
        by_sku.setdefault(key["sku"], []).append(key)
    found = [
        _part(products[sku]["title"], sku, products[sku]["guide"], some, opened)
        for sku, some in by_sku.items()
    ]
    if product["guide"]:
        found.append(MessageLine(title, line["sku"], product["guide"]))
    return found


def _part(
    title: str, sku: str, guide: str, keys: Sequence[Row], opened: Mapping[int, Secret]
) -> MessageLine:
    secrets = tuple([shown(key["id"], opened[key["id"]]) for key in keys])
    return MessageLine(title, sku, guide, secrets)
