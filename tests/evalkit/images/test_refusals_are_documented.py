"""Every sentence with which a file is refused stands on the page "When a file is refused"."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
REFUSALS = {"InputError", "MalformedImage", "ProfileError", "UnusableImage"}


def refusals() -> Iterator[tuple[str, str]]:
    """File, and the longest piece of each sentence that does not vary."""
    for path in sorted((ROOT / "evalkit" / "images").glob("*.py")):
        if path.name in ("image_pairs.py", "folder_lint.py"):  # these refuse folders and names
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_refusal = isinstance(node, ast.Call) and getattr(node.func, "id", "") in REFUSALS
            if is_refusal and node.args:
                pieces = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                longest = max((piece for piece in pieces if isinstance(piece, str)), key=len, default="")
                if len(longest) > 3:
                    yield path.name, longest


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text)


PAGE = plain((ROOT / "docs" / "how-to" / "refused-files.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "sentence"), sorted(set(refusals())))
def test_the_sentence_stands_on_the_page(file: str, sentence: str) -> None:
    # A piece that holds a command in full is cut off before it.
    start = plain(sentence).split("; convert it first")[0]
    assert start.strip(" .:',") in PAGE


def test_many_sentences_are_found() -> None:
    assert len(set(refusals())) > 25
