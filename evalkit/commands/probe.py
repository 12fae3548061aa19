"""The command ``evalkit probe``: what linear classifiers can read off a colorizer's activations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.commands._networks import PREPROCESSING
from evalkit.commands._shared import GivenPath, OutputFile, listed_names, table_console
from evalkit.progress import progress_bar
from evalkit.wording import counted

if TYPE_CHECKING:
    from evalkit.colorizers.probing.features import Features
    from evalkit.colorizers.probing.layers_table import LayersTable

__all__ = ["probe_command"]

FOLDER = GivenPath(path_type=Path)
ENDINGS = (".csv", ".md", ".tex")
RANDOM = "random weights"


@click.command("probe", short_help="Test a colorizer's features with linear classifiers.")
@click.option(
    "--weights",
    type=FOLDER,
    default=None,
    metavar="FILE",
    help="Checkpoint of 'evalkit train'; default: the classification network from scratch that comes with evalkit.",
)
@click.option(
    "--input",
    "source",
    type=GivenPath(),
    default=None,
    metavar="DIR",
    help="Photos with one sub-folder for each class: cross-validation. An address will do, as for score.",
)
@click.option(
    "--train",
    type=GivenPath(),
    default=None,
    metavar="DIR",
    help="Photos to train on, one sub-folder for each class, or an address; with --val.",
)
@click.option("--val", type=GivenPath(), default=None, metavar="DIR", help="Photos of the same classes to validate on.")
@click.option(
    "--segmentation",
    type=FOLDER,
    default=None,
    metavar="DIR",
    help="Scenes with labels of their pixels, in the layout of PASCAL VOC or of CamVid.",
)
@click.option(
    "--camvid-classes",
    type=click.Choice(["11", "12", "32"]),
    default=None,
    help="Join CamVid's 32 classes to the usual 11, to these and a 12th of all the rest, or not; default: 11.",
)
@click.option(
    "--sizes",
    default=None,
    metavar="N,N",
    help="Sides that photos are resized to, multiples of 8; default: the one that the network was trained at.",
)
@click.option(
    "--out",
    "outs",
    type=OutputFile("probe.csv"),
    multiple=True,
    metavar="FILE",
    help="Write the table: every number as .csv, the paper's table as .md or .tex. May be given several times.",
)
@click.option(
    "--features",
    "features_file",
    type=FOLDER,
    default=None,
    metavar="FILE.npz",
    help="Keep the features in this file, or take them from it; one of other photos, networks or sizes is refused.",
)
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
@click.option("--folds", type=int, default=None, help="Parts of the cross-validation.  [default: 5]")
@click.option(
    "--pixels",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Positions per scene that a per-pixel classifier learns from.  [default: 100]",
)
@click.option(
    "--penalty",
    type=click.FloatRange(0, min_open=True),
    default=None,
    metavar="X",
    help="Weight of the squared coefficients beside the mean loss, the same for every network.  [default: 0.01; for pixels, "
    "of which there are many, 0.0001]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the parts, of the positions, and of the random weights.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
def probe_command(
    weights: Path | None,
    source: str | None,
    train: str | None,
    val: str | None,
    segmentation: Path | None,
    camvid_classes: str | None,
    sizes: str | None,
    outs: tuple[Path, ...],
    features_file: Path | None,
    supervised: str | None,
    preprocess: str | None,
    gray: bool,
    folds: int | None,
    pixels: int | None,
    penalty: float | None,
    seed: int,
    device: str,
    quiet: bool,
) -> None:
    """Train linear classifiers on the frozen activations of each block, and test them on photos they never saw.

    \b
    evalkit probe --train photos/train --val photos/val --out probe.csv --out probe.tex
    evalkit probe --input photos_by_class/ --weights run/weights.pt \\
        --supervised squeezenet1_0=squeezenet.pth
    evalkit probe --segmentation VOCdevkit/VOC2012 --sizes 128,256

    Photos: activations are averaged down to about 9,000 numbers per block, and top-1 is given. Scenes: one classifier
    for all pixels, whose scores are interpolated to the labels; mean IoU over the classes is given.

    The same network with random weights is the floor: differences to it have 95 % intervals, paired over images. A
    network trained with labels is the ceiling.

    \b
    PASCAL VOC: JPEGImages, SegmentationClass (palette; 255 is not scored),
                ImageSets/Segmentation/train.txt and val.txt
    CamVid:     train and val, labels in trainannot and valannot (indices, 11 is
                void) or train_labels and val_labels (colours); or images and
                labels with valid.txt (codes.txt names the indices)
    """  # noqa: D301
    from evalkit.needs import need_torch

    need_torch()

    from evalkit.colorizers.learned.checkpoints import load_checkpoint, shipped_weights
    from evalkit.colorizers.learned.network import ColorizationNet
    from evalkit.colorizers.probing.classes import (
        ProbeResult,
        cross_validated,
        labelled_photos,
        train_and_validation_photos,
        validated,
    )
    from evalkit.colorizers.probing.features import colorizer_features, random_network, supervised_features
    from evalkit.colorizers.probing.kept_features import file_digest, kept_features
    from evalkit.colorizers.probing.layers_table import LayersTable
    from evalkit.colorizers.probing.linear import PENALTY
    from evalkit.colorizers.probing.mean_iou import SegmentationResult
    from evalkit.colorizers.probing.scenes import read_scenes
    from evalkit.colorizers.probing.segmentation import PIXEL_PENALTY, PIXELS, segmented
    from evalkit.errors import InputError
    from evalkit.files import write_atomically
    from evalkit.networks.classifiers import Classifier, Preprocessing
    from evalkit.networks.devices import choose_device
    from evalkit.networks.options import NetworkOptions

    _check_source(source, train, val, segmentation, folds, pixels, camvid_classes)
    for out in outs:
        if out.suffix not in ENDINGS:
            raise InputError(f"--out {out}: ends in none of {', '.join(ENDINGS)}, which say what is written.")
    if supervised is None and (preprocess is not None or gray):
        option = "--preprocess" if preprocess is not None else "--gray"
        raise InputError(f"{option} is about the supervised network; name one with --supervised NAME=FILE.")
    name, _, path = (supervised or "").partition("=")
    if supervised is not None and not (name and path):
        raise InputError(f"--supervised {supervised}: expected NAME=FILE, for example squeezenet1_0=FILE.")
    crops = preprocess is None or Preprocessing.parse(preprocess).crop is not None
    if supervised is not None and segmentation is not None and crops:
        raise InputError(
            "--supervised: labels of pixels need the whole photo; give a preprocessing that crops nothing, "
            "for example --preprocess warp224."
        )
    checkpoint = load_checkpoint(shipped_weights("classification-small") if weights is None else weights)
    torch_device = choose_device(device)
    network = checkpoint.network()
    if not isinstance(network, ColorizationNet):
        raise InputError(
            f"{weights} has an encoder that was trained with labels; the probe asks what is learnt without them: "
            "give a network from scratch"
        )
    networks: list[Features] = []
    for size in _sizes(sizes) or (checkpoint.input_size,):
        networks.append(colorizer_features(network, size, torch_device, f"{checkpoint.variant}, trained"))
        networks.append(colorizer_features(random_network(network, seed), size, torch_device, RANDOM))
    if supervised is not None:
        options = NetworkOptions(
            weights={name: Path(path).expanduser()},
            preprocessing={name: preprocess} if preprocess else {},
            device=device,
        )
        networks.append(supervised_features(Classifier(name, options), gray=gray))
    class_names: tuple[str, ...] = ()
    results: list[list[ProbeResult] | list[SegmentationResult]] = []
    signature = {
        "networks": "; ".join(f"{features.network} {features.size or ''} {features.digest}" for features in networks)
    }
    if segmentation is not None:
        scenes = read_scenes(segmentation, camvid_classes)
        class_names = scenes.names
        title = (
            f"{counted(len(scenes.val), 'scene')} of {scenes.root.name}, {counted(len(class_names), 'class', 'classes')}, "
            f"learnt from {counted(len(scenes.train), 'scene')}"
        )
        signature["photos"] = file_digest(scene.photo for scene in (*scenes.train, *scenes.val))
        with kept_features(features_file, signature) as store:
            for features in networks:
                with progress_bar(features.network, "scenes", hidden=quiet) as show:
                    results.append(
                        segmented(
                            scenes, features, pixels=pixels or PIXELS, seed=seed, penalty=penalty or PIXEL_PENALTY, store=store,
                            progress=show,
                        )
                    )  # fmt: skip
    elif train is not None and val is not None:
        seen, unseen = train_and_validation_photos(train, val)
        title = (
            f"{counted(len(unseen.paths), 'photo')} of {counted(len(seen.names), 'class', 'classes')}, learnt from "
            f"{counted(len(seen.paths), 'photo')}"
        )
        signature["photos"] = file_digest((*seen.paths, *unseen.paths))
        with kept_features(features_file, signature) as store:
            for features in networks:
                with progress_bar(features.network, "photos", hidden=quiet) as show:
                    results.append(
                        validated(seen, unseen, features, penalty=penalty or PENALTY, store=store, progress=show)
                    )
    else:
        assert source is not None
        photos = labelled_photos(source)
        n_folds = 5 if folds is None else folds
        title = f"{counted(len(photos.paths), 'photo')} of {counted(len(photos.names), 'class', 'classes')}, {n_folds} folds"
        signature["photos"] = file_digest(photos.paths)
        with kept_features(features_file, signature) as store:
            for features in networks:
                with progress_bar(features.network, "photos", hidden=quiet) as show:
                    results.append(
                        cross_validated(
                            photos,
                            features,
                            folds=n_folds,
                            seed=seed,
                            penalty=penalty or PENALTY,
                            store=store,
                            progress=show,
                        )
                    )
    table = LayersTable(
        title=title,
        measure="mean_iou" if segmentation is not None else "top1",
        class_names=class_names,
        results=tuple(results),
        baseline=RANDOM,
    )
    for out in outs:
        text = {".csv": table.to_csv, ".md": table.to_markdown, ".tex": table.to_latex}[out.suffix]()
        write_atomically(out, text)
    if not quiet:
        _print(table)


def _check_source(
    source: str | None,
    train: str | None,
    val: str | None,
    segmentation: Path | None,
    folds: int | None,
    pixels: int | None,
    camvid_classes: str | None,
) -> None:
    """Exactly one kind of data, and only the options that concern it."""
    from evalkit.errors import InputError

    kinds = [source is not None, train is not None or val is not None, segmentation is not None]
    if sum(kinds) != 1:
        raise InputError(
            "probe takes one of: --input DIR (cross-validation), --train DIR with --val DIR, --segmentation DIR."
        )
    if (train is None) != (val is None):
        absent = "--val" if val is None else "--train"
        raise InputError(f"{absent} DIR is missing: a classifier is trained on --train and tested on --val.")
    for option, value, needed, is_given in (
        ("--folds", folds, "--input", source is not None),
        ("--pixels", pixels, "--segmentation", segmentation is not None),
        ("--camvid-classes", camvid_classes, "--segmentation", segmentation is not None),
    ):
        if value is not None and not is_given:
            raise InputError(f"{option} is about {needed} DIR, which was not given.")


def _sizes(text: str | None) -> tuple[int, ...]:
    from evalkit.errors import InputError

    words = listed_names(text)
    if text is not None and (not words or not all(word.isdigit() for word in words)):
        raise InputError(f"--sizes {text}: expected numbers of pixels, for example 128,256.")
    if len(set(words)) < len(words):
        raise InputError(f"--sizes {text}: names a size twice.")
    return tuple(int(word) for word in words)


def _print(table: LayersTable) -> None:
    """A table for each network and size, layers downwards: it fits 80 columns."""
    from rich import box
    from rich.table import Table

    from evalkit.colorizers.probing.layers_table import percent, signed_percent

    console = table_console(80)
    measure = "top-1" if table.measure == "top1" else "mean IoU"
    console.print(f"{measure} in per cent, {table.title}")
    for results in table.results:
        first = results[0]
        if first.network == table.baseline and any(
            other[0].size == first.size for other in table.results if other is not results
        ):
            continue
        size = "" if first.size is None else f", {first.size} x {first.size} pixels"
        shown = Table(title=f"{first.network}{size}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        shown.add_column("layer", no_wrap=True)
        shown.add_column(measure, justify="right", no_wrap=True)
        shown.add_column("95 % interval", no_wrap=True)
        differences = table.above_baseline(results)
        if differences is not None:
            shown.add_column("random", justify="right", no_wrap=True)
            shown.add_column("difference", justify="right", no_wrap=True)
            shown.add_column("95 % interval", no_wrap=True)
        for k, result in enumerate(results):
            interval = result.interval()
            cells = [result.block, percent(result.value), f"{percent(interval.low)} to {percent(interval.high)}"]
            if differences is not None:
                difference, between = differences[k]
                cells += [
                    percent(result.value - difference),
                    signed_percent(difference),
                    f"{signed_percent(between.low)} to {signed_percent(between.high)}",
                ]
            shown.add_row(*cells)
        console.print(shown)
