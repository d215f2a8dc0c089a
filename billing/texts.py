"""Texts from outside, made fit for a database."""

from __future__ import annotations


def storable(text: str, longest: int | None = None) -> str:
    """Return ``text`` without what a database refuses, cut to ``longest`` characters.

    PostgreSQL takes no NUL; neither database takes half a surrogate pair, which is what a byte that
    is not UTF-8 in a caller's name becomes.
    """
    cut = text[:longest].replace("\0", "")
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode()
