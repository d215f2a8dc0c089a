"""`callflows config`: every key, its environment variable, its value."""

from __future__ import annotations

import click
from pydantic import SecretStr

from callflows.config import PREFIX, Settings
from cli.main import settings_of


@click.command()
def command() -> None:
    """List every configuration key with its environment variable, value and meaning.

    \b
    Values come from, the later the stronger:
      the defaults, callflows.toml (or the file CALLFLOWS_CONFIG names), the environment.

    \b
    Example:
      CALLFLOWS_WORKER_LISTEN=0.0.0.0:8084 callflows config
    """
    settings = settings_of()
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = "(set)"
        elif value is None:
            value = "(not set)"
        elif name.endswith("_url"):
            value = _without_password(str(value))
        click.echo(f"{name} = {value}")
        click.echo(click.style(f"    {PREFIX}{name.upper()}: {field.description}", dim=True))


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not at:
        return url
    return f"{scheme}{separator}{credentials.split(':')[0]}:***@{host}"
