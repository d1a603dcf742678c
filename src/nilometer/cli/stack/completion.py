"""`nilometer completion`: what a shell needs to complete commands, options, event types, recipes and workspaces."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from nilometer.cli.terminal.output import echo

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands and their values in bash, zsh or fish.

    Values are event types, recipes and workspaces. Workspaces are those of the local stack that runs.

    \b
    Examples:
      eval "$(nilometer completion bash)"
      nilometer completion fish > ~/.config/fish/completions/nilometer.fish
    """
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"{shell} is not one of {', '.join(SHELLS)}")
    for line in script(context.find_root().command, {}, "nilometer", "_NILOMETER_COMPLETE").source().splitlines():
        echo(line)
