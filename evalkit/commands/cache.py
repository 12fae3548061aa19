"""The command ``evalkit cache``: what networks made of true photos, and copies of images that lie elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from evalkit.command_groups import NearestGroup
from evalkit.commands._shared import GivenPath

if TYPE_CHECKING:
    from evalkit.networks.output_cache import CachedNetwork

__all__ = ["cache_command"]

F = TypeVar("F", bound=Callable[..., Any])


def folder_options(function: F) -> F:
    """Add the options that name the caches."""
    for option in (
        click.option("--image-cache", type=GivenPath(path_type=Path), default=None, metavar="DIR",
                     help="Folder of the copies of images; by default what EVALKIT_IMAGE_CACHE names, if anything."),
        click.option("--cache", "folder", type=GivenPath(path_type=Path), default=None, metavar="DIR",
                     help="Folder of the network outputs; by default what EVALKIT_CACHE names, else the user's own. Where "
                          "one of --cache and --image-cache is given, the other cache is left aside."),
    ):  # fmt: skip
        function = option(function)
    return function


@dataclass(frozen=True)
class _Folders:
    """The caches that are meant; None for one that is not."""

    outputs: Path | None
    copies: Path | None


def _chosen(folder: Path | None, image_cache: Path | None) -> _Folders:
    from evalkit.errors import InputError
    from evalkit.images.copies import chosen_copies_folder
    from evalkit.networks.output_cache import chosen_cache_folder

    is_for_images = image_cache is not None and folder is None
    is_for_outputs = folder is not None and image_cache is None
    chosen = _Folders(
        None if is_for_images else chosen_cache_folder(folder or "auto"),
        None if is_for_outputs else chosen_copies_folder(image_cache),
    )
    if chosen == _Folders(None, None):
        raise InputError("EVALKIT_CACHE is off: name the folder of a cache with --cache DIR or --image-cache DIR.")
    return chosen


@click.group(
    "cache", cls=NearestGroup, invoke_without_command=True, short_help="Show or prune stored network passes and copies."
)
@folder_options
@click.option("--json", "as_json", is_flag=True, help="Print folders, limit, networks and copies as JSON.")
@click.pass_context
def cache_command(context: click.Context, folder: Path | None, image_cache: Path | None, as_json: bool) -> None:
    """Show what is kept for other runs: what networks made of true photos, and copies of images that lie elsewhere.

    \b
    evalkit cache
    evalkit cache prune --older-than 30

    'evalkit score' keeps FID's and KID's features and the class scores of true photos and reference sets, so that ten
    checkpoints cost one pass of the networks over the photos. A photo is known by its pixels, a network by its weights and
    by all that its numbers depend on: a changed file or setting is computed anew. Results do not depend on the cache, which
    any number of runs on any number of machines may share. After a run, what nobody has read for longest makes room:
    EVALKIT_CACHE_SIZE says how much the cache may take (10GB by default).

    Copies of images from buckets and web servers are kept where --image-cache or EVALKIT_IMAGE_CACHE names a folder, as
    many as are read: only 'evalkit cache prune' removes any.
    """  # noqa: D301
    import json

    from evalkit.images.copies import cached_copies
    from evalkit.networks.output_cache import cached_networks, size_limit

    context.obj = (folder, image_cache)
    if context.invoked_subcommand is not None:
        return
    chosen = _chosen(folder, image_cache)
    networks = [] if chosen.outputs is None else cached_networks(chosen.outputs)
    copies = None if chosen.copies is None else cached_copies(chosen.copies)
    if as_json:
        rows = [
            {
                "folder": str(one.folder),
                "metrics": list(one.metrics),
                "signature": dict(one.signature),
                "entries": one.n_entries,
                "bytes": one.n_bytes,
                "last_used": one.last_used,
            }
            for one in networks
        ]
        shown = {
            "folder": None if chosen.outputs is None else str(chosen.outputs),
            "limit_bytes": size_limit(),
            "networks": rows,
            "images": None
            if copies is None
            else {
                "folder": str(copies.folder),
                "copies": copies.n_copies,
                "bytes": copies.n_bytes,
                "last_used": copies.last_used,
            },
        }
        click.echo(json.dumps(shown, indent=1))
        return
    if chosen.outputs is not None:
        _show_networks(chosen.outputs, networks)
    if copies is not None:
        click.echo(f"{copies.folder}: {_amount(copies.n_copies, copies.n_bytes, copies.last_used, 'copy', 'copies')}")


def _show_networks(root: Path, networks: list[CachedNetwork]) -> None:
    from evalkit.networks.output_cache import size_limit, size_text
    from evalkit.wording import counted

    n_entries, n_bytes = sum(one.n_entries for one in networks), sum(one.n_bytes for one in networks)
    click.echo(
        f"{root}: {counted(n_entries, 'entry', 'entries')}, {size_text(n_bytes)} of {size_text(size_limit())} that it may take"
    )
    for one in networks:
        signature = one.signature
        details = [signature[name] for name in ("resize", "preprocessing", "precision", "device") if name in signature]
        weights = f"@{signature['weights'][:8]}" if "weights" in signature else ""
        click.echo(
            f"  {signature.get('network', one.folder.name)}{weights} ({', '.join(one.metrics)}): "
            f"{_amount(one.n_entries, one.n_bytes, one.last_used, 'entry', 'entries')}"
        )
        if details:
            click.echo(f"    {', '.join(details)}")


def _amount(n: int, n_bytes: int, last_used: float, singular: str, plural: str) -> str:
    from evalkit.networks.output_cache import size_text
    from evalkit.wording import counted

    used = f", last used {time.strftime('%Y-%m-%d', time.localtime(last_used))}" if n else ""
    return f"{counted(n, singular, plural)}, {size_text(n_bytes)}{used}"


@cache_command.command("prune", short_help="Remove entries by age, size or metric, or all.")
@folder_options
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=None,
    metavar="DAYS",
    help="Remove what was of no use for that many days.",
)
@click.option(
    "--max-size",
    default=None,
    metavar="SIZE",
    help="Keep that much of each cache, for example 500MB or 2GB; what was of no use for longest goes first.",
)
@click.option(
    "--metric",
    default=None,
    metavar="NAME",
    help="Only what networks made for this metric; alone, all of it. Copies of images are left aside.",
)
@click.option("--all", "everything", is_flag=True, help="Remove every entry and copy.")
@click.pass_obj
def prune_command(
    outer: tuple[Path | None, Path | None],
    folder: Path | None,
    image_cache: Path | None,
    older_than: float | None,
    max_size: str | None,
    metric: str | None,
    everything: bool,
) -> None:
    """Remove entries of the caches; runs that go on meanwhile compute or fetch what is gone.

    \b
    evalkit cache prune --older-than 30
    evalkit cache prune --max-size 2GB
    evalkit cache prune --metric fid
    evalkit cache prune --image-cache copies --all
    """  # noqa: D301
    from evalkit.errors import InputError
    from evalkit.images.copies import cached_copies, prune_copies
    from evalkit.metrics import load_metric
    from evalkit.networks.output_cache import cached_networks, parse_size, prune

    is_chosen = older_than is not None or max_size is not None or metric is not None
    if everything == is_chosen:
        raise InputError("say what goes: --older-than DAYS, --max-size SIZE or --metric NAME, or --all alone.")
    folder, image_cache = folder or outer[0], image_cache or outer[1]
    if metric is not None:
        load_metric(metric)
        if image_cache is not None and folder is None:
            raise InputError(
                "--metric is about network outputs, --image-cache about copies of images: give one of the two."
            )
    max_bytes = None if max_size is None else parse_size(max_size)
    chosen = _chosen(folder, image_cache)
    if chosen.outputs is not None:
        with _told(chosen.outputs):
            removed = prune(chosen.outputs, max_bytes=max_bytes, older_than_days=older_than, metric=metric)
        networks = cached_networks(chosen.outputs)
        left = sum(one.n_entries for one in networks), sum(one.n_bytes for one in networks)
        _say_removed(chosen.outputs, removed, left, "entry", "entries")
    if chosen.copies is not None and metric is None:
        with _told(chosen.copies):
            removed = prune_copies(chosen.copies, max_bytes=max_bytes, older_than_days=older_than)
        copies = cached_copies(chosen.copies)
        _say_removed(chosen.copies, removed, (copies.n_copies, copies.n_bytes), "copy", "copies")


@contextmanager
def _told(root: Path) -> Iterator[None]:
    """Say in a sentence why a file within cannot be removed."""
    from evalkit.errors import InputError

    try:
        yield
    except OSError as error:
        raise InputError(f"{root}: cannot be pruned ({error.strerror}).") from error


def _say_removed(root: Path, removed: tuple[int, int], left: tuple[int, int], singular: str, plural: str) -> None:
    from evalkit.networks.output_cache import size_text
    from evalkit.wording import counted

    click.echo(
        f"{root}: {counted(removed[0], singular, plural)} removed ({size_text(removed[1])}), {left[0]:,} left "
        f"({size_text(left[1])})"
    )
