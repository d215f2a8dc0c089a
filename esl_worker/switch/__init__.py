"""The embedded switch: FreeSWITCH's side of the outbound event socket, played by a clock.

It is for trying, testing and loading the service; production is FreeSWITCH.
"""

from esl_worker.switch.caller import Caller, Collect, ScriptedCaller, SilentCaller, Step
from esl_worker.switch.channel import Channel
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import Dialplan, service_dialplan
from esl_worker.switch.switch import Switch

__all__ = [
    "Caller",
    "Channel",
    "Clock",
    "Collect",
    "Dialplan",
    "ScriptedCaller",
    "SilentCaller",
    "Step",
    "Switch",
    "service_dialplan",
]
