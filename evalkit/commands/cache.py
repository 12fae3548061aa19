"""The command ``evalkit cache``: what networks made of true photos, kept for other runs."""

from __future__ import annotations

import time
from pathlib import Path

import click

from evalkit.command_groups import NearestGroup

__all__ = ["cache_command"]

folder_option = click.option(
    "--cache",
    "folder",
    type=click.Path(path_type=Path),
    default=None,
    metavar="DIR",
    help="Folder of the cache; by default what EVALKIT_CACHE names, else the user's own.",
)


def _chosen(folder: Path | None) -> Path:
    from evalkit.errors import InputError
    from evalkit.networks.output_cache import chosen_cache_folder

    chosen = chosen_cache_folder(folder or "auto")
    if chosen is None:
        raise InputError("EVALKIT_CACHE is off: name the folder of a cache with --cache DIR.")
    return chosen


@click.group(
    "cache", cls=NearestGroup, invoke_without_command=True, short_help="Show or prune the stored network passes."
)
@folder_option
@click.option("--json", "as_json", is_flag=True, help="Print folder, limit and networks as JSON.")
@click.pass_context
def cache_command(context: click.Context, folder: Path | None, as_json: bool) -> None:
    """Show what networks made of true photos, kept for other runs.

    \b
    evalkit cache
    evalkit cache prune --older-than 30

    'evalkit score' keeps FID's and KID's features and the class scores of true photos and reference sets, so that ten
    checkpoints cost one pass of the networks over the photos. A photo is known by its pixels, a network by its weights and
    by all that its numbers depend on: a changed file or setting is computed anew. Results do not depend on the cache, which
    any number of runs on any number of machines may share. After a run, what nobody has read for longest makes room:
    EVALKIT_CACHE_SIZE says how much the cache may take (10GB by default).
    """  # noqa: D301
    import json

    from evalkit.networks.output_cache import cached_networks, size_limit, size_text
    from evalkit.wording import counted

    context.obj = folder
    if context.invoked_subcommand is not None:
        return
    root = _chosen(folder)
    networks = cached_networks(root)
    n_entries, n_bytes = sum(one.n_entries for one in networks), sum(one.n_bytes for one in networks)
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
        click.echo(json.dumps({"folder": str(root), "limit_bytes": size_limit(), "networks": rows}, indent=1))
        return
    click.echo(
        f"{root}: {counted(n_entries, 'entry', 'entries')}, {size_text(n_bytes)} of {size_text(size_limit())} that it may take"
    )
    for one in networks:
        signature = one.signature
        details = [signature[name] for name in ("resize", "preprocessing", "precision", "device") if name in signature]
        weights = f"@{signature['weights'][:8]}" if "weights" in signature else ""
        used = f", last used {time.strftime('%Y-%m-%d', time.localtime(one.last_used))}" if one.n_entries else ""
        click.echo(
            f"  {signature.get('network', one.folder.name)}{weights} ({', '.join(one.metrics)}): "
            f"{counted(one.n_entries, 'entry', 'entries')}, {size_text(one.n_bytes)}{used}"
        )
        if details:
            click.echo(f"    {', '.join(details)}")


@cache_command.command("prune", short_help="Remove entries by age, size or metric, or all.")
@folder_option
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
    help="Keep that much, for example 500MB or 2GB; what was of no use for longest goes first.",
)
@click.option("--metric", default=None, metavar="NAME", help="Only what this metric is made from; alone, all of it.")
@click.option("--all", "everything", is_flag=True, help="Remove every entry.")
@click.pass_obj
def prune_command(
    outer: Path | None,
    folder: Path | None,
    older_than: float | None,
    max_size: str | None,
    metric: str | None,
    everything: bool,
) -> None:
    """Remove entries of the cache; runs that go on meanwhile compute what is gone.

    \b
    evalkit cache prune --older-than 30
    evalkit cache prune --max-size 2GB
    evalkit cache prune --metric fid
    evalkit cache prune --all
    """  # noqa: D301
    from evalkit.errors import InputError
    from evalkit.metrics import load_metric
    from evalkit.networks.output_cache import cached_networks, parse_size, prune, size_text
    from evalkit.wording import counted

    is_chosen = older_than is not None or max_size is not None or metric is not None
    if everything == is_chosen:
        raise InputError("say what goes: --older-than DAYS, --max-size SIZE or --metric NAME, or --all alone.")
    if metric is not None:
        load_metric(metric)
    root = _chosen(folder or outer)
    try:
        n_removed, n_bytes = prune(
            root,
            max_bytes=None if max_size is None else parse_size(max_size),
            older_than_days=older_than,
            metric=metric,
        )
    except OSError as error:
        raise InputError(f"{root}: cannot be pruned ({error.strerror}).") from error
    left = cached_networks(root)
    click.echo(
        f"{root}: {counted(n_removed, 'entry', 'entries')} removed ({size_text(n_bytes)}), "
        f"{sum(one.n_entries for one in left):,} left ({size_text(sum(one.n_bytes for one in left))})"
    )
