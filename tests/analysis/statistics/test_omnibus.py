from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.comparison import compare_designs
from analysis.statistics.crossed import CrossedDesign
from analysis.statistics.omnibus import equal_means
from evalkit.errors import InputError

Samples = list[tuple[np.ndarray, CrossedDesign]]


def study(
    rng: np.random.Generator,
    rates: tuple[float, ...],
    *,
    people: int = 12,
    trials: int = 20,
    images: int = 40,
    together: bool = False,
) -> Samples:
    """Answers to methods of these rates (logits); people (SD 0.6) and images (SD 1, correlation 0.7) vary."""
    common = rng.standard_normal(images)
    samples = []
    for k, logit in enumerate(rates):
        picture = math.sqrt(0.7) * common + math.sqrt(0.3) * rng.standard_normal(images)
        image = np.argsort(rng.random((people, images)), axis=1)[:, :trials].ravel()
        person = np.repeat(np.arange(people), trials)
        chance = 1 / (1 + np.exp(-(logit + 0.6 * rng.standard_normal(people)[person] + picture[image])))
        design = CrossedDesign.from_labels(person + (0 if together else 1000 * k), image)
        samples.append(((rng.random(chance.size) < chance).astype(float), design))
    return samples


def r_samples() -> Samples:
    """18 people by 15 images, six people for each of three methods."""
    p, i = np.repeat(np.arange(18), 15), np.tile(np.arange(15), 18)
    k = p % 3
    y = ((7 * p * p + 3 * i * i + 5 * p * i + 4 * k) % 11 < np.array([3, 5, 7])[k]).astype(float)
    return [(y[k == m], CrossedDesign.from_labels(p[k == m], i[k == m])) for m in range(3)]


@pytest.mark.parametrize("estimand", ["participants+images", "participants"])
@pytest.mark.parametrize("together", [False, True])
def test_two_methods_are_the_square_of_their_comparison(estimand: str, together: bool) -> None:
    samples = study(np.random.default_rng(3), (-1.0, -0.3), people=20, together=together)
    (a, design_a), (b, design_b) = samples
    compared = compare_designs(a, design_a, b, design_b, estimand=estimand)
    omnibus = equal_means(samples, estimand=estimand)
    assert omnibus.statistic == pytest.approx((compared.difference / compared.std_error) ** 2)
    assert (omnibus.df_numerator, omnibus.df_denominator) == (1, pytest.approx(compared.df))
    assert omnibus.p_value == pytest.approx(compared.p_value)


def test_separate_people_on_these_images_give_welchs_analysis_of_variance() -> None:
    """R 4.2.2, once::

    p <- rep(0:17, each=15); i <- rep(0:14, 18); k <- p %% 3
    y <- as.numeric(((7*p*p + 3*i*i + 5*p*i + 4*k) %% 11) < c(3, 5, 7)[k + 1])
    means <- aggregate(y ~ p + m, data.frame(y, p=factor(p), m=factor(k)), mean); oneway.test(y ~ m, means)
    """
    omnibus = equal_means(r_samples(), estimand="participants")
    assert omnibus.statistic == pytest.approx(15.9951078052)
    assert (omnibus.df_numerator, omnibus.df_denominator) == (2, pytest.approx(9.99493399859))
    assert omnibus.p_value == pytest.approx(7.67361466263e-04)


def test_a_mixed_model_gives_nearly_the_same_statistic() -> None:
    """R 4.2.2 with lme4 1.1-31, the table above, once::

    f <- lmer(y ~ m + (1|p) + (1|i), data.frame(y, p=factor(p), i=factor(i), m=factor(k)))
    b <- fixef(f)[2:3]; V <- as.matrix(vcov(f))[2:3, 2:3]; t(b) %*% solve(V) %*% b / 2

    lmer gives no degrees of freedom; those of the three groups of six people here are few.
    """
    omnibus = equal_means(r_samples())
    assert omnibus.statistic == pytest.approx(17.4999943039, rel=0.01)
    assert omnibus.p_value < 0.01


def test_the_same_people_on_these_images_give_hotellings_test() -> None:
    """R 4.2.2, once::

    q <- rep(rep(0:2, each=5), 12); p <- rep(0:11, each=15); i <- rep(0:14, 12)
    y <- as.numeric(((3*p*p + 2*i + p*i + 5*q) %% 11) < c(4, 5, 6)[q + 1])
    w <- tapply(y, list(p, q), mean); D <- cbind(w[,1] - w[,3], w[,2] - w[,3])
    F <- 12 * t(colMeans(D)) %*% solve(cov(D)) %*% colMeans(D) * 10 / 22; pf(F, 2, 10, lower.tail=FALSE)
    """
    q, p, i = np.tile(np.repeat(np.arange(3), 5), 12), np.repeat(np.arange(12), 15), np.tile(np.arange(15), 12)
    y = ((3 * p * p + 2 * i + p * i + 5 * q) % 11 < np.array([4, 5, 6])[q]).astype(float)
    samples = [(y[q == m], CrossedDesign.from_labels(p[q == m], i[q == m])) for m in range(3)]
    omnibus = equal_means(samples, estimand="participants")
    assert omnibus.statistic == pytest.approx(13.96825396825)
    assert (omnibus.df_numerator, omnibus.df_denominator) == (2, 10)
    assert omnibus.p_value == pytest.approx(0.00127266248551)


def test_it_keeps_its_level_where_no_two_methods_differ() -> None:
    rng = np.random.default_rng(8)
    alarms = [equal_means(study(rng, (-0.9,) * 4)).p_value <= 0.05 for _ in range(300)]
    assert 0.01 <= np.mean(alarms) <= 0.05 + 3 * 0.0126


def test_it_finds_one_method_among_four_that_differs() -> None:
    rng = np.random.default_rng(9)
    found = [equal_means(study(rng, (-0.9, -0.9, -0.9, 0.6))).p_value <= 0.05 for _ in range(40)]
    assert np.mean(found) > 0.8


@pytest.mark.parametrize("together", [False, True])
def test_the_order_of_the_methods_changes_nothing(together: bool) -> None:
    samples = study(np.random.default_rng(5), (-1.0, 0.0, -0.5, -0.6), together=together)
    first, last = equal_means(samples), equal_means(samples[::-1])
    assert first.p_value == pytest.approx(last.p_value)
    assert first.df_denominator == pytest.approx(last.df_denominator)


def test_p_values_of_equal_methods_are_uniform_enough_far_from_the_level() -> None:
    """Not the tail alone: half of the p-values lie below one half, to within chance and the safe side."""
    rng = np.random.default_rng(10)
    below = sum(equal_means(study(rng, (-0.9,) * 3, people=20)).p_value <= 0.5 for _ in range(200))
    assert stats.binomtest(below, 200, 0.5).pvalue > 1e-3


def test_too_few_people_for_so_many_methods_give_no_test() -> None:
    rng = np.random.default_rng(2)
    few = equal_means(study(rng, (-0.5,) * 5, people=4, together=True), estimand="participants")
    assert math.isnan(few.p_value)
    assert math.isnan(few.df_denominator)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[:1], "needs two or more"),
        (lambda s: [(np.zeros(s[0][0].size), s[0][1]), *s[1:]], "All values of sample 0 are 0"),
        (lambda s: [(s[0][0][:5], s[0][1]), *s[1:]], "one per trial"),
        (lambda s: [(s[0][0][:20], CrossedDesign.from_labels(["p"] * 20, range(20))), *s[1:]], "one participant"),
        (
            lambda s: [(y[:2], CrossedDesign.from_labels(["a", "b"], ["x", "x"])) for y in ([0.0, 1.0],) * 2],
            "one image",
        ),
    ],
)
def test_bad_input_is_a_plain_sentence(change, message: str) -> None:
    with pytest.raises(InputError, match=message):
        equal_means(change(study(np.random.default_rng(1), (-0.5, 0.0, 0.5))))
