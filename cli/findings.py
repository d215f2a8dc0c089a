"""What `callflows doctor` found: one line for each thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["pass", "FAIL", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """``subject`` was looked at; ``remedy`` says what to do about a FAIL."""

    subject: str
    state: State
    text: str
    remedy: str = ""


def passed(subject: str, text: str) -> Finding:
    """All is well; ``text`` says what was seen."""
    return Finding(subject, "pass", text)


def failed(subject: str, text: str, remedy: str) -> Finding:
    """Something is wrong; ``remedy`` is what to do."""
    return Finding(subject, "FAIL", text, remedy)


def skipped(subject: str, text: str) -> Finding:
    """It was not looked at; ``text`` says why."""
    return Finding(subject, "skip", text)
