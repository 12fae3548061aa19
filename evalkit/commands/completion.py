"""``evalkit completion``: the script that completes commands and options in a shell."""

from __future__ import annotations

import click

__all__ = ["completion_command"]


@click.command("completion", short_help="Print the script that completes evalkit in your shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes evalkit's commands and options in SHELL.

    Put it where the shell reads it, once, then open a new terminal:

    \b
      bash   evalkit completion bash > ~/.evalkit-complete.bash
             echo 'source ~/.evalkit-complete.bash' >> ~/.bashrc
      zsh    evalkit completion zsh > ~/.evalkit-complete.zsh
             echo 'source ~/.evalkit-complete.zsh' >> ~/.zshrc   (after compinit)
      fish   evalkit completion fish > ~/.config/fish/completions/evalkit.fish
    """  # noqa: D301 - click knows the paragraph by the control character itself
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - the choices above are click's own
        raise click.UsageError(f"click has no completion for {shell}.")
    click.echo(kind(ctx.find_root().command, {}, "evalkit", "_EVALKIT_COMPLETE").source())
