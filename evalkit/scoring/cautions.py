"""Cautions of a run, taken apart by what they are about, so that each travels with the numbers that need it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from evalkit.wording import counted

__all__ = ["Cautioned", "cautions_about", "cautions_by_method", "cautions_of_score"]


class Cautioned(Protocol):
    """What a number of the summary says of itself."""

    @property
    def reason(self) -> str:
        """Why it is missing, or rests on fewer images; empty otherwise."""

    @property
    def n_images(self) -> int:
        """Images that carry it."""


def cautions_by_method(warnings: Iterable[str], methods: Sequence[str]) -> dict[str, list[str]]:
    """Warnings of a run by the method that they are about, without its name; those about all of it under ""."""
    by_method: dict[str, list[str]] = {}
    for warning in warnings:
        about = next((name for name in methods if warning.startswith(f"method {name}: ")), "")
        text = warning.removeprefix(f"method {about}: ") if about else warning
        by_method.setdefault(about, []).append(text)
    return by_method


def cautions_of_score(score: Cautioned, n_images: int) -> list[str]:
    """Why a number is missing, or that it rests on fewer images than the method has."""
    if score.reason:
        return [score.reason]
    is_partial = 0 < score.n_images < n_images
    return [f"over {score.n_images:,} of {counted(n_images, 'image')}"] if is_partial else []


def cautions_about(
    metric: str,
    methods: Iterable[str],
    *,
    warnings: Iterable[str],
    summary: Mapping[tuple[str, str], Cautioned],
) -> tuple[str, ...]:
    """What a reader of a number that is made of one metric of some methods should know.

    Parameters
    ----------
    metric : str
    methods : iterable of str
        Those behind the number.
    warnings : iterable of str
        Of the run.
    summary : mapping of (method, metric) to number
        All of the run.

    Returns
    -------
    tuple of str
        Cautions of the run but for those about other metrics, then those of each method and of its number, by its name.
    """
    names = dict.fromkeys(method for method, _ in summary)
    by_method = cautions_by_method(warnings, list(names))
    of_other_metrics = tuple(f"{name} " for name in dict.fromkeys(name for _, name in summary) if name != metric)
    cautions = [text for text in by_method.get("", ()) if not text.startswith(of_other_metrics)]
    for method in methods:
        own = list(by_method.get(method, ()))
        score = summary.get((method, metric))
        if score is not None:
            n_images = max(one.n_images for (name, _), one in summary.items() if name == method)
            own += cautions_of_score(score, n_images)
        cautions += [f"{method}: {text}" for text in own]
    return tuple(dict.fromkeys(cautions))
