"""Frames of the event socket: the captures, any chunking, hostile bytes."""

from itertools import pairwise
from urllib.parse import quote

import captures
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from esl_worker.frames import (
    CommandFrame,
    CommandReader,
    Frame,
    FrameReader,
    ProtocolError,
    event_of,
    parse_block,
)

EVENTS = ("text/event-plain", "text/event-json")


def read(data: bytes, cuts: list[int] | None = None, reader=None):
    """All frames of a stream given in pieces, and the error at its end (None: clean)."""
    reader = reader or FrameReader()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]
    frames = []
    try:
        for start, end in pairwise(edges):
            frames += reader.feed(data[start:end])
        reader.eof()
    except ProtocolError as error:
        return frames, str(error)
    return frames, None


def test_all_eighteen_captures_are_there():
    """The recorded calls that the parser is held against are the ones of the notes."""
    assert len(captures.NAMES) == 18
    assert [name[:2] for name in captures.NAMES] == [f"{n:02}" for n in range(1, 19)]


@pytest.mark.parametrize("name", captures.ALL)
def test_every_byte_of_a_capture_belongs_to_a_frame(name):
    """Blocks, empty lines and bodies of all frames add up to the switch's bytes exactly."""
    data = captures.stream(name, "<")
    frames, error = read(data)
    assert error is None
    assert b"".join(frame.block + b"\n\n" + frame.body for frame in frames) == data
    kinds = {frame.content_type for frame in frames}
    assert kinds <= {"command/reply", "api/response", "text/disconnect-notice", *EVENTS}


@pytest.mark.parametrize("name", captures.ALL)
def test_a_capture_gives_the_same_frames_byte_by_byte(name):
    """A stream that comes one byte at a time gives the frames that it gives in one piece."""
    data = captures.stream(name, "<")
    reader = FrameReader()
    slowly = [frame for byte in data for frame in reader.feed(bytes([byte]))]
    reader.eof()
    assert slowly == FrameReader().feed(data)


@pytest.mark.parametrize("name", captures.ALL)
def test_every_event_of_a_capture_is_read_whole(name):
    """Each event has as many headers as its body has lines (names that come twice counted once)
    and its own Content-Length plays no part outside."""
    for frame in FrameReader().feed(captures.stream(name, "<")):
        if frame.content_type not in EVENTS:
            continue
        event = event_of(frame)
        assert event.get("Event-Name")
        assert frame.headers.keys() == {"Content-Length", "Content-Type"}
        if frame.content_type == "text/event-plain":
            lines = frame.body.rstrip(b"\n").split(b"\n")
            names = {line.split(b":")[0].decode() for line in lines}
            assert event.headers.keys() == names


@pytest.mark.parametrize("name", captures.NAMES)
def test_every_byte_of_an_application_belongs_to_a_command(name):
    """The commands of a capture, written again, are the application's bytes exactly."""
    records = [record for record in captures.records(name) if record.direction == ">"]
    reader = CommandReader()
    for record in records:
        (command,) = reader.feed(record.data)
        lines = record.data.decode().rstrip("\n").split("\n")
        assert command.command == lines[0]
        assert [f"{key}: {value}" for key, value in command.headers.items()] == [
            line[: line.index(":")].lower() + line[line.index(":") :] for line in lines[1:]
        ]
    reader.eof()
    assert len(CommandReader().feed(captures.stream(name, ">"))) == len(records)


def test_hostile_caller_id_writes_no_header():
    """Capture 11: a display name with the text %0A stays the value of its own header."""
    for frame in FrameReader().feed(captures.stream("11", "<")):
        blocks = [frame]
        if frame.content_type in EVENTS:
            blocks.append(event_of(frame))
        for block in blocks:
            assert "variable_owner_verified" not in block.headers
            assert "variable_x" not in block.headers
            assert Frame.from_block(frame.block).get("variable_owner_verified") is None
    answer = FrameReader().feed(captures.stream("11", "<"))[0]
    assert answer.get("Caller-Caller-ID-Name") == (
        "Eve\nvariable_owner_verified: true\nvariable_x: y"
    )
    assert answer.headers["Caller-Caller-ID-Number"] == "0218\n8776655"


def test_values_are_decoded_in_event_blocks_only():
    """A plain Reply-Text with a percent sign is itself; the answer to connect is decoded."""
    plain, encoded = FrameReader().feed(
        b"Content-Type: command/reply\nReply-Text: 100%25\n\n"
        b"Event-Name: CHANNEL_DATA\nContent-Type: command/reply\nReply-Text: %2BOK%0A\n\n"
    )
    assert plain.get("Reply-Text") == plain.headers["Reply-Text"] == "100%25"
    assert encoded.get("Reply-Text") == encoded.headers["Reply-Text"] == "+OK\n"


def test_stray_blank_lines_between_frames_are_passed_over():
    """Blank lines before a frame are no frame, as for FreeSWITCH itself."""
    frames, error = read(b"\n\n\nContent-Type: command/reply\nReply-Text: +OK\n\n\n")
    assert error is None
    assert [frame.headers["Reply-Text"] for frame in frames] == ["+OK"]


def test_bytes_that_are_no_utf8_become_replacement_characters():
    """Bad UTF-8 neither stops the reader nor yields text that cannot be stored."""
    frames, error = read(b"Content-Type: command/reply\nReply-Text: \xff\xd9\n\n")
    assert error is None
    assert frames[0].headers["Reply-Text"] == "��"
    assert parse_block(b"Name: %FF%D8%B3", encoded=True) == {"Name": "�س"}


def test_a_name_that_comes_twice_keeps_its_first_value():
    """As switch_event_get_header; a later line cannot change what an earlier one said."""
    frame = Frame.from_block(b"A: 1\nB: 2\nA: 3")
    assert frame.get("A") == "1"
    assert frame.headers == {"A": "1", "B": "2"}
    assert frame.get("A") == "1"


def test_a_body_may_hold_anything():
    """Frame ends and headers inside a body are body."""
    body = b"\n\nContent-Length: 9\n\n\x00\xff"
    data = b"Content-Type: api/response\nContent-Length: %d\n\n%b" % (len(body), body)
    frames, error = read(data * 2)
    assert error is None
    assert [frame.body for frame in frames] == [body, body]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Content-Length: -1\n\n", "no number"),
        (b"Content-Length: 1e3\n\n", "no number"),
        (b"Content-Length: \n\n", "no number"),
        ("Content-Length: ١٢\n\n".encode(), "no number"),
        (b"Content-Length: 99999999999999999999999\n\n", "too large"),
        (b"Content-Length: 16777217\n\n", "too large"),
        (b"A: " + b"x" * 70_000, "header block is too long"),
        (b"A: x\n" * 20_000 + b"\n", "header block is too long"),
        (b"Content-Type: command/reply\nReply", "ended inside a header block"),
        (b"Content-Length: 10\n\n12345", "ended inside a body"),
    ],
)
def test_a_stream_that_is_no_event_socket_is_a_clear_error(data, message):
    """The error says what is wrong and where, and never quotes the bytes."""
    good = b"Content-Type: command/reply\nReply-Text: +OK\n\n"
    frames, error = read(good + data)
    assert [frame.content_type for frame in frames] == ["command/reply"]
    assert error is not None
    assert message in error
    assert f"at byte {len(good)}" in error
    assert "xxx" not in error


def test_an_error_stays():
    """After an error nothing more is read: every further call raises the same."""
    reader = FrameReader()
    assert len(reader.feed(b"A: 1\n\nContent-Length: x\n\nB: 2\n\n")) == 1
    assert reader.error is not None
    for _ in range(2):
        with pytest.raises(ProtocolError, match="no number"):
            reader.feed(b"B: 2\n\n")
    with pytest.raises(ProtocolError, match="no number"):
        reader.eof()


def test_memory_is_bounded_whatever_is_sent():
    """Endless headers end in an error after 64 KiB, a giant body is refused before it comes."""
    reader = FrameReader()
    for _ in range(64):
        assert reader.feed(b"X-Header: value\n" * 64) == []
    with pytest.raises(ProtocolError, match="too long"):
        reader.feed(b"X-Header: value\n" * 64)
    with pytest.raises(ProtocolError, match="too large"):
        FrameReader(max_body=1000).feed(b"Content-Length: 1001\n\n")


def test_an_event_may_have_a_body_of_its_own():
    """The inner Content-Length cuts the inner body; the outer frame's headers stay apart."""
    inner = b"Event-Name: MESSAGE\nContent-Type: text/plain\nContent-Length: 5\n\nhello"
    data = b"Content-Length: %d\nContent-Type: text/event-plain\n\n%b" % (len(inner), inner)
    (frame,) = FrameReader().feed(data)
    event = event_of(frame)
    assert event.body == b"hello"
    assert event.get("Content-Type") == "text/plain"
    assert frame.content_type == "text/event-plain"


def test_an_event_in_json_reads_as_the_plain_one():
    """Lists take the form that plain events give them, the body is bytes, text can be stored."""
    frame = Frame(
        {"Content-Type": "text/event-json"},
        b'{"Event-Name":"CUSTOM","variable_a":["1","2"],"_body":"hi","Name":"\\ud800x"}',
    )
    event = event_of(frame)
    assert event.headers["variable_a"] == "ARRAY::1|:2"
    assert event.body == b"hi"
    assert event.headers["Name"] == "?x"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/event-json", b"{"),
        ("text/event-json", b"[]"),
        ("text/event-json", b"[" * 100_000),
        ("text/event-plain", b"Event-Name: A\nContent-Length: 10\n\nshort"),
        ("text/event-plain", b"Event-Name: A\nContent-Length: no\n\nshort"),
    ],
)
def test_a_broken_event_is_a_protocol_error(kind, body):
    """Whatever an event frame holds, reading it raises nothing but ProtocolError."""
    with pytest.raises(ProtocolError):
        event_of(Frame({"Content-Type": kind}, body))


def test_an_answer_carries_no_event():
    """Asking a reply for its event is the programmer's error, not the peer's."""
    with pytest.raises(ValueError, match="carries no event"):
        event_of(Frame({"Content-Type": "command/reply"}))


def test_a_frame_shows_no_values_in_logs():
    """repr names headers and sizes only: values are numbers and names of callers."""
    frame = FrameReader().feed(captures.stream("11", "<"))[0]
    assert "8776655" not in repr(frame)
    assert "Caller-Caller-ID-Number" in repr(frame)
    assert "secret" not in repr(CommandFrame("auth secret", {}))


def test_a_command_may_come_with_carriage_returns_and_a_body():
    """mod_event_socket takes both, so the embedded switch does."""
    (one, two) = CommandReader().feed(
        b"\r\nconnect\r\n\r\nsendmsg\nCall-Command: execute\ncontent-length: 3\n\na\nb"
    )
    assert one == CommandFrame("connect", {})
    assert two == CommandFrame(
        "sendmsg", {"call-command": "execute", "content-length": "3"}, b"a\nb"
    )


LINES = st.sampled_from(
    [
        b"\n",
        b"\n\n",
        b"\r\n",
        b"Content-Type: command/reply\n",
        b"Reply-Text: +OK\n",
        b"Content-Length: 3\n",
        b"content-length: 2\n",
        b"Content-Length: x\n",
        b"Content-Length: 50\n",
        b"Event-Name: A%0AB\n",
        b"abc",
        b":",
        b"\xff",
    ]
)
STREAMS = st.one_of(st.binary(max_size=200), st.lists(LINES, max_size=15).map(b"".join))
CUTS = st.lists(st.integers(0, 400), max_size=20)


@settings(max_examples=400, deadline=None)
@given(STREAMS, CUTS)
@example(b"\n\nA: 1\n\n\n\nContent-Length: 2\n\n\n\n", [1, 2, 3, 8, 9, 20, 30, 31])
@pytest.mark.parametrize("kind", [FrameReader, CommandReader])
def test_chunking_makes_no_difference(kind, data, cuts):
    """Any bytes in any pieces give the same frames, then the same error or a clean end; and
    nothing but ProtocolError is ever raised."""
    small = {"max_header": 40, "max_body": 20}
    whole = read(data, None, kind(**small))
    assert read(data, cuts, kind(**small)) == whole
    assert read(data, list(range(len(data))), kind(**small)) == whole
    for frame in whole[0]:
        assert all(isinstance(value, str) for value in frame.headers.values())
        for value in frame.headers.values():
            value.encode()  # can be stored


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,10}", fullmatch=True), st.text()))
def test_encoded_values_come_back_whatever_they_hold(values):
    """What FreeSWITCH encodes (every byte outside its safe set) is read back unchanged, and no
    value adds or changes another header."""
    stored = {name: value.encode("utf-8", "replace").decode() for name, value in values.items()}
    block = "\n".join(f"{name}: {quote(value)}" for name, value in stored.items()).encode()
    assert parse_block(block, encoded=True) == stored
