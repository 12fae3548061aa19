"""Rooms import downwards only: the order that the packages' docstrings give is the order that holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("evalkit", "analysis", "turing_test")
"""From the ground up."""


def rooms_of(package: str) -> list[str]:
    """The rooms of a package from the ground up, as its docstring lists them."""
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))) or ""
    lines = re.findall(r"^- (``.*?``):", docstring, flags=re.MULTILINE)
    return [f"{package}.{name}" for line in lines for name in re.findall(r"``([\w.]+)``", line)]


ROOMS = [room for package in PACKAGES for room in rooms_of(package)]


def modules() -> dict[str, Path]:
    """Every module of the packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room_of(module: str) -> str | None:
    """The listed room that a module lies in; None for the packages' own ``__init__``."""
    names = module.split(".")
    for length in range(len(names), 1, -1):
        if ".".join(names[:length]) in ROOMS:
            return ".".join(names[:length])
    return None


def imports(tree: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the project that a module imports: at its top, inside functions, or for the type checker alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in known:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(known)
            yield from submodules or {node.module}


def arrows() -> list[tuple[str, str]]:
    """(importing module, imported module), every pair once."""
    return sorted(
        {
            (module, target)
            for module, path in MODULES.items()
            for target in imports(ast.parse(path.read_text(encoding="utf-8")), MODULES)
            if target != module
        }
    )


def upward(pairs: list[tuple[str, str]], rooms: list[str], room_of=room_of) -> list[str]:
    """Arrows to a room that stands later in the list."""
    found = []
    for module, target in pairs:
        source, aim = room_of(module), room_of(target)
        if source and aim and rooms.index(aim) > rooms.index(source):
            found.append(f"{module} -> {target}")
    return found


def circles(pairs: list[tuple[str, str]]) -> list[list[str]]:
    """Modules that import each other, directly or by way of others (Tarjan's strongly connected components)."""
    targets: dict[str, set[str]] = {}
    for module, target in pairs:
        targets.setdefault(module, set()).add(target)
        targets.setdefault(target, set())
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = lowest[module] = len(index)
        stack.append(module)
        for target in sorted(targets[module]):
            if target not in index:
                visit(target)
                lowest[module] = min(lowest[module], lowest[target])
            elif target in stack:
                lowest[module] = min(lowest[module], index[target])
        if lowest[module] == index[module]:
            start = stack.index(module)
            if len(stack) - start > 1:
                found.append(sorted(stack[start:]))
            del stack[start:]

    for module in sorted(targets):
        if module not in index:
            visit(module)
    return found


def test_every_module_lies_in_a_listed_room_and_every_room_exists():
    homeless = [module for module in MODULES if room_of(module) is None and module not in PACKAGES]
    assert not homeless
    assert [room for room in ROOMS if room not in MODULES] == []
    assert len(ROOMS) == len(set(ROOMS))


def test_no_room_imports_one_that_stands_above_it():
    assert upward(arrows(), ROOMS) == []


def test_no_modules_import_each_other_in_a_circle():
    """Inside a room as between rooms; the packages' ``__init__`` name what is public and may be left out."""
    inner = [(module, target) for module, target in arrows() if module not in PACKAGES and target not in PACKAGES]
    assert circles(inner) == []


def test_nothing_inside_a_package_uses_its_public_face():
    """What a package offers to others is assembled in ``__init__`` from the rooms; the rooms name each other."""
    roots = [f"{module} -> {target}" for module, target in arrows() if target in PACKAGES and module.startswith(target)]
    assert roots == []


@pytest.mark.parametrize("package", PACKAGES)
def test_contributing_lists_the_rooms_in_the_same_order(package):
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"^- `{package}/`: (.*?)(?=\n- |\n\n)", page, flags=re.MULTILINE | re.DOTALL)
    assert [f"{package}.{name}" for name in re.findall(r"`([\w.]+)`", line)] == rooms_of(package)


def test_the_rules_see_an_arrow_upwards_and_a_circle():
    pairs = [("evalkit.errors", "evalkit.color.colorspace"), ("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]
    assert upward(pairs, ROOMS) == ["evalkit.errors -> evalkit.color.colorspace"]
    assert circles(pairs) == [["a", "b", "c"]]
    known = dict.fromkeys(["evalkit.errors", "evalkit.color", "evalkit.color.colorspace"], ROOT)
    tree = ast.parse("def f():\n    from evalkit.color import colorspace\nimport evalkit.errors\nimport numpy")
    assert sorted(imports(tree, known)) == ["evalkit.color.colorspace", "evalkit.errors"]
    assert all(rooms_of(package) for package in PACKAGES)
    assert [a for a, b in pairwise(ROOMS) if a == b] == []
