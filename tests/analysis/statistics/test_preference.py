from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.statistics.preference import preference_scale, win_matrix
from evalkit.errors import InputError

STRENGTH = {"a": 0.9, "b": 0.2, "c": -0.3, "d": -0.8}


def answers(seed: int, n_participants: int = 25, n_trials: int = 24, spread: float = 0.0) -> tuple:
    """Participants who agree on STRENGTH up to their own taste."""
    rng = np.random.default_rng(seed)
    names = np.array(list(STRENGTH))
    winner, loser, participant, image = [], [], [], []
    for p in range(n_participants):
        taste = np.array(list(STRENGTH.values())) + spread * rng.normal(size=4)
        for t in range(n_trials):
            i, j = rng.choice(4, size=2, replace=False)
            first_wins = rng.random() < 1 / (1 + np.exp(taste[j] - taste[i]))
            winner.append(names[i if first_wins else j])
            loser.append(names[j if first_wins else i])
            participant.append(p)
            image.append(t)
    return winner, loser, participant, image


def test_counts_every_win() -> None:
    matrix = win_matrix(["a", "a", "b", "c"], ["b", "b", "a", "a"])
    assert matrix.methods == ("a", "b", "c")
    assert matrix.wins.tolist() == [[0, 2, 0], [1, 0, 0], [1, 0, 0]]
    assert matrix.share[0, 1] == pytest.approx(2 / 3)
    assert np.isnan(matrix.share[1, 2])


def test_strengths_agree_with_choix() -> None:
    import choix

    winner, loser, participant, _ = answers(0)
    scale = preference_scale(winner, loser, participant)
    position = {name: k for k, name in enumerate(scale.methods)}
    pairs = [(position[w], position[x]) for w, x in zip(winner, loser, strict=True)]
    expected = choix.ilsr_pairwise(4, pairs)
    assert scale.strength == pytest.approx(expected - expected.mean(), abs=1e-6)
    assert scale.strength.sum() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_strengths_and_clustered_errors_agree_with_statsmodels(link: str) -> None:
    import statsmodels.api as sm

    winner, loser, participant, _ = answers(1, spread=0.5)
    scale = preference_scale(winner, loser, participant, link=link)
    position = {name: k for k, name in enumerate(scale.methods)}
    # The order of presentation is made up, so that the response varies; "a" is the reference.
    flip = np.random.default_rng(0).random(len(winner)) < 0.5
    x = np.zeros((len(winner), 4))
    for row, (w, lost, turned) in enumerate(zip(winner, loser, flip, strict=True)):
        x[row, position[w]], x[row, position[lost]] = (-1, 1) if turned else (1, -1)
    family = sm.families.Binomial(sm.families.links.Logit() if link == "logit" else sm.families.links.Probit())
    fit = sm.GLM((~flip).astype(float), x[:, 1:], family=family).fit(
        cov_type="cluster", cov_kwds={"groups": np.array(participant), "use_correction": False}
    )
    from_reference = scale.strength[1:] - scale.strength[0]
    assert from_reference == pytest.approx(fit.params, abs=1e-6)
    contrast = np.hstack([-np.ones((3, 1)), np.eye(3)])
    covariance = contrast @ scale.covariance @ contrast.T
    # For the probit link statsmodels takes the observed information, we the expected one (Fisher scoring).
    assert covariance == pytest.approx(fit.cov_params() * 25 / 24, rel=5e-2 if link == "probit" else 1e-6)


def test_people_of_different_taste_make_the_interval_longer() -> None:
    same, different = (preference_scale(*answers(2, spread=s)[:3]) for s in (0.0, 2.0))
    assert different.std_error.mean() > 1.5 * same.std_error.mean()


def test_images_can_be_part_of_the_claim() -> None:
    winner, loser, participant, image = answers(3)
    scale = preference_scale(winner, loser, participant, image, estimand="participants+images")
    assert scale.df == 23
    assert np.all(scale.ci_low < scale.strength)
    assert np.linalg.eigvalsh(scale.covariance).min() > -1e-12


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_exchanging_winner_and_loser_flips_the_scale(seed: int) -> None:
    winner, loser, participant, _ = answers(seed)
    one, other = preference_scale(winner, loser, participant), preference_scale(loser, winner, participant)
    assert other.strength == pytest.approx(-one.strength, abs=1e-8)
    assert other.std_error == pytest.approx(one.std_error, rel=1e-6)


@pytest.mark.parametrize(
    ("winner", "loser", "participant", "options", "message"),
    [
        (["a", "b"], ["b", "b"], [1, 2], {}, "Trial 1 shows method b against itself"),
        (["a", "b", "a"], ["b", "a", "c"], [1, 2, 2], {}, "Method c never won against a or b"),
        (["a", "b"], ["b", "a"], [1, 1], {}, "one participant"),
        (["a"], ["b", "a"], [1, 1], {}, "one of each per trial"),
        (["a", "b"], ["b", "a"], [1, 2], {"link": "elo"}, "'probit'"),
        (["a", "b"], ["b", "a"], [1, 2], {"estimand": "participants+images"}, "needs the image"),
    ],
)
def test_bad_input_is_a_plain_sentence(
    winner: list, loser: list, participant: list, options: dict, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        preference_scale(winner, loser, participant, **options)
