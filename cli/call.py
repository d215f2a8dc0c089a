"""`callflows call`: one scripted call through the worker."""

from __future__ import annotations

import json
import re
import sys

import click

from callflows.config import LANGUAGES
from cli.main import settings_of

ANSWER = re.compile(r"[0-9*#]{0,40}|hangup|named")


def answers_of(ctx: click.Context, param: click.Parameter, value: str) -> list[str]:
    """The answers in `--keys`, one a question."""
    answers = value.split(",") if value else []
    for place, answer in enumerate(answers, start=1):
        if not ANSWER.fullmatch(answer):
            raise click.BadParameter(
                f"answer {place} is {answer!r}; expected digits, * and #, nothing, named, or hangup"
            )
    return answers


@click.command()
@click.argument("number")
@click.option("--from", "caller", default="", help="The caller's number; none: withheld.")
@click.option(
    "--keys",
    default="",
    callback=answers_of,
    help="What is pressed at each question, in order, with commas between; nothing between two "
    "commas lets a question pass unanswered, `hangup` hangs up, `named` presses the digit that was "
    "named last.",
)
@click.option("--language", type=click.Choice(LANGUAGES), help="Language set by the dialplan.")
@click.option("--json", "as_json", is_flag=True, help="Print the steps as JSON.")
@click.option("--barge", is_flag=True, help="Press while the prompt plays (type-ahead).")
@click.option(
    "--speed",
    type=click.FloatRange(0.1, 1000),
    default=50.0,
    show_default=True,
    help="How much faster than real time the call plays; charged time is real, so use 1 for that.",
)
def command(
    number: str,
    caller: str,
    keys: list[str],
    language: str | None,
    as_json: bool,
    barge: bool,
    speed: float,
) -> None:
    """Place one scripted call to NUMBER and print what is heard and pressed.

    The call goes from the embedded switch to the worker over a real event socket: to the running
    one (`callflows run`), else to one that is started for this call. The exit code is 1 if the call
    was not served.

    \b
    Examples:
      callflows call 2000 --from 02188776655 --keys 4,,9
      callflows call 2000 --from 02188776655 --keys "2,09121234567#,1,3"
      callflows call 2000 --keys "4,02188776655#,1" --json
      callflows call 2000 --from 09123456789 --keys 2,hangup --language ar
      callflows call 9091234567 --from 02188776655 --keys named,1
    """
    settings = settings_of()
    from cli import embedded
    from cli.parts import Parts
    from cli.transcript import Narrator, told

    parts = Parts(settings)
    with embedded.switch(parts, speed) as switch:
        narrator = Narrator(keys, parts.catalogue, barge=barge, quiet=as_json)
        variables = {"callflows_language": language} if language else {}
        channel = switch.call(number, caller, variables=variables, caller=narrator)
        channel.join()
    if as_json:
        steps = [told(step, parts.catalogue) for step in narrator.transcript]
        click.echo(json.dumps(steps, ensure_ascii=False, indent=2))
    else:
        click.echo(f"call {channel.uuid}: {channel.hangup_cause}")
        if narrator.unused:
            click.echo(f"not asked for: {','.join(narrator.unused)}", err=True)
    # For smoke tests: a call that was not served is a failure.
    sys.exit(0 if channel.hangup_cause == "NORMAL_CLEARING" else 1)
