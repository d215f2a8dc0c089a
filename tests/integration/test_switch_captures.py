"""The embedded switch answers the captures' applications as FreeSWITCH 1.10.12 did.

Each of the eighteen captures is replayed in compressed time. Replies, and events, must come in
the recorded order with the recorded contents, except for what is listed here with its reason.
"""

from __future__ import annotations

import re
from pathlib import Path

import captures
import pytest
from switch_replay import UUID, Replay, Seen, raced

# Frames and their order. The switch writes replies and events from two threads, so their
# interleaving is chance, and is not compared; nor where CHANNEL_PARK and the linger notice
# fall among them (`raced`): the session's and the socket's thread race there.

# Header names that may be there or not.
NAMES = {
    # Set when the caller's ACK arrives: a moment after the answer, on either side of the
    # next event (captures 01 and 02 have them a step earlier than 03 to 08).
    "variable_sip_to_tag",
    "variable_sip_cseq",
}
# Capture 11's caller is no telephone but a test program that sends few SIP headers.
BARE_SIP = {
    "variable_sip_h_X-Evil",
    "variable_sip_Remote-Party-ID",
    "variable_sip_allow",
    "variable_sip_cid_type",
    "variable_sip_to_port",
    "variable_sip_user_agent",
    "variable_sip_via_rport",
}
# Headers whose values are not compared.
VOLATILE = re.compile(
    "|".join(
        [
            # moments and durations: the replay runs at another time, and faster
            r"^Event-Date-|-Time$|_stamp$|epoch$|(duration|bill|sec|msec|usec)$",
            r"^variable_(playback|record)_.*(pos|ms|seconds|samples|size)$",
            # identities, counters
            r"^Core-UUID$|Unique-ID$|^Channel-Call-UUID$|^Application-UUID$|_uuid$",
            r"^Event-Sequence$|^variable_session_id$|^variable_uuid$",
            # which machine, network, port, SIP stack and build
            r"^FreeSWITCH-|^Event-Calling-Line-Number$|[Cc]hannel.[Nn]ame$|-Profile-Index$",
            r"^variable_(sip|sofia|rtp|recovery|switch_r_sdp|ep_codec)|_media_port$",
            r"^variable_sound_prefix$",
        ]
    )
)


def plain(value: str) -> str:
    """A value without what differs from call to call inside it."""
    value = UUID.sub("<uuid>", value)
    value = re.sub(r"127\.0\.0\.1:\d+ async", "<worker> async", value)
    return re.sub(r"^(ARRAY::)?\d{10}:", r"\1<time>:", value)


def apart(frames: list[Seen]) -> list[list[Seen]]:
    """Replies and notices, and events: each kind in its order."""
    lists: list[list[Seen]] = [[], []]
    for frame in frames:
        if not raced(frame):
            lists[frame.kind.startswith("text/event")].append(frame)
    return lists


@pytest.fixture(scope="module", params=captures.NAMES)
def replay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    """One capture, replayed."""
    played = Replay(request.param, tmp_path_factory.mktemp("sounds"))
    played.run()
    return played


def test_frames_come_in_the_recorded_order(replay: Replay) -> None:
    """Replies, event names, applications, arguments, responses, causes, digits, states."""
    for recorded, replayed in zip(apart(replay.recorded), apart(replay.replayed), strict=True):
        assert [each.label for each in replayed] == [each.label for each in recorded]


def test_the_same_headers_are_there(replay: Replay) -> None:
    """Every frame has the recorded set of header names; fixed ones in the recorded order."""
    allowed = NAMES | (BARE_SIP if replay.name.startswith("11") else set())
    for recorded, replayed in zip(apart(replay.recorded), apart(replay.replayed), strict=True):
        for theirs, ours in zip(recorded, replayed, strict=True):
            if replay.name.startswith("11") and ours.what == "CHANNEL_HANGUP_COMPLETE":
                assert "variable_rtp_audio_in_mos" not in ours.headers  # no media, no counts
            assert set(ours.headers) ^ set(theirs.headers) <= allowed, ours.label
            assert fixed(ours) == fixed(theirs), ours.label


def fixed(frame: Seen) -> list[str]:
    """The headers that are no variables, in order."""
    return [name for name in frame.headers if not name.startswith("variable_")]


def test_the_values_are_the_recorded_ones(replay: Replay) -> None:
    """All header values are FreeSWITCH's, but for times, identities and addresses."""
    for recorded, replayed in zip(apart(replay.recorded), apart(replay.replayed), strict=True):
        for theirs, ours in zip(recorded, replayed, strict=True):
            for name in ours.headers.keys() & theirs.headers.keys():
                if not VOLATILE.search(name):
                    assert plain(ours.headers[name]) == plain(theirs.headers[name]), (
                        ours.label,
                        name,
                    )


def test_a_linger_notice_is_there_where_it_was(replay: Replay) -> None:
    """The disconnect notice is preceded by a linger notice where the application asked for it."""
    theirs = [each.label for each in replay.recorded if each.what.startswith("linger")]
    ours = [each.label for each in replay.replayed if each.what.startswith("linger")]
    assert ours == theirs


def test_the_connect_answer_is_the_recorded_one_line_by_line(tmp_path: Path) -> None:
    """Same lines, same order, same encoding; only values of this call and machine differ."""
    replay = Replay("01", tmp_path)
    replay.run()
    recorded, replayed = (
        [line.partition(": ") for line in data.split(b"\n\n")[0].decode().split("\n")]
        for data in (captures.stream("01", "<"), replay.sent)
    )
    assert [name for name, _, _ in replayed] == [name for name, _, _ in recorded]
    for (name, _, ours), (_, _, theirs) in zip(replayed, recorded, strict=True):
        if not VOLATILE.search(name) and name != "variable_current_application_data":
            assert ours == theirs, name
