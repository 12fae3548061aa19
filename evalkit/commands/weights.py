"""The command ``evalkit weights``: fetch the weights of a network, or say which are there."""

from __future__ import annotations

import click

from evalkit.progress import progress_bar

__all__ = ["weights_command"]


@click.command("weights", short_help="Fetch the weights of networks, or say which are there.")
@click.argument("networks", nargs=-1, metavar="[NETWORK]...")
@click.option("--json", "as_json", is_flag=True, help="Print file, address and presence as JSON; fetches nothing.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
def weights_command(networks: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Fetch the weights of networks into the torch hub cache (TORCH_HOME moves it).

    \b
    evalkit weights vgg16

    NETWORK is vgg16, any other classifier of torchvision by name, or what else 'evalkit weights' lists. An interrupted
    download is continued by the same command; the file's checksum is verified. Without NETWORK, nothing is fetched: the
    networks of the metrics are listed with what is there.
    """  # noqa: D301
    import json

    from evalkit.networks.catalogue import LISTED, published_weights
    from evalkit.networks.weight_files import fetch

    if not networks or as_json:
        rows = [published_weights(name) for name in networks or LISTED]
        if as_json:
            lines = [
                {
                    "network": row.network,
                    "version": row.version,
                    "url": row.url,
                    "megabytes": row.megabytes,
                    "file": str(row.path),
                    "present": row.path.is_file(),
                }
                for row in rows
            ]
            click.echo(json.dumps(lines, indent=1))
        elif not quiet:
            for row in rows:
                size = f"{row.megabytes:.0f} MB" if row.megabytes else ""
                state = f"in {row.path}" if row.path.is_file() else f"not fetched; evalkit weights {row.network}"
                click.echo(f"{row.network:<14} {row.version:<16} {size:>7}  {state}")
        return
    for name in networks:
        found_weights = published_weights(name)
        with progress_bar(found_weights.file_name, "bytes", hidden=quiet) as show:
            path = fetch(found_weights, show)
        if not quiet:
            click.echo(f"{name}: {path}")
