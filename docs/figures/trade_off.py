"""AuC against rebalanced AuC: what temperature and lambda trade, on the 100 photos of the table."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _style import DASHES, draw_for_both_schemes
from matplotlib.figure import Figure

TABLE = Path(__file__).with_suffix(".csv")
"""Written by ``python -m benchmarks.shipped_networks --prior FILE``."""
ANCHORS = {"gray": (7, -3), "random": (7, -3), "tint": (7, -3), "l2": (-14, -3)}
"""Methods without lambda and T, and where their names stand."""
PRESET_LAMBDA, PRESET_TEMPERATURE = 0.25, 0.45


def rows() -> list[dict[str, str]]:
    """Rows of the table."""
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def curve(network: str, key: str, fixed: dict[str, float]) -> list[tuple[float, float, float]]:
    """What is varied, AuC and rebalanced AuC in points, in the order of what is varied."""
    chosen = [
        row
        for row in rows()
        if row["network"] == network and all(float(row[name]) == value for name, value in fixed.items())
    ]
    points = [(float(row[key]), 100 * float(row["ab_auc"]), 100 * float(row["ab_auc_rebal"])) for row in chosen]
    return sorted(points)


def draw(colours: dict[str, Any]) -> Figure:
    """Three curves, the anchors, and what each point was decoded with."""
    figure = Figure(figsize=(7.4, 4.6))
    axes = figure.add_subplot()
    at_lambda, at_temperature = {"lambda": PRESET_LAMBDA}, {"temperature": PRESET_TEMPERATURE}
    curves = (
        ("trained with weights (full), T from 0.2 to 1", "full", "temperature", at_lambda, "s", "T = {:g}", (-6, -13)),
        ("weighted when decoded, λ from 1/8 to 1", "classification", "lambda", at_temperature, "o", "λ = {:g}", (7, 3)),
        (
            "weighted when decoded, λ = 1/4, T from 0.2 to 1",
            "classification",
            "temperature",
            at_lambda,
            "^",
            "",
            (0, 0),
        ),
    )
    for (label, network, key, fixed, marker, note, offset), colour, dash in zip(
        curves, colours["lines"], DASHES, strict=True
    ):
        points = curve(network, key, fixed)
        xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
        axes.plot(xs, ys, color=colour, dashes=dash, marker=marker, markersize=5, linewidth=1.6, label=label, zorder=3)
        for k, (value, x, y) in enumerate(points):
            if note and (key == "lambda" or k in (0, len(points) - 1)):
                axes.annotate(
                    note.format(value), (x, y), xytext=offset, textcoords="offset points", fontsize=8, color=colour
                )
    for row in rows():
        if row["network"] in ANCHORS:
            x, y = 100 * float(row["ab_auc"]), 100 * float(row["ab_auc_rebal"])
            axes.plot(x, y, marker="x", color=colours["ink"], markersize=6, linestyle="none", zorder=3)
            offset = ANCHORS[row["network"]]
            axes.annotate(row["network"], (x, y), xytext=offset, textcoords="offset points", fontsize=8)
    axes.set(xlabel="AuC, points", ylabel="AuC rebalanced, points", xlim=(81.8, 91.6), ylim=(59.6, 70.2))
    axes.legend(loc="lower left", bbox_to_anchor=(0.02, 0.16), frameon=False, fontsize=8, handlelength=3.4)
    return figure


def main(folder: Path) -> None:
    """Write trade_off-light.svg and trade_off-dark.svg."""
    draw_for_both_schemes(folder, "trade_off", draw)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
