"""The signature of a number: how it was made, in one line, in the manner of sacreBLEU.

Two numbers are comparable when their signatures agree in all but the release.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evalkit.errors import InputError
from evalkit.metrics import load_metric
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.release import release as this_release

__all__ = [
    "DEFINITIONS",
    "differing_fields",
    "format_run_free_signature",
    "format_signature",
    "parse_signature",
    "short_signatures",
]

DEFINITIONS = 1
"""Number of the definitions: whoever changes what any metric, colour conversion or resizing gives raises it by one.

A release may leave it as it is, and it may rise between two releases. ``tests/evalkit/scoring/test_definitions.py`` holds
the values that every number stands for; ``docs/reference/signatures.md`` says what changed with each.
"""

NO_DIFFERENCE = frozenset({"v"})
"""Fields that say who made a number, not how."""


def format_signature(metric: str, run: Mapping[str, str], own: Mapping[str, str], release: str) -> str:
    """Join the fields: metric, set, number of images, size, the metric's own fields, definitions, release.

    Parameters
    ----------
    metric : str
        Name of the metric; stands first, without a key.
    run : mapping of str to str
        Fields that all metrics of a run share.
    own : mapping of str to str
        Fields of this metric.
    release : str
        Release of the toolkit.

    Examples
    --------
    >>> format_signature("ab_auc", {"set": "own@1a2b3c4d", "n": "8"}, {"quad": "exact150"}, "0.1.0")
    'ab_auc|set:own@1a2b3c4d|n:8|quad:exact150|def:1|v:0.1.0'
    """
    fields = {**run, **own, "def": str(DEFINITIONS), "v": release}
    for key, value in fields.items():
        if set("|:\n") & set(key) or set("|\n") & set(value):
            raise ValueError(f"signature field {key}:{value} holds a separator")
    return "|".join([metric, *(f"{key}:{value}" for key, value in fields.items())])


def format_run_free_signature(metric: str, n_images: int, own: Mapping[str, str]) -> str:
    """The signature of a number that was made of arrays: the set is ``arrays``, for nothing is known of their names."""
    run = {"set": "arrays", "n": str(n_images), "size": "native"}
    return format_signature(metric, run, own, this_release())


def parse_signature(signature: str) -> dict[str, str]:
    """Fields of a signature; the metric under the key ``metric``.

    Examples
    --------
    >>> parse_signature("ab_auc|n:8|def:1|v:0.1.0")
    {'metric': 'ab_auc', 'n': '8', 'def': '1', 'v': '0.1.0'}
    """
    metric, *rest = signature.split("|")
    fields = {"metric": metric}
    for part in rest:
        key, _, value = part.partition(":")
        fields[key] = value
    return fields


def differing_fields(one: str, other: str) -> dict[str, tuple[str, str]]:
    """Fields in which two numbers differ in how they were made, with both values (empty where a field is absent).

    Releases may differ: what a release changed shows in the number of the definitions.

    Examples
    --------
    >>> differing_fields("ab_auc|n:8|def:1|v:0.1.0", "ab_auc|n:9|def:1|v:0.2.0")
    {'n': ('8', '9')}
    """
    first, second = parse_signature(one), parse_signature(other)
    keys = [key for key in dict.fromkeys([*first, *second]) if key not in NO_DIFFERENCE]
    return {k: (first.get(k, ""), second.get(k, "")) for k in keys if first.get(k, "") != second.get(k, "")}


def short_signatures(signatures: Iterable[str]) -> list[str]:
    """Signatures without what goes without saying, those that then agree joined into one.

    Left out are the native size and the fields of a metric that have their default value: the number of the definitions
    (``def``) stands for them. What remains says which images, and what was chosen.

    Parameters
    ----------
    signatures : iterable of str

    Returns
    -------
    list of str
        In the order of the first of each, names of metrics joined by ``+``.

    Examples
    --------
    >>> short_signatures(["psnr_rgb|set:own@1a2b|n:8|size:native|agg:image|peak:255|inf:apart|def:1|v:0.2.0"])
    ['psnr_rgb|set:own@1a2b|n:8|def:1|v:0.2.0']
    """
    names_of: dict[str, dict[str, None]] = {}
    for signature in signatures:
        fields = parse_signature(signature)
        name = fields.pop("metric")
        usual = {"size": "native", **_default_fields(name)}
        rest = "|".join(f"{key}:{value}" for key, value in fields.items() if usual.get(key) != value)
        names_of.setdefault(rest, {})[name] = None
    return [f"{'+'.join(names)}|{rest}" for rest, names in names_of.items()]


def _default_fields(name: str) -> Mapping[str, str]:
    """What a metric's own fields say by default; nothing of one that is not installed here."""
    try:
        return load_metric(name).create(AbErrorOptions()).fields
    except InputError:
        return {}
