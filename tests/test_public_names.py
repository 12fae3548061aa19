"""What is public is said at one place, and documented name by name."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import FunctionType

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "python.md"
PUBLIC = ("evalkit", "analysis", "evalkit.metrics", "evalkit.torchmetrics")


def documented(module: str) -> set[str]:
    (block,) = re.findall(
        rf"currentmodule:: {re.escape(module)}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    return {line.strip() for line in block.splitlines() if re.fullmatch(r"   \w+", line)}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_has_every_public_name_and_no_other(module):
    assert documented(module) == set(import_module(module).__all__)


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_loads_says_what_it_is_and_is_listed_by_dir(module):
    package = import_module(module)
    for name in package.__all__:
        offered = getattr(package, name)
        assert not isinstance(offered, type | FunctionType) or offered.__doc__, name
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no_such_name"):
        package.no_such_name  # noqa: B018
