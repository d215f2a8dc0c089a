"""`callflows config`: every key, its environment variable, its value."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

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
            value = _without_secrets(str(value))
        elif isinstance(value, dict) and name.startswith("sms_http"):
            value = {key: _placeholder(part) for key, part in value.items()}
        click.echo(f"{name} = {value}")
        click.echo(click.style(f"    {PREFIX}{name.upper()}: {field.description}", dim=True))


def _without_secrets(url: str) -> str:
    """The URL without its password and the values of its query."""
    parts = urlsplit(url)
    if not parts.netloc:
        # A file: nothing to hide, and putting it together again would lose slashes.
        return url
    user, at, host = parts.netloc.rpartition("@")
    netloc = f"{user.split(':')[0]}:***@{host}" if at and ":" in user else parts.netloc
    query = "&".join(f"{pair.partition('=')[0]}=***" for pair in parts.query.split("&") if pair)
    return parts._replace(netloc=netloc, query=query).geturl()


def _placeholder(value: object) -> object:
    """A template's value if it is only filled in, else nothing: it may be a key."""
    text = str(value)
    return text if re.fullmatch(r"(\{(to|text|key)\}|\W)*", text) else "***"
