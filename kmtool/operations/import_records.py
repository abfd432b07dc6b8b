"""What an import is told, what it shows before, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from kmtool.domain.pictures import Picture
from kmtool.errors import told

Fresh = tuple[bytes, int, str | Picture]
"""A key that is not known yet: its fingerprint, its line number, the text or the picture."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator says of the files: product, supplier, cost, and how to read them.

    `uses` is how many buyers each key serves (the product's own number when it is None).
    """

    sku: str
    supplier: str
    cost_e5: int = 0
    expires: date | None = None
    separator: str = ""
    mapping: dict[str, str] | None = None
    preset: str = ""
    history: bool = False
    mode: str = ""
    title: str = ""
    uses: int | None = None
    images: bool = False


@dataclass(frozen=True, slots=True)
class Twin:
    """A row whose key is known: where the other one lies. `batch` is empty within this import."""

    line_no: int
    key: str
    batch: str
    twin_line_no: int
    state: str
    sku: str
    file: str = ""

    def reason(self) -> str:
        """Return where the twin lies, in words."""
        if self.batch:
            return told(
                "duplicate of batch {batch} line {twin_line_no} ({state}, {sku})",
                batch=self.batch,
                twin_line_no=self.twin_line_no,
                state=self.state,
                sku=self.sku,
            )
        return told(
            "duplicate of line {twin_line_no} of {file}",
            twin_line_no=self.twin_line_no,
            file=self.file,
        )


@dataclass(frozen=True, slots=True)
class FilePreview:
    """What is about to be taken in from one file."""

    file: str
    form: str
    encoding: str
    separator: str
    columns: tuple[str, ...]
    first: tuple[str, ...]
    rows: int
    accepted: int
    duplicates: int
    rejected: int
    warnings: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Preview:
    """What the operator is asked to agree to."""

    files: tuple[FilePreview, ...]
    sku: str
    supplier: str
    mode: str
    cost_e5: int
    currency: str
    amount_minor: int
    accepted: int
    history: bool
    uses: int = 1


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file. `same_file_ms`: it was imported then, and brought nothing now;
    `out_of_sale`: taken in, and kept back since a restore without a journal."""

    file: str
    batch: str | None
    rows: int
    accepted: int
    duplicates: int
    rejected: int
    rejects_file: str | None = None
    same_file_ms: int | None = None
    twins: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    warnings: dict[str, tuple[int, ...]] = field(default_factory=dict)
    out_of_sale: int = 0


@dataclass(frozen=True, slots=True)
class ImportResult:
    """All files of an import. `agreed` is False when the operator said no: nothing was taken in."""

    files: tuple[FileResult, ...]
    rows: int
    accepted: int
    duplicates: int
    rejected: int
    agreed: bool = True


def result_of(files: list[FileResult], *, agreed: bool = True) -> ImportResult:
    """Return the sums over all files."""
    return ImportResult(
        files=tuple(files),
        rows=sum(file.rows for file in files),
        accepted=sum(file.accepted for file in files),
        duplicates=sum(file.duplicates for file in files),
        rejected=sum(file.rejected for file in files),
        agreed=agreed,
    )
