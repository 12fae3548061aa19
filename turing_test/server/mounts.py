"""Where on its host a study is served: under a path, and beside other studies, each at an address of its own."""

from __future__ import annotations

import re
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from evalkit.errors import InputError
from turing_test.server.bridge import Bridge, redirect_into

if TYPE_CHECKING:
    from granian.rsgi import Scope

__all__ = ["Mounts", "is_path", "read_path"]

_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*")


def is_path(text: str) -> bool:
    """Whether a text can stand before the addresses of a study: no slash at its end, nothing that has to be escaped.

    Examples
    --------
    >>> [is_path(text) for text in ("", "/study1", "/lab/study1", "/study1/", "study1", "//evil.example", "/..")]
    [True, True, True, False, False, False, False]
    """
    return _PATH.fullmatch(text) is not None


def read_path(text: str, option: str) -> str:
    """Read a path as somebody writes it.

    Parameters
    ----------
    text : str
        With or without slashes at its ends.
    option : str
        What it is called, for the sentence.

    Returns
    -------
    str
        ``/study1``, or "" for none.

    Raises
    ------
    InputError
        When addresses cannot begin with it.

    Examples
    --------
    >>> read_path("study1/", "--path"), read_path("/", "--path")
    ('/study1', '')
    """
    path = "/" + text.strip("/")
    path = "" if path == "/" else path
    if not is_path(path):
        raise InputError(f"{option} is {text!r}; allowed is a path such as /study1, of letters, digits and -._~.")
    return path


class Mounts:
    """Several applications behind one address, each below a name, as granian calls them.

    A request may come with the root path or without it: some proxies pass it on, and others take it away.

    Parameters
    ----------
    sites : mapping of str to Bridge
        By the first part of their path; the one named "" gets what belongs to no other.
    root : str
        The path that all of them are under, for those who come from outside; "" for none.
    """

    def __init__(self, sites: Mapping[str, Bridge], root: str = "") -> None:
        self._sites, self._root = sites, root

    def __rsgi_init__(self, loop: AbstractEventLoop) -> None:
        for site in self._sites.values():
            site.__rsgi_init__(loop)

    def __rsgi_del__(self, loop: AbstractEventLoop) -> None:
        for site in self._sites.values():
            site.__rsgi_del__(loop)

    async def __rsgi__(self, scope: Scope, protocol: Any) -> None:
        path = unquote_to_bytes(scope.path).decode("latin-1")
        if self._root and path == self._root:
            return redirect_into(protocol, scope)
        if path.startswith(f"{self._root}/"):
            path = path.removeprefix(self._root)
        name, slash, rest = path[1:].partition("/")
        if not name or name not in self._sites:
            return await self._sites[""].answer(scope, protocol, self._root, path)
        if not slash:
            return redirect_into(protocol, scope)
        await self._sites[name].answer(scope, protocol, f"{self._root}/{name}", f"/{rest}")
