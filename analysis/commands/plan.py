"""The command ``evalkit plan``: how many participants, and whether more images would do more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analysis.commands._studies import fresh_trial_file

if TYPE_CHECKING:
    from analysis.planning.participants import PlanningModel, StudyDesign

__all__ = ["plan"]

IMAGE_COUNTS = (40, 100, 400, 1000, 10_000)


@click.command(short_help="Participants needed for a difference, confirmed by simulation.")
@click.option(
    "--difference",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    help="Difference of two methods to find, in percentage points.",
)
@click.option(
    "--equivalence-margin",
    type=click.FloatRange(0, 50, min_open=True, max_open=True),
    help="Or: show that a method lies within so many points of 50 %.",
)
@click.option(
    "--power",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Wanted chance of success.",
)
@click.option("--images", type=click.IntRange(2), help="Images to choose from; several numbers are shown without it.")
@click.option("--trials", type=click.IntRange(1), default=40, show_default=True, help="Trials of a participant.")
@click.option(
    "--vigilance", type=click.IntRange(0), default=4, show_default=True, help="How many of them are vigilance trials."
)
@click.option("--participants", type=click.IntRange(2), help="Judge a study of this size instead.")
@click.option(
    "--exposure",
    type=click.Choice(["random", "balanced"]),
    default="balanced",
    show_default=True,
    help="Images drawn at random, or shown equally often (as this toolkit does).",
)
@click.option(
    "--from",
    "pilot",
    type=click.Path(path_type=Path),
    metavar="PILOT",
    help="Take rate and variances from the trials of a pilot study.",
)
@click.option("--rate", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.5, show_default=True,
              help="Assumed fool rate.")  # fmt: skip
@click.option("--participant-sd", type=click.FloatRange(0), default=0.6, show_default=True, help="Logit scale.")
@click.option("--image-sd", type=click.FloatRange(0), default=1.0, show_default=True, help="Logit scale.")
@click.option("--image-correlation", type=click.FloatRange(0, 1), default=0.7, show_default=True,
              help="How alike images affect two methods.")  # fmt: skip
@click.option("--unpaired", is_flag=True, help="The methods are shown on different images.")
@click.option("--simulate", type=click.IntRange(0), default=400, show_default=True,
              help="Simulated studies that confirm the result; 0 for none.")  # fmt: skip
@click.option("--looks", type=click.IntRange(2, 50), help="Also print limits for so many looks at the data.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the simulation.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for plan.csv, plan.pdf and plan.png."
)
def plan(
    difference: float | None,
    equivalence_margin: float | None,
    power: float,
    images: int | None,
    trials: int,
    vigilance: int,
    participants: int | None,
    exposure: Any,
    pilot: Path | None,
    rate: float,
    participant_sd: float,
    image_sd: float,
    image_correlation: float,
    unpaired: bool,
    simulate: int,
    looks: int | None,
    seed: int,
    out: Path | None,
) -> None:
    """Plan a study: participants per method for a difference, or for equivalence with 50 %.

    Participants and images both vary; the assumed spread is that of published studies of this kind, or a pilot's.
    """
    from analysis.commands._needs import need

    need("scipy", *(("matplotlib",) if out else ()))
    from analysis.planning.participants import PlanningModel, StudyDesign, raters_or_images, simulate_power
    from evalkit.errors import InputError

    if difference is not None and equivalence_margin is not None:
        raise InputError("Give --difference or --equivalence-margin, not both.")
    if vigilance >= trials:
        raise InputError(f"--vigilance {vigilance} leaves none of {trials} trials; fewer vigilance trials are allowed.")
    if difference is None and equivalence_margin is None:
        difference = 5.0
    if pilot is not None:
        from analysis.trials.trial_files import read_trials

        model = PlanningModel.from_pilot(read_trials(fresh_trial_file(pilot)), image_correlation)
    else:
        model = PlanningModel.from_logit(rate, participant_sd, image_sd, image_correlation)
    counts = [images] if images else [count for count in IMAGE_COUNTS if count >= trials - vigilance]
    base = StudyDesign(participants or 40, trials - vigilance, max(counts), exposure)
    goal = {
        "difference": None if difference is None else difference / 100,
        "margin": None if equivalence_margin is None else equivalence_margin / 100,
    }
    click.echo(
        f"Fool rate {100 * model.rate:.0f} %; variance of one answer: participants {model.participant:.4f}, images "
        f"{model.image:.4f}, rest {model.residual:.4f}. {base.n_trials} test trials each, {exposure} images."
    )
    rows = [_row(model, base, count, goal, power, not unpaired, participants) for count in counts]
    _print_rows(rows, goal, power)
    chosen = next((row for row in rows if row["participants"]), None)
    if chosen is None:
        click.echo("No number of participants up to 5000 is enough: what is missing are images.")
        design = StudyDesign(40, base.n_trials, counts[0], exposure)
    else:
        design = StudyDesign(chosen["participants"], base.n_trials, chosen["images"], exposure)
    click.echo(
        f"{design.n_participants} participants, {design.n_images} images. {raters_or_images(model, design).sentence}"
    )
    if simulate and chosen is not None and goal["difference"] is not None and not unpaired:
        down = goal["difference"] if model.rate > goal["difference"] else -goal["difference"]
        found = simulate_power(model, design, down, n_studies=simulate, seed=seed)
        click.echo(
            f"Simulated {found.n_studies} studies of {design.n_participants} participants and {design.n_images} "
            f"images: power {100 * found.power:.0f} +- {100 * found.mc_error:.0f} % (expected "
            f"{100 * chosen['power']:.0f} %), standard error {100 * found.mean_std_error:.2f} points (true "
            f"{100 * found.true_std_error:.2f}), coverage {100 * found.coverage:.0f} %."
        )
    if looks:
        _print_looks(looks)
    if out is not None:
        _write(out, rows, model, base, counts, goal)


def _row(
    model: PlanningModel,
    base: StudyDesign,
    images: int,
    goal: dict[str, float | None],
    power: float,
    paired: bool,
    participants: int | None,
) -> dict[str, Any]:
    from dataclasses import replace

    from analysis.planning.participants import (
        detectable_difference,
        difference_power,
        equivalence_power,
        expected_std_error,
        participants_needed,
    )

    design = replace(base, n_images=images)
    needed = participants or participants_needed(
        model, design, difference=goal["difference"], margin=goal["margin"], power=power, paired=paired
    )
    row: dict[str, Any] = {"images": images, "participants": needed}
    if needed is None:
        return row
    design = replace(design, n_participants=needed)
    reached = (
        difference_power(model, design, goal["difference"], paired=paired)
        if goal["difference"] is not None
        else equivalence_power(model, design, goal["margin"] or 0.05)
    )
    return {
        **row,
        "std_error": expected_std_error(model, design),
        "power": reached,
        "detectable_difference": detectable_difference(model, design, power=power, paired=paired),
        "answers_per_method": needed * design.n_trials,
    }


def _print_rows(rows: list[dict[str, Any]], goal: dict[str, float | None], power: float) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    aim = (
        f"difference of {100 * goal['difference']:g} points"
        if goal["difference"] is not None
        else f"equivalence within {100 * (goal['margin'] or 0):g} points of 50 %"
    )
    table = Table(box=box.SIMPLE_HEAD, title=f"{aim}, power {power:g}", title_justify="left", pad_edge=False)
    for heading in ("images", "participants per method", "+- (points)", "power %", "detectable (points)"):
        table.add_column(heading, justify="right")
    for row in rows:
        if row["participants"] is None:
            table.add_row(f"{row['images']:,}", "more than 5000", "-", "-", "-")
            continue
        table.add_row(
            f"{row['images']:,}",
            str(row["participants"]),
            f"{100 * row['std_error']:.2f}",
            f"{100 * row['power']:.0f}",
            f"{100 * row['detectable_difference']:.1f}",
        )
    Console(highlight=False).print(table)


def _print_looks(looks: int) -> None:
    from analysis.statistics.sequential import group_sequential_bounds

    click.echo(f"Stop at look 1 .. {looks} of {looks}, equally spaced, when |t| exceeds (overall level 5 %):")
    for kind, name in (("pocock", "Pocock"), ("obrien-fleming", "O'Brien-Fleming")):
        limits = " ".join(f"{limit:.3f}" for limit in group_sequential_bounds(looks, kind))  # type: ignore[arg-type]
        click.echo(f"  {name:<16} {limits}")


def _write(
    out: Path,
    rows: list[dict[str, Any]],
    model: PlanningModel,
    base: StudyDesign,
    counts: list[int],
    goal: dict[str, float | None],
) -> None:
    from analysis.planning.plan_figure import write_plan_figure
    from analysis.records import write_csv
    from analysis.study.columns import OUTPUT_COLUMNS

    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "plan.csv", rows, list(OUTPUT_COLUMNS["plan.csv"]))
    target = goal["margin"] / 2.93 if goal["margin"] else None
    shown = counts if len(counts) > 1 else [count for count in IMAGE_COUNTS if count >= base.n_trials]
    for suffix in ("pdf", "png"):
        write_plan_figure(out / f"plan.{suffix}", model, base, shown, target=target)
    click.echo(f"Wrote plan.csv, plan.pdf and plan.png to {out}.")
