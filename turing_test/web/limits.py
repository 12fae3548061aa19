"""How often something may be done: by one address first, then by all together, so that one machine keeps nobody out.

Addresses are kept in memory alone, as digests under a key of this process; each process counts for itself.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

__all__ = ["AddressLimit", "Limits", "TokenBucket"]

MOST_REMEMBERED = 10_000
IPV6_SITE = 64  # bits: whoever has one IPv6 address has all that share these


class TokenBucket:
    """A limit of events: so many at once, so many per second after that.

    Parameters
    ----------
    burst : float
    per_second : float
    """

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst, self._rate = burst, per_second
        self._level, self._at = burst, time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Count one event.

        Returns
        -------
        float
            0 when it is within the limit, else seconds until the next one is.
        """
        with self._lock:
            now = time.monotonic()
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
            if self._level >= 1:
                self._level -= 1
                return 0.0
            return (1 - self._level) / self._rate


class AddressLimit:
    """A limit of events from one address and, where there is one, of events from all.

    What an address does beyond its own limit does not count for the others.

    Parameters
    ----------
    burst, per_second : float
        Of one address.
    together : TokenBucket, optional
        Of all addresses.
    """

    def __init__(self, burst: float, per_second: float, together: TokenBucket | None = None) -> None:
        self._one = burst, per_second
        self._together = together
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._by_address: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def wait(self, address: str) -> float:
        """Count an event; seconds to wait when there were too many, else 0."""
        key = hmac.digest(self._key, _site(address).encode(), "sha256")
        with self._lock:
            bucket = self._by_address.setdefault(key, TokenBucket(*self._one))
            self._by_address.move_to_end(key)
            if len(self._by_address) > MOST_REMEMBERED:
                self._by_address.popitem(last=False)
        return bucket.take() or (0.0 if self._together is None else self._together.take())


def _site(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed), IPV6_SITE), strict=False))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server takes.

    Attributes
    ----------
    starts : AddressLimit
        New sessions: a lecture hall behind one address comes in at once, and 5 a second after that; all together, so many
        that those who come do not keep answers waiting.
    declines : AddressLimit
        People who do not consent: a row each, so that they are counted, and not without end.
    logins : AddressLimit
        Tries of the dashboard's password. There is none for all addresses: strangers would lock out the owner.
    """

    starts: AddressLimit = field(default_factory=lambda: AddressLimit(100, 5, TokenBucket(200, 40)))
    declines: AddressLimit = field(default_factory=lambda: AddressLimit(60, 0.1, TokenBucket(200, 1)))
    logins: AddressLimit = field(default_factory=lambda: AddressLimit(5, 1 / 30))

    @classmethod
    def none(cls) -> Limits:
        """For tests and measurements, which come all from one address."""
        return cls(starts=_UNLIMITED, declines=_UNLIMITED, logins=_UNLIMITED)


_UNLIMITED = AddressLimit(1e9, 1e9)
