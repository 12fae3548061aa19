"""A hundred simulated studies of one method: intervals by three units of resampling, and how many miss the true rate."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from _style import draw_for_both_schemes
from matplotlib.figure import Figure
from scipy.special import expit
from scipy.stats import norm

from analysis.planning.assumptions import StudyDesign
from analysis.planning.simulation import simulate_answers
from analysis.statistics.bootstrap import nested_bootstrap
from analysis.statistics.fool_rate import fool_rate

STUDIES = 100
DESIGN = StudyDesign(n_participants=40, n_trials=40, n_images=40)
INTERCEPT, PARTICIPANT_SD, IMAGE_SD = -0.85, 0.6, 1.0
TITLES = ("trials", "participants, then trials\n(Zhang et al. 2016)", "participants and images")


def true_rate() -> float:
    """Rate over all participants and images: the logit model averaged over its normal spread."""
    grid = np.linspace(-6, 6, 2001)
    spread = math.hypot(PARTICIPANT_SD, IMAGE_SD)
    return float(np.average(expit(INTERCEPT + spread * grid), weights=norm.pdf(grid)))


def intervals() -> np.ndarray:
    """Estimate, low and high: shape (3 units, studies, 3)."""
    rng = np.random.default_rng(2016)
    found = np.empty((3, STUDIES, 3))
    for study in range(STUDIES):
        effect = IMAGE_SD * rng.standard_normal(DESIGN.n_images)
        fooled, participant, image = simulate_answers(DESIGN, INTERCEPT, PARTICIPANT_SD, effect, rng)
        rate = fooled.mean()
        reach = 1.96 * math.sqrt(rate * (1 - rate) / fooled.size)
        counts = np.bincount(participant)
        crossed = fool_rate(fooled, participant, image)
        paper = nested_bootstrap(np.bincount(participant, fooled).astype(int), counts).interval()
        found[:, study] = (rate, rate - reach, rate + reach), (rate, *paper), (rate, crossed.ci_low, crossed.ci_high)
    return 100 * found


def draw(colours: dict[str, Any]) -> Figure:
    """Three panels side by side; intervals that miss the true rate are thick and of another colour."""
    truth = 100 * true_rate()
    figure = Figure(figsize=(7.2, 6.0), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, title, found in zip(panels, TITLES, intervals(), strict=True):
        missed = (found[:, 1] > truth) | (found[:, 2] < truth)
        for study, (rate, low, high) in enumerate(found):
            colour, width = (colours["lines"][1], 1.6) if missed[study] else (colours["lines"][0], 1.0)
            axes.plot([low, high], [study, study], color=colour, linewidth=width, solid_capstyle="butt")
            axes.plot(rate, study, marker="s" if missed[study] else "o", color=colour, markersize=1.8)
        axes.axvline(truth, color=colours["ink"], linewidth=0.9, linestyle="--")
        axes.set_title(f"{title}\n{missed.sum()} of {STUDIES} miss", fontsize=9, color=colours["ink"])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    panels[1].set_xlabel("fool rate, %; dashed: the true rate for new people and new images")
    return figure


def main(folder: Path) -> None:
    """Write resampling_unit-light.svg and resampling_unit-dark.svg."""
    draw_for_both_schemes(folder, "resampling_unit", draw)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
