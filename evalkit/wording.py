"""Pieces of sentences that are said at many places: counts, lists of names, suggestions, packages to install."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from evalkit.release import DISTRIBUTION

__all__ = [
    "N_NAMED",
    "agree",
    "all_names",
    "counted",
    "did_you_mean",
    "error_reason",
    "install_command",
    "nearest",
    "needs_package",
    "some_names",
    "unknown_name",
]

N_NAMED = 3
"""How many names a sentence gives before it says "and 12 more"."""


def some_names(names: Iterable[object], n_named: int = N_NAMED) -> str:
    """The first names of a list and how many follow.

    >>> some_names(["a.png", "b.png", "c.png", "d.png", "e.png"])
    'a.png, b.png, c.png and 2 more'
    """
    texts = [str(name) for name in names]
    n_more = len(texts) - n_named
    return ", ".join(texts[:n_named]) + (f" and {n_more:,} more" if n_more > 0 else "")


def all_names(names: Iterable[object]) -> str:
    """Every name of a short list.

    >>> all_names(["scipy"]), all_names(["scipy", "jinja2"]), all_names(["scipy", "pandas", "jinja2"])
    ('scipy', 'scipy and jinja2', 'scipy, pandas and jinja2')
    """
    *first, last = map(str, names)
    return f"{', '.join(first)} and {last}" if first else last


def counted(n: int, singular: str, plural: str | None = None) -> str:
    """A count with its noun.

    >>> counted(1, "image"), counted(2, "image"), counted(0, "entry", "entries"), counted(1200, "trial")
    ('1 image', '2 images', '0 entries', '1,200 trials')
    """
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def agree(n: int, singular: str, plural: str) -> str:
    """The form of a verb or pronoun that agrees with a count.

    >>> agree(1, "is", "are"), agree(0, "is", "are"), agree(2, "its", "their")
    ('is', 'are', 'their')
    """
    return singular if n == 1 else plural


def nearest(name: str, allowed: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The allowed name that was probably meant; None where nothing is near.

    >>> nearest("ab_acu", ["ab_auc", "psnr_rgb"])
    'ab_auc'
    """
    import difflib  # here, since only a mistake needs it

    by_folded = {candidate.casefold(): candidate for candidate in allowed}
    matches = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=cutoff)
    return by_folded[matches[0]] if matches else None


def did_you_mean(name: str, allowed: Iterable[str], cutoff: float = 0.6) -> str:
    """What follows a name that does not exist: the nearest one in brackets, or nothing.

    >>> did_you_mean("lite1", ["full", "small", "lite0"])
    " (did you mean 'lite0'?)"
    >>> did_you_mean("x", ["full", "small", "lite0"])
    ''
    """
    near = nearest(name, allowed, cutoff)
    return f" (did you mean '{near}'?)" if near else ""


def unknown_name(what: str, name: str, allowed: Iterable[str], preferred: Iterable[str] = ()) -> str:
    """The sentence about a name that does not exist: the nearest that does, and all of them.

    The beginning of a name means that one, rather one of the `preferred` names than another.

    >>> unknown_name("preset", "zhang2015", ["zhang2016", "ct2-2022"])
    "there is no preset 'zhang2015' (did you mean 'zhang2016'?); allowed are zhang2016, ct2-2022."
    >>> unknown_name("metric", "psnr", ["psnr_ab", "psnr_rgb"], preferred=["psnr_rgb"])
    "there is no metric 'psnr' (did you mean 'psnr_rgb'?); allowed are psnr_ab, psnr_rgb."
    >>> unknown_name("metric", "AB_AUC", ["ab_auc", "ab_auc_rebal"], preferred=["ab_auc", "ab_auc_rebal"])
    "there is no metric 'AB_AUC' (did you mean 'ab_auc'?); allowed are ab_auc, ab_auc_rebal."
    """
    names = list(allowed)
    folded = name.casefold()
    begun = [one for one in (*preferred, *names) if one.casefold() == folded or one.startswith(f"{folded}_")]
    meant = (
        f" (did you mean '{min(begun, key=lambda one: one.casefold() != folded)}'?)"
        if begun
        else did_you_mean(name, names)
    )
    return f"there is no {what} '{name}'{meant}; allowed are {', '.join(names)}."


def install_command(extra: str) -> str:
    """The command that installs what an optional part needs, from where this installation itself came.

    The project is on no package index, so its name alone finds nothing there: the command names the checkout or the
    wheel that was installed (PEP 610 records it), or, where nothing is recorded, a checkout to be run in.

    Parameters
    ----------
    extra : str
        One of the extras in ``pyproject.toml``.

    Returns
    -------
    str
        For example ``pip install "/home/me/colorization-evalkit[networks]"``.
    """
    return f'pip install "{_origin()}[{extra}]"'


def error_reason(error: Exception) -> str:
    r"""The reason in an exception, for the brackets of a sentence that names the file already.

    >>> error_reason(FileNotFoundError(2, "No such file or directory")), error_reason(ValueError("no number"))
    ('no such file or directory', 'no number')
    >>> error_reason(KeyError("methods")), error_reason(UnicodeDecodeError("utf-8", b"\x89", 0, 1, "invalid start byte"))
    ("it has no 'methods'", 'it is not UTF-8 text')
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return str(error)


def needs_package(package: str, purpose: str, extra: str) -> str:
    """The sentence for a package that is not installed.

    Parameters
    ----------
    package : str
        Name of the absent package, or several, as `all_names` gives them.
    purpose : str
        What needs it, as a noun: "the report".
    extra : str
        The extra that brings it.

    Returns
    -------
    str
        What is absent, what needs it and the command that brings it.
    """
    verb = "are" if " and " in package or ", " in package else "is"
    pronoun = "them" if verb == "are" else "it"
    return f"{package} {verb} not installed; for {purpose}, {install_command(extra)} brings {pronoun}."


def _origin() -> str:
    # Here, since only who lacks a package waits for these.
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote, urlsplit

    try:
        record = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        record = None
    if record:
        address = urlsplit(json.loads(record).get("url", ""))
        path = Path(unquote(address.path))
        if address.scheme == "file" and path.exists():
            return str(path)
    return "."
