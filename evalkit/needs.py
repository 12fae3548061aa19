"""Says in one sentence that an optional package is missing, before anything imports it."""

from __future__ import annotations

from importlib.util import find_spec

from evalkit.errors import InputError
from evalkit.wording import all_names, needs_package

__all__ = [
    "absent_packages",
    "need_distributed",
    "need_fsspec",
    "need_matplotlib",
    "need_mpi",
    "need_pandas",
    "need_protocol",
    "need_scipy",
    "need_sklearn",
    "need_torch",
    "need_torchmetrics",
]


def absent_packages(*modules: str) -> list[str]:
    """Those of the modules that are not installed, in their order; imports none of them."""
    return [module for module in modules if find_spec(module) is None]


def need_distributed(purpose: str) -> None:
    """Refuse to go on without Dask's scheduler; as `need_scipy`."""
    _need("distributed", "distributed", purpose, "cluster")


def need_fsspec(purpose: str) -> None:
    """Refuse to go on without fsspec; as `need_scipy`."""
    _need("fsspec", "fsspec", purpose, "remote")


def need_protocol(protocol: str) -> None:
    """Refuse to go on without what reads addresses of a protocol: ``s3``, ``http``, ...; as `need_scipy`.

    fsspec itself names what others need, which no extra of this project brings.
    """
    package = {"s3": "s3fs", "s3a": "s3fs", "http": "aiohttp", "https": "aiohttp"}.get(protocol)
    if package is not None:
        _need(package, package, f"{protocol}:// addresses", "remote")


def need_matplotlib(purpose: str, extra: str = "report") -> None:
    """Refuse to go on without matplotlib, which two extras bring; as `need_scipy`."""
    _need("matplotlib", "matplotlib", purpose, extra)


def need_mpi(purpose: str) -> None:
    """Refuse to go on without mpi4py; as `need_scipy`."""
    _need("mpi4py", "mpi4py", purpose, "mpi")


def need_pandas() -> None:
    """Refuse to make a data frame without pandas; as `need_scipy`."""
    _need("pandas", "pandas", "data frames", "report")


def need_scipy(purpose: str) -> None:
    """Refuse to go on without SciPy.

    Parameters
    ----------
    purpose : str
        What needs it, as a noun.

    Raises
    ------
    InputError
        If SciPy is not installed.
    """
    _need("scipy", "SciPy", purpose, "classical")


def need_sklearn(purpose: str) -> None:
    """Refuse to go on without scikit-learn; as `need_scipy`."""
    _need("sklearn", "scikit-learn", purpose, "classical")


def need_torch(purpose: str = "the network") -> None:
    """Refuse to go on without torch; as `need_scipy`."""
    _need("torch", "torch", purpose, "networks")


def need_torchmetrics(purpose: str) -> None:
    """Refuse to go on without torch and torchmetrics; as `need_scipy`."""
    absent = absent_packages("torch", "torchmetrics")
    if absent:
        raise InputError(needs_package(all_names(absent), purpose, "training"))


def _need(module: str, package: str, purpose: str, extra: str) -> None:
    if absent_packages(module):
        raise InputError(needs_package(package, purpose, extra))
