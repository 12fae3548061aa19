"""Every address that a browser asks for to show the participant's page, followed as a browser would."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from html.parser import HTMLParser
from urllib.parse import urljoin

__all__ = ["fetch", "unreachable"]

TIMEOUT_S = 10
NO_SESSION = "doctor"
PAGES = (f"/l/{NO_SESSION}", f"/s/{NO_SESSION}")
INTERFACE = ((f"/api/s/{NO_SESSION}", None), (f"/stimuli/{NO_SESSION}/{NO_SESSION}", None), ("/api/sessions", b"{}"))
"""Where the page's scripts ask, and what they send: each is refused as JSON, since no session has this token and no consent
is empty; nothing is created."""

KINDS = {".js": "javascript", ".css": "css", ".svg": "svg"}


def fetch(url: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body of an address, refusals included.

    Parameters
    ----------
    url : str
    body : bytes, optional
        JSON to be sent by POST.

    Raises
    ------
    OSError, http.client.HTTPException, ValueError
        When nobody answers.
    """
    headers = {"User-Agent": "evalkit study doctor"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


class _Addresses(HTMLParser):
    """Collects what a page loads: scripts, modules, style sheets, pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.n_scripts = 0
        self.root = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take up one element."""
        self.root = dict(attrs).get("data-root") or self.root
        address = dict(attrs).get({"script": "src", "img": "src", "link": "href"}.get(tag, ""))
        if address and not address.startswith("data:"):
            self.found.append(address)
            self.n_scripts += tag == "script"


def unreachable(page_url: str, page: bytes) -> list[str]:
    """What a browser would not get, a phrase each; empty when the page works.

    Parameters
    ----------
    page_url : str
        Where the page came from, without what a redirection changed.
    page : bytes
        Its HTML.
    """
    addresses = _Addresses()
    addresses.feed(page.decode("utf-8", "replace"))
    if not addresses.n_scripts:
        return ["the page has no scripts: it is not the participant's page of this toolkit"]
    problems = [
        problem
        for address in dict.fromkeys(urljoin(page_url, found) for found in addresses.found)
        if (problem := _problem(address))
    ]
    # The scripts put the path that the page names before what they ask for.
    for below in PAGES:
        address = urljoin(page_url, addresses.root + below)
        if not _is_page(address):
            problems.append(f"{address} is not the participant's page")
    for below, sent in INTERFACE:
        address = urljoin(page_url, addresses.root + below)
        if not _is_refused(address, sent):
            problems.append(f"{address} is not answered by the study")
    return problems


def _is_page(address: str) -> bool:
    try:
        status, _, body = fetch(address)
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return status == 200 and b"data-consent-hash" in body


def _is_refused(address: str, sent: bytes | None) -> bool:
    """Whether the study itself refuses what is asked, in its own words."""
    try:
        status, _, body = fetch(address, sent)
        return 400 <= status < 500 and "error" in json.loads(body)
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return False


def _problem(address: str) -> str | None:
    try:
        status, headers, body = fetch(address)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{address} does not answer ({error})"
    if status != 200 or not body:
        return f"{address} gives {status}" if status != 200 else f"{address} is empty"
    kind = next((kind for suffix, kind in KINDS.items() if address.partition("?")[0].endswith(suffix)), "")
    if kind not in headers.get("content-type", ""):
        return f"{address} is sent as {headers.get('content-type') or 'nothing'}, not as {kind}"
    return None
