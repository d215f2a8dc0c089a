"""Whose line a call comes from, where that is proven."""

from __future__ import annotations

from billing.errors import InvalidNumber
from billing.numbers import parse_number
from callflows.call import Call

IDENTITY = "callflows_identity"
"""Set by the dialplan: "asserted" (P-Asserted-Identity of a trusted trunk, RFC 3325) or "from"
(the From of a trunk that screens it). A caller can set no channel variable."""

PROVEN = frozenset({"asserted", "from"})


def proven_number(call: Call, region: str) -> str | None:
    """The caller's number (E.164) if the network vouches for it; None: nobody knows who calls.

    What a call from anywhere else says of itself authenticates nobody.
    """
    if call.channel.variable(IDENTITY) not in PROVEN:
        return None
    try:
        return parse_number(call.channel.caller, region=region)
    except InvalidNumber:
        return None
