"""Signatures: one line that says how a number was made, read back without loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics import load_metric
from evalkit.metrics.ab_counts import AbErrorOptions
from evalkit.scoring.signature import (
    DEFINITIONS,
    differing_fields,
    format_signature,
    parse_signature,
    short_signatures,
)

keys = st.text("abcdefghij_", min_size=1, max_size=6).filter(lambda key: key not in ("v", "def", "metric"))
values = st.text(st.characters(exclude_characters="|\n", codec="utf-8"), max_size=12)


def test_metric_comes_first_and_release_last() -> None:
    text = format_signature("ab_auc", {"set": "own@1a2b3c4d", "n": "8"}, {"quad": "exact150"}, "0.1.0")
    assert text == f"ab_auc|set:own@1a2b3c4d|n:8|quad:exact150|def:{DEFINITIONS}|v:0.1.0"


@given(run=st.dictionaries(keys, values), own=st.dictionaries(keys, values))
def test_what_is_formatted_is_parsed_back(run: dict[str, str], own: dict[str, str]) -> None:
    text = format_signature("psnr_rgb", run, own, "1.2")
    assert parse_signature(text) == {"metric": "psnr_rgb", **run, **own, "def": str(DEFINITIONS), "v": "1.2"}
    assert differing_fields(text, text) == {}


def test_a_value_may_hold_a_colon() -> None:
    assert parse_signature(format_signature("m", {"a": "b:c"}, {}, "1"))["a"] == "b:c"


@pytest.mark.parametrize(("key", "value"), [("a|b", "c"), ("a:b", "c"), ("a", "b|c"), ("a", "b\nc")])
def test_separators_inside_a_field_are_refused(key: str, value: str) -> None:
    with pytest.raises(ValueError, match="holds a separator"):
        format_signature("m", {key: value}, {}, "1")


def test_differences_name_fields_that_differ_or_are_absent_on_one_side() -> None:
    one, other = "ab_auc|n:8|quad:exact150|v:1", "ab_auc|n:9|quad:exact150|common:9|v:1"
    assert differing_fields(one, other) == {"n": ("8", "9"), "common": ("", "9")}
    assert differing_fields("ab_auc|n:8", "ab_rmse|n:8") == {"metric": ("ab_auc", "ab_rmse")}


def test_another_release_of_the_same_definitions_compares_and_other_definitions_do_not() -> None:
    assert differing_fields("ab_auc|n:8|def:3|v:0.1.0", "ab_auc|n:8|def:3|v:0.2.0") == {}
    assert differing_fields("ab_auc|n:8|def:3|v:0.1.0", "ab_auc|n:8|def:4|v:0.1.0") == {"def": ("3", "4")}


def test_short_signatures_keep_what_was_chosen_and_join_what_agrees() -> None:
    run = {"set": "own@1a2b3c4d", "n": "8", "size": "native"}
    usual = AbErrorOptions()
    other = AbErrorOptions(quadrature="thresholds")
    signatures = [
        format_signature(name, run, load_metric(name).create(options).fields, "0.2.0")
        for name, options in (("ab_auc", usual), ("psnr_rgb", usual), ("ab_auc_rebal", other))
    ]
    tail = f"set:own@1a2b3c4d|n:8|%sdef:{DEFINITIONS}|v:0.2.0"
    assert short_signatures(signatures) == [
        f"ab_auc+psnr_rgb|{tail % ''}",
        f"ab_auc_rebal|{tail % 'quad:mean0-150|'}",
    ]
    resized = format_signature("psnr_rgb", {**run, "size": "256-warp"}, {}, "0.2.0")
    assert "size:256-warp" in short_signatures([resized])[0]
    assert short_signatures(["of_another_package|n:8|k:3|def:1|v:1"]) == ["of_another_package|n:8|k:3|def:1|v:1"]
