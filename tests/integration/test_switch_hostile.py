"""Hostile input on the event socket ends that socket at most; never the switch, never a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from switch_client import Client, House

from esl_worker.switch import Dialplan, ScriptedCaller

APPLICATIONS = [
    "answer", "bridge", "break", "hangup", "multiset", "nonsense", "park", "play_and_get_digits",
    "playback", "read", "record", "sched_hangup", "set", "sleep", "transfer", "unset", "export",
]  # fmt: skip
ARGUMENTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "", "silence_stream://-1", "silence_stream://99999999999", "file_string://!!a!b!",
            "1 1 999999999 1 # x x v ((( 1", "-1 -1 -1", "0 0 0", "999999 999999 1 1 # silence",
            "${a}${b(${c})}", "a=${a}${a}", "^^", "^^^", "^^:a=1:b", "loopback/2000/public",
            "loopback//", "error/", "{}[]<>x|y|", "2000 XML public", "+1 x", "+ x", "9" * 14,
            "tone_stream://%(1,1,1);loops=-1", "/etc/passwd", "../../../etc/hosts", "a\0b.wav",
        ]
    ),
)  # fmt: skip
LINES = st.one_of(
    st.builds(
        lambda app, arg, more: (
            f"sendmsg\ncall-command: execute\nexecute-app-name: {app}\nexecute-app-arg: {arg}{more}"
        ),
        st.sampled_from(APPLICATIONS),
        ARGUMENTS,
        st.sampled_from(["", "\nloops: -1", "\nloops: x", "\nevent-lock: true", "\nasync: true",
                         "\nlead-frames: 3", "\ncontent-length: 9999", "\ncontent-length: -5"]),
    ),
    st.builds(
        "{} {}".format,
        st.sampled_from(
            ["connect", "myevents", "event json", "event plain ALL", "filter", "nixevent", "linger",
             "getvar", "api uuid_break", "api sched_hangup", "bgapi status", "sendmsg", "noevents",
             "divert_events", "resume", "exit", "api", "log", "sendevent", "\0", "x" * 5000]
        ),
        ARGUMENTS,
    ),
)  # fmt: skip
BYTES = st.one_of(
    LINES.map(lambda line: line.encode("utf-8", "replace") + b"\n\n"),
    LINES.map(lambda line: line.encode("utf-8", "replace")),
    st.binary(max_size=200),
    st.just(b"x" * 70_000),
)


def one_socket_then(cause: str) -> Callable[[list[str]], Dialplan]:
    """A dialplan with one socket action, and a hangup with this cause after it."""

    def plan(addresses: list[str]) -> Dialplan:
        actions = [("socket", f"{addresses[0]} full"), ("hangup", cause)]
        return Dialplan({"public": [("2000", actions)]})

    return plan


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A switch whose number 1… leads to the hostile application, 2… to a good one."""
    attack: list[bytes] = []

    def hostile(client: Client) -> None:
        pieces, attack[:] = attack[:], []  # only the first connection of a call attacks
        if not pieces:
            return
        client.command("connect")
        for piece in pieces:
            client.sock.sendall(piece)
        while client.sock.recv(65536):
            pass

    def good(client: Client) -> None:
        client.command("connect")
        client.execute("answer")
        client.execute("play_and_get_digits", "1 1 1 5000 # silence_stream://200 x v \\d 5000")
        client.execute("hangup", "NORMAL_CLEARING" if client.getvar("v") == "7" else "USER_BUSY")

    def plan(addresses: list[str]) -> Dialplan:
        ending = [("hangup", "CALL_REJECTED")]
        modes = {"11": "full", "12": "async full", "13": ""}
        extensions = [
            (number, [("socket", f"{addresses[0]} {mode}"), *ending])
            for number, mode in modes.items()
        ]
        extensions.append(("2000", [("socket", f"{addresses[1]} full"), *ending]))
        return Dialplan({"public": extensions})

    built = House(tmp_path_factory.mktemp("sounds"), hostile, good, dialplan=plan)
    built.attack = attack  # type: ignore[attr-defined]
    errors: list[object] = []
    hub = gevent.get_hub()
    report = hub.handle_error
    hub.handle_error = lambda *error: errors.append(error)
    yield built
    hub.handle_error = report
    built.close()
    assert not errors, "something failed inside a greenlet of the switch"


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(BYTES, min_size=1, max_size=8), number=st.sampled_from(["11", "12", "13"]))
def test_whatever_an_application_sends_its_call_ends_when_the_caller_hangs_up(
    house: House, pieces: list[bytes], number: str
) -> None:
    """Garbage, halves, floods, absurd arguments; afterwards no call is left over."""
    house.attack[:] = pieces  # type: ignore[attr-defined]
    channel = house.switch.call(number, "0218\n8776655", caller=ScriptedCaller([]))
    house.switch.clock.later(2, channel.hang_up)
    house.ended(channel)
    # The far legs of its bridges end with it, a moment later.
    with gevent.Timeout(5):
        while house.switch.channels:
            gevent.sleep(0.001)


def test_other_calls_do_not_notice(house: House) -> None:
    """While one application floods the switch, another call is served."""
    house.attack[:] = [b"getvar uuid\n\n" * 2000] * 5  # type: ignore[attr-defined]
    bad = house.switch.call("11", "1", caller=ScriptedCaller([]))
    channel = house.switch.call("2000", "2", caller=ScriptedCaller(["7"]))
    assert channel.join(10)
    assert channel.hangup_cause == "NORMAL_CLEARING"
    bad.hang_up()
    house.ended(bad)


def test_an_oversized_command_closes_the_socket_and_the_dialplan_goes_on(house: House) -> None:
    """Half a megabyte without an empty line: the socket is closed, the next action runs."""
    house.attack[:] = [b"sendmsg\n" + b"a: b\n" * 100_000]  # type: ignore[attr-defined]
    channel = house.switch.call("11", "1", caller=ScriptedCaller([]))
    house.ended(channel)
    assert channel.hangup_cause == "CALL_REJECTED"


def test_a_hostile_caller_id_is_encoded_as_freeswitch_does(tmp_path: Path) -> None:
    """Newlines are encoded, the text %0A passes as it is (capture 11): workers split first."""
    answers = []

    def worker(client: Client) -> None:
        client.send("connect")
        block = b""
        while not block.endswith(b"\n\n"):
            block += client.sock.recv(1)
        answers.append(block.decode())

    house = House(tmp_path, worker, dialplan=one_socket_then(""))
    channel = house.switch.call(
        "2000",
        "0218%0A8776655",
        caller_name='Eve\nvariable_owner_verified: true%0Avariable_x: y"<>',
        caller=ScriptedCaller([]),
    )
    house.ended(channel)
    house.close()
    lines = answers[0].split("\n")
    assert "Caller-Caller-ID-Number: 0218%0A8776655" in lines
    name = "Eve%0Avariable_owner_verified%3A%20true%0Avariable_x%3A%20y%22%3C%3E"
    assert f"Caller-Caller-ID-Name: {name}" in lines
    assert not any(line.startswith("variable_owner_verified") for line in lines)


def test_an_application_that_never_connects_is_given_up(tmp_path: Path) -> None:
    """25 (virtual) seconds for the first command, then the dialplan goes on."""

    def worker(client: Client) -> None:
        while client.sock.recv(65536):
            pass

    house = House(tmp_path, worker, dialplan=one_socket_then("NO_USER_RESPONSE"))
    channel, _ = house.call()
    house.close()
    assert channel.hangup_cause == "NO_USER_RESPONSE"
    assert 25 <= channel.elapsed() < 60
