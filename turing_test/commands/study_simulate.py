"""`evalkit study simulate`: prove a study and its analysis before anybody is paid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.commands._shared import GivenPath, OutputFile
from evalkit.wording import counted
from turing_test.commands._databases import of_one_study

if TYPE_CHECKING:
    from turing_test.simulation.observers import Population
    from turing_test.simulation.play import Participation
    from turing_test.study.study_folder import Study

__all__ = ["simulate_command"]

SHARE = click.FloatRange(0, 1)


@click.command("simulate", short_help="Simulated participants, over real HTTP.")
@click.argument("study", type=GivenPath(path_type=Path), metavar="STUDY")
@click.option("--participants", type=click.IntRange(1), required=True, metavar="N", help="How many take part.")
@click.option(
    "--fool-rate",
    "fool_rates",
    multiple=True,
    metavar="METHOD=X",
    help="How often a method is taken for the real photo, 0 to 1; repeat for more.  [default: 0.3]",
)
@click.option("--guessers", type=SHARE, default=0.0, metavar="SHARE", help="Share who answer at random.")
@click.option("--speeders", type=SHARE, default=0.0, metavar="SHARE", help="Share who click without looking.")
@click.option("--dropouts", type=SHARE, default=0.0, metavar="SHARE", help="Share who leave before the end.")
@click.option(
    "--straight-liners", type=SHARE, default=0.0, metavar="SHARE", help="Share who give one answer to everything."
)
@click.option(
    "--sd-person", type=click.FloatRange(0), default=0.0, metavar="SD",
    help="How much people differ, on the logit scale; about 0.6 in published studies.",
)  # fmt: skip
@click.option(
    "--sd-image", type=click.FloatRange(0), default=0.0, metavar="SD",
    help="How much images differ, on the logit scale; about 1.0 in published studies.",
)  # fmt: skip
@click.option("--lapses", type=SHARE, default=0.0, metavar="X", help="How often attentive ones miss a pair and guess.")
@click.option(
    "--side-bias", type=click.FloatRange(-1, 1), default=0.0, metavar="X",
    help="How often 'first' (below 0: 'second') is answered whatever is shown.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="The same trials then get the same answers.")
@click.option("--url", default=None, metavar="URL", help="A running server; by default one is started for the while.")
@click.option(
    "--key", envvar="EVALKIT_SIMULATION_KEY", default=None, metavar="KEY",
    help="Simulation key of the server at --url; also EVALKIT_SIMULATION_KEY.",
)  # fmt: skip
@click.option(
    "--database", default=None, metavar="URL", callback=of_one_study,
    help="Database of the started server, if not the file in STUDY; also EVALKIT_DATABASE.",
)  # fmt: skip
@click.option("--concurrency", type=click.IntRange(1, 2000), default=20, show_default=True, help="At the same time.")
@click.option(
    "--out", type=OutputFile("answers.csv"), default=None, metavar="FILE",
    help="CSV file of every answer that was sent and acknowledged.",
)  # fmt: skip
@click.pass_context
def simulate_command(
    ctx: click.Context,
    study: Path,
    participants: int,
    fool_rates: tuple[str, ...],
    guessers: float,
    speeders: float,
    dropouts: float,
    straight_liners: float,
    sd_person: float,
    sd_image: float,
    lapses: float,
    side_bias: float,
    seed: int,
    url: str | None,
    key: str | None,
    database: str | None,
    concurrency: int,
    out: Path | None,
) -> None:
    """Let simulated observers take part in STUDY, as browsers would, over real HTTP.

    How they answer is known, so the analysis can be checked against it: with --sd-person and --sd-image, the fool rates are
    those that its intervals for new people and new images should cover. Their sessions are marked 'simulated'
    and never mix with those of people: the server admits them by its simulation key alone.
    """
    import secrets
    from contextlib import nullcontext

    from evalkit.errors import InputError
    from evalkit.progress import progress_bar
    from evalkit.wording import error_reason
    from turing_test.server.local_server import local_server
    from turing_test.simulation.observers import Population
    from turing_test.simulation.play import UnexpectedReply, simulate
    from turing_test.study.lock import hold
    from turing_test.study.study_folder import read_study

    opened = read_study(study)
    population = Population(
        participants=participants,
        fool_rates=_fool_rates(fool_rates),
        guessers=guessers,
        speeders=speeders,
        dropouts=dropouts,
        straight_liners=straight_liners,
        sd_person=sd_person,
        sd_image=sd_image,
        lapses=lapses,
        side_bias=side_bias,
        seed=seed,
    )
    if url is not None and key is None:
        raise InputError(
            "--url needs the simulation key that the server was started with: --key or EVALKIT_SIMULATION_KEY."
        )
    if url is not None and ctx.get_parameter_source("database") is click.core.ParameterSource.COMMANDLINE:
        raise InputError("--database is for the server that is started here; the one at --url has its own.")
    own_key = key or secrets.token_urlsafe(16)
    server = (
        local_server(opened, database, simulation_key=own_key, threads=min(concurrency, 16))
        if url is None
        else nullcontext(url)
    )
    with hold(opened.folder, alone=False), server as address, progress_bar("simulating", "participants") as show:
        try:
            played = simulate(opened, population, address, own_key, concurrency=concurrency, on_participant=show)
        except UnexpectedReply as error:
            raise InputError(f"the server refused a simulated participant ({error}).") from None
        except OSError as error:
            raise InputError(f"{address}: no server of a study answers there ({error_reason(error)}).") from None
    if out is not None:
        _write_answers(out, played)
    _report(opened, population, played)


def _fool_rates(texts: Sequence[str]) -> dict[str, float]:
    from evalkit.errors import InputError

    rates: dict[str, float] = {}
    for text in texts:
        method, rate = _fool_rate(text)
        if rates.setdefault(method, rate) != rate:
            raise InputError(
                f"--fool-rate {text}: {method} has {rates[method]:g} already; allowed is one rate per method."
            )
    return rates


def _fool_rate(text: str) -> tuple[str, float]:
    from evalkit.errors import InputError

    method, _, rate = text.rpartition("=")
    try:
        value = float(rate)
    except ValueError:
        value = -1.0
    if not method or not 0 <= value <= 1:
        raise InputError(f"--fool-rate {text}: write METHOD=X, X from 0 to 1.")
    return method, value


def _write_answers(path: Path, played: list[Participation]) -> None:
    from dataclasses import fields

    from evalkit.files import write_atomically
    from evalkit.text_formats import csv_text
    from turing_test.simulation.play import SentAnswer

    columns = [*(field.name for field in fields(SentAnswer)), "kind", "state", "code"]
    write_atomically(path, csv_text((row for participation in played for row in participation.rows()), columns))


def _report(study: Study, population: Population, played: list[Participation]) -> None:
    from collections import Counter

    states = Counter(participation.state for participation in played)
    told = {"left": "left before the end", "full": "came when the study was full"}
    click.echo(
        f"{counted(len(played), 'simulated participant')}: "
        + ", ".join(f"{count} {told.get(state, state)}" for state, count in states.most_common())
    )
    if study.protocol.seeks_real:
        _report_search(study, played)
    if not study.protocol.real_vs_fake or study.protocol.seeks_real:
        return
    for method in study.manifest.methods:
        fooled = [
            (answer.first if answer.response == "first" else answer.second) == "truth"
            for participation in played
            if participation.kind == "attentive"
            for answer in participation.answers
            if answer.phase == "test" and method in (answer.first, answer.second)
        ]
        if fooled:
            click.echo(
                f"  {method}: attentive ones fooled in {sum(fooled)} of {counted(len(fooled), 'test trial')} "
                f"({sum(fooled) / len(fooled):.3f}; expected {population.fooled_share(method):.3f})"
            )


def _report_search(study: Study, played: list[Participation]) -> None:
    """How often attentive observers found the real photo among several, and what they took for it."""
    from analysis.trials.columns import PLACES

    answers = [
        answer
        for participation in played
        if participation.kind == "attentive"
        for answer in participation.answers
        if answer.phase == "test"
    ]
    shown = [(answer.first, answer.second, *answer.further.split(" / ")) for answer in answers]
    chosen = [names[PLACES.index(answer.response)] for answer, names in zip(answers, shown, strict=True)]
    for name in ("truth", *study.manifest.methods):
        # Beside what is obviously wrong the real photo is found by who looks; such trials say nothing of methods.
        own = [pick == name for pick, names in zip(chosen, shown, strict=True) if name in names and len(set(names)) > 2]
        if own:
            what = "the real photo: found" if name == "truth" else f"{name}: taken for the real photo"
            click.echo(
                f"  {what} in {sum(own)} of {counted(len(own), 'test trial')} of attentive ones ({sum(own) / len(own):.3f}; "
                f"chance {study.protocol.chance:.3f})"
            )
