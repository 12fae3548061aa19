"""Preference studies: a scale of methods from "which of the two looks more natural?"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from analysis.statistics.crossed import Estimand, Labels
from analysis.statistics.fool_rate import t_quantile
from evalkit.arrays import FloatArray, IntArray
from evalkit.errors import InputError

__all__ = ["PreferenceScale", "WinMatrix", "preference_scale", "win_matrix"]


@dataclass(frozen=True)
class WinMatrix:
    """How often the row method was preferred to the column method.

    Attributes
    ----------
    methods : tuple of str, length K
        Sorted names.
    wins : ndarray of int64, shape (K, K)
        Trials in which row was preferred to column; the diagonal is 0.
    """

    methods: tuple[str, ...]
    wins: IntArray

    @property
    def n_trials(self) -> IntArray:
        """Trials of each pair, shape (K, K), symmetric."""
        return self.wins + self.wins.T

    @property
    def share(self) -> FloatArray:
        """Share of the pair's trials that the row method won, shape (K, K); NaN for pairs never shown."""
        total = self.n_trials
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, self.wins / total, np.nan)


def win_matrix(winner: Labels, loser: Labels) -> WinMatrix:
    """Count the wins of every method over every other.

    Parameters
    ----------
    winner, loser : sequence of str, shape (n,)
        The preferred and the other method of each trial.

    Returns
    -------
    WinMatrix
        Counts over all trials.

    Raises
    ------
    InputError
        Columns of different length, no trials, or a method shown against itself.
    """
    first, second = np.asarray(winner).astype(str), np.asarray(loser).astype(str)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise InputError(f"winner has {first.size} entries and loser {second.size}; one of each per trial is needed.")
    same = np.flatnonzero(first == second)
    if same.size:
        raise InputError(f"Trial {same[0]} shows method {first[same[0]]} against itself; two methods are needed.")
    names, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    wins = np.zeros((names.size, names.size), dtype=np.int64)
    np.add.at(wins, (codes[: first.size], codes[first.size :]), 1)
    return WinMatrix(tuple(names.tolist()), wins)


@dataclass(frozen=True)
class PreferenceScale:
    """Strength of each method on a common scale whose mean is 0.

    Attributes
    ----------
    methods : tuple of str, length K
        Sorted names.
    strength : ndarray of float64, shape (K,)
        Logit of winning against a method of strength 0 (Bradley-Terry), or its normal quantile (Thurstone).
    std_error, ci_low, ci_high : ndarray of float64, shape (K,)
        From the clustered sandwich, t quantile with (clusters - 1) degrees of freedom.
    covariance : ndarray of float64, shape (K, K)
        Of `strength`; singular, as strengths sum to 0.
    df : float
        Degrees of freedom.
    link : {"logit", "probit"}
        Bradley-Terry or Thurstone (case V).
    n_participants, n_trials : int
        Numbers that entered.
    """

    methods: tuple[str, ...]
    strength: FloatArray
    std_error: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    covariance: FloatArray
    df: float
    link: Literal["logit", "probit"]
    n_participants: int
    n_trials: int


def preference_scale(
    winner: Labels,
    loser: Labels,
    participant: Labels,
    image: Labels | None = None,
    *,
    link: Literal["logit", "probit"] = "logit",
    estimand: Estimand = "participants",
    confidence: float = 0.95,
) -> PreferenceScale:
    """Bradley-Terry scale (or Thurstone's, with the probit link) by maximum likelihood.

    Trials of one participant are not independent, so the covariance is the sandwich with participants as
    clusters. There is no Elo: its result depends on the order of trials and has no interval.

    Parameters
    ----------
    winner, loser : sequence of str, shape (n,)
        The preferred and the other method of each trial.
    participant, image : sequence, shape (n,)
        Labels; `image` is needed for the estimand ``participants+images`` only.
    link : {"logit", "probit"}
        Bradley-Terry (1952) or Thurstone's case V (1927).
    estimand : {"participants", "participants+images"}
        Clusters of the sandwich: participants, or participants and images (two-way, V_P + V_I - V_cell, with
        negative eigenvalues set to 0).
    confidence : float
        Nominal coverage.

    Returns
    -------
    PreferenceScale
        Strengths with mean 0.

    Raises
    ------
    InputError
        When methods cannot be put on one scale (some never won, or never lost, against the rest), with one
        participant, or without images where they are needed.
    """
    matrix = win_matrix(winner, loser)
    _check_connected(matrix)
    if link not in ("logit", "probit"):
        raise InputError(f"link is {link!r}; 'logit' (Bradley-Terry) or 'probit' (Thurstone) is allowed.")
    size = len(matrix.methods)
    position = {name: k for k, name in enumerate(matrix.methods)}
    rows = np.arange(np.asarray(winner).size)
    contrast = np.zeros((rows.size, size))
    contrast[rows, [position[str(name)] for name in winner]] = 1.0
    contrast[rows, [position[str(name)] for name in loser]] = -1.0
    # Columns that span the strengths of mean 0: an orthonormal basis keeps all methods on the same footing.
    basis = np.linalg.svd(np.ones((1, size)))[2][1:].T
    x = contrast @ basis
    beta = np.zeros(size - 1)
    for _ in range(100):
        score, information = _score_and_information(x @ beta, link)
        step = np.linalg.solve((x * information[:, None]).T @ x, x.T @ score)
        largest = float(np.max(np.abs(step)))
        beta = beta + step * min(1.0, 2.0 / largest) if largest > 0 else beta
        if largest < 1e-10:
            break
    score, information = _score_and_information(x @ beta, link)
    bread = np.linalg.inv((x * information[:, None]).T @ x)
    people, person = np.unique(np.asarray(participant), return_inverse=True)
    if people.size < 2:
        raise InputError("There is one participant; a scale for new participants needs at least two.")
    meat, df = _cluster(x, score, person), people.size - 1.0
    if estimand == "participants+images":
        if image is None:
            raise InputError("The estimand 'participants+images' needs the image of each trial.")
        pictures, picture = np.unique(np.asarray(image), return_inverse=True)
        if pictures.size < 2:
            raise InputError("There is one image; a scale for new images needs at least two.")
        _, cell = np.unique(person * pictures.size + picture, return_inverse=True)
        meat = meat + _cluster(x, score, picture) - _cluster(x, score, cell)
        value, vector = np.linalg.eigh(meat)
        meat = (vector * np.maximum(value, 0.0)) @ vector.T
        df = min(df, pictures.size - 1.0)
    covariance = basis @ bread @ meat @ bread @ basis.T
    strength = basis @ beta
    std_error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    half = t_quantile(0.5 + confidence / 2, df) * std_error
    return PreferenceScale(
        methods=matrix.methods,
        strength=strength,
        std_error=std_error,
        ci_low=strength - half,
        ci_high=strength + half,
        covariance=covariance,
        df=df,
        link=link,
        n_participants=people.size,
        n_trials=rows.size,
    )


def _score_and_information(eta: FloatArray, link: str) -> tuple[FloatArray, FloatArray]:
    """Derivative of each trial's log likelihood log F(eta), and the expected information."""
    if link == "logit":
        p = 1.0 / (1.0 + np.exp(-eta))
        return 1.0 - p, p * (1.0 - p)
    from scipy.special import log_ndtr

    log_density = -0.5 * eta**2 - 0.5 * np.log(2 * np.pi)
    return np.exp(log_density - log_ndtr(eta)), np.exp(2 * log_density - log_ndtr(eta) - log_ndtr(-eta))


def _cluster(x: FloatArray, score: FloatArray, cluster: npt.NDArray[Any]) -> FloatArray:
    """Sum over clusters of (sum of scores)(sum of scores)', times G/(G-1)."""
    groups = int(cluster.max()) + 1
    total = np.zeros((groups, x.shape[1]))
    np.add.at(total, cluster, x * score[:, None])
    return np.asarray(total.T @ total * groups / max(groups - 1, 1))


def _check_connected(matrix: WinMatrix) -> None:
    """Ford's condition: between any two groups of methods, each has won against the other."""
    reach = (matrix.wins > 0) | np.eye(len(matrix.methods), dtype=bool)
    for middle in range(len(matrix.methods)):
        reach |= reach[:, [middle]] & reach[[middle], :]
    for row, name in enumerate(matrix.methods):
        if not reach[row].all():
            others = _names([matrix.methods[k] for k in np.flatnonzero(~reach[row])])
            raise InputError(
                f"Method {name} never won against {others}, directly or through other methods, so "
                "their distance on a common scale is infinite; read the win matrix, or leave a method out."
            )


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
