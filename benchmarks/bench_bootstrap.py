"""What intervals over images cost beside scipy.stats.bootstrap, and how often they hold what they claim to hold.

    python benchmarks/bench_bootstrap.py [--full] [--rounds 3] [--out docs/benchmarks/bootstrap.md]
    python benchmarks/bench_bootstrap.py --coverage --photos DIR [--grid 4] [--samples 800] [--seed 2024]

The first form resamples 27 columns of 10,000 images 10,000 times. Contestants take turns within each round; a figure is
the smallest over the rounds. Times faster are ratios of CPU time, which other work on the machine disturbs least (ours
counts all threads). scipy runs 2 of the 27 columns and is scaled by 27 / 2 unless --full is given. Memory is the peak of
a process of its own.

The second form draws samples from a population of photo patches, whose truth is known, and counts how often nominal 95 %
intervals of the class-rebalanced AuC hold the expected score at that number of images.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from evalkit.arrays import FloatArray
from evalkit.metrics.ab_counts import PairCounter, PairCounts, table_of
from evalkit.metrics.ab_error import AbAucRebalanced
from evalkit.metrics.base import ImageStatistics
from evalkit.metrics.photo import Photo
from evalkit.resampling.intervals import (
    Interval,
    abc_interval_ratio,
    interval,
    jackknife_interval,
    leave_one_out_scores,
)
from evalkit.resampling.replicates import Column, replicate_scores

N_IMAGES, N_REPLICATES, N_COLUMNS, SCIPY_COLUMNS, N_METHODS = 10_000, 10_000, 27, 2, 9
REBALANCED = AbAucRebalanced()
N_CLASSES = len(REBALANCED.options.classes)


# ------------------------------------------------------------------------------------------------------------
# Speed and memory
# ------------------------------------------------------------------------------------------------------------


def mean_score(sums: FloatArray) -> FloatArray:
    return np.asarray(sums[..., 0] / sums[..., 1])


def mean_columns(n: int) -> list[Column]:
    """Plain means of a skewed number, each with a count of one per image."""
    rng = np.random.default_rng(0)
    return [(np.column_stack([rng.gamma(3, 10, N_IMAGES), np.ones(N_IMAGES)]), mean_score) for _ in range(n)]


def rebalanced_columns() -> Iterator[Column]:
    """Nine methods on the same truth, a class in one image of nine as in ImageNet photos; one at a time in memory."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 5000, (N_IMAGES, N_CLASSES)) * (rng.random((N_IMAGES, N_CLASSES)) < 0.11)
    for _ in range(N_METHODS):
        yield np.hstack([pixels * rng.integers(0, 150, pixels.shape), pixels]), REBALANCED.score


def scipy_loop(columns: list[Column]) -> None:
    from scipy.stats import bootstrap

    for terms, _ in columns:
        # In batches: all at once would hold 10,000 x 10,000 indices and draws, and be slower for it.
        bootstrap(
            (terms[:, 0],),
            np.mean,
            n_resamples=N_REPLICATES,
            batch=100,
            method="percentile",
            rng=np.random.default_rng(0),
        )


def jackknife_loop() -> None:
    for terms, score in rebalanced_columns():
        jackknife_interval(float(score(terms.sum(axis=0))), leave_one_out_scores(terms, score))


MEMORY_RUNS: dict[str, Callable[[], object]] = {
    "means": lambda: replicate_scores(mean_columns(N_COLUMNS), N_REPLICATES),
    "rebalanced": lambda: replicate_scores(rebalanced_columns(), 1000),
    "jackknife": jackknife_loop,
}


def peak_megabytes(run: str) -> float:
    """Peak resident memory of a fresh process, imports included."""
    command = [sys.executable, __file__, "--memory-of", run]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def speed(rounds: int, full: bool) -> Iterator[str]:
    # First: a child's peak counts its parent's at the moment of the fork.
    memory = {run: f"{peak_megabytes(run):.0f}" for run in MEMORY_RUNS}
    columns = mean_columns(N_COLUMNS)
    measured = columns if full else columns[:SCIPY_COLUMNS]
    contestants: dict[str, Callable[[], object]] = {
        "scipy": lambda: scipy_loop(measured),
        "all": lambda: replicate_scores(columns, N_REPLICATES),
        "one": lambda: replicate_scores(columns[:1], N_REPLICATES),
        "abc": lambda: abc_interval_ratio(*columns[0][0].T),
    }
    times = {name: [(math.inf, math.inf)] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            times[name].append(timed(run))
    best = {name: np.min(found, axis=0) for name, found in times.items()}
    best["scipy"] *= N_COLUMNS / len(measured)
    best["rebalanced"] = np.array(timed(MEMORY_RUNS["rebalanced"]))
    best["jackknife"] = np.array(timed(MEMORY_RUNS["jackknife"]))
    how = "measured" if full else f"measured {SCIPY_COLUMNS} of {N_COLUMNS} columns, scaled"
    nine = f"rebalanced AuC, {N_METHODS} methods x {N_CLASSES} classes"
    rows = {
        "scipy": (f"scipy.stats.bootstrap, {N_COLUMNS} calls ({how})", ""),
        "all": (f"`replicate_scores`, {N_COLUMNS} columns", memory["means"]),
        "one": ("`replicate_scores`, 1 column", ""),
        "abc": ("`abc_interval_ratio`, 1 column", ""),
        "rebalanced": (f"`replicate_scores`, {nine}, 1,000 replicates, making the data included", memory["rebalanced"]),
        "jackknife": (f"`jackknife_interval`, {nine}, making the data included", memory["jackknife"]),
    }
    yield f"{N_IMAGES:,} images, {N_REPLICATES:,} replicates, best of {rounds} interleaved rounds.\n"
    yield "| | CPU s | wall s | times faster (CPU) | peak MB |\n|---|---|---|---|---|"
    for name, (label, peak) in rows.items():
        cpu, wall = best[name]
        faster = f"{best['scipy'][0] / cpu:.0f}" if name in ("scipy", "all") else ""
        yield f"| {label} | {cpu:.4g} | {wall:.4g} | {faster} | {peak} |"
    terms = columns[0][0]
    sampled = interval(terms[:, 0].mean(), replicate_scores(columns[:1], N_REPLICATES)[:, 0])
    closed = abc_interval_ratio(*terms.T)
    apart = max(abs(closed.low - sampled.low), abs(closed.high - sampled.high))
    yield (
        f"\nEnds of the ABC and the percentile interval differ by {apart / closed.std_error:.3f} standard errors, "
        f"{apart / terms[:, 0].mean():.1e} of the mean; the Monte Carlo error of a percentile is 0.027 standard errors."
    )


# ------------------------------------------------------------------------------------------------------------
# Coverage
# ------------------------------------------------------------------------------------------------------------


def patch_terms(folder: Path, grid: int) -> tuple[int, dict[str, npt.NDArray[np.float64]]]:
    """Terms of grid x grid patches of all photos in gray, half the colour, and another photo's colour."""
    from PIL import Image

    from evalkit.color.colorspace import lab_to_srgb8, srgb8_to_lab

    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpeg", ".jpg", ".png"})
    photos = [np.asarray(Image.open(p).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC)) for p in files]
    labs = [srgb8_to_lab(photo) for photo in photos]
    counter, side = PairCounter(REBALANCED.options.classes), 256 // grid
    counts: dict[str, list[PairCounts]] = {"gray": [], "half": [], "foreign": []}
    for k, (photo, lab) in enumerate(zip(photos, labs, strict=True)):
        for name, colours in (("gray", 0 * lab), ("half", lab / 2), ("foreign", labs[k - 37])):
            predicted, _ = lab_to_srgb8(np.dstack([lab[..., 0], colours[..., 1:]]))
            for top in range(0, 256, side):
                for left in range(0, 256, side):
                    patch = np.s_[top : top + side, left : left + side]
                    counts[name].append(counter.count(Photo(photo[patch]), Photo(predicted[patch])))
    n = len(files) * grid**2
    names, n_pixels = tuple(f"{k:06d}" for k in range(n)), np.full(n, side * side)
    return len(files), {
        name: REBALANCED.terms(
            ImageStatistics(images=names, n_pixels=n_pixels, ab_error=table_of(rows, N_CLASSES))
        ).astype(float)
        for name, rows in counts.items()
    }


def bca(estimate: float, replicates: FloatArray, leave_one_out: FloatArray) -> tuple[float, float]:
    """Ends of the BCa interval (Efron and Tibshirani 1993, chapter 14)."""
    normal, u = NormalDist(), leave_one_out.mean() - leave_one_out
    acceleration = float((u**3).sum() / (6 * (u**2).sum() ** 1.5))
    below = float((replicates < estimate).mean())
    z0 = normal.inv_cdf(min(max(below, 1 / len(replicates)), 1 - 1 / len(replicates)))
    ends = [normal.cdf(z0 + z / (1 - acceleration * z)) for z in (z0 - 1.96, z0 + 1.96)]
    low, high = np.quantile(replicates, ends)
    return float(low), float(high)


def candidates(estimate: float, replicates: FloatArray, leave_one_out: FloatArray) -> dict[str, Interval]:
    plain = interval(estimate, replicates)
    jackknife = jackknife_interval(estimate, leave_one_out)
    se, jackknife_se = plain.std_error, jackknife.std_error
    bca_low, bca_high = bca(estimate, replicates, leave_one_out)
    return {
        "percentile": plain,
        "percentile, bias corrected": interval(estimate, replicates, correct_bias=True),
        "basic": Interval(std_error=se, low=2 * estimate - plain.high, high=2 * estimate - plain.low),
        "BCa": Interval(std_error=se, low=bca_low, high=bca_high),
        "bootstrap, normal": Interval(std_error=se, low=estimate - 1.96 * se, high=estimate + 1.96 * se),
        "jackknife, normal": Interval(
            std_error=jackknife_se, low=estimate - 1.96 * jackknife_se, high=estimate + 1.96 * jackknife_se
        ),
        "jackknife, t": jackknife,
    }


Scored = dict[str, npt.NDArray[np.float64]]


def with_differences(scores: Scored) -> Scored:
    """Scores and paired differences, by label."""
    return {
        "gray": scores["gray"],
        "foreign": scores["foreign"],
        "half - gray": scores["half"] - scores["gray"],
        "gray - foreign": scores["gray"] - scores["foreign"],
    }


def coverage(folder: Path, grid: int, n_samples: int, seed: int) -> Iterator[str]:
    n_photos, terms = patch_terms(folder, grid)
    population = len(terms["gray"])
    rng = np.random.default_rng(seed)
    yield f"{population:,} patches of {n_photos} photos, {n_samples:,} samples of each size, seed {seed}.\n"
    yield "| score | n | interval | holds expected score at n, % | holds population score, % | SE / true SD | width / ideal |"
    yield "|---|---|---|---|---|---|---|"
    for n in (100, 300) if population > 1000 else (50, 100):
        many: dict[str, list[FloatArray]] = {name: [] for name in terms}
        for _ in range(20_000):
            drawn, times = np.unique(rng.integers(0, population, n), return_counts=True)
            for name, rows in terms.items():
                many[name].append(REBALANCED.score(times @ rows[drawn]))
        expected = with_differences({name: np.array(scores) for name, scores in many.items()})
        whole = with_differences({name: REBALANCED.score(rows.sum(axis=0)) for name, rows in terms.items()})
        record: dict[tuple[str, str], list[tuple[float, ...]]] = {}
        for k in range(n_samples):
            chosen = rng.integers(0, population, n)
            sample = {name: rows[chosen] for name, rows in terms.items()}
            columns: list[Column] = [(rows, REBALANCED.score) for rows in sample.values()]
            replicates = with_differences(dict(zip(sample, replicate_scores(columns, 1000, seed + k).T, strict=True)))
            left_out = with_differences(
                {name: leave_one_out_scores(rows, REBALANCED.score) for name, rows in sample.items()}
            )
            estimates = with_differences({name: REBALANCED.score(rows.sum(axis=0)) for name, rows in sample.items()})
            for label, estimate in estimates.items():
                center = expected[label].mean()
                for name, found in candidates(float(estimate), replicates[label], left_out[label]).items():
                    held = found.low <= center <= found.high
                    held_whole = found.low <= whole[label] <= found.high
                    row = (100.0 * bool(held), 100.0 * bool(held_whole), found.std_error, found.high - found.low)
                    record.setdefault((label, name), []).append(row)
        for (label, name), values in record.items():
            held, held_whole, se, width = np.mean(values, axis=0)
            sd = expected[label].std()
            yield f"| {label} | {n} | {name} | {held:.1f} | {held_whole:.1f} | {se / sd:.2f} | {width / (3.92 * sd):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="run scipy on all 27 columns")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--coverage", action="store_true", help="simulate coverage instead of timing")
    parser.add_argument("--photos", type=Path, help="folder of photos for --coverage")
    parser.add_argument("--grid", type=int, default=4, help="patches a side of a photo; 1 samples whole photos")
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--out", type=Path, help="also write the table here")
    parser.add_argument("--memory-of", choices=MEMORY_RUNS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        MEMORY_RUNS[options.memory_of]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(peak / (1024**2 if sys.platform == "darwin" else 1024))  # bytes there, kilobytes elsewhere
        return
    if options.coverage and options.photos is None:
        parser.error("--coverage needs --photos DIR, a folder of photos")
    lines = []
    for line in (
        coverage(options.photos, options.grid, options.samples, options.seed)
        if options.coverage
        else speed(options.rounds, options.full)
    ):
        print(line, flush=True)
        lines.append(line)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
