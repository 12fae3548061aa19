"""A group of commands that are imported when they are called, and a hint for a name that is none of them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import click

from evalkit.errors import InputError
from evalkit.needs import absent_packages
from evalkit.wording import nearest, needs_package, some_names

__all__ = ["LazyGroup", "NearestGroup"]


class NearestGroup(click.Group):
    """A click group that answers an unknown name with the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command to run."""
        name = args[0]
        names = self.list_commands(ctx)
        if name not in names and not name.startswith("-") and not ctx.resilient_parsing:
            near = nearest(name, names)
            hint = f"Did you mean '{near}'?" if near else f"'{ctx.command_path} --help' lists all commands."
            ctx.fail(f"there is no command '{name}'. {hint}")
        return super().resolve_command(ctx, args)


class LazyGroup(NearestGroup):
    """A click group that imports none of its commands before it is called or its own help is printed.

    Parameters
    ----------
    modules : dict of str to tuple of str
        By module, the names of the commands that it holds; ``create`` is its ``create_command``.
    needs : sequence of str
        What all of the commands import beside the core installation; their help can be read without.
    extra : str
        The extra that brings it.
    """

    def __init__(
        self, *, modules: dict[str, tuple[str, ...]], needs: Sequence[str] = (), extra: str = "", **settings: object
    ) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._modules = modules
        self._needs = needs
        self._extra = extra

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command to run; refuse, before any of its work, where what it needs is not installed."""
        resolved = super().resolve_command(ctx, args)
        asks_for_help = not set(ctx.help_option_names).isdisjoint(args)
        absent = [] if asks_for_help or ctx.resilient_parsing else absent_packages(*self._needs)
        if absent:
            raise InputError(needs_package(some_names(absent), f"'{ctx.command_path}'", self._extra))
        return resolved

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted; imports none of them."""
        return sorted(name for names in self._modules.values() for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None where there is no such name."""
        for module, names in self._modules.items():
            if cmd_name in names:
                command = getattr(import_module(module), f"{cmd_name.replace('-', '_')}_command")
                assert isinstance(command, click.Command)
                return command
        return None
