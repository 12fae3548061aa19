"""Which requests come through the reverse proxy, whose word about address, scheme and host is believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["BehindProxy"]

ANY = "*"


class BehindProxy:
    """An application that believes ``X-Forwarded-For``, ``-Proto`` and ``-Host`` of one proxy, and of nobody else.

    Of several values the last is taken: the only one that the proxy itself wrote.

    Parameters
    ----------
    application : callable
    proxy : str
        Address of the proxy; ``*`` for any.
    """

    def __init__(self, application: WSGIApplication, proxy: str) -> None:
        self._application = application
        self._fixed: WSGIApplication = ProxyFix(application, x_for=1, x_proto=1, x_host=1)
        self._proxy = proxy if proxy == ANY else _plain(proxy)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        is_trusted = self._proxy in (ANY, _plain(environ.get("REMOTE_ADDR", "")))
        return (self._fixed if is_trusted else self._application)(environ, start_response)


def _plain(address: str) -> str:
    """An address in its one form; an IPv4 address also where a socket for both kinds shows it as IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
