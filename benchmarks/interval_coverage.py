"""Do the intervals hold what they promise? Coverage and false alarms of the human test, by simulated studies.

    python benchmarks/interval_coverage.py [--studies 2000] [--seed 2016] [--out docs/benchmarks/coverage.md]

Answers follow a logit model with normal participants and images. Every simulated study is analysed by the public
functions of `analysis`, as a real one would be; beside them what papers usually print. About two minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.statistics.bootstrap import nested_bootstrap, pigeonhole_variance, probability_less
from analysis.statistics.comparison import compare
from analysis.statistics.crossed import CrossedDesign
from analysis.statistics.fool_rate import crossed_mean, t_quantile
from evalkit.arrays import FloatArray

Answers = tuple[FloatArray, np.ndarray, np.ndarray]
NODE, WEIGHT = np.polynomial.hermite_e.hermegauss(61)
WEIGHT = WEIGHT / WEIGHT.sum()
IMAGE_CORRELATION = 0.7
"""Of the images' effects on two methods, in the false-alarm studies."""


@dataclass(frozen=True)
class Setting:
    """One design: participants x trials, images drawn per participant from a pool, fool rate, spreads (logit)."""

    name: str
    n_participants: int
    trials: tuple[int, ...]
    pool: int
    rate: float = 0.323
    participant_sd: float = 0.6
    image_sd: float = 1.0
    other_participants: int | None = None
    same_people: bool = False

    def intercept(self) -> float:
        """Of the logit model whose marginal rate is `rate`."""
        sd = math.hypot(self.participant_sd, self.image_sd)
        low, high = -40.0, 40.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if WEIGHT @ expit(middle + sd * NODE) < self.rate else (low, middle)
        return low


COVERAGE = (
    Setting("10 x 40, the same 40 images", 10, (40,), 40),
    Setting("40 x 40, the same 40 images", 40, (40,), 40),
    Setting("40 x 40, the same 40, spreads .5/.5", 40, (40,), 40, participant_sd=0.5, image_sd=0.5),
    Setting("40 x 40, the same 40, rate 50 %", 40, (40,), 40, rate=0.5),
    Setting("160 x 40, the same 40 images", 160, (40,), 40),
    Setting("40 x 40 of 400 images", 40, (40,), 400),
    Setting("40 x 40 of 10,000 images", 40, (40,), 10_000),
    Setting("10 x 40 of 10,000 images", 10, (40,), 10_000),
    Setting("20 x 20 of 60 images", 20, (20,), 60),
    Setting("40 x (20 to 60) of 100 images", 40, (20, 30, 40, 60), 100),
    Setting("80 x 40 of 80 images, rate 5 %", 80, (40,), 80, rate=0.05),
    Setting("10 x 10, the same 10 images", 10, (10,), 10),
    Setting("40 x 40 of 400, no spread at all", 40, (40,), 400, participant_sd=0.0, image_sd=0.0),
)

FALSE_ALARMS = (
    Setting("40 and 40 people, the same 40 images", 40, (40,), 40),
    Setting("40 and 40 people, 400 images", 40, (40,), 400),
    Setting("40 and 40 people, 10,000 images", 40, (40,), 10_000),
    Setting("40 and 8 people, the same 40 images", 40, (40,), 40, other_participants=8),
    Setting("60 and 15 people, 20 to 60 trials, 100 images", 60, (20, 30, 40, 60), 100, other_participants=15),
    Setting("12 and 12 people, 20 images", 12, (20,), 20),
    Setting("40 people see both, 400 images", 40, (40,), 400, same_people=True),
    Setting("40 and 40 people, 80 images, rate 5 %", 40, (40,), 80, rate=0.05),
)


def expit(x: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def draw_layout(setting: Setting, n_participants: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Who sees what: participant and image of every trial."""
    trials = np.resize(setting.trials, n_participants)
    if setting.pool <= 1000:
        order = np.argsort(rng.random((n_participants, setting.pool)), axis=1)
        image = np.concatenate([row[:t] for row, t in zip(order, trials, strict=True)])
    else:
        image = np.concatenate([rng.choice(setting.pool, t, replace=False) for t in trials])
    return np.repeat(np.arange(n_participants), trials), image


def draw_answers(logit: FloatArray, rng: np.random.Generator) -> FloatArray:
    return (rng.random(logit.size) < expit(logit)).astype(np.float64)


def means_of(y: FloatArray, level: np.ndarray) -> FloatArray:
    count = np.bincount(level)
    return np.asarray(np.bincount(level, y)[count > 0] / count[count > 0])


def coverage_row(setting: Setting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """Share of intervals that hold the truth, per method; ratio of reported to true standard error."""
    intercept = setting.intercept()
    held = dict.fromkeys(("crossed", "paper", "trials", "pigeonhole", "fixed"), 0)
    errors: list[float] = []
    paper_errors: list[float] = []
    estimates: list[float] = []
    z = 1.959964
    for _ in range(n_studies):
        participant, image = draw_layout(setting, setting.n_participants, rng)
        effect = setting.image_sd * rng.standard_normal(setting.pool)
        person = setting.participant_sd * rng.standard_normal(setting.n_participants)
        y = draw_answers(intercept + person[participant] + effect[image], rng)
        design = CrossedDesign.from_labels(participant, image)
        found = crossed_mean(y, design)
        held["crossed"] += found.ci_low <= setting.rate <= found.ci_high
        errors.append(found.std_error)
        estimates.append(found.estimate)

        fixed = crossed_mean(y, design, estimand="participants")
        shown = effect[design.images]
        on_these = WEIGHT @ expit(intercept + setting.participant_sd * NODE[:, None] + shown[None, :])
        truth = float(np.mean(on_these[design.image]))
        held["fixed"] += fixed.ci_low <= truth <= fixed.ci_high

        counts = np.bincount(participant)
        paper = nested_bootstrap(np.bincount(participant, y).astype(int), counts)
        low, high = paper.interval()
        held["paper"] += low <= setting.rate <= high
        paper_errors.append(paper.std_error)
        naive = math.sqrt(found.estimate * (1 - found.estimate) / y.size)
        held["trials"] += abs(found.estimate - setting.rate) <= z * naive
        held["pigeonhole"] += abs(found.estimate - setting.rate) <= z * math.sqrt(pigeonhole_variance(y, design))
    true_error = float(np.std(estimates))
    ratios = [math.sqrt(np.nanmean(np.square(e))) / true_error for e in (errors, paper_errors)]
    share = {name: f"{100 * count / n_studies:.1f}" for name, count in held.items()}
    return [
        setting.name,
        f"**{share['crossed']}**",
        f"{ratios[0]:.2f}",
        share["fixed"],
        share["paper"],
        f"{ratios[1]:.2f}",
        share["trials"],
        share["pigeonhole"],
    ]


def false_alarm_row(setting: Setting, n_studies: int, rng: np.random.Generator) -> list[str]:
    """Share of studies that call two equally good methods different at the 5 % level."""
    from scipy import stats

    intercept = setting.intercept()
    sizes = setting.n_participants, setting.other_participants or setting.n_participants
    alarms = dict.fromkeys(("two-way", "trials", "images", "welch", "paper"), 0)
    for _ in range(n_studies):
        common = rng.standard_normal(setting.pool)
        people = setting.participant_sd * rng.standard_normal(sizes[0])
        data: list[Answers] = []
        for number, size in enumerate(sizes):
            participant, image = draw_layout(setting, size, rng)
            own = rng.standard_normal(setting.pool)
            effect = math.sqrt(IMAGE_CORRELATION) * common + math.sqrt(1 - IMAGE_CORRELATION) * own
            if number and not setting.same_people:
                people = setting.participant_sd * rng.standard_normal(size)
            y = draw_answers(intercept + people[participant] + setting.image_sd * effect[image], rng)
            labels = participant if setting.same_people else participant + 10_000 * number
            data.append((y, labels, image))
        (y_a, p_a, i_a), (y_b, p_b, i_b) = data
        alarms["two-way"] += compare(*data[0], *data[1]).p_value <= 0.05
        alarms["trials"] += trial_z(y_a, y_b) <= 0.05
        means_a, means_b = means_of(y_a, p_a), means_of(y_b, p_b)
        test = stats.ttest_rel if setting.same_people else lambda a, b: stats.ttest_ind(a, b, equal_var=False)
        alarms["welch"] += test(means_a, means_b).pvalue <= 0.05
        both = np.intersect1d(i_a, i_b)
        mean_a, mean_b = (np.bincount(i, y, setting.pool) / np.maximum(np.bincount(i, minlength=setting.pool), 1)
                          for y, i in ((y_a, i_a), (y_b, i_b)))  # fmt: skip
        alarms["images"] += stats.ttest_rel(mean_a[both], mean_b[both]).pvalue <= 0.05
        if not setting.same_people:
            papers = [nested_bootstrap(np.bincount(p, y).astype(int)[np.unique(p)], np.bincount(p)[np.unique(p)])
                      for y, p in ((y_a, p_a), (y_b, p_b))]  # fmt: skip
            less = probability_less(*papers, ties="half")
            alarms["paper"] += min(less, 1 - less) <= 0.025
    share = {name: f"{100 * count / n_studies:.1f}" for name, count in alarms.items()}
    return [
        setting.name,
        f"**{share['two-way']}**",
        share["trials"],
        share["images"],
        share["welch"],
        "" if setting.same_people else share["paper"],
    ]


def trial_z(y_a: FloatArray, y_b: FloatArray) -> float:
    """Two-proportion z test that takes trials for independent."""
    pooled = np.concatenate([y_a, y_b]).mean()
    error = math.sqrt(max(pooled * (1 - pooled), 1e-12) * (1 / y_a.size + 1 / y_b.size))
    return math.erfc(abs(y_a.mean() - y_b.mean()) / error / math.sqrt(2))


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" + "---:|" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def run(
    settings: tuple[Setting, ...],
    row: Callable[[Setting, int, np.random.Generator], list[str]],
    n_studies: int,
    seed: int,
) -> list[list[str]]:
    rows = []
    for number, setting in enumerate(settings):
        start = time.perf_counter()
        rows.append(row(setting, n_studies, np.random.default_rng([seed, number])))
        print(f"{setting.name}: {', '.join(rows[-1][1:])} ({time.perf_counter() - start:.0f} s)", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies per design")
    parser.add_argument("--seed", type=int, default=2016)
    parser.add_argument("--out", type=Path, help="write the Markdown tables there")
    options = parser.parse_args()
    t_quantile(0.9, 3)  # scipy is imported before anything is timed
    covered = run(COVERAGE, coverage_row, options.studies, options.seed)
    alarms = run(FALSE_ALARMS, false_alarm_row, options.studies, options.seed + 1)
    error = 100 * math.sqrt(0.05 * 0.95 / options.studies)
    text = f"""# Do the intervals hold what they promise?

Simulated studies: answers follow a logit model with normally distributed participants (SD 0.6) and images (SD 1.0) and
a fool rate of 32.3 % unless said otherwise. Each of {options.studies:,} studies per design is analysed by the public
functions, as a real one would be. The Monte Carlo error of a figure near 5 or 95 % is {error:.1f} points. To run it again:

    python benchmarks/interval_coverage.py --studies {options.studies} --seed {options.seed} --out docs/benchmarks/coverage.md

## Coverage of nominal 95 % intervals, percent

*Crossed* is the headline interval, for new participants and new images, and its standard error is compared with the true
one. *These images* is the estimand `participants`, judged against the true rate on the images shown. The others are
judged like the headline interval: *Zhang16* draws participants and then their trials; *trials* takes all trials for
independent; *pigeonhole* resamples participants and images.

{table(["participants x trials", "crossed", "SE / true", "these images", "Zhang16", "SE / true", "trials", "pigeonhole"], covered)}

## False alarms at the 5 % level, percent

Two methods with the same fool rate for new images; image effects of the two correlate by {IMAGE_CORRELATION}. *Two-way* is
`analysis.statistics.comparison.compare`; *trial z* takes trials for independent; *per image* is a paired t test over images; *Welch*
is a t test over participants (paired where the same people see both); *Zhang16* calls a difference when P(A < B) of
its bootstrap is beyond 2.5 or 97.5 %.

{table(["design", "two-way", "trial z", "per image", "Welch", "Zhang16"], alarms)}
"""
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
        print(f"Wrote {options.out}.")


if __name__ == "__main__":
    main()
