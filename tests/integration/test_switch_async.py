"""The embedded switch in async mode, where the captures end: events of others, early closing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from switch_client import Client, House

from esl_worker.switch import Channel, Dialplan, ScriptedCaller


def dialplan(addresses: list[str]) -> Dialplan:
    """Async socket actions, and a number that only plays."""
    return Dialplan(
        {
            "public": [
                ("2000", [("socket", f"{addresses[0]} async full"), ("hangup", "USER_BUSY")]),
                (
                    "2001",
                    [
                        ("set", "park_timeout=3:allotted_timeout"),
                        ("socket", f"{addresses[0]} async full"),
                    ],
                ),
                ("3000", [("answer", ""), ("playback", "silence_stream://200"), ("hangup", "")]),
            ]
        }
    )


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[list[House]]:
    """Houses to be closed after the test."""
    built: list[House] = []
    yield built
    for house in built:
        house.close()


def events(client: Client, count: int) -> list[dict[str, str]]:
    """The next events, plain or JSON."""
    found: list[dict[str, str]] = []
    while len(found) < count:
        headers, body = client.read()
        if headers["Content-Type"] == "text/event-json":
            found.append(json.loads(body))
        elif headers["Content-Type"] == "text/event-plain":
            lines = body.decode().partition("\n\n")[0].split("\n")
            found.append({name: value for name, _, value in (x.partition(": ") for x in lines)})
    return found


def test_without_a_filter_events_of_every_call_come(houses: list[House], tmp_path: Path) -> None:
    """`event` on a full socket is for the whole switch; `filter` narrows it to one call."""
    seen: list[tuple[str, bool]] = []
    other: list[Channel] = []

    def worker(client: Client) -> None:
        client.send("connect")
        uuid = client.read()[0]["Unique-ID"]
        client.command("event json CHANNEL_ANSWER PLAYBACK_START PLAYBACK_STOP")
        other.append(houses[0].switch.call("3000", "1", caller=ScriptedCaller([])))
        got = events(client, 3)
        seen.extend((each["Event-Name"], each["Unique-ID"] == uuid) for each in got)
        assert client.command(f"filter Unique-ID {uuid}").startswith("+OK filter added.")
        other.append(houses[0].switch.call("3000", "1", caller=ScriptedCaller([])))
        client.execute("answer")
        seen.extend((each["Event-Name"], each["Unique-ID"] == uuid) for each in events(client, 1))
        client.execute("hangup")

    houses.append(House(tmp_path, worker, dialplan=dialplan))
    houses[0].call()
    for channel in other:
        houses[0].ended(channel)
    assert seen == [
        ("CHANNEL_ANSWER", False),
        ("PLAYBACK_START", False),
        ("PLAYBACK_STOP", False),
        ("CHANNEL_ANSWER", True),
    ]


def test_a_background_job_reports_when_it_is_done(houses: list[House], tmp_path: Path) -> None:
    """bgapi answers with the job's uuid; an event brings the result as its body."""

    def worker(client: Client) -> None:
        client.command("connect")
        client.command("event plain BACKGROUND_JOB")
        assert client.command("bgapi hostname\njob-uuid: j1") == "+OK Job-UUID: j1"
        headers, body = client.read()
        assert headers["Content-Type"] == "text/event-plain"
        head, _, result = body.decode().partition("\n\n")
        assert "Job-UUID: j1" in head
        assert "Content-Length: 8" in head
        assert result == "embedded"
        client.execute("hangup")

    houses.append(House(tmp_path, worker, dialplan=dialplan))
    houses[0].call()


def test_closing_the_socket_lets_the_dialplan_go_on(houses: list[House], tmp_path: Path) -> None:
    """The application that is running ends normally, then comes the next action."""

    def worker(client: Client) -> None:
        client.command("connect")
        client.execute("answer")
        client.execute("playback", "silence_stream://2000")

    houses.append(House(tmp_path, worker, dialplan=dialplan))
    channel, caller = houses[0].call()
    assert channel.hangup_cause == "USER_BUSY"
    assert [step.seconds for step in caller.transcript if step.kind == "heard"] == [2.0]


def test_closing_before_connect_parks_the_caller_until_the_time_is_over(
    houses: list[House], tmp_path: Path
) -> None:
    """Known of FreeSWITCH: nobody holds the call any more; park_timeout ends it."""
    houses.append(House(tmp_path, lambda client: None, dialplan=dialplan))
    channel = houses[0].switch.call("2001", "1", caller=ScriptedCaller([]))
    houses[0].ended(channel)
    assert channel.hangup_cause == "ALLOTTED_TIMEOUT"
    assert channel.elapsed() >= 3


def test_keys_between_applications_are_swallowed(houses: list[House], tmp_path: Path) -> None:
    """A parked call takes the keys itself: they make events, and answer nothing."""
    digits = []

    def worker(client: Client) -> None:
        client.command("connect")
        client.command("event plain DTMF CHANNEL_EXECUTE_COMPLETE")
        client.execute("answer")
        events(client, 1)
        channel.press("5")
        digits.extend(each["DTMF-Digit"] for each in events(client, 1))
        client.execute("play_and_get_digits", "1 1 1 1000 # silence_stream://100 x v \\d 1000")
        (done,) = events(client, 1)
        assert done["variable_read_result"] == "failure"
        client.execute("hangup")

    houses.append(House(tmp_path, worker, dialplan=dialplan))
    channel = houses[0].switch.call("2000", "1", caller=ScriptedCaller([]))
    houses[0].ended(channel)
    assert digits == ["5"]
