"""Campaign calls over a control connection: what the connection says becomes a call's fate."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from esl_worker.control_originator import ControlOriginator
from esl_worker.inbound import NotConnected
from esl_worker.origination import CallEnd, OriginateResult, Origination
from esl_worker.originator import Fate, Outgoing, SwitchAway

CALL = Outgoing("call-0001", "+982188776655", "2000", 30)


class Connection:
    """Keeps the callbacks of the one call; answers an API command, or is away."""

    address = ("10.0.0.5", 8021)

    def __init__(self, answer: str | None = None) -> None:
        self.answer = answer

    def originate_later(
        self,
        origination: Origination,
        on_result: Callable[[OriginateResult], None],
        on_end: Callable[[CallEnd], None],
    ) -> None:
        self.on_result, self.on_end = on_result, on_end

    def api(self, command: str) -> str:
        if self.answer is None:
            raise NotConnected("away")
        assert command == "uptime s"
        return self.answer


@pytest.mark.parametrize("cut", [False, True])
def test_a_switch_that_died_with_a_call_is_told_from_a_hangup(cut: bool) -> None:
    """It was answered either way; only then the subscriber has not ended it."""
    connection, fates = Connection(), list[Fate]()
    originator = ControlOriginator(connection, "sofia/gateway/carrier/{national}", "2001")  # type: ignore[arg-type]
    originator.place(CALL, lambda _: None, fates.append)
    connection.on_result(OriginateResult(CALL.call_id, "answered"))
    connection.on_end(CallEnd(CALL.call_id, None, None, cut))
    assert fates == [Fate(CALL.call_id, answered=True, result=None, cut=cut)]


@pytest.mark.parametrize(("answer", "seconds"), [("73\n", 73.0), ("-ERR no such command\n", None)])
def test_how_long_a_switch_has_been_running(answer: str, seconds: float | None) -> None:
    """In seconds, or not known; whoever is away is not taken for young."""
    originator = ControlOriginator(Connection(answer), "loopback/{e164}", "2001")  # type: ignore[arg-type]
    assert originator.up_s() == seconds
    originator = ControlOriginator(Connection(), "loopback/{e164}", "2001")  # type: ignore[arg-type]
    with pytest.raises(SwitchAway):
        originator.up_s()
