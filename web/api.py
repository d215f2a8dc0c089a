"""What the machine end points share: errors in JSON, and reading a body strictly."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, NoReturn

from flask import Response, jsonify


class ApiError(Exception):
    """An answer that is an error: HTTP status, a code for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field

    def response(self) -> Response:
        """`{"error": {"code", "message", "field"}}`; `field` only where one is to blame."""
        error = {"code": self.code, "message": self.message}
        if self.field:
            error["field"] = self.field
        response = jsonify(error=error)
        response.status_code = self.status
        return response


def invalid(field: str, message: str) -> ApiError:
    """The error for a field that does not hold what it should; never repeats its value."""
    return ApiError(422, "invalid_field", f"{field}: {message}", field)


def json_object(body: bytes, fields: Collection[str]) -> dict[str, Any]:
    """The JSON object in `body`, which has exactly the members `fields`.

    Raises ApiError: 400 when it is not a JSON object in UTF-8 or names a member twice (readers
    disagree on which one counts), 422 naming the member that is missing or unknown.
    """
    try:
        data = json.loads(
            body.decode("utf-8"), object_pairs_hook=_once_each, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise ApiError(400, "not_json", "the body is not a JSON object in UTF-8") from None
    if not isinstance(data, dict):
        raise ApiError(400, "not_json", "the body is not a JSON object")
    for name in fields:
        if name not in data:
            raise invalid(name, "is missing")
    if unknown := sorted(set(data) - set(fields)):
        raise invalid(unknown[0][:64], "is not known")
    return data


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def text_field(data: dict[str, Any], field: str, *, longest: int, empty: bool = False) -> str:
    """A member that is a string of at most `longest` characters."""
    value = data[field]
    if not isinstance(value, str):
        raise invalid(field, "must be a string")
    if not value and not empty:
        raise invalid(field, "must not be empty")
    if len(value) > longest:
        raise invalid(field, f"is longer than {longest} characters")
    if "\0" in value:
        raise invalid(field, "holds a NUL character")
    return value


def time_field(data: dict[str, Any], field: str) -> datetime:
    """A member that is a time with its offset (RFC 3339); given back in UTC."""
    value = text_field(data, field, longest=40)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is not None and len(value) >= len("2026-01-01T00:00Z"):
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise invalid(field, "must be a time with its offset, such as 2026-12-05T09:30:00+03:30")
