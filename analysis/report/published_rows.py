"""Published rows that may stand beside one's own, always marked as published."""

from __future__ import annotations

from dataclasses import dataclass

from evalkit.errors import InputError

__all__ = ["PUBLISHED", "PublishedRow", "published_rows"]


@dataclass(frozen=True, kw_only=True)
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
        PublishedRow(
            method="Ground truth", ab_auc=100.0, ab_auc_rebal=100.0, vgg16_top1=68.3, fooled=50.0, fooled_std_error=None
        ),
        PublishedRow(
            method="Gray", ab_auc=89.1, ab_auc_rebal=58.0, vgg16_top1=52.7, fooled=None, fooled_std_error=None
        ),
        PublishedRow(
            method="Random", ab_auc=84.2, ab_auc_rebal=57.3, vgg16_top1=41.0, fooled=13.0, fooled_std_error=4.4
        ),
        PublishedRow(method="Dahl", ab_auc=90.4, ab_auc_rebal=58.9, vgg16_top1=48.7, fooled=18.3, fooled_std_error=2.8),
        PublishedRow(
            method="Larsson et al.", ab_auc=91.7, ab_auc_rebal=65.9, vgg16_top1=59.4, fooled=27.2, fooled_std_error=2.7
        ),
        PublishedRow(method="L2", ab_auc=91.2, ab_auc_rebal=64.4, vgg16_top1=54.9, fooled=21.2, fooled_std_error=2.5),
        PublishedRow(
            method="L2, fine-tuned", ab_auc=91.5, ab_auc_rebal=66.2, vgg16_top1=56.5, fooled=23.9, fooled_std_error=2.8
        ),
        PublishedRow(
            method="Classification", ab_auc=91.6, ab_auc_rebal=65.1, vgg16_top1=56.6, fooled=25.2, fooled_std_error=2.7
        ),
        PublishedRow(method="Full", ab_auc=89.5, ab_auc_rebal=67.3, vgg16_top1=56.0, fooled=32.3, fooled_std_error=2.2),
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
