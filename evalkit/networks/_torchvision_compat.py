"""Importing torchvision beside a torch build that cannot load its compiled part.

When it is imported, torchvision registers Python kernels for two of its operators, ``nms`` and ``qnms``
(box suppression, used in object detection). Their schemas are declared by torchvision's compiled
library. Where that library was built against another torch (a CUDA torchvision beside a CPU-only torch,
say) it does not load, and the import ends with ``RuntimeError: operator torchvision::nms does not
exist``, although nothing that image classification needs is missing.

Declaring the two schemas by hand lets the import succeed. Everything written in Python on top of torch
then works (the classifiers, their weights, ``transforms.v2`` with its antialiased resize); box
suppression, the other compiled operators and torchvision's own image decoders stay unavailable, and this
project uses none of them.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from evalkit.errors import InputError
from evalkit.wording import needs_package

__all__ = ["import_torchvision"]

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_FAILURE = "operator torchvision::nms does not exist"

# torch forgets a declaration when the Library object that made it is collected, so it is kept here.
_declared: list[Any] = []


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled library does not fit the installed torch.

    Use this in place of ``import torchvision``; once it has returned, plain imports of torchvision's modules
    work everywhere in the process. On a matching pair it is exactly ``import torchvision``.

    Returns
    -------
    module
        The package ``torchvision``.

    Raises
    ------
    InputError
        If torch or torchvision is not installed.
    """
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "torchvision"):
            raise
        raise InputError(needs_package(error.name or "torchvision", "the classifiers", "networks")) from error
    except RuntimeError as error:
        if _FAILURE not in str(error):
            raise
    _declare_operators()
    return importlib.import_module("torchvision")


def _declare_operators() -> None:
    # By name, like torchvision above: torch's own annotations are partial, and absent where torch is.
    library = importlib.import_module("torch.library").Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)
