"""Parts of the embedded switch that need no call: encoding, expansion, media, dialplan."""

from __future__ import annotations

import re
import wave
from pathlib import Path
from urllib.parse import unquote

import captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_worker.switch import Clock, Dialplan, Step, service_dialplan
from esl_worker.switch.arguments import separate
from esl_worker.switch.causes import cause, q850
from esl_worker.switch.expansion import Expansion, expand
from esl_worker.switch.media import FILE_STRING_LEAD_S, FOREVER, Sounds
from esl_worker.switch.protocol import reply, url_encode
from esl_worker.switch.values import integer, true


@pytest.mark.parametrize("name", [each for each in captures.NAMES if "json" not in each])
def test_values_are_encoded_as_in_the_captures(name: str) -> None:
    """Every encoded value of every plain event is what its decoded form encodes to."""
    found = re.findall(rb"\n(?:variable_|Caller-|Channel-|Application)[^:\n]*: ([^\n]*)",
                       captures.stream(name, "<"))  # fmt: skip
    values = {value.decode() for value in found if b"%" in value}
    assert len(values) > 10
    for value in values:
        plain = unquote(value)
        if re.search("%[0-9A-F]{2}", plain) is None:
            assert url_encode(plain) == value


@given(st.text())
def test_encoding_loses_nothing_but_what_looks_encoded(text: str) -> None:
    """Decoding gives the text back, unless it held an escape of its own; never a raw newline."""
    encoded = url_encode(text)
    assert re.fullmatch("[!-~]*", encoded)
    if re.search("%[0-9A-F]{2}", text) is None:
        assert unquote(encoded) == text


def test_a_long_reply_is_cut_and_a_tilde_goes_out_raw() -> None:
    """parse_command's buffer has 512 bytes; a value that starts with ~ replaces the header."""
    assert reply("x" * 600) == b"Content-Type: command/reply\nReply-Text: " + b"x" * 511 + b"\n\n"
    assert reply("~forged: yes") == b"Content-Type: command/reply\nforged: yes"


def expanded(text: str, **values: str) -> tuple[str, list[Expansion]]:
    """The expanded text, and what was asked for."""
    asked: list[Expansion] = []
    return expand(text, values.get, asked.append), asked


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("no variables, \\d+", "no variables, \\d+"),
        ("${a}", "1"),
        ("<${none}>", "<>"),
        ("${abc:1}-${abc:0:1}-${abc:-1}", "yz-x-z"),
        ("${${name}}", "1"),
        ("$${a} $a $1", "1 $a $1"),
        ("\\${a}", "${a}"),
        ("${a", "1"),
        ("${nested}", "1"),
        ("x${api(one two)}y${api one}", "xy"),
    ],
)
def test_expansion(text: str, result: str) -> None:
    """Variables, parts of them, names made of variables, escapes, unclosed braces, API calls."""
    got, _ = expanded(text, a="1", abc="xyz", name="a", nested="${a}")
    assert got == result


def test_expansion_says_what_was_asked_for() -> None:
    """A hostile argument is visible as what it tried; nothing is run."""
    _, asked = expanded("${hangup_cause} ${system(reboot ${a})}", a="now")
    assert asked == [
        Expansion("variable", "hangup_cause"),
        Expansion("variable", "a"),
        Expansion("api", "system", "reboot now"),
    ]


@given(st.text(alphabet="${}a()\\ :'1", max_size=60))
def test_expansion_always_ends(text: str) -> None:
    """Whatever the argument, with a variable that contains itself twice."""
    expanded(text, a="${a}${a}")


@pytest.fixture
def sounds(tmp_path: Path) -> Sounds:
    """A directory with one recording, fa/one.wav, of 1.5 s."""
    (tmp_path / "fa").mkdir()
    with wave.open(str(tmp_path / "fa/one.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(24_000))
    (tmp_path / "fa/broken.wav").write_bytes(b"RIFF")
    return Sounds(tmp_path)


@pytest.mark.parametrize(
    ("argument", "files", "seconds"),
    [
        ("fa/one.wav", ("fa/one.wav",), 1.5),
        ("fa/one", ("fa/one.wav",), 1.5),
        ("{key=value}fa/one.wav", ("fa/one.wav",), 1.5),
        ("silence_stream://250", ("silence_stream://250",), 0.25),
        ("silence_stream://-1", ("silence_stream://-1",), FOREVER),
        ("tone_stream://%(200,100,440);loops=3", None, 0.9),
        ("tone_stream://%(200,100,440);loops=-1", None, FOREVER),
        (
            "file_string://fa/one.wav!silence_stream://500!fa/one.wav",
            ("fa/one.wav", "silence_stream://500", "fa/one.wav"),
            3.5 + FILE_STRING_LEAD_S,
        ),
    ],
)
def test_what_is_heard_and_for_how_long(
    sounds: Sounds, argument: str, files: tuple[str, ...] | None, seconds: float
) -> None:
    """Files by their WAV header, streams by their URL, strings of files as their sum."""
    prompt = sounds.prompt(argument)
    assert prompt.found
    assert prompt.missing == ()
    assert prompt.files == (files or (argument,))
    assert prompt.duration == pytest.approx(seconds)


def test_names_are_relative_to_the_sounds_directory(sounds: Sounds) -> None:
    """An absolute path inside the directory is heard under its short name."""
    absolute = f"{sounds.directory}/fa/one.wav"
    assert sounds.prompt(absolute).files == ("fa/one.wav",)
    assert sounds.prompt("one.wav", f"{sounds.directory}/fa").files == ("fa/one.wav",)


def test_missing_pieces_are_named_and_skipped(sounds: Sounds) -> None:
    """FreeSWITCH plays the rest; nothing at all is `not found`."""
    prompt = sounds.prompt("file_string://fa/none.wav!fa/one.wav!fa/broken.wav")
    assert prompt.files == ("fa/one.wav",)
    assert prompt.missing == ("fa/none.wav", "fa/broken.wav")
    assert not sounds.prompt("fa/none.wav").found
    assert not sounds.prompt("file_string://fa/none.wav").found
    assert not sounds.prompt("shout://radio").found
    assert not sounds.prompt("a\0b.wav").found


def test_missing_recordings_may_be_given_a_length(sounds: Sounds) -> None:
    """For a service whose recordings are not made yet: heard, and still counted."""
    prompt = Sounds(sounds.directory, missing_s=2.0).prompt("fa/none.wav")
    assert (prompt.files, prompt.duration) == (("fa/none.wav",), 2.0)
    assert prompt.missing == ("fa/none.wav",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 4  2", ["1", "4", "2"]),
        ("a 'b c' d", ["a", "b c", "d"]),
        (r"\d+ it\'s x", [r"\d+", "it's", "x"]),
        ("", []),
        ("a b c d e", ["a", "b", "c d e"]),
    ],
)
def test_arguments_are_cut_at_blanks(text: str, words: list[str]) -> None:
    """Empty ones collapse, quotes keep blanks, the last word keeps the rest."""
    assert separate(text, 3) == words


@given(st.text(alphabet="a '\\1", max_size=30), st.integers(1, 11))
def test_cutting_arguments_never_fails(text: str, most: int) -> None:
    """Any quoting, closed or not, gives at most so many words."""
    assert len(separate(text, most)) <= most


def test_causes() -> None:
    """Names in any case, numbers, nonsense; FreeSWITCH's own causes are 16 in Q.850."""
    assert cause("user_busy") == "USER_BUSY"
    assert cause("17") == "USER_BUSY"
    assert cause("what") == cause("") == "NORMAL_CLEARING"
    assert (q850("USER_BUSY"), q850("ALLOTTED_TIMEOUT")) == (17, 16)


def test_the_first_extension_that_matches_the_whole_number_counts() -> None:
    """Contexts are apart; a pattern must match from start to end."""
    plan = Dialplan({"public": [("20", [("a", "")]), (r"20\d", [("b", "x")]), (".*", [("c",)])]})
    found = [plan.find("public", number) for number in ("20", "201", "2011")]
    assert [each[0].actions[0].application for each in found if each] == ["a", "b", "c"]
    assert plan.find("care", "20") is None
    with pytest.raises(ValueError, match=r"context public.*\(\("):
        Dialplan({"public": [("((", [])]})


def test_the_service_dialplan_has_takeover_and_apology() -> None:
    """Workers in order, four times with pauses; then an apology and a hangup."""
    plan = service_dialplan(["10.0.0.1:9040", "10.0.0.2:9040"], apology="sorry.wav")
    found = plan.find("public", "2000")
    assert found is not None
    assert [tuple(action) for action in found[0].actions] == [
        ("set", "callflows_identity=from"),
        ("socket", "10.0.0.1:9040|10.0.0.2:9040 full"),
        ("socket", "10.0.0.1:9040|10.0.0.2:9040 full"),
        ("sleep", "1000"),
        ("socket", "10.0.0.1:9040|10.0.0.2:9040 full"),
        ("sleep", "2000"),
        ("socket", "10.0.0.1:9040|10.0.0.2:9040 full"),
        ("answer", ""),
        ("playback", "sorry.wav"),
        ("hangup", "NORMAL_TEMPORARY_FAILURE"),
    ]
    assert plan.find("payment", "9990") is not None
    assert plan.find("payment", "1") is None
    assert plan.find("care", "anything") is not None


def test_the_service_dialplan_has_the_operators_numbers() -> None:
    """Contexts and numbers are those of the configuration."""
    plan = service_dialplan(["h:1"], payment="pay", payment_numbers=["2055"], care="help")
    assert plan.find("pay", "2055") is not None
    assert plan.find("pay", "2000") is None
    assert plan.find("payment", "2055") is None
    assert plan.find("help", "2020") is not None


@pytest.mark.parametrize("addresses", [[], ["localhost"], ["a|b:1"], [":1"], ["a b:1"]])
def test_wrong_worker_addresses_are_named(addresses: list[str]) -> None:
    """No address, no port, or one that would end the argument."""
    with pytest.raises(ValueError, match="worker address"):
        service_dialplan(addresses)


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_time_must_go_forward(speed: float) -> None:
    """A clock without a positive speed is refused."""
    with pytest.raises(ValueError, match="speed"):
        Clock(speed)


def test_a_step_for_json_has_only_what_it_says() -> None:
    """Empty fields are left out, times are rounded, tuples are lists."""
    step = Step(0.0, "heard", state="menu", recordings=("fa/one.wav",), seconds=1.50049)
    assert step.to_dict() == {
        "at": 0.0,
        "kind": "heard",
        "state": "menu",
        "recordings": ["fa/one.wav"],
        "seconds": 1.5,
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12), (" -3x", -3), ("+5", 5), ("x1", 0), ("", 0), ("١٢", 0), ("9" * 30, 10**10 - 1)],
)
def test_numbers_are_read_as_c_does(text: str, number: int) -> None:
    """Leading ASCII digits, else 0; absurd lengths are cut."""
    assert integer(text) == number


@pytest.mark.parametrize(
    ("text", "yes"),
    [("true", True), ("On", True), ("2", True), ("0", False), ("2x", False), (None, False)],
)
def test_what_freeswitch_takes_for_yes(text: str | None, yes: bool) -> None:
    """Its words for yes, and numbers that are not 0."""
    assert true(text) is yes
