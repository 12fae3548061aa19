"""The list of metrics on the screen: whole at 80 columns, and what `default` stands for."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from evalkit.cli import main
from evalkit.commands.metrics import signature_lines
from evalkit.metrics import DEFAULT_METRICS, expand_default, metric_names


def test_the_list_fits_80_columns_and_loses_nothing() -> None:
    listed = CliRunner().invoke(main, ["metrics"]).stdout
    rows = json.loads(CliRunner().invoke(main, ["metrics", "--json"]).stdout)
    assert max(map(len, listed.splitlines())) <= 80
    assert [row["name"] for row in rows] == list(metric_names())
    together = "".join(listed.split())
    for row in rows:
        name = f"{row['name']}*" if row["default"] else row["name"]
        direction = "nodirection" if row["better"] == "neither" else row["better"]
        needs = f";needs{''.join(', '.join(row['needs']).split())}" if row["needs"] else ""
        wanted = f"{name}{direction}isbetter{needs}{''.join(row['definition'].split())}{row['signature']}"
        assert wanted in together


@pytest.mark.parametrize("width", [10, 20, 76])
def test_a_signature_is_cut_behind_its_fields_alone(width: int) -> None:
    signature = "lab:sk-D65|q:round|quad:exact150|agg:pixel|classes:zhang2016-313|prior:truth|lam:0"
    lines = signature_lines(signature, width)
    assert "".join(lines) == signature
    assert all(line.endswith("|") for line in lines[:-1])
    assert all(len(line) <= width or line.count("|") <= 1 for line in lines)


@pytest.mark.parametrize(
    ("names", "expanded"),
    [
        (["ab_auc"], ["ab_auc"]),
        (["default"], [*DEFAULT_METRICS]),
        (["default", "l_mae"], [*DEFAULT_METRICS, "l_mae"]),
        (["ab_auc", "l_mae", "default", "psnr_rgb", "default"], ["l_mae", *DEFAULT_METRICS]),
        (["l_mae", "l_mae"], ["l_mae", "l_mae"]),  # left for the check of names
    ],
)
def test_default_is_expanded_once(names: list[str], expanded: list[str]) -> None:
    assert list(expand_default(names)) == expanded
