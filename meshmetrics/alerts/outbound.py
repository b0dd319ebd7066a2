"""The one way out: every request to an address that a tenant chose passes here.

The host is resolved once, every address it has must be public, and the connection is made to that
very address, so a name that resolves differently the second time gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

import httpx

from meshmetrics.alerts.exchange import Answer, Endpoint, exchange
from meshmetrics.alerts.resolver import Resolver

TIMEOUT_SECONDS = 15.0
"""For all of it: the name, the connection, the answer."""

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_REFUSED = [
    ipaddress.ip_network(n)
    for n in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and a metadata service
        "168.63.129.16/32",  # Azure's
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
        "::/96",  # IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "2001::/23",  # Teredo and other protocols
        "2002::/16",  # 6to4
        "fec0::/10",
    )
]


class RefusedError(ValueError):
    """The address is not one that we send to. The message is for the tenant."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed besides https to public addresses."""

    http: bool = False
    ports: frozenset[int] = frozenset({443, 8443})
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Addresses that are allowed although they are not public: for the local stack."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart."""

    url: str
    scheme: str
    host: str
    port: int


class Guard:
    """Sends requests to public addresses, and nowhere else."""

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        resolve: Resolve | None = None,
        timeout: float = TIMEOUT_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`resolve`: the system's resolver where None. `timeout`: seconds for all of a request.
        `tls`: whom to trust; the usual authorities where None."""
        self._rules = rules or Rules()
        self._resolve = resolve or Resolver()
        self._timeout = timeout
        self._tls = tls

    def check(self, url: str) -> Target:
        """Whether the URL could be one, without asking for its address. Raises RefusedError."""
        if len(url) > 2000 or any(ord(c) <= 32 or ord(c) > 126 or c == "\\" for c in url):
            raise RefusedError("a URL has no spaces, backslashes or special characters")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            same = httpx.URL(url)
        except (ValueError, httpx.InvalidURL):
            raise RefusedError("this is not a valid URL") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and self._rules.http):
            raise RefusedError("only https:// is taken")
        if "@" in parts.netloc:
            raise RefusedError("a URL may hold no user name or password")
        # What checks and what connects must read it the same way.
        if not host or same.raw_host.decode() != host or "%" in host:
            raise RefusedError("the URL has no valid host")
        if port == 0:
            raise RefusedError("port 0 is not a port")
        port = port or (443 if parts.scheme == "https" else 80)
        if port not in self._rules.ports:
            allowed = ", ".join(str(p) for p in sorted(self._rules.ports))
            raise RefusedError(f"port {port} is not taken: {allowed}")
        try:
            literal = ipaddress.ip_address(host)
        except ValueError:
            last = host.rstrip(".").rsplit(".", 1)[-1]
            if last.isdigit() or last.startswith("0x"):
                raise RefusedError("an address is written as four decimal numbers") from None
        else:
            if not self._allows(literal):
                raise RefusedError(f"{literal} is not a public address")
        return Target(url, parts.scheme, host, port)

    def _allows(self, address: Address) -> bool:
        if any(address in network for network in self._rules.networks):
            return True
        return (
            address.is_global
            and not address.is_multicast
            and not address.is_reserved
            and not (isinstance(address, IPv6Address) and address.scope_id)
            and not any(address in network for network in _REFUSED)
        )

    async def _address(self, target: Target) -> Address:
        """The one address that is connected to."""
        try:
            found = await self._resolve(target.host, target.port)
            addresses = [ipaddress.ip_address(text) for text in found]
        except (OSError, UnicodeError, ValueError) as error:
            raise ConnectionError(f"{target.host} cannot be resolved") from error
        if not addresses:
            raise ConnectionError(f"{target.host} cannot be resolved")
        if not all(self._allows(address) for address in addresses):
            # Which one it is would tell the tenant about a network that is none of theirs.
            raise RefusedError(f"{target.host} is not at a public address")
        return min(addresses, key=lambda a: a.version)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a request, and follow nothing.

        Raises RefusedError, TimeoutError, and ConnectionError for what the network or TLS did.
        """
        target = self.check(url)
        async with asyncio.timeout(self._timeout):
            address = await self._address(target)
            try:
                return await self._send(target, address, body, headers)
            except OSError as error:
                raise ConnectionError(str(error) or type(error).__name__) from error

    async def _send(
        self, target: Target, address: Address, body: bytes, headers: Mapping[str, str]
    ) -> Answer:
        secure = target.scheme == "https"
        if secure:
            # Made once: reading all authorities' certificates holds up the event loop for 25 ms.
            self._tls = self._tls or httpx.create_ssl_context(trust_env=False)
        name = f"[{target.host}]" if ":" in target.host else target.host
        authority = name if target.port == (443 if secure else 80) else f"{name}:{target.port}"
        # A connection for each request: none is reused for another host, no proxy of the
        # environment is used, and no header is sent but these.
        return await exchange(
            Endpoint(str(address), target.port, target.host),
            httpx.URL(target.url).raw_path,
            {
                "Host": authority,
                "User-Agent": "meshmetrics",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                **headers,
            },
            body,
            self._tls if secure else None,
        )
