"""The embedded switch in sync mode: what an application gets for its commands.

Every expectation here was checked against a real FreeSWITCH 1.10.12 with the same commands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from switch_client import Client, House

from esl_worker.switch import Channel, Dialplan, ScriptedCaller

Place = Callable[..., tuple[Channel, ScriptedCaller]]
QUESTION = "silence_stream://2000 silence_stream://100 choice"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """place(worker, keys) → the finished call and its caller."""
    houses: list[House] = []

    def start(
        worker: Callable[[Client], None], keys: list[str] | None = None, **options: object
    ) -> tuple[Channel, ScriptedCaller]:
        def connected(client: Client) -> None:
            assert client.command("connect") == "%2BOK%0A"
            client.execute("answer")
            worker(client)
            client.execute("hangup")

        house = House(tmp_path, connected)
        houses.append(house)
        return house.call(keys, **options)  # type: ignore[arg-type]

    yield start
    for house in houses:
        house.close()


def asked(client: Client, argument: str, *variables: str) -> list[str]:
    """Ask with play_and_get_digits, and fetch variables."""
    client.execute("play_and_get_digits", argument)
    return [client.getvar(name) for name in variables]


def test_a_question_is_answered(place: Place) -> None:
    """The answer is in the variable, read_result says success, unset is -ERR."""

    def worker(client: Client) -> None:
        got = asked(client, f"1 4 1 2000 # {QUESTION} \\d+ 700", "choice", "read_result", "no_such")
        assert got == ["1234", "success", "-ERR command not found"]

    channel, caller = place(worker, ["1234"])
    assert channel.hangup_cause == "NORMAL_CLEARING"
    assert [step.kind for step in caller.transcript] == ["event", "heard", "pressed", "event"]


def test_a_short_answer_counts_after_the_digit_timeout(place: Place) -> None:
    """Two of up to four digits, then nothing: read_result is timeout, and yet an answer."""

    def worker(client: Client) -> None:
        got = asked(client, f"1 4 1 2000 # {QUESTION} \\d+ 700", "choice", "read_result")
        assert got == ["12", "timeout"]

    place(worker, ["12"])


def test_a_terminator_ends_an_answer_and_is_not_part_of_it(place: Place) -> None:
    """12# of up to four: at once, without the hash; read_terminator_used has it."""

    def worker(client: Client) -> None:
        names = ("choice", "read_terminator_used", "read_result")
        assert asked(client, f"1 4 1 9000 # {QUESTION} \\d+ 9000", *names) == ["12", "#", "success"]

    channel, _ = place(worker, ["12#"])
    assert channel.elapsed() < 9


def test_no_input_is_a_failure_after_all_tries(place: Place) -> None:
    """Two tries play prompt and refusal twice; a timeout under a second counts as one."""

    def worker(client: Client) -> None:
        names = ("choice", "read_result", "choice_invalid")
        got = asked(client, f"1 1 2 500 # {QUESTION} \\d 500", *names)
        assert got == ["-ERR command not found", "failure", "-ERR command not found"]

    channel, caller = place(worker, ["", ""])
    assert caller.questions == 2
    assert channel.elapsed() >= 2 * (2.0 + 1.0 + 0.1)


def test_a_wrong_key_is_kept_as_invalid(place: Place) -> None:
    """A key that the pattern refuses goes to <variable>_invalid; the next try may succeed."""

    def worker(client: Client) -> None:
        names = ("choice", "choice_invalid", "read_result")
        assert asked(client, f"1 1 2 2000 # {QUESTION} [1-5] 700", *names) == ["3", "9", "success"]

    place(worker, ["9", "3"])


def test_too_few_digits_are_a_failure_but_stay_in_the_variable(place: Place) -> None:
    """One digit of four: failure, neither valid nor invalid (FreeSWITCH leaves it there)."""

    def worker(client: Client) -> None:
        got = asked(client, f"4 4 1 2000 # {QUESTION} \\d+ 700", "choice", "read_result")
        assert got == ["1", "failure"]

    place(worker, ["1"])


def test_keys_typed_ahead_answer_the_next_question(place: Place) -> None:
    """Keys beyond the first answer wait for the next question, whose prompt is cut short."""
    heard = []

    def worker(client: Client) -> None:
        assert asked(client, f"1 1 1 2000 # {QUESTION} \\d 700", "choice") == ["1"]
        assert asked(client, f"1 4 1 2000 # {QUESTION} \\d+ 700", "choice") == ["2345"]

    _, caller = place(worker, ["12345"], barge=True)
    heard = [step.seconds for step in caller.transcript if step.kind == "heard"]
    assert all(seconds < 1.9 for seconds in heard)


def test_keys_during_a_plain_playback_are_swallowed_and_star_ends_it(place: Place) -> None:
    """A digit in a playback is lost; the star (the default terminator) ends it."""

    def worker(client: Client) -> None:
        client.send("sendmsg\ncall-command: execute\nexecute-app-name: playback\n"
                    "execute-app-arg: silence_stream://9000")  # fmt: skip
        assert client.read()[0]["Reply-Text"] == "+OK"
        assert client.getvar("playback_terminator_used") == "*"
        assert client.getvar("current_application_response") == "FILE PLAYED"
        got = asked(client, "1 1 1 1000 # silence_stream://100 silence_stream://1 choice \\d+ 700",
                    "choice")  # fmt: skip
        assert got == ["-ERR command not found"]

    class Presser(ScriptedCaller):
        def heard(self, files: tuple[str, ...], duration: float, collecting: object) -> None:
            super().heard(files, duration, None)
            if duration == 9.0:
                self._give("7*")

    house_caller = Presser([])

    def start(worker: Callable[[Client], None]) -> Channel:
        def connected(client: Client) -> None:
            client.command("connect")
            client.execute("answer")
            worker(client)
            client.execute("hangup")

        house = House(Path("."), connected)
        try:
            channel = house.switch.call("2000", "1", caller=house_caller)
            house.ended(channel)
            return channel
        finally:
            house.close()

    assert start(worker).elapsed() < 9


def test_a_key_ends_sleep_and_waits_for_the_next_question(place: Place) -> None:
    """`sleep` is cut short by a key, and the key is still there."""

    def worker(client: Client) -> None:
        client.execute("play_and_get_digits", "1 1 1 1000 # silence_stream://500 x one \\d 1000")
        client.execute("sleep", "60000")
        assert asked(client, f"1 1 1 1000 # {QUESTION} \\d 700", "choice") == ["2"]

    channel, _ = place(worker, ["12"])
    assert channel.elapsed() < 60


def test_variables_as_freeswitch_sets_them(place: Place) -> None:
    """Empty values unset; a comma may stand for =; multiset splits at its delimiter only."""

    def worker(client: Client) -> None:
        unset = "-ERR command not found"
        client.execute("set", "a=1")
        client.execute("set", "a=")
        client.execute("set", "c,7")
        client.execute("multiset", "^^;d=1;e=two words;f=;g=3")
        client.execute("multiset", "h=1 i=2")
        got = [client.getvar(name) for name in "acdefghi"]
        assert got == [unset, "7", "1", "two words", unset, "3", "1", "2"]
        client.execute("unset", "d")
        assert client.getvar("d") == unset
        assert client.getvar("destination_number") == "2000"
        assert client.getvar("caller_id_number") == "02188776655"

    place(worker)


def test_expansion_in_arguments_is_seen_and_api_is_not_run(place: Place) -> None:
    """${variable} expands as on FreeSWITCH; ${api(…)} expands to nothing, and is recorded."""

    def worker(client: Client) -> None:
        client.execute("set", "v=${caller_id_number:0:3}-${nope}-${caller_id_number:-3}-$x-$1")
        assert client.getvar("v") == "021--655-$x-$1"
        client.execute("set", "w=[${system(rm -rf /)}]")
        assert client.getvar("w") == "[]"

    channel, _ = place(worker)
    assert ("api", "system", "rm -rf /") in channel.expansions
    assert ("variable", "nope", "") in channel.expansions


def test_a_value_that_doubles_itself_ends(place: Place) -> None:
    """A variable that contains itself twice does not keep the switch busy for ever."""

    def worker(client: Client) -> None:
        client.execute("set", "a=\\${a}\\${a}")
        client.execute("set", "b=${a}")
        assert client.getvar("destination_number") == "2000"

    place(worker)


def test_arguments_in_a_body_and_loops(place: Place) -> None:
    """A text/plain body is the argument; loops repeat what takes half a second or more."""

    def worker(client: Client) -> None:
        client.sock.sendall(
            b"sendmsg\ncall-command: execute\nexecute-app-name: set\n"
            b"content-type: text/plain\ncontent-length: 9\n\na=x: y\n\nz"
        )
        assert client.read()[0]["Reply-Text"] == "+OK"
        client.execute("playback", "silence_stream://600", "\nloops: 3")
        client.execute("playback", "silence_stream://200", "\nloops: 3")
        uuid = client.getvar("uuid")
        message = "call-command: hangup\nhangup-cause: USER_BUSY"
        assert client.command("sendmsg nobody\n" + message) == "-ERR invalid session id [nobody]"
        assert client.command(f"sendmsg {uuid}\n{message}") == "+OK"

    channel, caller = place(worker)
    assert channel.variables["a"] == "x: y\n\nz"
    assert channel.hangup_cause == "USER_BUSY"
    heard = [step.recordings[0] for step in caller.transcript if step.kind == "heard"]
    assert heard == ["silence_stream://600"] * 3 + ["silence_stream://200"]


def test_commands_may_be_pipelined(place: Place) -> None:
    """Three commands in one write are answered in order, the last one when it has ended."""

    def worker(client: Client) -> None:
        client.send(
            "sendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: a=1\n\n"
            "sendmsg\ncall-command: execute\nexecute-app-name: playback\n"
            "execute-app-arg: silence_stream://1000\n\ngetvar a"
        )
        assert [client.read()[0]["Reply-Text"] for _ in range(3)] == ["+OK", "+OK", "1"]

    channel, _ = place(worker)
    assert channel.elapsed() >= 1.0


def test_a_hangup_in_a_prompt_ends_it_and_drops_what_was_pipelined(place: Place) -> None:
    """The running command is answered, then comes the notice; later commands are not done."""
    seen = []

    def worker(client: Client) -> None:
        client.send(
            "sendmsg\ncall-command: execute\nexecute-app-name: play_and_get_digits\n"
            f"execute-app-arg: 1 1 1 60000 # {QUESTION} \\d 700\n\n"
            "sendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: late=1"
        )
        seen.append(client.read()[0]["Reply-Text"])
        headers, body = client.read()
        seen.append(headers["Content-Disposition"])
        assert body.startswith(b"Disconnected, goodbye.")
        with pytest.raises(EOFError):
            client.read()

    channel, _ = place(worker, ["hangup"])
    assert seen == ["+OK", "disconnect"]
    assert "late" not in channel.variables
    assert (channel.hangup_cause, channel.hung_up_by) == ("NORMAL_CLEARING", "caller")


def test_a_transfer_takes_effect_when_the_socket_is_closed(place: Place) -> None:
    """In sync mode the socket stays open after `transfer`; then the other extension runs."""

    def worker(client: Client) -> None:
        assert client.execute("transfer", "9990 XML payment") == "+OK"
        assert client.execute("playback", "silence_stream://60000") == "+OK"
        assert client.getvar("destination_number") == "9990"
        assert client.command("exit") == "+OK bye"
        assert client.read()[0]["Content-Disposition"] == "disconnect"

    channel, _ = place(worker)
    assert channel.transferred_to == ("9990", "payment")
    assert channel.variables["arrived"] == "9990"
    assert channel.elapsed() < 60


def test_bridge_results(place: Place) -> None:
    """A talk, a busy line, an extension that is not there; the caller hears the far end."""

    def worker(client: Client) -> None:
        client.execute("set", "continue_on_fail=true")
        results = []
        for dial in ("error/user_busy", "loopback/x/nowhere", "loopback/2000/payment"):
            client.execute("bridge", dial)
            results.append(client.getvar("originate_disposition"))
        assert results == ["USER_BUSY", "NO_ROUTE_DESTINATION", "SUCCESS"]
        assert client.getvar("bridge_hangup_cause") == "NORMAL_CLEARING"

    _, caller = place(worker)
    heard = [step.recordings for step in caller.transcript if step.kind == "heard"]
    assert heard == [("silence_stream://500",)]


def test_a_failed_bridge_ends_the_call_unless_told_otherwise(place: Place) -> None:
    """Without continue_on_fail the caller gets the cause of the failure."""
    channel, _ = place(lambda client: client.execute("bridge", "error/user_busy"))
    assert channel.hangup_cause == "USER_BUSY"


def test_a_missing_recording_is_counted_and_skipped(place: Place, tmp_path: Path) -> None:
    """FreeSWITCH says FILE NOT FOUND and goes on; the switch remembers what was missing."""

    def worker(client: Client) -> None:
        client.execute("playback", "fa/none.wav")
        assert client.getvar("current_application_response") == "FILE NOT FOUND"
        client.execute("playback", "file_string://fa/none.wav!silence_stream://100")
        assert client.getvar("current_application_response") == "FILE PLAYED"

    channel, caller = place(worker)
    assert channel.switch.missing == {"fa/none.wav": 2}
    events = [step.data for step in caller.transcript if step.name == "missing"]
    assert events == [{"file": "fa/none.wav"}] * 2


def test_interruptions_from_outside(place: Place) -> None:
    """uuid_break ends a prompt, uuid_setvar is seen, sched_hangup ends the call."""

    def worker(client: Client) -> None:
        uuid = client.getvar("uuid")
        switch = houses[0].switch
        clock = switch.clock
        clock.later(1, switch.api, f"uuid_break {uuid}")
        client.execute("playback", "silence_stream://600000")
        clock.later(1, switch.api, f"uuid_setvar {uuid} news good")
        client.execute("sleep", "2000")
        assert client.getvar("news") == "good"
        client.execute("sched_hangup", "+1 allotted_timeout")
        client.execute("playback", "silence_stream://600000")

    houses: list[House] = []

    def connected(client: Client) -> None:
        client.command("connect")
        client.execute("answer")
        worker(client)

    houses.append(House(Path("."), connected))
    try:
        channel, _ = houses[0].call()
    finally:
        houses[0].close()
    assert channel.hangup_cause == "ALLOTTED_TIMEOUT"
    assert channel.elapsed() < 600


@pytest.mark.parametrize("mode", ["full", "async full"])
def test_a_dead_worker_hands_the_call_to_the_next_one(tmp_path: Path, mode: str) -> None:
    """The running prompt ends normally, then the second socket action has the live call."""
    seen = []

    def dying(client: Client) -> None:
        client.command("connect")
        client.execute("answer")
        client.execute("set", "callflows_state=menu")
        client.send("sendmsg\ncall-command: execute\nexecute-app-name: playback\n"
                    "execute-app-arg: silence_stream://1000")  # fmt: skip

    def taking_over(client: Client) -> None:
        client.send("connect")
        headers, _ = client.read()
        seen.append((headers["Answer-State"], headers["variable_callflows_state"]))
        client.execute("hangup", "USER_BUSY")

    def twice(addresses: list[str]) -> Dialplan:
        actions = [("socket", f"{address} {mode}") for address in addresses]
        return Dialplan({"public": [(r"\d+", actions)]})

    house = House(tmp_path, dying, taking_over, dialplan=twice)
    try:
        channel, caller = house.call()
    finally:
        house.close()
    assert seen == [("answered", "menu")]
    assert channel.hangup_cause == "USER_BUSY"
    assert [step.seconds for step in caller.transcript if step.kind == "heard"] == [1.0]


def test_resume_strands_a_sync_call(tmp_path: Path) -> None:
    """After `resume` no further action runs: the caller hears nothing until a hangup."""

    def worker(client: Client) -> None:
        client.command("connect")
        client.execute("answer")
        assert client.command("resume") == "+OK"

    house = House(tmp_path, worker)
    channel = house.switch.call("2000", "1", caller=ScriptedCaller([]))
    house.switch.clock.later(20, channel.hang_up)
    house.ended(channel)
    house.close()
    assert channel.elapsed() >= 20
    assert channel.hung_up_by == "caller"


def test_hosts_are_tried_in_order_and_refusals_fall_through(tmp_path: Path) -> None:
    """A dead host, a worker that refuses by closing, then the apology and its hangup."""
    refusals = []
    house = House(
        tmp_path,
        lambda client: refusals.append(1),
        dialplan=lambda addresses: Dialplan(
            {
                "public": [
                    (
                        "2000",
                        [
                            ("socket", f"127.0.0.1:1|{addresses[0]} full"),
                            ("playback", "silence_stream://500"),
                            ("hangup", "SERVICE_UNAVAILABLE"),
                        ],
                    )
                ]
            }
        ),
    )
    try:
        channel, caller = house.call()
    finally:
        house.close()
    assert refusals == [1]
    assert channel.hangup_cause == "SERVICE_UNAVAILABLE"
    assert [step.recordings for step in caller.transcript if step.kind == "heard"] == [
        ("silence_stream://500",)
    ]


def test_a_number_without_an_extension_is_refused(tmp_path: Path) -> None:
    """No route: the call ends with that cause, and nobody is asked."""
    house = House(tmp_path, lambda client: None, dialplan=lambda _: Dialplan({}))
    channel, _ = house.call()
    house.close()
    assert channel.hangup_cause == "NO_ROUTE_DESTINATION"


def test_an_error_of_the_caller_ends_the_call_and_is_raised(tmp_path: Path) -> None:
    """What the caller's own code raises is not lost in a greenlet: join raises it."""

    class Broken(ScriptedCaller):
        def event(self, name: str, data: object) -> None:
            if name == "answered":
                raise LookupError("the caller's mistake")

    def worker(client: Client) -> None:
        client.command("connect")
        client.execute("answer")

    house = House(tmp_path, worker)
    channel = house.switch.call("2000", "1", caller=Broken([]))
    try:
        with pytest.raises(LookupError, match="mistake"):
            channel.join(10)
    finally:
        house.close()
    assert channel.down
    assert not house.switch.channels
