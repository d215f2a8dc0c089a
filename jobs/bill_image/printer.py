"""Setting a bill on its sheet with typst, as PNG for the eye and PDF for the printer.

The template is code of ours; what it shows arrives as JSON in its inputs and is set as plain
strings, so no name or text can become markup. Fonts come from this package alone, the template's
root is this package, and nothing is fetched.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typst

from jobs.bill_image.code128 import QUIET_ZONE, bar_widths
from jobs.bill_image.view import BillView
from sounds import Catalogue, Phrase, telephone, written

PIXELS_PER_INCH = 144.0
"""With a sheet 600 pt wide: 1200 pixels, and every bar of the barcode on whole pixels."""

_HERE = Path(__file__).parent
# Joiners belong to Persian spelling; every other invisible character could only disguise a name.
_JOINERS = "\u200c\u200d"


class ForkedAfterRendering(RuntimeError):
    """This process was forked from one that had rendered, and would wait for ever.

    typst's threads do not live on in a forked child. Render in the child only, or in a worker
    that does not fork.
    """


@dataclass(frozen=True, slots=True)
class BillImage:
    """One bill, twice: 1200 x 848 pixels to look at, and a PDF page to print."""

    png: bytes
    pdf: bytes


class _Press:
    """The compiler with its fonts loaded, kept warm; one sheet at a time."""

    def __init__(self) -> None:
        fonts = typst.Fonts(
            include_system_fonts=False,
            include_embedded_fonts=False,
            font_paths=[str(_HERE / "fonts")],
        )
        self._compiler = typst.Compiler(
            str(_HERE / "bill.typ"), root=str(_HERE), font_paths=fonts, ignore_system_fonts=True
        )
        self._lock = threading.Lock()
        self._process: int | None = None

    def compile(self, content: str, kind: Literal["png", "pdf"]) -> bytes:
        if self._process not in (None, os.getpid()):
            raise ForkedAfterRendering("bill images were rendered before this process was forked")
        with self._lock:
            self._process = os.getpid()
            # A fixed time makes the same bill the same bytes, however often a job runs.
            sheet = self._compiler.compile(
                format=kind, ppi=PIXELS_PER_INCH, sys_inputs={"bill": content}, timestamp=0
            )
        assert isinstance(sheet, bytes)  # one page
        return sheet


@functools.cache
def _press() -> _Press:
    return _Press()


def render(view: BillView, language: str, catalogue: Catalogue, *, operator: str = "") -> BillImage:
    """The picture of a bill in one of the catalogue's languages.

    `operator` is the name in the sheet's head. About 16 ms of one core for both forms; the first
    call in a process loads the fonts. Raises PhraseError for an unknown language, and
    ForkedAfterRendering.
    """
    content = json.dumps(_content(view, language, catalogue, operator), ensure_ascii=False)
    press = _press()
    return BillImage(press.compile(content, "png"), press.compile(content, "pdf"))


def _content(view: BillView, language: str, catalogue: Catalogue, operator: str) -> dict[str, Any]:
    """Everything the template shows, as text ready to be set."""

    def words(key: str, **slots: Any) -> str:
        return catalogue.text(Phrase(f"image_{key}", **slots), language)

    def amount(rials: int) -> str:
        return written.counted(rials, "rial", language)

    title = words("title")  # first: an unknown language is the catalogue's own clear error
    number = [written.numerals(group, language) for group in telephone.groups(view.number)]
    due = written.date(view.due_date, language)
    bill_id, payment_id = _threes(view.bill_id), _threes(view.payment_id)
    fields: list[tuple[str, Any]] = [(words("line"), number)]
    if view.name is not None:
        fields.append((words("name"), _visible(view.name)))
    lines = [(words(kind), amount(rials), False) for kind, rials in view.lines]
    lines.append((words("amount"), amount(view.amount), False))
    if view.paid:
        lines.append((words("paid"), amount(view.paid), False))
    if view.withdrawn:
        lines.append((words("withdrawn"), amount(view.withdrawn), False))
    if view.remainder:
        lines.append((words("remainder"), amount(view.remainder), False))
    lines.append((words("payable"), amount(view.payable), True))
    return {
        "language": language,
        "direction": "rtl" if language in written.RIGHT_TO_LEFT else "ltr",
        "operator": _visible(operator),
        "title": title,
        "period": words("period", period=view.period, year=view.year),
        "fields": [*fields, (words("due"), due)],
        "payable": (words("payable"), amount(view.payable)),
        "lines": lines,
        "premium_title": words("premium_title"),
        "premium": [
            (
                words("premium_rest") if row.name is None else _visible(row.name),
                words("premium_calls", calls=row.calls, minutes=-(-row.seconds // 60)),
                amount(row.amount),
            )
            for row in view.premium
        ],
        "ids": [(words("bill_id"), bill_id), (words("payment_id"), payment_id)],
        "how": words("how_to_pay"),
        "slip": [
            (words("line"), number),
            (words("bill_id"), bill_id),
            (words("payment_id"), payment_id),
            (words("payable"), amount(view.payable)),
            (words("due"), due),
        ],
        "footer": words("footer"),
        "bars": bar_widths(view.barcode),
        "quiet": QUIET_ZONE,
        "digits": view.barcode,
    }


def _threes(digits: str) -> list[str]:
    """Three digits at a time, as they are also read aloud (A7)."""
    return [digits[start : start + 3] for start in range(0, len(digits), 3)]


def _visible(text: str) -> str:
    """The text on one line, without control and direction characters that could disguise it."""
    shown = (
        char if char in _JOINERS or unicodedata.category(char)[0] != "C" else " " for char in text
    )
    return " ".join("".join(shown).split())
