"""How FreeSWITCH cuts an application's argument into words (switch_separate_string).

Single quotes keep words together and go, a backslash before a quote, a backslash, ``n``, ``r``,
``t``, ``s`` or the delimiter is taken with it, blanks round a word go. Measured on 1.10.12.
"""

from __future__ import annotations

_BLANK = " "
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "s": _BLANK, "'": "'", '"': '"', "\\": "\\"}


def separate(text: str, most: int, delimiter: str = _BLANK) -> list[str]:
    """The words of an argument.

    Args:
        text: the argument, already expanded.
        most: how many words at most; the last one keeps the rest.
        delimiter: one character. Several blanks in a row are one, other delimiters are not.
    """
    blank = delimiter == _BLANK
    words: list[str] = []
    start = at = _after_blanks(text, 0) if blank else 0
    quoted = False
    while at < len(text) and len(words) < most - 1:
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "'" and (blank or quoted or "'" in text[at + 1 :]):
            quoted = not quoted
        elif char == delimiter and not quoted:
            words.append(text[start:at])
            start = _after_blanks(text, at) if blank else at + 1
            at = start
            continue
        at += 1
    if start < len(text):
        words.append(text[start:])
    return [_clean(word, "" if blank else delimiter) for word in words]


def _after_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at] == _BLANK:
        at += 1
    return at


def _clean(word: str, delimiter: str) -> str:
    """Without quotes, backslashes and the blanks round it; a quote without its pair stays."""
    out: list[str] = []
    kept = 0
    quoted = False
    at = _after_blanks(word, 0)
    while at < len(word):
        char, following = word[at], word[at + 1 : at + 2]
        if char == "\\" and following and following == delimiter:
            out.append(delimiter)
            at += 1
            kept = len(out)
        elif char == "\\" and following in _ESCAPED:
            out.append(_ESCAPED[following])
            at += 1
            kept = len(out)
        elif char == "'" and (quoted or "'" in word[at + 1 :]):
            quoted = not quoted
            kept = len(out)
        else:
            out.append(char)
            if char != _BLANK or quoted:
                kept = len(out)
        at += 1
    return "".join(out[:kept])
