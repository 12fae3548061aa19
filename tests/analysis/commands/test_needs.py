from __future__ import annotations

import subprocess
import sys

import pytest

from analysis.commands._needs import need
from evalkit.errors import InputError


def test_an_absent_package_is_said_with_its_cure() -> None:
    need("json")
    with pytest.raises(
        InputError, match=r"no_such_package is not installed; for this command, pip install .*\[report\]"
    ):
        need("json", "no_such_package")


@pytest.mark.parametrize("module", ["analysis", "analysis.commands.analyze", "analysis.commands.plan"])
def test_the_help_does_not_wait_for_numbers(module: str) -> None:
    code = (
        f"import {module}, sys; print(sorted({{'numpy', 'scipy', 'pandas', 'rich', 'matplotlib'}} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_analysis_needs_neither_pandas_nor_matplotlib() -> None:
    code = "import analysis.study.analysis, analysis.trials.trial_files, sys; print({'scipy', 'pandas', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
