"""The command ``evalkit probe``: what linear classifiers can read off a colorizer's activations."""

from __future__ import annotations

from pathlib import Path

import click

from evalkit.commands._networks import PREPROCESSING
from evalkit.wording import counted

__all__ = ["probe_command"]


@click.command("probe", short_help="Test a colorizer's activations with linear classifiers.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Checkpoint of 'evalkit train'; default: the classification network that comes with evalkit.",
)
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder of photos with one sub-folder for each class.",
)
@click.option("--out", type=click.Path(path_type=Path), default=None, metavar="FILE", help="Write the table as CSV.")
@click.option(
    "--supervised",
    default=None,
    metavar="NAME=FILE",
    help="A torchvision classifier and its weights as ceiling, for example squeezenet1_0=FILE.",
)
@click.option(
    "--preprocess", default=None, metavar="TEXT", help=f"Its preprocessing, for example warp227. {PREPROCESSING}"
)
@click.option("--gray", is_flag=True, help="Give the supervised network the photos without colours, too.")
@click.option("--folds", type=int, default=5, show_default=True, help="Parts of the cross-validation.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the parts, and of the random network.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
def probe_command(
    weights: Path | None,
    source: Path,
    out: Path | None,
    supervised: str | None,
    preprocess: str | None,
    gray: bool,
    folds: int,
    seed: int,
    device: str,
    quiet: bool,
) -> None:
    """Train linear classifiers on the frozen activations of each block, and test them on photos they never saw.

    \b
    evalkit probe --input photos_by_class/
    evalkit probe --weights run/weights.pt --input photos_by_class/ \\
        --supervised squeezenet1_0=squeezenet.pth --out probe.csv

    Activations are averaged down to about 9,000 numbers per block. The same network with random weights is the
    floor, a network trained with labels the ceiling. Top-1 is given with its standard error over photos.
    """  # noqa: D301
    from evalkit.needs import need_torch

    need_torch()

    from evalkit.colorizers.learned.checkpoints import load_checkpoint, shipped_weights
    from evalkit.colorizers.learned.network import ColorizationNet
    from evalkit.colorizers.training.probing import (
        colorizer_features,
        labelled_photos,
        probe,
        random_network,
        supervised_features,
        table_rows,
    )
    from evalkit.commands._shared import progress_bar
    from evalkit.errors import InputError
    from evalkit.files import write_atomically
    from evalkit.networks.classifiers import Classifier
    from evalkit.networks.devices import choose_device
    from evalkit.networks.options import NetworkOptions
    from evalkit.text_formats import csv_text

    if supervised is None and (preprocess is not None or gray):
        option = "--preprocess" if preprocess is not None else "--gray"
        raise InputError(f"{option} is about the supervised network; name one with --supervised NAME=FILE.")
    name, _, path = (supervised or "").partition("=")
    if supervised is not None and not (name and path):
        raise InputError(f"--supervised {supervised}: expected NAME=FILE, for example squeezenet1_0=FILE.")
    photos = labelled_photos(source)
    checkpoint = load_checkpoint(shipped_weights("classification-small") if weights is None else weights)
    torch_device = choose_device(device)
    size, network = checkpoint.input_size, checkpoint.network()
    if not isinstance(network, ColorizationNet):
        raise InputError(
            f"{weights} has an encoder that was trained with labels; the probe asks what is learnt without them: "
            "give a network from scratch"
        )
    kinds = {
        f"{checkpoint.variant}, trained": colorizer_features(network, size, torch_device),
        "random weights": colorizer_features(random_network(network, seed), size, torch_device),
    }
    if supervised is not None:
        options = NetworkOptions(
            weights={name: Path(path).expanduser()},
            preprocessing={name: preprocess} if preprocess else {},
            device=device,
        )
        kinds[f"{name}, {'gray' if gray else 'colour'}"] = supervised_features(Classifier(name, options), gray=gray)
    results = []
    for kind, features in kinds.items():
        with progress_bar(kind, "photos", hidden=quiet) as show:
            results.append((kind, probe(photos, features, folds=folds, seed=seed, progress=show)))
    rows = table_rows(results)
    if out is not None:
        write_atomically(out, csv_text(rows))
    if not quiet:
        click.echo(
            f"top-1 in per cent, {counted(len(photos.paths), 'photo')} of {counted(len(photos.names), 'class', 'classes')}, {folds} folds"
        )
        for row in rows:
            top1, error = float(str(row["top1"])), float(str(row["std_error"]))
            click.echo(f"{row['network']:28}{row['block']:10}{100 * top1:7.1f} +- {100 * error:.1f}")
