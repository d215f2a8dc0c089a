"""The `callflows` command."""

from __future__ import annotations

import os
import sys

import click

import cli.cooperative  # noqa: F401  # first of all: it may patch sockets
from callflows.config import ConfigError, Settings, load

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

# Where a command lives; each module is imported when its command is used, so that `--help` is
# quick and a process that must patch sockets first has not imported any.
COMMANDS = {
    "call": "cli.call",
    "campaign": "cli.campaign",
    "cdr": "cli.cdr",
    "complaints": "cli.complaints",
    "completion": "cli.completion",
    "config": "cli.config",
    "credit": "cli.credit",
    "dashboard": "cli.dashboard",
    "demo": "cli.demo",
    "doctor": "cli.doctor",
    "explain": "cli.explain",
    "guards": "cli.guards",
    "import": "cli.importing",
    "journal": "cli.journal",
    "missed": "cli.missed",
    "owner": "cli.owner",
    "payments": "cli.payments",
    "phone": "cli.phone",
    "premium": "cli.premium",
    "premium-audit": "cli.premium_audit",
    "provider": "cli.provider",
    "queues": "cli.queues",
    "report": "cli.report",
    "run": "cli.run",
    "service": "cli.service",
    "settlement": "cli.settlement",
    "sounds": "cli.sounds",
    "tree": "cli.tree",
    "usage": "cli.usage",
    "workers": "cli.workers",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        __import__(module)
        command: click.Command = sys.modules[module].command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what billing or the configuration cannot do is no traceback."""
        from billing.errors import BillingError

        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader (`| head`) has seen enough.
            os._exit(0)
        except (BillingError, ConfigError, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(package_name="callflows", prog_name="callflows")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Telephone self-service for operators: callers hear what they owe and settle it.

    \b
    Begin here:
      callflows import --lines conf/sample/lines.csv --bills conf/sample/bills.csv
      callflows call 2000 --from 02188776655 --keys 4,,9
      callflows phone
      callflows run

    Settings come from callflows.toml and from the environment; `callflows config` lists them.
    """


def settings_of(**overrides: object) -> Settings:
    """The checked configuration, or a clear end that names every wrong key."""
    try:
        return load(**overrides)
    except ConfigError as error:
        lines = "\n".join(f"  {line}" for line in str(error).splitlines())
        raise click.ClickException(
            f"the configuration is wrong:\n{lines}\nSee `callflows config` for every key."
        ) from error


def main() -> None:
    """Entry point of the `callflows` script."""
    command(prog_name="callflows")


if __name__ == "__main__":
    main()
