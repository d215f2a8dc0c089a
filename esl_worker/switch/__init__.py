"""The embedded switch: FreeSWITCH's side of the event socket, both ways, played by a clock.

It is for trying, testing and loading the service; production is FreeSWITCH.
"""

from esl_worker.switch.caller import Caller, Collect, ScriptedCaller, SilentCaller, Step
from esl_worker.switch.channel import Channel
from esl_worker.switch.clock import Clock
from esl_worker.switch.dialplan import Dialplan, service_dialplan
from esl_worker.switch.inbound import InboundServer
from esl_worker.switch.subscribers import Directory, Reaction, Subscribers
from esl_worker.switch.switch import Switch

__all__ = [
    "Caller",
    "Channel",
    "Clock",
    "Collect",
    "Dialplan",
    "Directory",
    "InboundServer",
    "Reaction",
    "ScriptedCaller",
    "SilentCaller",
    "Step",
    "Subscribers",
    "Switch",
    "service_dialplan",
]
