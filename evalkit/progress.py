"""A bar of progress: on a terminal, or below the cell of a notebook."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any

__all__ = ["Progress", "progress_bar"]

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


@contextmanager
def progress_bar(title: str, unit: str, *, hidden: bool = False) -> Iterator[Progress]:
    """A bar with its rate, gone when done: on standard error where that is a terminal, else in a notebook, else none.

    Parameters
    ----------
    title, unit : str
        What is done, and what is counted.
    hidden : bool
        Show nothing.
    """
    from rich import progress as terminal
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter and not hidden:
        with _cell_bar(title, unit) as show:
            yield show
        return
    with terminal.Progress(
        terminal.TextColumn("{task.description}"),
        terminal.BarColumn(),
        terminal.MofNCompleteColumn(),
        terminal.TextColumn("{task.fields[rate]}"),
        terminal.TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task(title, total=None, rate="")

        def show_on_terminal(done: int, total: int) -> None:
            speed = bar.tasks[task].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:.0f} {unit}/s" if speed else "")

        yield show_on_terminal


@contextmanager
def _cell_bar(title: str, unit: str) -> Iterator[Progress]:
    """By IPython's own display, which every notebook has; rich's bar and tqdm's would need ipywidgets."""
    ipython: Any = import_module("IPython.display")
    handle = ipython.display(ipython.HTML(""), display_id=True)
    begin = time.monotonic()

    def show(done: int, total: int) -> None:
        seconds = time.monotonic() - begin
        rate = f", {done / seconds:.0f} {unit}/s" if done and seconds else ""
        bar = f'<progress max="{total}" value="{done}"></progress>'
        handle.update(ipython.HTML(f"{escape(title)} {bar} {done}/{total} {unit}{rate}"))

    try:
        yield show
    finally:
        handle.update(ipython.HTML(""))
