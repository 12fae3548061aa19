"""Preference studies: from "which of the two looks more natural?" to shares, a common scale, and differences on it."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from analysis.statistics.comparison import t_two_sided
from analysis.statistics.crossed import CrossedDesign, Estimand, Labels, check_inference
from analysis.statistics.fool_rate import CrossedMean, clopper_pearson, crossed_mean, t_quantile
from analysis.statistics.omnibus import OmnibusTest, hotelling, positive_part
from evalkit.arrays import FloatArray, IntArray
from evalkit.errors import InputError
from evalkit.wording import counted, some_names

__all__ = [
    "ChoiceShare",
    "Contrast",
    "PairShare",
    "PreferenceScale",
    "Preferences",
    "choice_share",
    "one_sided_bound",
    "pair_shares",
    "preference_scale",
    "win_matrix",
]

Link = Literal["logit", "probit"]
LARGEST_LOGIT = 20.0
"""A fitted value beyond this is on its way to infinity: the answers are separated."""


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """The answers of a preference study as arrays, checked.

    Attributes
    ----------
    methods : tuple of str, length K
        Sorted names.
    first, second : ndarray of int64, shape (n,)
        Positions of the methods shown first and second.
    value : ndarray of float64, shape (n,)
        1 where the first was preferred, 0 where the second was, 0.5 for a tie.
    participant, image : ndarray, shape (n,)
        Labels.
    """

    methods: tuple[str, ...]
    first: IntArray
    second: IntArray
    value: FloatArray
    participant: npt.NDArray[Any]
    image: npt.NDArray[Any]

    @classmethod
    def from_labels(
        cls, first: Labels, second: Labels, value: npt.ArrayLike, participant: Labels, image: Labels
    ) -> Preferences:
        """Check the columns of a table of preferences.

        Parameters
        ----------
        first, second : sequence of str, shape (n,)
            The methods shown first and second.
        value : array_like, shape (n,)
            1 where the first was preferred, 0 where the second was, 0.5 for a tie (a tie is half a win for either).
        participant, image : sequence, shape (n,)
            Labels.

        Raises
        ------
        InputError
            Columns of different length, no trials, other values, or a method shown against itself.
        """
        shown, y = [np.asarray(column).astype(str) for column in (first, second)], np.asarray(value, dtype=np.float64)
        people, pictures = np.asarray(participant), np.asarray(image)
        sizes = {column.size for column in (*shown, y, people, pictures)}
        if len(sizes) != 1 or y.ndim != 1 or y.size == 0:
            raise InputError(
                "first, second, value, participant and image have "
                f"{', '.join(str(column.size) for column in (*shown, y, people, pictures))} entries; one of each per trial "
                "is needed."
            )
        wrong = np.flatnonzero(~np.isin(y, (0.0, 0.5, 1.0)))
        if wrong.size:
            raise InputError(
                f"value[{wrong[0]}] is {y[wrong[0]]:g}; 1 (the first), 0 (the second) or 0.5 (a tie) is allowed."
            )
        same = np.flatnonzero(shown[0] == shown[1])
        if same.size:
            raise InputError(
                f"Trial {same[0]} shows method {shown[0][same[0]]} against itself; two methods are needed."
            )
        names, codes = np.unique(np.concatenate(shown), return_inverse=True)
        codes = codes.astype(np.int64)
        return cls(
            methods=tuple(names.tolist()),
            first=codes[: y.size],
            second=codes[y.size :],
            value=y,
            participant=people,
            image=pictures,
        )

    def of_methods(self, methods: tuple[str, ...]) -> Preferences:
        """The trials in which two of these methods met."""
        position = {name: k for k, name in enumerate(methods)}
        code = np.array([position.get(name, -1) for name in self.methods], dtype=np.int64)
        keep = (code[self.first] >= 0) & (code[self.second] >= 0)
        return Preferences(
            methods=methods,
            first=code[self.first[keep]],
            second=code[self.second[keep]],
            value=self.value[keep],
            participant=self.participant[keep],
            image=self.image[keep],
        )


@dataclass(frozen=True, kw_only=True)
class PairShare:
    """How often one method was preferred to another when the two were shown together.

    Attributes
    ----------
    method_a, method_b : str
        The share is that of A.
    wins_a, wins_b, ties : int
        Trials.
    mean : CrossedMean or None
        Share of A (a tie is half a win) with the two-way interval; None with too few people or images (see `note`).
    p_value : float
        Two-sided, against 50 %; not adjusted.
    note : str
        Why something is missing or conservative.
    """

    method_a: str
    method_b: str
    wins_a: int
    wins_b: int
    ties: int
    mean: CrossedMean | None
    p_value: float
    note: str = ""

    @property
    def n_trials(self) -> int:
        """Trials of the pair."""
        return self.wins_a + self.wins_b + self.ties

    @property
    def estimate(self) -> float:
        """Share of A, ties counted half; 1 or 0 where the pair is separated."""
        return (self.wins_a + 0.5 * self.ties) / self.n_trials

    def seen_from(self, method: str) -> PairShare:
        """The same pair, with `method` as A."""
        if method == self.method_a:
            return self
        mean = self.mean
        if mean is not None:
            mean = replace(
                mean,
                estimate=1.0 - mean.estimate,
                participant_mean=1.0 - mean.participant_mean,
                ci_low=1.0 - mean.ci_high,
                ci_high=1.0 - mean.ci_low,
            )
        return replace(
            self, method_a=self.method_b, method_b=self.method_a, wins_a=self.wins_b, wins_b=self.wins_a, mean=mean
        )


@dataclass(frozen=True, kw_only=True)
class ChoiceShare:
    """How often something was chosen of the trials that had it among several, against chance.

    Attributes
    ----------
    name : str
        A method, or a place.
    n_chosen, n_trials : int
        Trials.
    chance : float
        Share of who does not look: the mean of 1 / (images of a trial).
    mean : CrossedMean or None
        The share with the two-way interval; None with too few people or images (see `note`).
    p_value : float
        Two-sided, against chance; not adjusted. NaN where the share has no standard error.
    note : str
        Why something is missing or conservative.
    """

    name: str
    n_chosen: int
    n_trials: int
    chance: float
    mean: CrossedMean | None
    p_value: float
    note: str = ""


def choice_share(
    name: str,
    chosen: npt.ArrayLike,
    n_alternatives: npt.ArrayLike,
    design: CrossedDesign,
    *,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
) -> ChoiceShare:
    """Share of trials in which one of several was chosen, with the two-way interval.

    Parameters
    ----------
    name : str
    chosen : array_like of bool, shape (n,)
    n_alternatives : array_like of int, shape (n,)
        Images of each trial.
    design : CrossedDesign
        Of these trials.
    estimand, confidence
        As in `pair_shares`.
    """
    y = np.asarray(chosen, dtype=np.float64)
    chance = float(np.mean(1.0 / np.asarray(n_alternatives, dtype=np.float64)))
    mean, note, p_value = None, "", math.nan
    try:
        mean = crossed_mean(y, design, estimand=estimand, confidence=confidence)
        note = mean.note
        if mean.std_error > 0:
            p_value = t_two_sided((mean.estimate - chance) / mean.std_error, mean.df)
    except InputError as error:
        note = str(error)
    return ChoiceShare(
        name=name, n_chosen=int(y.sum()), n_trials=y.size, chance=chance, mean=mean, p_value=p_value, note=note
    )


def win_matrix(preferences: Preferences) -> tuple[FloatArray, IntArray]:
    """Wins of the row method over the column method, and trials of each pair.

    Returns
    -------
    wins : ndarray of float64, shape (K, K)
        A tie counts half for either; the diagonal is 0.
    n_trials : ndarray of int64, shape (K, K)
        Symmetric.
    """
    size = len(preferences.methods)
    wins, n_trials = np.zeros((size, size)), np.zeros((size, size), dtype=np.int64)
    np.add.at(wins, (preferences.first, preferences.second), preferences.value)
    np.add.at(wins, (preferences.second, preferences.first), 1.0 - preferences.value)
    np.add.at(n_trials, (preferences.first, preferences.second), 1)
    return wins, n_trials + n_trials.T


def pair_shares(
    preferences: Preferences, *, estimand: Estimand = "participants+images", confidence: float = 0.95
) -> list[PairShare]:
    """Share of wins of every pair of methods that met, with the two-way interval.

    Parameters
    ----------
    preferences : Preferences
        All trials.
    estimand : {"participants+images", "participants"}
        What the intervals generalise to.
    confidence : float
        Nominal coverage.

    Returns
    -------
    list of PairShare
        In the order of the sorted names. Where a participant met a pair on one image in both orders, the mean of the
        two answers is one answer. A share of exactly 0 or 1 has Clopper and Pearson's interval, as of as many answers
        as there are participants or images, whichever is fewer, and the p-value of the sign test of so many.
    """
    shares = []
    for a, b in itertools.combinations(range(len(preferences.methods)), 2):
        forward = (preferences.first == a) & (preferences.second == b)
        backward = (preferences.first == b) & (preferences.second == a)
        met = forward | backward
        if not met.any():
            continue
        won = np.where(forward, preferences.value, 1.0 - preferences.value)[met]
        mean, note = None, ""
        try:
            mean = _share(won, preferences.participant[met], preferences.image[met], estimand, confidence)
            note = _separated_note(mean, estimand) if math.isnan(mean.std_error) else mean.note
        except InputError as error:
            note = str(error)
        shares.append(
            PairShare(
                method_a=preferences.methods[a],
                method_b=preferences.methods[b],
                wins_a=int(np.sum(won == 1.0)),
                wins_b=int(np.sum(won == 0.0)),
                ties=int(np.sum(won == 0.5)),
                mean=mean,
                p_value=_against_half(mean, estimand),
                note=note,
            )
        )
    return shares


def _share(
    won: FloatArray, participant: npt.NDArray[Any], image: npt.NDArray[Any], estimand: Estimand, confidence: float
) -> CrossedMean:
    design = CrossedDesign.from_labels(participant, image)
    cells, first, cell = np.unique(design.cell, return_index=True, return_inverse=True)
    if cells.size < won.size:  # both orders of a pair on one image: one answer
        won = np.bincount(cell, won) / np.bincount(cell)
        design = CrossedDesign.from_labels(participant[first], image[first])
    if np.all(won == 0.5):
        raise InputError("Every answer is a tie; an interval needs answers that differ.")
    return crossed_mean(won, design, estimand=estimand, confidence=confidence)


def _separated_note(mean: CrossedMean, estimand: Estimand) -> str:
    return (
        "one method won every trial: exact (Clopper-Pearson) interval and sign test, as of "
        f"{counted(_independent_answers(mean, estimand), 'independent answer')} to be on the safe side"
    )


def _against_half(mean: CrossedMean | None, estimand: Estimand) -> float:
    if mean is None:
        return math.nan
    if mean.std_error > 0:
        return t_two_sided((mean.estimate - 0.5) / mean.std_error, mean.df)
    return min(2.0 * 0.5 ** _independent_answers(mean, estimand), 1.0)


def _independent_answers(mean: CrossedMean, estimand: Estimand) -> int:
    """Deliberately few: as if every participant (or image) gave one piece of information."""
    return min(mean.n_participants, mean.n_images) if estimand == "participants+images" else mean.n_participants


def one_sided_bound(share: PairShare, *, estimand: Estimand = "participants+images", confidence: float = 0.95) -> float:
    """Bound of the log odds of a separated pair: at least so much where A always won, at most so much where it never did.

    Parameters
    ----------
    share : PairShare
        Of a pair in which one method won every trial.
    estimand : {"participants+images", "participants"}
        As in `pair_shares`.
    confidence : float
        Of the one-sided bound.

    Returns
    -------
    float
        Logit of the one-sided Clopper-Pearson bound of the share; NaN for other pairs.
    """
    if share.mean is None or share.mean.interval != "clopper-pearson":
        return math.nan
    n = _independent_answers(share.mean, estimand)
    # The two-sided interval of 2 c - 1 has one-sided limits of confidence c.
    low, high = clopper_pearson(n if share.estimate == 1.0 else 0, n, 2.0 * confidence - 1.0)
    bound = low if share.estimate == 1.0 else high
    return math.log(bound / (1.0 - bound))


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A difference of two strengths, or the effect of being shown first, with its interval.

    Attributes
    ----------
    estimate : float
        Logit (or normal quantile) of the chance of winning.
    std_error : float
        From the joint covariance.
    ci_low, ci_high : float
        t interval.
    df : float
        Satterthwaite degrees of freedom.
    p_value : float
        Two-sided, against 0; not adjusted.
    """

    estimate: float
    std_error: float
    ci_low: float
    ci_high: float
    df: float
    p_value: float


@dataclass(frozen=True)
class JointCovariance:
    """Covariance of the strengths and, last, of the order effect where it was estimated.

    Attributes
    ----------
    joint : ndarray of float64, shape (K, K) or (K + 1, K + 1)
        Singular, as strengths sum to 0.
    one_way : tuple of (ndarray, float)
        Covariance by participants (and by images) alone, with its degrees of freedom.
    """

    joint: FloatArray
    one_way: tuple[tuple[FloatArray, float], ...]


@dataclass(frozen=True, kw_only=True)
class PreferenceScale:
    """Strength of each method on a common scale whose mean is 0.

    Attributes
    ----------
    methods : tuple of str, length K
        Sorted names.
    strength : ndarray of float64, shape (K,)
        Logit of winning against a method of strength 0 (Bradley-Terry), or its normal quantile (Thurstone).
    order : Contrast or None
        Effect of being shown first, estimated together with the strengths; None where nobody saw both orders.
    omnibus : OmnibusTest
        Of all strengths being equal.
    link : {"logit", "probit"}
        Bradley-Terry or Thurstone (case V).
    confidence : float
        Nominal coverage of the intervals.
    n_participants, n_images, n_trials : int
        Numbers that entered.
    note : str
        What a reader has to know; empty when there is nothing to say.
    covariance : JointCovariance
        Of the strengths and the order effect. Never combine standard errors of single strengths into that of a
        difference: take `difference`.
    """

    methods: tuple[str, ...]
    strength: FloatArray
    order: Contrast | None
    omnibus: OmnibusTest
    link: Link
    confidence: float
    n_participants: int
    n_images: int
    n_trials: int
    note: str
    covariance: JointCovariance

    def strength_of(self, method: str) -> Contrast:
        """One method's strength, against the mean of all."""
        vector = np.full(len(self.methods), -1.0 / len(self.methods))
        vector[self.methods.index(method)] += 1.0
        return self._contrast(vector)

    def difference(self, method_a: str, method_b: str) -> Contrast:
        """Strength of A minus strength of B, with the standard error from the joint covariance."""
        vector = np.zeros(len(self.methods))
        vector[self.methods.index(method_a)], vector[self.methods.index(method_b)] = 1.0, -1.0
        return self._contrast(vector)

    def _contrast(self, vector: FloatArray) -> Contrast:
        padded = np.append(vector, np.zeros(self.covariance.joint.shape[0] - vector.size))
        return _contrast(padded, float(vector @ self.strength), self.covariance, self.confidence)


def _contrast(vector: FloatArray, estimate: float, parts: JointCovariance, confidence: float) -> Contrast:
    one_way = [(float(vector @ matrix @ vector), levels) for matrix, levels in parts.one_way]
    variance = max(float(vector @ parts.joint @ vector), *(part for part, _ in one_way))
    df = variance**2 / sum(part**2 / levels for part, levels in one_way)
    std_error = math.sqrt(variance)
    half = t_quantile(0.5 + confidence / 2, df) * std_error
    return Contrast(
        estimate=estimate,
        std_error=std_error,
        ci_low=estimate - half,
        ci_high=estimate + half,
        df=df,
        p_value=t_two_sided(estimate / std_error, df),
    )


def preference_scale(
    preferences: Preferences,
    *,
    link: Link = "logit",
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
    with_order: bool = True,
) -> PreferenceScale:
    """Bradley-Terry scale (or Thurstone's, with the probit link) with an effect of being shown first.

    Trials of one participant, or on one image, are not independent, so the covariance is the sandwich with
    participants and images as clusters. There is no Elo: its result depends on the order of trials and has no
    interval.

    Parameters
    ----------
    preferences : Preferences
        All trials; a tie counts as half a win for either.
    link : {"logit", "probit"}
        Bradley-Terry (1952) or Thurstone's case V (1927).
    estimand : {"participants+images", "participants"}
        New people and new images (default), or new people on these images.
    confidence : float
        Nominal coverage.
    with_order : bool
        Whether to estimate the effect of being shown first, where it can be told; not for wins that come from choices among
        several, where places are more than two.

    Returns
    -------
    PreferenceScale
        Strengths with mean 0. Where methods cannot be put on one scale (one never won, or never lost, against the
        rest) the scale is that of the largest group that can, and the note says so.

    Raises
    ------
    InputError
        When no two methods have won against each other, with one participant, or with one image where the claim is
        about new ones.

    Notes
    -----
    With W_P, W_I and W_0 the sandwich's middle parts by participants, images and cells (each times k / (k - 1)), the
    joint covariance is W_0 + (W_P - W_0 + W_I - W_0)_+, which equals W_P + W_I - W_0 [1]_ wherever participants and
    images add to the variance of independent answers; ()_+ is the positive part. The variance of a contrast is not
    below that of either one-way grouping. So no standard error is 0. Degrees of freedom are Satterthwaite's.

    References
    ----------
    .. [1] Cameron, Gelbach, Miller, Robust inference with multiway clustering, JBES 2011.
    """
    if link not in ("logit", "probit"):
        raise InputError(f"link is {link!r}; 'logit' (Bradley-Terry) or 'probit' (Thurstone) is allowed.")
    check_inference(estimand)
    group = _largest_group(preferences)
    notes = []
    if len(group) < len(preferences.methods):
        outside = [name for name in preferences.methods if name not in group]
        notes.append(
            f"{some_names(outside)} always won, always lost or never met the others: no finite distance on a common "
            "scale; read the shares and their one-sided bounds"
        )
        preferences = preferences.of_methods(group)
    design = CrossedDesign.from_labels(preferences.participant, preferences.image)
    if design.n_participants < 2:
        raise InputError("There is one participant; a scale for new participants needs at least two.")
    if design.n_images < 2 and estimand == "participants+images":
        raise InputError("There is one image; a scale for new images needs at least two (or estimand 'participants').")

    size = len(preferences.methods)
    rows = np.arange(preferences.value.size)
    contrast = np.zeros((rows.size, size))
    contrast[rows, preferences.first], contrast[rows, preferences.second] = 1.0, -1.0
    # Columns that span the strengths of mean 0: an orthonormal basis keeps all methods on the same footing.
    basis = np.linalg.svd(np.ones((1, size)))[2][1:].T
    strengths_only = contrast @ basis
    x = np.column_stack([strengths_only, np.ones(rows.size)])
    beta = _fit(x, preferences.value, link) if with_order and np.linalg.matrix_rank(x) == x.shape[1] else None
    if beta is None:
        if with_order:
            notes.append("the effect of being shown first cannot be told from the methods, and is not in the scale")
        with_order = False
        x, beta = strengths_only, _fit(strengths_only, preferences.value, link)
    if beta is None:
        raise InputError(
            f"The strengths of {some_names(preferences.methods)} have no finite estimate; read the shares."
        )
    expand = np.zeros((size + with_order, x.shape[1]))
    expand[:size, : size - 1] = basis
    if with_order:
        expand[size, size - 1] = 1.0
    parts, coefficients = _sandwich(
        x, preferences.value, beta, link=link, design=design, estimand=estimand, expand=expand
    )
    return PreferenceScale(
        methods=preferences.methods,
        strength=basis @ beta[: size - 1],
        order=_contrast(np.eye(size + 1)[size], float(beta[-1]), parts, confidence) if with_order else None,
        omnibus=_omnibus(beta[: size - 1], coefficients[: size - 1, : size - 1], design, estimand),
        link=link,
        confidence=confidence,
        n_participants=design.n_participants,
        n_images=design.n_images,
        n_trials=rows.size,
        note="; ".join(notes),
        covariance=parts,
    )


def _fit(x: FloatArray, value: FloatArray, link: Link) -> FloatArray | None:
    """Maximum likelihood by Fisher scoring; None where it runs to infinity."""
    beta = np.zeros(x.shape[1])
    for _ in range(100):
        score, information = _score_and_information(x @ beta, value, link)
        step = np.linalg.lstsq((x * information[:, None]).T @ x, x.T @ score, rcond=None)[0]
        largest = float(np.max(np.abs(step)))
        beta = beta + step * min(1.0, 2.0 / largest) if largest > 0 else beta
        if np.max(np.abs(beta)) > LARGEST_LOGIT:
            return None
        if largest < 1e-10:
            return np.asarray(beta)
    return None


def _score_and_information(eta: FloatArray, value: FloatArray, link: Link) -> tuple[FloatArray, FloatArray]:
    """Derivative of each trial's log likelihood by eta, and the expected information; a tie is half of either answer."""
    if link == "logit":
        p = 1.0 / (1.0 + np.exp(-eta))
        return value - p, p * (1.0 - p)
    from scipy.special import log_ndtr

    log_density = -0.5 * eta**2 - 0.5 * np.log(2 * np.pi)
    won, lost = np.exp(log_density - log_ndtr(eta)), np.exp(log_density - log_ndtr(-eta))
    return value * won - (1.0 - value) * lost, won * lost


def _sandwich(
    x: FloatArray,
    value: FloatArray,
    beta: FloatArray,
    *,
    link: Link,
    design: CrossedDesign,
    estimand: Estimand,
    expand: FloatArray,
) -> tuple[JointCovariance, FloatArray]:
    """Covariances of strengths and order effect, and the joint covariance of the coefficients themselves."""
    score, information = _score_and_information(x @ beta, value, link)
    # Coordinates in which the information is the identity, so that "positive part" does not depend on the basis.
    factor = np.linalg.inv(np.linalg.cholesky((x * information[:, None]).T @ x))
    whitened = (x @ factor.T) * score[:, None]
    _, cell = np.unique(design.cell, return_inverse=True)
    by_cell = _cluster(whitened, cell)
    one_way = [(_cluster(whitened, design.participant), design.n_participants - 1.0)]
    if estimand == "participants+images":
        one_way.append((_cluster(whitened, design.image), design.n_images - 1.0))
    joint = one_way[0][0]
    if len(one_way) == 2:
        joint = by_cell + positive_part(np.sum([middle - by_cell for middle, _ in one_way], axis=0))
    coefficients = factor.T @ joint @ factor
    outer = expand @ factor.T
    parts = JointCovariance(
        outer @ joint @ outer.T,
        tuple((outer @ middle @ outer.T, df) for middle, df in one_way),
    )
    return parts, np.asarray(coefficients)


def _cluster(score: FloatArray, cluster: IntArray) -> FloatArray:
    """Sum over clusters of (sum of scores)(sum of scores)', times G/(G-1)."""
    groups = int(cluster.max()) + 1
    total = np.zeros((groups, score.shape[1]))
    np.add.at(total, cluster, score)
    return np.asarray(total.T @ total * groups / max(groups - 1, 1))


def _omnibus(beta: FloatArray, covariance: FloatArray, design: CrossedDesign, estimand: Estimand) -> OmnibusTest:
    clusters = design.n_participants - 1.0
    if estimand == "participants+images":
        clusters = min(clusters, design.n_images - 1.0)
    return hotelling(float(beta @ np.linalg.solve(covariance, beta)), beta.size, clusters)


def _largest_group(preferences: Preferences) -> tuple[str, ...]:
    """The largest group of methods that meets Ford's condition: each has won against any other, directly or through others."""
    wins, _ = win_matrix(preferences)
    reach = (wins > 0) | np.eye(len(preferences.methods), dtype=bool)
    for middle in range(len(preferences.methods)):
        reach |= reach[:, [middle]] & reach[[middle], :]
    mutual = reach & reach.T
    largest = int(np.argmax(mutual.sum(axis=1)))
    group = tuple(preferences.methods[k] for k in np.flatnonzero(mutual[largest]))
    if len(group) < 2:
        raise InputError(
            f"No two of {some_names(preferences.methods)} have won against each other, directly or through other methods, "
            "so their distances on a common scale are infinite; read the shares and their one-sided bounds."
        )
    return group
