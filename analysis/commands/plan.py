"""The command ``evalkit plan``: how many participants, and whether more images would do more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.commands._shared import GivenPath
from evalkit.wording import counted

if TYPE_CHECKING:
    from analysis.planning.power import Goal
    from analysis.planning.study_plan import Plan

__all__ = ["plan_command"]

CONTRADICTED = 1
"""Exit status when the simulation contradicts the formula."""


@click.command("plan", short_help="Participants needed for a difference, confirmed by simulation.")
@click.option(
    "--difference",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    help="Difference of two methods to find, in percentage points (preference: how far from 50 %; simultaneous: share of "
    "photos found, how far from chance).  [default: 5]",
)
@click.option(
    "--equivalence-margin",
    type=click.FloatRange(0, 50, min_open=True, max_open=True),
    help="Or: show that a method lies within so many points of 50 % (naturalness: of the rate of the photos).",
)
@click.option(
    "--preset",
    type=click.Choice(["real-vs-fake", "simultaneous", "preference", "naturalness"]),
    default="real-vs-fake",
    show_default=True,
    help="What participants are asked; simultaneous, with --alternatives: which of several images is the real photo.",
)
@click.option(
    "--power",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.8,
    show_default=True,
    help="Wanted chance of success.",
)
@click.option(
    "--direction",
    type=click.Choice(["worse", "higher", "lower"]),
    default="worse",
    show_default=True,
    help="Whether the other method's rate is higher or lower than --rate; worse: whichever needs more people.",
)
@click.option(
    "--methods", type=click.IntRange(2), help="Methods of the study; one of them is compared with every other."
)
@click.option(
    "--comparisons",
    type=click.IntRange(1),
    help="Size of the family that Holm's adjustment is for.  [default: methods - 1; methods against 50 %; or 1]",
)
@click.option(
    "--within-subject",
    is_flag=True,
    help="Everybody judges all methods (preference: all pairs); the trials are divided among them.",
)
@click.option(
    "--methods-per-person",
    type=click.IntRange(2),
    metavar="N",
    help="Everybody judges N of the methods (preference: of the pairs), every two sharing equally many people.",
)
@click.option(
    "--alternatives",
    type=click.IntRange(2, 9),
    default=2,
    show_default=True,
    metavar="N",
    help="Preference: a trial shows N methods at once, to choose the best of. Simultaneous: the photo among N images.",
)
@click.option("--images", type=click.IntRange(2), help="Images to choose from; several numbers are shown without it.")
@click.option("--trials", type=click.IntRange(1), default=40, show_default=True, help="Trials of a participant.")
@click.option(
    "--vigilance",
    type=click.IntRange(0),
    help="How many of them are vigilance trials.  [default: 4; 0 for preference and naturalness]",
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
    type=GivenPath(path_type=Path),
    metavar="PILOT",
    help="Take rate and variances from the trials of a pilot study.",
)
@click.option(
    "--pilot-quantile",
    type=click.FloatRange(0.5, 1, max_open=True),
    help="With --from: plan with the number that suffices with this chance, 0.8 say, since a pilot is uncertain.",
)
@click.option("--rate", type=click.FloatRange(0, 1, min_open=True, max_open=True),
              help="Assumed rate of one method.  [default: 0.5; 0.9 for naturalness]")  # fmt: skip
@click.option("--participant-sd", type=click.FloatRange(0), default=0.6, show_default=True, help="Logit scale.")
@click.option("--image-sd", type=click.FloatRange(0), default=1.0, show_default=True, help="Logit scale.")
@click.option("--image-correlation", type=click.FloatRange(0, 1), default=0.7, show_default=True,
              help="How alike images affect two methods.")  # fmt: skip
@click.option("--participant-correlation", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="How alike a participant judges two methods; counts where one person judges several.")  # fmt: skip
@click.option("--unpaired", is_flag=True, help="The methods are shown on different images.")
@click.option("--simulate", type=click.IntRange(0), default=400, show_default=True,
              help="Simulated studies that confirm the result; 0 for none.")  # fmt: skip
@click.option("--looks", type=click.IntRange(2, 50), help="Plan so many looks at the data, the last one included.")
@click.option(
    "--bounds",
    type=click.Choice(["obrien-fleming", "pocock"]),
    default="obrien-fleming",
    show_default=True,
    help="Limits of the looks: strict at first and nearly 5 % at the end, or the same at each look.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the simulation.")
@click.option(
    "--out", type=GivenPath(path_type=Path), metavar="DIR", help="Folder for plan.csv, plan.pdf and plan.png."
)
@click.pass_context
def plan_command(context: click.Context, /, pilot: Path | None, out: Path | None, **options: Any) -> None:
    """Plan a study: participants for a difference, or for equivalence, in the less favourable direction.

    Participants and images both vary; the assumed spread is that of published studies of this kind, or a pilot's. The
    first answer is checked by simulated studies; where they contradict the formula the exit status is 1.
    """
    from analysis.commands._needs import need

    need("scipy", *(("matplotlib",) if out else ()))
    from analysis.planning.study_plan import PlanOptions, plan_study
    from analysis.trials.trial_files import read_trials

    request = PlanOptions(**options)
    trials = read_trials(pilot) if pilot is not None else None
    plan = plan_study(request, pilot=trials)
    _print_plan(plan)
    if settings := request.study_settings():
        click.echo(f"In study.toml of this study: {', '.join(settings)}.")
    if out is not None:
        _write(out, plan)
    if plan.disagreement:
        click.echo(plan.disagreement, err=True)
        context.exit(CONTRADICTED)


def _print_plan(plan: Plan) -> None:
    model, goal, design, chosen = plan.model, plan.goal, plan.design, plan.chosen
    spread = "from the pilot" if plan.from_pilot else "assumed"
    click.echo(
        f"{_rate_words(plan)}; spreads {spread}: participants {model.participant_sd:.2f}, images {model.image_sd:.2f} "
        f"(logit). {counted(design.n_trials, 'test trial')} of each {plan.unit}, {design.exposure} images."
    )
    if plan.preset == "simultaneous":
        click.echo(
            f"A search among {plan.alternatives}: tested is the share of trials in which the real photo is found, against chance. "
            "The photo stands in every place equally often."
        )
    elif plan.alternatives > 2:
        click.echo(
            f"A choice among {plan.alternatives} (chance {100 / plan.alternatives:.3g} %) tells two methods apart where one of the two is "
            f"chosen, in 2 of {plan.alternatives} trials: these are the trials counted here."
        )
    click.echo(_family_words(goal))
    if goal.question == "difference":
        side = "higher" if plan.other_rate > model.rate else "lower"
        why = "the direction that needs more people" if goal.direction == "worse" else "as asked"
        click.echo(f"The other method is taken to be {side}, at {100 * plan.other_rate:.0f} %: {why}.")
    _print_rows(plan)
    if plan.from_pilot and chosen is not None and chosen.pilot is not None:
        limits = [("more than 5000" if n is None else str(n)) for n in (chosen.pilot.low, chosen.pilot.high)]
        click.echo(
            f"A pilot is uncertain: repeated pilots of its size lead to {limits[0]} to {limits[1]} participants (5 to 95 %). "
            f"{chosen.pilot.conservative or 'More than 5000'} suffice with a chance of about "
            f"{100 * chosen.pilot.quantile:.0f} % (--pilot-quantile {chosen.pilot.quantile:g})."
        )
    if chosen is None:
        click.echo("No number of participants up to 5000 is enough: what is missing are images.")
    click.echo(
        f"{counted(design.n_participants, 'participant')}, {counted(design.n_images, 'image')}. {plan.advice.sentence}"
    )
    if 1 < plan.n_parts < plan.n_judged:
        units = {"pair": "pairs of methods", "set": "sets of methods"}.get(plan.unit, "methods")
        click.echo(
            f"In all {counted(plan.people_in_all, 'participant')}: each judges {plan.n_parts} of {plan.n_judged} {units}, so two "
            f"{units} share {100 * plan.design.shared_people:.0f} % of their participants."
        )
    if plan.simulated is not None and chosen is not None:
        simulated = plan.simulated
        click.echo(
            f"Simulated {counted(simulated.n_studies, 'study', 'studies')} of {counted(design.n_participants, 'participant')} and "
            f"{counted(design.n_images, 'image')}: power {100 * simulated.power:.0f} +- {100 * simulated.mc_error:.0f} % (expected "
            f"{100 * chosen.power:.0f} %), standard error of the first rate {100 * simulated.mean_std_error:.2f} points "
            f"(true {100 * simulated.true_std_error:.2f}), coverage {100 * simulated.coverage:.0f} %."
        )
    elif chosen is not None:
        click.echo("Not checked by simulation (--simulate 0).")
    if goal.looks > 1:
        _print_looks(goal)


def _rate_words(plan: Plan) -> str:
    if plan.goal.question == "preference":
        return f"Share of preferences {100 * (0.5 + plan.goal.size):g} % against 50 %"
    if plan.goal.question == "real photo found":
        from analysis.planning.power import hardest_scenario

        found = hardest_scenario(plan.goal, plan.model, plan.design)[0].rate
        return f"Real photo found in {100 * found:.3g} %, chance {100 * plan.goal.chance:.3g} %"
    if plan.goal.question == "equivalence to 50 %":
        return "True rate 50 %"
    name = "Rate of natural" if plan.preset == "naturalness" else "Fool rate"
    return f"{name} {100 * plan.model.rate:.0f} %"


def _family_words(goal: Goal) -> str:
    if goal.comparisons == 1:
        return "One comparison, no adjustment; for more say --comparisons K or --methods N."
    return (
        f"{goal.comparisons} comparisons: each is planned at {100 * goal.level:g} % / {goal.comparisons}, the strictest step "
        "of Holm's adjustment, so its power on the adjusted p is at least the one shown."
    )


def _print_rows(plan: Plan) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    goal = plan.goal
    size = f"{100 * goal.size:g} points"
    aim = {
        "difference": f"difference of {size}",
        "preference": f"preference {size} from 50 %",
        "real photo found": f"real photo found {size} from chance",
        "equivalence to 50 %": f"equivalence within {size} of 50 %",
        "equivalence of two": f"equivalence of method and photos within {size}",
    }[goal.question]
    table = Table(box=box.SIMPLE_HEAD, title=f"{aim}, power {goal.power:g}", title_justify="left", pad_edge=False)
    people = "participants" if plan.design.shared_people == 1 else f"participants per {plan.unit}"
    for heading in ("images", people, "+- (points)", "power %", "detectable (points)"):
        table.add_column(heading, justify="right")
    for row in plan.rows:
        if row.participants is None:
            table.add_row(f"{row.images:,}", "more than 5000", "-", "-", "-")
            continue
        detectable = "-" if math.isnan(row.detectable_difference) else f"{100 * row.detectable_difference:.1f}"
        table.add_row(
            f"{row.images:,}", str(row.participants), f"{100 * row.std_error:.2f}", f"{100 * row.power:.0f}", detectable
        )
    Console(highlight=False).print(table)
    click.echo(f"+- is the standard error of the {plan.tested}.")


def _print_looks(goal: Goal) -> None:
    from analysis.statistics.sequential import nominal_levels

    click.echo(
        f"At look 1 .. {goal.looks} of {goal.looks}, equally spaced in participants, stop when the unadjusted p that "
        f"`evalkit analyze` prints is at or below (overall level {100 * goal.adjusted_level:.3g} %):"
    )
    for kind, name in (("pocock", "Pocock"), ("obrien-fleming", "O'Brien-Fleming")):
        limits = " ".join(f"{limit:.4g}" for limit in nominal_levels(goal.looks, kind, level=goal.adjusted_level))  # type: ignore[arg-type]
        planned = "  (planned for)" if kind == goal.bounds else ""
        click.echo(f"  {name:<16} {limits}{planned}")


def _write(out: Path, plan: Plan) -> None:
    from analysis.planning.plan_figure import write_plan_figure
    from analysis.study.columns import OUTPUT_COLUMNS
    from evalkit.files import check_hides_no_package, write_atomically
    from evalkit.text_formats import csv_text

    check_hides_no_package(out)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "plan.csv", csv_text([row.row() for row in plan.rows], list(OUTPUT_COLUMNS["plan.csv"])))
    for suffix in ("pdf", "png"):
        write_plan_figure(out / f"plan.{suffix}", plan)
    click.echo(f"Wrote plan.csv, plan.pdf and plan.png to {out}.")
