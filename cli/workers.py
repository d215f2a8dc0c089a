"""`callflows workers`: the worker processes of this machine."""

from __future__ import annotations

import json

import click

from cli.main import settings_of


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--port", type=click.IntRange(1, 65535), help="Only the workers at this port.")
def command(as_json: bool, port: int | None) -> None:
    """Show the worker processes on this machine: what they do, and how many calls they carry.

    Exit code 1 if none serves.

    \b
    Examples:
      callflows workers
      callflows workers --json
    """
    from cli.worker_state import read

    found = [
        each
        for each in read(settings_of().state_dir)
        if port is None or each["listen"].endswith(f":{port}")
    ]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    for crew in [] if as_json else found:
        doing = "stopping" if crew["stopping"] else "serving"
        click.echo(f"{crew['listen']}  {doing} (process {crew['pid']})")
        for each in crew["workers"]:
            click.echo(
                f"  {each['number']:>3}  pid {each['pid']:<8} {each['state']:<9}"
                f" {each['calls']:>5} calls, {each['served']} taken, {each['refused']} refused"
            )
    if not any(each["state"] == "serving" for crew in found for each in crew["workers"]):
        if not as_json:
            click.echo("no worker serves on this machine", err=True)
        raise SystemExit(1)
