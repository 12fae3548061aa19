"""Near 50 % is success: tests that can show it, where "p > 0.05 against 50 %" cannot."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.errors import InputError

__all__ = ["Equivalence", "equivalence", "non_inferiority"]


@dataclass(frozen=True)
class Equivalence:
    """Whether a rate is close to a target, at a declared margin.

    Attributes
    ----------
    p_value : float
        Equivalence: the larger of the two one-sided p-values. Non-inferiority: the one-sided p-value.
    margin, target : float
        Fractions; 0.05 and 0.5 by default.
    shown : bool
        p_value <= level.
    """

    p_value: float
    margin: float
    target: float
    shown: bool


def equivalence(
    estimate: float,
    std_error: float,
    df: float,
    *,
    margin: float = 0.05,
    target: float = 0.5,
    level: float = 0.05,
) -> Equivalence:
    """Two one-sided t tests (Schuirmann 1987) of whether the rate lies within `margin` of `target`.

    Parameters
    ----------
    estimate, std_error, df : float
        Of a rate or a difference, linear scale; NaN (nothing known) gives a p-value of 1.
    margin : float
        Declared before the data came in; above 0.
    target : float
        0.5 for "as real as the photo", 0 for the difference of two methods.
    level : float
        Of each one-sided test.

    Returns
    -------
    Equivalence
        ``shown`` is True when estimate - target lies inside the margin with confidence.

    Raises
    ------
    InputError
        A margin that is not positive.
    """
    low = _upper_tail(estimate - (target - margin), std_error, df, margin)
    high = _upper_tail((target + margin) - estimate, std_error, df, margin)
    p = max(low, high)
    return Equivalence(p, margin, target, p <= level)


def non_inferiority(
    estimate: float,
    std_error: float,
    df: float,
    *,
    margin: float = 0.05,
    target: float = 0.5,
    level: float = 0.05,
) -> Equivalence:
    """One-sided t test of whether the rate lies above ``target - margin``.

    Arguments, result and errors are those of `equivalence`.
    """
    p = _upper_tail(estimate - (target - margin), std_error, df, margin)
    return Equivalence(p, margin, target, p <= level)


def _upper_tail(distance: float, std_error: float, df: float, margin: float) -> float:
    """P(T > distance / std_error): small when the estimate is clearly on the right side of the limit."""
    from scipy.special import stdtr

    if not margin > 0:
        raise InputError(f"The equivalence margin is {margin:g}; a number above 0 is allowed, for example 0.05.")
    if not std_error > 0:  # zero or NaN: nothing can be shown
        return 1.0
    return float(stdtr(df, -distance / std_error))
