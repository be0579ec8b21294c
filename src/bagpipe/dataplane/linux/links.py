"""The interfaces of this network namespace, followed; and the messages that make, change and remove them.

What is here of an interface is what a bridge with VXLAN is made of, no more.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from dataclasses import dataclass, replace
from ipaddress import ip_address
from struct import Struct

from bagpipe.dataplane.linux import netlink as nl
from bagpipe.dataplane.linux.netlink import Kernel, Request, attribute, attributes_of, nested, table_of
from bagpipe.dataplane.model import Address

_INFO = Struct("=BxHiII")
_ADDRESS_INFO = Struct("=BBBBI")
_NUMBER = Struct("=I")
_STATS = Struct("=QQQQ")
_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_PROTINFO, _IFLA_LINKINFO = 3, 4, 10, 12, 18
_IFLA_IFALIAS, _IFLA_STATS64, _IFLA_AF_SPEC, _IFLA_GROUP, _IFLA_PROP_LIST, _IFLA_ALT_IFNAME = 20, 23, 26, 27, 52, 53
_KIND, _DATA, _SLAVE_DATA = 1, 2, 5
_ADDRESS_GENERATION_MODE, _NONE = 8, 1
_MCAST_SNOOPING, _DEFAULT_VLAN = 23, 39
_VXLAN_ID, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PROXY = 1, 4, 7, 11
_VXLAN_PORT, _VXLAN_LOCAL6, _VXLAN_ZERO_CHECKSUM6_RX = 15, 17, 20
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_BRIDGE_PORT_FLAGS = {8: "learning", 9: "unknown", 27: "multicast", 30: "broadcast", 32: "suppress"}


@dataclass(frozen=True, slots=True)
class PortFlags:
    """What a port of a bridge does: learn MACs, take frames to unknown MACs, to groups and to all, and have ARP and ND
    for what is behind it answered by the bridge.
    """

    learning: bool = True
    unknown: bool = True
    multicast: bool = True
    broadcast: bool = True
    suppress: bool = False


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A VXLAN device. ``proxy`` tells that it answers ARP and ND by itself (as those of Neutron may)."""

    vni: int
    local: bytes | None
    port: int
    learning: bool
    proxy: bool


@dataclass(frozen=True, slots=True)
class Link:
    """An interface. ``master`` is the index of what it is a port of, 0 if of nothing; ``group`` a number by which the
    kernel does something to many at once.
    """

    index: int
    name: str
    kind: str
    alias: str
    mtu: int
    is_up: bool
    is_loopback: bool
    master: int
    group: int
    other_names: frozenset[str]
    tunnel: Tunnel | None
    flags: PortFlags


def _flags_of(data: bytes) -> PortFlags:
    known = _BRIDGE_PORT_FLAGS
    return PortFlags(**{known[kind]: bool(value[0]) for kind, value in attributes_of(data) if kind in known})


def _tunnel_of(data: bytes) -> Tunnel:
    found = table_of(data)
    return Tunnel(
        int.from_bytes(found.get(_VXLAN_ID, b""), "little"),
        found.get(_VXLAN_LOCAL) or found.get(_VXLAN_LOCAL6),
        int.from_bytes(found.get(_VXLAN_PORT, b"")),
        any(found.get(_VXLAN_LEARNING, b"")),
        any(found.get(_VXLAN_PROXY, b"")),
    )


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def link_of(body: bytes) -> Link:
    """The interface that a RTM_NEWLINK or RTM_DELLINK is about."""
    _, _, index, flags, _ = _INFO.unpack_from(body)
    found = table_of(body, _INFO.size)
    info = table_of(found.get(_IFLA_LINKINFO, b""))
    kind = _text(info.get(_KIND, b""))
    names = [_text(value) for what, value in attributes_of(found.get(_IFLA_PROP_LIST, b"")) if what == _IFLA_ALT_IFNAME]
    return Link(
        index,
        _text(found.get(_IFLA_IFNAME, b"")),
        kind,
        _text(found.get(_IFLA_IFALIAS, b"")),
        int.from_bytes(found.get(_IFLA_MTU, b""), "little"),
        bool(flags & _IFF_UP),
        bool(flags & _IFF_LOOPBACK),
        int.from_bytes(found.get(_IFLA_MASTER, b""), "little"),
        int.from_bytes(found.get(_IFLA_GROUP, b""), "little"),
        frozenset(names),
        _tunnel_of(info.get(_DATA, b"")) if kind == "vxlan" else None,
        _flags_of(info.get(_SLAVE_DATA, b"")),
    )


class Links:
    """All interfaces by index, name and VNI, as of the last :meth:`read` and what :meth:`hear` was told since."""

    def __init__(self) -> None:
        self.by_index: dict[int, Link] = {}
        self.by_name: dict[str, Link] = {}
        self.by_vni: defaultdict[int, dict[int, Link]] = defaultdict(dict)

    def read(self, kernel: Kernel) -> None:
        """Ask the kernel for all. Raises Unreachable."""
        found = [link_of(body) for _, body in kernel.dump(nl.GETLINK, _INFO.pack(0, 0, 0, 0, 0))]
        for known in (self.by_index, self.by_name, self.by_vni):
            known.clear()
        for link in found:
            self._put(link)

    def _put(self, link: Link) -> None:
        self._drop(link.index)
        self.by_index[link.index] = link
        self.by_name[link.name] = link
        if link.tunnel is not None:
            self.by_vni[link.tunnel.vni][link.index] = link

    def _drop(self, index: int) -> None:
        link = self.by_index.pop(index, None)
        if link is None:
            return
        if self.by_name.get(link.name) is link:
            del self.by_name[link.name]
        if link.tunnel is not None:
            self.by_vni[link.tunnel.vni].pop(index, None)

    def hear(self, kind: int, body: bytes) -> None:
        """Take a RTM_NEWLINK or RTM_DELLINK. Those of a bridge are about a port, and say how it does as one."""
        family, _, index, _, _ = _INFO.unpack_from(body)
        if family == nl.AF_BRIDGE:
            link = self.by_index.get(index)
            told = table_of(body, _INFO.size).get(_IFLA_PROTINFO)
            if link is not None and told is not None and kind == nl.NEWLINK:
                self._put(replace(link, flags=_flags_of(told)))
        elif kind == nl.DELLINK:
            self._drop(index)
        else:
            self._put(link_of(body))

    def ports_of(self, bridge: int) -> list[Link]:
        """The ports of a bridge."""
        return [link for link in self.by_index.values() if link.master == bridge]

    def called(self, other_name: str) -> list[Link]:
        """The interfaces that have this name beside their first."""
        return [link for link in self.by_index.values() if other_name in link.other_names]


def owner_of(kernel: Kernel, address: Address) -> int | None:
    """The index of the interface that has this address, None if none has. Raises Unreachable."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    owner = None
    for _, body in kernel.dump(nl.GETADDRESS, _ADDRESS_INFO.pack(family, 0, 0, 0, 0)):
        found = table_of(body, _ADDRESS_INFO.size)
        if found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS)) == address.packed:
            owner = int(_ADDRESS_INFO.unpack_from(body)[4])
    return owner


def traffic(kernel: Kernel, index: int) -> dict[str, int]:
    """Packets and octets that came in by an interface and left by it. Raises Refused if it has gone."""
    for _, body in kernel.dump(nl.GETLINK, _info(index), 0):
        found = table_of(body, _INFO.size).get(_IFLA_STATS64)
        if found is not None:
            return dict(
                zip(("packets_in", "packets_out", "octets_in", "octets_out"), _STATS.unpack_from(found), strict=True)
            )
    return {}


# ---------------------------------------------------------------------- messages


def _info(index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    return _INFO.pack(family, 0, index, flags, change)


def _name(name: str) -> bytes:
    return attribute(_IFLA_IFNAME, name.encode() + b"\0")


def new_bridge(name: str) -> Request:
    """Make a bridge that floods what is for groups, whether somebody asked for it or not, and knows no VLANs, so that
    there is one entry for a MAC and not another for the VLAN that ports have by default.
    """
    data = nested(_DATA, attribute(_MCAST_SNOOPING, b"\0"), attribute(_DEFAULT_VLAN, bytes(2)))
    info = nested(_IFLA_LINKINFO, attribute(_KIND, b"bridge"), data)
    return Request(nl.NEWLINK, nl.CREATE | nl.EXCLUSIVE, _info() + _name(name) + info)


def new_tunnel(name: str, vni: int, local: bytes, port: int) -> Request:
    """Make a VXLAN device that learns nothing. Over IPv6 it takes packets without checksum (RFC 7348 section 5)."""
    data = [attribute(_VXLAN_ID, _NUMBER.pack(vni)), attribute(_VXLAN_LEARNING, b"\0")]
    data += [attribute(_VXLAN_PORT, port.to_bytes(2))]
    if len(local) == 4:
        data += [attribute(_VXLAN_LOCAL, local)]
    else:
        data += [attribute(_VXLAN_LOCAL6, local), attribute(_VXLAN_ZERO_CHECKSUM6_RX, b"\1")]
    info = nested(_IFLA_LINKINFO, attribute(_KIND, b"vxlan"), nested(_DATA, *data))
    return Request(nl.NEWLINK, nl.CREATE | nl.EXCLUSIVE, _info() + _name(name) + info)


def set_link(
    index: int, *, alias: str | None = None, mtu: int | None = None, master: int | None = None, quiet: bool = False
) -> Request:
    """Change an interface; with ``quiet`` it gets no link-local IPv6 address and so says nothing by itself."""
    parts = [_info(index)]
    if mtu is not None:
        parts.append(attribute(_IFLA_MTU, _NUMBER.pack(mtu)))
    if alias is not None:
        parts.append(attribute(_IFLA_IFALIAS, alias.encode()))
    if master is not None:
        parts.append(attribute(_IFLA_MASTER, _NUMBER.pack(master)))
    if quiet:
        mode = attribute(_ADDRESS_GENERATION_MODE, bytes((_NONE,)))
        parts.append(nested(_IFLA_AF_SPEC, nested(socket.AF_INET6, mode)))
    return Request(nl.SETLINK, 0, b"".join(parts))


def set_up(index: int) -> Request:
    """Bring an interface up."""
    return Request(nl.SETLINK, 0, _info(index, _IFF_UP, _IFF_UP))


def set_port(index: int, flags: PortFlags) -> Request:
    """Have a port of a bridge do so."""
    told = [attribute(kind, bytes((getattr(flags, name),))) for kind, name in _BRIDGE_PORT_FLAGS.items()]
    return Request(nl.SETLINK, 0, _info(index, family=nl.AF_BRIDGE) + nested(_IFLA_PROTINFO, *told))


def remove(index: int) -> Request:
    """Remove an interface."""
    return Request(nl.DELLINK, 0, _info(index))


def set_group(index: int, group: int) -> Request:
    """Put an interface into a group."""
    return Request(nl.SETLINK, 0, _info(index) + attribute(_IFLA_GROUP, _NUMBER.pack(group)))


def remove_group(group: int) -> Request:
    """Remove all interfaces of a group, which takes the kernel little longer than one."""
    return Request(nl.DELLINK, 0, _info() + attribute(_IFLA_GROUP, _NUMBER.pack(group)))


def add_name(index: int, name: str) -> Request:
    """Give an interface a further name."""
    return _naming(nl.NEWLINKPROPERTY, index, name)


def take_name(index: int, name: str) -> Request:
    """Take a further name away from an interface."""
    return _naming(nl.DELLINKPROPERTY, index, name)


def _naming(kind: int, index: int, name: str) -> Request:
    flags = nl.CREATE | nl.EXCLUSIVE | nl.APPEND if kind == nl.NEWLINKPROPERTY else 0
    names = nested(_IFLA_PROP_LIST, attribute(_IFLA_ALT_IFNAME, name.encode() + b"\0"))
    return Request(kind, flags, _info(index) + names)


def told(link: Link) -> str:
    """An interface for people."""
    if link.tunnel is None:
        return f"{link.kind or 'interface'} {link.name}"
    local = "any address" if link.tunnel.local is None else str(ip_address(link.tunnel.local))
    return f"VXLAN device {link.name} (VNI {link.tunnel.vni}, from {local}, port {link.tunnel.port})"
