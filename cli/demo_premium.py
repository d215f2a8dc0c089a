"""The demo's premium-rate calls: a sample service is published, heard, accepted and paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from callflows.trees.services import check_service
from callflows.trees.yaml_file import read_yaml

FILE = Path("conf/sample/premium/film-poll.yaml")
CREDIT = 50_000
# The digit that was named, a vote, the end; and somebody who does not accept the price.
ANSWERS = {"votes": ["named", "2", "2"], "does not accept": ["0", "0", "0"]}
# Slow enough that the content lasts a second of real time: less costs nothing.
SPEED = 12.0


def publish(parts: Any) -> str:
    """Hand in and approve the sample service, with its recordings; returns its number."""
    from billing.premium.providers import Providers, parse_parts
    from billing.premium.supervision import Supervision

    found = check_service(read_yaml(FILE), parts.settings.zone, parts.settings.region)
    number = found.definition["number"]
    providers = Providers(parts.database, parts.clock)
    providers.add(found.definition["provider"], "Sima Festival")
    providers.agree(
        found.definition["provider"],
        valid_from=parts.clock.now(),
        kind="b",
        share_bp=8000,
        levies=parse_parts("vat=9"),
    )
    supervision = Supervision(
        parts.database, parts.clock, parts.settings.zone, region=parts.settings.region
    )
    version = supervision.submit(found.definition, "demo").version
    wanted = list(found.recordings(version))
    parts.library.make(
        wanted[0][1].name.rsplit("/", 2)[0],
        [recording for _, recording in wanted],
        {recording.name: language for language, recording in wanted},
    )
    supervision.approve(number, version, "demo")
    return str(number)


def place_calls(parts: Any, number: str, callers: list[str]) -> list[str]:
    """Give each caller credit; one accepts the price, the next does not. Return what is wrong."""
    from cli import embedded
    from cli.transcript import Narrator

    wrong = []
    with embedded.switch(parts, SPEED) as switch:
        for caller, (what, answers) in zip(callers, ANSWERS.items(), strict=False):
            give_credit(parts, caller)
            click.echo(click.style(f"\n[premium] line {caller} calls {number}, {what}", bold=True))
            narrator = Narrator(answers, parts.catalogue, prefix="  ")
            channel = switch.call(number, caller, caller=narrator)
            channel.join()
            if narrator.unused:
                wrong.append(f"{number} from {caller}: was not asked for {narrator.unused}")
            standing = parts.premium.charging.standing(channel.uuid)
            charged = standing is not None and bool(standing.amount)
            if charged != (what == "votes"):
                wrong.append(f"{number} from {caller}, {what}: charged {charged}")
            if charged:
                click.echo(f"  charged {standing.amount:,} rials; `callflows explain` tells why")
    return wrong


def give_credit(parts: Any, caller: str) -> None:
    """A monthly credit for premium services, as operations give it."""
    from billing.numbers import parse_number

    line = parts.premium.owner.owners.line_of(parse_number(caller))
    now = parts.clock.now()
    parts.database.write(lambda conn: parts.premium.credit.set_standing(conn, line.id, CREDIT, now))
