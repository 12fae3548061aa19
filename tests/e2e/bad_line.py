"""A line between browser and server that breaks off in the middle of answers."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Line:
    """What went over a line.

    Attributes
    ----------
    url : str
        The browser's end.
    cut : Counter
        Answers that were cut, by kind.
    ranges : list of str
        ``Range`` headers of requests.
    """

    url: str = ""
    cut: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)


def kind_of(method: str, path: str) -> str:
    """What an address is for: the last word of the interface's, "stimulus", "view", "page", "module" or "style"."""
    path = path.partition("?")[0]
    if path.startswith("/stimuli/"):
        return "stimulus"
    if path.startswith("/api/"):
        return "view" if method == "GET" and path.count("/") == 3 else path.rpartition("/")[2]
    return {"js": "module", "css": "style"}.get(path.rpartition(".")[2], "page")


@contextmanager
def breaking_line(
    server: str, is_cut: Callable[[str, int], bool], may_break: threading.Event | None = None
) -> Iterator[Line]:
    """A proxy before a server.

    Parameters
    ----------
    server : str
        Address of the server.
    is_cut : callable
        Told the kind of an answer and how many of its kind came before; whether it breaks off in its middle.
    may_break : threading.Event, optional
        What is awaited between the half that is sent and the end of the connection.
    """
    line, seen, lock = Line(), Counter(), threading.Lock()
    upstream = urlsplit(server)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(upstream.hostname, upstream.port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            kind = kind_of(self.command, self.path)
            with lock:
                breaks = is_cut(kind, seen[kind])
                seen[kind] += 1
                line.cut[kind] += breaks
                if "Range" in self.headers:
                    line.ranges.append(self.headers["Range"])
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if breaks else content)
            if breaks and may_break is not None:
                may_break.wait()
            self.close_connection = self.close_connection or breaks

        do_GET = do_POST = _forward

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.daemon_threads = True
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    line.url = f"http://127.0.0.1:{proxy.server_port}"
    try:
        yield line
    finally:
        proxy.shutdown()
        proxy.server_close()
