"""Participants crossed with images: who saw what, and how much each of the two varies.

Every answer of the human test belongs to one participant and one image, and both are samples: other people
and other photos would have given other answers. The model is y = m + participant + image + rest; its three
variances are estimated by moments (equal to the analysis of variance when the design is balanced), which
needs no iteration and works for any pattern of who saw what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evalkit.errors import InputError, check_kind

__all__ = [
    "CrossedDesign",
    "Estimand",
    "OneWayVariances",
    "VarianceComponents",
    "check_inference",
    "one_way_variances",
    "variance_components",
]

from evalkit.arrays import FloatArray, IntArray
from evalkit.wording import agree, counted

Labels = npt.NDArray[Any] | Sequence[Any]
Estimand = Literal["participants+images", "participants"]
"""What an interval generalises to: new people and new images, or new people on these very images."""

MINIMUM_RESIDUAL_DF = 10
"""Below this many residual degrees of freedom a factor that hardly repeats is pooled into the rest."""
ROUNDING = 1e-12
"""A standard error below this share of the spread of the values is rounding: it stands for none."""


def check_inference(estimand: str, confidence: float = 0.95) -> None:
    """Refuse an estimand that there is not, and a confidence that is none.

    Raises
    ------
    InputError
    """
    check_kind("confidence", confidence, Real, "a number between 0 and 1")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence is {confidence}; a number between 0 and 1 is allowed, for example 0.95.")
    if estimand not in ("participants+images", "participants"):
        raise InputError(f"estimand is {estimand!r}; 'participants+images' or 'participants' is allowed.")


@dataclass(frozen=True)
class CrossedDesign:
    """Which participant saw which image, one entry a trial.

    Attributes
    ----------
    participant, image : ndarray of int64, shape (n,)
        Level of each trial, 0 .. P-1 and 0 .. I-1; every level occurs.
    participants, images : ndarray, shapes (P,) and (I,)
        The labels of the levels, sorted.
    """

    participant: IntArray
    image: IntArray
    participants: npt.NDArray[Any]
    images: npt.NDArray[Any]

    @classmethod
    def from_labels(cls, participant: Labels, image: Labels) -> CrossedDesign:
        """Number the levels of two columns of labels (text or integers).

        Raises
        ------
        InputError
            When the columns differ in length or are empty.
        """
        participants, participant_codes = np.unique(np.asarray(participant), return_inverse=True)
        images, image_codes = np.unique(np.asarray(image), return_inverse=True)
        if participant_codes.shape != image_codes.shape or participant_codes.ndim != 1:
            raise InputError(
                f"participant has {counted(participant_codes.size, 'entry', 'entries')} and image has {image_codes.size}; "
                "one of each per trial is needed."
            )
        if participant_codes.size == 0:
            raise InputError("There are no trials; at least two participants and two images are needed.")
        return cls(participant_codes.astype(np.int64), image_codes.astype(np.int64), participants, images)

    @classmethod
    def joined(cls, a: CrossedDesign, b: CrossedDesign) -> CrossedDesign:
        """The trials of `a`, then those of `b`; equal labels are the same participant or image."""
        participant, participants = _joined(a.participant, a.participants, b.participant, b.participants)
        image, images = _joined(a.image, a.images, b.image, b.images)
        return cls(participant, image, participants, images)

    def subset(self, keep: npt.NDArray[Any]) -> CrossedDesign:
        """The trials at `keep` (a mask or positions, one at least), without sorting labels anew."""
        participant, participants = _renumbered(self.participant[keep], self.participants)
        image, images = _renumbered(self.image[keep], self.images)
        return CrossedDesign(participant, image, participants, images)

    def one_image_per_trial(self) -> CrossedDesign:
        """The same participants where images do not matter: every trial stands for an image of its own."""
        number = np.arange(self.n_trials)
        return CrossedDesign(self.participant, number, self.participants, number)

    @property
    def n_trials(self) -> int:
        """Number of trials n."""
        return self.participant.size

    @property
    def n_participants(self) -> int:
        """Number of participants P."""
        return self.participants.size

    @property
    def n_images(self) -> int:
        """Number of images I."""
        return self.images.size

    @cached_property
    def trials_per_participant(self) -> FloatArray:
        """Trials of each participant n_p, shape (P,)."""
        return np.bincount(self.participant, minlength=self.n_participants).astype(np.float64)

    @cached_property
    def trials_per_image(self) -> FloatArray:
        """Trials of each image n_i, shape (I,)."""
        return np.bincount(self.image, minlength=self.n_images).astype(np.float64)

    @cached_property
    def participant_repetition(self) -> float:
        """nu_P = sum n_p^2 / n: how often the participant of an average trial occurs."""
        return float(np.sum(self.trials_per_participant**2) / self.n_trials)

    @cached_property
    def image_repetition(self) -> float:
        """nu_I = sum n_i^2 / n: how often the image of an average trial occurs."""
        return float(np.sum(self.trials_per_image**2) / self.n_trials)

    @property
    def residual_df(self) -> int:
        """N - P - I + 1, the degrees of freedom that participants and images leave."""
        return self.n_trials - self.n_participants - self.n_images + 1

    @cached_property
    def cell(self) -> IntArray:
        """Number of the (participant, image) cell of each trial, shape (n,)."""
        return self.participant * self.n_images + self.image

    def first_duplicate(self) -> tuple[int, int] | None:
        """Positions of the first two trials of one participant on one image, or None."""
        order = np.argsort(self.cell, kind="stable")
        same = np.flatnonzero(np.diff(self.cell[order]) == 0)
        if same.size == 0:
            return None
        pairs = np.column_stack([order[same], order[same + 1]])
        first, second = pairs[np.argmin(pairs[:, 1])]
        return int(first), int(second)

    def refuse_duplicates(self) -> None:
        """Raise when a participant met an image twice: a repeated answer is not an independent one.

        Raises
        ------
        InputError
            Naming participant, image and both positions.
        """
        duplicate = self.first_duplicate()
        if duplicate is None:
            return
        first, second = duplicate
        raise InputError(
            f"Participant {self.participants[self.participant[first]]!s} has two trials of image "
            f"{self.images[self.image[first]]!s} (entries {first} and {second}, counted from 0); "
            "at most one trial per participant, image and method is allowed."
        )


def _joined(
    code_a: IntArray, labels_a: npt.NDArray[Any], code_b: IntArray, labels_b: npt.NDArray[Any]
) -> tuple[IntArray, npt.NDArray[Any]]:
    labels = np.union1d(labels_a, labels_b)
    return np.concatenate(
        [np.searchsorted(labels, labels_a)[code_a], np.searchsorted(labels, labels_b)[code_b]]
    ).astype(np.int64), labels


def _renumbered(code: IntArray, labels: npt.NDArray[Any]) -> tuple[IntArray, npt.NDArray[Any]]:
    """Codes without gaps, and the labels that still occur."""
    occurs = np.bincount(code, minlength=labels.size) > 0
    return (np.cumsum(occurs) - 1)[code].astype(np.int64), labels[occurs]


@dataclass(frozen=True)
class OneWayVariances:
    """Variance of the mean when trials are grouped one way only (no small-sample factor).

    Attributes
    ----------
    participant : float
        V_P = sum over participants of (sum of r)^2, with r = (y - mean) / n.
    image : float
        V_I, the same over images.
    cell : float
        V_0, the same over (participant, image) cells; sum of r^2 when nothing repeats.
    """

    participant: float
    image: float
    cell: float


def one_way_variances(values: npt.ArrayLike, design: CrossedDesign) -> OneWayVariances:
    """V_P, V_I and V_0 of the mean of `values`.

    Parameters
    ----------
    values : array_like, shape (n,)
        Answers, 1 where fooled (or any number).
    design : CrossedDesign
        Who saw what.

    Returns
    -------
    OneWayVariances
        Repeating every trial leaves all three unchanged.
    """
    y = _checked(values, design)
    r = (y - y.mean()) / y.size
    _, cell = np.unique(design.cell, return_inverse=True)
    return OneWayVariances(
        participant=float(np.sum(np.bincount(design.participant, r) ** 2)),
        image=float(np.sum(np.bincount(design.image, r) ** 2)),
        cell=float(np.sum(np.bincount(cell, r) ** 2)),
    )


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """How much participants, images and everything else vary, and what that makes of the mean.

    Attributes
    ----------
    participant, image, residual : float
        s_P^2, s_I^2 and s_E^2, each at least 0, in squared units of the values.
    variance : float
        Variance of the overall mean for new participants and new images.
    df : float
        Satterthwaite degrees of freedom of that variance.
    pooled : {None, "image", "participant"}
        The factor that hardly repeats in this design, so that its variance cannot be told from the residual
        and is counted there.
    """

    participant: float
    image: float
    residual: float
    variance: float
    df: float
    pooled: Literal["image", "participant"] | None

    @property
    def participant_share(self) -> float:
        """Share of the variance of one answer that lies between participants (intraclass correlation)."""
        return self.participant / (self.participant + self.image + self.residual)

    @property
    def image_share(self) -> float:
        """Share of the variance of one answer that lies between images."""
        return self.image / (self.participant + self.image + self.residual)


def variance_components(values: npt.ArrayLike, design: CrossedDesign) -> VarianceComponents:
    """Crossed variance components by the method of moments, with Satterthwaite degrees of freedom.

    Three sums of squares are equated to their expectations (Henderson's method on uncorrected sums):
    within participants, E U_P = (n - P)(s_I^2 + s_E^2); within images, E U_I = (n - I)(s_P^2 + s_E^2); and
    total, E U_E = (n - nu_P) s_P^2 + (n - nu_I) s_I^2 + (n - 1) s_E^2. Negative solutions count as 0.

    Parameters
    ----------
    values : array_like, shape (n,)
        Answers, 1 where fooled (or any number); not all the same.
    design : CrossedDesign
        Who saw what, each cell at most once.

    Returns
    -------
    VarianceComponents
        Components, variance of the mean and its degrees of freedom.

    Raises
    ------
    InputError
        For a single participant or image, and when all values are the same.

    Notes
    -----
    When fewer than ten residual degrees of freedom are left because the images (or the participants) hardly
    repeat, their component cannot be told from the residual. It is then counted there, which changes nothing
    in the variance of the mean (their repetition nu is close to 1), and the degrees of freedom are those of
    the other factor.

    References
    ----------
    .. [1] Searle, Casella, McCulloch, *Variance Components*, Wiley 1992, chapter 5.
    .. [2] Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin
       1946.
    """
    y = _checked(values, design)
    n, n_p, n_i = design.n_trials, design.n_participants, design.n_images
    if n_p < 2 or n_i < 2:
        raise InputError(
            f"There are {_count(n_p, 'participant')} and {_count(n_i, 'image')}; how much participants and "
            "images vary can only be estimated from at least two of each."
        )
    total = float(np.sum((y - y.mean()) ** 2))
    if total <= 0.0:
        raise InputError(
            f"All {counted(n, 'value')} {agree(n, 'is', 'are')} {y[0]:g}, so there is no variance to divide into components."
        )
    nu_p, nu_i = design.participant_repetition, design.image_repetition
    within_p = _within(y, design.participant, design.trials_per_participant)
    within_i = _within(y, design.image, design.trials_per_image)
    pooled = _hardly_repeats(design)

    s_p = s_i = 0.0
    if pooled is None:
        system = [[0.0, n - n_p, n - n_p], [n - n_i, 0.0, n - n_i], [n - nu_p, n - nu_i, n - 1.0]]
        s_p, s_i, s_e = np.maximum(np.linalg.solve(system, [within_p, within_i, total]), 0.0).tolist()
    elif pooled == "image":
        s_p, s_e = _one_factor(within_p, total, n, n_p, nu_p)
    else:
        s_i, s_e = _one_factor(within_i, total, n, n_i, nu_i)

    variance = (nu_p * s_p + nu_i * s_i + s_e) / n
    if pooled == "image":
        df = n_p - 1.0
    elif pooled == "participant":
        df = n_i - 1.0
    else:
        a, b, e = (nu_p * s_p + s_e) / n, (nu_i * s_i + s_e) / n, s_e / n
        df = variance**2 / (a**2 / (n_p - 1) + b**2 / (n_i - 1) + e**2 / max(design.residual_df, 1))
    return VarianceComponents(participant=s_p, image=s_i, residual=s_e, variance=variance, df=df, pooled=pooled)


def _within(y: FloatArray, level: IntArray, count: FloatArray) -> float:
    """Sum of squares around the mean of each level: sum y^2 - sum S^2/n_level, without its cancellation."""
    mean = np.bincount(level, y) / count
    return float(np.sum((y - mean[level]) ** 2))


def _hardly_repeats(design: CrossedDesign) -> Literal["image", "participant"] | None:
    """The factor that cannot be told from the residual, if any."""
    if design.residual_df >= MINIMUM_RESIDUAL_DF:
        return None
    # Small but complete tables (4 x 4) leave few degrees of freedom too; there both factors do repeat.
    if min(design.image_repetition, design.participant_repetition) >= 2.0:
        return None
    return "image" if design.image_repetition <= design.participant_repetition else "participant"


def _one_factor(within: float, total: float, n: int, levels: int, repetition: float) -> tuple[float, float]:
    """Components (factor, residual) when the other factor is pooled into the residual."""
    if n == levels:  # every level occurs once: nothing but the total is known
        return 0.0, total / (n - 1)
    residual = within / (n - levels)
    return max((total - (n - 1) * residual) / (n - repetition), 0.0), residual


def _checked(values: npt.ArrayLike, design: CrossedDesign) -> FloatArray:
    y = np.asarray(values, dtype=np.float64)
    if y.shape != (design.n_trials,):
        raise InputError(f"values has shape {y.shape}; one number per trial, shape ({design.n_trials},), is needed.")
    if not np.isfinite(y).all():
        bad = int(np.flatnonzero(~np.isfinite(y))[0])
        raise InputError(
            f"values[{bad}] is {y[bad]}; only finite numbers are allowed (leave unanswered trials out and count them)."
        )
    return y


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
