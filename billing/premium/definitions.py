"""A provider's service as it is written: what it is, and all that is wrong with it (D5, D10).

The menu tree in it is somebody else's to read (`callflows.trees`); here it is a mapping.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from billing.entities import LANGUAGES
from billing.errors import BillingError, InvalidNumber
from billing.numbers import parse_number
from billing.premium.hours import parse_hours
from billing.premium.tariffs import InvalidTariff, parse_tariffs

Authentication = Literal["none", "pin", "code", "approval"]
Order = Literal["ring_order", "all", "least_recent"]
"""How a consultant is looked for: one after the other as listed, all at once, or who has waited
longest since the last call."""

ENTRIES = (
    "number",
    "provider",
    "category",
    "languages",
    "names",
    "conditions",
    "regions",
    "hours",
    "holidays",
    "authentication",
    "tariffs",
    "content",
)
MOBILE = "mobile"
"""The region of all mobile lines."""

_NUMBER = re.compile(r"(?:909|7070)[0-9]{3,9}")
_SLUG = re.compile(r"[a-z][a-z0-9-]{0,31}")
_REGION = re.compile(r"[0-9]{2,6}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_LONGEST_NAME = 80
_LONGEST_CONDITIONS = 600
_MOST_CONSULTANTS = 500
_MOST_REGIONS = 200


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong: in which field, and why."""

    field: str
    reason: str

    def __str__(self) -> str:
        """The field and the reason."""
        return f"field {self.field}: {self.reason}"


class InvalidService(BillingError, ValueError):
    """A service cannot be used as written; ``faults`` lists everything that is wrong with it."""

    def __init__(self, faults: Sequence[Wrong]) -> None:
        """Compose the text: a fault a line."""
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


def canonical(definition: Mapping[str, Any]) -> str:
    """Return the definition as it is stored: one text for one file."""
    # In the writer's order: a tree starts with its first node.
    return json.dumps(_with_text_keys(definition), ensure_ascii=False, separators=(",", ":"))


def _with_text_keys(value: Any) -> Any:
    """What JSON makes of it: YAML reads the key 1 of a menu as a number."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def digest(text: str) -> str:
    """Return the SHA-256 of a stored definition."""
    return hashlib.sha256(text.encode()).hexdigest()


def checked(content: Mapping[str, Any], zone: ZoneInfo, region: str = "IR") -> dict[str, Any]:
    """Return the definition of a service as written, whole and in order.

    Args:
        content: the file's content, as YAML or JSON gives it.
        zone: the operator's, for the tariffs' dates.
        region: country of the consultants' numbers (ISO 3166).

    Raises:
        InvalidService: with every fault.
    """
    reader = _Reader(content, zone, region)
    definition = reader.definition()
    if reader.faults:
        raise InvalidService(reader.faults)
    return definition


class _Reader:
    """A service's file, being read."""

    def __init__(self, content: Any, zone: ZoneInfo, region: str) -> None:
        self.faults: list[Wrong] = []
        self._zone = zone
        self._region = region
        if not isinstance(content, Mapping):
            raise InvalidService([Wrong("", "entries such as number and names are needed")])
        self._content = content

    def definition(self) -> dict[str, Any]:
        content = self._content
        for name in content:
            if name not in ENTRIES:
                self._wrong(str(name)[:40], f"no such entry; there are {', '.join(ENTRIES)}")
        number = str(content.get("number", ""))
        if not _NUMBER.fullmatch(number):
            self._wrong("number", "6 to 13 digits that start with 909 or 7070")
        for name in ("provider", "category"):
            if not _SLUG.fullmatch(str(content.get(name, ""))):
                self._wrong(name, "a-z, 0-9 and -, 32 at most, a letter first")
        languages = self._languages()
        authentication = content.get("authentication", "none")
        if authentication not in get_args(Authentication):
            self._wrong("authentication", f"one of {', '.join(get_args(Authentication))}")
        tariffs = content.get("tariffs", [])
        try:
            parse_tariffs(tariffs, self._zone)
        except InvalidTariff as error:
            field, _, reason = str(error).partition(": ")
            self._wrong(field, reason)
        conditions = content.get("conditions") or {}
        return {
            "number": number,
            "provider": content.get("provider"),
            "category": content.get("category"),
            "languages": list(languages),
            "names": self._texts("names", content.get("names"), languages, _LONGEST_NAME),
            "conditions": conditions
            and self._texts("conditions", conditions, languages, _LONGEST_CONDITIONS),
            "regions": self._regions(),
            "hours": self._hours("hours", content.get("hours", [])),
            "holidays": self._holidays(),
            "authentication": authentication,
            "tariffs": tariffs,
            "content": self._content_of(),
        }

    def _languages(self) -> tuple[str, ...]:
        languages = self._content.get("languages", list(LANGUAGES))
        if (
            not isinstance(languages, list)
            or not languages
            or not all(isinstance(each, str) and each in LANGUAGES for each in languages)
            or len(set(languages)) != len(languages)
        ):
            self._wrong("languages", f"a list of {', '.join(LANGUAGES)}, the usual one first")
            return tuple(LANGUAGES)
        return tuple(languages)

    def _texts(
        self, field: str, value: Any, languages: tuple[str, ...], longest: int
    ) -> dict[str, str]:
        if not isinstance(value, Mapping):
            self._wrong(field, f"a text in {', '.join(languages)} is needed")
            return {}
        for name in value:
            if name not in languages:
                self._wrong(f"{field}.{str(name)[:20]}", "not a language of the service")
        texts = {}
        for language in languages:
            text = value.get(language)
            if not isinstance(text, str) or not any(map(str.isalnum, text)):
                self._wrong(f"{field}.{language}", "a text is needed")
            elif _CONTROLS.search(text.strip()):
                self._wrong(f"{field}.{language}", "one line, without control characters")
            elif len(text) > longest:
                self._wrong(f"{field}.{language}", f"longer than {longest} characters")
            else:
                texts[language] = " ".join(text.split())
        return texts

    def _regions(self) -> list[str]:
        value = self._content.get("regions", [])
        if not isinstance(value, list) or len(value) > _MOST_REGIONS:
            self._wrong("regions", 'a list of area codes such as "021", and mobile')
            return []
        for place, each in enumerate(value):
            if each != MOBILE and not (isinstance(each, str) and _REGION.fullmatch(each)):
                self._wrong(f"regions[{place}]", 'an area code such as "021" in quotes, or mobile')
        return [str(each) for each in value]

    def _hours(self, field: str, value: Any) -> list[dict[str, Any]]:
        try:
            return [each.as_dict() for each in parse_hours(value)]
        except ValueError as error:
            place, _, reason = str(error).partition(": ")
            self._wrong(field + place, reason)
            return []

    def _holidays(self) -> dict[str, Any] | None:
        value = self._content.get("holidays")
        if value is None:
            return None
        if (
            not isinstance(value, Mapping)
            or set(value) != {"calendar", "open"}
            or not isinstance(value["calendar"], str)
            or not isinstance(value["open"], bool)
        ):
            self._wrong("holidays", "entries calendar (iran) and open (true or false) are needed")
            return None
        return dict(value)

    def _content_of(self) -> dict[str, Any]:
        value = self._content.get("content")
        if not isinstance(value, Mapping) or not value or set(value) - {"tree", "consultants"}:
            self._wrong("content", "a tree, consultants, or both")
            return {}
        content: dict[str, Any] = {}
        if "tree" in value:
            if not isinstance(value["tree"], Mapping):
                self._wrong("content.tree", "entries start and nodes are needed")
            content["tree"] = value["tree"]
        if "consultants" in value:
            content["consultants"] = self._consultants(value["consultants"])
        return content

    def _consultants(self, value: Any) -> dict[str, Any]:
        field = "content.consultants"
        if not isinstance(value, Mapping) or set(value) - {"order", "list"}:
            self._wrong(field, "entries order and list are needed")
            return {}
        order = value.get("order", "ring_order")
        if order not in get_args(Order):
            self._wrong(f"{field}.order", f"one of {', '.join(get_args(Order))}")
        entries = value.get("list")
        if not isinstance(entries, list) or not 0 < len(entries) <= _MOST_CONSULTANTS:
            self._wrong(f"{field}.list", f"1 to {_MOST_CONSULTANTS} consultants are needed")
            entries = []
        people = [self._consultant(f"{field}.list[{n}]", each) for n, each in enumerate(entries)]
        codes = [person.get("code") for person in people]
        for place, code in enumerate(codes):
            if code is not None and code in codes[:place]:
                self._wrong(f"{field}.list[{place}].code", f"{code} stands here twice")
        return {"order": order, "list": people}

    def _consultant(self, field: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping) or set(value) - {"code", "number", "hours"}:
            self._wrong(field, "entries code, number and hours are needed")
            return {}
        person: dict[str, Any] = {"hours": self._hours(f"{field}.hours", value.get("hours", []))}
        code = str(value.get("code", ""))
        if _SLUG.fullmatch(code):
            person["code"] = code
        else:
            self._wrong(f"{field}.code", "a-z, 0-9 and -, 32 at most, a letter first")
        try:
            person["number"] = parse_number(str(value.get("number", "")), self._region)
        except InvalidNumber as error:
            self._wrong(f"{field}.number", f"{error} (in quotes, as it is dialled)")
        return person

    def _wrong(self, field: str, reason: str) -> None:
        self.faults.append(Wrong(field, reason))
