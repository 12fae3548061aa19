from __future__ import annotations

import numpy as np
import pytest

from analysis.planning.participants import (
    PlanningModel,
    StudyDesign,
    detectable_difference,
    difference_power,
    equivalence_power,
    expected_std_error,
    participants_needed,
    simulate_answers,
    simulate_power,
)
from analysis.statistics.sequential import betting_confidence_sequence, group_sequential_bounds
from evalkit.errors import InputError

MODEL = PlanningModel.from_logit(0.5, 0.6, 1.0)


@pytest.mark.parametrize(
    ("design", "std_error", "unpaired", "paired"),
    [
        (StudyDesign(40, 40, 40), 3.8, 15, 11),
        (StudyDesign(40, 40, 400), 2.4, 9.6, 9),
        (StudyDesign(40, 40, 10_000), 2.2, 8.8, None),
        (StudyDesign(100, 40, 400), 1.7, 6.8, None),
    ],
)
def test_reproduces_the_documented_standard_errors_and_differences(
    design: StudyDesign, std_error: float, unpaired: float, paired: float | None
) -> None:
    assert 100 * expected_std_error(MODEL, design) == pytest.approx(std_error, abs=0.06)
    # The documented differences use normal quantiles; ours the t of the test itself, so they are a little
    # larger.
    assert 100 * detectable_difference(MODEL, design, paired=False) == pytest.approx(unpaired, abs=0.35)
    if paired:
        assert 100 * detectable_difference(MODEL, design) == pytest.approx(paired, abs=0.5)


def test_equivalence_within_five_points_needs_more_people_and_images() -> None:
    assert equivalence_power(MODEL, StudyDesign(40, 40, 40)) == 0
    assert equivalence_power(MODEL, StudyDesign(100, 40, 400)) == pytest.approx(0.8, abs=0.03)


def test_the_components_add_up_to_the_binomial_variance() -> None:
    model = PlanningModel.from_logit(0.3, 0.5, 0.8)
    assert model.participant + model.image + model.residual == pytest.approx(0.21)
    intercept, sd_p, sd_i = model.logit_sds()
    assert (sd_p, sd_i) == pytest.approx((0.5, 0.8), abs=1e-3)
    rng = np.random.default_rng(0)
    design = StudyDesign(4000, 20, 500)
    fooled, _, _ = simulate_answers(design, intercept, sd_p, sd_i * rng.standard_normal(500), rng)
    assert fooled.mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("exposure", ["random", "balanced"])
def test_nobody_sees_an_image_twice_in_a_simulated_study(exposure: str) -> None:
    rng = np.random.default_rng(0)
    _, participant, image = simulate_answers(StudyDesign(30, 8, 11, exposure), 0.0, 0.5, np.zeros(11), rng)
    assert np.unique(participant * 11 + image).size == 240
    if exposure == "balanced":
        assert np.ptp(np.bincount(image)) <= 1


def test_the_number_of_participants_is_the_fewest_that_reach_the_power() -> None:
    design = StudyDesign(2, 36, 200)
    needed = participants_needed(MODEL, design, difference=0.08)
    assert needed is not None
    assert difference_power(MODEL, StudyDesign(needed, 36, 200), 0.08) >= 0.8
    assert difference_power(MODEL, StudyDesign(needed - 1, 36, 200), 0.08) < 0.8


def test_too_few_images_cannot_be_made_up_for_by_people() -> None:
    assert participants_needed(MODEL, StudyDesign(2, 36, 40), margin=0.05) is None
    assert participants_needed(MODEL, StudyDesign(2, 36, 1000), margin=0.05) is not None


@pytest.mark.parametrize("difference", [0.0, 0.12])
def test_simulated_studies_confirm_the_closed_form(difference: float) -> None:
    design = StudyDesign(20, 20, 60)
    found = simulate_power(MODEL, design, difference, n_studies=300, seed=1)
    expected = difference_power(MODEL, design, difference) if difference else 0.05
    assert found.power == pytest.approx(expected, abs=4 * max(found.mc_error, 0.013))
    assert found.coverage > 0.9
    assert found.mean_std_error == pytest.approx(expected_std_error(MODEL, design), rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StudyDesign(1, 40, 40), "at least 2, 1 and 2"),
        (lambda: StudyDesign(10, 41, 40), "41 trials need as many images"),
        (lambda: PlanningModel.from_logit(1.0), "assumed fool rate is 1"),
        (lambda: participants_needed(MODEL, StudyDesign(2, 9, 9)), "either a difference"),
        (lambda: participants_needed(MODEL, StudyDesign(2, 9, 9), difference=5.0), "is 5; a fraction"),
        (lambda: simulate_power(MODEL, StudyDesign(9, 9, 9), 0.6), "cannot be higher by 0.6"),
        (lambda: group_sequential_bounds(0, "pocock"), "0 looks"),
        (lambda: betting_confidence_sequence([1.5]), "fractions in"),
    ],
)
def test_bad_input_is_a_plain_sentence(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


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
