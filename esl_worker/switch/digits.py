"""Collecting keys: `read` and `play_and_get_digits`, as FreeSWITCH 1.10.12 does it.

The rules come from switch_ivr_read, switch_play_and_get_digits and
switch_ivr_collect_digits_count; the captures 02, 12, 15, 16 and 17 show them at work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from esl_worker.switch.caller import Collect
from esl_worker.switch.channel import Channel
from esl_worker.switch.player import Played, play

BUFFER = 128  # bytes of the applications' digit buffer, its end included
MIN_TIMEOUT_MS = 1000  # a shorter first-digit timeout is taken for this one


class Got(Enum):
    """How collecting ended."""

    SUCCESS = "success"
    TIMEOUT = "timeout"
    TOO_SMALL = "too few digits"
    FAILURE = "failure"
    RESTART = "a terminator marked with x"


@dataclass(frozen=True, slots=True)
class Question:
    """The arguments of a digit-collecting application.

    Attributes:
        min_digits, max_digits, tries: as given (max at least min).
        timeout_ms: for the first digit, as given; less than `MIN_TIMEOUT_MS` means that.
        digit_timeout_ms: between digits; 0 means as the first.
        terminators: keys that end the answer.
        prompt, invalid: what is played to ask, and after a refused answer.
        variable: where the answer goes.
        pattern: a regular expression that the answer must match somewhere; "" for any.
        on_failure: "extension dialplan context" to transfer to when all tries failed.
    """

    min_digits: int
    max_digits: int
    tries: int = 1
    timeout_ms: int = MIN_TIMEOUT_MS
    terminators: str = "#"
    prompt: str = ""
    invalid: str = ""
    variable: str = ""
    pattern: str = ""
    digit_timeout_ms: int = 0
    on_failure: str = ""

    def collect(self, tries_left: int) -> Collect:
        """What the caller is told."""
        return Collect(
            min_digits=self.min_digits,
            max_digits=self.max_digits,
            tries_left=tries_left,
            timeout_ms=self.timeout_ms,
            digit_timeout_ms=self.digit_timeout_ms or self.timeout_ms,
            terminators=self.terminators,
            variable=self.variable,
            pattern=self.pattern,
        )


def ask(channel: Channel, question: Question) -> None:
    """`play_and_get_digits`: ask until the answer is right or the tries are used up."""
    if question.pattern and question.variable:
        channel.set(f"{question.variable}_invalid", None)
    tries = question.tries
    while channel.ready and tries > 0:
        got, digits = read(channel, question, tries)
        if got is Got.RESTART:
            return
        if got is Got.TIMEOUT and len(digits) >= question.min_digits:
            got = Got.SUCCESS
        terminated = channel.get("read_terminator_used") is not None
        if question.min_digits == 0 and not digits and terminated:
            return
        if got is Got.SUCCESS and digits:
            if not question.pattern or _matches(question.pattern, digits):
                return
            if question.variable:
                channel.set(question.variable, None)
                channel.set(f"{question.variable}_invalid", digits)
        if not channel.ready:
            break
        play(channel, question.invalid)
        tries -= 1
    if question.on_failure:
        channel.transfer(*question.on_failure.split()[:3])


def read(channel: Channel, question: Question, tries_left: int = 1) -> tuple[Got, str]:
    """Play the prompt once and collect an answer; sets `read_result` and the variable."""
    channel.set("read_result", None)
    if question.variable:
        channel.set(question.variable, None)
    if max(question.min_digits, question.max_digits) > BUFFER:
        return Got.FAILURE, ""
    collecting = question.collect(tries_left)
    buffer: list[str] = []
    if question.prompt and question.prompt.lower() != "silence":
        played = play(channel, question.prompt, keys="answer", buffer=buffer, collecting=collecting)
        if played in (Played.NOT_FOUND, Played.GONE):
            return Got.FAILURE, ""
    else:
        # Nothing to hear, yet a question: the caller must know of it.
        channel.caller.heard((), 0.0, collecting)
        channel.caller.prompt_ended((), 0.0, collecting)
    got, terminator = Got.SUCCESS, ""
    if len(buffer) < max(question.max_digits, question.min_digits):
        got, terminator = _collect(channel, buffer, question)
    if terminator:
        channel.set("read_terminator_used", terminator)
        at = question.terminators.find(terminator)
        if at > 0 and question.terminators[at - 1] in "+x":
            buffer.append(terminator)
            if question.terminators[at - 1] == "x":
                got = Got.RESTART
    elif question.terminators.startswith("="):
        got = Got.TOO_SMALL
    digits = "".join(buffer)
    if len(digits) < question.min_digits:
        got = Got.TOO_SMALL
    channel.set("read_result", got.value if got in (Got.SUCCESS, Got.TIMEOUT) else "failure")
    if (
        got is not Got.RESTART
        and question.max_digits == 1
        and len(digits) == 1
        and digits in question.terminators
    ):
        digits = ""
    if question.variable and digits:
        channel.set(question.variable, digits)
    return got, digits


def _collect(channel: Channel, buffer: list[str], question: Question) -> tuple[Got, str]:
    """Wait for the digits that are still wanted; returns how it ended and the terminator."""
    most = min(question.max_digits, BUFFER)
    if len(buffer) >= most:
        return Got.FAILURE, ""
    for index, digit in enumerate(buffer):
        if digit in question.terminators:
            del buffer[index:]
            return Got.SUCCESS, digit
    first = max(question.timeout_ms, MIN_TIMEOUT_MS) / 1000
    between = question.digit_timeout_ms / 1000 or first
    timeout = between if buffer else first
    began = channel.clock.now()
    while channel.ready:
        channel.inbox.run()
        while channel.digits:
            # Digits come before the timer: one typed in time counts, however busy we are.
            timeout = between
            began = channel.clock.now()
            digit = channel.take_digit()
            if digit in question.terminators:
                return Got.SUCCESS, digit
            buffer.append(digit)
            if len(buffer) >= most:
                return Got.SUCCESS, ""
        left = began + timeout - channel.clock.now()
        if left <= 0:
            return Got.TIMEOUT, ""
        if channel.ready:
            channel.wait(left)
    return Got.FAILURE, ""


def _matches(pattern: str, digits: str) -> bool:
    try:
        return re.search(pattern, digits) is not None
    except re.error:  # FreeSWITCH logs it and takes it for no match
        return False
