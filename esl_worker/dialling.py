"""How a number is called: the configured dial string with the number in it."""

from __future__ import annotations

import re

from billing.numbers import national

_PLACES = re.compile(r"\{(e164|national)\}")
_NUMBER = re.compile(r"\+[0-9]{3,15}\Z")


def check_dial_string(dial_string: str) -> str:
    """Return ``dial_string`` if it says where the number belongs.

    Raises:
        ValueError: it has neither ``{e164}`` (digits without +) nor ``{national}``.
    """
    if not _PLACES.search(dial_string) or "{" in _PLACES.sub("", dial_string):
        raise ValueError("expected {e164} or {national}, as in sofia/gateway/carrier/{national}")
    return dial_string


def endpoint_of(dial_string: str, number: str) -> str:
    """The endpoint at which ``number`` (E.164) is called. Raises ValueError for anything else."""
    if not _NUMBER.match(number):
        raise ValueError("not an E.164 number")
    return _PLACES.sub(
        lambda place: number[1:] if place[1] == "e164" else national(number), dial_string
    )
