"""The distribution installs by itself, starts light, and its floors import only downwards."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import analysis
from tests.conftest import require

ROOT = Path(__file__).parents[1]
FLOORS = ("evalkit", "analysis", "turing_test")
"""The packages from the ground up: each may import those before it, never those after it."""

TORCH_ROOMS = frozenset(
    f"evalkit.colorizers.{name}"
    for name in (
        "learned.checkpoints",
        "learned.colorizer",
        "learned.decoding",
        "learned.encoder",
        "learned.learned_folder",
        "learned.network",
        "learned.published_networks",
        "learned.sampling",
        "probing.classes",
        "probing.features",
        "probing.layers_table",
        "probing.linear",
        "probing.segmentation",
        "training.data",
        "training.objective",
        "training.options",
        "training.panels",
        "training.processes",
        "training.run_folder",
        "training.speed",
        "training.state",
        "training.train",
        "training.validation",
    )
) | {"evalkit.torchmetrics"}
"""Modules that may import torch when they are imported themselves; callers import these inside functions."""

HEAVY = {"numpy", "numba", "PIL", "pyarrow", "torch", "torchvision", "scipy", "pandas", "matplotlib", "rich"}


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=900)


# --- the wheel ----------------------------------------------------------------------------------------------


def pip(python: Path | str, *arguments: str | Path, cwd: Path) -> None:
    """Run pip; skip in plain words where no package index answers."""
    result = run(python, "-m", "pip", "--disable-pip-version-check", *arguments, cwd=cwd)
    unreachable = "No matching distribution found" in result.stderr or "connection" in result.stderr.lower()
    if result.returncode and unreachable:
        require(False, f"pip reaches no package index: {result.stderr.strip().splitlines()[-1]}")
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in FLOORS:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    pip(sys.executable, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_three_packages_typed_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {f"{package}/py.typed" for package in FLOORS} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(FLOORS)
    missing = {
        str(path.relative_to(ROOT))
        for package in FLOORS
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.parts[len(ROOT.parts) :])
    } - set(names)
    assert not missing, "these files of the packages are not in the wheel"


def test_the_wheel_installs_into_an_empty_environment_and_scores_without_torch(wheel, tmp_path):
    venv.create(tmp_path / "empty", with_pip=True)
    bin_folder = tmp_path / "empty" / ("Scripts" if sys.platform == "win32" else "bin")
    pip(bin_folder / "python", "install", "--quiet", wheel, cwd=tmp_path)

    listing = run(bin_folder / "python", "-m", "pip", "list", "--format", "json", cwd=tmp_path)
    installed = {package["name"].lower() for package in json.loads(listing.stdout)}
    assert not installed & {"torch", "torchvision", "scipy", "pandas", "matplotlib", "flask"}

    help_page = run(bin_folder / "evalkit", "--help", cwd=tmp_path)
    assert help_page.returncode == 0, help_page.stderr
    assert "score" in help_page.stdout

    for folder in ("truth", "mine"):
        (tmp_path / folder).mkdir()
        for k in range(3):
            colour = (200, 40 + 60 * k, 90) if folder == "truth" else (150, 60 + 50 * k, 90)
            Image.new("RGB", (32, 24), colour).save(tmp_path / folder / f"{k}.png")
    score = ("score", "--truth", "truth", "--method", "mine=mine", "--out", "out", "--bootstrap", "100")
    result = run(bin_folder / "evalkit", *score, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "summary.csv").read_text().count("\n") > 1

    asked = (
        *((f"analysis.{name}", f"from analysis import {name}", "report") for name in sorted(analysis.NEED_SCIPY)),
        ("torch and torchmetrics", "import evalkit.torchmetrics", "training"),
        ("lpips_alex", "import evalkit; evalkit.Accumulator('lpips_alex')", "networks"),
    )
    code = (
        "for code in " + repr([code for _, code, _ in asked]) + ":\n"
        "    try:\n"
        "        exec(code)\n"
        "    except ValueError as error:\n"  # InputError is one
        "        print(error)\n"
    )
    told = run(bin_folder / "python", "-c", code, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    for (what, _, extra), sentence in zip(asked, told.stdout.splitlines(), strict=True):
        assert what in sentence
        assert f'{wheel}[{extra}]" brings ' in sentence


# --- start-up -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"], ["datasets", "--help"]])
def test_asking_for_help_loads_no_heavy_module(arguments):
    code = (
        "import sys\n"
        "from evalkit.cli import main\n"
        "try:\n"
        f"    sys.argv = ['evalkit', *{arguments}]\n"
        "    main()\n"
        "finally:\n"
        "    print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    result = run(sys.executable, "-c", code, cwd=ROOT)
    assert "Usage: evalkit" in result.stdout, result.stderr
    loaded = set(result.stdout.rpartition("LOADED")[2].split())
    assert "click" in loaded
    assert not loaded & HEAVY


# --- imports ------------------------------------------------------------------------------------------------


def source_files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST) -> Iterator[str]:
    """Top-level packages that an import statement names (relative imports stay on their floor)."""
    if isinstance(node, ast.Import):
        yield from (alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield node.module.split(".")[0]


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: not function bodies, not what only the type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (inner for branch in child.orelse for inner in (branch, *at_import(branch)))
            continue
        yield child
        yield from at_import(child)


@pytest.mark.parametrize("package", FLOORS)
def test_a_floor_never_imports_one_above_it(package):
    above = set(FLOORS[FLOORS.index(package) + 1 :])
    upward = {
        (module_name(path), name)
        for path in source_files(package)
        for node in ast.walk(ast.parse(path.read_text()))
        for name in imported(node)
        if name in above
    }
    assert not upward


@pytest.mark.parametrize(
    ("package", "late"),
    [
        ("evalkit", {"torch", "torchvision", "scipy", "pandas", "matplotlib"}),
        ("analysis", {"torch", "torchvision"}),
        ("turing_test", {"torch", "torchvision"}),
    ],
)
def test_packages_of_the_extras_are_imported_only_where_they_are_used(package, late):
    early = {
        (module_name(path), name)
        for path in source_files(package)
        for node in at_import(ast.parse(path.read_text()))
        for name in imported(node)
        if name in late and module_name(path) not in TORCH_ROOMS
    }
    assert not early


def test_the_import_rule_sees_what_runs_at_import_and_only_that():
    code = """
    import torch.nn
    from typing import TYPE_CHECKING
    if TYPE_CHECKING:
        import pandas
    else:
        import scipy
    try:
        from matplotlib import pyplot
    except ImportError:
        pass
    class A:
        import numba
        def method(self):
            import rich
    def function():
        import pyarrow
    """
    import textwrap

    tree = ast.parse(textwrap.dedent(code))
    names = {name for node in at_import(tree) for name in imported(node)}
    assert names == {"torch", "typing", "scipy", "matplotlib", "numba"}


def test_the_lowest_versions_that_are_tested_are_the_lowest_that_are_allowed() -> None:
    import tomllib

    root = Path(__file__).parents[1]
    needs = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    floors = dict(need.split(">=") for need in needs)
    lines = (root / "constraints-lowest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pinned.keys() == floors.keys()
    for name, floor in floors.items():
        assert pinned[name] == floor or pinned[name].startswith(f"{floor}."), name
