"""No version with a known hole is admitted, and what CI and the server's image install is fixed file by file."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
ADVISORIES = tomllib.loads((ROOT / ".ci" / "advisories.toml").read_text())["advisory"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS_OF_LOCK = {".ci/test.lock": ("test", "docs", "report", "study"), "deploy/study.lock": ("study",)}
BY_CONSTRAINT = {"torch", "torchvision", "lpips", "torch-fidelity", "torchmetrics", "lightning", "tensorboard"}
"""In no lock file: builds of PyTorch differ from machine to machine, and these come with it (constraints.txt)."""


def needs_of(extra: str | None) -> list[Requirement]:
    """Requirements of the base installation, or of an extra and the extras that it names."""
    project = PROJECT["project"]
    texts = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    needs = []
    for need in map(Requirement, texts):
        inner = need.extras if canonicalize_name(need.name) == canonicalize_name(project["name"]) else ()
        needs += [other for name in sorted(inner) for other in needs_of(name)] if inner else [need]
    return needs


@cache
def locked(lock: str) -> dict[str, list[tuple[Requirement, list[str]]]]:
    """Pins of a lock file by package: requirement (with its marker) and hashes."""
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^\s*#.*\n", "", text, flags=re.M))
    pins: dict[str, list[tuple[Requirement, list[str]]]] = {}
    for entry in filter(str.strip, entries):
        first = entry.split("\n", 1)[0].rstrip(" \\")
        requirement = Requirement(first)
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry)
        pins.setdefault(canonicalize_name(requirement.name), []).append((requirement, hashes))
    return pins


def pinned_version(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", requirement
    return Version(specifier.version)


def floors() -> dict[str, Version]:
    """Lowest allowed version of everything that pyproject.toml names, what builds the package included."""
    needs = [
        *needs_of(None),
        *(need for extra in PROJECT["project"]["optional-dependencies"] for need in needs_of(extra)),
    ]
    needs += map(Requirement, PROJECT["build-system"]["requires"])
    lowest: dict[str, Version] = {}
    for need in needs:
        (floor,) = (Version(one.version) for one in need.specifier if one.operator == ">=")
        name = canonicalize_name(need.name)
        lowest[name] = min(floor, lowest.get(name, floor))
    return lowest


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda advisory: f"{advisory['package']}-{advisory['fixed']}")
def test_no_version_with_a_known_hole_is_admitted(advisory: dict[str, Any]) -> None:
    name, fixed = advisory["package"], Version(advisory["fixed"])
    assert floors()[name] >= fixed, f"pyproject.toml admits {name} with {advisory['id']}: {advisory['about']}"
    for lock in EXTRAS_OF_LOCK:
        for requirement, _ in locked(lock).get(name, ()):
            assert pinned_version(requirement) >= fixed, (lock, advisory["id"])
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith(f"{name}=="):
            assert pinned_version(Requirement(line)) >= fixed, advisory["id"]
    with suppress(PackageNotFoundError):  # an extra that is not installed
        assert Version(version(name)) >= fixed, f"installed here, with {advisory['id']}"


@pytest.mark.parametrize("lock", EXTRAS_OF_LOCK)
def test_every_file_that_a_lock_admits_has_its_hash(lock: str) -> None:
    for requirements in locked(lock).values():
        for requirement, hashes in requirements:
            assert pinned_version(requirement)
            assert hashes, requirement


@pytest.mark.parametrize("lock", EXTRAS_OF_LOCK)
def test_a_lock_holds_all_that_is_needed_at_allowed_versions(lock: str) -> None:
    """Whatever a requirement itself needs on this machine is there too: pip would refuse the lock otherwise."""
    pins = {
        name: next((one for one, _ in entries if one.marker is None or one.marker.evaluate()), None)
        for name, entries in locked(lock).items()
    }
    waiting = [need for extra in (None, *EXTRAS_OF_LOCK[lock]) for need in needs_of(extra)]
    waiting += map(Requirement, PROJECT["build-system"]["requires"])
    visited = set()
    while waiting:
        need = waiting.pop()
        name = canonicalize_name(need.name)
        pin = pins.get(name)
        assert pin is not None, f"{lock} lacks {need}; renew it with: make locks"
        assert need.specifier.contains(pinned_version(pin)), f"{lock} has {pin}, needed is {need}; renew it: make locks"
        for extra in ("", *sorted(need.extras)):
            if (name, extra) in visited:
                continue
            visited.add((name, extra))
            for text in requires(name) or ():
                inner = Requirement(text)
                environment = {**default_environment(), "extra": extra}
                if inner.marker is None or inner.marker.evaluate(environment):
                    waiting.append(inner)


def test_the_lock_of_ci_is_what_make_test_installs_and_the_image_installs_its_own() -> None:
    makefile, dockerfile = (ROOT / "Makefile").read_text(), (ROOT / "deploy" / "Dockerfile").read_text()
    assert "--require-hashes --requirement .ci/test.lock" in makefile
    for lock, extras in EXTRAS_OF_LOCK.items():
        (line,) = re.findall(rf"^.*\$\(LOCK\).*{re.escape(lock)}.*$", makefile, re.M)
        assert tuple(re.findall(r"--extra (\w+)", line)) == extras
    installs = re.findall(r"^RUN pip install (.+)$", dockerfile, re.M)
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert {"--no-deps", "--no-build-isolation"} <= set(installs[1].split())  # nothing from the index but by hash
    assert not BY_CONSTRAINT & set(locked("deploy/study.lock"))
    assert not BY_CONSTRAINT & set(locked(".ci/test.lock"))
