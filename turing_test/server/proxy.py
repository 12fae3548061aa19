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
        address = environ.get("REMOTE_ADDR", "")
        if not self._is_believed(address):
            return self._application(environ, start_response)
        prefix = environ.get("HTTP_X_FORWARDED_PREFIX", "")
        environ["SCRIPT_NAME"] = self.root_for(address, prefix, environ.get("SCRIPT_NAME", ""))
        return self._fixed(environ, start_response)

    def root_for(self, address: str, prefix: str, root: str) -> str:
        """The path that somebody's application is under, for those who come from outside.

        Parameters
        ----------
        address : str
            Of whoever sends the request.
        prefix : str
            Its ``X-Forwarded-Prefix``; "" for none.
        root : str
            The path as far as this server knows it.
        """
        prefix = prefix.rpartition(",")[2].strip().rstrip("/")
        if prefix and is_path(prefix) and self._is_believed(address):
            return prefix + root.removeprefix(self._root)
        return root

    def _is_believed(self, address: str) -> bool:
        return self._proxy in (ANY, _plain(address))


def _plain(address: str) -> str:
    """An address in its one form; an IPv4 address also where a socket for both kinds shows it as IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
