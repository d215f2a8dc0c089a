"""A call that we place: what is asked of the switch, and what became of it.

The command is ``originate {variables}endpoint what-then``. Measured on FreeSWITCH 1.10.12: in the
braces a comma separates and ``\\,`` is a comma, single quotes keep blanks, ``}`` ends them in any
case; ``execute_on_answer`` limits the call even if nobody looks after it any more; without
``ignore_early_media`` ringing with a tone counts as an answer.
"""

from __future__ import annotations

import re
import uuid as uuids
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from esl_worker.inbound import line
from esl_worker.session import safe_variable_value

Outcome = Literal["answered", "failed", "lost"]

CONTROL_VARIABLE = "callflows_control"
"""Channel variable that tells our originations from others'; the subscription filters by it."""

# What may stand in an endpoint: no blank (another argument), no comma, "|" or brackets (more than
# one call), no "$" (expansion).
_ENDPOINT = re.compile(r"[A-Za-z0-9_+*#.:;@%=/~-]{1,256}")
_UUID = re.compile(r"[0-9A-Za-z-]{8,36}")
_VARIABLE = re.compile(r"[A-Za-z0-9_.-]+")
_APPLICATION = re.compile(r"&[a-z_0-9]+\([^()'\"\\${}]*\)")
_EXTENSION = re.compile(r"[0-9A-Za-z_*#+.-]+( [A-Za-z]+( [0-9A-Za-z_.-]+)?)?")

# Set by the fields of an origination; not to be overruled by its variables.
_OURS = frozenset({
    "origination_uuid", CONTROL_VARIABLE, "ignore_early_media", "originate_timeout",
    "origination_caller_id_number", "origination_caller_id_name", "execute_on_answer",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Origination:
    """A call to be placed.

    Attributes:
        endpoint: whom to call, as a dial string for one call: ``sofia/gateway/trunk/09123456789``.
        then: what an answered call does: an application, ``&park()`` or
            ``&socket(127.0.0.1:8084 full)``, or an extension, ``2000 XML public``.
        uuid: the call's id on the switch, made by us, so that a call whose answer was lost can be
            asked for. Never use one twice: the switch would dial a second time (measured).
        ring_s: whole seconds that it may ring.
        limit_s: whole seconds that an answered call may last; None: no limit. Kept by the switch.
        caller_number, caller_name: the caller ID shown; the switch's own where empty.
        variables: channel variables that the call begins with.
    """

    endpoint: str
    then: str
    uuid: str = field(default_factory=lambda: str(uuids.uuid4()))
    ring_s: int = 45
    limit_s: int | None = None
    caller_number: str = ""
    caller_name: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, control: str) -> str:
        """The API command, marked as placed by ``control``.

        Raises ValueError that names the field, for anything the switch would read otherwise.
        """
        if not _ENDPOINT.fullmatch(self.endpoint) or "/" not in self.endpoint:
            raise ValueError("endpoint must be a dial string for one call, such as sofia/gateway/…")
        if not (_APPLICATION.fullmatch(self.then) or _EXTENSION.fullmatch(self.then)):
            raise ValueError("then must be &application(…) or an extension, dialplan and context")
        if not _UUID.fullmatch(self.uuid):
            raise ValueError("uuid must be up to 36 letters, digits and '-'")
        fields = {
            "origination_uuid": self.uuid,
            CONTROL_VARIABLE: control,
            "ignore_early_media": "true",
            "originate_timeout": str(_seconds(self.ring_s, "ring_s")),
        }
        if self.caller_number:
            fields["origination_caller_id_number"] = self.caller_number
        if self.caller_name:
            fields["origination_caller_id_name"] = self.caller_name
        if self.limit_s is not None:
            seconds = _seconds(self.limit_s, "limit_s")
            fields["execute_on_answer"] = f"sched_hangup +{seconds} allotted_timeout"
        for name in self.variables:
            if not _VARIABLE.fullmatch(name) or name in _OURS:
                raise ValueError(f"variable {name!r} cannot be set here")
        pairs = [f"{k}={_quoted(v, k)}" for k, v in {**fields, **self.variables}.items()]
        # Unquoted, a blank inside &app(…) begins the next argument: `&socket(… full)` would lose
        # its flag (measured).
        then = f"'{self.then}'" if self.then.startswith("&") else self.then
        return f"originate {{{','.join(pairs)}}}{self.endpoint} {then}"


def _seconds(value: int, name: str) -> int:
    if not isinstance(value, int) or not 0 < value <= 86400:
        raise ValueError(f"{name} must be 1 to 86400 whole seconds")
    return value


def _quoted(value: str, name: str) -> str:
    """A value between the braces; ValueError for one that would not arrive as it is."""
    safe_variable_value(line(value, name), name)
    if "{" in value or "}" in value:
        raise ValueError(f"{name} holds a brace, which would end the variables")
    value = value.replace(",", "\\,")
    return f"'{value}'" if " " in value else value


@dataclass(frozen=True, slots=True)
class OriginateResult:
    """What became of an origination.

    Attributes:
        uuid: as in the origination.
        outcome: ``answered``; ``failed``, and ``cause`` is the hangup cause; ``lost``: not known,
            and ``cause`` says why (connection or switch lost at the wrong moment). A lost one may
            have rung and been answered: it is looked for in the CDRs, and never dialled again.
        cause: "" for an answered call.
    """

    uuid: str
    outcome: Outcome
    cause: str = ""

    @property
    def answered(self) -> bool:
        """Whether somebody (or a machine) took the call."""
        return self.outcome == "answered"


@dataclass(frozen=True, slots=True)
class CallEnd:
    """The end of a call that had been answered.

    Attributes:
        uuid: as in the origination.
        cause: the hangup cause; None where only the fact is known (the event was lost, or the
            switch was restarted).
        talked_s: whole seconds from answer to end; None where not known.
        cut: whether the switch died with the call.
    """

    uuid: str
    cause: str | None
    talked_s: int | None
    cut: bool = False
