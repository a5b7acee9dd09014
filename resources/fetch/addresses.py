"""Which network addresses may be connected to: public ones, and those that the user allows."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_INTERNAL = tuple(
    ipaddress.ip_network(text)
    for text in ("168.63.129.16/32", "192.0.0.0/24", "fec0::/10", "64:ff9b:1::/48", "3fff::/20", "5f00::/16")
)
"""What `ipaddress` does not know in every version: Azure's metadata, and IANA's special-purpose registries."""
_EMBEDDING = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
"""NAT64 (RFC 6052) and IPv4-compatible addresses: the last 32 bits are an IPv4 address."""


def is_public(text: str) -> bool:
    """Whether the address, and the IPv4 address that it embeds, belongs to the public internet."""
    return all(
        address.is_global
        and not (address.is_multicast or address.is_reserved)
        and not any(address in network for network in _INTERNAL)
        for address in _with_embedded(ipaddress.ip_address(text.partition("%")[0]))
    )


def _with_embedded(address: Address) -> Iterator[Address]:
    if not isinstance(address, IPv6Address):
        yield address
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped  # reaches the IPv4 address; its own range is not global
        return
    is_embedding = any(address in network for network in _EMBEDDING)
    if not is_embedding or address in _EMBEDDING[1]:
        yield address
    if is_embedding:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    yield from (embedded for embedded in (address.sixtofour, *(address.teredo or ())) if embedded)


@dataclass(frozen=True)
class AllowedHosts:
    """Exceptions: `feeds.local`, `10.0.0.7:8080`, `192.168.0.0/16`."""

    names: frozenset[tuple[str, int | None]] = frozenset()
    """Host and port; None: every port."""
    networks: tuple[tuple[IPv4Network | IPv6Network, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> AllowedHosts:
        """Read a list with commas. Raises `ValueError`."""
        names, networks = set(), []
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            host, port = _host_and_port(entry)
            try:
                networks.append((ipaddress.ip_network(host, strict=False), port))
            except ValueError:
                if "/" in host or not host:
                    raise ValueError(f"{entry!r} is no host, host:port or network such as 10.0.0.0/8.") from None
                names.add((host.rstrip("."), port))
        return cls(frozenset(names), tuple(networks))

    def permits(self, host: str, port: int, address: str) -> bool:
        """Whether the address that `host` has may be connected to."""
        name = host.lower().rstrip(".")
        if is_public(address) or {(name, port), (name, None)} & self.names:
            return True
        ip = ipaddress.ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in network and allowed in (None, port) for network, allowed in self.networks)


def _host_and_port(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):  # none, or an IPv6 address without one
        return entry.strip("[]"), None
    if not port.isdigit():
        raise ValueError(f"{entry!r}: {port!r} is no port.")
    return host.strip("[]"), int(port)
