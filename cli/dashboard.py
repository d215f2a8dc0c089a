"""`callflows dashboard`: rq-dashboard."""

from __future__ import annotations

import click

from callflows import logs
from callflows.config import ConfigError
from cli.main import settings_of


@click.command()
def command() -> None:
    """Serve the queue dashboard (rq-dashboard) at dashboard_listen.

    Open on loopback; elsewhere it needs dashboard_password (user: callflows).

    \b
    Example:
      callflows dashboard
    """
    settings = settings_of()
    logs.configure(settings.log_format, settings.log_level)
    from cli import processes

    try:
        processes.dashboard(settings)
    except (ConfigError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
