"""Do the intervals of scores hold what they promise where images are few? Coverage, measured.

    python benchmarks/score_coverage.py [--sets 1000] [--seed 2016] [--out docs/benchmarks/score_coverage.md]

Sets of n images are drawn from known distributions; every interval is that of the public functions of
`evalkit.resampling`, beside the percentiles of the bootstrap. About a minute on one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evalkit.arrays import FloatArray
from evalkit.metrics.base import mean_score, mean_terms
from evalkit.resampling.intervals import (
    Interval,
    interval,
    jackknife_interval,
    leave_one_out_scores,
    paired_ratio_interval,
    paired_share_difference_interval,
    wilson_interval,
)
from evalkit.resampling.replicates import replicate_scores

N_REPLICATES = 400
SIZES = (5, 10, 20, 50, 100)

Draw = Callable[[np.random.Generator, int], FloatArray]
MEANS: tuple[tuple[str, Draw, float, str], ...] = (
    ("normal, as PSNR", lambda rng, n: rng.normal(25, 4, n), 25.0, "linear"),
    ("log-normal (SD 1), as an error with outliers", lambda rng, n: rng.lognormal(0, 1, n), math.exp(0.5), "log"),
    ("log-normal (SD 0.5), as CIEDE2000", lambda rng, n: rng.lognormal(2, 0.5, n), math.exp(2.125), "log"),
    ("beta(8, 1), as SSIM", lambda rng, n: rng.beta(8, 1, n), 8 / 9, "logit"),
)


def held(found: Interval, truth: float) -> bool:
    return bool(found.reason) or found.low <= truth <= found.high


def of_means(
    draw: Draw, truth: float, scale: str, n: int, n_sets: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Percent of intervals that hold the truth: the jackknife's and the percentiles'."""
    jackknife = percentile = 0
    for k in range(n_sets):
        terms = mean_terms(draw(rng, n))
        value = float(mean_score(terms.sum(axis=0)))
        leave_one_out = leave_one_out_scores(terms, mean_score)
        jackknife += held(jackknife_interval(value, leave_one_out, scale=scale), truth)  # type: ignore[arg-type]
        percentile += held(interval(value, replicate_scores([(terms, mean_score)], N_REPLICATES, k)[:, 0]), truth)
    return 100 * jackknife / n_sets, 100 * percentile / n_sets


def of_shares(
    share: float, kept: float, n: int, n_sets: int, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Percent that hold the truth: Wilson, the jackknife, the ratio and the difference of paired shares."""
    counts = [0, 0, 0, 0]
    for _ in range(n_sets):
        truth = rng.random(n) < share
        mine = truth & (rng.random(n) < kept)
        terms = mean_terms(truth.astype(np.float64))
        found = (
            wilson_interval(int(truth.sum()), n),
            jackknife_interval(float(truth.mean()), leave_one_out_scores(terms, mean_score)),
            paired_ratio_interval(mine, truth),
            paired_share_difference_interval(truth, mine),
        )
        aims = (share, share, kept, share * (kept - 1))
        for k, (one, aim) in enumerate(zip(found, aims, strict=True)):
            counts[k] += held(one, aim)
    wilson, jackknife, ratio, difference = (100 * count / n_sets for count in counts)
    return wilson, jackknife, ratio, difference


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", type=int, default=1000, help="sets of images per cell")
    parser.add_argument("--seed", type=int, default=2016)
    parser.add_argument("--out", type=Path, help="write the Markdown tables there")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    means = []
    for name, draw, truth, scale in MEANS:
        cells = [of_means(draw, truth, scale, n, options.sets, rng) for n in SIZES]
        means.append([name, scale, *(f"{ours:.1f} / {percentile:.1f}" for ours, percentile in cells)])
        print(means[-1], flush=True)
    shares = []
    for share, kept in ((0.5, 0.9), (0.9, 0.9), (0.98, 0.95)):
        for n in (5, 10, 50, 100):
            cells = of_shares(share, kept, n, options.sets, rng)
            shares.append(
                [f"{100 * share:.0f} %, {100 * kept:.0f} % of them kept", str(n), *(f"{c:.1f}" for c in cells)]
            )
            print(shares[-1], flush=True)
    error = 100 * math.sqrt(0.05 * 0.95 / options.sets)
    text = f"""# Intervals of few images

Percent of nominal 95 % intervals that hold the truth, in {options.sets:,} sets of n images drawn from a known distribution; the
Monte Carlo error of a figure near 95 is {error:.1f} points. To run it again:

    python benchmarks/score_coverage.py --sets {options.sets} --seed {options.seed} --out docs/benchmarks/score_coverage.md

## Means over images

The jackknife with Student's t, on the scale that the metric declares, which is the interval of every such score below 100
images; after the stroke the percentiles of the bootstrap ({N_REPLICATES} replicates), which serve from 100 images on.

{table(["values", "scale", *(f"n = {n}" for n in SIZES)], means)}

## Images that are right or wrong

Wilson's interval of a share, beside the jackknife's, which has no width at 0 and 100 %; Bonett and Price's of the share kept;
Newcombe's of the difference of two methods.

{table(["recognised", "n", "Wilson", "jackknife", "kept", "difference"], shares)}
"""
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
        print(f"Wrote {options.out}.")


if __name__ == "__main__":
    main()
