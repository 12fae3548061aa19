"""A whole study without people: folders, sealed study, simulated participants, export, analysis."""

import csv
import json
import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from evalkit.color.colorspace import lab_to_srgb8, srgb8_to_lab

SETTINGS = ("size=64", "practice_trials=2", "test_trials=12", "vigilance_trials=2", "reserve_trials=2", "catch_trials=2",
            "catch_pass=2", "sessions_per_method=40")  # fmt: skip
SATURATIONS = {"dull": 0.2, "pale": 0.4, "mild": 0.6, "soft": 0.8, "near": 0.9, "warm": 1.1, "rich": 1.3, "vivid": 1.5}
RATES = dict(zip(SATURATIONS, (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), strict=True))


def evalkit(*words, cwd):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from evalkit.cli import main; main(prog_name='evalkit')", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"evalkit {' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def played(tmp_path_factory, photos):
    """Folder in which a study was made, played and exported."""
    folder = tmp_path_factory.mktemp("journey")
    for name in ("truth", *RATES):
        (folder / name).mkdir()
    for k in range(20):
        photo = photos[list(photos)[k % len(photos)]]
        crop = np.ascontiguousarray(photo[10 * k :, 15 * k :][:128:2, :128:2])
        Image.fromarray(crop).save(folder / "truth" / f"{k}.png")
        for name, factor in SATURATIONS.items():
            lab = srgb8_to_lab(crop)
            lab[..., 1:] *= factor
            Image.fromarray(lab_to_srgb8(lab)[0]).save(folder / name / f"{k}.png")
    methods = [word for name in RATES for word in ("--method", f"{name}={name}")]
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    evalkit("study", "create", "study", "--truth", "truth", *methods, *settings, cwd=folder)
    rates = [word for name, rate in RATES.items() for word in ("--fool-rate", f"{name}={rate}")]
    evalkit(
        "study", "simulate", "study", "--participants", "160", *rates, "--dropouts", "0.1", "--seed", "5",
        "--out", "sent.csv", cwd=folder,
    )  # fmt: skip
    evalkit("study", "export", "study", "--out", "export", cwd=folder)
    return folder


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_every_answer_that_was_sent_is_in_the_export_and_no_other(played):
    sent = sorted(
        (row["image"], int(row["trial"]), row["response"], float(row["response_ms"]))
        for row in rows(played / "sent.csv")
    )
    found = sorted(
        (row["image"], int(row["trial"]), row["response"], float(row["response_ms"]))
        for row in rows(played / "export" / "trials.csv")
        if row["response"]
    )
    assert len(sent) > 2000
    assert sent == found


def test_side_method_and_fooled_are_exported_as_they_were_shown(played):
    sent = defaultdict(list)  # hundreds of participants: two may see an image in the same trial and take as long
    for row in rows(played / "sent.csv"):
        sent[row["image"], row["trial"], float(row["response_ms"])].append(row)
    for row in rows(played / "export" / "trials.csv"):
        if not row["response"]:
            continue
        fake_position = "second" if row["real_position"] == "first" else "first"
        fake = row["method"] if row["kind"] in ("practice", "test") else row["kind"]
        candidates = sent[row["image"], row["trial"], float(row["response_ms"])]
        shown = [s for s in candidates if s[row["real_position"]] == "truth" and s[fake_position] == fake]
        assert shown, (row, candidates)
        candidates.remove(shown[0])
        assert row["fooled"] == str(int(row["response"] == row["real_position"]))
        assert row["platform"] == "simulated"
    assert not any(sent.values())


def test_the_analysis_finds_the_rates_that_were_put_in(played):
    evalkit("analyze", "export/trials.csv", "--out", "rates", cwd=played)
    found = {}
    for path in (played / "rates").glob("*.csv"):
        for row in rows(path):
            if row.get("method") in RATES and {"ci_low", "ci_high"} <= row.keys() and "fool" in path.name:
                found[row["method"]] = (float(row["ci_low"]), float(row["ci_high"]))
    assert found.keys() == RATES.keys(), sorted(path.name for path in (played / "rates").iterdir())
    for method, rate in RATES.items():
        low, high = found[method]
        # The 95 % interval and as much again: about four standard errors.
        assert low - 0.06 < rate < high + 0.06, (method, low, high)


def test_a_study_folder_is_analysed_as_it_stands(played):
    said = evalkit("analyze", "study", "--out", "from-folder", cwd=played)
    assert "simulated observers" in said
    # From the database itself, without leaving anything inside the study; the same answers as in the exported table.
    assert not (played / "study" / "export").exists()
    evalkit("analyze", "export/trials.csv", "--out", "from-table", cwd=played)
    for name in ("fool_rates.csv", "comparisons.csv", "per_participant.csv"):
        assert (played / "from-folder" / name).read_bytes() == (played / "from-table" / name).read_bytes()
    evalkit("analyze", "export/trials.csv", "--out", "from-file", cwd=played)
    names = ("fool_rates.csv", "comparisons.csv", "per_image.csv")
    assert all(
        (played / "from-folder" / name).read_bytes() == (played / "from-file" / name).read_bytes() for name in names
    )


def test_the_command_starts_without_heavy_packages():
    heavy = ("torch", "skimage", "numpy", "flask", "sqlalchemy", "scipy", "pandas")
    code = f"import sys, turing_test.commands.study; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_server_starts_without_torch_and_scikit_image():
    code = "import sys, turing_test.web.app, turing_test.server.serving; print([m for m in ('torch', 'skimage', 'pandas') if m in sys.modules])"
    assert json.loads(subprocess.check_output([sys.executable, "-c", code], text=True)) == []
