"""Pictures that are sold as keys: PNG, JPEG and GIF files, kept byte for byte.

What a file is, its first bytes say; a name that says otherwise, a file that is cut off and one that
is too large are refused. The end of the file's stem is what is shown of such a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from kmtool.domain.secret import tail_of
from kmtool.errors import told

BYTES_MAX = 4 * 1024 * 1024
COUNT_MAX = 10_000
PNG, JPEG, GIF = "image/png", "image/jpeg", "image/gif"
_HEADS = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
)
_ANY_HEAD = tuple(head for head, _ in _HEADS)
_ENDS = {PNG: b"IEND\xaeB`\x82", JPEG: b"\xff\xd9", GIF: b";"}
SUFFIXES = {PNG: (".png",), JPEG: (".jpg", ".jpeg"), GIF: (".gif",)}


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """A picture to be sold. `data` is as secret as a key."""

    name: str
    media: str
    data: bytes

    @property
    def tail(self) -> str:
        """Return what may be shown of it: the end of the file's stem."""
        return tail_of(PurePath(self.name).stem)

    def __repr__(self) -> str:
        return f"<Picture …{self.tail}>"


def is_picture_name(name: str) -> bool:
    """Tell whether a name ends as a picture's does."""
    return any(name.lower().endswith(suffix) for some in SUFFIXES.values() for suffix in some)


def is_picture(data: bytes) -> bool:
    """Tell by the first bytes whether this is a picture."""
    return data.startswith(_ANY_HEAD)


def media_type(data: bytes) -> str:
    """Return the media type by the first bytes, empty for anything else."""
    if not is_picture(data):
        return ""
    return next(media for head, media in _HEADS if data.startswith(head))


def suffix(media: str) -> str:
    """Return how the name of a file of this media type ends."""
    return SUFFIXES[media][0]


def refusal(name: str, data: bytes) -> str:
    """Return why a file cannot be sold as a picture, empty when it can."""
    if len(data) > BYTES_MAX:
        return told("larger than {n} MB", n=BYTES_MAX >> 20)
    media = media_type(data)
    if not media:
        return told("no PNG, JPEG or GIF by its first bytes")
    if not name.lower().endswith(SUFFIXES[media]):
        return told("it is {media}, its name says otherwise", media=media)
    if not data.rstrip(b"\0\r\n").endswith(_ENDS[media]):
        return told("the picture is cut off")
    return ""
