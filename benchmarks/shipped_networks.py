"""What the recipe of the shipped networks is worth on photos that they never saw.

    python benchmarks/shipped_networks.py --test PHOTOS --out FOLDER
    python benchmarks/shipped_networks.py --photos PHOTOS --test PHOTOS --out FOLDER
    python benchmarks/shipped_networks.py --test PHOTOS --out FOLDER --page PAGE.jpg

The first scores the checkpoints that come with the package on the test photos; with --prior FILE, it writes
FOLDER/trade_off.csv too: AuC and rebalanced AuC at several temperatures and lambdas. The last draws the first 20 photos
of a folder, gray, by every variant, and true.

The second trains the four variants on all of PHOTOS, and again without each of three folds of it (the first of four served to
choose the recipe). Then colours the test photos by the networks of the whole, each fold by those that were trained
without it, and the gray photos that training skips by those of the whole; scores all beside gray, the tint of the least
distance and the colour of the least squared error; and prints two Markdown tables: the test photos, and everything.
Four times 20 minutes of one core. What is finished is kept: the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from scipy.stats import ttest_1samp

import evalkit
from evalkit.arrays import Rgb8
from evalkit.color.ab_classes import load_prior, preset
from evalkit.color.colorspace import lab_planes
from evalkit.color.lab_join import join_lab
from evalkit.colorizers.learned.checkpoints import load_checkpoint, shipped_weights
from evalkit.colorizers.learned.colorizer import LearnedColorizer, log_weights_between
from evalkit.colorizers.learned.decoding import annealed_mean, join_with_lightness
from evalkit.colorizers.learned.learned_folder import Recipe, colorize_photos
from evalkit.colorizers.training.data import survey_photos
from evalkit.images.image_files import decode, write_png
from evalkit.images.image_pairs import find_images
from evalkit.scoring.accumulator import Accumulator
from evalkit.scoring.score_comparison import compare_methods

N_FOLDS = 4
SPLIT_SEED = 7
COMMON = "--network lite0 --crop-size 128 --batch-size 16 --weight-decay 0.05 --threads 1"
RECIPE = {
    "classification": "--steps 1000 --learning-rate 3e-3 --encoder-learning-rate 5e-4",
    "full": "--init classification/weights.pt --steps 300 --learning-rate 1.5e-3 --encoder-learning-rate 2.5e-4",
    "l2-finetuned": "--init classification/weights.pt --steps 400 --learning-rate 1e-3 --encoder-learning-rate 1e-4",
    "l2": "--steps 600 --learning-rate 3e-3 --encoder-learning-rate 5e-4",
}
METRICS = ("ab_auc", "ab_auc_rebal")
TEMPERATURES = (0.2, 0.38, 0.45, 0.6, 0.8, 1.0)
VARIANT_NAMES = ("l2", "l2-finetuned", "classification", "full")
DIFFERENCES = (
    *((variant, anchor) for variant in VARIANT_NAMES for anchor in ("gray", "random", "tint")),
    ("classification", "l2"), ("full", "classification"), ("full", "l2-finetuned"), ("mean-colour", "gray"),
)  # fmt: skip
LAMBDAS = (1.0, 0.9, 0.75, 0.5, 0.25, 0.125)
"""Shares of the uniform distribution; 1 weights no class up."""


def train_variants(photos: Path, out: Path) -> None:
    """The commands of the documentation, in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for variant, words in RECIPE.items():
        command = f"train --variant {variant} {COMMON} {words} --out {variant} --resume".split()
        script = "from evalkit.cli import main; main()"
        subprocess.run(
            [sys.executable, "-c", script, *command, "--input", str(photos)],
            cwd=out,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )


def link_photos(names: Iterable[str], source: Path, folder: Path) -> None:
    """A folder of links to some photos."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        target = folder / name.replace("/", "_")
        if not target.exists():
            target.symlink_to((source / name).resolve())


def tinted(photo: Rgb8, color: Sequence[float]) -> Rgb8:
    """The photo's lightness in one colour (a, b), clipped to the gamut as everything that is scored."""
    lightness = lab_planes(photo)[0]
    flat, _ = join_lab(lightness, *(np.full_like(lightness, value) for value in color))
    return flat.reshape(photo.shape)


def best_tint(photos: Iterable[Rgb8]) -> np.ndarray:
    """The one colour with the least mean distance to all true colours: their geometric median (Weiszfeld)."""
    ab = np.concatenate([lab_planes(photo)[1:].T[::17] for photo in photos])
    tint = np.median(ab, axis=0)
    for _ in range(60):
        inverse = 1 / np.maximum(np.linalg.norm(ab - tint, axis=1), 1e-3)
        tint = (ab * inverse[:, None]).sum(axis=0) / inverse.sum()
    return np.asarray(tint)


def mean_color(photos: Iterable[Rgb8]) -> np.ndarray:
    """The one colour with the least squared distance to all true colours, each photo counted alike."""
    return np.asarray(np.mean([lab_planes(photo)[1:].mean(axis=1) for photo in photos], axis=0))


def squared_errors(pictures: dict[str, Rgb8], truth: dict[str, Rgb8]) -> np.ndarray:
    """Mean squared distance of the ab of each photo, in the order of the truth."""
    return np.array(
        [((lab_planes(pictures[name])[1:] - lab_planes(truth[name])[1:]) ** 2).sum(axis=0).mean() for name in truth]
    )


def read_photos(folder: Path) -> dict[str, Rgb8]:
    """All photos of a folder, by name."""
    return {name: decode(path).rgb8 for name, path in find_images(folder).items()}


def color_and_score(parts: Sequence[tuple[Path, Path | None]], out: Path) -> None:
    """Colour each folder of photos by its networks (the shipped ones for None), score everything, print the table."""
    for photos, networks in parts:
        link_photos([path.name for path in find_images(photos).values()], photos, out / "truth")
        for variant in RECIPE:
            colored = out / "parts" / f"{networks.name if networks else 'shipped'}-{photos.name}-{variant}"
            weights = networks / variant / "weights.pt" if networks else None
            colorize_photos(Recipe(method=variant, weights=weights), photos, colored, device="cpu", resume=True)
            (out / variant).mkdir(exist_ok=True)
            for path in colored.glob("*.png"):
                shutil.copy(path, out / variant)
    truth = read_photos(out / "truth")
    colors = {"tint": best_tint(truth.values()), "mean-colour": mean_color(truth.values())}
    for name, color in colors.items():
        (out / name).mkdir(exist_ok=True)
        for photo, rgb8 in truth.items():
            write_png(out / name / f"{photo}.png", tinted(rgb8, color))
    methods = {"gray": None, "random": None, **{name: out / name for name in (*colors, *RECIPE)}}
    shutil.rmtree(out / "scores", ignore_errors=True)
    scores = out / "scores"
    evalkit.score(out / "truth", methods, out=scores, metrics=(*METRICS, "colorfulness"), n_bootstrap=2000)
    print(f"\n{len(truth)} photos; " + ", ".join(f"{name} ({a:.1f}, {b:.1f})" for name, (a, b) in colors.items()))
    print((scores / "summary.csv").read_text())
    print_differences(scores)
    errors = {name: squared_errors(read_photos(out / name), truth) for name in ("mean-colour", "l2", "l2-finetuned")}
    for name in ("l2", "l2-finetuned"):
        low, high = ttest_1samp(errors["mean-colour"] - errors[name], 0).confidence_interval(0.95)
        ratio = errors[name].mean() / errors["mean-colour"].mean()
        print(f"squared error of {name}: {ratio:.3f} of the mean colour's; lower by {low:.1f} to {high:.1f}")


def print_differences(scores: Path) -> None:
    """A line for each pair of methods: points, with their paired intervals."""
    print("\n| difference | AuC | rebalanced AuC |\n|---|---:|---:|")
    found = {
        (item.other_method, item.method, item.metric): item
        for baseline in {first for _, first in DIFFERENCES}
        for item in compare_methods(scores, baseline, n_bootstrap=5000)
    }
    for second, first in DIFFERENCES:
        cells = [found[second, first, metric] for metric in METRICS]
        values = [f"{100 * d.difference:+.2f} ({100 * d.ci_low:.2f} to {100 * d.ci_high:.2f})" for d in cells]
        print(f"| {second} - {first} | {' | '.join(values)} |")


def trade_off(photos: Path, prior: Path, scores_folder: Path, table: Path) -> None:
    """What temperature and lambda trade: a row for each of them, by the shipped `full` and `classification`.

    Below them the methods that have neither, from the scores of the same photos.

    A network that is trained with class weights learns scores that are log p + log w, so the scores of
    `classification` with log w added are those of a `full` that learnt the same. That makes lambda a choice of the
    decoding, and its curve one pass over the photos.
    """
    classes = preset("seed2024")
    shares = load_prior(prior, classes).shares
    settings = [("full", 0.25, t) for t in TEMPERATURES]
    settings += [("classification", share, 0.45) for share in LAMBDAS]
    settings += [("classification", 0.25, t) for t in TEMPERATURES if t != 0.45]
    metrics = (*METRICS, "colorfulness")
    scores = {setting: [Accumulator(metric) for metric in metrics] for setting in settings}
    checkpoints = {variant: load_checkpoint(shipped_weights(variant)) for variant in ("full", "classification")}
    log_weights = {
        share: torch.from_numpy(log_weights_between(checkpoints["classification"], share, shares)).float()[
            :, None, None
        ]
        for share in LAMBDAS
    }
    colorizers = {name: LearnedColorizer(item.network(), item.input_size) for name, item in checkpoints.items()}
    centers = torch.from_numpy(classes.centers).float()
    for truth in read_photos(photos).values():
        with torch.inference_mode():
            scored = {name: item.ab_network(item.network_input([truth])) for name, item in colorizers.items()}
        for (variant, share, temperature), accumulators in scores.items():
            weighted = scored[variant] + (log_weights[share] if variant == "classification" else 0)
            picture, _ = join_with_lightness(truth, annealed_mean(weighted, centers, temperature))
            for accumulator in accumulators:
                accumulator.update(truth, picture)
    lines = [",".join(("network", "lambda", "temperature", *metrics))]
    for (variant, share, temperature), accumulators in scores.items():
        values = (f"{accumulator.compute():.6f}" for accumulator in accumulators)
        lines.append(",".join((variant, f"{share:g}", f"{temperature:g}", *values)))
    with (scores_folder / "summary.csv").open(newline="") as file:
        values_of = {(row["method"], row["metric"]): row["value"] for row in csv.DictReader(file)}
    for method in ("gray", "random", "tint", "l2", "l2-finetuned"):
        lines.append(",".join((method, "", "", *(f"{float(values_of[method, metric]):.6f}" for metric in metrics))))
    table.write_text("\n".join(lines) + "\n")
    print(table.read_text())


def draw_page(photos: Path, out: Path, page: Path, side: int = 96, n_photos: int = 20) -> None:
    """A row for each photo: gray, the variants in the order of the table, the truth."""
    truth = read_photos(photos)
    names = sorted(truth)[:n_photos]
    link_photos([find_images(photos)[name].name for name in names], photos, out / "page")
    columns = [{name: tinted(truth[name], (0, 0)) for name in names}]
    for variant in ("l2", "l2-finetuned", "classification", "full"):
        colorize_photos(Recipe(method=variant), out / "page", out / f"page-{variant}", device="cpu", overwrite=True)
        columns.append(read_photos(out / f"page-{variant}"))
    columns.append(truth)
    sheet = Image.new("RGB", (len(columns) * (side + 4) - 4, len(names) * (side + 4) - 4), "white")
    for row, name in enumerate(names):
        for column, pictures in enumerate(columns):
            picture = ImageOps.fit(Image.fromarray(pictures[name]), (side, side))
            sheet.paste(picture, (column * (side + 4), row * (side + 4)))
    sheet.save(page, quality=78)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="photos to train on; default: score the shipped networks")
    parser.add_argument("--test", type=Path, required=True, help="photos that are trained on nowhere")
    parser.add_argument("--out", type=Path, required=True, help="folder for networks, pictures and scores")
    parser.add_argument("--page", type=Path, help="draw a page of 20 photos there, and nothing else")
    parser.add_argument("--prior", type=Path, help="class shares (prior.json of a training): measure the trade-off too")
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time, one core each")
    options = parser.parse_args()
    out = options.out.resolve()
    if options.page is not None:
        draw_page(options.test.resolve(), out, options.page)
        return
    if options.photos is None:
        color_and_score([(options.test.resolve(), None)], out / "test")
        if options.prior is not None:
            trade_off(options.test.resolve(), options.prior, out / "test" / "scores", out / "trade_off.csv")
        return
    photos = options.photos.resolve()
    survey = survey_photos(photos, preset("seed2024"))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(survey.photos))
    runs = [(photos, out / "whole")]
    parts = []
    for fold in range(1, N_FOLDS):
        held = set(order[fold::N_FOLDS].tolist())
        used, kept = (out / f"fold{fold}" / name for name in ("used", "kept"))
        link_photos([name for k, name in enumerate(survey.photos) if k not in held], photos, used)
        link_photos([name for k, name in enumerate(survey.photos) if k in held], photos, kept)
        runs.append((used, out / f"without{fold}"))
        parts.append((kept, out / f"without{fold}"))
    link_photos(survey.gray, photos, out / "gray")
    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(lambda run: train_variants(*run), runs))
    test = (options.test.resolve(), out / "whole")
    color_and_score([test], out / "test")
    color_and_score([test, *parts, (out / "gray", out / "whole")], out / "everything")


if __name__ == "__main__":
    main()
