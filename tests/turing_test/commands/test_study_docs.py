"""The reference names every option, file, key and column; that of the study file is made from the options themselves.

After a change: ``python tests/turing_test/commands/test_study_docs.py`` writes the page anew.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path

from turing_test.simulation.play import Participation, SentAnswer
from turing_test.study.freeze import FROZEN, Stamp
from turing_test.study.manifest import ROLES, Manifest, Plate
from turing_test.study.protocol import PRESETS, RUNNING, SECTIONS, Protocol, options
from turing_test.study.study_folder import BUILT, DATABASE, KEY, MANIFEST, RECRUITING, STUDY_FILE

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "study-file.md"
OPENING = """\
# The study file

`study.toml` holds every choice of a study; `evalkit study create` writes it with these explanations as comments. Keys that
are absent have the default of the preset. Unknown keys, wrong types and impossible combinations are refused by name. Each
key is also an option on the command line: `--set KEY=VALUE`.

The defaults are those of Zhang et al. (2016), the preset `zhang2016`. Other presets differ in:
"""


def page():
    lines = [OPENING, "| preset | differs in |", "|---|---|"]
    for name, changes in PRESETS.items():
        listed = ", ".join(f"`{key} = {json.dumps(value)}`" for key, value in changes.items())
        lines.append(f"| `{name}` | {listed or 'nothing'} |")
    for section, comment in SECTIONS.items():
        lines += ["", f"## `[{section}]`" if section else "## Top of the file", ""]
        lines += [comment, ""] * bool(comment)
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for option in options():
            if option.section == section:
                default = json.dumps(Protocol().as_dict()[option.name])
                meaning = " ".join(option.meaning.splitlines())
                meaning += " May change while the study runs." * (option.name in RUNNING)
                lines.append(f"| `{option.name}` | `{default}` | {option.allowed} | {meaning} |")
    return "\n".join(lines) + "\n"


def test_the_reference_page_is_that_of_the_options():
    assert PAGE.read_text() == page()


def test_every_file_of_a_study_and_every_key_and_column_is_documented():
    text = (PAGE.parent / "study-folder.md").read_text()
    files = {STUDY_FILE, MANIFEST, KEY, BUILT, DATABASE, FROZEN, f"{RECRUITING}/"}
    manifest = Manifest(study="", stimulus_bytes=0, size=0, images=(), methods=(), stimuli={}, plates=(Plate("", ""),))
    keys = {*json.loads(manifest.to_json()), *ROLES, *asdict(manifest.plates[0])}
    stamp = {field.name for field in fields(Stamp)} | {"stamp"}
    row = next(
        Participation(
            index=0,
            kind="",
            answers=[
                SentAnswer(participant=0, trial=0, phase="", image="", first="", second="", response="", response_ms=0)
            ],
        ).rows()
    )
    assert {name for name in (files | keys | stamp | row.keys()) if f"`{name}`" not in text} == set()


if __name__ == "__main__":
    PAGE.write_text(page())
