"""Which IP addresses a request that a user or a model caused may go to. Pure: no name is resolved here."""

import ipaddress
from typing import Final

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address

# Python's own tables are not enough: 3.11 calls 224.0.0.1, 64:ff9b::7f00:1 and fec0::1 global, and no version can know
# that Azure serves its machines' secrets on an address that looks public.
_REFUSED_V4: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata is 100.100.100.200
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata is 192.0.0.192
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "198.18.0.0/15",  # benchmarks
    )
)
_REFUSED_V6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them: it ends at an IPv4 address of the sender's choice
        "2001:db8::/32",
        "3fff::/20",  # documentation, like the one before; not in every Python's table
    )
)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that is given out to anybody; outside of it are only local and translated addresses."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_PRIVATE: Final = tuple(
    ipaddress.ip_network(network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1", "fc00::/7")
)
_METADATA: Final = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)


def is_public(address: str) -> bool:
    """Whether `address`, and the IPv4 address inside it if there is one, is one that anybody may reach."""
    real = _real(address)
    if real is None or real in _METADATA or not real.is_global or real.is_multicast or real.is_reserved:
        return False
    if isinstance(real, IPv4):
        return not any(real in network for network in _REFUSED_V4)
    return real in _GLOBAL_UNICAST and not any(real in network for network in _REFUSED_V6)


def is_public_or_private(address: str) -> bool:
    """What a host that the operator trusts may have: loopback and private networks too, but never metadata services,
    link-local, multicast or unspecified addresses, so that a trusted name cannot be pointed at those.
    """
    if is_public(address):
        return True
    real = _real(address)
    if real is None or real in _METADATA:
        return False
    return any(real in network for network in _PRIVATE)


def _real(address: str) -> IPv4 | IPv6 | None:
    """What a packet to `address` reaches: the IPv4 address inside a mapped, 6to4 or NAT64 one. None: no address, or
    one with a zone, which means something on this machine only.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv4):
        return parsed
    if parsed.scope_id is not None:
        return None
    if parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    if parsed.sixtofour is not None:
        return parsed.sixtofour
    if parsed in _NAT64:
        return IPv4(int(parsed) & 0xFFFF_FFFF)
    return parsed
