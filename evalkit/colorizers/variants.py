"""The variants of the reference system that its table compares; names only, so that the command line stays light."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED", "VARIANTS", "Variant"]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What distinguishes one variant from the others.

    Attributes
    ----------
    name : str
        Name on the command line and in tables.
    summary : str
        One line.
    classifies : bool
        A distribution over ab classes, or ab itself (regression).
    rebalanced : bool
        Whether the loss weights rare colours up.
    needs_init : bool
        Whether training starts from a classification network.
    """

    name: str
    summary: str
    classifies: bool
    rebalanced: bool = False
    needs_init: bool = False


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(name="l2", summary="regression of ab, from scratch", classifies=False),
        Variant(
            name="l2-finetuned",
            summary="regression of ab, from the classification network",
            classifies=False,
            needs_init=True,
        ),
        Variant(name="classification", summary="distribution over ab classes, all pixels alike", classifies=True),
        Variant(
            name="full",
            summary="distribution over ab classes, rare colours weighted up",
            classifies=True,
            rebalanced=True,
        ),
    )
}
"""The rows of the table of variants, by name."""

PUBLISHED = ("eccv16", "siggraph17")
"""Networks of the paper authors' release, run from a file that the user has."""
