"""The value of --method: a built-in name, or a name and its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.commands._methods import parse_method_option, parse_method_options
from evalkit.errors import InputError


@pytest.mark.parametrize("name", ["gray", "random", "truth"])
def test_built_in_methods_are_named_without_a_folder(name: str) -> None:
    assert parse_method_option(name) == (name, None)


def test_a_folder_follows_the_first_equals_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_method_option("ours=out") == ("ours", Path("out"))
    assert parse_method_option("truth=copy") == ("truth", Path("copy"))
    assert parse_method_option("ours=out/lambda=0.5") == ("ours", Path("out/lambda=0.5"))
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse_method_option("ours=~/out") == ("ours", Path("/home/somebody/out"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grey", r"there is no built-in method 'grey' \(did you mean 'gray'\?\); allowed are truth, gray, random"),
        ("Random", r"did you mean 'random'\?"),
        ("./results", r"there is no built-in method './results'; .* For a folder write NAME=DIR"),
        ("ours=", r"no folder after the '='"),
        ("=out", r"'' cannot name a method"),
        ("a/b=out", r"'a/b' cannot name a method"),
    ],
)
def test_bad_method_options_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_method_option(text)


def test_all_values_together_keep_their_order_and_no_name_twice() -> None:
    assert parse_method_options(["b=x", "gray", "a=y"]) == {"b": Path("x"), "gray": None, "a": Path("y")}
    with pytest.raises(InputError, match="--method b=z: the name 'b' is given twice"):
        parse_method_options(["b=x", "b=z"])
