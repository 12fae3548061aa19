"""Modules, names and files that docstrings, comments and documents speak of exist."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("evalkit", "analysis", "turing_test", "benchmarks", "tests", "docs", "deploy")

DOTTED = re.compile(r"(?<![\w./\"'-])(evalkit|analysis|turing_test|benchmarks|tests)((?:\.[A-Za-z_]\w*)+)(?![\w/-])")
FILE = re.compile(rf"(?<![\w./<*-])((?:{'|'.join(FOLDERS)})/[\w./-]*\w)(\*|<|\{{|/\*)?")
SCRIPT = re.compile(r"(?<![\w./*-])(\w+\.(?:py|js|css))(?![\w/])")

FILES_OF_USERS = {"my_metrics.py", "deploy/.env"}
"""Files that whoever follows the docs writes."""
SUFFIXES = {"csv", "json", "toml", "html", "md", "tex", "pdf", "png", "parquet", "db", "commands"}
"""``evalkit.csv`` is a file's name, not an attribute."""


@cache
def tracked() -> frozenset[str]:
    """Files of the checkout; where git is absent, all files of the folders."""
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return frozenset(listed.split("\n")) - {""}
    except (OSError, subprocess.CalledProcessError):
        return frozenset(str(p.relative_to(ROOT)) for f in FOLDERS for p in (ROOT / f).rglob("*") if p.is_file())


@cache
def names_in(path: Path) -> frozenset[str]:
    """What a module defines or imports, with ``Class.member``; empty for no module."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name | ast.arg):
            names.add(node.id if isinstance(node, ast.Name) else node.arg)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            names.add(node.value)  # names that a lazy `__init__` hands on
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return frozenset(names)


def exists(dotted: str) -> bool:
    """Whether a dotted name leads to a module, or to a name inside one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        stub = base / "__init__.pyi"  # the public names of a package
        if stub.is_file() and set(parts[length : length + 1]) & names_in(stub):
            return True
        module = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if base.is_dir() and length == len(parts):
            return True
        if module.is_file():
            return set(parts[length:]) <= names_in(module)
    return False


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that a reader reads: all of a document, docstrings and comments of a module."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING and token.string.lstrip("rR").startswith('"""'):
            yield from enumerate(token.string.splitlines(), token.start[0])


def strangers(path: Path, lines: Iterator[tuple[int, str]]) -> list[str]:
    """Names in these lines that lead nowhere."""
    found = []
    scripts = {Path(name).name for name in tracked()}
    for number, line in lines:
        for package, rest in DOTTED.findall(line):
            dotted = package + rest
            if rest.rpartition(".")[2] not in SUFFIXES and not exists(dotted):
                found.append(f"{path}:{number}: {dotted}")
        for name, pattern in FILE.findall(line):
            known = (ROOT / name).exists() or any(entry.startswith(name) for entry in tracked() if pattern)
            built = name.startswith(("docs/_build", "docs/reference/generated"))
            if not known and not built and name not in FILES_OF_USERS and (name.count("/") > 1 or "." in name):
                found.append(f"{path}:{number}: {name}")
        found += [
            f"{path}:{number}: {name}"
            for name in SCRIPT.findall(line)
            if name not in scripts and name not in FILES_OF_USERS
        ]
    return found


def read_by_people() -> list[Path]:
    return [
        ROOT / name
        for name in sorted(tracked())
        if name.endswith((".py", ".md")) and (ROOT / name).exists() and name != "tests/test_names_in_texts.py"
    ]


@pytest.mark.parametrize("top", [*FOLDERS, ""])
def test_names_in_texts_exist(top):
    paths = [
        path
        for path in read_by_people()
        if (path.relative_to(ROOT).parts[0] == top) or (not top and path.parent == ROOT)
    ]
    assert [name for path in paths for name in strangers(path.relative_to(ROOT), prose_of(path))] == []


def test_a_stale_name_is_found():
    lines = ["see ``turing_test.arrivals`` and benchmarks/coverage.py", "`evalkit.metrics.base.Metric` in `no_such.py`"]
    assert strangers(Path("page.md"), iter(enumerate(lines, 1))) == [
        "page.md:1: turing_test.arrivals",
        "page.md:1: benchmarks/coverage.py",
        "page.md:2: no_such.py",
    ]
