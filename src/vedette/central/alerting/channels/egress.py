"""Where central may connect to for somebody else: never inside the network unless it is allowed.

What lives here: the rules, and names resolved under them. What does not: connecting. The rule: we
resolve a name ourselves, look at every address, and connect to an address that was looked at, never
to the name: nobody can answer differently between the look and the connection. A redirect is never
followed.

    public address, port of the channel's kind      yes
    private, loopback, link-local (cloud metadata), shared, multicast, reserved
                                                     only in `alerts.allow_private`
    an IPv4 address inside an IPv6 one (mapped, 6to4, NAT64, Teredo)
                                                     as the IPv4 address is
    any other port                                   only in `alerts.ports`
"""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

import msgspec

from vedette.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

RESOLVE_S: Final = 5.0
MAX_ADDRESSES: Final = 16

_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
# IPv4-compatible (RFC 4291, 2.5.5.1) and site-local (3879) are long out of use: nothing is there.
_DEAD: Final = (ip_network("::/96"), ip_network("fec0::/10"))
_MORE: Final = (ip_network("100.64.0.0/10"), ip_network("192.88.99.0/24"))


class Refused(ConfigError):
    """Central may not connect there."""


class Unresolved(ConfigError):
    """Nobody knows the name now."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What central's configuration allows."""

    allow_private: list[Network] = []
    ports: frozenset[int] = frozenset()


def rules(allow_private: Iterable[str], ports: Iterable[int]) -> Rules:
    """Return the rules of a configuration.

    Raises:
        ConfigError: A network is none.
    """
    networks: list[Network] = []
    for text in allow_private:
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise ConfigError(
                f"alerts.allow_private: {text[:60]!r} is no network",
                operator_hint="as 10.20.0.0/16 or 192.168.1.7/32",
            ) from error
    return Rules(allow_private=networks, ports=frozenset(ports))


def inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64[0]:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """True where an address, and the one inside it, is of the public internet."""
    found = inner(address)
    if found.is_multicast or not found.is_global:
        return False
    return not any(found in network for network in (*_MORE, *_DEAD, _NAT64[1]))


def may(rules: Rules, address: Address) -> bool:
    """True where central may connect to this address."""
    if is_public(address):
        return True
    found = inner(address)
    return any(one in network for network in rules.allow_private for one in (address, found))


def check_port(rules: Rules, port: int, usual: Iterable[int]) -> None:
    """Return where this port may be used.

    Raises:
        Refused: It may not.
    """
    if port not in rules.ports and port not in frozenset(usual):
        raise Refused(
            f"port {port} is not used for this kind of channel",
            operator_hint="allow it in central.yaml (alerts.ports) and restart central, or use "
            + ", ".join(str(one) for one in sorted(usual)),
        )


def choose(rules: Rules, host: str, found: Iterable[str]) -> list[str]:
    """Return those of a name's addresses that central may connect to, in their order.

    Raises:
        Refused: None may be.
    """
    addresses = [ip_address(text.partition("%")[0]) for text in list(found)[:MAX_ADDRESSES]]
    good = [str(address) for address in dict.fromkeys(addresses) if may(rules, address)]
    if not good:
        raise Refused(
            f"{host[:100]} is inside the network: not connected",
            operator_hint="central's configuration can allow it: alerts.allow_private",
        )
    return good


async def resolve(rules: Rules, host: str, port: int) -> list[str]:
    """Return the addresses of a host that central may connect to.

    Raises:
        Refused: They are inside the network.
        Unresolved: There is no such name now.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise _unresolved(host) from error
    return choose(rules, host, [str(one[4][0]) for one in found])


def resolve_here(rules: Rules, host: str, port: int) -> list[str]:
    """Return the same, for a thread of its own; it blocks while the name is looked up.

    Raises:
        Refused: They are inside the network.
        Unresolved: There is no such name now.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _unresolved(host) from error
    return choose(rules, host, [str(one[4][0]) for one in found])


def check_inside(addresses: Iterable[str]) -> None:
    """Return where all of these are inside the network: what is not encrypted stays there.

    Raises:
        Refused: One is not.
    """
    if any(is_public(address) for address in parsed(addresses)):
        raise Refused(
            "not encrypted, and not inside the network",
            operator_hint="use https, or TLS: plain connections are for receivers of your own",
        )


def parsed(addresses: Iterable[str]) -> list[Address]:
    """Return addresses as such."""
    return [ip_address(address) for address in addresses]


def _unresolved(host: str) -> Unresolved:
    return Unresolved(
        f"the name {host[:100]!r} is not known", operator_hint="is it right, and does DNS answer?"
    )
