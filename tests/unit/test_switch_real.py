"""What was measured on a real FreeSWITCH 1.10.12, call by call, and must hold here too."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esl_worker.switch.arguments import separate
from esl_worker.switch.media import Sounds


@pytest.mark.parametrize(
    ("argument", "assignments"),
    [
        ("a=1 |b=2", ["a=1", "b=2"]),
        (" a=3| b =4", ["a=3", "b =4"]),
        ("a= lead|e=trail |f", ["a= lead", "e=trail", "f"]),
        ("a=1||a2=2", ["a=1", "", "a2=2"]),
        ("||a=1|b=2|", ["", "", "a=1", "b=2"]),
        ("a='q r'|b='x|y'", ["a=q r", "b=x|y"]),
        ("a=x'y|b=it's", ["a=xy|b=its"]),
        ("a='q|b=2", ["a='q", "b=2"]),
        ("a=a'b|b=a\\b", ["a=a'b", "b=a\\b"]),
        ("a=x''y|b=\\", ["a=xy", "b=\\"]),
        ("a=1'2'3|b=z", ["a=123", "b=z"]),
        ("'a=1|2'|b=3", ["a=1|2", "b=3"]),
        ("a='  '|b=' 1 '", ["a=  ", "b= 1 "]),
        ('a=|b=\\"', ["a=", 'b="']),
        ("a=1\\|2|b=3", ["a=1|2", "b=3"]),
        ("a=\\n|b=\\s", ["a=\n", "b= "]),
        ("a=\\t9|b=\\r", ["a=\t9", "b=\r"]),
        ("a=1\\s|b=\\s2\\s ", ["a=1 ", "b= 2 "]),
        ("a=\\x\\ |b=\\|", ["a=\\x\\", "b=|"]),
        ("a=1\\\\2|b=x\\\\n", ["a=1\\2", "b=x\\n"]),
        ("a= '1' |b=2", ["a= 1", "b=2"]),
        (" |a=1", ["", "a=1"]),
        ("a=  |b=\t9\t", ["a=", "b=\t9\t"]),
        ('a={"k":"it","n":[1, 2]}|b=x', ['a={"k":"it","n":[1, 2]}', "b=x"]),
    ],
)
def test_multiset_takes_quotes_backslashes_and_blanks_away(
    argument: str, assignments: list[str]
) -> None:
    """Cut at a delimiter that is no blank: what a worker's values must therefore not hold."""
    assert separate(argument, 256, "|") == assignments


@pytest.mark.parametrize(
    ("argument", "assignments"),
    [
        ("a=5 b='6 7'", ["a=5", "b=6 7"]),
        ("a='6 7' b=8\\ 9", ["a=6 7", "b=8\\ 9"]),
        ("a=\\s6 b=it's", ["a= 6", "b=it's"]),
        ("a=it's b=x's", ["a=its b=xs"]),
        ("  a=1   b=2  ", ["a=1", "b=2"]),
        ("a=1\\n2 b='3", ["a=1\n2", "b='3"]),
        ("a=1'' b=''", ["a=1", "b="]),
        ("a=1\\\\2 b=3", ["a=1\\2", "b=3"]),
        ("a=  1 b=2", ["a=", "1", "b=2"]),
    ],
)
def test_words_at_blanks_keep_what_is_quoted(argument: str, assignments: list[str]) -> None:
    """Several blanks are one; a quote that is not closed keeps the rest together."""
    assert separate(argument, 256) == assignments


def test_the_last_word_keeps_the_rest() -> None:
    """Of 300 assignments 256 arrive, and the last one's value holds the others."""
    words = separate("|".join(f"w{index}={index}" for index in range(300)), 256, "|")
    assert len(words) == 256
    assert words[255].startswith("w255=255|w256=256|")


@given(st.text(alphabet="a '\\|\"ns", max_size=30), st.integers(1, 11), st.sampled_from(" |"))
def test_separating_never_fails(text: str, most: int, delimiter: str) -> None:
    """Any quoting, closed or not, gives at most so many words."""
    assert len(separate(text, most, delimiter)) <= most


@pytest.mark.parametrize(
    ("pieces", "seconds"),
    [
        (["one"], 0.55),
        (["one", "one"], 0.85),
        (["one", "none", "one"], 0.85),
        (["none", "one"], 0.3),
        (["one", "none"], 0.55),
    ],
)
def test_a_file_string_begins_with_silence_unless_its_first_file_is_missing(
    tmp_path: Path, pieces: list[str], seconds: float
) -> None:
    """A quarter of a second, whatever is missing later."""
    with wave.open(str(tmp_path / "one.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 2400))
    names = "!".join(f"{piece}.wav" for piece in pieces)
    prompt = Sounds(tmp_path).prompt(f"file_string://{names}")
    assert prompt.duration == pytest.approx(seconds)
