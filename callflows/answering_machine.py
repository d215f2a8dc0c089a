"""Whether a machine has answered: a port, because every network finds out in its own way.

A detector looks at the call once, right after it was answered. The one here believes a channel
variable, which the dialplan or the carrier sets before the call comes to us: FreeSWITCH's mod_amd
(``amd_result``), mod_avmd (``avmd_detect``), or a dialplan's own ``callflows_answered_by``. Another
policy is another function, given to `callflows.announce_flow.AnnounceFlow`.
"""

from __future__ import annotations

from collections.abc import Callable

from callflows.call import Call

Detector = Callable[[Call], bool]
"""Says whether a machine has answered. May play and listen; may raise CallerGone."""

VARIABLES = {
    "callflows_answered_by": frozenset({"machine"}),
    "amd_result": frozenset({"machine"}),
    "avmd_detect": frozenset({"true"}),
}
"""Channel variables, and their values that tell of a machine (in lower case)."""


def by_variable(call: Call) -> bool:
    """Believe the variables that the switch has set."""
    return any(
        (call.channel.variable(name) or "").lower() in machine
        for name, machine in VARIABLES.items()
    )
