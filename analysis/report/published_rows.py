"""Published rows that may stand beside one's own, always marked as published."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.errors import InputError

__all__ = ["PUBLISHED", "PublishedRow", "published_rows"]


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published table.

    Attributes
    ----------
    method : str
        As named there.
    ab_auc, ab_auc_rebal, vgg16_top1 : float
        Percent.
    fooled, fooled_std_error : float or None
        Percent; None where not tested.
    """

    method: str
    ab_auc: float
    ab_auc_rebal: float
    vgg16_top1: float
    fooled: float | None
    fooled_std_error: float | None


PUBLISHED: dict[str, tuple[PublishedRow, ...]] = {
    # Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016, table 1; 10,000 images of ImageNet.
    "zhang2016": (
        PublishedRow("Ground truth", 100.0, 100.0, 68.3, 50.0, None),
        PublishedRow("Gray", 89.1, 58.0, 52.7, None, None),
        PublishedRow("Random", 84.2, 57.3, 41.0, 13.0, 4.4),
        PublishedRow("Dahl", 90.4, 58.9, 48.7, 18.3, 2.8),
        PublishedRow("Larsson et al.", 91.7, 65.9, 59.4, 27.2, 2.7),
        PublishedRow("L2", 91.2, 64.4, 54.9, 21.2, 2.5),
        PublishedRow("L2, fine-tuned", 91.5, 66.2, 56.5, 23.9, 2.8),
        PublishedRow("Classification", 91.6, 65.1, 56.6, 25.2, 2.7),
        PublishedRow("Full", 89.5, 67.3, 56.0, 32.3, 2.2),
    ),
}


def published_rows(name: str) -> tuple[PublishedRow, ...]:
    """Rows by the name of the paper.

    Raises
    ------
    InputError
        For a paper that is not known.
    """
    if name not in PUBLISHED:
        raise InputError(f"There is no published table {name!r}; {', '.join(PUBLISHED)} is allowed.")
    return PUBLISHED[name]
