"""A preference study with its labels: shares, common scale, differences and order effect, above `statistics.preference`."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from analysis.records import PairTable, Row
from analysis.statistics.crossed import Estimand
from analysis.statistics.equivalence import equivalence
from analysis.statistics.preference import (
    ChoiceShare,
    Contrast,
    PairShare,
    Preferences,
    PreferenceScale,
    choice_share,
    one_sided_bound,
    pair_shares,
    preference_scale,
)
from analysis.trials.choices import as_pairs, chosen_methods, is_shown, n_shown
from analysis.trials.columns import PLACES
from analysis.trials.trial_files import as_trials
from analysis.trials.trial_table import TrialTable
from evalkit.arrays import BoolArray
from evalkit.errors import InputError
from evalkit.plotting import COLOURS, chosen_axes
from evalkit.resampling.multiplicity import holm
from evalkit.shown import ShownAsTable
from evalkit.wording import counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["PreferenceDifference", "PreferenceDifferences", "PreferenceResults", "analyze_preferences"]


@dataclass(frozen=True, kw_only=True)
class PreferenceDifference:
    """One row of ``preference_comparisons.csv``: two methods, as they met and on the common scale.

    Attributes
    ----------
    method_a, method_b : str
        A minus B; with a baseline, B is the baseline.
    share : PairShare or None
        Share of A of the trials of this pair; None where the two never met.
    difference : Contrast or None
        Strength of A minus strength of B; None where it has no finite estimate.
    bound : float
        One-sided bound of the difference where one of the two won every trial: at least (A won) or at most; else NaN.
    p_value : float
        Of the difference on the scale, else of the share against 50 %; two-sided, not adjusted.
    p_holm : float
        Adjusted for the family of all rows of the table.
    equivalence_p, equivalence_p_holm : float
        p-value of a share within the declared margin of 50 %, and the same adjusted for the family.
    note : str
        What a reader has to know.
    subset : str
        ``all`` or ``after exclusions``.
    """

    method_a: str
    method_b: str
    share: PairShare | None
    difference: Contrast | None
    bound: float
    p_value: float
    p_holm: float
    equivalence_p: float
    equivalence_p_holm: float
    note: str
    subset: str

    def row(self) -> Row:
        """Columns of ``preference_comparisons.csv``."""
        share, found = self.share, self.difference
        mean = share.mean if share else None
        return {
            "method_a": self.method_a,
            "method_b": self.method_b,
            "wins_a": share.wins_a if share else 0,
            "wins_b": share.wins_b if share else 0,
            "ties": share.ties if share else 0,
            "share": share.estimate if share else math.nan,
            "share_std_error": mean.std_error if mean else math.nan,
            "share_ci_low": mean.ci_low if mean else math.nan,
            "share_ci_high": mean.ci_high if mean else math.nan,
            "n_participants": mean.n_participants if mean else 0,
            "n_images": mean.n_images if mean else 0,
            "difference": found.estimate if found else math.nan,
            "std_error": found.std_error if found else math.nan,
            "ci_low": found.ci_low if found else math.nan,
            "ci_high": found.ci_high if found else math.nan,
            "df": found.df if found else math.nan,
            "bound": self.bound,
            "p_value": self.p_value,
            "p_holm": self.p_holm,
            "equivalence_p": self.equivalence_p,
            "equivalence_p_holm": self.equivalence_p_holm,
            "subset": self.subset,
            "note": self.note,
        }


@dataclass(frozen=True, repr=False)
class PreferenceDifferences(PairTable[PreferenceDifference]):
    """Differences of a declared family: ``differences['mine', 'theirs']``, or by position."""

    title: ClassVar[str] = "Preference of A over B; differences on the scale; p adjusted for the family (Holm)"
    shown: ClassVar[tuple[str, ...]] = (
        "method_a", "method_b", "share", "difference", "ci_low", "ci_high", "p_value", "p_holm", "note",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, repr=False)
class PreferenceResults(ShownAsTable):
    """Everything that a preference study says.

    Attributes
    ----------
    methods : tuple of str
        Strongest first where there is a scale, else sorted.
    shares : tuple of PairShare
        Of every pair that met.
    scale : PreferenceScale or None
        None where no two methods can be put on one.
    differences : PreferenceDifferences
        All pairs, or every method against the baseline.
    notes : tuple of str
        Sentences a reader has to know.
    subset : str
        ``all`` or ``after exclusions``.
    choices, places : tuple of ChoiceShare
        Of studies whose trials are choices among several: how often each method was chosen of the trials that showed it,
        and each place. Shares of pairs are then of the trials in which one of the two was chosen.
    seeks_real : bool
        Whether the real photo was asked for: being chosen means being taken for it, and the share of ``truth`` is that of the
        trials in which it was found.
    """

    methods: tuple[str, ...]
    shares: tuple[PairShare, ...]
    scale: PreferenceScale | None
    differences: PreferenceDifferences
    notes: tuple[str, ...]
    subset: str
    choices: tuple[ChoiceShare, ...] = ()
    places: tuple[ChoiceShare, ...] = ()
    seeks_real: bool = False

    def shown_title(self) -> str:
        """What the rows are."""
        if self.seeks_real:
            n_shown = round(1.0 / self.choices[0].chance)
            return f"Search for the real photo among {n_shown}, strongest first: {', '.join(self.methods)}"
        return f"Preference study of {counted(len(self.methods), 'method')}, strongest first: {', '.join(self.methods)}"

    def shown_rows(self) -> list[Row]:
        """The differences."""
        return self.differences.shown_rows()

    def to_frame(self) -> pd.DataFrame:
        """The differences of all pairs, or against the baseline, as a pandas DataFrame."""
        return self.differences.to_frame()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw every method's strength on the common scale with its interval, strongest at the top, as the report does.

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
            If there is no common scale, since no chain of comparisons joins the methods, or matplotlib is not installed.
        """
        scale = self.scale
        if scale is None:
            raise InputError(
                "these methods have no common scale, so there is nothing to draw; to_frame() has their pairs"
            )
        axes = chosen_axes(ax)
        shown = [method for method in self.methods if method in scale.methods]
        axes.axvline(0, color="0.6", linewidth=0.8, linestyle="--")
        for position, method in enumerate(reversed(shown)):
            strength = scale.strength_of(method)
            axes.plot([strength.ci_low, strength.ci_high], [position, position], color=COLOURS[0], linewidth=1.4,
                      solid_capstyle="butt")  # fmt: skip
            axes.plot(strength.estimate, position, marker="o", color=COLOURS[0], markersize=4.5)
        axes.set_yticks(range(len(shown)), labels=list(reversed(shown)))
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.set_xlabel("strength (logit of winning against the mean)")
        axes.tick_params(axis="y", length=0)
        return axes

    def share(self, method_a: str, method_b: str) -> PairShare | None:
        """Share of the pair, in whichever order it is kept; None where the two never met."""
        for share in self.shares:
            if {share.method_a, share.method_b} == {method_a, method_b}:
                return share
        return None

    def choice_rows(self) -> list[Row]:
        """Rows of ``choice_shares.csv``: methods, then places; none where trials show two."""
        return [
            {
                "quantity": quantity,
                "name": share.name,
                "n_chosen": share.n_chosen,
                "n_trials": share.n_trials,
                "share": share.n_chosen / share.n_trials,
                "chance": share.chance,
                "std_error": share.mean.std_error if share.mean else math.nan,
                "ci_low": share.mean.ci_low if share.mean else math.nan,
                "ci_high": share.mean.ci_high if share.mean else math.nan,
                "df": share.mean.df if share.mean else math.nan,
                "p_value": share.p_value,
                "n_participants": share.mean.n_participants if share.mean else 0,
                "n_images": share.mean.n_images if share.mean else 0,
                "subset": self.subset,
                "note": share.note,
            }
            for quantity, shares in (("method", self.choices), ("place", self.places))
            for share in shares
        ]

    def win_rows(self) -> list[Row]:
        """Rows of ``win_matrix.csv``: every ordered pair that met."""
        rows: list[Row] = []
        for method in self.methods:
            for other in self.methods:
                met = self.share(method, other) if other != method else None
                if met is None:
                    continue
                share, mean = met.seen_from(method), met.seen_from(method).mean
                rows.append(
                    {
                        "method": method,
                        "other": other,
                        "wins": share.wins_a,
                        "ties": share.ties,
                        "n_trials": share.n_trials,
                        "share": share.estimate,
                        "std_error": mean.std_error if mean else math.nan,
                        "ci_low": mean.ci_low if mean else math.nan,
                        "ci_high": mean.ci_high if mean else math.nan,
                        "n_participants": mean.n_participants if mean else 0,
                        "n_images": mean.n_images if mean else 0,
                        "subset": self.subset,
                        "note": share.note,
                    }
                )
        return rows

    def scale_rows(self) -> list[Row]:
        """Rows of ``preference_scale.csv``: strongest first, then the effect of being shown first."""
        scale = self.scale
        if scale is None:
            return []
        strengths = [
            (method, "strength", scale.strength_of(method)) for method in self.methods if method in scale.methods
        ]
        order = [("shown first", "order effect", scale.order)] if scale.order else []
        return [
            {
                "method": name,
                "quantity": quantity,
                "strength": found.estimate,
                "std_error": found.std_error,
                "ci_low": found.ci_low,
                "ci_high": found.ci_high,
                "df": found.df,
                "p_value": found.p_value,
                "link": scale.link,
                "n_participants": scale.n_participants,
                "n_images": scale.n_images,
                "n_trials": scale.n_trials,
                "omnibus_f": scale.omnibus.statistic,
                "omnibus_df_numerator": scale.omnibus.df_numerator,
                "omnibus_df_denominator": scale.omnibus.df_denominator,
                "omnibus_p": scale.omnibus.p_value,
                "subset": self.subset,
                "note": scale.note,
            }
            for name, quantity, found in [*strengths, *order]
        ]


def analyze_preferences(
    trials: TrialTable | pd.DataFrame,
    *,
    baseline: str | None = None,
    estimand: Estimand = "participants+images",
    confidence: float = 0.95,
    equivalence_margin: float = 0.05,
    subset: str = "all",
) -> PreferenceResults:
    """Shares of all pairs, the Bradley-Terry scale, and the differences of a declared family.

    Parameters
    ----------
    trials : TrialTable or pandas.DataFrame
        Of a preference study; practice and unscored trials do not enter.
    baseline : str
        Compare every other method with this one; by default all pairs.
    estimand : {"participants+images", "participants"}
        What intervals generalise to.
    confidence : float
        Nominal coverage.
    equivalence_margin : float
        Around a share of 50 %, as a fraction.
    subset : str
        Written into every row.

    Returns
    -------
    PreferenceResults
        With a note in place of whatever cannot be computed.

    Raises
    ------
    InputError
        Another kind of study, no scored test trials, or a baseline that is no method of the study.
    """
    trials = as_trials(trials)
    if trials.preset != "preference":
        raise InputError(f"{trials.source} is no preference study; it has rates, not shares of pairs.")
    test = trials.of_kind("test")
    if len(test) == 0:
        raise InputError(f"{trials.source} has no scored test trials; answers of kind test are needed.")
    if baseline is not None and baseline not in test.methods:
        raise InputError(
            f"The baseline {baseline!r} is not a method of {trials.source}; it has {', '.join(test.methods)}."
        )
    pairs_of = as_pairs(test)
    preferences = Preferences.from_labels(
        pairs_of["method_first"],
        pairs_of["method_second"],
        pairs_of.value,
        pairs_of["participant"],
        pairs_of["image"],
    )
    is_pairwise = test.n_alternatives == 2
    shares = pair_shares(preferences, estimand=estimand, confidence=confidence)
    scale, notes = None, []
    try:
        scale = preference_scale(preferences, estimand=estimand, confidence=confidence, with_order=is_pairwise)
        notes += [scale.note] if scale.note else []
    except InputError as error:
        notes.append(str(error))
    methods = preferences.methods
    if scale is not None:
        strength = dict(zip(scale.methods, scale.strength.tolist(), strict=True))
        methods = tuple(sorted(methods, key=lambda name: -strength.get(name, _side(name, shares))))
    results = PreferenceResults(
        methods=methods,
        shares=tuple(shares),
        scale=scale,
        differences=PreferenceDifferences(()),
        notes=tuple(notes),
        subset=subset,
        seeks_real=test.seeks_real,
    )
    if not is_pairwise:
        by_method, by_place = _choices(test, methods, estimand, confidence)
        results = replace(results, choices=by_method, places=by_place)
    pairs = [(m, baseline) for m in methods if m != baseline] if baseline else list(itertools.combinations(methods, 2))
    rows = [_difference(results, a, b, estimand, confidence, equivalence_margin) for a, b in pairs]
    adjusted = holm([row["p_value"] for row in rows]).tolist()
    equal = holm([row["equivalence_p"] for row in rows]).tolist()
    differences = tuple(
        PreferenceDifference(**row, p_holm=p, equivalence_p_holm=q)
        for row, p, q in zip(rows, adjusted, equal, strict=True)
    )
    return replace(results, differences=PreferenceDifferences(differences))


def _choices(
    test: TrialTable, methods: tuple[str, ...], estimand: Estimand, confidence: float
) -> tuple[tuple[ChoiceShare, ...], tuple[ChoiceShare, ...]]:
    """How often each method, and each place, was chosen of the trials that had it."""
    several = test.where(n_shown(test) > 2)

    def share(name: str, of: TrialTable, chosen: BoolArray) -> ChoiceShare:
        return choice_share(name, chosen, n_shown(of), of.design, estimand=estimand, confidence=confidence)

    by_method, by_place = [], []
    for method in methods:
        own = several.where(is_shown(several, method))
        if len(own):
            by_method.append(share(method, own, chosen_methods(own) == method))
    for place, name in zip(PLACES, several.method_columns, strict=False):
        own = several.where(several[name] != "")
        if len(own):
            by_place.append(share(place, own, own["response"] == place))
    return tuple(by_method), tuple(by_place)


def _side(method: str, shares: list[PairShare]) -> float:
    """Where a method without a finite strength belongs: above or below all others."""
    own = [
        s.estimate if s.method_a == method else 1.0 - s.estimate for s in shares if method in (s.method_a, s.method_b)
    ]
    return math.inf if own and sum(own) / len(own) > 0.5 else -math.inf


def _difference(
    results: PreferenceResults, a: str, b: str, estimand: Estimand, confidence: float, margin: float
) -> Row:
    met = results.share(a, b)
    share = met.seen_from(a) if met else None
    scale = results.scale
    on_scale = scale is not None and a in scale.methods and b in scale.methods
    found = scale.difference(a, b) if scale is not None and on_scale else None
    bound, notes = math.nan, [share.note] if share and share.note else []
    if found is None and share is not None:
        bound = one_sided_bound(share, estimand=estimand, confidence=confidence)
    if share is None:
        notes.append("the two were never shown together; the difference rests on the others")
    p = found.p_value if found else (share.p_value if share else math.nan)
    equal = math.nan
    if share and share.mean:
        equal = equivalence(share.mean.estimate, share.mean.std_error, share.mean.df, margin=margin).p_value
    return {
        "method_a": a,
        "method_b": b,
        "share": share,
        "difference": found,
        "bound": bound,
        "p_value": p,
        "equivalence_p": equal,
        "note": "; ".join(notes),
        "subset": results.subset,
    }
