from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.planning import power as planned_power
from analysis.planning.assumptions import PlanningModel, StudyDesign, pilot_models
from analysis.planning.plan_figure import write_plan_figure
from analysis.planning.power import (
    Goal,
    detectable_difference,
    expected_std_error,
    needed_std_error,
    participants_needed,
    power_of,
)
from analysis.planning.simulation import (
    SimulatedPower,
    false_alarm_rate,
    simulate_answers,
    simulate_methods,
    simulate_power,
)
from analysis.planning.study_plan import PlanOptions, plan_study
from analysis.statistics.sequential import (
    betting_confidence_sequence,
    group_sequential_bounds,
    nominal_levels,
    sample_size_inflation,
)
from evalkit.errors import InputError

MODEL = PlanningModel(rate=0.5, participant_sd=0.6, image_sd=1.0)


def design(n_participants: int, n_trials: int, n_images: int, **options: object) -> StudyDesign:
    return StudyDesign(n_participants=n_participants, n_trials=n_trials, n_images=n_images, **options)  # type: ignore[arg-type]


def difference(size: float, **options: object) -> Goal:
    return Goal(question="difference", size=size, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("study", "std_error", "unpaired", "paired"),
    [
        ((40, 40, 40), 3.8, 15, 11),
        ((40, 40, 400), 2.4, 9.6, 9),
        ((40, 40, 10_000), 2.2, 8.8, None),
        ((100, 40, 400), 1.7, 6.8, None),
    ],
)
def test_reproduces_the_documented_standard_errors_and_differences(
    study: tuple[int, int, int], std_error: float, unpaired: float, paired: float | None
) -> None:
    assert 100 * expected_std_error(MODEL, design(*study)) == pytest.approx(std_error, abs=0.06)
    # The documented differences use normal quantiles; ours the t of the test itself, so they are a little
    # larger.
    found = detectable_difference(difference(0.05), MODEL, design(*study, same_images=False))
    assert 100 * found == pytest.approx(unpaired, abs=0.35)
    if paired:
        assert 100 * detectable_difference(difference(0.05), MODEL, design(*study)) == pytest.approx(paired, abs=0.5)


def test_equivalence_within_five_points_needs_more_people_and_images() -> None:
    goal = Goal(question="equivalence to 50 %", size=0.05)
    assert power_of(goal, MODEL, design(40, 40, 40)) == 0
    assert power_of(goal, MODEL, design(100, 40, 400)) == pytest.approx(0.8, abs=0.03)


def test_the_components_add_up_to_the_binomial_variance() -> None:
    model = PlanningModel(rate=0.3, participant_sd=0.5, image_sd=0.8)
    assert model.participant + model.image + model.residual == pytest.approx(0.21)
    again = PlanningModel.from_components(rate=0.3, participant=model.participant, image=model.image)
    assert (again.participant_sd, again.image_sd) == pytest.approx((0.5, 0.8), abs=1e-3)
    rng = np.random.default_rng(0)
    fooled, _, _ = simulate_answers(design(2000, 20, 500), model.intercept, 0.5, 0.8 * rng.standard_normal(500), rng)
    assert fooled.mean() == pytest.approx(0.3, abs=0.03)


def test_what_two_methods_share_agrees_with_an_integral_over_three_effects() -> None:
    """Against a plain Monte Carlo of the conditional means, 200,000 images."""
    low, high = MODEL.at_rate(0.2), MODEL.at_rate(0.6)
    rng = np.random.default_rng(0)
    common = rng.standard_normal(200_000)
    node, weight = np.polynomial.hermite_e.hermegauss(15)
    means = []
    for model in (low, high):
        effect = math.sqrt(0.7) * common + math.sqrt(0.3) * rng.standard_normal(common.size)
        logit = model.intercept + effect[:, None] + 0.6 * node
        means.append((1 / (1 + np.exp(-logit))) @ weight / weight.sum())
    assert low.shared_image(high) == pytest.approx(np.cov(*means)[0, 1], rel=0.02)


@pytest.mark.parametrize("exposure", ["random", "balanced"])
def test_nobody_sees_an_image_twice_in_a_simulated_study(exposure: str) -> None:
    rng = np.random.default_rng(0)
    _, participant, image = simulate_answers(design(30, 8, 11, exposure=exposure), 0.0, 0.5, np.zeros(11), rng)
    assert np.unique(participant * 11 + image).size == 240
    if exposure == "balanced":
        assert np.ptp(np.bincount(image)) <= 1


def test_people_who_judge_both_methods_see_them_on_different_images() -> None:
    rng = np.random.default_rng(0)
    one, two = simulate_methods((MODEL, MODEL), design(30, 8, 40, exposure="balanced", same_people=True), rng)
    assert np.array_equal(one.participant, two.participant)
    cells = np.concatenate([sample.participant * 40 + sample.image for sample in (one, two)])
    assert np.unique(cells).size == cells.size
    assert np.ptp(np.bincount(np.concatenate([one.image, two.image]))) <= 1


def test_as_many_people_judge_both_methods_as_a_design_of_some_of_the_methods_has() -> None:
    some = design(40, 8, 60, exposure="balanced", same_people=True, people_sharing=0.25)
    one, two = simulate_methods((MODEL, MODEL), some, np.random.default_rng(0))
    shared = np.intersect1d(one.participant, two.participant)
    assert (np.unique(one.participant).size, np.unique(two.participant).size, shared.size) == (40, 40, 10)
    assert np.intersect1d(one.of_first(20).participant, two.of_first(20).participant).size == 5  # at every look
    cells = np.concatenate([sample.participant * 60 + sample.image for sample in (one, two)])
    assert np.unique(cells).size == cells.size  # nobody sees an image twice


def test_designs_of_some_of_the_methods_lie_between_those_of_one_and_of_all() -> None:
    errors = [
        planned_power.tested_std_error(
            difference(0.08), MODEL, replace(design(40, 18, 400, same_people=True), people_sharing=share)
        )
        for share in (0.01, 0.25, 0.5, 1.0)
    ]
    between_people = planned_power.tested_std_error(difference(0.08), MODEL, design(40, 18, 400))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(between_people, rel=0.02)


def test_the_number_of_participants_is_the_fewest_that_reach_the_power() -> None:
    needed = participants_needed(difference(0.08), MODEL, design(2, 36, 200))
    assert needed is not None
    assert power_of(difference(0.08), MODEL, design(needed, 36, 200)) >= 0.8
    assert power_of(difference(0.08), MODEL, design(needed - 1, 36, 200)) < 0.8


def test_too_few_images_cannot_be_made_up_for_by_people() -> None:
    goal = Goal(question="equivalence to 50 %", size=0.05)
    assert participants_needed(goal, MODEL, design(2, 36, 40)) is None
    assert participants_needed(goal, MODEL, design(2, 36, 1000)) is not None


@pytest.mark.parametrize(
    ("goal", "rate", "study"),
    [
        # Low rates, where the other method is higher (it varies more) or lower (it varies less).
        (difference(0.05), 0.05, {"n_participants": 23, "n_images": 400}),
        (difference(0.10), 0.05, {"n_participants": 10, "n_images": 400}),
        (difference(0.05, direction="lower"), 0.08, {"n_participants": 17, "n_images": 400}),
        (difference(0.12), 0.5, {"n_participants": 39, "n_trials": 20, "n_images": 40}),
        (difference(0.15), 0.5, {"n_participants": 18, "n_images": 100, "same_images": False}),
        (difference(0.08), 0.5, {"n_participants": 54, "n_trials": 18, "n_images": 400, "same_people": True}),
        (
            difference(0.08),
            0.5,
            {"n_participants": 66, "n_trials": 18, "n_images": 400, "same_people": True, "people_sharing": 0.25},
        ),
        (difference(0.10, looks=4, bounds="pocock"), 0.3, {"n_participants": 35, "n_images": 400}),
        (difference(0.10, comparisons=5), 0.3, {"n_participants": 44, "n_images": 400}),
        (Goal(question="equivalence to 50 %", size=0.1), 0.5, {"n_participants": 26, "n_images": 100}),
        (Goal(question="equivalence of two", size=0.05), 0.93, {"n_participants": 23, "n_images": 400}),
        (Goal(question="preference", size=0.1), 0.5, {"n_participants": 22, "n_images": 100}),
        (Goal(question="real photo found", size=0.08, chance=1 / 4), 0.25, {"n_participants": 35, "n_images": 100}),
    ],
)
def test_simulated_studies_confirm_the_closed_form(goal: Goal, rate: float, study: dict) -> None:
    """The promise is 80 %; 200 studies have an error of 2.8 points."""
    sized = StudyDesign(**{"n_trials": 36, "exposure": "balanced"} | study)
    model = MODEL.at_rate(rate)
    promised = power_of(goal, model, sized)
    assert promised == pytest.approx(0.8, abs=0.05)
    found = simulate_power(goal, model, sized, n_studies=200, seed=1)
    assert found.power == pytest.approx(promised, abs=0.09)
    assert found.coverage > 0.9


def test_the_worse_direction_is_the_one_of_the_larger_variance() -> None:
    model, sized = MODEL.at_rate(0.08), design(17, 36, 400, exposure="balanced")
    lower, higher = (power_of(difference(0.05, direction=d), model, sized) for d in ("lower", "higher"))
    assert higher < 0.6 < 0.8 < lower
    assert power_of(difference(0.05), model, sized) == higher
    assert plan_study(PlanOptions(difference=5, rate=0.08, images=400, simulate=0)).other_rate == pytest.approx(0.13)
    # 8 points below 5 % there is nothing: only one direction is left.
    assert plan_study(PlanOptions(difference=8, rate=0.05, images=400, simulate=0)).other_rate == pytest.approx(0.13)


def test_a_family_of_comparisons_keeps_the_power_of_each_on_the_adjusted_p() -> None:
    """Five equally distant baselines with a common one: Holm's p of each reaches the planned power."""
    from analysis.statistics.comparison import compare
    from evalkit.resampling.multiplicity import holm

    plan = plan_study(PlanOptions(difference=15, rate=0.3, direction="lower", images=100, methods=6, simulate=0))
    assert plan.goal.comparisons == 5
    mine, baseline = plan.model, plan.model.at_rate(0.15)
    rng, claimed = np.random.default_rng(0), []
    for _ in range(100):
        (a,) = simulate_methods((mine,), plan.design, rng)
        others = [simulate_methods((baseline,), plan.design, rng)[0] for _ in range(5)]
        p = [
            compare(a.value, a.participant, a.image, b.value, b.participant + 1000 * (k + 1), b.image).p_value
            for k, b in enumerate(others)
        ]
        claimed += (holm(p) <= 0.05).tolist()
    # Images of different methods are independent in this simulation, which only makes it harder.
    assert np.mean(claimed) > 0.75


def test_the_needed_standard_error_knows_the_power() -> None:
    """Normal quantiles from a table: 1.6449 + 1.2816 at 80 %, 1.6449 + 1.9600 at 95 %; 1.9600 + 0.8416 for a difference."""
    margin = Goal(question="equivalence to 50 %", size=0.05)
    assert needed_std_error(margin) == pytest.approx(0.05 / 2.9265, rel=1e-4)
    assert needed_std_error(Goal(question="equivalence to 50 %", size=0.05, power=0.95)) == pytest.approx(
        0.05 / 3.6048, rel=1e-4
    )
    assert needed_std_error(difference(0.05)) == pytest.approx(0.05 / 2.8016, rel=1e-4)


def test_the_figure_draws_the_target_of_the_power_that_was_asked_for(tmp_path, monkeypatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[float] = []
    monkeypatch.setattr(Axes, "axhline", lambda self, y, **options: drawn.append(y))
    for power in (0.8, 0.95):
        options = PlanOptions(equivalence_margin=5, power=power, images=400, simulate=0)
        write_plan_figure(tmp_path / "plan.png", plan_study(options))
    assert drawn == pytest.approx([5 / 2.9265, 5 / 3.6048], rel=1e-4)


def test_a_simulation_that_contradicts_the_formula_is_said() -> None:
    plan = plan_study(PlanOptions(difference=10, rate=0.3, images=400, simulate=0))
    assert plan.disagreement == ""

    def simulated(power: float) -> SimulatedPower:
        return SimulatedPower(power=power, mc_error=0.025, coverage=0.95, mean_std_error=0.02, true_std_error=0.02,
                              other_rate=0.4, n_studies=400)  # fmt: skip

    from dataclasses import replace

    assert replace(plan, simulated=simulated(0.76)).disagreement == ""
    assert "plan for more participants" in replace(plan, simulated=simulated(0.58)).disagreement
    assert "try fewer participants" in replace(plan, simulated=simulated(0.95)).disagreement


def test_a_pilot_says_how_far_it_can_be_trusted() -> None:
    """Numbers planned from simulated pilots against the right one: the range holds it, the 80 % quantile suffices."""
    from analysis.trials.trial_table import RawTable, check_trials

    true = MODEL.at_rate(0.35)
    goal, target = difference(0.05), design(2, 36, 200, exposure="balanced")
    right = participants_needed(goal, true, target)
    assert right is not None
    rng = np.random.default_rng(3)
    held = enough = planned_too_few = 0
    for number in range(10):
        samples = simulate_methods((true, true), design(20, 36, 100), rng)
        value, participant, image = (
            np.concatenate([getattr(sample, name) for sample in samples]) for name in ("value", "participant", "image")
        )
        columns = {
            "participant": participant.astype(str),
            "image": image.astype(str),
            "method": np.repeat(["one", "two"], value.size // 2),
            "fooled": value.astype(int).astype(str),
        }
        pilot = check_trials(RawTable(source="pilot.csv", columns=columns, row=np.arange(value.size)))
        numbers = [participants_needed(goal, m, target) or 5001 for m in pilot_models(pilot, n_models=25, seed=number)]
        low, suffices, high = np.quantile(numbers, [0.05, 0.8, 0.95])
        held += low <= right <= high
        enough += suffices >= right
        planned_too_few += (participants_needed(goal, PlanningModel.from_pilot(pilot), target) or 5001) < right
    assert held >= 7
    assert enough >= 6
    assert planned_too_few >= 2  # which is why the range is printed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: design(1, 40, 40), "at least 2, 1 and 2"),
        (lambda: design(10, 41, 40), "41 trials need as many images"),
        (lambda: PlanningModel(rate=1.0), "assumed rate is 1"),
        (lambda: PlanningModel(image_correlation=1.5), "must lie between 0 and 1"),
        (lambda: difference(5.0), "is 5; a fraction"),
        (lambda: difference(0.05, comparisons=0), "family has 0 comparisons"),
        (lambda: Goal(question="equivalence to 50 %", size=0.05, looks=3), "not for equivalence"),
        (lambda: power_of(difference(0.6), MODEL, design(9, 9, 9)), "leads to a rate of 110 %"),
        (lambda: group_sequential_bounds(0, "pocock"), "0 looks"),
        (lambda: betting_confidence_sequence([1.5]), "fractions in"),
    ],
)
def test_bad_input_is_a_plain_sentence(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize(
    ("looks", "kind", "factor"),
    [(2, "pocock", 1.110), (5, "pocock", 1.229), (2, "obrien-fleming", 1.008), (5, "obrien-fleming", 1.028)],
)
def test_looks_cost_the_published_share_of_the_sample(looks: int, kind: str, factor: float) -> None:
    """Jennison and Turnbull, Group Sequential Methods, tables 2.2 and 2.4: 5 % and 80 % power."""
    assert sample_size_inflation(looks, kind) == pytest.approx(factor, abs=1.5e-3)


def test_equality_with_half_is_a_test_for_each_method() -> None:
    """As the verdicts of a study are adjusted: six methods are six tests against 50 %, and five against one of them."""
    families = {
        (margin, methods): PlanOptions(equivalence_margin=margin, methods=methods).goal().comparisons
        for margin in (None, 5)
        for methods in (None, 2, 6)
    }
    assert families == {(None, None): 1, (None, 2): 1, (None, 6): 5, (5, None): 1, (5, 2): 2, (5, 6): 6}
    natural = PlanOptions(equivalence_margin=5, methods=6, preset="naturalness").goal()
    assert natural.comparisons == 5  # against the photos, which are one of the six


@pytest.mark.parametrize(("kind", "participants"), [("obrien-fleming", 33), ("pocock", 33)])
def test_the_power_of_looks_is_the_one_that_studies_reach(kind: str, participants: int) -> None:
    """Of 33 people a method: 79.4 and 70.8 % of 3,000 simulated studies; the inflation of large samples said 80.2 and 73.7."""
    goal = difference(0.1, looks=4, bounds=kind)
    power = power_of(goal, PlanningModel(rate=0.5), design(participants, 36, 400, exposure="balanced"))
    reached = {"obrien-fleming": 0.794, "pocock": 0.708}[kind]
    assert power == pytest.approx(reached, abs=0.02)
    single = power_of(difference(0.1), PlanningModel(rate=0.5), design(participants, 36, 400, exposure="balanced"))
    inflated = {"obrien-fleming": 0.8023, "pocock": 0.7366}[kind]
    assert power < inflated < single


def test_looks_at_equal_shares_of_the_information_cost_what_the_tables_say() -> None:
    """Many people on as many images: the plan's power over looks is that of the published inflation."""
    goal = difference(0.03, looks=5, bounds="pocock")
    large = design(600, 36, 1_000_000)
    once = power_of(difference(0.03 / math.sqrt(sample_size_inflation(5, "pocock"))), MODEL, large)
    assert power_of(goal, MODEL, large) == pytest.approx(once, abs=0.03)


@pytest.mark.parametrize("participants", [2, 3, 5])
def test_more_looks_than_people_are_no_error(participants: int) -> None:
    goal = difference(0.2, looks=4)
    assert 0 < power_of(goal, MODEL, design(participants, 20, 40)) < 0.9


def test_looks_have_nominal_p_limits() -> None:
    """Pocock's table: 0.0294 for two looks, 0.0158 for five."""
    assert nominal_levels(2, "pocock") == pytest.approx([0.0294, 0.0294], abs=1e-4)
    assert nominal_levels(5, "pocock")[0] == pytest.approx(0.0158, abs=1e-4)
    assert nominal_levels(1, "pocock")[0] == pytest.approx(0.05, abs=1e-6)


def test_looks_keep_their_level_with_few_people_on_the_p_scale() -> None:
    """Four Pocock looks at 10 people a method: the limits for |z| applied to |t| gave 12 to 14 %."""
    goal = difference(0.1, looks=4, bounds="pocock")
    found = false_alarm_rate(goal, MODEL.at_rate(0.3), design(10, 30, 100), n_studies=400, seed=0)
    assert found.power < 0.05 + 3 * 0.011


@pytest.mark.parametrize(
    ("looks", "kind", "constant"),
    [(2, "pocock", 2.178), (5, "pocock", 2.413), (2, "obrien-fleming", 1.977), (5, "obrien-fleming", 2.040)],
)
def test_sequential_bounds_have_the_published_constants(looks: int, kind: str, constant: float) -> None:
    bounds = group_sequential_bounds(looks, kind)
    assert bounds[-1] == pytest.approx(constant, abs=6e-4)
    expected = constant if kind == "pocock" else constant * np.sqrt(looks)
    assert bounds[0] == pytest.approx(expected, abs=2e-3)


def test_one_look_is_the_ordinary_test() -> None:
    assert group_sequential_bounds(1, "pocock")[0] == pytest.approx(1.959964, abs=1e-5)


def test_the_confidence_sequence_keeps_the_means_whose_capital_stays_below_the_limit() -> None:
    """The betting process written out: a mean goes when one of two gamblers against it is rich enough."""
    x = np.random.default_rng(4).binomial(40, 0.3, size=60) / 40
    low, high = betting_confidence_sequence(x, grid=200)
    kept = []
    for m in (np.arange(200) + 0.5) / 200:
        up = down = 1.0
        total, squares, mean, spread, alive = 0.5, 0.25, 0.5, 0.25, True
        for i, value in enumerate(x, start=1):
            bet = np.sqrt(2 * np.log(2 / 0.05) / (spread * i * np.log(i + 1)))
            up *= 1 + min(bet, 0.5 / m) * (value - m)
            down *= 1 - min(bet, 0.5 / (1 - m)) * (value - m)
            alive &= max(up, down) / 2 < 1 / 0.05
            total += value
            mean = total / (i + 1)
            squares += (value - mean) ** 2
            spread = squares / (i + 1)
        if alive:
            kept.append(m)
    assert (low[-1], high[-1]) == pytest.approx((kept[0] - 0.0025, kept[-1] + 0.0025))


def test_the_confidence_sequence_holds_at_all_times_together() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        low, high = betting_confidence_sequence(rng.binomial(40, rng.beta(8, 12, size=120)) / 40)
        held += np.all((low <= 0.4) & (high >= 0.4))
    assert held >= 190
    assert high[-1] - low[-1] < 0.15
    assert np.all(np.diff(low) >= 0)
    assert np.all(np.diff(high) <= 0)
