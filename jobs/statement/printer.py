"""Setting a statement on A4 with typst, in one of four languages.

As for bills (`jobs.bill_image`): what is shown arrives as JSON in the template's inputs and is set
as plain strings, fonts come from this package alone, and nothing is fetched.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typst

from billing.premium.statement import Content
from sounds import Catalogue, Phrase, written

_HERE = Path(__file__).parent
_FONTS = _HERE.parent / "bill_image" / "fonts"
_MOST_CORRECTIONS = 200


def render(
    content: Content, language: str, catalogue: Catalogue, zone: ZoneInfo, *, operator: str = ""
) -> bytes:
    """Return a statement as PDF; the same statement is always the same bytes.

    ``operator`` is the name in the sheet's head. Of corrections the first 200 are shown; all, and
    each collection, are in the CSV and JSON. Raises PhraseError for an unknown language.
    """
    fonts = typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(_FONTS)]
    )
    sheet = typst.Compiler(
        str(_HERE / "statement.typ"), root=str(_HERE), font_paths=fonts, ignore_system_fonts=True
    ).compile(
        format="pdf",
        sys_inputs={
            "statement": json.dumps(
                _shown(content, language, catalogue, zone, operator), ensure_ascii=False
            )
        },
        timestamp=0,
    )
    assert isinstance(sheet, bytes)
    return sheet


def _shown(
    content: Content, language: str, catalogue: Catalogue, zone: ZoneInfo, operator: str
) -> dict[str, Any]:
    """Everything the template shows, as text ready to be set."""

    def words(key: str, **slots: Any) -> str:
        return catalogue.text(Phrase(f"statement_{key}", **slots), language)

    def amount(rials: int) -> str:
        # Set from left to right by the template, so that the sign stands before the number.
        return ("-" if rials < 0 else "") + written.number(abs(rials), language)

    def percent(bp: int) -> str:
        whole, part = divmod(bp, 100)
        text = f"{whole}.{part:02d}".rstrip("0").rstrip(".")
        return (
            written.numerals(text, language) + "\u066a" if language in ("fa", "ar") else f"{text} %"
        )

    statement = content.statement
    title = words("title", number=str(statement.id))  # an unknown language is an error here
    last = (content.end - timedelta(seconds=1)).astimezone(zone).date()
    rows = [
        (words("gross"), amount(statement.gross), "plain"),
        (words("not_collected"), amount(statement.not_collected), "plain"),
    ]
    if statement.held_back:
        rows.append((words("held_back"), amount(statement.held_back), "plain"))
    rows += [
        (words("collected"), amount(statement.collected), "plain"),
        (words("share"), amount(statement.share), "sum"),
    ]
    if statement.carried_in:
        rows.append((words("carried_in"), amount(statement.carried_in), "plain"))
    for each in statement.deductions:
        name = words("deduction", code=_visible(each.code), percent=percent(each.bp), of=each.of)
        rows.append((name, amount(-each.amount), "plain"))
    if statement.carried_out:
        rows.append((words("carried_out"), amount(statement.carried_out), "plain"))
    rows.append((words("payable"), amount(statement.payable), "total"))
    return {
        "language": language,
        "direction": "rtl" if language in written.RIGHT_TO_LEFT else "ltr",
        "operator": _visible(operator),
        "title": title,
        "provider": _visible(content.provider.title),
        "period": words(
            "period", first=content.begin.astimezone(zone).date(), last=last
        ),
        "terms": words(
            "terms",
            kind=content.contract.kind,
            percent=percent(content.contract.share_bp),
        ),
        "status": words(f"status_{statement.status}"),
        "unit": words("unit"),
        "rows": rows,
        "services_head": [
            words("service"), words("calls"), words("gross_short"),
            words("collected_short"), words("share_short"),
        ],
        "services": [
            [
                _visible(each.service.name(language)),
                written.numerals(each.service.number, language),
                written.number(each.calls, language),
                amount(each.gross),
                amount(each.collected),
                amount(each.share),
            ]
            for each in content.services
        ],
        "corrections_title": words("corrections") if content.corrections else "",
        "corrections": [
            [
                written.numerals(each.service, language),
                written.date(each.connected_at.astimezone(zone).date(), language),
                each.call_id,
                amount(-each.amount),
            ]
            for each in content.corrections[:_MOST_CORRECTIONS]
        ],
        "note": words("note"),
    }  # fmt: skip


def _visible(text: str) -> str:
    """The text on one line, without characters that could disguise it."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
