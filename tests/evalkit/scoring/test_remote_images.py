"""Images in buckets, on web servers, in archives and in tables: the same files to the byte as from a folder."""

# ruff: noqa: F811 (a fixture is imported and asked for by the same name)

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click import ClickException
from scoring_folders import QuickScore, files_of, finished, photo_set, quick_score  # noqa: F401 (fixtures)

from evalkit.cli import main
from evalkit.errors import InputError
from evalkit.images import _objects
from evalkit.images.folder_lint import lint_folders
from evalkit.images.image_files import decode
from evalkit.images.image_pairs import find_image_files, find_images, scan_folder
from evalkit.images.places import place_of, read_file
from evalkit.scoring.run import score
from tests.conftest import require
from tests.evalkit.scoring.image_servers import WebServer, bucket, google_bucket, upload_folder, web_server

BUCKET = "photos-of-tests"
TABLE_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How the package `datasets` stores an image."""


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as running:
        yield running


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_objects, "PAUSE_S", 0.01)


@pytest.fixture(scope="module")
def s3(photo_set: Path, archives: Path) -> Iterator[Any]:
    """A bucket with the folders of `photo_set`, and below ``in/`` the archives and tables."""
    with pytest.MonkeyPatch.context() as patch, bucket(BUCKET, patch) as client:
        upload_folder(client, BUCKET, photo_set)
        upload_folder(client, BUCKET, archives, "in/")
        yield client


@pytest.fixture(scope="module")
def archives(photo_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `photo_set` in ``x.zip``, in the shards ``s-000.tar`` and ``s-001.tar``, in ``d.parquet``."""
    folder = tmp_path_factory.mktemp("archives")
    names = sorted(path.stem for path in (photo_set / "truth").iterdir())
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        for path in sorted(photo_set.rglob("*.png")):
            archive.write(path, f"set/{path.relative_to(photo_set)}")
    for number, part in enumerate((names[:40], names[40:])):
        with tarfile.open(folder / f"s-{number:03d}.tar", "w") as shard:
            for name in part:
                for side in ("truth", "vivid", "dull"):
                    shard.add(photo_set / side / f"{name}.png", f"{name}.{side}.png")
    write_table(folder / "d.parquet", photo_set, names)
    return folder


def write_table(path: Path, photo_set: Path, names: list[str], absent: tuple[str, ...] = ()) -> None:
    """A table of three columns of images, those of some photos empty in the column ``vivid``."""

    def column(side: str) -> pa.Array:
        files = [(photo_set / side / f"{name}.png").read_bytes() for name in names]
        rows = [
            None if side == "vivid" and name in absent else {"bytes": data, "path": f"{name}.png"}
            for name, data in zip(names, files, strict=True)
        ]
        return pa.array(rows, TABLE_IMAGE)

    pq.write_table(pa.table({side: column(side) for side in ("truth", "vivid", "dull")}), path, row_group_size=16)


PLACES: dict[str, Callable[[Path, str], str]] = {
    "a folder of a bucket": lambda archives, side: f"s3://{BUCKET}/{side}",
    "a pattern in a bucket": lambda archives, side: f"s3://{BUCKET}/{side}/i*.png",
    "a zip archive": lambda archives, side: f"zip://set/{side}::{archives}/x.zip",
    "a zip archive in a bucket": lambda archives, side: f"zip://set/{side}/*::s3://{BUCKET}/in/x.zip",
    "a WebDataset": lambda archives, side: f"{archives}/s-{{000..001}}.tar#{side}",
    "a WebDataset in a bucket": lambda archives, side: f"s3://{BUCKET}/in/s-*.tar#{side}",
    "a table": lambda archives, side: f"{archives}/d.parquet#{side}",
    "a table in a bucket": lambda archives, side: f"s3://{BUCKET}/in/d.parquet#{side}",
}


def methods_at(place: Callable[[str], str]) -> dict[str, Any]:
    return {"vivid": place("vivid"), "dull": place("dull"), "gray": None}


@pytest.mark.parametrize("kind", PLACES)
def test_a_run_from_elsewhere_is_that_from_the_folder_to_the_byte(
    kind: str, archives: Path, s3: object, finished: tuple[Path, object], tmp_path: Path
) -> None:
    def place(side: str) -> str:
        return PLACES[kind](archives, side)

    score(
        place("truth"), methods_at(place), out=tmp_path / "out", metrics=("ab_auc", "ab_auc_rebal", "psnr_rgb"),
        n_bootstrap=200,
    )  # fmt: skip
    assert files_of(tmp_path / "out") == files_of(finished[0])


def test_a_web_server_gives_the_same_bytes(
    server: WebServer, photo_set: Path, finished: tuple[Path, object], tmp_path: Path, quick_score: QuickScore
) -> None:
    server.add_folder(photo_set, "a b/")
    server.faults = {"a b/truth/i03.png": ["500"], "a b/vivid/i05.png": ["half", "503"]}
    server.files["a b/truth/.hidden.png"] = b"no"

    def place(side: str) -> str:
        return f"{server.url}/a%20b/{side}"

    score(
        place("truth"), methods_at(place), out=tmp_path / "out", metrics=("ab_auc", "ab_auc_rebal", "psnr_rgb"),
        n_bootstrap=200,
    )  # fmt: skip
    assert files_of(tmp_path / "out") == files_of(finished[0])
    assert server.faults == {"a b/truth/i03.png": [], "a b/vivid/i05.png": []}


@pytest.fixture(scope="module")
def google(photo_set: Path, archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `s3` holds, in a bucket of Google."""
    for package in ("gcsfs", "gcp_storage_emulator"):
        require(importlib.util.find_spec(package) is not None, f"{package} is not installed (the extra `test`)")
    folder = tmp_path_factory.mktemp("google")
    with pytest.MonkeyPatch.context() as patch, google_bucket(BUCKET, folder, patch) as put:
        put(photo_set, "")
        put(archives, "in/")
        yield


def score_by_command(truth: str, vivid: str, dull: str, out: Path) -> subprocess.CompletedProcess[str]:
    """What `finished` was made by, on the command line, by two workers."""
    command = [
        sys.executable, "-m", "evalkit", "score", "--quiet", "--truth", truth, "--method", f"vivid={vivid}",
        "--method", f"dull={dull}", "--method", "gray", "--out", str(out), "--metrics", "ab_auc,ab_auc_rebal,psnr_rgb",
        "--bootstrap", "200", "--workers", "2",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_a_bucket_of_google_gives_the_same_bytes(google: None, finished: tuple[Path, object], tmp_path: Path) -> None:
    """As folders, from a zip archive and from a table, without a word of what the library behind it logs."""
    zipped, table = f"zip://set/vivid/*::gs://{BUCKET}/in/x.zip", f"gs://{BUCKET}/in/d.parquet#dull"
    result = score_by_command(f"gs://{BUCKET}/truth", zipped, table, tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    assert files_of(tmp_path / "out") == files_of(finished[0])


def test_what_is_not_in_a_bucket_of_google_is_told_in_one_sentence(google: None, tmp_path: Path) -> None:
    for nowhere in (f"gs://{BUCKET}/none", "gs://no-such-bucket-of-tests/truth"):
        result = score_by_command(nowhere, f"gs://{BUCKET}/vivid", f"gs://{BUCKET}/dull", tmp_path / "out")
        assert result.returncode == 2
        assert (
            result.stderr.strip()
            .splitlines()[-1]
            .endswith(f"{nowhere}: cannot be read (there is no such file or folder).")
        )
        assert "Traceback" not in result.stderr
        assert "bucket type" not in result.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", [{"workers": 2}, {"executor": "processes:1"}, {"executor": "threads:2"}])
def test_workers_and_executors_read_the_images_themselves(
    where: dict[str, Any], s3: object, finished: tuple[Path, object], tmp_path: Path
) -> None:
    methods = {"vivid": f"s3://{BUCKET}/in/d.parquet#vivid", "dull": f"s3://{BUCKET}/dull", "gray": None}
    score(
        f"s3://{BUCKET}/in/s-{{000..001}}.tar#truth", methods, out=tmp_path / "out", n_bootstrap=200,
        metrics=("ab_auc", "ab_auc_rebal", "psnr_rgb"), **where,
    )  # fmt: skip
    assert files_of(tmp_path / "out") == files_of(finished[0])


def test_workers_know_the_credentials_that_were_set_after_others_had_started(
    photo_set: Path, finished: tuple[Path, object], quick_score: QuickScore, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.delenv("AWS_ACCESS_KEY_ID", raising=False)
        quick_score(photo_set, None, metrics=("psnr_rgb",), n_bootstrap=0, workers=2)  # the server of workers starts
    with pytest.MonkeyPatch.context() as patch, bucket(BUCKET, patch) as client:
        upload_folder(client, BUCKET, photo_set / "vivid", "vivid/")
        methods = {"vivid": f"s3://{BUCKET}/vivid", "dull": photo_set / "dull", "gray": None}
        quick_score(photo_set, tmp_path / "out", methods, workers=2)
    assert files_of(tmp_path / "out") == files_of(finished[0])


def test_dask_workers_read_the_images_themselves(s3: object, finished: tuple[Path, object], tmp_path: Path) -> None:
    require(importlib.util.find_spec("distributed") is not None, "distributed is not installed (the extra `cluster`)")
    program = tmp_path / "run.py"
    program.write_text(
        f"""
from distributed import Client, LocalCluster

import evalkit

if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        with Client(cluster) as client:
            methods = {{"vivid": "s3://{BUCKET}/vivid", "dull": "zip://set/dull::s3://{BUCKET}/in/x.zip", "gray": None}}
            evalkit.score(
                "s3://{BUCKET}/truth", methods, out={str(tmp_path / "out")!r}, n_bootstrap=200,
                metrics=("ab_auc", "ab_auc_rebal", "psnr_rgb"), executor=client.get_executor(),
            )
"""
    )
    subprocess.run([sys.executable, str(program)], check=True, timeout=600)
    assert files_of(tmp_path / "out") == files_of(finished[0])


# --- which images -----------------------------------------------------------------------------------------


def digests(files: Any) -> dict[str, str]:
    return {name: decode(file).sha256 for name, file in files.items()}


def test_names_and_bytes_are_those_of_the_folder(server: WebServer, photo_set: Path, s3: Any, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    (folder / "sub é").mkdir(parents=True)
    photos = sorted((photo_set / "truth").iterdir())
    for photo, name in zip(photos, ("a b.png", "sub é/c%20d.PNG", "no-ending", "x.y.png", "#1.png"), strict=False):
        shutil.copy(photo, folder / name)
    (folder / "notes.txt").write_text("not an image")
    (folder / "no-image").write_text("not an image")
    (folder / ".hidden.png").write_text("no")
    expected = digests(find_images(folder))
    assert sorted(expected) == ["#1", "a b", "no-ending", "sub é/c%20d", "x.y"]
    server.add_folder(folder, "odd/")
    upload_folder(s3, BUCKET, folder, "odd/")
    s3.put_object(Bucket=BUCKET, Key="odd/sub é/", Body=b"")  # as consoles make folders
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as zipped, tarfile.open(tmp_path / "odd.tar", "w") as tarred:
        tarred.add(folder, ".")
        for path in sorted(folder.rglob("*")):
            zipped.write(path, path.relative_to(folder))
    for place in (f"{server.url}/odd/", f"s3://{BUCKET}/odd", str(tmp_path / "odd.zip"), str(tmp_path / "odd.tar")):
        assert digests(find_image_files(place)) == expected, place


def test_links_in_a_tar_archive_are_the_files_that_they_mean(photo_set: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(photo_set / "truth" / "i00.png", source / "a.png")
    os.link(source / "a.png", source / "b.png")
    (source / "c.png").symlink_to("a.png")
    (source / "d.png").symlink_to("gone.png")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("a.png", "b.png", "c.png", "d.png"):
            archive.add(source / name, name)
    found = digests(find_image_files(str(tmp_path / "x.tar")))
    assert sorted(found) == ["a", "b", "c"]
    assert len(set(found.values())) == 1


@pytest.mark.parametrize("in_struct", [False, True])
def test_images_may_be_dictionary_encoded(tmp_path: Path, in_struct: bool) -> None:
    images = [b"first", b"second"]
    cells = pa.array([images[0], images[1], None, images[0]]).dictionary_encode()
    names = pa.array(["a", "b", "c", "d"])
    column = pa.StructArray.from_arrays([cells, pa.array(["a.png", "b.png", None, "d.png"])], ["bytes", "path"])
    table = pa.table({"name": names.dictionary_encode(), "image": column if in_struct else cells})
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=3)
    found = dict(scan_folder(place_of(f"{tmp_path}/d.parquet#image")).images)
    assert {name: read_file(file) for name, file in found.items()} == {"a": images[0], "b": images[1], "d": images[0]}


@pytest.mark.parametrize("kind", ["zip", "tar", "parquet"])
def test_two_images_of_one_name_are_refused(kind: str, photo_set: Path, tmp_path: Path) -> None:
    photo = photo_set / "truth" / "i00.png"
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(photo, "a.png")
            archive.write(photo, "a.jpg")
    elif kind == "tar":
        with tarfile.open(path, "w") as archive:
            archive.add(photo, "a.png")
            archive.add(photo, "a.png")
    else:
        pq.write_table(pa.table({"name": ["a", "a"], "image": [photo.read_bytes()] * 2}), path)
    with pytest.raises(InputError, match="share the name 'a'"):
        find_image_files(str(path))


def test_two_shards_with_one_name_are_told(photo_set: Path, tmp_path: Path) -> None:
    photo = photo_set / "truth" / "i00.png"
    for number in range(2):
        with tarfile.open(tmp_path / f"s-{number}.tar", "w") as archive:
            archive.add(photo, "a.truth.png")
    with pytest.raises(InputError, match=r"s-0\.tar/a\.png and \S+s-1\.tar/a\.png share the name 'a'"):
        find_image_files(f"{tmp_path}/s-{{0..1}}.tar#truth")


def test_a_field_may_be_named_with_its_ending_as_webdataset_does(photo_set: Path, tmp_path: Path) -> None:
    photo = photo_set / "truth" / "i00.png"
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for name in ("a.truth.png", "a.mine.jpg", "b.truth.jpg"):
            archive.add(photo, name)
    assert list(find_image_files(f"{tmp_path}/s.tar#truth")) == ["a", "b"]
    assert list(find_image_files(f"{tmp_path}/s.tar#truth.png")) == ["a"]
    assert list(find_image_files(f"{tmp_path}/s.tar#mine.jpg")) == ["a"]


def test_an_archive_in_an_archive_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match=r"outer.zip: cannot be opened \(there is no such file or folder\)"):
        find_image_files("zip://truth::zip://inner.zip::outer.zip")


def test_a_server_that_sends_in_circles_is_told() -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Circle(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Circle) as circle:
        threading.Thread(target=circle.serve_forever, daemon=True).start()
        try:
            with pytest.raises(InputError, match="the server sends from one address to the next without end"):
                find_image_files(f"http://127.0.0.1:{circle.server_port}/photos/")
        finally:
            circle.shutdown()


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png"])
def test_names_that_lead_out_of_the_folder_are_refused(name: str, photo_set: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(photo_set / "truth" / "i00.png", name)
    with pytest.raises(InputError, match="leads out of its folder"):
        find_image_files(str(tmp_path / "x.zip"))


def test_columns_of_tables(photo_set: Path, tmp_path: Path) -> None:
    data = [(photo_set / "truth" / f"i0{k}.png").read_bytes() for k in range(3)]
    path = tmp_path / "d.parquet"
    columns = {"id": [3, 1, 2], "image": data, "text": ["a", "b", "c"]}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match=r"no column tells the names .* as in d.parquet#image,id"):
        find_image_files(str(path))
    assert list(find_image_files(f"{path}#image,id")) == ["1", "2", "3"]
    assert list(find_image_files(f"{path}#,text")) == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"has no column of images 'imag' \(did you mean 'image'\?\)"):
        find_image_files(f"{path}#imag,id")
    with pytest.raises(InputError, match=r"no column of images 'text'; those that hold images .* are image"):
        find_image_files(f"{path}#text,id")
    with pytest.raises(InputError, match="has no column 'ids'"):
        find_image_files(f"{path}#image,ids")
    pq.write_table(pa.table({**columns, "name": ["a.v2", "b.jpg", None], "mine": [data[0], None, None]}), path)
    with pytest.raises(InputError, match=r"has image, mine that hold images; name one .* d.parquet#image"):
        find_image_files(str(path))
    assert list(find_image_files(f"{path}#mine")) == ["a.v2"]
    with pytest.raises(InputError, match="row 2 of row group 0 has an image and no name"):
        find_image_files(f"{path}#image")


def test_rows_without_an_image_are_missing_files(photo_set: Path, tmp_path: Path, quick_score: QuickScore) -> None:
    names = [f"i{k:02d}" for k in range(6)]
    write_table(tmp_path / "d.parquet", photo_set, names, absent=("i02", "i04"))
    methods = {"vivid": f"{tmp_path}/d.parquet#vivid"}
    with pytest.raises(InputError, match=r"2 of 6 truth images have no file there \(i02, i04\)"):
        score(f"{tmp_path}/d.parquet#truth", methods)
    scores = score(
        f"{tmp_path}/d.parquet#truth", methods, allow_missing=True, metrics=("psnr_rgb",), n_bootstrap=0,
        out=tmp_path / "out",
    )  # fmt: skip
    assert scores["vivid", "psnr_rgb"].n_images == 4
    assert [entry["image"] for entry in scores.record.missing] == ["i02", "i04"]


def test_a_part_that_no_shard_has_is_told_with_those_there_are(archives: Path) -> None:
    with pytest.raises(InputError, match=r"called NAME.truht.png .* is one of dull, truth, vivid"):
        find_image_files(f"{archives}/s-*.tar#truht")


def test_paths_without_bytes_are_refused(photo_set: Path, tmp_path: Path) -> None:
    """What `datasets.Dataset.to_parquet` writes of images that lie in files."""
    data = (photo_set / "truth" / "i00.png").read_bytes()
    rows = [{"bytes": data, "path": "a.png"}, {"bytes": None, "path": "/data/b.png"}, None]
    pq.write_table(pa.table({"image": pa.array(rows, TABLE_IMAGE)}), tmp_path / "d.parquet")
    with pytest.raises(InputError, match=r"'image' holds paths without bytes \(/data/b.png\); write the table with"):
        find_image_files(str(tmp_path / "d.parquet"))


def test_lint_prior_colorize_and_lists_read_from_elsewhere(
    s3: Any, photo_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    s3.put_object(Bucket=BUCKET, Key="some.txt", Body="i01.png\ni02\n".encode("utf-8-sig"))
    here = lint_folders(photo_set / "truth", {"dull": photo_set / "dull"})
    assert lint_folders(f"s3://{BUCKET}/truth", {"dull": f"zip://set/dull::s3://{BUCKET}/in/x.zip"}, workers=3) == here
    for source, name in ((f"s3://{BUCKET}/truth", "there"), (str(photo_set / "truth"), "here")):
        run_command("prior", "--input", source, "--out", str(tmp_path / f"{name}.json"))
        run_command("colorize", "gray", "--input", source, "--output", str(tmp_path / name))
    assert (tmp_path / "there.json").read_bytes() == (tmp_path / "here.json").read_bytes()
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
    scores = score(
        photo_set / "truth", {"gray": None}, images=f"s3://{BUCKET}/some.txt", metrics=["psnr_rgb"], n_bootstrap=0
    )
    assert scores["gray", "psnr_rgb"].n_images == 2
    assert "no such" not in capsys.readouterr().err


def run_command(*words: str) -> None:
    main.main(list(words), standalone_mode=False)


# --- what goes wrong --------------------------------------------------------------------------------------

SECRETS = ("pass-of-me", "s1gnature")


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (["403", "always"], r"cannot be read \(access is denied; are the credentials right\?, status 403\)"),
        (["404", "always"], r"cannot be read \(there is no such file or folder\)"),
        (["500", "always"], r"cannot be read in 3 attempts \(the server refuses, status 500\)"),
        (["half", "always"], r"cannot be read in 3 attempts \(the connection broke in the middle of the answer\)"),
        (["silence", "always"], r"cannot be read in 3 attempts \(no answer came in time\)"),
    ],
)
def test_a_server_that_fails_is_told_in_a_sentence_and_resume_completes_the_run(
    faults: list[str],
    message: str,
    server: WebServer,
    photo_set: Path,
    finished: tuple[Path, object],
    tmp_path: Path,
    quick_score: QuickScore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_objects, "TIMEOUT_S", 0.5)
    server.add_folder(photo_set)
    server.faults["dull/i50.png"] = faults
    methods = {"vivid": photo_set / "vivid", "dull": f"{server.url}/dull", "gray": None}
    with pytest.raises(InputError, match=f"{server.url}/dull/i50.png: {message}") as told:
        quick_score(photo_set, tmp_path / "out", methods)
    assert "\n" not in str(told.value)
    n_requests = sum(request == "GET dull/i50.png" for request in server.requests)
    assert n_requests == (3 if "attempts" in message else 1)
    server.faults.clear()
    server.requests.clear()
    quick_score(photo_set, tmp_path / "out", methods, resume=True)
    assert files_of(tmp_path / "out") == files_of(finished[0])
    assert "GET dull/i00.png" not in server.requests  # the first block was kept


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("{web}/nothing", r"/nothing: cannot be read \(there is no such file or folder\)"),
        ("http://127.0.0.1:9/x", "no server answers there"),
        (f"s3://{BUCKET}/nothing", r"there is no such file"),
        ("s3://no-such-bucket-anywhere/x", r"there is no such file"),
        ("nope://x/y", r"nope://x/y: cannot be opened \(Protocol not known: nope\)"),
        ("{here}/gone.zip", r"gone.zip: cannot be read \(there is no such file or folder\)"),
        (f"s3://{BUCKET}/in/gone-{{{{0..1}}}}.tar", "gone-0.tar: cannot be read"),
        (f"s3://{BUCKET}/in/gone-*.tar", "nothing there has such a name"),
        (f"s3://{BUCKET}/in", "holds no image that can be read"),
    ],
)
def test_places_that_are_not_there(address: str, message: str, server: WebServer, s3: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        find_image_files(address.format(web=server.url, here=tmp_path))


def test_a_listing_that_fails_half_way_is_none(server: WebServer, photo_set: Path) -> None:
    server.add_folder(photo_set)
    server.faults["vivid/"] = server.faults["vivid"] = ["503", "always"]
    with pytest.raises(InputError, match=r"vivid: cannot be read in 3 attempts .*status 503"):
        find_image_files(server.url)


@pytest.mark.parametrize("change", ["same size", "longer", "shorter", "gone"])
def test_an_object_that_changes_during_the_run_is_noticed_and_resume_measures_it_anew(
    change: str, s3: Any, photo_set: Path, tmp_path: Path, quick_score: QuickScore
) -> None:
    names = [f"i{k:02d}" for k in range(33)]  # two blocks
    for name in names:
        s3.upload_file(str(photo_set / "dull" / f"{name}.png"), BUCKET, f"changing/{name}.png")
    listed = tmp_path / "names.txt"
    listed.write_text("\n".join(names))
    data = (photo_set / "vivid" / "i32.png").read_bytes()
    other = {
        "same size": (photo_set / "dull" / "i32.png").read_bytes()[:-1] + b"\0",
        "longer": data + b"\0",
        "shorter": data[:-1],
        "gone": b"",
    }[change]
    was_first = [True]

    def progress(done: int, total: int) -> None:
        # The object that is read in the second block changes behind the first, the same size behind the second.
        if was_first and done == (33 if change == "same size" else 32):
            was_first.clear()
            if change == "gone":
                s3.delete_object(Bucket=BUCKET, Key="changing/i32.png")
            else:
                s3.put_object(Bucket=BUCKET, Key="changing/i32.png", Body=other)

    methods = {"dull": f"s3://{BUCKET}/changing"}
    options = {"images": listed, "metrics": ("psnr_rgb",), "n_bootstrap": 0}
    with pytest.raises(InputError, match=r"changing/i32.png"):
        quick_score(photo_set, tmp_path / "out", methods, progress=progress, **options)
    assert not (tmp_path / "out" / "summary.csv").exists()
    s3.upload_file(str(photo_set / "vivid" / "i32.png"), BUCKET, "changing/i32.png")
    resumed = quick_score(photo_set, tmp_path / "out", methods, resume=True, **options)
    fresh = quick_score(photo_set, None, methods, **options)
    assert resumed.summary_csv() == fresh.summary_csv()


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("x.zip", "middle", r"x.zip/set/truth/i\d\d.png: is damaged, cut short, .* \(Bad CRC-32"),
        ("x.zip", "end", "x.zip: is damaged, cut short, or of another kind than its name says"),
        (
            "s-000.tar",
            "header",
            r"s-000.tar: is damaged, cut short, .* \((its end mark is missing behind|bad checksum)",
        ),
        ("s-000.tar", "end", "s-000.tar: is damaged, cut short"),
        ("s-000.tar", "empty", "s-000.tar: is damaged, cut short"),
        ("d.parquet", "end", "d.parquet: is damaged, cut short"),
        ("d.parquet", "start", "d.parquet"),
    ],
)
def test_damaged_archives_are_told(name: str, damage: str, message: str, archives: Path, tmp_path: Path) -> None:
    data = bytearray((archives / name).read_bytes())
    if damage == "middle":
        data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    elif damage == "start":
        data[200:4000] = bytes(3800)
    elif damage == "header":
        data[data.index(b"i01.truth.png")] = 0xFF
    else:
        data = data[: -len(data) // 3] if damage == "end" else bytearray()
    (tmp_path / name).write_bytes(data)
    place = {"x.zip": "zip://set/truth::{}", "d.parquet": "{}#truth"}.get(name, "{}#truth").format(tmp_path / name)
    with pytest.raises(InputError, match=message):
        digests(find_image_files(place))


def test_archives_that_cannot_be_read_in_part(archives: Path, server: WebServer, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(archives / "x.zip", "x.zip")
    with pytest.raises(InputError, match=r"^\S+packed.tar: is compressed with gzip, so that no image can be read"):
        find_image_files(str(tmp_path / "packed.tar"))
    server.add_folder(archives)
    server.answers_ranges = False
    for place in ("zip://set/truth::{}/x.zip", "{}/s-000.tar#truth", "{}/d.parquet#truth"):
        with pytest.raises(InputError, match=r"does not answer range requests.*keep a copy with --image-cache"):
            digests(find_image_files(place.format(server.url)))


def test_a_cache_keeps_what_was_read_and_notices_what_changed(
    server: WebServer, archives: Path, photo_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALKIT_IMAGE_CACHE", str(tmp_path / "cache"))
    server.add_folder(archives)
    server.add_folder(photo_set)
    server.answers_ranges = False
    places = [f"{server.url}/truth", f"zip://set/truth::{server.url}/x.zip", f"{server.url}/s-000.tar#truth"]
    first = [digests(find_image_files(place)) for place in places]
    assert sum(request.startswith("GET truth/i") for request in server.requests) == 70
    server.requests.clear()
    assert [digests(find_image_files(place)) for place in places] == first
    assert [one for one in server.requests if one.startswith("GET") and one.endswith((".png", ".zip", ".tar"))] == []
    server.files["truth/i00.png"] = (photo_set / "dull" / "i00.png").read_bytes()
    changed = digests(find_image_files(places[0]))
    assert {name for name in changed if changed[name] != first[0][name]} == {"i00"}
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name.endswith(".part")]


def test_a_copy_that_was_cut_short_is_fetched_anew(server: WebServer, photo_set: Path, tmp_path: Path) -> None:
    """As a power cut may leave it: under its name, with fewer bytes."""
    server.add_folder(photo_set)
    place = place_of(f"{server.url}/truth", tmp_path / "cache")
    first = digests(dict(scan_folder(place).images))
    copies = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(copies) == 70
    copies[0].write_bytes(copies[0].read_bytes()[:50])
    copies[1].write_bytes(b"")
    server.requests.clear()
    assert digests(dict(scan_folder(place).images)) == first
    assert sum(request.startswith("GET truth/i") for request in server.requests) == 2
    assert min(path.stat().st_size for path in copies) > 50


def test_a_cache_that_is_full_is_told_and_the_server_not_blamed(
    server: WebServer, archives: Path, tmp_path: Path
) -> None:
    server.add_folder(archives)
    assert (archives / "x.zip").stat().st_size > 20_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cache: a copy of .*x\.zip cannot be kept there \(File too large\)"):
            scan_folder(place_of(f"zip://set/truth::{server.url}/x.zip", tmp_path / "cache"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sum(request.startswith("GET x.zip") for request in server.requests) == 1
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name.endswith(".part")]


def test_no_secret_of_an_address_is_written_or_told(
    server: WebServer, photo_set: Path, archives: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.password = SECRETS[0]
    server.add_folder(photo_set)
    server.add_folder(archives, "in/")
    server.files["truth/odd.gif"] = b"GIF89a"
    host = server.url.removeprefix("http://")
    truth = f"http://me:{SECRETS[0]}@{host}/truth"
    vivid = f"http://me:{SECRETS[0]}@{host}/in/d.parquet?X-Amz-Signature={SECRETS[1]}#vivid"
    words = ["--method", f"vivid={vivid}", "--metrics", "psnr_rgb", "--bootstrap", "0", "--workers", "1"]
    run_command("score", "--truth", truth, *words, "--out", str(tmp_path / "out"))
    assert server.url in (tmp_path / "out" / "run.json").read_text()  # the note on what is not read: it names the place
    told = "".join(capfd.readouterr())
    server.faults = {"truth/i00.png": ["403", "always"], "in/d.parquet": ["403", "always"]}
    for name in ("again", "again2"):
        with pytest.raises(ClickException) as refused:
            run_command("score", "--truth", truth, *words, "--out", str(tmp_path / name))
        told += str(refused.value)
        server.faults.pop("in/d.parquet", None)
    assert "status 403" in told
    written = b"".join(data for folder in ("out", "again2") for data in files_of(tmp_path / folder).values())
    for secret in SECRETS:
        assert secret not in told
        assert secret.encode() not in written


def test_without_the_extra_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import evalkit.needs

    genuine = evalkit.needs.find_spec
    for absent, address in (
        ("fsspec", "s3://b/x"),
        ("s3fs", "s3://b/y"),
        ("aiohttp", "https://h/z"),
        ("fsspec", "a.zip"),
    ):
        monkeypatch.setattr(
            evalkit.needs, "find_spec", lambda name, gone=absent: None if name == gone else genuine(name)
        )
        _objects._file_system.cache_clear()
        with pytest.raises(InputError, match=rf"{absent} is not installed; for .*, pip install .*\[remote\]"):
            evalkit.score(address, {"gray": None})
