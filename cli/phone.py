"""`callflows phone`: a telephone in the terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from callflows.config import LANGUAGES
from cli.main import settings_of

if TYPE_CHECKING:
    from cli.transcript import TextPhone

KEYS = frozenset("0123456789*#")
HANG_UP = frozenset({"h", "H", "q", "\x03", "\x04"})
HELP = "Keys: 0-9 * #   h: hang up"


@click.command()
@click.argument("number", default="2000")
@click.option("--from", "caller", default="", help="Your number; none: withheld.")
@click.option("--language", type=click.Choice(LANGUAGES), help="Language set by the dialplan.")
@click.option(
    "--speed",
    type=click.FloatRange(0.1, 100),
    help="How much faster than real time; default: switch_speed.",
)
def command(number: str, caller: str, language: str | None, speed: float | None) -> None:
    """Call NUMBER from this terminal: read what a caller hears, press keys, hang up.

    The call goes through the running worker (`callflows run`), else through one that is started
    for this call. A line shows how far the prompt is; keys pressed meanwhile count.

    \b
    Examples:
      callflows phone --from 02188776655
      callflows phone --language en
    """
    settings = settings_of()
    from cli import embedded
    from cli.parts import Parts
    from cli.transcript import TextPhone

    parts = Parts(settings)
    with embedded.switch(parts, speed or settings.switch_speed) as switch:
        phone = TextPhone(parts.catalogue, interactive=sys.stdout.isatty())
        variables: Mapping[str, str] = {"callflows_language": language} if language else {}
        click.echo(f"Calling {number} ... {HELP}")
        channel = switch.call(number, caller, variables=variables, caller=phone)
        with _keyboard() as keyboard:
            _talk(phone, keyboard)
        channel.join()
    click.echo(f"The call is over ({channel.hangup_cause}).")


def _talk(phone: TextPhone, keyboard: int | None) -> None:
    """Pass keys on until the call is over."""
    import gevent
    from gevent import select as cooperative

    while not phone.over:
        phone.tick()
        if keyboard is None:
            gevent.sleep(0.1)
            continue
        ready, _, _ = cooperative.select([keyboard], [], [], 0.1)
        if not ready:
            continue
        typed = os.read(keyboard, 64).decode("utf-8", "replace")
        if not typed:
            # The end of piped input: the caller puts the receiver down.
            phone.hang_up()
            keyboard = None
        for key in typed:
            if key in HANG_UP:
                phone.hang_up()
            elif key in KEYS:
                phone.press(key)
            elif key == "?":
                phone.note(HELP)


@contextmanager
def _keyboard() -> Iterator[int | None]:
    """Standard input, key by key where it is a terminal; None where there is none."""
    try:
        number = sys.stdin.fileno()
    except (ValueError, OSError):
        yield None
        return
    if not os.isatty(number):
        yield number if select.select([number], [], [], 0)[0] or _is_pipe(number) else None
        return
    before = termios.tcgetattr(number)
    try:
        tty.setcbreak(number)
        # Ctrl-C is a key like others: it hangs up rather than leaving the call half alive.
        mode = termios.tcgetattr(number)
        mode[3] &= ~termios.ISIG
        termios.tcsetattr(number, termios.TCSADRAIN, mode)
        yield number
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _is_pipe(number: int) -> bool:
    import stat

    mode = os.fstat(number).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
