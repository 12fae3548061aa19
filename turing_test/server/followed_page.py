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
INTERFACE = "/api/s/doctor"  # no session has this token: the answer is a 404 as JSON, and nothing is created
KINDS = {".js": "javascript", ".css": "css", ".svg": "svg"}


def fetch(url: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body of an address, refusals included.

    Raises
    ------
    OSError, http.client.HTTPException, ValueError
        When nobody answers.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "evalkit study doctor"})
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

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take up one element."""
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
    interface = urljoin(page_url, INTERFACE)
    try:
        status, _, body = fetch(interface)
        is_ours = status == 404 and "error" in json.loads(body)
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        is_ours = False
    if not is_ours:
        problems.append(f"{interface} is not answered by the study")
    return problems


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
