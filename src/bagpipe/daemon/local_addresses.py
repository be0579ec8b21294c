"""The addresses of this node: the first IPv4 address of an interface, and an own address to be named by."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct

_SIOCGIFADDR = 0x8915
_IFNAMSIZ = 16


def first_ipv4(interface: str) -> ipaddress.IPv4Address | None:
    """The first IPv4 address of an interface, None when there is no such interface or it has none."""
    name = interface.encode()
    if len(name) >= _IFNAMSIZ:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", name))
        except OSError:
            return None
    return ipaddress.IPv4Address(answer[20:24])


def own_ipv4() -> ipaddress.IPv4Address:
    """An IPv4 address of this node, of the first interface that has one; a loopback address if there is no other."""
    found = [address for _, name in socket.if_nameindex() if (address := first_ipv4(name)) is not None]
    outside = [address for address in found if not address.is_loopback and not address.is_link_local]
    return next(iter([*outside, *found]), ipaddress.IPv4Address("127.0.0.1"))
