"""Lines as operations name them on the command line."""

from __future__ import annotations

import click

from billing.entities import Line
from billing.errors import InvalidNumber
from billing.numbers import parse_number
from cli.parts import Parts


def line_named(parts: Parts, number: str) -> Line:
    """The line with this number. Raises ClickException where there is none."""
    try:
        e164 = parse_number(number, region=parts.settings.region)
    except InvalidNumber as error:
        raise click.BadParameter(str(error), param_hint="LINE") from error
    line = parts.premium.owner.owners.line_of(e164)
    if line is None:
        raise click.ClickException("there is no such line; import it with `callflows import`")
    return line
