"""Imported before anything else: makes the processes that carry calls or pages cooperative.

gevent must patch sockets before any library has imported them, and reading the configuration
imports some; so this looks at the words of the command line, nothing more.
"""

from __future__ import annotations

import sys

COMMANDS = {"call", "phone", "demo"}
PARTS = {"worker", "web", "dialer"}


def wanted(words: list[str]) -> bool:
    """Whether the command of these words runs gevent's loop."""
    command = next((word for word in words if not word.startswith("-")), "")
    return command in COMMANDS or (command == "run" and bool(PARTS.intersection(words)))


if wanted(sys.argv[1:]):
    from gevent import monkey

    monkey.patch_all()
