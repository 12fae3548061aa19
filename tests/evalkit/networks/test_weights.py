"""Weights are fetched only when asked for: with progress, resume and checksum; and read as data."""

from __future__ import annotations

import hashlib
import importlib.util
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from evalkit.errors import InputError
from tests.conftest import require

CONTENT = bytes(range(256)) * 12_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def torch(monkeypatch, tmp_path):
    require(importlib.util.find_spec("torch") is not None, "torch is not installed (the extra `networks`)")
    import torch

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return torch


class Server:
    """A server of one file that can break off, ignore ranges, or send other bytes."""

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        self.content = CONTENT
        self.break_after: int | None = None
        self.knows_ranges = True
        self.status = 200
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers["Range"]
                server.ranges.append(wanted)
                if server.status != 200:
                    self.send_error(server.status)
                    return
                start = int(wanted[6:-1]) if wanted and server.knows_ranges else 0
                if wanted and start >= len(server.content):
                    self.send_error(416)
                    return
                body = server.content[start:]
                self.send_response(206 if wanted and server.knows_ranges else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if server.break_after is None else body[: server.break_after])

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def weights(self, digest: str = DIGEST[:8]):
        from evalkit.networks.weight_files import PublishedWeights

        return PublishedWeights("net", "V1", f"http://127.0.0.1:{self.http.server_port}/net-{digest}.pth")

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server():
    found = Server()
    yield found
    found.close()


def test_a_file_is_fetched_once_with_progress_and_then_found(server):
    from evalkit.networks.weight_files import fetch

    seen = []
    path = fetch(server.weights(), lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert path.parent.name == "checkpoints"
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(server.weights()) == path
    assert len(server.ranges) == 1


def test_a_broken_download_is_continued_where_it_stopped(server):
    from evalkit.networks.weight_files import fetch

    server.break_after = 1_500_000
    with pytest.raises(InputError, match=r"the download stopped .*run the command again to continue"):
        fetch(server.weights())
    assert not server.weights().path.exists()
    server.break_after = None
    assert fetch(server.weights()).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1500000-"]


def test_a_server_without_ranges_sends_everything_again(server):
    from evalkit.networks.weight_files import fetch

    server.break_after = 1_500_000
    with pytest.raises(InputError, match="stopped"):
        fetch(server.weights())
    server.break_after, server.knows_ranges = None, False
    assert fetch(server.weights()).read_bytes() == CONTENT


def test_a_download_that_was_complete_but_not_yet_renamed_is_taken(server):
    from evalkit.networks.weight_files import fetch

    target = server.weights().path
    target.parent.mkdir(parents=True)
    target.with_name(f"{target.name}.part").write_bytes(CONTENT)
    assert fetch(server.weights()).read_bytes() == CONTENT


def test_a_corrupted_download_is_removed_and_told(server):
    from evalkit.networks.weight_files import fetch

    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(InputError, match=r"corrupted \(sha256 [0-9a-f]{8}, expected [0-9a-f]{8}\) and was removed"):
        fetch(server.weights())
    assert list(server.weights().path.parent.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_told_and_left_alone(server):
    from evalkit.networks.weight_files import fetch

    target = server.weights().path
    target.parent.mkdir(parents=True)
    target.write_bytes(b"half")
    with pytest.raises(InputError, match="is damaged"):
        fetch(server.weights())
    assert target.read_bytes() == b"half"


def test_the_answer_of_the_server_is_told(server):
    from evalkit.networks.weight_files import fetch

    server.status = 404
    with pytest.raises(InputError, match="the server answers 404"):
        fetch(server.weights())


def test_no_server_at_all_is_told(server):
    from evalkit.networks.weight_files import fetch

    weights = server.weights()
    server.close()
    with pytest.raises(InputError, match="the download stopped"):
        fetch(weights)


def test_the_published_vgg16_is_the_file_of_torchvision():
    from evalkit.networks.catalogue import published_weights

    found = published_weights("vgg16")
    assert (found.file_name, found.version, found.sha256) == ("vgg16-397923af.pth", "IMAGENET1K_V1", "397923af")
    assert "evalkit weights vgg16' (528 MB)" in found.absence
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        published_weights("resnet5")


def test_tensors_are_read_from_every_form_of_file_and_cast(torch, tmp_path):
    from evalkit.networks.weight_files import load_state

    state = {"a.weight": torch.arange(4.0).reshape(2, 2), "n": torch.tensor(3)}
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    forms = {
        "plain": state,
        "half": half,
        "wrapped": {"epoch": 3, "state_dict": state},
        "parallel": {f"module.{name}": value for name, value in state.items()},
    }
    for name, content in forms.items():
        torch.save(content, tmp_path / name)
        torch.save(content, tmp_path / f"{name}-old", _use_new_zipfile_serialization=False)
        for path in (tmp_path / name, tmp_path / f"{name}-old"):
            found = load_state(path)
            assert {key: (value.dtype, value.tolist()) for key, value in found.items()} == {
                key: (value.dtype, value.tolist()) for key, value in state.items()
            }


def test_a_file_that_would_run_code_is_refused(torch, tmp_path):
    from evalkit.networks.weight_files import load_state

    torch.save({"a": print}, tmp_path / "harmful.pth")
    with pytest.raises(InputError, match="not a weights file"):
        load_state(tmp_path / "harmful.pth")


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "not a weights file"), (b"PK\x03\x04 torn", "not a weights file")]
)
def test_what_is_no_weights_file_is_told(tmp_path, content, message):
    from evalkit.networks.weight_files import load_state

    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_state(tmp_path / "x.pth")


def test_a_missing_file_and_one_without_tensors_are_told(torch, tmp_path):
    from evalkit.networks.weight_files import load_state

    with pytest.raises(InputError, match="cannot be read"):
        load_state(tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no tensors by name"):
        load_state(tmp_path / "list.pth")


class TestTheCommand:
    @pytest.fixture
    def command(self, server, monkeypatch):
        from click.testing import CliRunner

        import evalkit.networks.catalogue
        from evalkit.commands.weights import weights_command

        monkeypatch.setattr(evalkit.networks.catalogue, "published_weights", lambda name: server.weights())
        return lambda *words: CliRunner().invoke(weights_command, words)

    def test_it_fetches_and_says_where(self, command, server):
        result = command("net")
        assert result.exit_code == 0
        assert result.output.strip() == f"net: {server.weights().path}"
        assert server.weights().path.read_bytes() == CONTENT

    def test_without_a_name_it_lists_and_fetches_nothing(self, command, server):
        assert "not fetched; evalkit weights net" in command().output
        assert command("net", "--json").output.count('"present": false') == 1
        assert server.ranges == []
        command("net", "-q")
        assert f"in {server.weights().path}" in command().output
