"""What a message shows of the keys of a line: texts as they are, pictures by name and attached.

A picture's name is made of its key's number, so every attempt attaches the same file under the same
name. A bundle shows its parts, each under its own title.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kmtool.domain import pictures
from kmtool.domain.secret import Secret
from kmtool.operations.messages import MessageLine
from kmtool.ports import Attachment
from kmtool.store.db import Row


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
