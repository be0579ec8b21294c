"""The many: forwarding entries of bridges and VXLAN devices, neighbours, and next hops; as messages and read back.

An entry for a MAC at other nodes is one message for two entries: that of the VXLAN device (where the frame is sent) and
that of the bridge (which says: the VXLAN device). Both are marked as made by a control plane, so they do not age.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from bagpipe.dataplane.linux import netlink as nl
from bagpipe.dataplane.linux.netlink import Kernel, Request, attribute, table_of

PROTOCOL = 177
"""Who made a neighbour or a next hop, as rtnetlink has it: a number that nobody else uses."""
MANY = bytes(6)
"""The MAC of the entry that frames go by which no other entry is for."""

_NEIGHBOUR = Struct("=BxxxIHBB")
_MAC_ATTRIBUTE = Struct("=BxxxIHBBHH6sxx")
_NUMBER_ATTRIBUTE = Struct("=HHI")
_ADDRESS_ATTRIBUTE = (Struct("=HH4s"), Struct("=HH16s"))
_NEXT_HOP = Struct("=BBBxI")
_MEMBER = Struct("=IBxxx")
_REACHABLE, _NOARP, _PERMANENT = 0x02, 0x40, 0x80
_LASTS = _NOARP | _PERMANENT
_SELF, _MASTER, _STICKY, _ROUTER = 0x02, 0x04, 0x40, 0x80
_OUTSIDE = nl.LEARNED_OUTSIDE
_DST, _LLADDR, _VLAN, _VNI, _NDA_MASTER, _PROTOCOL, _NH_ID = 1, 2, 5, 7, 9, 12, 13
_ID, _GROUP, _GATEWAY, _FDB = 1, 2, 6, 11
_PUT = nl.CREATE | nl.REPLACE
_MAC_FIRST = Struct("=HH").pack(10, _LLADDR)


def _destination(address: bytes) -> bytes:
    size = len(address)
    return _ADDRESS_ATTRIBUTE[size == 16].pack(size + 4, _DST, address)


def _vni(vni: int | None) -> bytes:
    return b"" if vni is None else _NUMBER_ATTRIBUTE.pack(8, _VNI, vni)


def _fdb(index: int, state: int, flags: int, mac: bytes) -> bytes:
    return _MAC_ATTRIBUTE.pack(nl.AF_BRIDGE, index, state, flags, 0, 10, _LLADDR, mac)


def put_remote(tunnel: int, mac: bytes, address: bytes, vni: int | None) -> Request:
    """Frames to ``mac`` go to one node; ``vni`` None is the device's own."""
    head = _fdb(tunnel, _REACHABLE | _NOARP, _SELF | _MASTER | _OUTSIDE, mac)
    return Request(nl.NEWNEIGHBOUR, _PUT, head + _destination(address) + _vni(vni))


def put_shared(tunnel: int, mac: bytes, group: int) -> Request:
    """Frames to ``mac`` are shared among the nodes of a group of next hops."""
    head = _fdb(tunnel, _REACHABLE | _NOARP, _SELF | _MASTER | _OUTSIDE, mac)
    return Request(nl.NEWNEIGHBOUR, _PUT, head + _NUMBER_ATTRIBUTE.pack(8, _NH_ID, group))


def put_local(port: int, mac: bytes, *, sticky: bool) -> Request:
    """Frames to ``mac`` leave by a port of a bridge; where ports learn, ``sticky`` keeps the entry from moving."""
    return Request(nl.NEWNEIGHBOUR, _PUT, _fdb(port, _NOARP, _MASTER | (_STICKY if sticky else 0), mac))


def take_tunnelled(tunnel: int, mac: bytes) -> Request:
    """The VXLAN device's entry for ``mac`` goes."""
    return Request(nl.DELNEIGHBOUR, 0, _fdb(tunnel, 0, _SELF, mac))


def take_bridged(port: int, mac: bytes) -> Request:
    """The bridge's entry that says that ``mac`` is behind ``port`` goes."""
    return Request(nl.DELNEIGHBOUR, 0, _fdb(port, 0, _MASTER, mac))


def add_flood(tunnel: int, address: bytes, vni: int | None) -> Request:
    """Frames to many go to this node too."""
    head = _fdb(tunnel, _REACHABLE | _NOARP, _SELF | _OUTSIDE, MANY)
    return Request(nl.NEWNEIGHBOUR, nl.CREATE | nl.APPEND, head + _destination(address) + _vni(vni))


def take_flood(tunnel: int, address: bytes, vni: int | None) -> Request:
    """Frames to many do not go to this node."""
    return Request(nl.DELNEIGHBOUR, 0, _fdb(tunnel, 0, _SELF, MANY) + _destination(address) + _vni(vni))


def _family(address: bytes) -> int:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def put_neighbour(index: int, address: bytes, mac: bytes, *, is_router: bool) -> Request:
    """``mac`` is the answer to who has ``address``."""
    head = _NEIGHBOUR.pack(_family(address), index, _PERMANENT, _OUTSIDE | (_ROUTER if is_router else 0), 0)
    attributes = _destination(address) + attribute(_LLADDR, mac) + attribute(_PROTOCOL, bytes((PROTOCOL,)))
    return Request(nl.NEWNEIGHBOUR, _PUT, head + attributes)


def take_neighbour(index: int, address: bytes) -> Request:
    """There is no answer to who has ``address``."""
    return Request(nl.DELNEIGHBOUR, 0, _NEIGHBOUR.pack(_family(address), index, 0, 0, 0) + _destination(address))


def _identifier(number: int) -> bytes:
    return _NUMBER_ATTRIBUTE.pack(8, _ID, number)


def put_node(number: int, address: bytes) -> Request:
    """A next hop that is one node."""
    head = _NEXT_HOP.pack(_family(address), 0, PROTOCOL, 0)
    return Request(
        nl.NEWNEXTHOP, _PUT, head + _identifier(number) + attribute(_GATEWAY, address) + attribute(_FDB, b"")
    )


def put_group(number: int, nodes: Sequence[int]) -> Request:
    """A group of next hops, each with the same share."""
    members = attribute(_GROUP, b"".join(_MEMBER.pack(node, 0) for node in nodes))
    head = _NEXT_HOP.pack(0, 0, PROTOCOL, 0)
    return Request(nl.NEWNEXTHOP, _PUT, head + _identifier(number) + members + attribute(_FDB, b""))


def take_next_hop(number: int) -> Request:
    """A next hop or a group of them goes, and entries that use it go with it."""
    return Request(nl.DELNEXTHOP, 0, _NEXT_HOP.pack(0, 0, 0, 0) + _identifier(number))


# ---------------------------------------------------------------------- reading


class Entry(NamedTuple):
    """An entry of a bridge (``master`` is its index, ``interface`` the port) or of a VXLAN device (``master`` None).

    ``lasts`` tells that it neither ages nor was learned; ``is_outside`` that a control plane made it. ``vni`` None is
    the device's own, ``group`` that of next hops.
    """

    interface: int
    mac: bytes
    master: int | None
    lasts: bool
    is_outside: bool
    is_sticky: bool
    is_own: bool
    address: bytes | None
    vni: int | None
    group: int | None


class Known(NamedTuple):
    """A neighbour. ``is_ours`` tells that we made it."""

    interface: int
    address: bytes
    mac: bytes | None
    is_router: bool
    lasts: bool
    is_ours: bool


class NextHop(NamedTuple):
    """A next hop: one node (``address``), or a group of others (``members``)."""

    number: int
    is_ours: bool
    address: bytes | None
    members: tuple[int, ...]


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "little")


class Place(NamedTuple):
    """Where an entry or a neighbour is: the interface, then its MAC (that of frames to many with the node they go to)
    or address; ``is_tunnels`` for an entry of a VXLAN device.
    """

    interface: int
    octets: bytes
    is_tunnels: bool


def place_of(body: bytes) -> Place | None:
    """Where the entry or neighbour of a message is, None if it is about neither."""
    interface = int.from_bytes(body[4:8], "little")
    if body[0] == nl.AF_BRIDGE:
        # The MAC comes first, as we write it and the kernel does.
        is_first = body[12:16] == _MAC_FIRST
        mac = body[16:22] if is_first else table_of(body, 12).get(_LLADDR)
        if mac is None:
            return None
        if mac == MANY:
            mac += table_of(body, 12).get(_DST, b"")
        return Place(interface, mac, bool(body[10] & _SELF))
    address = table_of(body, 12).get(_DST)
    return None if address is None else Place(interface, address, False)


def entry_of(body: bytes) -> Entry | None:
    """The entry that a message of AF_BRIDGE is about, None if it is not one, or one of several that a bridge makes of
    one order: those of VLANs come and go with the one that has none.
    """
    _, index, state, flags, _ = _NEIGHBOUR.unpack_from(body)
    found = table_of(body, 12)
    mac = found.get(_LLADDR)
    if mac is None or len(mac) != 6 or _VLAN in found:
        return None
    return Entry(
        index,
        mac,
        None if flags & _SELF else _number(found.get(_NDA_MASTER)) or 0,
        bool(state & _LASTS or flags & _OUTSIDE),
        bool(flags & _OUTSIDE),
        bool(flags & _STICKY),
        bool(state & _PERMANENT),
        found.get(_DST),
        _number(found.get(_VNI)),
        _number(found.get(_NH_ID)),
    )


def neighbour_of(body: bytes) -> Known | None:
    """The neighbour that a message of AF_INET or AF_INET6 is about, None if it is not one."""
    _, index, state, flags, _ = _NEIGHBOUR.unpack_from(body)
    found = table_of(body, 12)
    address = found.get(_DST)
    if address is None:
        return None
    is_ours = found.get(_PROTOCOL) == bytes((PROTOCOL,))
    return Known(index, address, found.get(_LLADDR), bool(flags & _ROUTER), bool(state & _PERMANENT), is_ours)


def next_hop_of(body: bytes) -> NextHop:
    """The next hop that a message is about."""
    found = table_of(body, 8)
    members = found.get(_GROUP, b"")
    return NextHop(
        _number(found.get(_ID)) or 0,
        body[2] == PROTOCOL,
        found.get(_GATEWAY),
        tuple(_MEMBER.unpack_from(members, at)[0] for at in range(0, len(members), 8)),
    )


def dump_entries(kernel: Kernel) -> Iterator[Entry]:
    """All entries of bridges and VXLAN devices. Raises Unreachable."""
    for _, body in kernel.dump(nl.GETNEIGHBOUR, _NEIGHBOUR.pack(nl.AF_BRIDGE, 0, 0, 0, 0)):
        entry = entry_of(body)
        if entry is not None:
            yield entry


def dump_neighbours(kernel: Kernel) -> Iterator[Known]:
    """All neighbours. Raises Unreachable."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for _, body in kernel.dump(nl.GETNEIGHBOUR, _NEIGHBOUR.pack(family, 0, 0, 0, 0)):
            known = neighbour_of(body)
            if known is not None:
                yield known


def dump_next_hops(kernel: Kernel) -> Iterator[NextHop]:
    """All next hops for forwarding entries. Raises Refused where the kernel knows none (before Linux 5.8)."""
    for _, body in kernel.dump(nl.GETNEXTHOP, _NEXT_HOP.pack(0, 0, 0, 0) + attribute(_FDB, b"")):
        yield next_hop_of(body)
