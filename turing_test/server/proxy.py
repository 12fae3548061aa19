"""Which requests come through the reverse proxy, whose word about address, scheme and host is believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

from turing_test.server.mounts import is_path

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["BehindProxy"]

ANY = "*"


class BehindProxy:
    """An application that believes ``X-Forwarded-For``, ``-Proto``, ``-Host`` and ``-Prefix`` of one proxy, and of nobody else.

    Of several values the last is taken: the only one that the proxy itself wrote. The prefix is the path that the proxy took
    away; it stands in for the path that the server was told.

    Parameters
    ----------
    application : callable
    proxy : str
        Address of the proxy; ``*`` for any.
    root : str
        The path that the server was told.
    """

    def __init__(self, application: WSGIApplication, proxy: str, root: str = "") -> None:
        self._application = application
        self._root = root
        self._fixed: WSGIApplication = ProxyFix(application, x_for=1, x_proto=1, x_host=1)
        self._proxy = proxy if proxy == ANY else _plain(proxy)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if self._proxy not in (ANY, _plain(environ.get("REMOTE_ADDR", ""))):
            return self._application(environ, start_response)
        prefix = environ.get("HTTP_X_FORWARDED_PREFIX", "").rpartition(",")[2].strip().rstrip("/")
        if prefix and is_path(prefix):
            environ["SCRIPT_NAME"] = prefix + environ.get("SCRIPT_NAME", "").removeprefix(self._root)
        return self._fixed(environ, start_response)


def _plain(address: str) -> str:
    """An address in its one form; an IPv4 address also where a socket for both kinds shows it as IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
