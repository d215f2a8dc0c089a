"""A call record (CDR) as FreeSWITCH's mod_json_cdr writes it: read, checked, stripped.

The module sends its JSON in several dresses (its parameters ``encode`` and ``encode-values``), and
writes the same dresses to its disk spool. All are read here. What a record must hold is checked
strictly; what else it holds is taken as it is, since modules and dialplans add what they like.

What is *kept* of a record is an allow-list. A channel variable may hold anything that a dialplan
or a flow has put there - keys pressed, names, addresses - so only those that FreeSWITCH itself sets
and that say nothing personal are kept, and of applications only their names and times.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote, unquote_to_bytes

from billing.errors import InvalidCdr
from billing.schema import from_microseconds
from billing.texts import storable

LONGEST = 8 * 1024 * 1024
"""Bytes of a record in any dress; the longest real ones are some hundred KiB."""

Leg = Literal["a", "b"]
Direction = Literal["inbound", "outbound"]

_LONGEST_NUMBER = 64
_LONGEST_NAME = 128
_MOST_APPLICATIONS = 500
_MOST_PROFILES = 50
_LATEST = 4_102_444_800_000_000  # the year 2100: what is later is no time but a fault
_ID = re.compile(r"[!-~]{1,128}\Z")
_ENCODED_STAMP = re.compile(r"\d{4}-\d\d-\d\d%20\d\d%3A\d\d%3A\d\d\Z")

_KEPT = """
    direction is_outbound uuid call_uuid session_id channel_name sofia_profile_name dtmf_type
    sip_call_id sip_network_ip sip_network_port sip_user_agent sip_gateway_name
    sip_term_status sip_term_cause sip_invite_failure_status
    read_codec read_rate write_codec write_rate local_media_ip remote_media_ip
    originate_disposition endpoint_disposition DIALSTATUS originator originating_leg_uuid
    bridge_uuid bridge_channel last_bridge_to last_bridge_role signal_bond
    transfer_source transfer_history last_app current_application duration mduration uduration
    callflows_flow callflows_state callflows_visits callflows_language
    callflows_connected callflows_ended callflows_talks
"""
_KEPT_NAMES = frozenset(_KEPT.split())
_KEPT_FAMILIES = re.compile(
    r"(?:[a-z_]+_)?hangup_(?:cause|cause_q850|disposition)\Z"
    r"|(?:start|profile_start|answer|bridge|end|progress|progress_media|last_hold|resurrect)"
    r"_(?:stamp|epoch|uepoch)\Z"
    r"|hold_accum_(?:seconds|usec|ms)\Z"
    r"|(?:bill|progress|answer|wait|progress_media|flow_bill)[mu]?sec\Z"
    r"|rtp_use_codec_[a-z]+\Z"
)
_KEPT_PROFILE = (
    "uuid",
    "caller_id_number",
    "ani",
    "rdnis",
    "destination_number",
    "source",
    "context",
    "chan_name",
)


@dataclass(frozen=True, slots=True)
class Cdr:
    """One leg of a call, as the switch has seen it.

    ``leg`` is "a" for a call that came in or that the service itself placed, "b" for the far end
    of a bridge. ``billsec`` are seconds from answer to end. ``hung_up_by`` says which side ended
    it, where the endpoint tells. ``flow`` is the conversation that a worker wrote on the channel,
    ``offered`` whether the dialplan offered the call to a worker at all. ``handovers`` are the
    moments at which the call went to another extension. ``raw`` is what is kept of the record,
    as JSON; ``digest`` the SHA-256 of the whole, which tells a repetition from another record.
    """

    uuid: str
    core_uuid: str
    leg: Leg
    switch: str
    direction: Direction
    caller: str | None
    dialled: str | None
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime
    billsec: int
    hangup_cause: str
    hung_up_by: Literal["switch", "far end"] | None
    flow: str | None
    offered: bool
    handovers: tuple[datetime, ...]
    raw: str
    digest: str


def parse(body: bytes) -> Cdr:
    """Read one record, in whichever dress.

    Raises:
        InvalidCdr: it is none; the text names what is missing or wrong and repeats no content.
    """
    document = decode(body)
    variables = _object(document, "variables")
    profiles = _dicts(document.get("callflow"))
    # The module puts the newest profile first. A call without any has never been routed.
    first = profiles[-1] if profiles else {}
    original = _part(first, "caller_profile")
    times = _part(first, "times")
    uuid = _identity(variables.get("uuid") or original.get("uuid"), "variables.uuid")
    start = _moment(variables.get("start_uepoch") or times.get("created_time"), "start_uepoch")
    end = _moment(variables.get("end_uepoch") or times.get("hangup_time"), "end_uepoch")
    if start is None or end is None:
        raise InvalidCdr("variables: start_uepoch and end_uepoch are needed")
    answer = _moment(variables.get("answer_uepoch") or 0, "answer_uepoch")
    direction = _part(document, "channel_data").get("direction") or variables.get("direction")
    if direction not in ("inbound", "outbound"):
        raise InvalidCdr("channel_data.direction: must be inbound or outbound")
    applications = _applications(document)
    is_far = bool(profiles) and "originator" in _part(profiles[0], "caller_profile")
    return Cdr(
        uuid=uuid,
        core_uuid=_identity(document.get("core-uuid"), "core-uuid"),
        leg="b" if is_far else "a",
        switch=_text(document.get("switchname"), _LONGEST_NAME) or "",
        direction=direction,
        caller=_text(original.get("caller_id_number"), _LONGEST_NUMBER),
        dialled=_text(original.get("destination_number"), _LONGEST_NUMBER),
        started_at=from_microseconds(start),
        answered_at=None if answer is None else from_microseconds(answer),
        ended_at=from_microseconds(end),
        billsec=_billsec(variables.get("billsec"), answer, end),
        hangup_cause=_text(variables.get("hangup_cause"), _LONGEST_NUMBER) or "UNSPECIFIED",
        hung_up_by=_hung_up_by(variables.get("sip_hangup_disposition")),
        flow=_text(variables.get("callflows_flow"), _LONGEST_NUMBER),
        offered=any(name == "socket" for name, _ in applications),
        handovers=_handovers(profiles),
        raw=_dumped(_kept(document, variables, profiles, applications)),
        digest=hashlib.sha256(_dumped(document, sort=True).encode()).hexdigest(),
    )


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``, in whichever dress; encoded variables are decoded.

    Raises:
        InvalidCdr: it is no JSON object, or longer than LONGEST.
    """
    if len(body) > LONGEST:
        raise InvalidCdr(f"longer than {LONGEST} bytes")
    text = body.strip()
    is_form = text[:4] == b"cdr="
    if is_form:
        text = text[4:]
    if text[:1] != b"{":
        text = _undressed(text)
    try:
        # Whatever bytes a caller's name holds, the record of the call is kept.
        document = json.loads(
            text.decode("utf-8", "replace"), strict=False, parse_constant=lambda _name: None
        )
    except (ValueError, RecursionError):
        raise InvalidCdr(
            "not JSON; of mod_json_cdr's parameters, encode=true needs encode-values=false"
            if is_form
            else "not JSON"
        ) from None
    if not isinstance(document, dict):
        raise InvalidCdr("not a JSON object")
    variables = document.get("variables")
    # encode-values, on by default, percent-encodes the variables and nothing else. The one that
    # always holds a space and a colon tells.
    if isinstance(variables, dict) and _ENCODED_STAMP.match(str(variables.get("start_stamp"))):
        document["variables"] = {
            name: unquote(value, errors="replace") if isinstance(value, str) else value
            for name, value in variables.items()
        }
    return document


def _undressed(text: bytes) -> bytes:
    # base64 first: a percent sign is not among its letters, and a plus sign stays one.
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return unquote_to_bytes(text)


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise InvalidCdr(f"{name}: is missing")
    return value


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _identity(value: object, name: str) -> str:
    if not isinstance(value, str) or not _ID.match(value):
        raise InvalidCdr(f"{name}: must be 1 to 128 visible ASCII characters")
    return value


def _whole(value: object) -> int | None:
    """A whole number, also as the text that the module writes; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    return value if type(value) is int else None


def _moment(value: object, name: str) -> int | None:
    """Microseconds since 1970; None for 0, which is how the module says never."""
    count = _whole(value)
    if count is None or not 0 <= count < _LATEST:
        raise InvalidCdr(f"{name}: must be microseconds since 1970")
    return count or None


def _billsec(value: object, answer: int | None, end: int) -> int:
    seconds = _whole(value)
    if seconds is None:
        seconds = 0 if answer is None else (end - answer) // 1_000_000
    # A switch whose clock was set back while it talked counts below zero.
    return min(max(seconds, 0), _LATEST // 1_000_000)


def _text(value: object, longest: int) -> str | None:
    return storable(value, longest) or None if isinstance(value, str) else None


def _hung_up_by(disposition: object) -> Literal["switch", "far end"] | None:
    if not isinstance(disposition, str):
        return None
    if disposition.startswith("send_"):
        return "switch"
    return "far end" if disposition.startswith("recv_") else None


def _applications(document: dict[str, Any]) -> list[tuple[str, int | None]]:
    """Names and times of the applications that ran, without what they were told."""
    return [
        (each["app_name"], _whole(each.get("app_stamp")))
        for each in _dicts(_part(document, "app_log").get("applications"))
        if isinstance(each.get("app_name"), str)
    ]


def _handovers(profiles: list[dict[str, Any]]) -> tuple[datetime, ...]:
    """When each later profile of the call began: the moments of its transfers, in order."""
    moments = [
        _whole(_part(profile, "times").get("profile_created_time"))
        for profile in reversed(profiles[:-1])
    ]
    return tuple(from_microseconds(each) for each in moments if each and 0 < each < _LATEST)


def _kept(
    document: dict[str, Any],
    variables: dict[str, Any],
    profiles: list[dict[str, Any]],
    applications: list[tuple[str, int | None]],
) -> dict[str, Any]:
    """The record without what must not be kept (A9): an allow-list, see above."""
    return {
        "core-uuid": document.get("core-uuid"),
        "switchname": document.get("switchname"),
        "channel_data": {
            name: value
            for name, value in _part(document, "channel_data").items()
            if name in ("state", "direction")
        },
        "callStats": _numbers(_part(document, "callStats")),
        "variables": {
            name: value
            for name, value in variables.items()
            if isinstance(value, str) and (name in _KEPT_NAMES or _KEPT_FAMILIES.match(name))
        },
        "app_log": [
            [storable(n, _LONGEST_NAME), at] for n, at in applications[:_MOST_APPLICATIONS]
        ],
        "callflow": [
            {
                "extension": _text(_part(profile, "extension").get("name"), _LONGEST_NAME),
                "caller_profile": {
                    name: value
                    for name in _KEPT_PROFILE
                    if isinstance(value := _part(profile, "caller_profile").get(name), str)
                },
                "times": {
                    name: value
                    for name, value in _part(profile, "times").items()
                    if _whole(value) is not None
                },
            }
            for profile in profiles[:_MOST_PROFILES]
        ],
    }


def _numbers(tree: dict[str, Any], depth: int = 3) -> dict[str, Any]:
    """Media statistics: only numbers, at most ``depth`` levels."""
    kept: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and depth:
            kept[name] = _numbers(value, depth - 1)
        elif type(value) in (int, float):
            kept[name] = value
    return kept


def _dumped(document: dict[str, Any], *, sort: bool = False) -> str:
    # ASCII with escapes, which a text column of either database takes whatever is escaped.
    return json.dumps(document, separators=(",", ":"), sort_keys=sort)
