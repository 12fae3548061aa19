"""A plan: participants for every number of images, what the simulation says of it, and what follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.planning.assumptions import Exposure, PlanningModel, StudyDesign, check_numbers, pilot_models
from analysis.planning.plan_plot import draw_plan
from analysis.planning.power import (
    MAXIMUM_PARTICIPANTS,
    Direction,
    Goal,
    PurchaseAdvice,
    Question,
    detectable_difference,
    hardest_scenario,
    participants_needed,
    power_of,
    raters_or_images,
    tested_std_error,
)
from analysis.planning.simulation import SimulatedPower, simulate_power
from analysis.records import Row
from analysis.statistics.sequential import BoundKind
from analysis.trials.columns import REAL_AMONG_SEVERAL
from analysis.trials.trial_table import TrialTable
from evalkit.errors import InputError, check_kind
from evalkit.needs import need_pandas
from evalkit.plotting import chosen_axes
from evalkit.shown import ShownAsTable
from evalkit.wording import counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["DISAGREEMENT", "IMAGE_COUNTS", "PilotRange", "Plan", "PlanOptions", "PlanRow", "plan_study"]

PlannedPreset = Literal["real-vs-fake", "simultaneous", "preference", "naturalness"]
_OF_A_PILOT: dict[PlannedPreset, str] = {
    "real-vs-fake": "real-vs-fake",
    "simultaneous": REAL_AMONG_SEVERAL,
    "preference": "preference",
    "naturalness": "naturalness",
}
"""What the trials of a pilot say they are (`TrialTable.question`)."""


IMAGE_COUNTS = (40, 100, 400, 1000, 10_000)
"""Numbers of images that a plan shows when none is given."""
DISAGREEMENT = 3.0
"""From so many Monte Carlo errors on, the simulation contradicts the formula."""
PILOT_MODELS = 100
"""Simulated pilots behind the range of a plan that rests on a pilot."""


@dataclass(frozen=True, kw_only=True)
class PilotRange:
    """How far the number of participants can be trusted that a pilot leads to.

    Attributes
    ----------
    low, high : int or None
        5 and 95 % quantiles of what pilots of this size lead to; None for more than 5000.
    conservative : int or None
        The number that suffices with about the chance `quantile`.
    quantile : float
        As asked for.
    """

    low: int | None
    high: int | None
    conservative: int | None
    quantile: float


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """What it takes with so many images.

    Attributes
    ----------
    images : int
        Images to choose from.
    participants : int or None
        Per method (preference: per pair; where a trial shows several methods: per set of them); None where no number up to 5000 is enough.
    std_error : float
        Expected standard error of what is tested: a rate, a share or a difference; a fraction.
    power : float
        Chance to reach the goal.
    detectable_difference : float
        Smallest difference (or margin) with the wanted power; a fraction, NaN where there is none.
    answers_per_method : int or None
        Test answers to pay for.
    pilot : PilotRange or None
        Where a pilot was given.
    """

    images: int
    participants: int | None
    std_error: float = math.nan
    power: float = math.nan
    detectable_difference: float = math.nan
    answers_per_method: int | None = None
    pilot: PilotRange | None = None

    def row(self) -> Row:
        """Columns of ``plan.csv``."""
        return {
            "images": self.images,
            "participants": self.participants,
            "std_error": self.std_error,
            "power": self.power,
            "detectable_difference": self.detectable_difference,
            "answers_per_method": self.answers_per_method,
            "participants_low": self.pilot.low if self.pilot else None,
            "participants_high": self.pilot.high if self.pilot else None,
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan(ShownAsTable):
    """The answer to "how many participants?".

    Attributes
    ----------
    preset : {"real-vs-fake", "simultaneous", "preference", "naturalness"}
        What participants are asked; simultaneous: which of several images is the real photo.
    from_pilot : bool
        Whether rate and spreads come from a pilot.
    goal : Goal
        What has to be shown.
    model : PlanningModel
        What was assumed, or found in a pilot.
    n_judged, n_parts : int
        Methods (preference: pairs, or sets) of the study, and how many of them one person judges.
    alternatives : int
        How many images one trial shows to choose from.
    rows : tuple of PlanRow
        One per number of images.
    design : StudyDesign
        The first row that has an answer (40 participants where none has): what advice and simulation are about.
    chosen : PlanRow or None
        That row.
    advice : PurchaseAdvice
        Raters or images.
    other_rate : float
        Rate of the other method in the less favourable direction; NaN where there is one rate only.
    simulated : SimulatedPower or None
        None when it was not asked for, or when there is nothing to simulate.
    """

    preset: PlannedPreset
    from_pilot: bool
    goal: Goal
    model: PlanningModel
    n_judged: int
    n_parts: int
    alternatives: int
    rows: tuple[PlanRow, ...]
    design: StudyDesign
    chosen: PlanRow | None
    advice: PurchaseAdvice
    other_rate: float
    simulated: SimulatedPower | None

    def shown_title(self) -> str:
        """The question, and the simulation's answer."""
        simulated = "" if self.simulated is None else f"; simulated power {100 * self.simulated.power:.0f} %"
        return f"Participants per {self.unit} for {self.goal.question}, {100 * self.goal.size:g} points{simulated}"

    def shown_rows(self) -> list[Row]:
        """One row per number of images."""
        return [row.row() for row in self.rows]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the standard error against the number of participants, one line per number of images.

        The numbers of images are those of the plan, or those of `IMAGE_COUNTS` where it has a single one; the standard
        error that the power needs is a thin line.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            pyplot's current ones by default.

        Returns
        -------
        matplotlib Axes
            Those that were drawn on.

        Raises
        ------
        InputError
            If matplotlib is not installed.
        """
        axes = chosen_axes(ax)
        images = [row.images for row in self.rows]
        if len(images) == 1:
            images = [count for count in IMAGE_COUNTS if count >= self.design.n_trials]
        draw_plan(
            axes,
            goal=self.goal,
            model=self.model,
            design=self.design,
            images=images,
            unit=self.unit,
            tested=self.tested,
        )
        return axes

    def to_frame(self) -> pd.DataFrame:
        """The rows as a pandas DataFrame."""
        need_pandas()
        import pandas as pd

        rows = [
            {name: math.nan if value is None else value for name, value in row.items()} for row in self.shown_rows()
        ]
        return pd.DataFrame(rows)

    @property
    def people_in_all(self) -> int:
        """Participants of the whole study, from those of each method (preference: pair)."""
        return math.ceil(self.design.n_participants * self.n_judged / self.n_parts)

    @property
    def unit(self) -> str:
        """What participants are counted by: ``method``, ``pair``, or ``set`` where a trial shows several methods."""
        if self.alternatives > 2:
            return "set"
        return "pair" if self.preset == "preference" else "method"

    @property
    def tested(self) -> str:
        """What the goal tests, in words."""
        if self.goal.has_two_methods:
            return "difference"
        return "share" if self.preset in ("preference", "simultaneous") else "rate"

    @property
    def disagreement(self) -> str:
        """What to do where the simulation contradicts the formula by more than three of its errors; "" where not."""
        if self.simulated is None or self.chosen is None:
            return ""
        promised, reached = self.chosen.power, self.simulated.power
        error = math.sqrt(max(p * (1 - p) for p in (promised, reached)) / self.simulated.n_studies)
        if abs(reached - promised) <= DISAGREEMENT * error + 0.5 / self.simulated.n_studies:
            return ""
        less = reached < promised
        what = "Do not count on it: plan for more" if less else "Fewer may do: try fewer"
        return (
            f"The formula does not hold here: it promises power {100 * promised:.0f} %, and "
            f"{counted(self.simulated.n_studies, 'simulated study', 'simulated studies')} reach {100 * reached:.0f} +- {100 * self.simulated.mc_error:.0f} %. {what} participants "
            "with --participants, and trust the simulated power."
        )


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What a plan was asked for; the options of ``evalkit plan``.

    Attributes
    ----------
    difference, equivalence_margin : float or None
        One of the two, in percentage points; by default a difference of 5.
    preset : {"real-vs-fake", "simultaneous", "preference", "naturalness"}
        What participants are asked; simultaneous: which of several images is the real photo.
    power : float
        Wanted chance of success.
    direction : {"worse", "higher", "lower"}
        Of the other method's rate.
    methods, comparisons : int or None
        Methods of the study, and size of the family; by default methods - 1 (all of them against 50 %), or 1.
    within_subject : bool
        Whether everybody judges all methods.
    methods_per_person : int or None
        How many of the methods (preference: of the pairs of methods) one person judges, where it is neither one nor all.
    alternatives : int
        How many images a trial shows: of a preference study methods' versions of a photo to choose the best of, of a
        search (simultaneous) the photo among them.
    images, participants : int or None
        Given numbers, where one of them is not looked for.
    trials, vigilance : int
        Trials of a participant, and how many of them are vigilance trials (None: 4, or 0 where there is no photo).
    exposure : {"random", "balanced"}
        How images are handed out.
    rate : float or None
        Assumed rate; by default 0.5, or 0.9 for naturalness.
    participant_sd, image_sd, image_correlation, participant_correlation : float
        Assumed spreads and correlations; see `PlanningModel`.
    unpaired : bool
        Whether the methods are shown on different images.
    pilot_quantile : float or None
        Plan with the number that suffices with this chance, given the uncertainty of the pilot; 0.5 to below 1.
    looks : int or None
        Looks at the data, the last one included.
    bounds : {"obrien-fleming", "pocock"}
        Their limits.
    simulate : int
        Simulated studies; 0 for none.
    seed : int
        Seed of the simulation.
    """

    difference: float | None = None
    equivalence_margin: float | None = None
    preset: PlannedPreset = "real-vs-fake"
    power: float = 0.8
    direction: Direction = "worse"
    methods: int | None = None
    comparisons: int | None = None
    within_subject: bool = False
    methods_per_person: int | None = None
    alternatives: int = 2
    images: int | None = None
    participants: int | None = None
    trials: int = 40
    vigilance: int | None = None
    exposure: Exposure = "balanced"
    rate: float | None = None
    participant_sd: float = 0.6
    image_sd: float = 1.0
    image_correlation: float = 0.7
    participant_correlation: float = 0.5
    unpaired: bool = False
    pilot_quantile: float | None = None
    looks: int | None = None
    bounds: BoundKind = "obrien-fleming"
    simulate: int = 400
    seed: int = 0

    @property
    def n_methods(self) -> int:
        """Methods of the study; as many as a trial shows where nothing is said."""
        return self.methods or max(self._methods_per_trial, 2)

    @property
    def _is_search(self) -> bool:
        return self.preset == "simultaneous"

    @property
    def _methods_per_trial(self) -> int:
        return self.alternatives - self._is_search

    @property
    def n_vigilance(self) -> int:
        """Vigilance trials of a participant."""
        return (
            (4 if self.preset in ("real-vs-fake", "simultaneous") else 0) if self.vigilance is None else self.vigilance
        )

    @property
    def n_parts(self) -> int:
        """Methods (preference: pairs of methods) among which a participant's trials are divided."""
        if self.methods_per_person is not None:
            return self.methods_per_person
        return self.n_judged if self.within_subject else 1

    @property
    def n_judged(self) -> int:
        """Methods (preference: pairs of methods, or sets of as many as a trial shows) of the study."""
        if self.preset not in ("preference", "simultaneous"):
            return self.n_methods
        return math.comb(self.n_methods, self._methods_per_trial)

    def study_settings(self) -> tuple[str, ...]:
        """What the study file has to say, beyond its preset, so that the study is the one that was planned."""
        several = (f"alternatives = {self.alternatives}",) if self.alternatives > 2 else ()
        test_trials = self._trials_per_part() * self.n_parts + self.n_vigilance
        if self.n_parts == 1 and test_trials == self.trials:
            return several
        if self.n_parts == 1:
            return (*several, f"test_trials = {test_trials}", f"vigilance_trials = {self.n_vigilance}")
        per_person = self.n_parts if self.n_parts < self.n_judged else '"all"'
        return (
            *several,
            f"methods_per_person = {per_person}",
            f"test_trials = {test_trials}",
            f"vigilance_trials = {self.n_vigilance}",
        )

    def goal(self) -> Goal:
        """What has to be shown.

        Raises
        ------
        InputError
            Contradictory options.
        """
        if self.difference is not None and self.equivalence_margin is not None:
            raise InputError("Give --difference or --equivalence-margin, not both.")
        question: Question = "preference" if self.preset == "preference" else "difference"
        if self._is_search:
            self._check_alternatives()
            question = "real photo found"
            if self.equivalence_margin is not None:
                raise InputError(
                    "--equivalence-margin does not go with --preset simultaneous: a search among several is tested against "
                    "chance; say --difference, how many points from it."
                )
        if self.equivalence_margin is not None:
            question = "equivalence of two" if self.preset == "naturalness" else "equivalence to 50 %"
        size = self.equivalence_margin if self.equivalence_margin is not None else self.difference
        return Goal(
            question=question,
            size=(5.0 if size is None else size) / 100,
            power=self.power,
            direction=self.direction,
            comparisons=self.comparisons or self._family(question),
            looks=self.looks or 1,
            bounds=self.bounds,
            chance=1 / self.alternatives if self._is_search else 0.5,
        )

    def _family(self, question: Question) -> int:
        """Tests that Holm's adjustment is for: each method against 50 % by itself, one against every other, one share."""
        if question == "real photo found":
            return 1
        return self.n_methods - (self.methods is None or question != "equivalence to 50 %")

    def design(self) -> StudyDesign:
        """Trials, exposure, and what the methods share; participants and images are filled in for each row.

        Raises
        ------
        InputError
            When no test trial is left for each method (preference: pair), or one person would judge more than there are.
        """
        what = "pairs of methods" if self.preset == "preference" else "methods"
        if self.alternatives > 2:
            what = f"sets of {self._methods_per_trial} methods"
            self._check_alternatives()
        if self.methods_per_person is not None and self.within_subject:
            raise InputError("Give --within-subject (all methods) or --methods-per-person N, not both.")
        if self.n_parts > self.n_judged:
            raise InputError(
                f"--methods-per-person {self.n_parts} is more than the {self.n_judged} {what} of the study; say --methods, or a "
                "smaller number."
            )
        if self.n_vigilance >= self.trials:
            raise InputError(
                f"--vigilance {self.n_vigilance} leaves none of {counted(self.trials, 'trial')}; fewer vigilance trials are allowed."
            )
        trials = self.trials - self.n_vigilance
        if self._is_search and trials < self.n_parts * self.alternatives:
            raise InputError(
                f"{counted(trials, 'test trial')} are fewer than {self.n_parts * self.alternatives}, in which the photo stands once in "
                f"every place of {counted(self.n_parts, 'set')} of methods; more --trials are needed."
            )
        if trials < self.n_parts:
            raise InputError(
                f"{counted(trials, 'test trial')} cannot be divided among {self.n_parts} {what}; more --trials are needed."
            )
        trials = self._trials_per_part()
        if self.alternatives > 2 and not self._is_search:
            # Only trials in which one of a pair is chosen tell the two apart: 2 of N where methods are alike.
            trials = trials * 2 // self.alternatives
            if not trials:
                raise InputError(
                    f"{counted(self.trials, 'trial')} with --alternatives {self.alternatives} tell too little of a pair; more "
                    "--trials are needed."
                )
        return StudyDesign(
            n_participants=self.participants or 40,
            n_trials=trials,
            n_images=self.images or max(IMAGE_COUNTS),
            exposure=self.exposure,
            same_people=self.n_parts > 1,
            same_images=not self.unpaired,
            people_sharing=(self.n_parts - 1) / (self.n_judged - 1) if self.n_parts > 1 else 1.0,
        )

    def _trials_per_part(self) -> int:
        each = (self.trials - self.n_vigilance) // self.n_parts
        # The photo stands in every place equally often, in each person's trials of each set.
        return each // self.alternatives * self.alternatives if self._is_search else each

    def _check_alternatives(self) -> None:
        if self._is_search and self.alternatives == 2:
            raise InputError(
                "--preset simultaneous plans searches for the real photo among three to nine images: say --alternatives N; of two "
                "images it is --preset real-vs-fake."
            )
        if self.preset not in ("preference", "simultaneous"):
            raise InputError(
                f"--alternatives {self.alternatives} is for --preset preference, whose trials are choices among methods, and for --preset "
                "simultaneous, the photo among methods; allowed is 2."
            )
        if self._methods_per_trial > self.n_methods:
            raise InputError(
                f"--alternatives {self.alternatives} is more than the {counted(self.n_methods, 'method')} of the study"
                f"{' and the photo' if self._is_search else ''}; say --methods, or a smaller number."
            )

    def model(self) -> PlanningModel:
        """The assumed rate and spreads.

        Raises
        ------
        InputError
            A rate where the question fixes it.
        """
        if self.rate is not None and self.preset == "preference":
            raise InputError("--rate does not go with --preset preference: without a preference the share is 50 %.")
        if self.rate is not None and self._is_search:
            raise InputError(
                f"--rate does not go with --preset simultaneous: who guesses finds the photo in {100 / self.alternatives:.3g} %; say "
                "--difference, how many points from that."
            )
        return PlanningModel(
            rate=1 / self.alternatives
            if self._is_search
            else self.rate or (0.9 if self.preset == "naturalness" else 0.5),
            participant_sd=self.participant_sd,
            image_sd=self.image_sd,
            image_correlation=self.image_correlation,
            participant_correlation=self.participant_correlation,
        )


def _check_types(options: PlanOptions) -> None:
    """Refuse texts and fractions in place of numbers, which a formula would meet far from here."""
    if not isinstance(options, PlanOptions):
        raise InputError(
            f"options is {type(options).__name__}; analysis.PlanOptions(difference=5) is what a plan is made of"
        )
    check_numbers(options)


def plan_study(options: PlanOptions, *, pilot: TrialTable | None = None) -> Plan:
    """Find the participants that a goal needs, for one or several numbers of images, and simulate the first answer.

    Parameters
    ----------
    options : PlanOptions
        What is asked for and assumed.
    pilot : TrialTable
        Take rate and spreads from these trials, and say how far that can be trusted.

    Returns
    -------
    Plan
        With ``disagreement`` where the simulation contradicts the formula.

    Raises
    ------
    InputError
        Contradictory options, a quantile without a pilot, a pilot of another preset, or a goal that leads to rates
        outside (0, 1).

    Examples
    --------
    >>> plan = plan_study(PlanOptions(difference=10, rate=0.3, images=400, simulate=0))
    >>> plan.rows[0].participants, round(plan.other_rate, 2)
    (30, 0.4)
    """
    _check_types(options)
    goal, design, model = options.goal(), options.design(), options.model()
    drawn: list[PlanningModel] = []
    if pilot is not None:
        check_kind("pilot", pilot, TrialTable, "a TrialTable, as analysis.read_trials gives it,")
        _check_pilot(pilot, options)
        assumed, model = model, PlanningModel.from_pilot(pilot, model)
        if options.participants is None:
            drawn = pilot_models(pilot, n_models=PILOT_MODELS, seed=options.seed, assumed=assumed)
    elif options.pilot_quantile is not None:
        raise InputError("--pilot-quantile goes with --from: without a pilot the spreads are assumed, not estimated.")
    counts = [options.images] if options.images else [count for count in IMAGE_COUNTS if count >= design.n_trials]
    rows = []
    for count in counts:
        tried = replace(design, n_images=count)
        pilot_range = _pilot_range(goal, drawn, tried, options.pilot_quantile) if drawn else None
        if options.participants is not None:
            needed: int | None = options.participants
        elif pilot_range is not None and options.pilot_quantile is not None:
            needed = pilot_range.conservative
        else:
            needed = participants_needed(goal, model, tried)
        rows.append(_row(goal, model, tried, needed, pilot_range))
    chosen = next((row for row in rows if row.participants is not None), None)
    if chosen is None or chosen.participants is None:
        final = replace(design, n_participants=40, n_images=counts[0])
    else:
        final = replace(design, n_participants=chosen.participants, n_images=chosen.images)
    hardest = hardest_scenario(goal, model, final)
    simulated = None
    if options.simulate and chosen is not None:
        simulated = simulate_power(goal, model, final, n_studies=options.simulate, seed=options.seed)
    return Plan(
        preset=options.preset,
        from_pilot=pilot is not None,
        goal=goal,
        model=model,
        n_judged=options.n_judged,
        n_parts=options.n_parts,
        alternatives=options.alternatives,
        rows=tuple(rows),
        design=final,
        chosen=chosen,
        advice=raters_or_images(hardest[0], final),
        other_rate=hardest[1].rate if goal.question == "difference" else math.nan,
        simulated=simulated,
    )


def _check_pilot(pilot: TrialTable, options: PlanOptions) -> None:
    if pilot.question != _OF_A_PILOT[options.preset]:
        fitting = [preset for preset, question in _OF_A_PILOT.items() if question == pilot.question]
        how = f"plan it with --preset {fitting[0]}" if fitting else "a plan needs answers that are yes or no"
        what = f"search for the {pilot.question}" if pilot.seeks_real else f"{pilot.question} study"
        raise InputError(f"{pilot.source} is a {what}; {how}.")
    if pilot.seeks_real and pilot.n_alternatives != options.alternatives:
        raise InputError(
            f"{pilot.source} is a search among {pilot.n_alternatives}; plan it with --alternatives {pilot.n_alternatives}."
        )


def _row(
    goal: Goal, model: PlanningModel, design: StudyDesign, needed: int | None, pilot_range: PilotRange | None
) -> PlanRow:
    if needed is None:
        return PlanRow(images=design.n_images, participants=None, pilot=pilot_range)
    sized = replace(design, n_participants=needed)
    return PlanRow(
        images=design.n_images,
        participants=needed,
        std_error=tested_std_error(goal, model, sized),
        power=power_of(goal, model, sized),
        detectable_difference=detectable_difference(goal, model, sized),
        answers_per_method=needed * sized.n_trials,
        pilot=pilot_range,
    )


def _pilot_range(goal: Goal, drawn: Sequence[PlanningModel], design: StudyDesign, quantile: float | None) -> PilotRange:
    """Quantiles of the numbers that simulated pilots of the same size lead to (percentile bootstrap)."""
    planned = [_needed_or_more(goal, model, design) for model in drawn]
    wanted = quantile or 0.8
    low, high, conservative = np.quantile(planned, [0.05, 0.95, wanted]).tolist()
    return PilotRange(low=_limited(low), high=_limited(high), conservative=_limited(conservative), quantile=wanted)


def _needed_or_more(goal: Goal, model: PlanningModel, design: StudyDesign) -> float:
    try:
        needed = participants_needed(goal, model, design)
    except InputError:  # a simulated pilot whose rate leaves no room for the difference
        needed = None
    return MAXIMUM_PARTICIPANTS + 1 if needed is None else needed


def _limited(number: float) -> int | None:
    return None if number > MAXIMUM_PARTICIPANTS else max(2, math.ceil(number))
