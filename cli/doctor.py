"""`callflows doctor`: is everything in place, and what to do about what is not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

import click

from callflows.config import Settings
from cli.checks import HouseChecks
from cli.findings import Finding, failed, skipped
from cli.main import settings_of
from cli.switch_api import EventSocket, SwitchAway
from cli.switch_checks import SwitchChecks
from sounds import Catalogue, load_catalogue

COLOURS = {"pass": "green", "FAIL": "red", "skip": "yellow"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check the installation: each line passes or fails, with what to do.

    Looks at files, database, Redis, mail and SMS servers, the running parts and, with
    control_addresses and control_password, at each FreeSWITCH: modules, dialplan, recordings,
    clocks, whether it reaches the worker. Nothing is changed, nothing is sent, no subscriber's call
    is touched. The exit code is 1 if anything fails.

    \b
    Examples:
      callflows doctor
      CALLFLOWS_CONTROL_ADDRESSES='["10.0.0.5:8021"]' callflows doctor
    """
    settings = settings_of()
    findings = []
    for finding in examine(settings, load_catalogue()):
        findings.append(finding)
        if not as_json:
            _print(finding)
    failures = sum(finding.state == "FAIL" for finding in findings)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        click.echo(_summary(findings))
    ctx.exit(1 if failures else 0)


def examine(settings: Settings, catalogue: Catalogue) -> Iterator[Finding]:
    """Every finding, as it is made; nothing is raised for what is wrong."""
    yield from HouseChecks(settings, catalogue).run()
    if not settings.control_addresses:
        yield skipped("switch", "control_addresses is empty: no FreeSWITCH was looked at")
        return
    if settings.control_password is None:
        yield failed(
            "switch",
            "control_password is not configured",
            "Set it to callflows_control_password of vars.xml.",
        )
        return
    for address in settings.control_addresses:
        yield from _switch(address, settings, catalogue)


def _switch(address: str, settings: Settings, catalogue: Catalogue) -> Iterator[Finding]:
    host, _, port = address.rpartition(":")
    assert settings.control_password is not None
    password = settings.control_password.get_secret_value()
    try:
        with EventSocket(host.strip("[]"), int(port), password) as switch:
            yield from SwitchChecks(address, switch, settings, catalogue).run()
    except SwitchAway as error:
        yield failed(f"{address}: event socket", str(error), error.remedy)


def _print(finding: Finding) -> None:
    state = click.style(finding.state, fg=COLOURS[finding.state])
    click.echo(f"{state}  {finding.subject}: {finding.text}")
    if finding.remedy:
        click.echo(f"      {finding.remedy}")


def _summary(findings: Iterable[Finding]) -> str:
    states = [finding.state for finding in findings]
    return (
        f"{states.count('pass')} passed, {states.count('FAIL')} failed, "
        f"{states.count('skip')} skipped"
    )
