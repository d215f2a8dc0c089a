"""Hangup causes by name, with their Q.850 numbers (ITU-T Q.850; FreeSWITCH adds its own)."""

from __future__ import annotations

CAUSES = {
    "NONE": 0,
    "UNALLOCATED_NUMBER": 1,
    "NO_ROUTE_TRANSIT_NET": 2,
    "NO_ROUTE_DESTINATION": 3,
    "CHANNEL_UNACCEPTABLE": 6,
    "NORMAL_CLEARING": 16,
    "USER_BUSY": 17,
    "NO_USER_RESPONSE": 18,
    "NO_ANSWER": 19,
    "SUBSCRIBER_ABSENT": 20,
    "CALL_REJECTED": 21,
    "NUMBER_CHANGED": 22,
    "EXCHANGE_ROUTING_ERROR": 25,
    "DESTINATION_OUT_OF_ORDER": 27,
    "INVALID_NUMBER_FORMAT": 28,
    "FACILITY_REJECTED": 29,
    "NORMAL_UNSPECIFIED": 31,
    "NORMAL_CIRCUIT_CONGESTION": 34,
    "NETWORK_OUT_OF_ORDER": 38,
    "NORMAL_TEMPORARY_FAILURE": 41,
    "SWITCH_CONGESTION": 42,
    "REQUESTED_CHAN_UNAVAIL": 44,
    "OUTGOING_CALL_BARRED": 52,
    "INCOMING_CALL_BARRED": 54,
    "BEARERCAPABILITY_NOTAVAIL": 58,
    "SERVICE_UNAVAILABLE": 63,
    "CHAN_NOT_IMPLEMENTED": 66,
    "SERVICE_NOT_IMPLEMENTED": 79,
    "INCOMPATIBLE_DESTINATION": 88,
    "RECOVERY_ON_TIMER_EXPIRE": 102,
    "INTERWORKING": 127,
    # FreeSWITCH's own causes are reported to Q.850 as NORMAL_CLEARING (16).
    "ORIGINATOR_CANCEL": 487,
    "LOSE_RACE": 502,
    "SYSTEM_SHUTDOWN": 701,
    "MANAGER_REQUEST": 703,
    "BLIND_TRANSFER": 600,
    "ATTENDED_TRANSFER": 601,
    "ALLOTTED_TIMEOUT": 602,
    "USER_CHALLENGE": 603,
    "MEDIA_TIMEOUT": 604,
    "PICKED_OFF": 605,
    "USER_NOT_REGISTERED": 606,
    "PROGRESS_TIMEOUT": 607,
    "INVALID_GATEWAY": 608,
    "GATEWAY_DOWN": 609,
}
_BY_NUMBER = {number: name for name, number in reversed(CAUSES.items())}


def cause(text: str) -> str:
    """The cause that an application argument means: a name in any case, or a number.

    Anything else is NORMAL_CLEARING, as in FreeSWITCH.
    """
    name = text.strip().upper()
    if name.isdigit():
        return _BY_NUMBER.get(int(name), "NORMAL_CLEARING")
    return name if name in CAUSES else "NORMAL_CLEARING"


def q850(name: str) -> int:
    """The Q.850 number of a cause; 16 for those that exist only in FreeSWITCH."""
    number = CAUSES.get(name, 16)
    return number if number < 128 else 16
