"""Servers of images on this machine: buckets of S3 and of Google, and a web server that can be told to fail."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

import pytest


@dataclass
class WebServer:
    """What a web server holds and how it fails.

    Attributes
    ----------
    files : dict of str to bytes
        By path, without the first slash.
    faults : dict of str to list of str
        What happens to the next requests for the body of a file, in order: a status, ``half`` (the connection breaks in
        the middle) or ``silence`` (until the server ends). The word ``always`` at the end repeats the one before.
    answers_ranges : bool
    password : str
        Where given, asked for as ``me:PASSWORD``.
    requests : list of str
        What was asked: method, path and range.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    answers_ranges: bool = True
    password: str = ""
    requests: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def add_folder(self, folder: Path, below: str = "") -> None:
        """Offer all files of a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.files[f"{below}{path.relative_to(folder).as_posix()}"] = path.read_bytes()

    def next_fault(self, path: str) -> str:
        """What happens to this request."""
        faults = self.faults.get(path, [])
        if not faults:
            return ""
        return faults[0] if faults[1:] == ["always"] else faults.pop(0)


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path).lstrip("/")
            server.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
            if server.password and "bWU6" not in self.headers.get("Authorization", ""):  # "me:" in base 64
                return self._say(401, b"")
            fault = server.next_fault(path) if with_body else ""
            if fault.isdigit():
                return self._say(int(fault), b"what went wrong")
            if fault == "silence":
                server.ended.wait()
                self.close_connection = True
                return None
            body = server.files.get(path)
            if body is None:
                return self._list(path)
            headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Content-Type": "application/octet-stream"}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            status = 200
            if wanted and server.answers_ranges:
                first, last = int(wanted[1]), int(wanted[2] or len(body) - 1)
                headers["Content-Range"] = f"bytes {first}-{min(last, len(body) - 1)}/{len(body)}"
                body, status = body[first : last + 1], 206
            return self._say(status, body, headers, with_body=with_body, half=fault == "half")

        def _list(self, path: str) -> None:
            prefix = f"{path.rstrip('/')}/" if path.strip("/") else ""
            below = sorted(
                {re.match("[^/]*/?", one[len(prefix) :])[0] for one in server.files if one.startswith(prefix)}
            )
            if not below:
                return self._say(404, b"")
            links = ["?C=N;O=D", "/", "../", *map(quote, below)]
            page = "".join(f'<a href="{link}">{link}</a>\n' for link in links)
            return self._say(200, page.encode(), {"Content-Type": "text/html"}, with_body=self.command == "GET")

        def _say(
            self,
            status: int,
            body: bytes,
            headers: dict[str, str] | None = None,
            *,
            with_body: bool = True,
            half: bool = False,
        ) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body[: len(body) // 2] if half else body)
            if half:
                self.close_connection = True

    return Handler


@contextmanager
def web_server() -> Iterator[WebServer]:
    """A web server on a free port of this machine."""
    server = WebServer()
    with served(_handler(server)) as server.url:
        try:
            yield server
        finally:
            server.ended.set()


@contextmanager
def served(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Requests answered by a handler on a free port of this machine; yields the address."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listener.daemon_threads = True
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}"
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


@contextmanager
def bucket(name: str, patch: pytest.MonkeyPatch) -> Iterator[object]:
    """An empty bucket of a server of S3 on a free port, which the environment names; yields a client."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for variable, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret-of-somebody",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(variable, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    try:
        client.create_bucket(Bucket=name)
        yield client
    finally:
        client.close()
        server.stop()


@contextmanager
def google_bucket(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, str], None]]:
    """An empty bucket of a server of Google Cloud Storage on a free port, which the environment names.

    Yields what puts all files of a folder into it, below a name. No credentials are found, in `folder` as anywhere.
    """
    from gcp_storage_emulator.handlers.buckets import create_bucket
    from gcp_storage_emulator.server import RequestHandler
    from gcp_storage_emulator.storage import Storage

    storage = Storage(use_memory_fs=True)
    create_bucket(name, storage)
    with served(partial(RequestHandler, storage)) as url:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        patch.setenv("NO_GCE_CHECK", "true")
        patch.setenv("CLOUDSDK_CONFIG", str(folder / "no credentials"))
        patch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)

        def put(files: Path, below: str) -> None:
            for path in sorted(files.rglob("*")):
                if path.is_file():
                    key = quote(f"{below}{path.relative_to(files).as_posix()}", safe="")
                    address = f"{url}/upload/storage/v1/b/{name}/o?uploadType=media&name={key}"
                    urlopen(Request(address, path.read_bytes()), timeout=600).close()

        yield put


def upload_folder(client: object, name: str, folder: Path, below: str = "") -> None:
    """Put all files of a folder into a bucket."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.put_object(  # type: ignore[attr-defined]
                Bucket=name, Key=f"{below}{path.relative_to(folder).as_posix()}", Body=path.read_bytes()
            )
