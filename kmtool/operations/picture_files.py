"""Pictures on their way to a person: written to 0600 files in the exports folder, and named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kmtool.domain import pictures
from kmtool.domain.secret import Secret
from kmtool.ports import Attachment
from kmtool.sheets_write import write_bytes
from kmtool.shop import Shop


def is_picture(opened: Secret) -> bool:
    """Tell whether an opened key is a picture: text never begins as one does."""
    return bool(pictures.media_type(opened.reveal()))


def save_key(shop: Shop, key_id: int, opened: Secret) -> Path:
    """Write the picture of one key and return where it lies."""
    data = opened.reveal()
    name = f"key-{key_id}{pictures.suffix(pictures.media_type(data))}"
    return write_bytes(shop.config.folder("exports") / name, data, private=True)


def save_all(shop: Shop, marker: str, attachments: Sequence[Attachment]) -> tuple[Path, ...]:
    """Write the pictures of a message that a person hands over; return where they lie."""
    folder = shop.config.folder("exports")
    return tuple(
        write_bytes(folder / f"{marker}-{one.name}", one.data.reveal(), private=True)
        for one in attachments
    )
