"""`callflows completion`: the shell's completion script."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      callflows completion bash > ~/.local/share/bash-completion/completions/callflows
      callflows completion zsh > ~/.zfunc/_callflows
      callflows completion fish > ~/.config/fish/completions/callflows.fish
    """
    from cli.main import command as group

    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(kind(group, {}, "callflows", "_CALLFLOWS_COMPLETE").source())
