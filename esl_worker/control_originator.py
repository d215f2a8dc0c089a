"""Placing campaign calls over the control connection to a FreeSWITCH."""

from __future__ import annotations

from collections.abc import Callable

from esl_worker.control import Control
from esl_worker.dialling import check_dial_string, endpoint_of
from esl_worker.inbound import ControlError, ControlLost, NotConnected
from esl_worker.origination import CallEnd, OriginateResult, Origination
from esl_worker.originator import Fate, NotPlaced, Outgoing, SwitchAway, result_of

# The switch itself ends a conversation that nobody looks after any more.
LONGEST_CALL_S = 3600


class ControlOriginator:
    """The `Originator` port on a `Control`.

    ``dial_string`` is the endpoint with ``{e164}`` (digits without +) or ``{national}`` in it;
    ``then`` what an answered call does: the dialplan's extension of the announcing calls.
    """

    def __init__(self, control: Control, dial_string: str, then: str) -> None:
        self._control = control
        self._dial_string = check_dial_string(dial_string)
        self._then = then
        host, port = control.address
        self.name = f"{host}:{port}"

    @property
    def ready(self) -> bool:
        """Whether the switch is connected."""
        return self._control.connected

    def place(
        self,
        call: Outgoing,
        on_answer: Callable[[str], None],
        on_fate: Callable[[Fate], None],
    ) -> None:
        """See `Originator.place`."""

        def result(of: OriginateResult) -> None:
            if of.outcome == "answered":
                on_answer(of.uuid)
            elif of.outcome == "failed":
                on_fate(Fate(of.uuid, answered=False, result=result_of(of.cause)))
            else:
                # A lost one is looked for by the dialer as long as the switch may have it.
                on_fate(Fate(of.uuid, answered=False, result=None))

        def end(of: CallEnd) -> None:
            on_fate(Fate(of.uuid, answered=True, result=None, cut=of.cut))

        try:
            origination = Origination(
                endpoint=self._endpoint(call.number),
                then=self._then,
                uuid=call.call_id,
                ring_s=call.ring_s,
                limit_s=LONGEST_CALL_S,
                caller_number=call.caller_id,
            )
            self._control.originate_later(origination, result, end)
        except NotConnected as error:
            raise NotPlaced(str(error)) from error
        except ControlLost as error:
            if error.stage == "not_sent":
                raise NotPlaced(str(error)) from error
            on_fate(Fate(call.call_id, answered=False, result=None))

    def exists(self, call_ids: list[str]) -> set[str]:
        """See `Originator.exists`."""
        try:
            return self._control.calls(call_ids)
        except ControlError as error:
            raise SwitchAway(str(error)) from error

    def up_s(self) -> float | None:
        """See `Originator.up_s`."""
        try:
            answer = self._control.api("uptime s").strip()
        except ControlError as error:
            raise SwitchAway(str(error)) from error
        return float(answer) if answer.isdecimal() else None

    def hang_up(self, call_id: str) -> None:
        """See `Originator.hang_up`."""
        try:
            self._control.uuid_kill(call_id, "ORIGINATOR_CANCEL")
        except ControlError as error:
            raise SwitchAway(str(error)) from error

    def _endpoint(self, number: str) -> str:
        return endpoint_of(self._dial_string, number)
