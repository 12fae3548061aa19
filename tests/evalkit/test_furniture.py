"""What all rooms use: files that appear whole, pieces of sentences, the command that installs an extra."""

from __future__ import annotations

import ast
import csv
import doctest
import io
import itertools
import pickle
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from evalkit import errors, shown, text_formats, wording
from evalkit.errors import InputError
from evalkit.files import atomic_file, write_atomically


def test_a_file_appears_whole_with_its_permissions(tmp_path):
    path = tmp_path / "key"
    write_atomically(path, "é\r\n", 0o600)
    assert path.read_bytes() == "é\r\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


def test_an_exception_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(TypeError), atomic_file(path) as file:
        file.writelines([b"half of the n", 7])  # the second is no bytes
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_a_killed_process_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom evalkit.files import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"


def test_the_error_of_a_file_that_cannot_be_written_names_it(tmp_path):
    path = tmp_path / "absent" / "table.csv"
    with pytest.raises(OSError, match=r"table\.csv"):
        write_atomically(path, b"")


def test_examples_of_the_sentences():
    assert doctest.testmod(wording) == (0, 12)
    assert doctest.testmod(text_formats) == (0, 5)
    assert doctest.testmod(shown) == (0, 2)
    assert doctest.testmod(errors) == (0, 1)


def test_the_install_command_names_where_the_installation_came_from():
    """pip's own record (PEP 610) is the independent answer: this checkout, or the wheel that was installed."""
    command = wording.install_command("networks")
    origin = command.removeprefix('pip install "').removesuffix('[networks]"')
    assert Path(origin).exists()
    assert command == f'pip install "{origin}[networks]"'


def test_one_package_and_several(monkeypatch):
    monkeypatch.setattr(wording, "_origin", lambda: ".")
    assert wording.needs_package("torch", "the network", "networks") == (
        'torch is not installed; for the network, pip install ".[networks]" brings it.'
    )
    assert wording.needs_package("pandas and jinja2", "the report", "report") == (
        'pandas and jinja2 are not installed; for the report, pip install ".[report]" brings them.'
    )


def test_upper_case_is_no_obstacle_to_a_suggestion():
    assert wording.nearest("RANDOM", ["random", "gray"]) == "random"


@pytest.mark.parametrize("name", ["=1+i027.png", "+x", "-x", "@SUM(A1)", "\tx", "\rx"])
def test_what_a_spreadsheet_would_run_is_guarded_and_comes_back_as_it_was(name):
    """The six characters are those of OWASP's page on CSV injection."""
    text = text_formats.csv_text([{"image": name, "value": -1.5}])
    ((image, value),) = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert image == f"'{name}"
    assert text_formats.unguarded(image) == name
    assert value == "-1.5"


@pytest.mark.parametrize("message", ["a.png: has no pixels", "a.png: has no pixels.", "is it a.png?", ""])
def test_every_error_sentence_ends_once_also_after_a_worker_sent_it(message):
    sent = pickle.loads(pickle.dumps(InputError(message)))
    assert str(sent) == (message if message.endswith((".", "?")) or not message else f"{message}.")


# --- who writes how -------------------------------------------------------------------------------------------

WRITTEN_OTHERWISE = {
    "evalkit/files.py": "the atomic writer itself",
    "evalkit/colorizers/probing/kept_features.py": "members of an archive in a file of the atomic writer",
    "evalkit/networks/weight_files.py": "a download that goes on where it broke off; renamed when its digest is right",
    "evalkit/scoring/statistics_store.py": "the note beside a shard, which only --resume reads and which tells half a one",
    "evalkit/colorizers/training/run_folder.py": "a log that lines are added to",
    "turing_test/stimuli/build.py": "a folder that is moved as a whole when it is complete",
}
"""Files that write without `evalkit.files`, and why that is whole all the same."""


IN_MEMORY_OR_ATOMIC = frozenset({"file", "buffer", "sink", "target", "text"})
"""What the code calls an open file of the atomic writer, or one in memory."""
PLACE_OF_TARGET = {"savefig": 0, "write_table": 1, "write_csv": 1, "torch.save": 1, "np.save": 0, "np.savez": 0}


def plain_writes(source: str) -> list[str]:
    """Calls that write to a path of their own: open for writing, write_text, savefig and their like."""
    calls = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        whole = ast.unparse(node.func)
        name = whole.rpartition(".")[2]
        place = PLACE_OF_TARGET.get(whole, PLACE_OF_TARGET.get(name))
        constants = (part for arg in node.args for part in ast.walk(arg) if isinstance(part, ast.Constant))
        modes = {part.value for part in constants if isinstance(part.value, str)}
        if (
            name in {"write_text", "write_bytes"}
            or (name == "open" and any(re.fullmatch("[wax]b?", mode) for mode in modes))
            # A writer that another call has opened takes the rows alone.
            or (
                place is not None
                and place < len(node.args)
                and ast.unparse(node.args[place]) not in IN_MEMORY_OR_ATOMIC
            )
        ):
            calls.append(ast.unparse(node))
    return calls


def test_results_are_written_by_the_one_atomic_writer():
    assert len(plain_writes("figure.savefig(path, dpi=200)\nPath(a).open('w')\nb.write_text(c)\nPath(a).open()")) == 3
    root = Path(__file__).parents[2]
    by_file = {
        path.relative_to(root).as_posix(): calls
        for package in ("evalkit", "analysis", "turing_test")
        for path in sorted((root / package).rglob("*.py"))
        if (calls := plain_writes(path.read_text(encoding="utf-8")))
    }
    assert {name: calls for name, calls in by_file.items() if name not in WRITTEN_OTHERWISE} == {}
    assert set(WRITTEN_OTHERWISE) <= set(by_file), "no longer needed"


# --- counts ---------------------------------------------------------------------------------------------------

COUNTED_NOUNS = [
    "images",
    "photos",
    "files",
    "trials",
    "methods",
    "participants",
    "sessions",
    "answers",
    "steps",
    "pairs",
    "classes",
    "names",
    "folders",
    "rows",
    "labels",
    "samples",
    "replicates",
    "shards",
    "blocks",
    "runs",
    "metrics",
    "people",
    "entries",
    "plates",
    "stimuli",
    "values",
    "columns",
    "votes",
    "comparisons",
    "studies",
]
NEVER_ONE = {"turing_test/commands/demo.py": "the demo's own photos"}
"""Files in which a number stands before a plural without `counted`, and why it cannot be 1."""


def uncounted(source: str) -> list[str]:
    """F-strings in which the length or count of something stands directly before a plural noun."""
    places = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in itertools.pairwise(node.values):
            if not isinstance(value, ast.FormattedValue) or not isinstance(text, ast.Constant):
                continue
            expression = ast.unparse(value.value)
            is_count = re.search(r"\blen\(|\bn_\w+|count|^n$|^total$|wanted", expression) and not re.search(
                r"\b(counted|agree)\(", expression
            )
            is_constant = expression.rpartition(".")[2].isupper()
            plural = re.match(rf" (?:[a-z-]+ ){{0,2}}?({'|'.join(COUNTED_NOUNS)})\b", str(text.value))
            if is_count and not is_constant and plural:
                places.append(expression + plural[0])
    return places


def test_a_count_and_its_noun_agree_wherever_they_are_printed():
    assert uncounted("f'{len(images)} true photos and {n} trials'") == ["len(images) true photos", "n trials"]
    assert uncounted("f'{counted(len(images), \"photo\")} of {N_PHOTOS} photos'") == []
    root = Path(__file__).parents[2]
    by_file = {
        path.relative_to(root).as_posix(): places
        for package in ("evalkit", "analysis", "turing_test")
        for path in sorted((root / package).rglob("*.py"))
        if (places := uncounted(path.read_text(encoding="utf-8")))
    }
    assert {name: places for name, places in by_file.items() if name not in NEVER_ONE} == {}
