"""Structured logs: one line an event, with the call's id, and nothing personal in it.

A filter masks telephone numbers, e-mail addresses, link tokens and secrets in every record of
every library before any handler formats it, so that a careless message cannot leak.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

call_id: ContextVar[str] = ContextVar("call_id", default="")

# Libraries that tell at level INFO what nobody needs to know.
CHATTY = ("alembic", "rq", "urllib3", "werkzeug")

# What can be masked has digits, an @ or a value behind a name; most lines have none of these.
_SUSPECT = re.compile(r"[\d@=:/]")
_EMAIL = re.compile(r"[^\s@<>\"'=:,;]+@[^\s@<>\"',;]+\.[^\s@<>\"',;)]+")
_LINK = re.compile(r"(/e/)[A-Za-z0-9_\-.~%]+")
_SECRET = re.compile(
    r"(?i)\b(pin|password|passwd|token|secret|signature|authorization|postal_code|address"
    r"|first_name|last_name|api_key)"
    r"(\"?'?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|(?:bearer\s+|basic\s+)?[^\s,;}\"']+)"
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^@\s/]+@")
# Seven and more digits in a row, with the separators of written numbers, are a telephone number,
# a bill ID or a payment ID; uuids, dates and times are not touched.
_DIGITS = re.compile(r"(?<![\w.\-:])(?!\d{4}-\d\d-\d\d\b)(\+|00)?\d(?:[ ()\-]?\d){6,}(?![\w\-:])")
_LOCAL_DIGITS = re.compile(r"[۰-۹٠-٩]{7,}")


def mask(text: str) -> str:
    """The text without telephone numbers, addresses and secrets."""
    if not _SUSPECT.search(text):
        return text
    text = _URL_PASSWORD.sub(r"\1***@", text)
    text = _SECRET.sub(r"\1\2***", text)
    text = _EMAIL.sub("***@***", text)
    text = _LINK.sub(r"\1***", text)
    text = _LOCAL_DIGITS.sub(_shortened, text)
    return _DIGITS.sub(_shortened, text)


def _shortened(match: re.Match[str]) -> str:
    whole = match[0]
    return f"{whole[:4]}***{whole[-2:]}"


class MaskFilter(logging.Filter):
    """Masks message and arguments of every record and adds the call's id."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; never drops one."""
        record.call_id = call_id.get()
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = f"{record.msg!r} {record.args!r}"
        record.msg, record.args = mask(message), ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = mask(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, call, message, error."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if getattr(record, "call_id", ""):
            line["call"] = record.call_id  # type: ignore[attr-defined]
        if record.exc_text:
            line["error"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, call, message."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line (and the error below it)."""
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        call = getattr(record, "call_id", "")
        where = f"{record.name} [{call[:8]}]" if call else record.name
        line = f"{time} {record.levelname:<7} {where}: {record.getMessage()}"
        return f"{line}\n{record.exc_text}" if record.exc_text else line


def configure(log_format: str, level: str) -> None:
    """Set up logging of this process to standard error; `log_format` is text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(MaskFilter())
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for library in CHATTY:
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))
